
"use strict";
// Shows the numbers of one run in all legends: chosen with the slider, its buttons, or by pointing at a chart.
// The numbers are read from the tables, which the page has without the script, too.
const data = document.getElementById("data") && JSON.parse(document.getElementById("data").textContent);
const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));

if (data) {
  const slider = document.getElementById("night");
  const when = document.getElementById("night-when");
  const last = data.at.length - 1;
  const charts = all(".chart-box").map((box) => ({
    plot: box.querySelector(".plot"),
    cursor: box.querySelector(".cursor"),
    values: all(".key strong", box),
    rows: box.querySelector("table.numbers").tBodies[0].rows,
  }));

  // Rows are newest first, runs earliest first.
  const row = (chart, run) => chart.rows[last - run];

  const show = (run) => {
    slider.value = run;
    for (const chart of charts) {
      const cells = row(chart, run).cells;
      chart.values.forEach((value, n) => { value.textContent = cells[n + 1].textContent; });
      chart.cursor.setAttribute("x1", data.at[run] + "%");
      chart.cursor.setAttribute("x2", data.at[run] + "%");
      chart.cursor.classList.toggle("shown", true);
    }
    const head = row(charts[0], run).cells[0];
    when.replaceChildren(...Array.from(head.cloneNode(true).childNodes), " UTC");
    for (const text of all(".now .when")) text.textContent = head.textContent;
    slider.setAttribute("aria-valuetext", head.textContent + " UTC");
  };

  // Announces the numbers of the first chart when the slider has stopped.
  let resting = 0;
  const announce = () => {
    clearTimeout(resting);
    resting = setTimeout(() => {
      const names = all(".key li", charts[0].plot.parentElement).map((item) => item.textContent.trim().replace(/\s+/g, " "));
      document.getElementById("spoken").textContent = names.join(", ");
    }, 400);
  };

  const nearest = (share) => {
    let best = 0;
    data.at.forEach((at, run) => { if (Math.abs(at - share) < Math.abs(data.at[best] - share)) best = run; });
    return best;
  };

  const choose = (run) => { show(Math.min(Math.max(run, 0), last)); announce(); };
  slider.addEventListener("input", () => choose(Number(slider.value)));
  document.getElementById("night-before").addEventListener("click", () => choose(Number(slider.value) - 1));
  document.getElementById("night-after").addEventListener("click", () => choose(Number(slider.value) + 1));
  for (const chart of charts) {
    const point = (event) => {
      const box = chart.plot.querySelector("svg").getBoundingClientRect();
      show(nearest(100 * (event.clientX - box.left) / box.width));
    };
    chart.plot.addEventListener("pointermove", point);
    chart.plot.addEventListener("pointerdown", point);
  }
  document.querySelector(".night").hidden = false;
  show(last);
}
