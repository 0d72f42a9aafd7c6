
"use strict";
// Only comfort lives here: the page says everything without it. What a host said is only ever set as text.
const page = {
  data: JSON.parse(document.getElementById("data").textContent),
  all(selector, root) { return Array.from((root || document).querySelectorAll(selector)); },
  // An element with its class and its children; a string becomes text, nothing becomes nothing.
  make(name, kind, ...children) {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    for (const child of children) if (child !== null && child !== "") element.append(child);
    return element;
  },
  // Text that a host said, isolated from the direction of the text around it.
  said(text) { return page.make("bdi", "", text); },
  speak(text) { document.getElementById("spoken").textContent = text; },
  copy(text) {
    const done = () => page.speak("Copied");
    const by_hand = () => {
      const area = page.make("textarea", "unseen");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, by_hand);
    else by_hand();
  },
  // A button beside each command that one may want to type.
  offer(root) {
    for (const code of page.all("code.command", root)) {
      const button = page.make("button", "copy", "Copy");
      button.type = "button";
      button.setAttribute("aria-label", "Copy: " + code.textContent);
      button.addEventListener("click", () => {
        page.copy(code.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      code.after(" ", button);
    }
  },
};

page.offer(document);
for (const link of page.all("a[data-host]")) link.href = "#host?name=" + encodeURIComponent(link.dataset.host);
for (const link of page.all("a[data-filter]")) link.href = "#hosts?" + link.dataset.filter;

// The matrix: row and column of a cell stand out under the pointer, and under the arrow keys.
for (const table of page.all("table.matrix")) {
  const rows = page.all("tr:not(.series)", table);
  let shone = [];
  const lead = (cell) => {
    shone.forEach((one) => one.classList.remove("lit"));
    shone = [];
    if (!cell || cell.cellIndex === 0 || cell.closest(".series")) return;
    for (const row of rows) if (row.cells[cell.cellIndex]) shone.push(row.cells[cell.cellIndex]);
    shone.push(...cell.parentElement.cells);
    shone.forEach((one) => one.classList.add("lit"));
  };
  table.addEventListener("pointerover", (event) => lead(event.target.closest("td, th")));
  table.addEventListener("pointerleave", () => lead(null));
  table.addEventListener("focusin", (event) => lead(event.target.closest("td, th")));
  table.addEventListener("focusout", () => lead(null));
  const cells = page.all("td.cell", table);
  cells.forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
  table.addEventListener("keydown", (event) => {
    const cell = event.target;
    const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] || [0, 0];
    if (!(down || right) || !cell.matches("td.cell")) return;
    const row = rows[rows.indexOf(cell.parentElement) + down];
    const next = row && row.cells[cell.cellIndex + right];
    if (!next || !next.matches("td.cell")) return;
    event.preventDefault();
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// Paper has no folds; browsers that cannot unfold by style are helped.
window.addEventListener("beforeprint", () => {
  for (const one of page.all("details.unfold:not([open])")) { one.open = true; one.dataset.folded = "yes"; }
});
window.addEventListener("afterprint", () => {
  for (const one of page.all("details[data-folded]")) { one.open = false; delete one.dataset.folded; }
});
