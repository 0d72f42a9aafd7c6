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
| resets=TEXT, unreadby=TEXT | in a row of who resets, or of unread sockets by program |
| unwatched=TEXT | that could not be watched for that reason |
| service=TEXT, unasked=TEXT | in a row of services, or of what could not be asked |
| q, group, kernel, state, changed, sort | as the fields above the list |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from fleetaudit.text.sanitize import cut, escape_text

from .view_model import Build, Column, Highlight, SeriesChart, TracePair

MAX_VALUE = 200
"""Maximum number of characters of a value; a longer text is cut, with "…" at its end, and stands
for every text that begins so.
"""
MAX_LABEL = 180
"""Maximum number of characters of a label, before its number."""
_READABLE = ":/,.@"
"""Characters besides letters, digits and "_.-~" that a query may have unescaped (RFC 3986, 3.5)."""

_Endings = Column | Highlight | SeriesChart | TracePair
"""What is about one scenario over some families."""
Values = str | Sequence[str]
"""One value, or several alternatives."""
Filters = Mapping[str, Values]
"""Values by the name of their filter."""
NO_FILTERS: Filters = {}


def host_query(filters: Filters) -> str:
    """Returns the query of an address of hosts, percent-encoded; filters without a value are left
    out.

    {"build": "6.1.0-28", "ending": "RST"} is "build=6.1.0-28&ending=RST". All of it is ASCII
    without blanks, quotation marks, "<" and ">".
    """
    return "&".join(
        f"{name}={quote(filter_value(value), safe=_READABLE)}" for name, value in _pairs(filters)
    )


def filter_value(text: str) -> str:
    """Returns a text as filters compare it: as the page shows it, at most `MAX_VALUE` long.

    The value of a value is the value itself.
    """
    return cut(escape_text(cut(text, MAX_VALUE)), MAX_VALUE)


def cell_filters(build: Build, column: Column, endings: Values) -> dict[str, Values]:
    """Returns the filters of the hosts of a build with these endings in a column."""
    return {"build": build.label, **ending_filters(column, endings)}


def ending_filters(column: _Endings, endings: Values) -> dict[str, Values]:
    """Returns the filters of the hosts with these endings, whatever their build."""
    return {"scenario": column.scenario, "family": column.families, "ending": endings}


def unique_labels(items: Sequence[Sequence[str]]) -> list[str]:
    """Returns a text for each item, of its texts the first that is the text of no other item.

    Every item has as many texts, each with more detail than the one before it. Items that are equal
    in all of them are numbered: "kernel (2)". No label is longer than `filter_value` keeps.
    """
    levels = [
        [filter_value(cut(text, MAX_LABEL)) for text in of] for of in zip(*items, strict=True)
    ]
    counts = list(map(Counter, levels))
    labels = list[str]()
    for place, texts in enumerate(zip(*levels, strict=True), 1):
        unique = (text for text, of in zip(texts, counts, strict=True) if of[text] == 1)
        labels.append(next(unique, f"{texts[-1][:MAX_LABEL]} ({place})"))
    return labels


def _pairs(filters: Filters) -> Iterator[tuple[str, str]]:
    """Yields each filter with each of its values, without empty ones."""
    for name, values in filters.items():
        for value in [values] if isinstance(values, str) else values:
            if value:
                yield name, value
