"""Makes the matrix of two runs: a row for each pair of kernel builds, a column for each scenario.
Pure.

Rules: a host is in one row, that of the builds it had before and after, so that a kernel upgrade is
a row and its cells show what the upgrade did. Families with the same cells share a column. What
does not fit is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, count, filterfalse
from operator import attrgetter
from typing import get_args

from fleetaudit.analysis.compare.common import (
    FAMILY_NAMES,
    BuildKey,
    group_by,
    join_endings,
    join_families,
)
from fleetaudit.analysis.compare.view_model import Build
from fleetaudit.model import SEVERITIES, Effect, Family, ScenarioRow
from fleetaudit.text.host_ranges import HostRanges, fold_hosts

from .endings import EndingCounts, HostSides, MoveKey
from .view_model import DiffCell, DiffColumn, DiffMatrix, EndingChange, KernelMove

MOST_MOVES, MOST_COLUMNS, MOST_ENDINGS = 40, 40, 4
"""How many rows, changed columns, and endings of one cell are shown."""
_EFFECTS: tuple[Effect, ...] = get_args(Effect)
_Builds = Mapping[BuildKey, Build]


def make_matrix(
    counts: EndingCounts, builds: _Builds, rows: Mapping[str, ScenarioRow]
) -> DiffMatrix:
    """Returns the matrix; `builds` and `rows` have the builds and scenarios of both runs.

    Rows are in the order of the builds; if there are too many, those without a change are left out
    first. Columns that changed come by what the change means, the others in the order of `rows`.
    """
    keys = _sorted_moves(counts.hosts, builds)
    shown = _moves_to_show(keys, counts)
    omitted = filterfalse(shown.__contains__, keys)
    columns = [column for row in rows.values() for column in _columns(row, counts, shown)]
    has_changed = attrgetter("has_changed")
    changed = sorted(filter(has_changed, columns), key=_column_order)
    return DiffMatrix(
        moves=tuple(_move(key, counts.hosts[key], builds) for key in shown),
        changed=tuple(changed[:MOST_COLUMNS]),
        unchanged=tuple(filterfalse(has_changed, columns)),
        omitted=_fold(chain.from_iterable(map(counts.hosts.__getitem__, omitted))),
        more_columns=len(changed[MOST_COLUMNS:]),
    )


def _sorted_moves(keys: Iterable[MoveKey], builds: _Builds) -> list[MoveKey]:
    """Returns the moves in the order of their builds; hosts of one run only come last."""
    order: dict[BuildKey | None, int] = dict(zip((None, *builds), count()))

    def sort_key(move: MoveKey) -> tuple[bool, int, int]:
        before, after = move
        return None in move, order[before], order[after]

    return sorted(keys, key=sort_key)


def _moves_to_show(keys: Sequence[MoveKey], counts: EndingCounts) -> list[MoveKey]:
    """Returns at most `MOST_MOVES` of the moves, in their order; those with a change first."""
    chosen = set(sorted(keys, key=lambda key: key not in counts.changed)[:MOST_MOVES])
    return list(filter(chosen.__contains__, keys))


def _move(key: MoveKey, hosts: Sequence[HostSides], builds: _Builds) -> KernelMove:
    """Returns the row of hosts that had these builds."""
    before, after = (builds[build] if build else None for build in key)
    return KernelMove(before=before, after=after, hosts=_fold(hosts))


def _fold(hosts: Iterable[HostSides]) -> HostRanges:
    """Returns the names of hosts, folded."""
    return fold_hosts(sides.name for sides in hosts)


def _columns(
    row: ScenarioRow, counts: EndingCounts, moves: Collection[MoveKey]
) -> list[DiffColumn]:
    """Returns the columns of one scenario: one for all families that have the same cells."""
    cells = dict[Family, tuple[DiffCell, ...]]()
    for family in FAMILY_NAMES:
        by_move = counts.counts.get((row.name, family))
        if by_move:
            cells[family] = tuple(_cell(by_move.get(move, Counter())) for move in moves)
    return [
        DiffColumn(
            scenario=row.name,
            title=row.title,
            families=join_families(families),
            expect=join_endings(row.expect),
            cells=cells[families[0]],
            totals=_totals(counts.counts[row.name, families[0]].values()),
        )
        for families in group_by(cells, cells.__getitem__).values()
    ]


def _totals(cells: Iterable[Counter[EndingChange]]) -> tuple[tuple[EndingChange, int], ...]:
    """Returns the endings of several moves together: changes first, then the most hosts."""
    total = Counter[EndingChange]()
    for cell in cells:
        total.update(cell)
    return tuple(sorted(total.items(), key=_ending_order))


def _cell(endings: Counter[EndingChange]) -> DiffCell:
    """Returns the cell of the hosts of one move: changes first, then the most hosts."""
    ordered = sorted(endings.items(), key=_ending_order)
    return DiffCell(endings=tuple(ordered[:MOST_ENDINGS]), omitted=len(ordered[MOST_ENDINGS:]))


def _ending_order(counted: tuple[EndingChange, int]) -> tuple[tuple[int, int], int, str, str]:
    """Returns the key that sorts the endings of one cell."""
    ending, hosts = counted
    return change_order(ending), -hosts, ending.before, ending.after


def change_order(ending: EndingChange) -> tuple[int, int]:
    """Returns the key that sorts endings by what they mean: regressions first, the most severe of
    them at the head, and what has not changed last.
    """
    if ending.effect is None:
        return len(_EFFECTS), 0
    severity = SEVERITIES.index(ending.severity) if ending.severity else -1
    return _EFFECTS.index(ending.effect), -severity


def _column_order(column: DiffColumn) -> tuple[int, int]:
    """Returns the key that sorts changed columns: by their worst cell."""
    return min(change_order(cell.endings[0][0]) for cell in column.cells if cell.endings)
