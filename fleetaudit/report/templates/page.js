
"use strict";
// The script only adds comfort: the page has everything without it. Text from hosts is only ever set as text.
const page = {
  data: JSON.parse(document.getElementById("data").textContent),
  all(selector, root) { return Array.from((root || document).querySelectorAll(selector)); },
  // Returns an element with its class and children; a string becomes text, null and "" are left out.
  make(name, kind, ...children) {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    for (const child of children) if (child !== null && child !== "") element.append(child);
    return element;
  },
  // Returns text from a host, isolated from the writing direction of the text around it.
  untrusted(text) { return page.make("bdi", "", text); },
  announce(text) { document.getElementById("spoken").textContent = text; },
  copy(text) {
    const done = () => page.announce("Copied");
    const copyBySelection = () => {
      const area = page.make("textarea", "unseen");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, copyBySelection);
    else copyBySelection();
  },
  // Adds a Copy button after each command. Prose never gets one.
  addCopyButtons(root) {
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

page.addCopyButtons(document);
for (const link of page.all("a[data-host]")) link.href = "#host?name=" + encodeURIComponent(link.dataset.host);
for (const link of page.all("a[data-filter]")) link.href = "#hosts?" + link.dataset.filter;

// The matrix: highlights row and column of the cell under the pointer or the keyboard focus.
for (const table of page.all("table.matrix")) {
  const rows = page.all("tr:not(.series)", table);
  let highlighted = [];
  const highlight = (cell) => {
    highlighted.forEach((one) => one.classList.remove("lit"));
    highlighted = [];
    if (!cell || cell.cellIndex === 0 || cell.closest(".series")) return;
    for (const row of rows) if (row.cells[cell.cellIndex]) highlighted.push(row.cells[cell.cellIndex]);
    highlighted.push(...cell.parentElement.cells);
    highlighted.forEach((one) => one.classList.add("lit"));
  };
  table.addEventListener("pointerover", (event) => highlight(event.target.closest("td, th")));
  table.addEventListener("pointerleave", () => highlight(null));
  table.addEventListener("focusin", (event) => highlight(event.target.closest("td, th")));
  table.addEventListener("focusout", () => highlight(null));
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

// Opens everything for printing, for browsers that cannot do so by style.
window.addEventListener("beforeprint", () => {
  for (const one of page.all("details.unfold:not([open])")) { one.open = true; one.dataset.folded = "yes"; }
});
window.addEventListener("afterprint", () => {
  for (const one of page.all("details[data-folded]")) { one.open = false; delete one.dataset.folded; }
});
