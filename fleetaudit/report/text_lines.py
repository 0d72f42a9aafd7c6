"""Lines of plain text for a terminal: harmless, counted, wrapped. Pure.

Rules: what a host or an inventory said passes `terminal_line` before it becomes part of a line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from fleetaudit.analysis.causes import Cause
from fleetaudit.text.host_ranges import HostRanges
from fleetaudit.text.sanitize import terminal_line


def counted(n: int, noun: str) -> str:
    """Returns "1 host", "2 hosts"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def hosts_in_words(folded: HostRanges) -> str:
    """Returns folded hosts as one text, and how many are not named."""
    names = ", ".join(terminal_line(name) for name in folded.ranges)
    return names + (f" and {folded.more:,} more" if folded.more else "")


def cause_lines(cause: Cause, width: int, indent: str = "  ") -> list[str]:
    """Returns a cause with its hosts, the reason of one of them, and the next command on a separate
    line.
    """
    more = indent + "    "
    lines = wrapped(
        [f"{terminal_line(cause.title, 400)}: {counted_hosts(cause.hosts)}"], width, indent
    )
    if cause.details:
        lines += wrapped([_detail(cause)], width, more)
    if cause.hints:
        host, hint = cause.hints[0]
        whose = f" ({terminal_line(host)})" if cause.hosts.count > 1 else ""
        lines.append(
            f"{more}next{whose}:  {terminal_line(hint)}"
        )  # not wrapped, so that it can be copied
    return lines


def _detail(cause: Cause) -> str:
    first = cause.details[0]
    if cause.hosts.count == first.hosts.count:
        return terminal_line(first.reason, 400)
    return f"{terminal_line(first.reason, 400)} ({hosts_in_words(first.hosts)})"


def counted_hosts(folded: HostRanges) -> str:
    """Returns "60 hosts srv[002-061]", and the name alone of one host."""
    names = hosts_in_words(folded)
    return names if folded.count == 1 else f"{counted(folded.count, 'host')} {names}"


def wrapped(paragraphs: Iterable[str], width: int, indent: str = "") -> list[str]:
    """Returns the lines of the paragraphs; further lines of one hang by two blanks, and no word is
    broken.
    """
    return [
        line
        for text in paragraphs
        for line in textwrap.wrap(
            text,
            max(width, 40),
            initial_indent=indent,
            subsequent_indent=indent + "    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def joined(lines: Iterable[str]) -> str:
    """Returns lines as one text, without blanks at their ends."""
    return "".join(line.rstrip() + "\n" for line in lines)
