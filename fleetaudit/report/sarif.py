"""A run as SARIF 2.1.0 (OASIS, errata 01): findings as results, hosts as logical locations.

Rules:
- Every selected host is a logical location; one that was not audited is also a notification of the invocation, which
  then was not successful: whoever reads this must not take a finding that is missing for one that is mended. A host
  that no play matches has the status "not selected".
- A rule's id is its finding's without the family, which SARIF calls a hierarchical id ("scenario:unread-close" is the
  rule of "scenario:unread-close/ipv4").
- A waived finding is a result with an accepted suppression; all other results say that they have none.
- Messages are escaped as sections 3.11.5 and 3.11.6 want it, so that no host writes a link or a placeholder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec

from ..model import Audited, AuditRun, Finding, HostResult, NotAudited, NotSelected, RunInfo, ScenarioRow, Severity
from .common import moment, plain, status_of

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS: Mapping[Severity, str] = {"info": "note", "warning": "warning", "error": "error"}

Json = dict[str, object]


class _Message(TypedDict):
    text: str


def render(run: AuditRun) -> str:
    """Returns the log, indented by two blanks."""
    rules = _rules(run)
    places = {rule_id: index for index, rule_id in enumerate(rules)}
    missing = [(i, host) for i, host in enumerate(run.hosts) if isinstance(host, NotAudited)]
    unmatched = sum(1 for host in run.hosts if isinstance(host, NotSelected))
    whole: Json = {
        "tool": {
            "driver": {
                "name": "fleetaudit",
                "version": plain(run.run.fleetaudit),
                "rules": list(rules.values()),
                "notifications": _descriptors(missing),
            }
        },
        "automationDetails": {"id": f"fleetaudit/{plain(run.run.id)}"},
        "invocations": [
            {
                "executionSuccessful": not missing,
                **_times(run.run),
                "toolExecutionNotifications": [
                    *(_notification(i, host) for i, host in missing),
                    *({"level": "warning", "message": message(note)} for note in run.run.notes),
                ],
            }
        ],
        "logicalLocations": [_location(host) for host in run.hosts],
        "results": [
            _result(i, host, finding, places[_rule_id(finding.id)])
            for i, host in enumerate(run.hosts)
            for finding in host.findings
        ],
        "properties": {
            "selected": len(run.hosts),
            "audited": len(run.hosts) - len(missing) - unmatched,
            "notAudited": len(missing),
            "notSelected": unmatched,
        },
    }
    log: Json = {"$schema": SCHEMA, "version": "2.1.0", "runs": [whole]}
    return msgspec.json.format(msgspec.json.encode(log), indent=2).decode() + "\n"


def message(text: str) -> _Message:
    """Returns a message object that says `text` and nothing else: no placeholder {0}, no [link](target)."""
    said = plain(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return {"text": said.replace("{", "{{").replace("}", "}}")}


# ---- rules ---------------------------------------------------------------------------------------------------------


def _rule_id(finding_id: str) -> str:
    """The id without its family; a sysctl's key may have a slash of its own (an interface's name)."""
    kind, _, subject = finding_id.partition(":")
    return finding_id.rpartition("/")[0] if kind in ("scenario", "control") and "/" in subject else finding_id


def _rules(run: AuditRun) -> dict[str, Json]:
    """The rules by id: every scenario of the run, found or not, then whatever else was found, in order."""
    rules = {f"scenario:{row.name}": _scenario_rule(row) for row in run.scenarios}
    for host in run.hosts:
        for finding in host.findings:
            id_ = _rule_id(finding.id)
            if id_ not in rules:
                rules[id_] = _finding_rule(id_, finding)
    return rules


def _scenario_rule(row: ScenarioRow) -> Json:
    steps = "; ".join(row.steps)
    why = f" Why: {row.because}" if row.because else ""
    return {
        "id": plain(f"scenario:{row.name}"),
        "shortDescription": message(row.title),
        "fullDescription": message(f"{row.title}: must end in {' or '.join(row.expect)}."),
        "help": message(f"Steps: {steps}. Expected: {' or '.join(row.expect)}.{why}"),
        "defaultConfiguration": {"level": LEVELS[row.severity]},
    }


def _finding_rule(id_: str, finding: Finding) -> Json:
    parts = (f"Expected: {finding.expected}.", finding.because, f"What to do: {finding.fix}" if finding.fix else "")
    return {
        "id": plain(id_),
        "shortDescription": message(f"{id_.partition(':')[2]}: {finding.expected}"),
        "help": message(" ".join(part for part in parts if part)),
        "defaultConfiguration": {"level": LEVELS[finding.severity]},
    }


# ---- hosts and what was found --------------------------------------------------------------------------------------


def _location(host: HostResult) -> Json:
    said: Json = {"status": status_of(host)}
    if host.groups:
        said["groups"] = [plain(group) for group in host.groups]
    if isinstance(host, Audited):
        said |= {"kernelRelease": plain(host.kernel.release), "isolation": host.isolation}
        said |= {"void": plain(host.void)} if host.void else {}
    name = plain(host.name)
    return {"name": name, "fullyQualifiedName": name, "kind": "host", "properties": said}


def _at(index: int, host: HostResult) -> list[Json]:
    return [{"logicalLocations": [{"index": index, "fullyQualifiedName": plain(host.name)}]}]


def _result(index: int, host: HostResult, finding: Finding, rule_index: int) -> Json:
    key = f"{host.name}\0{finding.id}".encode(errors="surrogatepass")
    suppression = {"kind": "external", "status": "accepted", "justification": plain(finding.waived or "")}
    return {
        "ruleId": plain(finding.id),
        "ruleIndex": rule_index,
        "kind": "fail",
        "level": LEVELS[finding.severity],
        "message": message(f"{host.name}: wanted {finding.expected}, found {finding.observed}"),
        "locations": _at(index, host),
        "partialFingerprints": {"hostAndFinding/v1": hashlib.sha256(key).hexdigest()},
        "suppressions": [suppression] if finding.waived is not None else [],
        **({"properties": {"firstSeen": plain(finding.since)}} if finding.since else {}),
    }


# ---- the invocation ------------------------------------------------------------------------------------------------


def _times(info: RunInfo) -> Json:
    times = {"startTimeUtc": info.started, "endTimeUtc": info.finished}
    return {name: text for name, text in times.items() if moment(text)}


def _descriptors(missing: Sequence[tuple[int, NotAudited]]) -> list[Json]:
    stages = dict.fromkeys(host.stage for _, host in missing)
    return [
        {"id": f"not-audited/{stage}", "shortDescription": message(f"Not audited: failed at the stage “{stage}”.")}
        for stage in stages
    ]


def _notification(index: int, host: NotAudited) -> Json:
    hint = f" Next: {host.hint}" if host.hint else ""
    return {
        "descriptor": {"id": f"not-audited/{host.stage}"},
        "level": "error",
        "message": message(f"{host.name}: not audited: {host.stage}: {host.reason}{hint}"),
        "locations": _at(index, host),
    }
