"""Makes the pairs of ladders of two runs: one scenario on one host, before and after. Pure.

Rules: every ending that changed has one pair, also if only one run captured packets; then the other
side says why it has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

from msgspec.structs import replace

from fleetaudit.analysis.compare.common import (
    FAMILY_NAMES,
    BuildKey,
    build_key,
    join_endings,
)
from fleetaudit.analysis.compare.trace_pairs import first_difference
from fleetaudit.analysis.compare.traces import make_trace
from fleetaudit.analysis.compare.view_model import Build, ScenarioView, Trace, TraceRow
from fleetaudit.model import Audited, ScenarioRow

from .endings import EndingCounts, HostSides, Subject, observation_of
from .matrix import change_order
from .view_model import DiffColumn, DiffMatrix, DiffPair, DiffSide, EndingChange

MOST_PAIRS = 12
"""How many endings that changed are shown packet by packet."""
_Changed = tuple[DiffColumn, EndingChange]


def pair_before_and_after(
    matrix: DiffMatrix,
    counts: EndingCounts,
    builds: Mapping[BuildKey, Build],
    rows: Mapping[str, ScenarioRow],
) -> tuple[tuple[DiffPair, ...], int]:
    """Returns at most `MOST_PAIRS` pairs, and how many more endings changed.

    Each ending that changed in the columns of `matrix` has one pair, the worst first. Anchors are
    "pair-1" and so on in that order; those of the traces are "pair-1-before" and "pair-1-after".
    """
    changed = sorted(_changed_endings(matrix.changed), key=lambda item: change_order(item[1]))
    maker = _PairMaker(counts, builds, rows)
    shown = enumerate(changed[:MOST_PAIRS], 1)
    pairs = tuple(maker.make(f"pair-{i}", *item) for i, item in shown)
    return pairs, len(changed[MOST_PAIRS:])


def _changed_endings(columns: Iterable[DiffColumn]) -> list[_Changed]:
    """Returns each column with each of its endings that changed, once."""
    return [
        (column, ending)
        for column in columns
        for ending, _ in column.totals
        if ending.effect is not None
    ]


class _PairMaker:
    """Makes the pairs of two runs."""

    def __init__(
        self,
        counts: EndingCounts,
        builds: Mapping[BuildKey, Build],
        rows: Mapping[str, ScenarioRow],
    ) -> None:
        self._counts, self._builds, self._rows = counts, builds, rows

    def make(self, anchor: str, column: DiffColumn, change: EndingChange) -> DiffPair:
        """Returns the pair of one ending that changed."""
        subject = _first_subject(column)
        row = self._rows[column.scenario]
        sides = _best_example(self._counts.examples[subject, change], subject)
        before, after = self._sides(anchor, column, change, sides)
        return DiffPair(
            anchor=anchor,
            host=sides.name,
            change=change,
            scenario=_view(row, column),
            families=column.families,
            before=before,
            after=after,
        )

    def _sides(
        self, anchor: str, column: DiffColumn, change: EndingChange, sides: HostSides
    ) -> tuple[DiffSide, DiffSide]:
        """Returns both sides, with the rows at which their packets differ."""
        subject = _first_subject(column)
        traces = (
            self._trace(f"{anchor}-before", sides.before, subject),
            self._trace(f"{anchor}-after", sides.after, subject),
        )
        before_at, after_at = _differences(*traces)
        by_move = self._counts.counts[subject]
        moves = [move for move, endings in by_move.items() if change in endings]
        before = DiffSide(
            ending=change.before,
            verdict=change.verdict_before,
            builds=self._distinct(move[0] for move in moves),
            hosts=dict(column.totals)[change],
            trace=traces[0],
            missing=_why_missing(sides.before, subject),
            differs_at=before_at,
        )
        return before, replace(
            before,
            ending=change.after,
            verdict=change.verdict_after,
            builds=self._distinct(move[1] for move in moves),
            trace=traces[1],
            missing=_why_missing(sides.after, subject),
            differs_at=after_at,
        )

    def _distinct(self, keys: Iterable[BuildKey | None]) -> tuple[Build, ...]:
        """Returns each build once, in order of appearance."""
        return tuple(self._builds[key] for key in dict.fromkeys(keys) if key)

    def _trace(self, anchor: str, host: Audited | None, subject: Subject) -> Trace | None:
        """Returns the trace of a host, None if it did not report the scenario."""
        observation = observation_of(host, subject)
        if host is None or observation is None:
            return None
        build = self._builds[build_key(host)]
        return make_trace(anchor, host, build, observation, self._rows[subject[0]])


def _best_example(hosts: Sequence[HostSides], subject: Subject) -> HostSides:
    """Returns the first host with packets in both runs, or else the first host."""
    with_packets = (sides for sides in hosts if not any(map(_why_missing, sides, repeat(subject))))
    return next(with_packets, hosts[0])


def _first_subject(column: DiffColumn) -> Subject:
    """Returns the scenario over the first family of a column, in the usual order of families."""
    family = next(family for family, name in FAMILY_NAMES.items() if name in column.families)
    return column.scenario, family


def _view(row: ScenarioRow, column: DiffColumn) -> ScenarioView:
    """Returns the scenario for a reader."""
    return ScenarioView(
        anchor="",
        row=row,
        expect=join_endings(row.expect),
        families=column.families,
        control_anchor="",
    )


def _differences(before: Trace | None, after: Trace | None) -> tuple[int | None, int | None]:
    """Returns the rows at which the segments differ, None unless both sides have some."""
    both = _rows_of(before), _rows_of(after)
    if not all(map(_has_segments, both)):
        return None, None
    return first_difference(*both)


def _rows_of(trace: Trace | None) -> Sequence[TraceRow]:
    """Returns the rows of a trace, () without one."""
    return trace.rows if trace else ()


def _has_segments(rows: Iterable[TraceRow]) -> bool:
    """Returns whether there are segments, and not only steps."""
    return any(row.who != "step" for row in rows)


def _why_missing(host: Audited | None, subject: Subject) -> str:
    """Returns why a run has no packets of a scenario on a host, "" if it has some."""
    observation = observation_of(host, subject)
    if observation is None:
        return "The host did not report this scenario."
    if observation.evidence.wire:
        return ""
    reasons: Sequence[str] = (observation.evidence.wire_note, observation.reason)
    return next(filter(None, reasons), "No segment was captured.")
