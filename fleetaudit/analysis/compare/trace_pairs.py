"""Two kernels that end one scenario differently, as two traces beside each other. Pure.

Rules: every scenario that kernels end differently has one duel, between the first kernels of its
first two endings that left a trace; two hosts of one mixed build fight it too. Where the traces
part is told from the segments alone, never from the clock.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from fleetaudit.model import Family

from .common import FAMILY_WORDS, BuildKey, Ground
from .hosts import TraceKey
from .view_model import (
    Build,
    Column,
    Duel,
    Side,
    Trace,
    TraceRow,
)


def duels_of(
    ground: Ground, columns: Sequence[Column], traces: Mapping[TraceKey, Trace]
) -> tuple[Duel, ...]:
    """Returns a duel a column that differs and has two traces to show, RST beside FIN first."""
    found = [
        (column, sides)
        for column in columns
        if column.differs and (sides := _sides(ground, column, traces))
    ]
    # RST beside FIN first: that is the question.
    found.sort(key=lambda pair: {side.word for side in pair[1]} != {"RST", "FIN"})
    return tuple(
        Duel(
            anchor=f"duel-{i}",
            scenario=column.scenario,
            title=column.title,
            link=column.anchor,
            over=column.families,
            expect=column.expect,
            sides=sides,
        )
        for i, (column, sides) in enumerate(found, 1)
    )


def _sides(
    ground: Ground, column: Column, traces: Mapping[TraceKey, Trace]
) -> tuple[Side, Side] | None:
    family = next(f for f, words in FAMILY_WORDS.items() if words in column.families)
    found = dict[str, tuple[Trace, list[tuple[Build, int]]]]()
    for key, build, ending, hosts in _seen(ground, column):
        trace = _trace(traces, key, column.scenario, family, ending)
        if trace is not None and trace.rows:
            found.setdefault(ending, (trace, []))[1].append((build, hosts))
    if len(found) < 2:
        return None
    # What resets stands first: it is what a reader looks for.
    one, two = sorted(found, key=lambda word: "RST" not in word)[:2]
    at_one, at_two = _part(found[one][0].rows, found[two][0].rows)
    return _side(one, *found[one], at_one), _side(two, *found[two], at_two)


def _seen(ground: Ground, column: Column) -> Iterator[tuple[BuildKey, Build, str, int]]:
    for (key, build), cell in zip(ground.builds.items(), column.cells, strict=True):
        for ending, hosts in cell.counts:
            if ending not in ("not run", "inconclusive", "mixed"):
                yield key, build, ending, hosts


def _trace(
    traces: Mapping[TraceKey, Trace], key: BuildKey, scenario: str, family: Family, ending: str
) -> Trace | None:
    return next(
        (
            t
            for (k, s, f, e), t in traces.items()
            if (k, s, f, e) == (key, scenario, family, ending)
        ),
        None,
    )


def _side(word: str, trace: Trace, seen: Sequence[tuple[Build, int]], parts_at: int) -> Side:
    return Side(
        word=word,
        tone=trace.tone,
        builds=tuple(build for build, _ in seen),
        hosts=sum(hosts for _, hosts in seen),
        trace=trace,
        parts_at=parts_at,
    )


def _part(one: Sequence[TraceRow], two: Sequence[TraceRow]) -> tuple[int, int]:
    """The rows at which the segments part; steps stand at their moments and may interleave
    differently.
    """
    a = [(i, _segment(row)) for i, row in enumerate(one) if row.who != "step"]
    b = [(i, _segment(row)) for i, row in enumerate(two) if row.who != "step"]
    for (i, x), (j, y) in zip(a, b, strict=False):
        if x != y:
            return i, j
    n = min(len(a), len(b))
    return (a[n][0] if n < len(a) else len(one)), (b[n][0] if n < len(b) else len(two))


def _segment(row: TraceRow) -> Hashable:
    return row.who, row.flags, row.seq, row.ack, row.length, row.urgent
