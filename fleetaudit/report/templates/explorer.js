
// All hosts: search, filters and order are kept in the fragment of the address, so that a link to them can be sent.
// #hosts?q=db&group=db&changed=ending&sort=-rate shows hosts, #host?name=db1 one of them. The filters are in filters.js.
(function () {
  const { data, make, untrusted } = page;
  const box = document.getElementById("explorer");
  const form = box.querySelector("form");
  const output = box.querySelector(".found output");
  const chips = document.getElementById("chips");
  const copies = document.getElementById("copies");
  const omitted = document.getElementById("omitted");
  const body = box.querySelector("table.hosts tbody");
  const list = document.getElementById("list");
  const more = document.getElementById("more");
  const own = document.getElementById("host");
  const names = ["q", "group", "kernel", "state", "changed"];
  // Rows that fill the view; the rest is built while scrolling.
  const AT_ONCE = 40;
  const count = data.names.length;
  if (!count) return;

  const search = data.names.map((name, i) => (name + "\n" + data.groups[data.group[i]].join("\n")).toLowerCase());
  const openFindings = data.findings.map((all) => all.filter((one) => one[4] === null).length);
  const number = (n, digits) => (n ? n.toFixed(digits || 0) : "");
  const known = (n, digits) => (n === null ? "" : n.toFixed(digits));
  const columns = [
    { key: "name", title: "Host", by: (i) => i, text: (i) => data.names[i], cell: (i) => { const a = make("a", "", untrusted(data.names[i])); a.href = "#host?name=" + encodeURIComponent(data.names[i]); return a; } },
    { key: "state", title: "State", by: (i) => data.state[i], text: (i) => data.states[data.state[i]], cell: (i) => page.verdict(data.states[data.state[i]]) },
    { key: "kernel", title: "Kernel", by: (i) => data.kernel[i], text: (i) => (data.kernel[i] < 0 ? "" : data.kernels[data.kernel[i]][0]), cell: (i, text) => (text ? make("span", "code", untrusted(text)) : "") },
    { key: "group", title: "Groups", by: (i) => data.group[i], text: (i) => data.groups[data.group[i]].join(", "), cell: (i, text) => untrusted(text) },
    { key: "findings", title: "Findings", kind: "num", by: (i) => openFindings[data.finding[i]], text: (i) => number(openFindings[data.finding[i]]) },
    { key: "changes", title: "Changes", kind: "num", by: (i) => data.changes[data.change[i]].length, text: (i) => number(data.changes[data.change[i]].length) },
    { key: "rate", title: "Aborts per 1,000", kind: "num", by: (i) => (data.rate[i] === null ? -1 : data.rate[i]), text: (i) => known(data.rate[i], 2) },
    { key: "unread", title: "Unread sockets", kind: "num", by: (i) => (data.unread[i] === null ? -1 : data.unread[i]), text: (i) => known(data.unread[i], 0) },
  ];
  const shown = columns.filter(({ key }) => key !== "changes" || data.changes.some((all) => all.length));
  let query = new URLSearchParams();
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
  for (const { key, title, kind } of shown) {
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
    const filters = Array.from(query).filter(([name, value]) => value && name !== "sort");
    if (order !== "name") filters.push(["sort", order]);
    // A colon and a slash need no escape, and addresses are read by people.
    const text = new URLSearchParams(filters).toString().replace(/%3A/g, ":").replace(/%2F/g, "/");
    return text ? "#hosts?" + text : "#hosts";
  }

  const counted = (n) => n.toLocaleString("en") + (n === 1 ? " host" : " hosts");
  const label = ([name, value]) => page.filters.title(name) + ": " + page.filters.text(name, value);

  // Shows each filter as a button that removes it.
  function showChips(unknown) {
    const filters = Array.from(query).filter(([name, value]) => value && name !== "sort");
    chips.replaceChildren(...filters.map((pair, n) => {
      const [name, value] = pair;
      const isUnknown = unknown.some((one) => one[0] === name && one[1] === value);
      const sign = make("span", "chip-sign", "×");
      sign.setAttribute("aria-hidden", "true");
      const button = make("button", isUnknown ? "chip chip-unknown" : "chip", page.filters.title(name) + ": ", untrusted(page.filters.text(name, value)), " ", sign);
      button.type = "button";
      button.setAttribute("aria-label", "Remove the filter " + label(pair));
      button.addEventListener("click", () => {
        query = new URLSearchParams(Array.from(query).filter((one) => one[0] !== name || one[1] !== value));
        fill();
        show();
        history.pushState(null, "", address());
        page.announce("Removed " + label(pair) + "; " + counted(found.length));
        // The focus stays where it was: on the next filter, or else on the list.
        (chips.querySelectorAll("button")[Math.min(n, chips.children.length - 1)] || list).focus();
      });
      return make("li", "", button);
    }));
    chips.hidden = !filters.length;
  }

  // Sets the fields to the filters of the address; a value that a field does not have is only among the chips.
  function fill() {
    for (const name of names) form.elements[name].value = query.get(name) || "";
  }

  // Builds rows as they scroll into view.
  const near = new IntersectionObserver((seen) => {
    if (seen.some((one) => one.isIntersecting) && built < found.length) build(5 * AT_ONCE);
  }, { root: list, rootMargin: "400px" });

  function build(most) {
    const rows = document.createDocumentFragment();
    for (const i of found.slice(built, built + most)) {
      const row = make("tr", "");
      shown.forEach(({ key, text, cell, kind }, n) => {
        const one = make(n ? "td" : "th", (kind || "") + " col-" + key, cell ? cell(i, text(i)) : text(i));
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
    const { fits, unknown } = page.filters.read(query);
    // Several texts are alternatives, as several values of any filter; of one text every word must be there.
    const texts = query.getAll("q").filter((text) => text.trim()).map((text) => text.toLowerCase().trim().split(/\s+/));
    const isNamed = (i) => !texts.length || texts.some((words) => words.every((word) => search[i].includes(word)));
    found = [];
    for (let i = 0; i < count; i++) if (fits(i) && isNamed(i)) found.push(i);
    const key = order.replace("-", "");
    const { by } = columns.find((column) => column.key === key) || columns[0];
    const sign = order[0] === "-" ? -1 : 1;
    found.sort((a, b) => sign * (by(a) - by(b)) || a - b);
    shown.forEach((column, n) => head.cells[n].setAttribute("aria-sort", column.key !== key ? "none" : sign > 0 ? "ascending" : "descending"));
    body.textContent = "";
    built = 0;
    build(AT_ONCE);
    showChips(unknown);
    omitted.textContent = "";
    for (const button of copies.querySelectorAll("button")) button.disabled = !found.length;
    const text = found.length === count ? counted(count) : found.length.toLocaleString("en") + " of " + counted(count);
    output.replaceChildren(text, ...(unknown.length ? [". No host of this report has ", untrusted(unknown.map(label).join(", ")), "."] : []));
  }

  // A link from a number leads to the list, for the keyboard, too. Without smooth scrolling, because the page is long.
  function arrive() {
    const heading = document.getElementById("hosts-h");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    document.getElementById("hosts").scrollIntoView({ behavior: "instant" });
  }

  // Shows the hosts, or the one host, that the fragment of the address names.
  function read() {
    const [place, text] = location.hash.split(/\?(.*)/s);
    if (place === "#host" && text) {
      const i = data.names.indexOf(new URLSearchParams(text).get("name"));
      own.hidden = false;
      list.hidden = form.hidden = true;
      chips.hidden = copies.hidden = true;
      output.textContent = omitted.textContent = "";
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
    list.hidden = form.hidden = copies.hidden = false;
    if (place === "#hosts" || was) {
      query = new URLSearchParams(text || "");
      // Links from earlier versions have the state by its old name.
      if (query.get("state") === "untold") query.set("state", "unknown");
      const sort = query.get("sort") || "name";
      order = columns.some((column) => column.key === sort.replace("-", "")) ? sort : "name";
      fill();
      show();
      if (place === "#hosts") arrive();
    } else if (!built) show();
  }

  form.addEventListener("input", (event) => {
    const { name, value } = event.target;
    query.delete(name);
    if (value.trim()) query.set(name, value.trim());
    show();
    if (name === "q") history.replaceState(null, "", address());
    else history.pushState(null, "", address());
  });
  form.addEventListener("reset", () => setTimeout(() => {
    order = "name";
    query = new URLSearchParams();
    show();
    history.pushState(null, "", "#hosts");
    form.elements.q.focus();
  }));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("copy-link").addEventListener("click", () => page.copy(location.href.split("#")[0] + address()));

  function rows() {
    return [columns.map(({ title }) => title), ...found.map((i) => columns.map(({ text }) => text(i)))];
  }
  document.getElementById("copy-table").addEventListener("click", () => page.copy(page.copies.table(rows()), "Copied " + counted(found.length) + " as a table"));
  document.getElementById("copy-csv").addEventListener("click", () => page.copy(page.copies.csv(rows()), "Copied " + counted(found.length) + " as CSV"));
  document.getElementById("copy-limit").addEventListener("click", () => {
    const { text, isFile, omitted: names } = page.copies.limit(found);
    const copied = text ? "Copied " + counted(found.length - names.length) : "Nothing was copied";
    const file = isFile ? ": too many for a command line. Save them as the file hosts.txt and type --limit @hosts.txt" : "";
    const without = names.length ? ". Left out, because no pattern selects them alone: " : "";
    omitted.replaceChildren(copied + file + without, ...names.slice(0, 20).flatMap((name, n) => [n ? ", " : "", untrusted(name)]), names.length > 20 ? " and " + (names.length - 20) + " more" : "");
    if (text) page.copy(text, omitted.textContent);
    else page.announce(omitted.textContent);
  });
  // A second click on the same number changes no address.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#host']");
    if (link && link.getAttribute("href") === location.hash) read();
  });
  window.addEventListener("hashchange", read);
  window.addEventListener("popstate", read);
  box.hidden = false;
  own.hidden = true;
  read();
})();
