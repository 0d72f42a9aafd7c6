"""The view of kernels: builds, matrix of builds and scenarios, kernel classes, series charts."""

from __future__ import annotations

from typing import Literal

import msgspec

from fleetaudit.model import Kernel, Severity
from fleetaudit.text.host_ranges import HostRanges

Verdict = Literal["met", "info", "warning", "error", "unknown", "no expectation", "not run", "void"]
"""How an observation compares with its expectation: met; if not met, its severity; or neither."""


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel build (release, version, machine) and its hosts.

    `void` counts the hosts whose positive control failed, `on_host` those measured in their own
    network namespace. `label` names the build in addresses: its release, with version and machine
    if another build has the same release.
    """

    anchor: str
    label: str
    kernel: Kernel
    series: str
    hosts: HostRanges
    void: int
    on_host: int
    systems: tuple[str, ...]


class KnownBuilds(msgspec.Struct, frozen=True, kw_only=True):
    """Builds about which the table of kernels says the same: `known` is a part of a sentence."""

    known: str
    builds: tuple[Build, ...]


class DifferingHosts(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts of one build with another ending than the table of kernels has for that build.

    `reason` is what may be the reason, in words.
    """

    build: Build
    scenario: str
    families: str
    table: str
    measured: str
    hosts: HostRanges
    reason: str


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One build in one scenario: how many hosts had which ending.

    `label` is the ending that all of them share, or "mixed", "void" or "not in playbook". `counts`
    are (ending, hosts), most hosts first; `hosts` is their sum and leaves out void hosts.
    """

    label: str
    verdict: Verdict
    counts: tuple[tuple[str, int], ...]
    hosts: int
    void: int
    on_host: int

    @property
    def labelled(self) -> int:
        """How many hosts the label is about: those with that ending, or all if it is "mixed"."""
        if self.label == "mixed":
            return self.hosts
        return dict(self.counts).get(self.label, 0)

    @property
    def others(self) -> tuple[tuple[str, int], ...]:
        """The counts that the label and its number leave open: none if all hosts are equal."""
        if self.label == "mixed" and len(self.counts) > 1:
            return self.counts
        return tuple(count for count in self.counts if count[0] != self.label)


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario over the families that agree on every host.

    `cells` are in the order of the builds. `groups` are (label, worst verdict, builds): the builds
    by the label of their cells. `control` is the scenario that this one names as its control;
    `is_control` is true if another scenario names this one, or if it is the scenario that must end
    in RST. `all_read`: the steps leave the closer no unread data. `differs`: builds, or hosts of
    one build, have different endings. `deviates`: some cell is not as expected, or unknown.
    """

    scenario: str
    title: str
    anchor: str
    families: str
    expect: str
    severity: Severity
    is_control: bool
    control: str
    all_read: bool
    differs: bool
    deviates: bool
    groups: tuple[tuple[str, Verdict, tuple[Build, ...]], ...]
    cells: tuple[Cell, ...]

    @property
    def must_reset(self) -> bool:
        """Whether RST is the one expected ending, and a control proves that FIN can be seen."""
        return self.expect == "RST" and self.control != ""

    @property
    def notable(self) -> bool:
        """Whether the report shows the column first."""
        return self.differs or self.deviates

    @property
    def lacks_verdicts(self) -> bool:
        """Whether the scenario was not run, or its control failed, on some host that has it."""
        return any(cell.void or "not run" in dict(cell.counts) for cell in self.cells)


class HeatMapSeries(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel series in the heat map: its cells, and its builds with theirs, one per column."""

    series: str
    hosts: int
    cells: tuple[Cell, ...]
    builds: tuple[tuple[Build, tuple[Cell, ...]], ...]

    @property
    def agrees(self) -> bool:
        """Whether all hosts of the series have the same endings; void hosts do not count."""
        return all(len(cell.counts) <= 1 for cell in self.cells)


class HeatMap(msgspec.Struct, frozen=True, kw_only=True):
    """The notable columns by kernel series; `builds` counts the builds of all series."""

    columns: tuple[Column, ...]
    series: tuple[HeatMapSeries, ...]
    builds: int


KernelClassName = Literal[
    "resets", "mixed", "otherwise", "unknown", "void", "no expectation", "met"
]
"""RST where none is expected; one build with several endings; another deviation; inconclusive; the
positive control failed; no scenario with an expectation ran; as expected.
"""


class KernelClass(msgspec.Struct, frozen=True, kw_only=True):
    """Builds that the summary names together, each with the columns that put it into the class."""

    name: KernelClassName
    builds: tuple[tuple[Build, tuple[Column, ...]], ...]


class SeriesRow(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel series; `counts` are (ending, hosts), `hosts` is their sum."""

    series: str
    counts: tuple[tuple[str, int], ...]
    hosts: int


class SeriesChart(msgspec.Struct, frozen=True, kw_only=True):
    """The endings of one scenario by kernel series, in numeric order.

    `endings` are the endings that occur.
    """

    scenario: str
    title: str
    link: str
    families: str
    endings: tuple[str, ...]
    rows: tuple[SeriesRow, ...]
