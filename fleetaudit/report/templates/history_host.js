
"use strict";
// One host over time: finds it by its name and draws its kernel and its findings. Text from hosts is only ever set as text.
const form = document.getElementById("find-host");

if (form) {
  const data = JSON.parse(document.getElementById("data").textContent);
  const input = document.getElementById("host-name");
  const found = document.getElementById("host-found");
  const view = document.getElementById("host-view");
  const MOST = 12, KERNEL = 24, LABEL = 16, FINDING = 9, SPACE = 6;
  const rows = document.querySelector("table.numbers").tBodies[0].rows;
  const timelines = new Map();
  for (const [names, changes] of data.timelines) for (const name of names) timelines.set(name, changes);

  const make = (name, kind, ...children) => {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    element.append(...children);
    return element;
  };
  const draw = (name, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const untrusted = (text) => make("bdi", "", text);

  // Returns the state of a host from each of its changes to the next: [from, to, status, release, kind, findings].
  const spans = (changes) => changes.map(([run, state], n) => {
    const end = n + 1 < changes.length ? data.at[changes[n + 1][0]] - data.pad : 100;
    return [Math.max(data.at[run] - data.pad, 0), end, ...data.states[state]];
  });

  const isAudited = (status) => status === "audited" || status === "void";

  const bar = (kind, from, to, y, height) => {
    const place = { x: from + "%", width: Math.max(to - from, 0.2) + "%", y, height };
    return [draw("rect", { class: "fill-" + kind, ...place }), draw("rect", { class: "plain-tex tex-" + kind, ...place })];
  };

  // Joins neighbours that show the same: the first values of a span decide.
  const joined = (all, key) => all.reduce((list, span) => {
    const last = list[list.length - 1];
    if (last && key(last) === key(span)) list[list.length - 1] = [last[0], span[1], ...last.slice(2)];
    else list.push(span);
    return list;
  }, []);

  const kernelBars = (all) => joined(all, (span) => span[2] + " " + span[3]).flatMap(([from, to, status, , kind]) => (isAudited(status) ? bar(kind, from, to, 0, KERNEL) : []));

  // A label that does not fit is left out; the table has it.
  const kernelLabels = (all) => joined(all, (span) => span[2] + " " + span[3])
    .filter(([from, to, , release]) => (to - from) / 100 * (view.clientWidth - 60) > 7 * release.length + 8)
    .map(([from, to, , release]) => draw("text", { class: "on", x: (from + to) / 2 + "%", y: KERNEL / 2 + 4 }, release));

  const findingBars = (all, finding, y) => joined(all, (span) => span[5].includes(finding))
    .flatMap(([from, to, , , , open]) => (open.includes(finding) ? bar(data.findings[finding][1], from, to, y, FINDING) : []));

  const axisOf = (height) => Array.from(document.querySelector("svg.chart").querySelectorAll("[class^='ticks-']"), (ticks) => {
    const copy = ticks.cloneNode(true);
    copy.setAttribute("transform", "translate(0 " + (height - data.height) + ")");
    return copy;
  });

  // Cuts a long text at the width of the drawing; the table has all of it.
  const short = (text) => {
    const most = Math.max(Math.floor((view.clientWidth - 40) / 7.5), 8);
    return text.length > most ? text.slice(0, most - 1) + "…" : text;
  };

  const lanes = (changes) => {
    const all = spans(changes);
    const findings = [...new Set(all.flatMap((span) => span[5]))];
    const height = KERNEL + findings.length * (LABEL + FINDING + SPACE) + SPACE;
    const top = (lane) => KERNEL + SPACE + lane * (LABEL + FINDING + SPACE);
    const band = (kind, from, width) => draw("rect", { class: kind, x: from + "%", width: width + "%", height });
    return draw("svg", { class: "chart", width: "100%", height: height + 24, "aria-hidden": "true" },
      ...kernelBars(all),
      ...findings.flatMap((finding, lane) => findingBars(all, finding, top(lane) + LABEL)),
      ...all.filter((span) => !isAudited(span[2]) && span[2] !== "absent").map(([from, to]) => band("lane-unknown", from, to - from)),
      ...data.gaps.map(([from, width]) => band("gap", from, width)),
      ...kernelLabels(all),
      ...findings.map((finding, lane) => draw("text", { class: "on first", x: 0, y: top(lane) + LABEL - 4 }, short(data.findings[finding][0]))),
      draw("line", { class: "base", x2: "100%", y1: height, y2: height }),
      ...axisOf(height));
  };

  const table = (name, changes) => {
    const body = make("tbody", "");
    for (const [run, , text] of [...changes].reverse()) {
      const head = make("th", "date", ...Array.from(rows[data.at.length - 1 - run].cells[0].cloneNode(true).childNodes));
      head.scope = "row";
      // The report of the run shows this host.
      for (const link of head.querySelectorAll("a")) link.hash = "#host?name=" + encodeURIComponent(name);
      body.append(make("tr", "", head, make("td", "", ...data.texts[text].map((one) => make("div", "", untrusted(one))))));
    }
    const titles = ["Run (UTC)", "What changed"].map((title) => { const head = make("th", "", title); head.scope = "col"; return head; });
    return make("div", "scroll", make("table", "", make("thead", "", make("tr", "", ...titles)), body));
  };

  const show = (name) => {
    const changes = timelines.get(name);
    const heading = make("h3", "", untrusted(name));
    heading.tabIndex = -1;
    const plot = make("div", "plot", lanes(changes));
    view.replaceChildren(make("article", "chart-box host-view", heading, make("p", "intro", "The upper bar is the kernel, a bar below is an open finding. Hatched: not audited, so unknown."), plot, table(name, changes)));
    input.value = name;
    found.textContent = "";
    return heading;
  };

  const choose = (name) => {
    const heading = show(name);
    history.replaceState(null, "", "#host?name=" + encodeURIComponent(name));
    heading.focus({ preventScroll: true });
  };

  const suggest = (names, before) => {
    const buttons = names.slice(0, MOST).map((name) => {
      const button = make("button", "", untrusted(name));
      button.type = "button";
      button.addEventListener("click", () => choose(name));
      return button;
    });
    const more = names.length > MOST ? " and " + (names.length - MOST).toLocaleString("en") + " more" : "";
    found.replaceChildren(before, ...buttons.flatMap((button) => [" ", button]), more);
  };

  const search = () => {
    const text = input.value.trim().toLowerCase();
    view.replaceChildren();
    if (timelines.has(input.value.trim())) { show(input.value.trim()); return; }
    const names = [...timelines.keys()].filter((name) => name.toLowerCase().includes(text)).sort();
    if (!text) suggest([...timelines.keys()].sort((a, b) => timelines.get(b).length - timelines.get(a).length).slice(0, 3), timelines.size.toLocaleString("en") + " hosts. Most changes:");
    else suggest(names, names.length ? "" : "No host of this job has this in its name.");
  };

  const follow = () => {
    const name = new URLSearchParams(location.hash.replace(/^#host\?/, "")).get("name");
    if (!location.hash.startsWith("#host?") || !timelines.has(name)) return;
    show(name);
    document.getElementById("hosts").scrollIntoView({ behavior: "instant" });
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  input.addEventListener("input", search);
  window.addEventListener("hashchange", follow);
  search();
  follow();
}
