"""The result of one host: audited, not audited, or not selected; and its findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from .base import Frozen, LongText, Seconds, ShortText
from .evidence import Observation
from .playbook import Family, Severity
from .service_result import ServiceResult
from .system import Exposure, Kernel, Os, Sysctl, SysctlLines
from .watch import Watched

Stage = Literal[
    "inventory",
    "resolve",
    "connect",
    "host key",
    "authenticate",
    "become",
    "execute",
    "decode",
    "report",
    "interrupted",
]


class Location(Frozen, frozen=True, kw_only=True):
    """A line of a file: the path with "/" between its folders, and the line from 1.

    The path is relative to the repository of the current folder, or else to that folder. A file
    outside has its absolute path.
    """

    file: LongText
    line: Annotated[int, Meta(ge=1, le=0x7FFFFFFF)] = 1


class Finding(Frozen, frozen=True, kw_only=True):
    """A difference between an observation and an expectation.

    `id` is stable: "scenario:NAME/FAMILY", "sysctl:KEY"… `waived` is "OWNER until DATE: REASON" of
    the waiver that accepts it. `since` is the date (RFC 3339 full-date) of the first known run that
    has it, "" if no earlier run was read.
    """

    id: str
    severity: Severity
    expected: str
    observed: str
    because: str = ""
    fix: str = ""
    waived: str | None = None
    since: str = ""

    @property
    def is_open(self) -> bool:
        """Whether no waiver accepts the finding."""
        return self.waived is None


ProbeName = Literal["python", "native"]
"""The program that measures a host; both measure the same."""


class NotAudited(Frozen, frozen=True, kw_only=True, tag_field="status", tag="not audited"):
    """A host that could not be audited: at which stage, why, and the next command to type.

    `kind` is the reason without its addresses, ports and fingerprints (`errors.FailureKind`). `at`
    names what failed if that is not the host itself, such as "jump host gate". Both are "" in runs
    of older releases. The only finding that it can have is a changed host key.
    """

    name: str
    groups: tuple[str, ...] = ()
    stage: Stage
    kind: ShortText = ""
    at: ShortText = ""
    reason: str
    hint: str = ""
    # Every host of run.json has these keys, so that a script can read them of any host.
    kernel: None = None
    os: None = None
    python: None = None
    isolation: None = None
    observations: tuple[()] = ()
    sysctls: dict[str, Any] = {}
    exposure: None = None
    findings: tuple[Finding, ...] = ()
    location: Location | None = None

    program: ClassVar[None] = None
    """As `Audited.program`: no program measured."""
    void: ClassVar[str] = ""
    expectations: ClassVar[tuple[str, ...]] = ()
    watch: ClassVar[UnsetType] = UNSET
    services: ClassVar[UnsetType] = UNSET


class NotSelected(Frozen, frozen=True, kw_only=True, tag_field="status", tag="not selected"):
    """A host that --limit selects and no play matches: nothing runs there, and nothing failed."""

    name: str
    groups: tuple[str, ...] = ()
    # As in `NotAudited`: every key that a script may read.
    stage: None = None
    kind: Literal[""] = ""
    at: Literal[""] = ""
    reason: str = "not selected by any play"
    hint: str = ""
    kernel: None = None
    os: None = None
    python: None = None
    isolation: None = None
    observations: tuple[()] = ()
    sysctls: dict[str, Any] = {}
    exposure: None = None
    findings: tuple[()] = ()
    location: Location | None = None

    program: ClassVar[None] = None
    void: ClassVar[str] = ""
    expectations: ClassVar[tuple[str, ...]] = ()
    watch: ClassVar[UnsetType] = UNSET
    services: ClassVar[UnsetType] = UNSET


NoTarget = NotAudited | NotSelected
"""A result that is known before any connection."""


class Audited(Frozen, frozen=True, kw_only=True, tag_field="status", tag="audited"):
    """A host whose probe answered.

    `notes` are sentences that qualify every verdict of this host: no namespace, a control without a
    verdict, settings that could not be copied. `void` says why its verdicts prove nothing.
    `expectations` are the ids of the playbook's expectations of this host other than scenarios, met
    or not. `location` is where the inventory names it first.

    `probe` is the program that measured; the native one has no `python` and no `interpreter`. It is
    unset in runs of earlier versions, where Python always measured.

    `sysctl_places` has the line that sets a sysctl at boot, by key, for sysctls that a file sets;
    two lines if `sysctl --system` and systemd-sysctl use different ones; null if the files could
    not be read. `sysctls_writable` is false if /proc/sys is mounted read-only, as in most
    containers.

    `watch` is unset unless the host was watched, and `services` unless some were asked.
    """

    name: str
    groups: tuple[str, ...] = ()
    stage: None = None
    kind: Literal[""] = ""
    at: Literal[""] = ""
    reason: str = ""
    hint: str = ""
    kernel: Kernel
    os: Os = Os()
    probe: ProbeName | UnsetType = UNSET
    python: ShortText = ""
    interpreter: ShortText = ""
    machine_id: ShortText = ""
    isolation: Literal["namespace", "host"]
    notes: tuple[LongText, ...] = ()
    void: LongText = ""
    observations: tuple[Observation, ...] = ()
    sysctls: dict[ShortText, Sysctl] = {}
    sysctl_places: dict[ShortText, SysctlLines] | None = None
    sysctls_writable: bool = True
    exposure: Exposure | None = None
    expectations: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    elapsed_s: Seconds = 0.0
    location: Location | None = None
    watch: Watched | UnsetType = UNSET
    services: tuple[ServiceResult, ...] | UnsetType = UNSET

    @property
    def program(self) -> ProbeName:
        """The program that measured, also of a run that has no `probe`."""
        return "native" if self.probe == "native" else "python"

    @property
    def measured_by(self) -> str:
        """What ran the experiment, in words: "Python 3.11.2" or "the native probe"."""
        return "the native probe" if self.program == "native" else f"Python {self.python}".rstrip()

    @property
    def asked_services(self) -> tuple[ServiceResult, ...]:
        """The results of the services that were asked, () if none were."""
        return self.services or ()

    def observations_by_scenario(self) -> dict[tuple[str, Family], Observation]:
        """Returns the observations by the name of the scenario and the family."""
        return {(o.scenario, o.family): o for o in self.observations}


NO_CAPTURE = "no packets are captured"
"""The beginning of the note that a host has if no packet was captured; the reason follows."""

HostResult = Audited | NotAudited | NotSelected


def conclusive_hosts(hosts: Iterable[HostResult]) -> Iterator[Audited]:
    """Yields the hosts whose verdicts count: they were audited, and are not void."""
    for host in hosts:
        if isinstance(host, Audited) and not host.void:
            yield host
