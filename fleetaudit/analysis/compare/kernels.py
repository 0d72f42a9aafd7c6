"""Kernel builds in numeric order, their classes in the summary, and endings by series. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from fleetaudit.model import SEVERITIES, Audited, Family
from fleetaudit.text.host_ranges import MAX_RANGES
from fleetaudit.text.kernel_releases import release_key, release_series

from .columns import differing_columns
from .common import (
    BuildKey,
    build_key,
    fold_names,
    group_by,
    join_endings,
    join_families,
    system_name,
)
from .comparison_input import ComparisonInput
from .host_links import unique_labels
from .scenario_groups import ScenarioGroup
from .view_model import (
    Build,
    Cell,
    Column,
    KernelClass,
    KernelClassName,
    ScenarioView,
    SeriesChart,
    SeriesRow,
    Verdict,
)

CLASS_NAMES: tuple[KernelClassName, ...] = (
    "resets",
    "mixed",
    "otherwise",
    "unknown",
    "void",
    "no expectation",
    "met",
)
"""The classes in the order of the report."""
_ENDINGS = ("FIN", "FIN, then RST", "RST")
"""The endings that a chart shows first, in this order."""


def make_builds(audited: Iterable[Audited]) -> dict[BuildKey, Build]:
    """Returns the builds by key, in numeric order of their releases: 5.4 before 5.10.

    Anchors are "kernel-1" and so on in that order.
    """
    hosts = group_by(audited, build_key)
    order = sorted(hosts, key=_numeric_order)
    labels = unique_labels([(key[0], " ".join(key)) for key in order])
    return {
        key: _build(f"kernel-{i}", label, hosts[key])
        for i, (key, label) in enumerate(zip(order, labels, strict=True), 1)
    }


def _numeric_order(key: BuildKey) -> tuple[object, ...]:
    """Returns the key that sorts builds by the numbers in release and version.

    So the version #9 comes before #10.
    """
    release, version, machine = key
    return release_key(release), release, release_key(version.lstrip("#")), version, machine


def _build(anchor: str, label: str, hosts: Sequence[Audited]) -> Build:
    """Returns the view of one build."""
    kernel = hosts[0].kernel
    systems = dict.fromkeys(filter(None, map(system_name, hosts)))
    return Build(
        anchor=anchor,
        label=label,
        kernel=kernel,
        series=release_series(kernel.release),
        hosts=fold_names(hosts),
        void=sum(bool(host.void) for host in hosts),
        on_host=sum(host.isolation == "host" for host in hosts),
        systems=tuple(systems)[:MAX_RANGES],
    )


def classify_kernels(builds: Iterable[Build], columns: Sequence[Column]) -> tuple[KernelClass, ...]:
    """Returns the builds by what they do, in the order of `CLASS_NAMES`; no class is empty.

    A build may be in several classes: mixed in one scenario, and with a reset in another. `builds`
    are in the order of the cells of `columns`.
    """
    classes = defaultdict[KernelClassName, list[tuple[Build, tuple[Column, ...]]]](list)
    for i, build in enumerate(builds):
        for name, of_class in _classes_of_build(build, columns, i).items():
            classes[name].append((build, tuple(of_class)))
    return tuple(
        KernelClass(name=name, builds=tuple(classes[name]))
        for name in CLASS_NAMES
        if name in classes
    )


def _classes_of_build(
    build: Build, columns: Sequence[Column], index: int
) -> Mapping[KernelClassName, Sequence[Column]]:
    """Returns the classes of build number `index`, each with the columns that put it there."""
    deviating = _deviating_columns(columns, index)
    if deviating:
        return deviating
    verdicts = {column.cells[index].verdict for column in columns}
    return {_class_without_deviation(build, verdicts): ()}


def _deviating_columns(
    columns: Iterable[Column], index: int
) -> dict[KernelClassName, list[Column]]:
    """Returns the columns in which build number `index` deviates, by class."""
    found = dict[KernelClassName, list[Column]]()
    for column in columns:
        name = _deviation(column, column.cells[index])
        if name is not None:
            found.setdefault(name, []).append(column)
    return found


def _deviation(column: Column, cell: Cell) -> KernelClassName | None:
    """Returns the class that a cell puts its build into, None if it does not deviate.

    The order of the checks matters: a mixed cell is "mixed" whatever its worst verdict is.
    """
    if cell.label == "mixed":
        return "mixed"
    if cell.verdict == "unknown":
        return "unknown"
    if cell.verdict not in SEVERITIES:
        return None
    if "RST" in cell.label and "RST" not in column.expect:
        return "resets"
    return "otherwise"


def _class_without_deviation(build: Build, verdicts: Collection[Verdict]) -> KernelClassName:
    """Returns the class of a build without a deviation; `verdicts` are those of its cells.

    One verdict that is "met" is enough for "met". "void" means that every host of the build is
    void.
    """
    if "met" in verdicts:
        return "met"
    if build.void == build.hosts.count:
        return "void"
    if "no expectation" in verdicts:
        return "no expectation"
    return "unknown"


def chart_series(builds: Sequence[Build], columns: Iterable[Column]) -> tuple[SeriesChart, ...]:
    """Returns, for each scenario that kernels end differently, the endings by kernel series.

    `builds` are in the order of the cells of `columns`, which is the order of the series.
    """
    return tuple(_chart(builds, column) for column in differing_columns(columns))


def _chart(builds: Sequence[Build], column: Column) -> SeriesChart:
    """Returns the endings of one scenario by kernel series."""
    counts = defaultdict[str, Counter[str]](Counter)
    for build, cell in zip(builds, column.cells, strict=True):
        counts[build.series].update(dict(cell.counts))
    rows = [_series_row(series, of_series) for series, of_series in counts.items() if of_series]
    return SeriesChart(
        scenario=column.scenario,
        title=column.title,
        link=column.anchor,
        families=column.families,
        endings=tuple(sorted(set().union(*counts.values()), key=_ending_order)),
        rows=tuple(rows),
    )


def _series_row(series: str, counts: Counter[str]) -> SeriesRow:
    """Returns the row of one kernel series."""
    return SeriesRow(series=series, counts=tuple(counts.items()), hosts=counts.total())


def _ending_order(ending: str) -> tuple[int, str]:
    """Returns the key that sorts endings: the usual ones first, others by name.

    "FIN" is (0, "FIN"), and an ending that is not in the list is (3, its name).
    """
    return (*_ENDINGS, ending).index(ending), ending


def view_scenarios(source: ComparisonInput) -> tuple[ScenarioView, ...]:
    """Returns the scenarios in the order of the playbook, each with the families that ran."""
    return tuple(
        ScenarioView(
            anchor=source.anchors[name],
            row=row,
            expect=join_endings(row.expect),
            families=join_families(_families(source.by_scenario.get(name, ()))),
            control_anchor=source.anchors.get(row.control or "", ""),
        )
        for name, row in source.scenarios.items()
    )


def _families(groups: Iterable[ScenarioGroup]) -> set[Family]:
    """Returns the families over which a scenario ran."""
    return {o.family for group in groups for o in group.observations}
