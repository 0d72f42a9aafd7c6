"""The results of a connectivity check: a result per stage, a check per host, and all as JSON. Pure.

Rules: `DoctorReport` is what `fleetaudit doctor --format json` prints (format
"fleetaudit-doctor/1", schema in `fleetaudit/schema/`), so renaming a key is a breaking change. A
text of a host is kept as it came, within the bounds of `model`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fleetaudit.analysis.stages import CheckStage
from fleetaudit.model import Frozen, Kernel, Os, ProbeName
from fleetaudit.text.json_schema import encode_json, escape_json, json_schema_of

State = Literal["passed", "failed", "not needed", "not reached", "not told"]
"""The last one means unknown: a later stage failed, and nobody reported whether this one was
passed, at the host or at a jump host.
"""
JUMP_HOST = "jump host "
"""The beginning of `found` of a stage that a jump host passed, and not the host itself."""


class StageResult(Frozen, frozen=True, kw_only=True):
    """One stage of one host, or of a jump host before it; `found` is its result in a few words.

    `ms` is null if nobody measured it; that of "namespaces" is by the host's own clock.
    """

    stage: CheckStage
    state: State
    ms: float | None = None
    found: str = ""

    @property
    def is_of_jump_host(self) -> bool:
        """Whether a jump host passed the stage, and not the host itself."""
        return self.found.startswith(JUMP_HOST)


class MissingVerdicts(Frozen, frozen=True, kw_only=True):
    """Verdicts that a run would not have on a host, for one reason.

    `ending` is what the run would report instead: those that are inconclusive have no control.
    `verdicts` counts them (a scenario has one per family), and `scenarios` are the scenarios.
    """

    ending: Literal["not run", "inconclusive"]
    reason: str
    verdicts: int
    scenarios: tuple[str, ...]


class HostCheck(Frozen, frozen=True, kw_only=True):
    """The check of one host. `ready`: a run would get as far as the experiment.

    If it is not ready, `stage`, `reason` and `hint` are where and why it failed, and what to type
    next; `kind` and `at` are as in `model.NotAudited`. `way` is how it is reached; `steps` are the
    stages in the order they were passed, of the last of `tries` attempts; `ms` is the time of all
    attempts. `isolation` "host" means that there is no private namespace, and `notes` say why.

    Of a host that is ready: `no_capture` is why no packets would be captured, "" if they would;
    `sets_sysctls` is whether scenarios can set sysctls (in a namespace of their own); `verdicts` is
    how many a run of the playbook has, `missing` are those that it would not have, and `fixes` the
    commands that would bring them back.
    """

    name: str
    groups: tuple[str, ...] = ()
    address: str = ""
    connection: str = msgspec.field(name="way", default="")
    ready: bool
    stage: CheckStage | Literal["interrupted"] | None = None
    kind: str = ""
    at: str = ""
    reason: str = ""
    hint: str = ""
    steps: tuple[StageResult, ...] = ()
    attempts: int = msgspec.field(name="tries", default=0)
    ms: float | None = None
    kernel: Kernel | None = None
    os: Os | None = None
    probe: ProbeName | None = None
    python: str | None = None
    isolation: Literal["namespace", "host"] | None = None
    notes: tuple[str, ...] = ()
    no_capture: str = ""
    sets_sysctls: bool | None = None
    verdicts: int = 0
    missing: tuple[MissingVerdicts, ...] = ()
    fixes: tuple[str, ...] = ()


class DoctorReport(Frozen, frozen=True, kw_only=True):
    """The check of every selected host, exactly once, in inventory order. `started` is UTC, RFC
    3339; `fleetaudit` is a version.
    """

    format: Literal["fleetaudit-doctor/1"] = "fleetaudit-doctor/1"
    fleetaudit: str
    started: str
    inventory: tuple[str, ...] = ()
    limit: str | None = None
    hosts: tuple[HostCheck, ...]

    @property
    def ready(self) -> bool:
        """Whether every host is ready."""
        return all(check.ready for check in self.hosts)


def encode(report: DoctorReport) -> bytes:
    """Returns the report as JSON in UTF-8, with a line feed at the end.

    Invisible characters are escaped, so that a terminal obeys no text of a host.
    """
    return escape_json(encode_json(report)) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of a report, as in `fleetaudit/schema/doctor.schema.json`."""
    return json_schema_of(DoctorReport, "fleetaudit-doctor/1")
