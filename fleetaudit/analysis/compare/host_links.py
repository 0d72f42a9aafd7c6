"""Makes the addresses of hosts on the page: from a number to the hosts that it counts. Pure.

Rules:
- An address is "#hosts?" and a query, such as "finding=sysctl:net.ipv4.tcp_rmem&group=web". The
  page adds the "#hosts?" with its script: a page without a script has no list to filter, so there
  a number links to its details.
- Filters of different names combine: a host has all of them. Several values of one name are
  alternatives: a host has one of them.
- A value is text that the page shows, never a number of a row: an address works in the report of
  the next run, too, or the page says that it has no such value.
- Values are compared as the page shows them, so what is invisible is escaped here, too.

| filter | hosts |
|---|---|
| finding=ID, waived=ID | with a finding of that id that is not waived, or that is |
| observed=, expected=, severity=, waiver= | in which that finding has these texts |
| worst=SEVERITY or any | audited, and that severity is the worst of their open findings |
| sysctl=KEY=VALUE, unlisted=KEY | with a value of a sysctl, or with one that is not listed |
| cause=TITLE | not audited for that cause |
| build=RELEASE, series=6.12 | of a kernel build or a kernel series |
| scenario=NAME, family=IPv4, ending=RST | that ended a scenario so, or at all; or "void" |
| namespace=host | measured in their own network namespace |
| notrun=REASON | with a verdict that was not run for that reason |
| change=TEXT | with one row of the changes |
| like=HOST | with the same behaviour as a host |
| unread=now | with sockets that hold unread data |
| q, group, kernel, state, changed, sort | as the fields above the list |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from fleetaudit.text.sanitize import cut, escape_text

MAX_VALUE = 200
"""Maximum number of characters of a value; a longer text is cut, with "…" at its end, and stands
for every text that begins so.
"""
_READABLE = ":/,.@"
"""Characters besides letters, digits and "_.-~" that a query may have unescaped (RFC 3986, 3.5)."""

Values = str | Sequence[str]
"""One value, or several alternatives."""


def host_query(filters: Mapping[str, Values]) -> str:
    """Returns the query of an address of hosts, percent-encoded; filters without a value are left
    out.

    {"build": "6.1.0-28", "ending": "RST"} is "build=6.1.0-28&ending=RST". All of it is ASCII
    without blanks, quotation marks, "<" and ">".
    """
    return "&".join(
        f"{name}={quote(filter_value(value), safe=_READABLE)}" for name, value in _pairs(filters)
    )


def filter_value(text: str) -> str:
    """Returns a text as filters compare it: as the page shows it, at most `MAX_VALUE` long."""
    return escape_text(cut(text, MAX_VALUE))


def _pairs(filters: Mapping[str, Values]) -> Iterator[tuple[str, str]]:
    """Yields each filter with each of its values, without empty ones."""
    for name, values in filters.items():
        for value in [values] if isinstance(values, str) else values:
            if value:
                yield name, value
