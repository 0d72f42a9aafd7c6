
// One host's own page: what is told of it alone, then what it shares with those that behave like it.
page.states = {
  "error": ["error", "✗", "falls short: error"],
  "warning": ["warning", "!", "falls short: warning"],
  "info": ["info", "!", "differs, for information"],
  "untold": ["untold", "?", "could not be told"],
  "void": ["void", "∅", "void: the positive control failed"],
  "not audited": ["silent", "–", "not audited"],
  "not selected": ["silent", "–", "not selected by any play"],
  "met": ["met", "✓", "as expected"],
};

page.tone = function (state) {
  const [tone, mark, words] = page.states[state];
  const sign = page.make("span", "mark", mark);
  sign.setAttribute("aria-hidden", "true");
  return page.make("span", "tone tone-" + tone, sign, " " + words);
};

page.quoted = (text) => (/^[\w@%+=:,.\/-]+$/.test(text) ? text : "'" + text.replace(/'/g, "'\"'\"'") + "'");

page.host = function (i) {
  const { data, make, said } = page;
  const at = (column, list) => data[list][data[column][i]];
  const name = data.names[i];
  const state = data.states[data.state[i]];
  const anchor = at("anchor", "anchors");
  const box = make("article", "card host");
  const heading = make("h3", "", said(name));
  heading.tabIndex = -1;
  const back = make("a", "", "All hosts");
  back.href = "#hosts";
  const facts = make("dl", "facts-list");
  const fact = (title, ...words) => facts.append(make("div", "", make("dt", "", title), make("dd", "", ...words)));
  const list = (texts) => texts.flatMap((text, n) => (n ? [", ", said(text)] : [said(text)]));
  fact("State", page.tone(state));
  if (data.kernel[i] >= 0) {
    const [release, version, of] = data.kernels[data.kernel[i]];
    const link = make("a", "code", said(release));
    link.href = "#" + of;
    fact("Kernel", link, " ", make("span", "quiet", said(version)));
  }
  if (at("group", "groups").length) fact("Groups", ...list(at("group", "groups")));
  fact(state === "not audited" ? "Why" : "About", ...list(at("about", "abouts")));
  if (data.rate[i] !== null) fact("Production", data.rate[i].toFixed(2) + " of 1,000 connections since boot closed with unread data");
  if (data.unread[i] !== null) fact("Now", data.unread[i] + (data.unread[i] === 1 ? " socket holds" : " sockets hold") + " unread data");
  for (const [severity, id, expected, observed, waived, since] of at("finding", "findings")) {
    const words = [make("span", "code", said(id)), ": expected ", said(expected), ", observed ", said(observed)];
    const dated = since ? make("span", "quiet", " since " + since) : "";
    if (waived === null) fact(severity, ...words, dated);
    else fact(severity, make("s", "", ...words), "; waived: ", said(waived), dated);
  }
  for (const [effect, , what, before, after, since] of at("change", "changes")) {
    fact(effect, make("span", "code", said(what)), ": ", said(before), " → ", said(after), since ? make("span", "quiet", " since " + since) : "");
  }
  const explain = "fleetaudit explain " + page.quoted(data.run) + " " + page.quoted(name);
  const [pieces, typed] = at("hint", "hints").length ? at("hint", "hints") : [[explain], true];
  const next = pieces.join(name);
  if (state !== "not selected") fact(state === "not audited" ? "Next" : "To see it again", typed ? make("code", "command", said(next)) : said(next));
  box.append(make("p", "back", back), heading, facts);
  const profile = document.getElementById(anchor);
  const behaviour = profile && profile.querySelector(".behaviour");
  if (behaviour) {
    const copy = behaviour.cloneNode(true);
    box.append(copy);
    // Its packets too, once each, under names of their own.
    for (const of of new Set(page.all("td a[href^='#trace-']", copy).map((link) => link.getAttribute("href").slice(1)))) {
      const trace = document.getElementById(of).closest("details").cloneNode(true);
      page.all("[id]", trace).forEach((one) => one.removeAttribute("id"));
      box.append(trace);
    }
    page.all("[role=group]", box).forEach((one) => one.setAttribute("aria-label", one.getAttribute("aria-label") + ", as on " + name));
  }
  page.offer(box);
  return [box, heading];
};
