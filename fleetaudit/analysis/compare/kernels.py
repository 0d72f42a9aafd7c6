"""Kernels by scenarios: the builds in the order of their numbers, the matrix, and which of them
reset. Pure.

Rules: a cell counts hosts. Void hosts are counted apart. Hosts of one build that end differently
make it mixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from fleetaudit.model import (
    SEVERITIES,
    Audited,
    Family,
    Observation,
    ScenarioRow,
)
from fleetaudit.text.host_ranges import MAX_RANGES
from fleetaudit.text.kernel_releases import release_key, release_series

from .common import (
    FAMILY_WORDS,
    Alike,
    BuildKey,
    Ground,
    build_key,
    expect_words,
    families_words,
    grouped,
    names_of,
    system_of,
    tone_of,
)
from .view_model import (
    Build,
    Cell,
    Column,
    KernelClass,
    KernelKey,
    ScenarioView,
    SeriesChart,
    SeriesRow,
    Tone,
)


def builds_of(audited: Sequence[Audited]) -> dict[BuildKey, Build]:
    """Returns the builds in numeric order of their releases, by key."""
    groups = grouped(audited, build_key)
    order = sorted(
        groups, key=lambda k: (release_key(k[0]), k[0], release_key(k[1].lstrip("#")), k[1], k[2])
    )
    return {
        key: Build(
            anchor=f"kernel-{i}",
            kernel=groups[key][0].kernel,
            series=release_series(key[0]),
            hosts=names_of(groups[key]),
            void=sum(1 for h in groups[key] if h.void),
            on_host=sum(1 for h in groups[key] if h.isolation == "host"),
            systems=tuple(dict.fromkeys(system_of(h) for h in groups[key] if system_of(h)))[
                :MAX_RANGES
            ],
        )
        for i, key in enumerate(order, 1)
    }


Seen = tuple[Alike, Observation]
"""Hosts, and what all of them saw: the observation of the first."""
CLASSES: tuple[KernelKey, ...] = (
    "resets",
    "mixed",
    "otherwise",
    "untold",
    "void",
    "observed",
    "met",
)


def columns_of(ground: Ground) -> tuple[Column, ...]:
    """Returns a column a scenario, or one a family where some host ends them differently; scenarios
    as declared.
    """
    seen = dict[str, dict[Family, list[Seen]]]()
    agree = dict.fromkeys(ground.rows, True)
    for hosts in ground.alike:
        by_scenario = grouped(hosts[0].observations, lambda o: o.scenario)
        for name, observations in by_scenario.items():
            for o in observations:
                seen.setdefault(name, {}).setdefault(o.family, []).append((hosts, o))
            if (
                agree[name]
                and not hosts[0].void
                and len({(o.ending, *sorted(o.endings)) for o in observations}) > 1
            ):
                agree[name] = False
    controls = {row.control for row in ground.rows.values()}
    columns = list[Column]()
    for name, row in ground.rows.items():
        families = [f for f in FAMILY_WORDS if f in seen.get(name, {})]
        for together in [families] if agree[name] else [[f] for f in families]:
            if together:
                pairs = [pair for f in together for pair in seen[name][f]]
                positive = row.control is None and row.expect == ("RST",)
                columns.append(_column(row, ground, together, pairs, positive or name in controls))
    return tuple(columns)


def _column(
    row: ScenarioRow,
    ground: Ground,
    families: Sequence[Family],
    pairs: Sequence[Seen],
    is_control: bool,
) -> Column:
    by_build = grouped(pairs, lambda pair: build_key(pair[0][0]))
    cells = tuple(_cell(by_build.get(key, ()), row) for key in ground.builds)
    told = {
        ending
        for cell in cells
        for ending, _ in cell.counts
        if ending not in ("not run", "inconclusive")
    }
    return Column(
        scenario=row.name,
        title=row.title,
        anchor=ground.anchors[row.name],
        families=families_words(families),
        expect=expect_words(row.expect),
        severity=row.severity,
        is_control=is_control,
        control=row.control or "",
        all_read=_all_read(row.steps),
        differs=len(told) > 1 or any(cell.word == "mixed" for cell in cells),
        deviates=any(cell.tone in ("info", "warning", "error", "untold") for cell in cells),
        groups=tuple(
            (word, _gravest(cell.tone for _, cell in pairs_), tuple(build for build, _ in pairs_))
            for word, pairs_ in grouped(
                zip(ground.builds.values(), cells, strict=True), lambda p: p[1].word
            ).items()
        ),
        cells=cells,
    )


def _all_read(steps: Sequence[str]) -> bool:
    """Whether the closer has read everything and the peer sends nothing new after that."""
    read = max((i for i, step in enumerate(steps) if step == "closer reads all"), default=None)
    return read is not None and not any(step.startswith("peer sends") for step in steps[read:])


def _cell(pairs: Iterable[Seen], row: ScenarioRow) -> Cell:
    """Counts hosts, not observations: the families of a column agree on each host."""
    hosts = {hosts[0].name: (hosts, o) for hosts, o in pairs}
    sound = [(alike, o) for alike, o in hosts.values() if not alike[0].void]
    counts = Counter[str]()
    for alike, o in sound:
        # Trials that disagree on one host are an ending of their own: the host was seen to do both.
        counts["mixed" if len(o.endings) > 1 else o.ending] += len(alike)
    told = [ending for ending in counts if ending not in ("not run", "inconclusive")]
    if len(told) > 1 or "mixed" in counts:
        word = "mixed"
    elif told:
        word = told[0]
    else:
        word = next(iter(counts), "void" if hosts else "not asked")
    return Cell(
        word=word,
        tone=(
            _gravest(tone_of(o, row) for _, o in sound)
            if sound
            else ("void" if hosts else "silent")
        ),
        counts=tuple(sorted(counts.items(), key=lambda c: (-c[1], c[0]))),
        hosts=counts.total(),
        void=sum(len(alike) for alike, _ in hosts.values() if alike[0].void),
        on_host=sum(len(alike) for alike, _ in sound if alike[0].isolation == "host"),
    )


_GRAVITY: tuple[Tone, ...] = (
    "void",
    "silent",
    "observed",
    "met",
    "untold",
    "info",
    "warning",
    "error",
)


def _gravest(tones: Iterable[Tone]) -> Tone:
    return max(tones, key=_GRAVITY.index)


def classes_of(ground: Ground, columns: Sequence[Column]) -> tuple[KernelClass, ...]:
    """Returns the builds by what they do; a build may be mixed in one scenario and reset in
    another.
    """
    named = dict[KernelKey, list[tuple[Build, tuple[Column, ...]]]]()
    for i, build in enumerate(ground.builds.values()):
        of_build = dict[KernelKey, list[Column]]()
        for column in columns:
            cell = column.cells[i]
            if cell.word == "mixed":
                of_build.setdefault("mixed", []).append(column)
            elif cell.tone in SEVERITIES:
                resets = "RST" in cell.word and "RST" not in column.expect
                of_build.setdefault("resets" if resets else "otherwise", []).append(column)
            elif cell.tone == "untold":
                of_build.setdefault("untold", []).append(column)
        if not of_build:
            of_build[_without_deviation(build, {column.cells[i].tone for column in columns})] = []
        for key, why in of_build.items():
            named.setdefault(key, []).append((build, tuple(why)))
    return tuple(KernelClass(key=key, builds=tuple(named[key])) for key in CLASSES if key in named)


def _without_deviation(build: Build, tones: Collection[Tone]) -> KernelKey:
    """Returns the class of a build of which no cell deviates; `tones` are those of its cells."""
    if "met" in tones:
        return "met"
    if build.void == build.hosts.count:
        return "void"
    return "observed" if "observed" in tones else "untold"


def series_of_columns(
    builds: Sequence[Build], columns: Sequence[Column]
) -> tuple[SeriesChart, ...]:
    """Returns, for each scenario that kernels end differently, how many hosts of each series ended
    how.
    """
    return tuple(_series(builds, column) for column in columns if column.differs)


def _series(builds: Sequence[Build], column: Column) -> SeriesChart:
    rows = list[SeriesRow]()
    for series, pairs in grouped(
        zip(builds, column.cells, strict=True), lambda pair: pair[0].series
    ).items():
        counts = Counter[str]()
        for _, cell in pairs:
            counts.update(dict(cell.counts))
        if counts:
            rows.append(
                SeriesRow(series=series, counts=tuple(counts.items()), hosts=counts.total())
            )
    words = dict.fromkeys(word for row in rows for word, _ in row.counts)
    return SeriesChart(
        scenario=column.scenario,
        title=column.title,
        link=column.anchor,
        families=column.families,
        words=tuple(sorted(words, key=_place)),
        rows=tuple(rows),
    )


def _place(word: str) -> tuple[int, str]:
    order = ("FIN", "FIN, then RST", "RST")
    return (order.index(word) if word in order else len(order)), word


def scenarios_of(ground: Ground) -> tuple[ScenarioView, ...]:
    """Returns the scenarios as declared, each with the families that ran."""
    ran = dict[str, set[Family]]()
    for first, *_ in ground.alike:
        for o in first.observations:
            ran.setdefault(o.scenario, set()).add(o.family)
    return tuple(
        ScenarioView(
            anchor=ground.anchors[name],
            row=row,
            expect=expect_words(row.expect),
            families=families_words(ran.get(name, ())),
            control_anchor=ground.anchors.get(row.control or "", ""),
        )
        for name, row in ground.rows.items()
    )
