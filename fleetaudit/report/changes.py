"""What changed between two runs, as text: regressions first, each with its hosts and its date.

Rules: pure, and plain text. Text from hosts passes `terminal_line`. What does not fit is counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.analysis.compare.view_model import ChangeRow, Changes
from fleetaudit.model import ResetRate
from fleetaudit.text.phrases import and_more, count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .text_lines import join_hosts, join_lines, rest_line, wrap

MOST_SUBJECTS = 6
"""How many regressed scenarios and sysctls the first line names."""


def changes_text(changes: Changes, *, width: int = 80, most: int = 200) -> str:
    """Returns all changes as text, at most `most` rows, sentences wrapped to `width`.

    The rest of the rows is counted. Notes follow, then the rates of production: how many of 1,000
    connections were closed with unread data between the runs.
    """
    return join_lines(
        (
            *changes_lines(changes, width, most),
            *wrap(map(terminal_line, changes.notes), width),
            *_rate_lines(changes, width),
        )
    )


def changes_lines(changes: Changes, width: int, most: int) -> list[str]:
    """Returns a headline and a row per change, without the rates of production.

    The headline is one of "Not compared with RUN: ", "Nothing changed since RUN on 4 hosts." and
    "Changed since RUN: 2 hosts regressed". At most `most` rows follow, the others are counted.
    """
    before = terminal_line(changes.before)
    if changes.refused:
        return wrap([f"Not compared with {before}: {terminal_line(changes.refused)}."], width)
    if not changes.rows:
        hosts = count_noun(changes.compared, "host")
        return wrap([f"Nothing changed since {before} on {hosts}."], width)
    lines = wrap([f"Changed since {before}: {_counts(changes)}"], width)
    lines += wrap(map(_row, changes.rows[:most]), width, "  ")
    return lines + rest_line(len(changes.rows[most:]) + changes.omitted, "more change")


def _counts(changes: Changes) -> str:
    """Returns the counts by effect; the first names what regressed."""
    counts = [f"{count_noun(hosts, 'host')} {text}" for hosts, text in changes.counts]
    if changes.regressed:
        counts[0] += f" ({_regressed(changes)})"
    return ", ".join(counts)


def _regressed(changes: Changes) -> str:
    """Returns the regressed scenarios and sysctls, each with its number of hosts."""
    named = changes.regressed[:MOST_SUBJECTS]
    names = ", ".join(f"{terminal_line(subject, 200)} on {hosts:,}" for subject, hosts in named)
    return names + and_more(len(changes.regressed) - len(named))


def _row(row: ChangeRow) -> str:
    """Returns one change with its hosts."""
    severity = surround(" (", row.severity, ")")
    detail = surround(" (", terminal_line(row.detail), ")")
    change = f"{terminal_line(row.before, 200)} → {terminal_line(row.after, 200)}"
    since = "not met since" if row.effect == "fix" else "first seen"
    waived = "" if row.waived is None else f"; waived: {terminal_line(row.waived, 200)}"
    return (
        f"{row.effect_text}{severity}  {terminal_line(row.subject)}{detail}: {change},"
        f" {since} {terminal_line(row.since)}: {join_hosts(row.hosts)}{waived}"
    )


def _rate_lines(changes: Changes, width: int) -> Iterator[str]:
    """Yields the rates of the hosts with aborts between the runs, then the unknown rates."""
    with_aborts = [rate for rate in changes.rates if rate.aborts]
    if with_aborts:
        yield "Closed with unread data between the runs, per 1,000 connections:"
    yield from wrap(map(_rate, with_aborts), width, "  ")
    for reason, hosts in changes.unrated:
        count = f"{count_noun(hosts.count, 'host')} ({join_hosts(hosts)})"
        yield from wrap([f"Rate unknown on {count}: {terminal_line(reason)}."], width)


def _rate(rate: ResetRate) -> str:
    """Returns the rate of one host, and its rate before."""
    before = "" if rate.before_per_thousand is None else f"{rate.before_per_thousand:,.2f}"
    counts = f"({rate.aborts:,} of {rate.connections:,})"
    earlier = surround("; before, since boot: ", before)
    return f"{terminal_line(rate.host)}: {rate.per_thousand or 0:,.2f} {counts}{earlier}"
