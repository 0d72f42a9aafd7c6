
// The listed hosts for other programs: a table for a spreadsheet, CSV, and what to type after ansible-playbook.
(function () {
  // As report/csv.py: a cell that would be a formula begins with an apostrophe, also after other separators.
  const inert = (text) => text.replace(/(^|[;|])([\s"]*)(?=[=+\-@＝＋－＠])/g, "$1$2'").replace(/[\t\r\n]/g, " ");
  const quotedCell = (text) => (/[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text);

  // Linux refuses an argument of 128 KiB.
  const ARGUMENT_MAX = 100000;
  // A part of a pattern that is the name of a host selects that host, with exceptions: for Ansible a first "!" or "&" means
  // without or only, a first "@" begins the name of a file, blanks at the ends are dropped, and a comma ends the part.
  const isMisread = (name) => /^[!&@]|^\s|\s$|,/.test(name);
  // Then it is a regular expression, in which every character but letters and digits is escaped.
  const expression = (name) => "~" + name.replace(/[^A-Za-z0-9_\u0080-\uffff]/g, (sign) => "\\x" + sign.charCodeAt(0).toString(16).padStart(2, "0")) + "\\Z";

  page.copies = {
    // Returns rows of texts as lines with tabs between them.
    table: (rows) => rows.map((row) => row.map(inert).join("\t")).join("\n") + "\n",
    // Returns rows of texts as RFC 4180 has them.
    csv: (rows) => rows.map((row) => row.map((text) => quotedCell(inert(text))).join(",")).join("\r\n") + "\r\n",
    // Returns the option --limit for these hosts, or a list for a file if that is too long; and the hosts that no pattern selects alone.
    limit(hosts) {
      const { names, groups, disguised } = page.data;
      const groupNames = new Set(groups.flat());
      const hidden = new Set(disguised);
      // The page shows the escape of an invisible character, not the character; an expression matches groups, too.
      const cannot = (i) => hidden.has(i) || (isMisread(names[i]) && groupNames.has(names[i]));
      const parts = hosts.filter((i) => !cannot(i)).map((i) => (isMisread(names[i]) ? expression(names[i]) : names[i]));
      const omitted = hosts.filter(cannot).map((i) => names[i]);
      // A comma makes colons, blanks and brackets part of a name, also of the only one.
      const pattern = parts.length === 1 && /[\s:\[\]]/.test(parts[0]) ? parts[0] + "," : parts.join(",");
      if (new TextEncoder().encode(pattern).length > ARGUMENT_MAX) return { text: parts.join("\n") + "\n", isFile: true, omitted };
      // With "=", because a name may begin with "-".
      return { text: parts.length ? "--limit=" + page.quoted(pattern, true) : "", isFile: false, omitted };
    },
  };
})();
