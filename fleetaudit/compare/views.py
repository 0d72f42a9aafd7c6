"""What a report shows: the nouns of a comparison, all of them frozen and all of their words decided.

Rules: no logic here. Every list of hosts is folded and counted. A text may be a host's own and is only ever text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..folding import Folded
from ..model import Kernel, RunInfo, ScenarioRow, Severity

Tone = Literal["met", "info", "warning", "error", "untold", "silent", "void"]
"""What a verdict means to a reader: as expected; not as expected, by severity; could not be told; not run; void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many hosts: `selected` is `audited` and `not_audited` together; `void` and `on_host` are among `audited`."""

    selected: int
    audited: int
    not_audited: int
    void: int
    on_host: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One kernel build (release, version, machine) and its hosts; `void` and `on_host` (isolation) are among them."""

    anchor: str
    kernel: Kernel
    series: str
    hosts: Folded
    void: int
    on_host: int
    systems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One build, one scenario: how many hosts ended how. `word` is the ending, "mixed", "void" or "not asked"."""

    word: str
    tone: Tone
    counts: tuple[tuple[str, int], ...]
    hosts: int
    void: int
    on_host: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One scenario over the families that agree on every host; `cells` are in the order of the builds, `groups` are
    the builds by the word of their cells, each with the gravest tone among them.

    `differs`: builds, or hosts of one build, end differently. `deviates`: somewhere not as expected, or not told.
    """

    scenario: str
    title: str
    anchor: str
    families: str
    expect: str
    severity: Severity
    is_control: bool
    differs: bool
    deviates: bool
    groups: tuple[tuple[str, Tone, tuple[Build, ...]], ...]
    cells: tuple[Cell, ...]

    @property
    def notable(self) -> bool:
        """Whether a reader should see it first."""
        return self.differs or self.deviates


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """The hosts of a finding that saw the same; `waived` says why it is accepted, None where it is not."""

    observed: str
    waived: str | None
    builds: tuple[Build, ...]
    hosts: Folded


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """One expectation that some hosts fall short of. `subject` is the scenario or the sysctl, `link` its anchor;
    `ids` are the findings' stable ids; `hosts` are those without a waiver, `waived` those with one."""

    anchor: str
    ids: tuple[str, ...]
    kind: str
    subject: str
    detail: str
    link: str
    severity: Severity
    expected: str
    because: str
    fix: str
    hosts: int
    waived: int
    rows: tuple[FindingRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlValue:
    """Hosts on which a sysctl reads the same. `relation` compares it with the kernel's own default, in words."""

    value: str
    relation: str
    tone: Tone
    used: str
    hosts: Folded


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlView:
    """One sysctl worth showing, and `why` in words; `omitted` values, on `omitted_hosts`, are not listed."""

    anchor: str
    key: str
    why: str
    expected: str
    values: tuple[SysctlValue, ...]
    omitted: int
    omitted_hosts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Hosts that were not audited for one reason. `hints` are (host, next command to type), at most a dozen."""

    anchor: str
    stage: str
    reason: str
    hosts: Folded
    hints: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """A moment of a trial, in microseconds: a step ("step") or a segment sent by "closer" or "peer"."""

    at_us: int
    who: Literal["step", "closer", "peer"]
    text: str
    flags: str = ""
    seq: str = ""
    ack: int = 0
    length: int = 0
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The evidence of one trial: the wire with the steps, then each witness; empty where it could not speak."""

    anchor: str
    title: str
    host: str
    on_host: bool
    rows: tuple[TraceRow, ...]
    wire_note: str
    omitted: int
    peer: tuple[tuple[str, str], ...]
    kernel: tuple[tuple[str, int], ...] | None
    queue: tuple[tuple[str, int], ...]
    bytes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one profile saw in one scenario; `trace` is the anchor of its packets, here or where they were first."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Hosts of a profile that also agree in system, groups, notes and findings; (anchor, name) of each."""

    hosts: Folded
    names: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]
    system: str
    python: str
    notes: tuple[str, ...]
    findings: tuple[tuple[str, Severity, str, str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Hosts of one kernel build that were seen to behave alike, with the evidence once.

    `tally` counts the verdicts that a reader should know of (none on a void host), gravest first.
    """

    anchor: str
    build: Build
    hosts: Folded
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


KernelKey = Literal["resets", "mixed", "otherwise", "untold", "void", "met"]
"""Reset where no RST was expected; the same build ends differently; otherwise not as expected; …; as expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelClass:
    """Builds that the first answer names together; each with its hosts' number and the scenarios it is named for."""

    key: KernelKey
    builds: tuple[tuple[Build, tuple[Column, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that any report shows of a run.

    `short` counts the hosts that fall short of an expectation without a waiver, each once, by its gravest finding.
    """

    run: RunInfo
    coverage: Coverage
    kernels: tuple[KernelClass, ...]
    builds: tuple[Build, ...]
    columns: tuple[Column, ...]
    findings: tuple[FindingGroup, ...]
    short: tuple[tuple[Severity, int], ...]
    sysctls: tuple[SysctlView, ...]
    sysctls_read: int
    causes: tuple[Cause, ...]
    profiles: tuple[Profile, ...]
    scenarios: tuple[ScenarioView, ...]
    production: tuple[Production, ...]
    production_hosts: int
