"""What a report shows: the nouns of a comparison, all of them frozen and all of their words
decided.

Rules: no logic here. Every list of hosts is folded and counted. A text may be a host's own and is
only ever text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fleetaudit.analysis.causes import Cause
from fleetaudit.model import (
    ChangeKind,
    Effect,
    Kernel,
    PastRun,
    ResetRate,
    RunInfo,
    ScenarioRow,
    Severity,
)
from fleetaudit.text.host_ranges import HostRanges

Tone = Literal["met", "info", "warning", "error", "untold", "observed", "silent", "void"]
"""What a verdict means to a reader: as expected; not as expected, by severity; could not be told;
no expectation; not run; void.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many hosts: `selected` (by --limit) is `audited`, `not_audited` and `not_selected` (by
    any play) together; `void` and `on_host` are among `audited`.
    """

    selected: int
    audited: int
    not_audited: int
    not_selected: int
    void: int
    on_host: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One kernel build (release, version, machine) and its hosts; `void` and `on_host` (isolation)
    are among them.
    """

    anchor: str
    kernel: Kernel
    series: str
    hosts: HostRanges
    void: int
    on_host: int
    systems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One build, one scenario: how many hosts ended how. `word` is the ending, "mixed", "void" or
    "not asked".
    """

    word: str
    tone: Tone
    counts: tuple[tuple[str, int], ...]
    hosts: int
    void: int
    on_host: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One scenario over the families that agree on every host; `cells` are in the order of the
    builds, `groups` are the builds by the word of their cells, each with the gravest tone among
    them.

    `is_control`: others name it as their control, or it is the one that must reset; `control` is
    the one that it names. `all_read`: its steps leave the closer nothing unread. `differs`: builds,
    or hosts of one build, end differently. `deviates`: somewhere not as expected, or not told.
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
    groups: tuple[tuple[str, Tone, tuple[Build, ...]], ...]
    cells: tuple[Cell, ...]

    @property
    def notable(self) -> bool:
        """Whether a reader should see it first."""
        return self.differs or self.deviates


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """How many scenarios ended as expected on all `hosts` that are not void, and how many
    expectations of other kinds they meet. On `silent` hosts no scenario ran except controls. Of the
    `verdicts` asked of hosts that are not void, `not_run` were not run, on `lacking` hosts.
    """

    hosts: int
    silent: int
    verdicts: int
    not_run: int
    lacking: int
    scenarios: int
    of_scenarios: int
    expectations: int
    of_expectations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """The hosts of a finding that saw the same; `waived` says why it is accepted, None where it is
    not; `since` is the date it was first seen, "" where nobody asked.
    """

    observed: str
    waived: str | None
    since: str
    builds: tuple[Build, ...]
    hosts: HostRanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A remedy and its hosts; `typed` is true if it is a command to type rather than a sentence."""

    text: str
    typed: bool
    hosts: HostRanges


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """One expectation that some hosts fall short of. `subject` is the scenario or the sysctl,
    `link` its anchor; `ids` are the findings' stable ids; `hosts` are those without a waiver,
    `waived` those with one. `remedies` are what to do, each with its hosts, those of most hosts
    first; a host for which nothing is known is in none.
    """

    anchor: str
    ids: tuple[str, ...]
    kind: str
    subject: str
    detail: str
    link: str
    severity: Severity
    expected: str
    because: str
    remedies: tuple[Remedy, ...]
    hosts: int
    waived: int
    rows: tuple[FindingRow, ...]

    @property
    def fix(self) -> str:
        """The remedy, if it is the same on every host; else ""."""
        return self.remedies[0].text if self._one_for_all else ""

    @property
    def typed(self) -> bool:
        """Whether `fix` is a command to type."""
        return self._one_for_all and self.remedies[0].typed

    @property
    def _one_for_all(self) -> bool:
        return len(self.remedies) == 1 and self.remedies[0].hosts.count == self.hosts + self.waived

    @property
    def audited(self) -> bool:
        """Whether its hosts were audited: of the others only a changed host key is a finding."""
        return self.kind != "host-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlValue:
    """Hosts on which a sysctl reads the same. `relation` compares it with the kernel's own default,
    in words.
    """

    value: str
    relation: str
    tone: Tone
    used: str
    hosts: HostRanges


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlView:
    """One sysctl worth showing, and `why` in words; `omitted` values, on `omitted_hosts`, are not
    listed.
    """

    anchor: str
    key: str
    why: str
    expected: str
    values: tuple[SysctlValue, ...]
    omitted: int
    omitted_hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """A moment of a trial, in microseconds: a step ("step") or a segment sent by "closer" or
    "peer".

    `window` is the segment's field, `offered` the same in bytes, `scale` the window scale option of
    a SYN; each None where it is unknown or absent.
    """

    at_us: int
    who: Literal["step", "closer", "peer"]
    text: str
    flags: str = ""
    seq: str = ""
    ack: int = 0
    length: int = 0
    urgent: int = 0
    options: str = ""
    window: int | None = None
    offered: int | None = None
    scale: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The evidence of one trial: the wire with the steps, then each witness; empty where it could
    not speak.

    `seen` is what it ended in, `tone` how that stands to the expectation.
    """

    anchor: str
    title: str
    host: str
    build: Build
    seen: str
    tone: Tone
    on_host: bool
    rows: tuple[TraceRow, ...]
    wire_note: str
    omitted: int
    peer: tuple[tuple[str, str], ...]
    kernel: tuple[tuple[str, int], ...] | None
    queue: tuple[tuple[str, int], ...]
    bytes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a duel: the builds whose hosts end so, the trace of one of them, and its row from
    which it differs from the other side's; that is the number of its rows where it does not.
    """

    word: str
    tone: Tone
    builds: tuple[Build, ...]
    hosts: int
    trace: Trace
    parts_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """A scenario that kernels end differently, as two traces beside each other."""

    anchor: str
    scenario: str
    title: str
    link: str
    over: str
    expect: str
    sides: tuple[Side, Side]

    @property
    def same_wire(self) -> bool:
        """Whether both put the same segments on the wire, so that another witness made the
        difference.
        """
        return all(side.parts_at >= len(side.trace.rows) for side in self.sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """A kernel series and how many of its hosts ended how; `hosts` is their sum."""

    series: str
    counts: tuple[tuple[str, int], ...]
    hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesChart:
    """The endings of one scenario by kernel series, in numeric order; `words` are the endings that
    occur.
    """

    scenario: str
    title: str
    link: str
    families: str
    words: tuple[str, ...]
    rows: tuple[SeriesRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one profile saw in one scenario; `trace` is the anchor of its packets, here or where
    they were first, on `trace_host`; "" on both where none are shown. `alike`: every kernel ends it
    so, and as expected.
    """

    scenario: str
    title: str
    anchor: str
    families: str
    seen: str
    expect: str
    verdict: str
    tone: Tone
    trials: int
    reason: str
    trace: str
    trace_host: str
    alike: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Hosts of a profile that also agree in system, groups, notes and findings; `hosts` leaves out
    nobody. `findings` are (severity, id, expected, observed, waiver, date first seen).
    """

    hosts: HostRanges
    groups: tuple[str, ...]
    system: str
    python: str
    notes: tuple[str, ...]
    findings: tuple[tuple[Severity, str, str, str, str | None, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Hosts of one kernel build that were seen to behave alike, with the evidence once; `first`
    names one of them.

    `tally` counts the verdicts that a reader should know of (none on a void host), gravest first.
    """

    anchor: str
    build: Build
    first: str
    hosts: HostRanges
    on_host: bool
    void: str
    members: tuple[Member, ...]
    tally: tuple[tuple[Tone, int], ...]
    verdicts: tuple[Verdict, ...]
    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioView:
    """A scenario as it ran."""

    anchor: str
    row: ScenarioRow
    expect: str
    families: str
    control_anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """What one host's own counters say since its boot; None where they could not be read."""

    host: str
    anchor: str
    connections: int | None
    aborts: int | None
    per_thousand: float | None
    uptime_days: float | None
    unread_sockets: int | None
    unread_bytes: int | None
    partial: bool


KernelKey = Literal["resets", "mixed", "otherwise", "untold", "void", "observed", "met"]
"""Reset where no RST was expected; the same build ends differently; otherwise not as expected; …;
no scenario with an expectation ran; as expected.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelClass:
    """Builds that the first answer names together; each with its hosts' number and the scenarios it
    is named for.
    """

    key: KernelKey
    builds: tuple[tuple[Build, tuple[Column, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One change, on all hosts that it happened to. `subject` is the scenario, the sysctl or
    another noun, `detail` its families; `link` is its anchor, "" where it has none; `since` is the
    date it was first seen. `waived` is the waiver of what is so now.
    """

    effect: Effect
    kind: ChangeKind
    subject: str
    detail: str
    link: str
    before: str
    after: str
    since: str
    severity: Severity | None
    waived: str | None
    hosts: HostRanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What changed since the run `before`, which began at `since`. `refused` says why that cannot
    be told.

    `counts` are how many hosts had which effect, in words, regressions first; `regressed` are the
    scenarios and sysctls of the regressions with their hosts' number; `rows` are all changes
    folded, of which `omitted` are not listed. `rates` are the hosts that aborted most in between;
    `unrated` the hosts whose rate cannot be told, by reason.
    """

    before: str
    since: str
    refused: str
    notes: tuple[str, ...]
    compared: int
    counts: tuple[tuple[int, str], ...]
    regressed: tuple[tuple[str, int], ...]
    rows: tuple[ChangeRow, ...]
    omitted: int
    rates: tuple[ResetRate, ...]
    unrated: tuple[tuple[str, HostRanges], ...]


NOT_SELECTED = "not-selected"
"""The anchor of the hosts that no play matches."""
HostState = Literal[
    "error", "warning", "info", "untold", "met", "void", "not audited", "not selected"
]
"""A host in a word: its gravest finding that is not waived, else whether something could not be
told.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLine:
    """One selected host in a line: `anchor` is its profile or the cause why it was not audited
    (NOT_SELECTED where no play matches it), `build` its kernel's place among the builds. `changes`
    are (effect, kind, what, before, after, since). `typed` is as in `Cause`.
    """

    name: str
    state: HostState
    anchor: str
    groups: tuple[str, ...]
    build: int | None
    about: tuple[str, ...]
    findings: tuple[tuple[Severity, str, str, str, str | None, str], ...]
    changes: tuple[tuple[Effect, ChangeKind, str, str, str, str], ...]
    per_thousand: float | None
    unread_sockets: int | None
    hint: str
    typed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a sentence; `link` is an anchor of the page, `said` tells that a host or an
    inventory said it.
    """

    text: str
    link: str = ""
    strong: bool = False
    said: bool = False


Say = tuple[Part, ...]
"""One sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One of the five questions and its answer in sentences; `key` is the anchor of the detail,
    `coverage` what the answer rests on, "" where the answer is that itself.
    """

    key: str
    question: str
    says: tuple[Say, ...]
    coverage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that any report shows of a run.

    `short` counts the hosts that fall short of an expectation without a waiver, each once, by its
    gravest finding. `not_selected` are the hosts that no play matches. `changes` is None where the
    run was compared with no other; `past` are the runs before and this one, oldest first, empty
    without one before.
    """

    run: RunInfo
    coverage: Coverage
    met: Met
    kernels: tuple[KernelClass, ...]
    builds: tuple[Build, ...]
    columns: tuple[Column, ...]
    findings: tuple[FindingGroup, ...]
    short: tuple[tuple[Severity, int], ...]
    sysctls: tuple[SysctlView, ...]
    sysctls_read: int
    causes: tuple[Cause, ...]
    not_selected: HostRanges
    profiles: tuple[Profile, ...]
    scenarios: tuple[ScenarioView, ...]
    production: tuple[Production, ...]
    production_hosts: int
    answers: tuple[Answer, ...]
    series: tuple[SeriesChart, ...]
    duels: tuple[Duel, ...]
    hosts: tuple[HostLine, ...]
    changes: Changes | None = None
    past: tuple[PastRun, ...] = ()
