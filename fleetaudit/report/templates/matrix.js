
// The matrix of kernels by scenarios: highlights, arrow keys, and the heat map of many kernels.
(function () {
  const { make } = page;

  // Highlights row and column of the cell under the pointer or the keyboard focus.
  function highlightCross(table) {
    let highlighted = [];
    const highlight = (cell) => {
      highlighted.forEach((one) => one.classList.remove("lit"));
      highlighted = [];
      if (!cell || cell.cellIndex === 0 || cell.closest(".series, .gap")) return;
      for (const row of table.rows) {
        if (row.cells[cell.cellIndex] && !row.matches(".series, .gap")) highlighted.push(row.cells[cell.cellIndex]);
      }
      highlighted.push(...cell.parentElement.cells);
      highlighted.forEach((one) => one.classList.add("lit"));
    };
    table.addEventListener("pointerover", (event) => highlight(event.target.closest("td, th")));
    table.addEventListener("pointerleave", () => highlight(null));
    table.addEventListener("focusin", (event) => highlight(event.target.closest("td, th")));
    table.addEventListener("focusout", () => highlight(null));
  }

  // What takes the focus in a cell of the heat map: its link, else the cell itself.
  const linkOf = (cell) => cell.querySelector("a") || cell;
  const STEPS = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1], PageDown: [10, 0], PageUp: [-10, 0] };

  // One cell of the table is a stop of the Tab key; the arrow keys move on from it. `rows` returns the rows in their
  // order, `show` puts one of them into the document, and `stop` returns what takes the focus in a cell.
  function moveByKeys(table, rows, show, stop) {
    const first = stop(table.querySelector("td"));
    let current = first;
    first.tabIndex = 0;
    const moveTo = (next) => {
      current.tabIndex = -1;
      current = next;
      current.tabIndex = 0;
    };
    table.addEventListener("focusin", (event) => {
      const cell = event.target.closest("td");
      if (cell) moveTo(stop(cell));
    });
    table.addEventListener("keydown", (event) => {
      const cell = event.target.closest("td");
      const [down, right] = STEPS[event.key] || [0, 0];
      if (!cell || !(down || right)) return;
      const all = rows();
      const from = all.indexOf(cell.parentElement);
      const row = all[Math.abs(down) > 1 ? Math.max(0, Math.min(all.length - 1, from + down)) : from + down];
      const next = row && row.cells[cell.cellIndex + right];
      if (!next || !next.matches("td")) return;
      event.preventDefault();
      show(row);
      moveTo(stop(next));
      current.focus();
    });
    // After a row has left the document, the first cell is the stop.
    return () => { if (!current.isConnected) moveTo(first); };
  }

  for (const table of page.all("table.matrix")) {
    const rows = page.all("tr:not(.series)", table);
    page.all("td", table).forEach((cell) => { cell.tabIndex = -1; });
    highlightCross(table);
    // A cell may have several numbers, each of which leads to its hosts.
    moveByKeys(table, () => rows, () => {}, (cell) => cell);
  }

  const box = document.getElementById("heat");
  if (!box) return;
  const [table, source] = page.all("table.heat", box);
  const view = table.parentElement;
  const heads = table.tHead.rows[0].cells;
  // The rows of a series are in parts of so many. Of more rows than can be drawn at once, only parts in view are filled.
  const PART = 20;
  const AT_ONCE = 100;
  // The usual height of a row in CSS pixels, for parts that have not been drawn yet.
  const HEIGHT = 31;

  // Links a cell to its hosts.
  function link(row) {
    for (const cell of page.all("td", row)) {
      const word = cell.querySelector("b");
      if (word && !cell.querySelector("a")) {
        const ending = word.textContent === "mixed" ? "" : "&ending=" + encodeURIComponent(word.textContent);
        const to = make("a", "", ...cell.childNodes);
        to.href = "#hosts?" + row.dataset.hosts + "&" + heads[cell.cellIndex].dataset.hosts + ending;
        cell.append(to);
      }
      linkOf(cell).tabIndex = -1;
    }
  }

  // Puts the rows of a part into the document, or a gap of their height.
  function fill(part) {
    if (part.filled) return;
    part.rows.forEach(link);
    part.body.replaceChildren(...part.rows);
    part.filled = true;
  }
  function empty(part) {
    if (!part.filled && part.body.rows.length) return;
    if (part.body.contains(document.activeElement)) return;
    const height = part.filled ? part.body.getBoundingClientRect().height : part.rows.length * HEIGHT;
    const gap = make("td", "");
    gap.colSpan = heads.length;
    gap.style.height = height + "px";
    const row = make("tr", "gap", gap);
    row.setAttribute("aria-hidden", "true");
    part.body.replaceChildren(row);
    part.filled = false;
    repair();
  }

  const sums = page.all("tr.sum", table);
  const series = sums.map((sum, i) => {
    const rows = page.all("tr:not(.series)", source.tBodies[i]);
    const parts = [];
    for (let at = 0; at < rows.length; at += PART) {
      parts.push({ body: make("tbody", ""), rows: rows.slice(at, at + PART), filled: false });
    }
    return { sum, parts, rows, open: null, agrees: sum.parentElement.matches(".agrees") };
  });
  const count = series.reduce((n, one) => n + one.rows.length, 0);
  const every = series.flatMap((one) => [one.sum, ...one.rows]);
  const partOf = new Map(series.flatMap((one) => one.parts.flatMap((part) => part.rows.map((row) => [row, part]))));
  const byBody = new Map(series.flatMap((one) => one.parts.map((part) => [part.body, part])));
  const shown = () => series.flatMap((one) => (one.open ? [one.sum, ...one.rows] : [one.sum]));

  table.setAttribute("aria-rowcount", every.length + 1);
  table.tHead.rows[0].setAttribute("aria-rowindex", 1);
  every.forEach((row, i) => row.setAttribute("aria-rowindex", i + 2));
  sums.forEach(link);
  const repair = moveByKeys(table, shown, (row) => { if (partOf.has(row)) fill(partOf.get(row)); }, linkOf);
  highlightCross(table);

  const near = new IntersectionObserver((changes) => {
    for (const change of changes) (change.isIntersecting ? fill : empty)(byBody.get(change.target));
  }, { root: view, rootMargin: "800px" });
  const virtual = count > AT_ONCE;
  // The observer reports once more where a part is that it begins to observe.
  const watch = (part) => { near.unobserve(part.body); near.observe(part.body); };

  function fold(one, open) {
    if (one.open === open) return;
    one.open = open;
    one.button.setAttribute("aria-expanded", String(open));
    for (const part of one.parts) {
      part.body.hidden = !open;
      if (!virtual) fill(part);
      else if (open) { empty(part); watch(part); } else near.unobserve(part.body);
    }
    repair();
  }
  for (const one of series) {
    const name = one.sum.querySelector(".name");
    one.button = make("button", "fold", ...name.childNodes);
    one.button.type = "button";
    one.button.addEventListener("click", () => fold(one, !one.open));
    name.append(one.button);
    one.sum.parentElement.after(...one.parts.map((part) => part.body));
    fold(one, !one.agrees);
  }
  const tools = make("p", "heat-tools");
  for (const [label, open] of [["Open all series", true], ["Close all series", false]]) {
    const button = make("button", "", label);
    button.type = "button";
    button.addEventListener("click", () => series.forEach((one) => fold(one, open)));
    tools.append(button, " ");
  }
  view.before(tools);
  view.setAttribute("aria-label", "Kernels by scenarios");
  heads[0].textContent = "Kernel";
  document.getElementById("heat-builds").remove();
  // The focus stays clear of the header row and the first column, which cover what scrolls below them.
  table.addEventListener("keydown", () => {
    view.style.scrollPaddingBlockStart = table.tHead.offsetHeight + "px";
    view.style.scrollPaddingInlineStart = heads[0].offsetWidth + "px";
  }, true);

  let before = [];
  window.addEventListener("beforeprint", () => {
    before = series.map((one) => one.open);
    for (const one of series) { fold(one, true); one.parts.forEach(fill); }
  });
  window.addEventListener("afterprint", () => series.forEach((one, i) => {
    fold(one, before[i]);
    if (virtual && one.open) one.parts.forEach(watch);
  }));
})();
