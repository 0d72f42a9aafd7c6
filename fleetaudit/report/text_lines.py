"""Lines of plain text for a terminal: counted and wrapped. Pure.

Rules: text from a host or an inventory passes `terminal_line` before it becomes part of a line.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from fleetaudit.analysis.causes import Cause
from fleetaudit.text.host_ranges import HostRanges
from fleetaudit.text.phrases import and_more, count_noun
from fleetaudit.text.sanitize import terminal_line

MIN_WIDTH = 40
"""Text is never wrapped to fewer columns."""
HANGING = "    "
"""Indentation of the further lines of a paragraph."""


def join_hosts(folded: HostRanges) -> str:
    """Returns folded hosts as one text, and how many are not named."""
    return ", ".join(map(terminal_line, folded.ranges)) + and_more(folded.more)


def describe_hosts(folded: HostRanges) -> str:
    """Returns "60 hosts srv[002-061]", and the name alone of one host."""
    names = join_hosts(folded)
    return names if folded.count == 1 else f"{count_noun(folded.count, 'host')} {names}"


def cause_lines(cause: Cause, width: int, indent: str = "  ") -> list[str]:
    """Returns a cause with its hosts, one reason, and the next command on a separate line.

    If the cause has several hosts, the command is that of the first, which is named:
    "next (web1):  ssh web1 true".
    """
    more = indent + HANGING
    title = f"{terminal_line(cause.title, 400)}: {describe_hosts(cause.hosts)}"
    lines = wrap([title], width, indent)
    if cause.details:
        lines += wrap([_first_reason(cause)], width, more)
    if cause.hints:
        host, hint = cause.hints[0]
        on_host = f" ({terminal_line(host)})" if cause.hosts.count > 1 else ""
        lines.append(command_line(f"{more}next{on_host}", hint))
    return lines


def _first_reason(cause: Cause) -> str:
    """Returns the first reason, with its hosts if the cause has others too; none is named twice."""
    first = cause.details[0]
    reason, hosts = terminal_line(first.reason, 400), join_hosts(first.hosts)
    if cause.hosts.count == first.hosts.count or f"'{hosts}'" in reason:
        return reason
    return f"{reason} ({hosts})"


def command_line(label: str, command: str) -> str:
    """Returns a line with a command to type; it is never wrapped, so that it can be pasted."""
    return f"{label}:  {terminal_line(command)}"


def align(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Returns a line per row, with its cells in columns, two blanks apart; [] for no row.

    Every row has the same number of cells. Each line begins with `indent`.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(map(str.ljust, row, widths)) for row in rows]


def rest_line(n: int, noun: str, plural: str = "") -> list[str]:
    """Returns the line that counts `n` rows that are not shown; [] if all are."""
    return [f"  and {count_noun(n, noun, plural)}: see the report"] if n > 0 else []


def wrap(paragraphs: Iterable[str], width: int, indent: str = "") -> list[str]:
    """Returns the lines of the paragraphs; empty ones have none, and no word is broken.

    `width` counts columns, of which there are at least `MIN_WIDTH`. Each first line begins with
    `indent`, further lines with `HANGING` more.
    """
    lines = list[str]()
    for paragraph in paragraphs:
        lines += textwrap.wrap(
            paragraph,
            max(width, MIN_WIDTH),
            initial_indent=indent,
            subsequent_indent=indent + HANGING,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def join_lines(lines: Iterable[str]) -> str:
    """Returns lines as one text, without blanks at their ends."""
    return "".join(line.rstrip() + "\n" for line in lines)
