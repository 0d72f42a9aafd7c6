"""What changed between two runs, as text for people: regressions first, each with its hosts and the
date first seen.

Rules: pure, and plain text. What a host said passes `terminal_line`; what does not fit is counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.analysis.compare.view_model import ChangeRow, Changes
from fleetaudit.model import ResetRate
from fleetaudit.text.sanitize import terminal_line

from .text_lines import counted, hosts_in_words, wrapped

MOST_SUBJECTS = 6
"""How many scenarios and sysctls that regressed the first line names."""


def changes_text(changes: Changes, *, width: int = 80, most: int = 200) -> str:
    """Returns the whole comparison as text, at most `most` rows of it, its sentences wrapped to
    `width`.
    """
    lines = [
        *changes_lines(changes, width, most),
        *wrapped(map(terminal_line, changes.notes), width),
        *_rates(changes, width),
    ]
    return "".join(line + "\n" for line in lines)


def changes_lines(changes: Changes, width: int, most: int) -> list[str]:
    """Returns what changed, without what production felt: a headline and a row a change."""
    since = f"since {terminal_line(changes.before)}"
    if changes.refused:
        return wrapped(
            [
                f"Not compared with {terminal_line(changes.before)}: {terminal_line(changes.refused)}."
            ],
            width,
        )
    if not changes.rows:
        return wrapped([f"Nothing changed {since} on {counted(changes.compared, 'host')}."], width)
    counts = [f"{counted(n, 'host')} {words}" for n, words in changes.counts]
    if changes.regressed:
        counts[0] += f" ({_regressed(changes)})"
    lines = wrapped([f"Changed {since}: {', '.join(counts)}"], width)
    for row in changes.rows[:most]:
        lines += wrapped([_row(row)], width, "  ")
    if rest := len(changes.rows[most:]) + changes.omitted:
        lines.append(f"  and {counted(rest, 'more change')}: see the report")
    return lines


def _regressed(changes: Changes) -> str:
    shown = [
        f"{terminal_line(subject, 200)} on {n:,}"
        for subject, n in changes.regressed[:MOST_SUBJECTS]
    ]
    rest = len(changes.regressed) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def _row(row: ChangeRow) -> str:
    grave = f" ({row.severity})" if row.severity else ""
    detail = f" ({terminal_line(row.detail)})" if row.detail else ""
    first = "not met since" if row.effect == "fix" else "first seen"
    waived = f"; waived: {terminal_line(row.waived, 200)}" if row.waived is not None else ""
    what = f"{terminal_line(row.subject)}{detail}: {terminal_line(row.before, 200)} → {terminal_line(row.after, 200)}"
    return (
        f"{row.effect}{grave}  {what}, {first} {terminal_line(row.since)}:"
        f" {hosts_in_words(row.hosts)}{waived}"
    )


def _rates(changes: Changes, width: int) -> Iterator[str]:
    felt = [rate for rate in changes.rates if rate.aborts]
    if felt:
        yield "Closed with unread data in between, per 1,000 connections:"
        for rate in felt:
            yield from wrapped([_rate(rate)], width, "  ")
    for reason, hosts in changes.unrated:
        yield from wrapped(
            [
                f"No rate of {counted(hosts.count, 'host')} ({hosts_in_words(hosts)}):"
                f" {terminal_line(reason)}."
            ],
            width,
        )


def _rate(rate: ResetRate) -> str:
    before = (
        ""
        if rate.before_per_thousand is None
        else f"; before, since boot: {rate.before_per_thousand:,.2f}"
    )
    return (
        f"{terminal_line(rate.host)}: {rate.per_thousand or 0:,.2f} ({rate.aborts:,} of"
        f" {rate.connections:,}){before}"
    )
