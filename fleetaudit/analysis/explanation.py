"""The verdicts of one host with their evidence, for other programs. Pure.

Rules: `Explanation` is what `fleetaudit explain --format json` prints (format
"fleetaudit-explain/1", schema in `fleetaudit/schema/`), so renaming a key is a breaking change. It
is made from the same observations and findings as the text. A text of a host is kept as it came.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from fleetaudit.analysis.causes import is_command
from fleetaudit.analysis.judge import ExpectationStatus, expectation_status
from fleetaudit.model import (
    UNDECLARED,
    Audited,
    AuditRun,
    Ending,
    Evidence,
    Family,
    Finding,
    Frozen,
    HostResult,
    Kernel,
    Observation,
    Os,
    ProbeName,
    ScenarioRow,
    ServiceResult,
    Watched,
)
from fleetaudit.text.json_schema import encode_json, escape_json, json_schema_of

Status = Literal["audited", "not audited", "not selected"]


class ExplainedVerdict(Frozen, frozen=True, kw_only=True):
    """One scenario over one family on the host: what was observed, and what the playbook expects.

    `title`, `steps`, `expect`, `control` and `because` are those of the scenario, empty or null if
    the run does not declare it. `verdict` compares `ending` with `expect`; "untold" means unknown.
    `ending`, `trials`, `endings` and `reason` are as in run.json. `evidence` is as in run.json, and
    null where only the verdicts of a host were asked for.
    """

    scenario: str
    family: Family
    title: str
    steps: tuple[str, ...]
    expect: tuple[Ending, ...]
    control: str | None
    because: str
    verdict: ExpectationStatus
    ending: Ending
    trials: int
    endings: dict[str, int]
    reason: str
    evidence: Evidence | None


class ExplainedFinding(Finding, frozen=True, kw_only=True):
    """A finding as in run.json. `fix_is_command`: `fix` is a command to type, not a sentence.

    `no_longer_waived` are the waivers that it had in the earlier run and has no more.
    """

    fix_is_command: bool
    no_longer_waived: tuple[str, ...]


class Explanation(Frozen, frozen=True, kw_only=True):
    """One host of a run. `run` is the id of the run, `host` the name of the host.

    A host that was not audited has `stage`, `kind`, `at`, `reason` and `hint`, as in run.json, and
    no verdicts. `void` says why the verdicts prove nothing, "" if they count. `verdicts` are all of
    the host, or those of the scenario that was named; `findings` are all of the host. `watch`
    and `services` are as in run.json, unset if the host was not to be watched or asked.
    """

    format: Literal["fleetaudit-explain/1"] = "fleetaudit-explain/1"
    run: str
    host: str
    groups: tuple[str, ...]
    status: Status
    stage: str | None
    kind: str
    at: str
    reason: str
    hint: str
    kernel: Kernel | None
    os: Os | None
    probe: ProbeName | None
    python: str | None
    isolation: Literal["namespace", "host"] | None
    void: str
    notes: tuple[str, ...]
    verdicts: tuple[ExplainedVerdict, ...]
    findings: tuple[ExplainedFinding, ...]
    watch: Watched | UnsetType = UNSET
    services: tuple[ServiceResult, ...] | UnsetType = UNSET


def explain(
    run: AuditRun, host: HostResult, observations: Iterable[Observation] | None
) -> Explanation:
    """Returns the explanation of one host of `run`.

    `observations` are those to explain with their evidence; None stands for all observations of the
    host, without evidence.
    """
    scenarios = run.scenarios_by_name()
    chosen = host.observations if observations is None else tuple(observations)
    has_evidence = observations is not None
    void, notes = _qualifications(host)
    return Explanation(
        run=run.run.id,
        host=host.name,
        groups=host.groups,
        status=msgspec.convert(host.__struct_config__.tag, Status),
        stage=host.stage,
        kind=host.kind,
        at=host.at,
        reason=host.reason,
        hint=host.hint,
        kernel=host.kernel,
        os=host.os,
        probe=host.program,
        python=host.python,
        isolation=host.isolation,
        void=void,
        notes=notes,
        verdicts=tuple(
            _verdict(scenarios.get(o.scenario, UNDECLARED), o, has_evidence) for o in chosen
        ),
        findings=tuple(_finding(run, host, finding) for finding in host.findings),
        watch=host.watch,
        services=host.services,
    )


def ended_waivers(run: AuditRun, host: HostResult, finding: Finding) -> tuple[str, ...]:
    """Returns the waivers that a finding had in the earlier run and has no more.

    () if it is waived now, and if the run was compared with no other.
    """
    if finding.waived is not None or run.drift is None:
        return ()
    ended = ("waiver", host.name, finding.id)
    return tuple(
        change.before
        for change in run.drift.changes
        if (change.kind, change.host, change.what) == ended
    )


def encode(explanation: Explanation) -> bytes:
    """Returns an explanation as JSON in UTF-8, with a line feed at the end.

    Invisible characters are escaped, so that a terminal obeys no text of a host.
    """
    return escape_json(encode_json(explanation)) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of an explanation, as in `fleetaudit/schema/explain.schema.json`."""
    return json_schema_of(Explanation, "fleetaudit-explain/1")


def _qualifications(host: HostResult) -> tuple[str, tuple[str, ...]]:
    """Returns why a host is void, and its notes; "" and () if it was not audited."""
    if isinstance(host, Audited):
        return host.void, host.notes
    return "", ()


def _verdict(row: ScenarioRow, o: Observation, has_evidence: bool) -> ExplainedVerdict:
    """Returns one verdict."""
    return ExplainedVerdict(
        scenario=o.scenario,
        family=o.family,
        title=row.title,
        steps=row.steps,
        expect=row.expect,
        control=row.control,
        because=row.because,
        verdict=expectation_status(o, row.expect),
        ending=o.ending,
        trials=o.trials,
        endings=o.endings,
        reason=o.reason,
        evidence=o.evidence if has_evidence else None,
    )


def _finding(run: AuditRun, host: HostResult, finding: Finding) -> ExplainedFinding:
    """Returns one finding."""
    return ExplainedFinding(
        **msgspec.structs.asdict(finding),
        fix_is_command=is_command(finding.fix),
        no_longer_waived=ended_waivers(run, host, finding),
    )
