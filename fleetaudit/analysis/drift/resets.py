"""Which programs of one host reset now and did not before, or the other way round. Pure.

Rules:
- Only a host that was watched in both runs is compared: nobody knows what the others did.
- A program is new or gone for each reason. Its rate differs in every run, so it is a change only if
  it became much higher or lower, and if there are enough resets to tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import UNSET

from fleetaudit.analysis.judge import program_id
from fleetaudit.analysis.production import HostResets, has_watch, host_resets
from fleetaudit.model import Audited, Change
from fleetaudit.text.sanitize import printable_line

from .host_diff import HostDiff

LEAST_FACTOR = 3.0
LEAST_RESETS = 10
NONE = "no reset"

_Row = tuple[str, str]
"""The id of a program's findings, and a reason."""


def reset_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields the changes of the programs that reset, by program and reason.

    A change has the date and the severity of the finding of its program, if that has one.
    """
    if not (has_watch(diff.before) and has_watch(diff.after)):
        return
    before, after = _rows(diff.before), _rows(diff.after)
    for row in sorted(before.keys() | after.keys()):
        what, reason = row
        texts = _describe(reason, before.get(row), after.get(row))
        if texts:
            yield diff.change("changed", "resets", what, *texts)


def _rows(host: Audited) -> Mapping[_Row, HostResets]:
    """Returns the rows of a host that was watched; of two programs of one name the one with more
    resets.
    """
    rows = dict[_Row, HostResets]()
    for row in () if host.watch is UNSET else host_resets(host.watch):
        rows.setdefault((program_id(row.program), printable_line(row.reason)), row)
    return rows


def _describe(
    reason: str, before: HostResets | None, after: HostResets | None
) -> tuple[str, str] | None:
    """Returns what a program did before and does now, None if nothing changed.

    New and gone programs have no numbers, so that hosts with the same program share a row.
    """
    if before is None or after is None:
        resets = f"resets because of {reason}"
        return (NONE, resets) if before is None else (resets, NONE)
    if not _is_other_rate(before, after):
        return None
    return _rate(before, reason), _rate(after, reason)


def _is_other_rate(before: HostResets, after: HostResets) -> bool:
    """Returns whether a rate became much higher or lower."""
    low, high = sorted((before.per_minute or 0.0, after.per_minute or 0.0))
    return low > 0 and high >= LEAST_FACTOR * low and max(before.count, after.count) >= LEAST_RESETS


def _rate(row: HostResets, reason: str) -> str:
    """Returns the rate of a row: "12.0/min because of unread data"."""
    return f"{row.per_minute or 0.0:,.1f}/min because of {reason}"
