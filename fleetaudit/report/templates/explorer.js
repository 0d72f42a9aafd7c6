
// All hosts: search, filters and order are kept in the fragment of the address, so that a link to them can be sent.
// #hosts?q=db&group=db&changed=ending&sort=-rate shows hosts, #host?name=db1 one of them.
(function () {
  const { data, make, untrusted } = page;
  const box = document.getElementById("explorer");
  const form = box.querySelector("form");
  const output = form.parentElement.querySelector("output");
  const body = box.querySelector("table.hosts tbody");
  const list = document.getElementById("list");
  const more = document.getElementById("more");
  const own = document.getElementById("host");
  const names = ["q", "group", "kernel", "state", "changed"];
  // Rows that fill the view; the rest is built while scrolling.
  const AT_ONCE = 40;
  const count = data.names.length;
  if (!count) return;

  const texts = data.names.map((name, i) => (name + "\n" + data.groups[data.group[i]].join("\n")).toLowerCase());
  const gravity = data.findings.map((all) => all.filter((one) => one[4] === null).length);
  const columns = [
    ["name", "Host", (i) => i, (i) => { const a = make("a", "", untrusted(data.names[i])); a.href = "#host?name=" + encodeURIComponent(data.names[i]); return a; }],
    ["state", "State", (i) => data.state[i], (i) => page.verdict(data.states[data.state[i]])],
    ["kernel", "Kernel", (i) => data.kernel[i], (i) => (data.kernel[i] < 0 ? "" : make("span", "code", untrusted(data.kernels[data.kernel[i]][0])))],
    ["group", "Groups", (i) => data.group[i], (i) => untrusted(data.groups[data.group[i]].join(", "))],
    ["findings", "Findings", (i) => gravity[data.finding[i]], (i) => String(gravity[data.finding[i]] || ""), "num"],
    ["changes", "Changes", (i) => data.changes[data.change[i]].length, (i) => String(data.changes[data.change[i]].length || ""), "num"],
    ["rate", "Aborts per 1,000", (i) => (data.rate[i] === null ? -1 : data.rate[i]), (i) => (data.rate[i] === null ? "" : data.rate[i].toFixed(2)), "num"],
    ["unread", "Unread sockets", (i) => (data.unread[i] === null ? -1 : data.unread[i]), (i) => (data.unread[i] === null ? "" : String(data.unread[i])), "num"],
  ];
  const shown = columns.filter(([key]) => key !== "changes" || data.changes.some((all) => all.length));
  let order = "name";
  let found = [];
  let built = 0;

  function options(name, pairs) {
    const select = form.elements[name];
    for (const [value, label] of pairs) {
      const option = make("option", "", label);
      option.value = value;
      select.append(option);
    }
    select.closest("p").hidden = pairs.length === 0;
  }
  options("group", [...new Set(data.groups.flat())].sort().map((name) => [name, name]));
  options("kernel", data.kernels.map(([release], i) => [String(i), release]));
  options("state", [["short", "expectations not met"], ...data.states.filter((_, s) => data.state.includes(s)).map((s) => [s, page.states[s][2]])]);
  const effects = [...new Set(data.changes.flat().map((one) => one[0]))];
  options("changed", effects.length ? [["any", "anything"], ["ending", "an ending"], ...effects.map((e) => [e, page.effectText(e)])] : []);

  const head = box.querySelector("table.hosts thead tr");
  for (const [key, title, , , kind] of shown) {
    const button = make("button", "sort", title);
    button.type = "button";
    const cell = make("th", (kind || "") + " col-" + key, button);
    cell.scope = "col";
    button.addEventListener("click", () => {
      // The first click sorts text ascending and numbers descending.
      const first = kind ? "-" + key : key;
      order = order === first ? (kind ? key : "-" + key) : first;
      show();
      history.pushState(null, "", address());
      page.announce("Sorted by " + title + (order[0] === "-" ? ", descending" : ", ascending"));
    });
    head.append(cell);
  }

  function address() {
    const query = new URLSearchParams();
    for (const name of names) if (form.elements[name].value.trim()) query.set(name, form.elements[name].value.trim());
    if (order !== "name") query.set("sort", order);
    const text = query.toString();
    return text ? "#hosts?" + text : "#hosts";
  }

  function fits() {
    const filters = Object.fromEntries(names.map((name) => [name, form.elements[name].value]));
    const words = filters.q.toLowerCase().split(/\s+/).filter(Boolean);
    const groups = data.groups.map((all) => !filters.group || all.includes(filters.group));
    const states = data.states.map((s) => !filters.state || s === filters.state || (filters.state === "short" && ["error", "warning", "info"].includes(s)));
    const changes = data.changes.map((all) => !filters.changed || (filters.changed === "any" ? all.length > 0
      : all.some((one) => (filters.changed === "ending" ? one[1] === "scenario" : one[0] === filters.changed))));
    const result = [];
    for (let i = 0; i < count; i++) {
      if (groups[data.group[i]] && states[data.state[i]] && changes[data.change[i]] &&
          (filters.kernel === "" || data.kernel[i] === Number(filters.kernel)) &&
          words.every((word) => texts[i].includes(word))) result.push(i);
    }
    return result;
  }

  // Builds rows as they scroll into view.
  const near = new IntersectionObserver((seen) => {
    if (seen.some((one) => one.isIntersecting) && built < found.length) build(5 * AT_ONCE);
  }, { root: list, rootMargin: "400px" });

  function build(most) {
    const rows = document.createDocumentFragment();
    for (const i of found.slice(built, built + most)) {
      const row = make("tr", "");
      shown.forEach(([key, , , cell, kind], n) => {
        const one = make(n ? "td" : "th", (kind || "") + " col-" + key, cell(i));
        if (!n) one.scope = "row";
        row.append(one);
      });
      rows.append(row);
    }
    body.append(rows);
    built = Math.min(found.length, built + most);
    more.textContent = built < found.length ? (found.length - built).toLocaleString("en") + " more as you scroll" : "";
    // Observed again, because it reports only changes: on a tall screen the end of the rows may still be in view.
    near.unobserve(more);
    near.observe(more);
  }

  function show() {
    // First, while the layout is valid: after a change to the rows it would be computed once more.
    list.scrollTop = 0;
    found = fits();
    const key = order.replace("-", "");
    const by = (columns.find((column) => column[0] === key) || columns[0])[2];
    const sign = order[0] === "-" ? -1 : 1;
    found.sort((a, b) => sign * (by(a) - by(b)) || a - b);
    shown.forEach(([name], n) => head.cells[n].setAttribute("aria-sort", name !== key ? "none" : sign > 0 ? "ascending" : "descending"));
    body.textContent = "";
    built = 0;
    build(AT_ONCE);
    output.textContent = found.length === count ? count.toLocaleString("en") + (count === 1 ? " host" : " hosts")
      : found.length.toLocaleString("en") + " of " + count.toLocaleString("en") + (count === 1 ? " host" : " hosts");
  }

  // Shows what the fragment of the address asks for.
  function read() {
    const [place, query] = location.hash.split(/\?(.*)/s);
    if (place === "#host" && query) {
      const i = data.names.indexOf(new URLSearchParams(query).get("name"));
      own.hidden = false;
      list.hidden = form.hidden = true;
      output.textContent = "";
      if (i < 0) {
        const back = make("a", "", "all hosts");
        back.href = "#hosts";
        own.replaceChildren(make("p", "none", "No host of that name in this run: see ", back, "."));
        own.scrollIntoView();
      } else {
        const [article, heading] = page.host(i);
        own.replaceChildren(article);
        own.scrollIntoView();
        heading.focus({ preventScroll: true });
      }
      return;
    }
    const was = !own.hidden;
    own.hidden = true;
    list.hidden = form.hidden = false;
    if (place === "#hosts" || was) {
      const filters = new URLSearchParams(query || "");
      // Links from earlier versions have the state by its old name.
      if (filters.get("state") === "untold") filters.set("state", "unknown");
      for (const name of names) form.elements[name].value = filters.get(name) || "";
      const sort = filters.get("sort") || "name";
      order = columns.some((column) => column[0] === sort.replace("-", "")) ? sort : "name";
      show();
      if (place === "#hosts") document.getElementById("hosts").scrollIntoView();
    } else if (!built) show();
  }

  form.addEventListener("input", (event) => {
    show();
    if (event.target.name === "q") history.replaceState(null, "", address());
    else history.pushState(null, "", address());
  });
  form.addEventListener("reset", () => setTimeout(() => {
    order = "name";
    show();
    history.pushState(null, "", "#hosts");
    form.elements.q.focus();
  }));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("copy-link").addEventListener("click", () => page.copy(location.href.split("#")[0] + address()));
  window.addEventListener("hashchange", read);
  window.addEventListener("popstate", read);
  box.hidden = false;
  own.hidden = true;
  read();
})();
