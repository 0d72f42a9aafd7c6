"""Makes the matrix of scenarios and builds: a column per scenario, a cell per build. Pure.

Rules: a cell counts hosts. Void hosts are counted apart. A build whose hosts have different endings
is mixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from fleetaudit.model import SEVERITIES, Family, Observation, ScenarioRow

from .common import (
    FAMILY_NAMES,
    BuildKey,
    group_by,
    join_endings,
    join_families,
    verdict_of,
)
from .comparison_input import ComparisonInput
from .scenario_groups import ScenarioGroup
from .view_model import (
    Build,
    Cell,
    Column,
    Verdict,
)

GroupObservation = tuple[ScenarioGroup, Observation]
"""Hosts, and an observation that all of them share."""
ByFamily = dict[Family, list[GroupObservation]]
NO_ENDING = ("not run", "inconclusive")
"""Endings that say nothing about what a kernel does."""
NOT_IN_PLAYBOOK = "not in playbook"
_READS_ALL = "closer reads all"
_FROM_BEST_TO_WORST: tuple[Verdict, ...] = (
    "void",
    "not run",
    "no expectation",
    "met",
    "unknown",
    "info",
    "warning",
    "error",
)
_DEVIATING = frozenset[Verdict](("unknown", *SEVERITIES))


def make_columns(source: ComparisonInput) -> tuple[Column, ...]:
    """Returns one column per scenario, or one per family if a host ends them differently.

    Scenarios are in the order of the playbook, families in their usual order. A scenario that no
    host reported has no column. Every column has one cell per build, in the order of
    `source.builds`.
    """
    controls = {row.control for row in source.scenarios.values()}
    columns = list[Column]()
    for name, row in source.scenarios.items():
        is_control = name in controls or row.is_positive_control
        parts = _parts(source.by_scenario.get(name, ()))
        columns += [_column(row, source, part, is_control) for part in parts]
    return tuple(columns)


def differing_columns(columns: Iterable[Column]) -> list[Column]:
    """Returns the columns in which builds, or hosts of one build, have different endings."""
    return [column for column in columns if column.differs]


def differing_scenarios(columns: Iterable[Column]) -> set[str]:
    """Returns the scenarios of `differing_columns`."""
    return {column.scenario for column in differing_columns(columns)}


def _parts(groups: Sequence[ScenarioGroup]) -> list[ByFamily]:
    """Returns the observations of each column of one scenario; families in their usual order.

    It is one column for all families, or one for each if a host that is not void ends them
    differently. There is none if no host reported the scenario.
    """
    by_family = dict[Family, list[GroupObservation]]()
    for group in groups:
        for o in group.observations:
            by_family.setdefault(o.family, []).append((group, o))
    ordered = {family: by_family[family] for family in FAMILY_NAMES if family in by_family}
    if not ordered:
        return []
    if not any(map(_has_several_endings, groups)):
        return [ordered]
    return [{family: observations} for family, observations in ordered.items()]


def _has_several_endings(group: ScenarioGroup) -> bool:
    """Returns whether hosts that are not void end the families of their scenario differently."""
    endings = {(o.ending, *sorted(o.endings)) for o in group.observations}
    return len(endings) > 1 and not group.is_void


def _column(row: ScenarioRow, source: ComparisonInput, part: ByFamily, is_control: bool) -> Column:
    """Returns the column of one scenario over the families of `part`."""
    by_build = group_by(chain.from_iterable(part.values()), _build_of)
    cells = tuple(_cell(by_build.get(key, ()), row) for key in source.builds)
    return Column(
        scenario=row.name,
        title=row.title,
        anchor=source.anchors[row.name],
        families=join_families(part),
        expect=join_endings(row.expect),
        severity=row.severity,
        is_control=is_control,
        control=row.control or "",
        all_read=_leaves_no_unread_data(row.steps),
        differs=_differs(cells),
        deviates=not _DEVIATING.isdisjoint(cell.verdict for cell in cells),
        groups=_builds_by_label(tuple(source.builds.values()), cells),
        cells=cells,
    )


def _build_of(observation: GroupObservation) -> BuildKey:
    """Returns the kernel build of the hosts of an observation."""
    return observation[0].build


def _leaves_no_unread_data(steps: Sequence[str]) -> bool:
    """Returns whether the closer reads everything and the peer sends nothing after that.

    It is false if no step is "closer reads all", and if a step that begins with "peer sends" comes
    after the last of them.
    """
    deciding = [s for s in steps if s == _READS_ALL or s.startswith("peer sends")]
    return deciding[-1:] == [_READS_ALL]


def _differs(cells: Iterable[Cell]) -> bool:
    """Returns whether builds, or hosts of one build, have different endings.

    What is not run or inconclusive is no ending, so it makes no difference.
    """
    endings = set[str]().union(*(dict(cell.counts) for cell in cells)).difference(NO_ENDING)
    return len(endings) > 1 or "mixed" in endings


def _builds_by_label(
    builds: Sequence[Build], cells: Sequence[Cell]
) -> tuple[tuple[str, Verdict, tuple[Build, ...]], ...]:
    """Returns (label, worst verdict, builds) by the label of the cells."""
    pairs = group_by(zip(builds, cells, strict=True), lambda pair: pair[1].label)
    return tuple(
        (label, _worst(cell.verdict for _, cell in of), tuple(build for build, _ in of))
        for label, of in pairs.items()
    )


def _cell(observations: Sequence[GroupObservation], row: ScenarioRow) -> Cell:
    """Returns the cell of one build, in which hosts are counted, not observations.

    The families of a column agree on each host, so the last observation of a group stands for all.
    """
    groups = {id(group): (group, o) for group, o in observations}.values()
    valid = [(group, o) for group, o in groups if not group.is_void]
    counts = _count_endings(valid)
    all_hosts = sum(group.hosts for group, _ in groups)
    return Cell(
        label=_label(counts, all_hosts),
        verdict=_worst_of_valid((verdict_of(o, row) for _, o in valid), all_hosts),
        counts=_most_first(counts),
        hosts=counts.total(),
        void=all_hosts - counts.total(),
        on_host=sum(group.hosts for group, _ in valid if group.on_host),
    )


def merge_cells(cells: Sequence[Cell]) -> Cell:
    """Returns the cells of several builds in one scenario as one cell of all their hosts.

    It is "mixed" if builds, or hosts of one build, have different endings.
    """
    counts = Counter[str]()
    for cell in cells:
        counts.update(dict(cell.counts))
    void = sum(cell.void for cell in cells)
    return Cell(
        label=_label(counts, counts.total() + void),
        verdict=_worst_of_valid((cell.verdict for cell in cells if cell.hosts), void),
        counts=_most_first(counts),
        hosts=counts.total(),
        void=void,
        on_host=sum(cell.on_host for cell in cells),
    )


def _most_first(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Returns (ending, hosts), most hosts first."""
    return tuple(sorted(counts.items(), key=lambda count: (-count[1], count[0])))


def _count_endings(valid: Iterable[GroupObservation]) -> Counter[str]:
    """Returns the number of hosts by ending; trials that disagree on one host are "mixed"."""
    counts = Counter[str]()
    for group, o in valid:
        counts["mixed" if o.is_mixed else o.ending] += group.hosts
    return counts


def _label(counts: Counter[str], all_hosts: int) -> str:
    """Returns the ending that all hosts of a cell share, or the word for what else is the case.

    FIN on some hosts and RST on others is "mixed"; FIN on some and not run on others is "FIN". If
    only void hosts reported the scenario it is "void", and NOT_IN_PLAYBOOK if no host did.
    """
    if not all_hosts:
        return NOT_IN_PLAYBOOK
    if not counts:
        return "void"
    endings = [ending for ending in counts if ending not in NO_ENDING]
    if len(endings) > 1:
        return "mixed"
    # Without an ending, the first word that says why there is none.
    return next(iter((*endings, *counts)))


def _worst_of_valid(verdicts: Iterable[Verdict], others: int) -> Verdict:
    """Returns the worst verdict of valid hosts, or why there is none.

    `others` is how many void hosts there are, if no host is valid.
    """
    without: Verdict = "void" if others else "not run"
    return max(verdicts, key=_FROM_BEST_TO_WORST.index, default=without)


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Returns the worst of at least one verdict.

    What is void or not run is the best, so the verdict of any other host outweighs it.
    """
    return max(verdicts, key=_FROM_BEST_TO_WORST.index)
