"""The view model: everything that a report shows of a run, frozen, with all words decided.

Rules: no logic here. Every list of hosts is folded and counted. Text that a host sent is only ever
text.
"""

from __future__ import annotations

import shlex

import msgspec

from fleetaudit.analysis.causes import Cause
from fleetaudit.analysis.production import WatchTable
from fleetaudit.analysis.services import ServiceTable
from fleetaudit.model import (
    PastRun,
    RunInfo,
    ScenarioRow,
    Severity,
)
from fleetaudit.text.host_ranges import HostRanges

from .changes import ChangeRow, Changes
from .expectations import (
    KERNEL_DEFAULT,
    FindingGroup,
    FindingRow,
    MetExpectations,
    NotRun,
    Remedy,
    SysctlValue,
    SysctlView,
    listed_sysctls,
)
from .hosts import (
    NOT_SELECTED,
    HostChange,
    HostEntry,
    HostFinding,
    HostState,
    Member,
    Production,
    Profile,
    SysctlRows,
    VerdictRow,
)
from .kernels import (
    Build,
    Cell,
    Column,
    DifferingHosts,
    HeatMap,
    HeatMapSeries,
    KernelClass,
    KernelClassName,
    KnownBuilds,
    SeriesChart,
    SeriesRow,
    Verdict,
)
from .listed import ListedHosts, ListFilter, RowLabel
from .resets import NotWatchedLine, ReasonCure, ResetLine, ResetsView, UnreadLine
from .services import CheckLine, CureView, NotAskedLine, ServiceCard, ServicesView
from .status import (
    Highlight,
    NextStep,
    Status,
    StatusLevel,
)
from .story import Story, StoryStep
from .summary import (
    Coverage,
    Sentence,
    SummaryItem,
    TextPart,
)
from .traces import (
    Trace,
    TracePair,
    TraceRow,
    TraceSide,
)

__all__ = [
    "KERNEL_DEFAULT",
    "NOT_SELECTED",
    "Build",
    "Cell",
    "ChangeRow",
    "Changes",
    "CheckLine",
    "Column",
    "Comparison",
    "Coverage",
    "CureView",
    "DifferingHosts",
    "FindingGroup",
    "FindingRow",
    "HeatMap",
    "HeatMapSeries",
    "Highlight",
    "HostChange",
    "HostEntry",
    "HostFinding",
    "HostState",
    "KernelClass",
    "KernelClassName",
    "KnownBuilds",
    "ListFilter",
    "ListedHosts",
    "Member",
    "MetExpectations",
    "NextStep",
    "NotAskedLine",
    "NotRun",
    "NotWatchedLine",
    "Production",
    "Profile",
    "ReasonCure",
    "Remedy",
    "ResetLine",
    "ResetsView",
    "RowLabel",
    "ScenarioView",
    "Sentence",
    "SeriesChart",
    "SeriesRow",
    "ServiceCard",
    "ServicesView",
    "Status",
    "StatusLevel",
    "Story",
    "StoryStep",
    "SummaryItem",
    "SysctlRows",
    "SysctlValue",
    "SysctlView",
    "TextPart",
    "Trace",
    "TracePair",
    "TraceRow",
    "TraceSide",
    "UnreadLine",
    "Verdict",
    "VerdictRow",
    "listed_sysctls",
]


class ScenarioView(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario of the run, and the families over which it ran."""

    anchor: str
    row: ScenarioRow
    expect: str
    families: str
    control_anchor: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a report shows of a run.

    `status` says whether somebody must act; `highlight` has the traces to show with it, if any.
    `unmet_hosts` counts the hosts with a finding that is not waived, each once, by the worst
    severity. `not_selected` are the hosts that no play matches. `changes` is None if the run was
    compared with no other. `past` are the earlier runs and this one, oldest first; () without any.
    `heat_map` replaces the matrix if there are many builds, else it is None. `folder` is the path
    of the run's folder, "" if its id is enough to find it. `known_builds` and `differing_hosts` are
    what the table of kernels says about the builds. `watch` has the programs that reset, and
    `services` how services answer and close. `resets_view` and `services_view` are what the page
    shows of them, None if no host was to be watched, or had services to ask; `labels` name their
    rows, and hosts have the indexes of their rows.
    """

    run: RunInfo
    status: Status
    highlight: Highlight | None
    coverage: Coverage
    met: MetExpectations
    not_run: tuple[NotRun, ...]
    kernels: tuple[KernelClass, ...]
    builds: tuple[Build, ...]
    columns: tuple[Column, ...]
    findings: tuple[FindingGroup, ...]
    unmet_hosts: tuple[tuple[Severity, int], ...]
    sysctls: tuple[SysctlView, ...]
    sysctls_read: int
    causes: tuple[Cause, ...]
    not_selected: HostRanges
    profiles: tuple[Profile, ...]
    scenarios: tuple[ScenarioView, ...]
    production: tuple[Production, ...]
    production_hosts: int
    summary: tuple[SummaryItem, ...]
    series: tuple[SeriesChart, ...]
    trace_pairs: tuple[TracePair, ...]
    hosts: tuple[HostEntry, ...]
    watch: WatchTable
    services: ServiceTable
    story: Story
    resets_view: ResetsView | None = None
    services_view: ServicesView | None = None
    labels: tuple[RowLabel, ...] = ()
    heat_map: HeatMap | None = None
    known_builds: tuple[KnownBuilds, ...] = ()
    differing_hosts: tuple[DifferingHosts, ...] = ()
    changes: Changes | None = None
    past: tuple[PastRun, ...] = ()
    folder: str = ""

    @property
    def sysctls_listed(self) -> tuple[SysctlView, ...]:
        """The sysctls that the page lists, those with a finding first."""
        return listed_sysctls(self.sysctls)

    @property
    def sysctls_by_memory(self) -> tuple[SysctlView, ...]:
        """The sysctls that vary only because the memory of the hosts does."""
        return tuple(sysctl for sysctl in self.sysctls if sysctl.by_memory)

    @property
    def run_argument(self) -> str:
        """The RUN to type after `fleetaudit explain`."""
        return self.folder or self.run.id

    @property
    def first_step(self) -> str:
        """What to do first, a command or a sentence; "" if nobody needs to act."""
        first = self.status.first
        if first is None:
            return ""
        if not first.explain:
            return first.text
        return shlex.join(("fleetaudit", "explain", self.run_argument, *first.explain))
