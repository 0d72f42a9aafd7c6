"""Chooses the traces of the first screen: the ones that matter most, cut to fit. Pure.

Rules: a pair of kernels before a single trace, the scenario of the worst finding before others, and
segments that differ before equal ones. Both sides are cut at the same row, and never after the one
from which on they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from .view_model import (
    FindingGroup,
    Highlight,
    Profile,
    Trace,
    TracePair,
    TraceSide,
    Verdict,
)

MOST_ROWS = 11
"""How many rows of a trace are shown: as many as fit on the first screen of a notebook."""
ROWS_BEFORE = 2
"""How many rows are shown at least before the one at which the traces differ."""
_WORST_FIRST: Sequence[Verdict] = ("error", "warning", "unknown", "info")
"""Verdicts of traces that are worth showing."""


def choose_highlight(
    pairs: Sequence[TracePair], profiles: Iterable[Profile], lead: FindingGroup | None
) -> Highlight | None:
    """Returns the traces to show first, None if there are none.

    `lead` is the finding that the status names.
    """
    link = lead.link if lead is not None else ""
    pair = min(pairs, key=lambda pair: (pair.same_wire, pair.link != link), default=None)
    if pair is not None:
        return _of_pair(pair)
    sides = sorted(_single_sides(profiles), key=lambda side: _WORST_FIRST.index(side.verdict))
    return _of_side(sides[0]) if sides else None


def _of_pair(pair: TracePair) -> Highlight:
    """Returns a pair, cut to the rows around the difference."""
    longest = max(len(side.trace.rows) for side in pair.sides)
    differs_at = min(side.differs_at for side in pair.sides)
    omitted = max(0, min(longest - MOST_ROWS, differs_at - ROWS_BEFORE))
    return Highlight(
        anchor=pair.anchor,
        scenario=pair.scenario,
        link=pair.link,
        families=pair.families,
        expect=pair.expect,
        sides=tuple(_cut_side(side, omitted) for side in pair.sides),
    )


def _of_side(side: TraceSide) -> Highlight:
    """Returns a single trace, cut to its last rows: they are what close() sent."""
    omitted = max(0, len(side.trace.rows) - MOST_ROWS)
    return Highlight(
        anchor=side.trace.anchor,
        scenario=side.trace.title,
        link=side.trace.anchor,
        families="",
        expect="",
        sides=(_cut_side(side, omitted),),
    )


def _single_sides(profiles: Iterable[Profile]) -> Iterator[TraceSide]:
    """Yields the traces whose ending is not as expected, in their order."""
    for profile in profiles:
        for trace in profile.traces:
            if trace.rows and trace.verdict in _WORST_FIRST:
                yield _as_side(trace, profile.hosts.count)


def _as_side(trace: Trace, hosts: int) -> TraceSide:
    """Returns a trace that is compared with no other, so that no row differs."""
    return TraceSide(
        ending=trace.observed,
        verdict=trace.verdict,
        builds=(trace.build,),
        hosts=hosts,
        trace=trace,
        differs_at=len(trace.rows),
    )


def _cut_side(side: TraceSide, omitted: int) -> TraceSide:
    """Returns a side without its first rows, and with at most `MOST_ROWS` of the others."""
    rows = side.trace.rows[omitted : omitted + MOST_ROWS]
    # The whole trace has the note about segments that the probe left out.
    trace = replace(side.trace, rows=rows, omitted=0)
    return replace(side, trace=trace, differs_at=side.differs_at - omitted)
