"""Pairs the traces of two kernels that end one scenario differently. Pure.

Rules: every scenario that kernels end differently has one pair: the first kernels of its first two
endings that have a trace. Two hosts of one mixed build make a pair too. The row at which the traces
differ follows from the segments alone, never from the clock.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from .columns import NO_ENDING, differing_columns
from .common import FAMILY_NAMES, BuildKey
from .comparison_input import ComparisonInput
from .traces import TraceKey
from .view_model import (
    Build,
    Column,
    Trace,
    TracePair,
    TraceRow,
    TraceSide,
)


class _Candidate(msgspec.Struct):
    """An ending with its first trace, and the builds and hosts with that ending."""

    ending: str
    trace: Trace
    builds: list[Build] = msgspec.field(default_factory=list)
    hosts: int = 0

    def as_side(self, differs_at: int) -> TraceSide:
        """Returns the side of a pair."""
        return TraceSide(
            ending=self.ending,
            verdict=self.trace.verdict,
            builds=tuple(self.builds),
            hosts=self.hosts,
            trace=self.trace,
            differs_at=differs_at,
        )


def pair_traces(
    source: ComparisonInput, columns: Sequence[Column], traces: Mapping[TraceKey, Trace]
) -> tuple[TracePair, ...]:
    """Returns one pair per column that differs and has two traces; RST with FIN comes first.

    `traces` are the first of each build, scenario, family and ending. Anchors are "duel-1" and so
    on, in the order of the result.
    """
    pairs = [
        pair
        for column in differing_columns(columns)
        if (pair := _pair(source, column, traces)) is not None
    ]
    pairs.sort(key=_is_unusual)
    return tuple(replace(pair, anchor=f"duel-{i}") for i, pair in enumerate(pairs, 1))


def _is_unusual(pair: TracePair) -> bool:
    """Returns whether a pair is of other endings than RST and FIN."""
    return {side.ending for side in pair.sides} != {"RST", "FIN"}


def _pair(
    source: ComparisonInput, column: Column, traces: Mapping[TraceKey, Trace]
) -> TracePair | None:
    """Returns the pair of a column without its anchor, None if there are no two traces.

    The traces are those of the column's first family, in the usual order of families.
    """
    family = next(family for family, name in FAMILY_NAMES.items() if name in column.families)
    candidates = dict[str, _Candidate]()
    for key, ending, hosts in _endings(source, column):
        trace = traces.get((key, column.scenario, family, ending))
        if trace is None or not trace.rows:
            continue
        candidate = candidates.setdefault(ending, _Candidate(ending, trace))
        candidate.builds.append(source.builds[key])
        candidate.hosts += hosts
    if len(candidates) < 2:
        return None
    # The one that resets stands first: it is what a reader looks for.
    one, two = sorted(candidates.values(), key=lambda candidate: "RST" not in candidate.ending)[:2]
    one_at, two_at = first_difference(one.trace.rows, two.trace.rows)
    return TracePair(
        anchor="",
        scenario=column.scenario,
        title=column.title,
        link=column.anchor,
        families=column.families,
        expect=column.expect,
        sides=(one.as_side(one_at), two.as_side(two_at)),
    )


def _endings(source: ComparisonInput, column: Column) -> Iterator[tuple[BuildKey, str, int]]:
    """Yields build, ending and number of hosts.

    What has no ending (NO_ENDING) and hosts whose trials disagree ("mixed") are left out.
    """
    for key, cell in zip(source.builds, column.cells, strict=True):
        for ending, hosts in cell.counts:
            if ending not in (*NO_ENDING, "mixed"):
                yield key, ending, hosts


def first_difference(one: Sequence[TraceRow], two: Sequence[TraceRow]) -> tuple[int, int]:
    """Returns the index of the row at which the segments differ, on each side.

    Steps do not count: they stand at their moments and may interleave differently. If one side has
    no more segments, its index is the number of its rows, and the other's that of the next segment.
    If all segments are equal, both are the number of rows.
    """
    ours, theirs = _segment_indexes(one), _segment_indexes(two)
    for i, j in zip(ours, theirs, strict=False):
        if _segment_key(one[i]) != _segment_key(two[j]):
            return i, j
    shared = min(len(ours), len(theirs))
    return [*ours, len(one)][shared], [*theirs, len(two)][shared]


def _segment_indexes(rows: Sequence[TraceRow]) -> list[int]:
    """Returns the indexes of the rows that are segments."""
    return [i for i, row in enumerate(rows) if row.who != "step"]


def _segment_key(row: TraceRow) -> Hashable:
    """Returns what makes two segments the same.

    Time, window and options do not count.
    """
    return row.who, row.flags, row.seq, row.ack, row.length, row.urgent
