
// The view of one host: its own facts, then the verdicts that it shares with its behaviour group.
page.states = {
  "error": ["error", "✗", "expectations not met: error"],
  "warning": ["warning", "!", "expectations not met: warning"],
  "info": ["info", "!", "expectations not met: info"],
  "unknown": ["unknown", "?", "unknown"],
  "void": ["void", "∅", "void: the positive control failed"],
  "not audited": ["not-run", "–", "not audited"],
  "not selected": ["not-run", "–", "not selected by any play"],
  "met": ["met", "✓", "as expected"],
};

// Returns the words of an effect; two of them have older names in the data.
page.effectText = (effect) => (effect === "no longer told" ? "no longer known" : effect === "told again" ? "now known" : effect);

page.verdict = function (state) {
  const [kind, mark, text] = page.states[state];
  const sign = page.make("span", "mark", mark);
  sign.setAttribute("aria-hidden", "true");
  return page.make("span", "verdict verdict-" + kind, sign, " " + text);
};

page.quoted = (text, always) => (!always && /^[\w@%+=:,.\/-]+$/.test(text) ? text : "'" + text.replace(/'/g, "'\"'\"'") + "'");

page.host = function (i) {
  const { data, make, untrusted } = page;
  const at = (column, list) => data[list][data[column][i]];
  const name = data.names[i];
  const state = data.states[data.state[i]];
  const anchor = at("anchor", "anchors");
  const box = make("article", "card host");
  const heading = make("h3", "", untrusted(name));
  heading.tabIndex = -1;
  const back = make("a", "", "All hosts");
  back.href = "#hosts";
  const like = make("a", "", "Hosts that behave the same");
  like.href = "#hosts?like=" + encodeURIComponent(name);
  const facts = make("dl", "facts-list");
  const fact = (title, ...content) => facts.append(make("div", "", make("dt", "", title), make("dd", "", ...content)));
  const list = (texts) => texts.flatMap((text, n) => (n ? [", ", untrusted(text)] : [untrusted(text)]));
  fact("State", page.verdict(state));
  if (data.kernel[i] >= 0) {
    const [release, version, of] = data.kernels[data.kernel[i]];
    const link = make("a", "code", untrusted(release));
    link.href = "#" + of;
    fact("Kernel", link, " ", make("span", "quiet", untrusted(version)));
  }
  if (at("group", "groups").length) fact("Groups", ...list(at("group", "groups")));
  fact(data.kernel[i] < 0 ? "Reason" : "System", ...list(at("about", "abouts")));
  if (data.rate[i] !== null) fact("Production", data.rate[i].toFixed(2) + " of 1,000 connections since boot were closed with unread data");
  if (data.unread[i] !== null) fact("Now", data.unread[i] + (data.unread[i] === 1 ? " socket holds" : " sockets hold") + " unread data");
  for (const row of data.row ? data.rows[data.row[i]] : []) fact(page.filters.title(data.labels[row][0]), untrusted(data.labels[row][1]));
  for (const [severity, id, expected, observed, waived, since] of at("finding", "findings")) {
    const text = [make("span", "code", untrusted(id)), ": expected ", untrusted(expected), ", observed ", untrusted(observed)];
    const dated = since ? make("span", "quiet", " since " + since) : "";
    if (waived === null) fact(severity, ...text, dated);
    else fact(severity, make("s", "", ...text), "; waived: ", untrusted(waived), dated);
  }
  for (const [effect, , what, before, after, since] of at("change", "changes")) {
    fact(page.effectText(effect), make("span", "code", untrusted(what)), ": ", untrusted(before), " → ", untrusted(after), since ? make("span", "quiet", " since " + since) : "");
  }
  const explain = "fleetaudit explain " + page.quoted(data.run) + " " + page.quoted(name);
  const [pieces, isCommand] = at("hint", "hints").length ? at("hint", "hints") : [[explain], true];
  const next = pieces.join(name);
  if (state !== "not selected") fact(state === "not audited" ? "Next" : "Details", isCommand ? make("code", "command", untrusted(next)) : untrusted(next));
  box.append(make("p", "back", back, data.kernel[i] < 0 ? "" : " · ", data.kernel[i] < 0 ? "" : like), heading, facts);
  const profile = document.getElementById(anchor);
  const behaviour = profile && profile.querySelector(".behaviour");
  if (behaviour) {
    const copy = behaviour.cloneNode(true);
    box.append(copy);
    // Its packets too, each trace once. The copies have no ids, because an id is unique.
    for (const of of new Set(page.all("td a[href^='#trace-']", copy).map((link) => link.getAttribute("href").slice(1)))) {
      const trace = document.getElementById(of).closest("details").cloneNode(true);
      page.all("[id]", trace).forEach((one) => one.removeAttribute("id"));
      box.append(trace);
    }
    page.all("[role=group]", box).forEach((one) => one.setAttribute("aria-label", one.getAttribute("aria-label") + ", as on " + name));
  }
  page.addCopyButtons(box);
  return [box, heading];
};
