
// The matrix of kernels by scenarios: highlights and arrow keys.
(function () {
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
})();
