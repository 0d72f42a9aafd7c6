"""The lines of a run's store and of its journal: parts, and the hosts that refer to them. Pure.

Most hosts of a run share nearly everything, so each value that hosts can share is one line, a part,
with a number; a host is one line with what is its own and the numbers of its parts. Rules: a part
refers only to parts of lower kinds, in lines before its own, so no file makes a cycle. The types
are those of the model, with the same bounds. Defaults are left out.

Why lines of JSON and not SQLite: a line is appended and is whole or missing after kill -9, needs no
lock on NFS, and grep reads it; what SQLite would add, the search by a key, an index at the end of
the file does as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fleetaudit.model import (
    Audited,
    Count,
    Ending,
    Evidence,
    Exposure,
    Family,
    Finding,
    Kernel,
    Location,
    LongText,
    NotAudited,
    NotSelected,
    Observation,
    Os,
    ProbeName,
    Seconds,
    ServiceResult,
    ShortText,
    Sysctl,
    SysctlLines,
    UInt32,
    UnreadSockets,
    Watched,
)

MAX_LINE = 64 * 1024 * 1024
"""The longest line that is read, in bytes: several times what the largest reply becomes."""

PartId = Annotated[int, Meta(ge=0, le=1 << 53)]
"""The number of a part: unique in its file; in the journal with gaps where a run was resumed."""
PartIds = tuple[PartId, ...]
GetPart = Callable[[str, int], Any]
"""Returns the value of a part by its kind and number; raises `UnknownPartError`."""


class UnknownPartError(ValueError):
    """A line refers to a part that is not in the file, or whose line is damaged."""


# ---- parts ---------------------------------------------------------------------------------------


class Part(msgspec.Struct, frozen=True, array_like=True):
    """The line of one part: its kind, its number and its value, as a JSON array."""

    id: PartId

    @property
    def kind(self) -> str:
        """The kind of the part, the first item of its line."""
        return str(self.__struct_config__.tag)

    def build(self, get: GetPart) -> Any:
        """Returns the value; `get` returns those that it refers to."""
        return self.value  # type: ignore[attr-defined]  # every kind without a `build` has it

    @staticmethod
    def key(value: Any) -> Hashable:
        """Returns what is equal exactly for equal values of one kind."""
        key: Hashable = value
        return key


class EvidencePart(Part, frozen=True, array_like=True, tag="evidence"):
    """Evidence without the name of another host; its times make it one host's own."""

    value: Evidence

    @staticmethod
    def key(value: Evidence) -> Hashable:
        """Returns the identity: evidence of two runs is never equal."""
        return id(value)


class ObservationRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An observation; `evidence` is the number of a part, and `same_as` the host that owns it."""

    scenario: str
    family: Family
    ending: Ending
    trials: UInt32
    endings: dict[str, UInt32] = {}
    reason: str = ""
    evidence: PartId
    same_as: str = ""


class ObservationPart(Part, frozen=True, array_like=True, tag="observation"):
    """An observation, with its evidence."""

    value: ObservationRecord

    def build(self, get: GetPart) -> Observation:
        """Returns the observation; the evidence of another host has that host's name."""
        record = self.value
        evidence: Evidence = get("evidence", record.evidence)
        if record.same_as:
            evidence = msgspec.structs.replace(evidence, same_as=record.same_as)
        return Observation(
            scenario=record.scenario,
            family=record.family,
            ending=record.ending,
            trials=record.trials,
            endings=record.endings,
            evidence=evidence,
            reason=record.reason,
        )

    @staticmethod
    def key(value: Observation) -> Hashable:
        """Returns all of it that can be equal in two runs."""
        evidence: object = id(value.evidence)
        if value.evidence == _NO_EVIDENCE:
            evidence = None
        names = tuple(value.endings.items())
        place = value.scenario, value.family, value.ending
        return (*place, value.trials, value.reason, names, evidence)


_NO_EVIDENCE = Evidence()


class SysctlPart(Part, frozen=True, array_like=True, tag="sysctl"):
    """One sysctl of a host, with its key."""

    value: tuple[ShortText, Sysctl]


class FindingPart(Part, frozen=True, array_like=True, tag="finding"):
    """One finding."""

    value: Finding


class KernelPart(Part, frozen=True, array_like=True, tag="kernel"):
    """A kernel."""

    value: Kernel


class OsPart(Part, frozen=True, array_like=True, tag="os"):
    """A distribution."""

    value: Os


class TextsPart(Part, frozen=True, array_like=True, tag="texts"):
    """Groups, or ids of expectations."""

    value: tuple[str, ...]


class NotesPart(Part, frozen=True, array_like=True, tag="notes"):
    """The notes of a host."""

    value: tuple[LongText, ...]


class CountersPart(Part, frozen=True, array_like=True, tag="counters"):
    """The names of the counters of a host."""

    value: Annotated[tuple[ShortText, ...], Meta(max_length=64)]


class PlacesPart(Part, frozen=True, array_like=True, tag="places"):
    """The lines that set sysctls at boot, by key."""

    value: dict[ShortText, SysctlLines] | None

    @staticmethod
    def key(value: dict[str, tuple[str, ...]] | None) -> Hashable:
        """Returns the items, None without any dictionary."""
        if value is None:
            return None
        return tuple(value.items())


class ObservationsPart(Part, frozen=True, array_like=True, tag="observations"):
    """The observations of a host, in the order of its playbook."""

    value: PartIds

    def build(self, get: GetPart) -> tuple[Observation, ...]:
        """Returns the observations."""
        return tuple(get("observation", number) for number in self.value)

    @staticmethod
    def key(value: tuple[Observation, ...]) -> Hashable:
        """Returns the identities of the observations: equal ones are one object."""
        return tuple(map(id, value))


class FindingsPart(Part, frozen=True, array_like=True, tag="findings"):
    """The findings of a host."""

    value: PartIds

    def build(self, get: GetPart) -> tuple[Finding, ...]:
        """Returns the findings."""
        return tuple(get("finding", number) for number in self.value)


class SysctlsPart(Part, frozen=True, array_like=True, tag="sysctls"):
    """The sysctls of a host."""

    value: PartIds

    def build(self, get: GetPart) -> dict[str, Sysctl]:
        """Returns the sysctls by key."""
        return dict(get("sysctl", number) for number in self.value)

    @staticmethod
    def key(value: dict[str, Sysctl]) -> Hashable:
        """Returns the items."""
        return tuple(value.items())


AnyPart = (
    EvidencePart
    | ObservationPart
    | SysctlPart
    | FindingPart
    | KernelPart
    | OsPart
    | TextsPart
    | NotesPart
    | CountersPart
    | PlacesPart
    | ObservationsPart
    | FindingsPart
    | SysctlsPart
)


# ---- hosts ---------------------------------------------------------------------------------------

REFERENCES = {
    "groups": "texts",
    "kernel": "kernel",
    "os": "os",
    "notes": "notes",
    "observations": "observations",
    "sysctls": "sysctls",
    "sysctl_places": "places",
    "expectations": "texts",
    "findings": "findings",
}
"""The fields of an audited host that are parts, with the kind of part."""
OWN = tuple(
    field
    for field in Audited.__struct_fields__
    if field not in {*REFERENCES, "exposure", "stage", "kind", "at"}
)
"""The fields of an audited host that are in its own line; `stage`, `kind` and `at` are empty."""


class ExposureRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The exposure of a host: `counters` is the part with the names of its `counts`."""

    uptime_s: Seconds | None = None
    counters: PartId
    counts: Annotated[tuple[Count, ...], Meta(max_length=64)] = ()
    unread_sockets: UnreadSockets | None = None

    def build(self, get: GetPart) -> Exposure:
        """Returns the exposure; raises `UnknownPartError` if names and counts do not fit."""
        names = get("counters", self.counters)
        if len(names) != len(self.counts):
            raise UnknownPartError(f"{len(self.counts)} counts for {len(names)} counters")
        return Exposure(
            uptime_s=self.uptime_s,
            counters=dict(zip(names, self.counts, strict=True)),
            unread_sockets=self.unread_sockets,
        )


class AuditedRecord(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="status",
    tag="audited",
):
    """An audited host; the fields in `REFERENCES` are numbers of parts."""

    name: str
    groups: PartId
    reason: str = ""
    hint: str = ""
    kernel: PartId
    os: PartId
    probe: ProbeName | UnsetType = UNSET
    python: ShortText = ""
    interpreter: ShortText = ""
    machine_id: ShortText = ""
    isolation: Literal["namespace", "host"]
    notes: PartId
    void: LongText = ""
    observations: PartId
    sysctls: PartId
    sysctl_places: PartId
    sysctls_writable: bool = True
    exposure: ExposureRecord | None = None
    expectations: PartId
    findings: PartId
    elapsed_s: Seconds = 0.0
    location: Location | None = None
    watch: Watched | UnsetType = UNSET
    services: tuple[ServiceResult, ...] | UnsetType = UNSET

    def build(self, get: GetPart) -> Audited:
        """Returns the host; raises `UnknownPartError`."""
        own = {field: getattr(self, field) for field in OWN}
        shared = {field: get(kind, getattr(self, field)) for field, kind in REFERENCES.items()}
        exposure = None
        if self.exposure is not None:
            exposure = self.exposure.build(get)
        return Audited(exposure=exposure, **own, **shared)


class HostLine(msgspec.Struct, frozen=True, array_like=True, tag="host"):
    """The line of one host."""

    value: AuditedRecord | NotAudited | NotSelected
