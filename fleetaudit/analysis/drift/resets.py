"""Which programs of one host reset now and did not before, or the other way round. Pure.

Rules:
- Only a host that was watched in both runs is compared: nobody knows what the others did.
- A program is new or gone for each reason. Its rate differs in every run, so it is a change only if
  it became much higher or lower, and if there are enough resets to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fleetaudit.analysis.judge import program_id
from fleetaudit.analysis.production import HostResets, rows_if_watched
from fleetaudit.model import Change
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
    watches = rows_if_watched(diff.before), rows_if_watched(diff.after)
    if None in watches:
        return
    before, after = map(_by_program, watches)
    for what, reason in sorted(before.keys() | after.keys()):
        texts = _describe(reason, before.get((what, reason)), after.get((what, reason)))
        if texts[0] != texts[1]:
            yield diff.change("changed", "resets", what, *texts)


def _by_program(rows: Iterable[HostResets] | None) -> dict[_Row, HostResets]:
    """Returns the rows of a host by program and reason; of two programs of one name the one with
    more resets, which comes first.
    """
    found = dict[_Row, HostResets]()
    for row in rows or ():
        found.setdefault((program_id(row.program), printable_line(row.reason)), row)
    return found


def _describe(reason: str, before: HostResets | None, after: HostResets | None) -> tuple[str, str]:
    """Returns what a program did before and does now; equal texts if nothing changed.

    New and gone programs have no numbers, so that hosts with the same program share a row.
    """
    resets = f"resets because of {reason}"
    if before is None:
        return NONE, resets
    if after is None:
        return resets, NONE
    if _is_other_rate(before, after):
        return _rate(before, reason), _rate(after, reason)
    return resets, resets


def _is_other_rate(before: HostResets, after: HostResets) -> bool:
    """Returns whether a rate became much higher or lower."""
    low, high = sorted((before.per_minute or 0.0, after.per_minute or 0.0))
    has_enough = max(before.count, after.count) >= LEAST_RESETS
    return has_enough and high >= LEAST_FACTOR * low > 0


def _rate(row: HostResets, reason: str) -> str:
    """Returns the rate of a row: "12.0/min because of unread data"."""
    return f"{row.per_minute or 0.0:,.1f}/min because of {reason}"
