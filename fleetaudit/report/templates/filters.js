
// What the list of hosts can be filtered by. The names of the filters are those of addresses (analysis/compare/host_links.py).
// Values of one name are alternatives; a host must match a value of every name. Filters of one kind are about the same thing:
// finding=ID&observed=RST asks for one finding with both.
(function () {
  const { data } = page;

  // A value that ends in "…" stands for every text that begins so.
  const same = (text, value) => text === value || (value.endsWith("…") && text.startsWith(value.slice(0, -1)));
  const isOpen = (finding) => finding[4] === null;
  const severities = ["error", "warning", "info"];
  const worst = (findings) => severities.filter((severity) => findings.some((one) => isOpen(one) && one[0] === severity)).slice(0, 1);
  const families = (text) => text.split(" and ");
  // A filter asks for it at each place, of which 10,000 different hosts have 10,000: so every name is looked at once.
  let places = null;
  function placeOf(name) {
    places = places || new Map(data.names.map((one, i) => [one, data.anchor[i]]).reverse());
    return places.get(name);
  }

  // Returns [index of the sysctl, row of its value] of every sysctl of hosts that share them.
  function settingsOf(rows) {
    if (!rows) return [];
    const own = new Map(rows);
    return data.settings.map(([, usual], i) => [i, own.has(i) ? own.get(i) : usual]).filter(([, row]) => row >= 0);
  }

  function endingsOf([letters]) {
    if (!letters) return [];
    const found = data.columns.map(([scenario, over], i) => [scenario, over, data.endings[letters.charCodeAt(i) - 97]]);
    return found.filter(([, , ending]) => ending);
  }

  const ofAnchor = (i) => data.behaviour[data.anchor[i]];
  // Each kind: the index of what a host shares with others (-1 for nothing), the things at each index, and how a thing fits a value.
  const kinds = [
    { at: (i) => data.group[i], things: () => data.groups, fits: { group: (name, value) => name === value } },
    {
      at: (i) => data.state[i],
      things: () => data.states.map((state) => [state]),
      fits: { state: (state, value) => state === value || (value === "short" && severities.includes(state)) || (value === "audited" && !state.startsWith("not ")) },
    },
    {
      at: (i) => data.kernel[i],
      things: () => data.kernels.map((kernel, i) => [[i, ...kernel]]),
      fits: {
        kernel: ([i], value) => String(i) === value,
        build: ([, release, , , , label], value) => same(label, value) || release === value,
        series: ([, , , , series], value) => (series || "none") === value,
      },
    },
    {
      at: (i) => data.finding[i],
      things: () => data.findings,
      fits: {
        finding: (one, value) => isOpen(one) && same(one[1], value),
        waived: (one, value) => !isOpen(one) && same(one[1], value),
        severity: (one, value) => one[0] === value,
        expected: (one, value) => same(one[2], value),
        observed: (one, value) => same(one[3], value),
        waiver: (one, value) => !isOpen(one) && same(one[4], value),
      },
    },
    {
      at: (i) => (data.kernel[i] < 0 ? -1 : data.finding[i]),
      things: () => data.findings.map(worst),
      fits: { worst: (severity, value) => severity === value || value === "any" },
    },
    {
      at: (i) => data.sysctl[i],
      things: () => data.sysctls.map(settingsOf),
      fits: { sysctl: ([i, row], value) => value === data.settings[i][0] || (row < data.settings[i][2].length && same(data.settings[i][2][row], value)) },
    },
    {
      at: (i) => data.sysctl[i],
      things: () => data.sysctls.map(settingsOf),
      fits: { unlisted: ([i, row], value) => value === data.settings[i][0] && row === data.settings[i][2].length },
    },
    {
      at: (i) => data.anchor[i],
      things: () => data.anchors.map((anchor) => (Object.hasOwn(data.causes, anchor) ? [data.causes[anchor]] : [])),
      fits: { cause: same },
    },
    {
      at: ofAnchor,
      things: () => data.behaviours.map(endingsOf),
      fits: {
        scenario: ([scenario], value) => same(scenario, value),
        family: ([, over], value) => families(value).some((family) => families(over).includes(family)),
        ending: ([, , ending], value) => ending === value,
      },
    },
    {
      at: ofAnchor,
      things: () => data.behaviours.map(([letters, onHost]) => (letters === undefined ? [] : [onHost ? "host" : "private"])),
      fits: { namespace: (where, value) => where === value },
    },
    {
      at: ofAnchor,
      things: () => data.behaviours.map(([, , reasons]) => (reasons || []).map((i) => data.reasons[i] || "no reason reported")),
      fits: { notrun: same },
    },
    {
      at: (i) => data.change[i],
      things: () => data.changes.map((all) => all.map((one) => data.changerows[one[6]]).filter(Boolean)),
      fits: { change: same },
    },
    {
      at: (i) => data.change[i],
      things: () => data.changes,
      fits: { changed: (one, value) => value === "any" || (value === "ending" ? one[1] === "scenario" : one[0] === value) },
    },
    { at: (i) => data.anchor[i], things: () => data.anchors.map((_, i) => [i]), fits: { like: (i, value) => i === placeOf(value) } },
    ...["resets", "unreadby", "unwatched", "service", "unasked"].map((name) => ({
      at: (i) => (data.row ? data.row[i] : -1),
      things: () => (data.rows || []).map((all) => all.map((i) => data.labels[i]).filter(([of]) => of === name).map(([, label]) => label)),
      fits: { [name]: same },
    })),
    { at: (i) => (data.unread[i] > 0 ? 0 : -1), things: () => [["now"]], fits: { unread: (when, value) => when === value } },
  ];

  const titles = {
    q: "Name or group", group: "Group", kernel: "Kernel", state: "State", changed: "Changed", finding: "Finding", waived: "Waived finding", severity: "Severity",
    expected: "Expected", observed: "Observed", waiver: "Waived because", worst: "Worst finding", sysctl: "Sysctl", unlisted: "Value that is not listed of", cause: "Not audited",
    build: "Kernel", series: "Series", scenario: "Scenario", family: "Over", ending: "Ending", namespace: "Measured in namespace", notrun: "Not run",
    change: "Change", like: "Behaves like", unread: "Unread data", resets: "Resets", unreadby: "Unread data of", unwatched: "Not watched",
    service: "Service", unasked: "Not asked",
  };
  // Anyone can write an address: a value may be the name of a property that every object has.
  const find = (object, key, otherwise) => (Object.hasOwn(object, key) ? object[key] : otherwise);
  const texts = {
    kernel: (value) => (data.kernels.find((_, i) => String(i) === value) || [value])[0],
    state: (value) => find({ short: "expectations not met", audited: "audited" }, value, find(page.states, value, ["", "", value])[2]),
    changed: (value) => find({ any: "anything", ending: "an ending" }, value, page.effectText(value)),
  };

  page.filters = {
    title: (name) => find(titles, name, name),
    text: (name, value) => find(texts, name, String)(value),
    // Returns, for a query, whether host number i fits, and the [name, value] pairs that no host has.
    read(query) {
      const filters = Array.from(query).filter(([name, value]) => value && name !== "q" && name !== "sort");
      const unknown = filters.filter(([name]) => !kinds.some((kind) => Object.hasOwn(kind.fits, name)));
      const tests = [];
      for (const kind of kinds) {
        const pairs = filters.filter(([name]) => Object.hasOwn(kind.fits, name));
        if (!pairs.length) continue;
        const things = kind.things();
        const fits = ([name, value], thing) => kind.fits[name](thing, value);
        unknown.push(...pairs.filter((pair) => !things.some((of) => of.some((thing) => fits(pair, thing)))));
        const names = [...new Set(pairs.map(([name]) => name))].map((name) => pairs.filter((pair) => pair[0] === name));
        const yes = things.map((of) => of.some((thing) => names.every((alternatives) => alternatives.some((pair) => fits(pair, thing)))));
        tests.push((i) => kind.at(i) >= 0 && yes[kind.at(i)]);
      }
      const hasUnknownName = filters.some(([name]) => !Object.hasOwn(titles, name));
      return { fits: (i) => !hasUnknownName && tests.every((test) => test(i)), unknown };
    },
  };
})();
