"""What is told of hosts that were looked over: a step a stage, a visit a host, and all of them as
JSON. Pure.

Rules: `DoctorReport` is what `fleetaudit doctor --format json` prints (format "fleetaudit-doctor/1",
schema in `fleetaudit/schema/`), so renaming a field is a breaking change. What a host said is kept
as it came, bounded by what bounds it in `model`.
"""

from __future__ import annotations

from typing import Literal

from fleetaudit.analysis.stages import CheckStage
from fleetaudit.model import Frozen, Kernel, Os
from fleetaudit.text.json_schema import encode_json, json_schema_of

State = Literal["passed", "failed", "not needed", "not reached", "not told"]
"""Not told: a later stage failed, and nobody said whether this one had been passed, at the host or
on the way.
"""
JUMP_HOST = "jump host "
"""How the words of a stage begin that was passed on the way, and not at the host itself."""


class StageResult(Frozen, frozen=True, kw_only=True):
    """One stage of one host, or of a jump host on the way to it; `found` is what it came to, in a
    few words.

    `ms` is null where nobody measured; that of "namespaces" is by the host's own clock.
    """

    stage: CheckStage
    state: State
    ms: float | None = None
    found: str = ""


class MissingVerdicts(Frozen, frozen=True, kw_only=True):
    """Verdicts that a run would not have on a host: what it would report instead, why, how many
    they are (a scenario has one over each family), and of which scenarios. Those that are
    inconclusive would have no control.
    """

    ending: Literal["not run", "inconclusive"]
    reason: str
    verdicts: int
    scenarios: tuple[str, ...]


class HostCheck(Frozen, frozen=True, kw_only=True):
    """One host looked over. `ready`: a run would get as far as the experiment.

    Where it is not ready, `stage`, `reason` and `hint` say where, why, and what to type next;
    `kind` and `at` are as in `model.NotAudited`. `way` is how it is reached; `steps` are in the
    order they were gone through, of the last of `tries` attempts; `ms` is all of it. `isolation`
    "host" says that no private namespace was to be had, and `notes` why.

    Of a host that is ready: `no_capture` says why no packets would be captured, "" if they would;
    `sets_sysctls` whether scenarios can set sysctls (in a namespace of their own); `verdicts` how
    many a run of the playbook asks for, `missing` which it would not have, and `fixes` the commands
    that would bring them back.
    """

    name: str
    groups: tuple[str, ...] = ()
    address: str = ""
    way: str = ""
    ready: bool
    stage: CheckStage | Literal["interrupted"] | None = None
    kind: str = ""
    at: str = ""
    reason: str = ""
    hint: str = ""
    steps: tuple[StageResult, ...] = ()
    tries: int = 0
    ms: float | None = None
    kernel: Kernel | None = None
    os: Os | None = None
    python: str | None = None
    isolation: Literal["namespace", "host"] | None = None
    notes: tuple[str, ...] = ()
    no_capture: str = ""
    sets_sysctls: bool | None = None
    verdicts: int = 0
    missing: tuple[MissingVerdicts, ...] = ()
    fixes: tuple[str, ...] = ()


class DoctorReport(Frozen, frozen=True, kw_only=True):
    """Every selected host exactly once, in inventory order. `started` is UTC, RFC 3339;
    `fleetaudit` a version.
    """

    format: Literal["fleetaudit-doctor/1"] = "fleetaudit-doctor/1"
    fleetaudit: str
    started: str
    inventory: tuple[str, ...] = ()
    limit: str | None = None
    hosts: tuple[HostCheck, ...]

    @property
    def ready(self) -> bool:
        """Whether every host is."""
        return all(visit.ready for visit in self.hosts)


def encode(examination: DoctorReport) -> bytes:
    """Returns it as JSON, with a line's end."""
    return encode_json(examination) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of an examination, as `fleetaudit/schema/doctor.schema.json` has it."""
    return json_schema_of(DoctorReport, "fleetaudit-doctor/1")
