"""A run as SARIF 2.1.0 (OASIS, errata 01): findings as results, hosts as logical locations.

Rules:
- Every result has a physical location, without which code scanning takes no file: the line of the
  inventory that names the host, because each host is an alert of its own. The line of the playbook
  that expects otherwise is a related location; it is the first one where the host is in no file,
  such as that of the list “localhost,”.
- A file is relative to the repository (%SRCROOT%), without its folder on the machine that made the
  run.
- A region has all four numbers that GitHub asks for. No column is known: it is the first character
  of the line.
- Every selected host is a logical location; one that was not audited is also a notification of the
  invocation, which then was not successful: whoever reads this must not take a finding that is
  missing for one that is mended. A host that no play matches has the status "not selected".
- A rule's id is its finding's without the family, which SARIF calls a hierarchical id
  ("scenario:unread-close" is the rule of "scenario:unread-close/ipv4").
- A waived finding is a result with an accepted suppression; all other results say that they have
  none.
- Messages are escaped as sections 3.11.5 and 3.11.6 want it, so that no host writes a link or a
  placeholder.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from typing import TypedDict
from urllib.parse import quote

import msgspec

from fleetaudit.model import (
    Audited,
    AuditRun,
    Finding,
    HostResult,
    Location,
    NotAudited,
    NotSelected,
    RunInfo,
    ScenarioRow,
    Severity,
)
from fleetaudit.store.jobs import job_name
from fleetaudit.text.json_schema import encode_json
from fleetaudit.text.sanitize import escape_line

from .common import moment, status_of

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
ROOT = "%SRCROOT%"
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
                "version": escape_line(run.run.fleetaudit),
                "rules": list(rules.values()),
                "notifications": _descriptors(missing),
            }
        },
        # The part before the last “/” is the category: a job replaces only its own alerts.
        "automationDetails": {
            "id": f"fleetaudit/{escape_line(run.run.job or job_name(run.run))}/{escape_line(run.run.id)}"
        },
        "originalUriBaseIds": {
            ROOT: {"description": {"text": "The repository, or the folder of the run."}}
        },
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
            _result(i, host, finding, places[_rule_id(finding.id)], run)
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
    return msgspec.json.format(encode_json(log), indent=2).decode() + "\n"


def message(text: str) -> _Message:
    """Returns a message object that says `text` and nothing else: no placeholder {0}, no
    [link](target).
    """
    said = escape_line(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return {"text": said.replace("{", "{{").replace("}", "}}")}


# ---- rules
# ---------------------------------------------------------------------------------------------------------


def _rule_id(finding_id: str) -> str:
    """The id without its family; a sysctl's key may have a slash of its own (an interface's name)."""
    kind, _, subject = finding_id.partition(":")
    return (
        finding_id.rpartition("/")[0]
        if kind in ("scenario", "control") and "/" in subject
        else finding_id
    )


def _rules(run: AuditRun) -> dict[str, Json]:
    """The rules by id: every scenario of the run, found or not, then whatever else was found, in
    order.
    """
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
    must = (
        f"must end in {' or '.join(row.expect)}"
        if row.expect
        else "no expectation, it is only observed"
    )
    return {
        "id": escape_line(f"scenario:{row.name}"),
        "shortDescription": message(row.title),
        "fullDescription": message(f"{row.title}: {must}."),
        "help": message(
            f"Steps: {steps}. Expected:"
            f" {' or '.join(row.expect) or 'nothing, it is only observed'}.{why}"
        ),
        "defaultConfiguration": {"level": LEVELS[row.severity] if row.expect else "none"},
    }


def _finding_rule(id_: str, finding: Finding) -> Json:
    parts = (
        f"Expected: {finding.expected}.",
        finding.because,
        f"What to do: {finding.fix}" if finding.fix else "",
    )
    return {
        "id": escape_line(id_),
        "shortDescription": message(f"{id_.partition(':')[2]}: {finding.expected}"),
        "fullDescription": message(f"Expected: {finding.expected}. {finding.because}".strip()),
        "help": message(" ".join(part for part in parts if part)),
        "defaultConfiguration": {"level": LEVELS[finding.severity]},
    }


# ---- hosts and what was found
# --------------------------------------------------------------------------------------


def _location(host: HostResult) -> Json:
    said: Json = {"status": status_of(host)}
    if host.groups:
        said["groups"] = [escape_line(group) for group in host.groups]
    if isinstance(host, Audited):
        said |= {"kernelRelease": escape_line(host.kernel.release), "isolation": host.isolation}
        said |= {"void": escape_line(host.void)} if host.void else {}
    name = escape_line(host.name)
    return {"name": name, "fullyQualifiedName": name, "kind": "host", "properties": said}


def _at(index: int, host: HostResult, place: Location | None) -> list[Json]:
    logical: Json = {
        "logicalLocations": [{"index": index, "fullyQualifiedName": escape_line(host.name)}]
    }
    return [_physical(place) | logical if place else logical]


def _physical(place: Location) -> Json:
    path = quote(place.file.encode(errors="surrogatepass"))
    artifact = (
        {"uri": f"file://{path}"} if path.startswith("/") else {"uri": path, "uriBaseId": ROOT}
    )
    region = {"startLine": place.line, "startColumn": 1, "endLine": place.line, "endColumn": 2}
    return {"physicalLocation": {"artifactLocation": artifact, "region": region}}


def _expected_in(finding: Finding, run: AuditRun) -> Location | None:
    """Returns the location of the expectation in the playbook; None if it is in no playbook, such
    as a host key.
    """
    kind, colon, _ = finding.id.partition(":")
    id_ = (
        "kernel:" if kind == "kernel" else _rule_id(finding.id).replace("control:", "scenario:", 1)
    )
    return run.locations.get(id_) if colon else None


def _somewhere(run: AuditRun) -> Location:
    """Returns a location for a result without one: of a run of an earlier version, or of a list of
    hosts.
    """
    files = (name for name in (*run.run.inventory, *run.run.playbooks) if name and "," not in name)
    return Location(file=posixpath.normpath(next(files, "fleetaudit")))


def _result(index: int, host: HostResult, finding: Finding, rule_index: int, run: AuditRun) -> Json:
    fingerprint = hashlib.sha256(
        f"{host.name}\0{finding.id}".encode(errors="surrogatepass")
    ).hexdigest()
    suppression = {
        "kind": "external",
        "status": "accepted",
        "justification": escape_line(finding.waived or ""),
    }
    text = message(f"{host.name}: wanted {finding.expected}, found {finding.observed}")
    expected = _expected_in(finding, run)
    related: Json = {}
    if expected and host.location:
        text["text"] += " ([the expectation](1))"
        related = {
            "relatedLocations": [
                {"id": 1, **_physical(expected), "message": {"text": "The expectation."}}
            ]
        }
    return {
        "ruleId": escape_line(finding.id),
        "ruleIndex": rule_index,
        "kind": "fail",
        "level": LEVELS[finding.severity],
        "message": text,
        "locations": _at(index, host, host.location or expected or _somewhere(run)),
        **related,
        # The second is the one that GitHub reads; a line that moves must not make a new alert.
        "partialFingerprints": {
            "hostAndFinding/v1": fingerprint,
            "primaryLocationLineHash": f"{fingerprint[:16]}:1",
        },
        "suppressions": [suppression] if finding.waived is not None else [],
        **({"properties": {"firstSeen": escape_line(finding.since)}} if finding.since else {}),
    }


# ---- the invocation
# ------------------------------------------------------------------------------------------------


def _times(info: RunInfo) -> Json:
    times = {"startTimeUtc": info.started, "endTimeUtc": info.finished}
    return {name: text for name, text in times.items() if moment(text)}


def _descriptors(missing: Sequence[tuple[int, NotAudited]]) -> list[Json]:
    stages = dict.fromkeys(host.stage for _, host in missing)
    return [
        {
            "id": f"not-audited/{stage}",
            "shortDescription": message(f"Not audited: failed at the stage “{stage}”."),
        }
        for stage in stages
    ]


def _notification(index: int, host: NotAudited) -> Json:
    hint = f" Next: {host.hint}" if host.hint else ""
    return {
        "descriptor": {"id": f"not-audited/{host.stage}"},
        "level": "error",
        "message": message(f"{host.name}: not audited: {host.stage}: {host.reason}{hint}"),
        "locations": _at(index, host, host.location),
    }
