"""A run as SARIF 2.1.0 (OASIS, errata 01): findings as results, hosts as logical locations.

Rules:
- Every result has a physical location, without which code scanning accepts no file: the line of the
  inventory that names the host, because each host is an alert of its own. The line of the playbook
  with the expectation is a related location; it is the first one if the host is in no file, such as
  that of the list “localhost,”.
- A file is relative to the repository (%SRCROOT%), without its folder on the machine of the run.
- A region has all four numbers that GitHub asks for. The column is unknown: it is the first
  character of the line.
- Every selected host is a logical location. One that was not audited is also a notification of the
  invocation, which then was not successful, so that a missing finding is not taken for a fixed one.
  A host that no play matches has the status "not selected".
- The id of a rule is that of its finding without the family, which SARIF calls a hierarchical id:
  "scenario:unread-close" is the rule of "scenario:unread-close/ipv4".
- A waived finding is a result with an accepted suppression; all other results state that they have
  none.
- Messages are escaped as sections 3.11.5 and 3.11.6 require, so that no host writes a link or a
  placeholder.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from typing import TypedDict
from urllib.parse import quote

import msgspec

from fleetaudit.analysis.compare.common import each_finding
from fleetaudit.model import (
    Audited,
    AuditRun,
    Finding,
    HostResult,
    Location,
    NotAudited,
    RunInfo,
    ScenarioRow,
    Severity,
)
from fleetaudit.text.json_schema import encode_json
from fleetaudit.text.phrases import surround
from fleetaudit.text.sanitize import escape_line

from .common import job_of, parse_moment, status_of

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
ROOT = "%SRCROOT%"
LEVELS: Mapping[Severity, str] = {"info": "note", "warning": "warning", "error": "error"}

Json = dict[str, object]
IndexedHost = tuple[int, NotAudited]
"""The index of a host in the run, and the host."""


class _Message(TypedDict):
    text: str


def render(run: AuditRun) -> str:
    """Returns the log, indented by two blanks.

    A log (SARIF 2.1.0, section 3.13) with one run (3.14): its tool and rules (3.18, 3.49), an
    invocation with notifications (3.20), and a result per finding (3.27).
    """
    rules = _rules(run)
    indexes = {rule_id: index for index, rule_id in enumerate(rules)}
    not_audited = [(i, host) for i, host in enumerate(run.hosts) if isinstance(host, NotAudited)]
    whole: Json = {
        "tool": {"driver": _driver(run, rules, not_audited)},
        # The part before the last “/” is the category: a job replaces only its own alerts.
        "automationDetails": {
            "id": f"fleetaudit/{escape_line(job_of(run))}/{escape_line(run.run.id)}"
        },
        "originalUriBaseIds": {
            ROOT: {"description": {"text": "The repository, or the folder of the run."}}
        },
        "invocations": [_invocation(run, not_audited)],
        "logicalLocations": list(map(_location, run.hosts)),
        "results": _results(run, indexes),
        "properties": _counts(run, len(not_audited)),
    }
    log: Json = {"$schema": SCHEMA, "version": "2.1.0", "runs": [whole]}
    return msgspec.json.format(encode_json(log), indent=2).decode() + "\n"


def _driver(run: AuditRun, rules: Mapping[str, Json], not_audited: Sequence[IndexedHost]) -> Json:
    """Returns the tool with its rules and kinds of notifications."""
    return {
        "name": "fleetaudit",
        "version": escape_line(run.run.fleetaudit),
        "rules": list(rules.values()),
        "notifications": _descriptors(not_audited),
    }


def _counts(run: AuditRun, not_audited: int) -> Json:
    """Returns the hosts by status; the counts add up to those selected."""
    not_selected = len(run.not_selected)
    return {
        "selected": len(run.hosts),
        "audited": len(run.hosts) - not_audited - not_selected,
        "notAudited": not_audited,
        "notSelected": not_selected,
    }


def message(text: str) -> _Message:
    """Returns a message object with just `text`: no placeholder {0}, no [link](target)."""
    escaped = escape_line(text).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return {"text": escaped.replace("{", "{{").replace("}", "}}")}


# ---- rules


def _rule_id(finding_id: str) -> str:
    """Returns the id without its family; the key of a sysctl may contain a slash (an interface)."""
    kind, _, subject = finding_id.partition(":")
    if kind in ("scenario", "control") and "/" in subject:
        return finding_id.rpartition("/")[0]
    return finding_id


def _rules(run: AuditRun) -> dict[str, Json]:
    """Returns the rules by id: every scenario of the run, then every other finding, in order."""
    rules = {f"scenario:{row.name}": _scenario_rule(row) for row in run.scenarios}
    for _, finding in each_finding(run.hosts):
        id_ = _rule_id(finding.id)
        if id_ not in rules:
            rules[id_] = _finding_rule(id_, finding)
    return rules


def _scenario_rule(row: ScenarioRow) -> Json:
    """Returns the rule of one scenario."""
    expected = " or ".join(row.expect)
    sentence = f"must end in {expected}" if expected else "no expectation, it is only observed"
    why = surround(" Why: ", row.because)
    steps = "; ".join(row.steps)
    return {
        "id": escape_line(f"scenario:{row.name}"),
        "shortDescription": message(row.title),
        "fullDescription": message(f"{row.title}: {sentence}."),
        "help": message(
            f"Steps: {steps}. Expected: {expected or 'nothing, it is only observed'}.{why}"
        ),
        "defaultConfiguration": {"level": LEVELS[row.severity] if row.expect else "none"},
    }


def _finding_rule(id_: str, finding: Finding) -> Json:
    """Returns the rule of a finding about anything but a scenario."""
    parts = (
        f"Expected: {finding.expected}.",
        finding.because,
        surround("What to do: ", finding.fix),
    )
    return {
        "id": escape_line(id_),
        "shortDescription": message(f"{id_.partition(':')[2]}: {finding.expected}"),
        "fullDescription": message(f"Expected: {finding.expected}. {finding.because}".strip()),
        "help": message(" ".join(filter(None, parts))),
        "defaultConfiguration": {"level": LEVELS[finding.severity]},
    }


# ---- hosts and findings


def _location(host: HostResult) -> Json:
    """Returns the logical location of a host."""
    properties: Json = {"status": status_of(host)}
    if host.groups:
        properties["groups"] = list(map(escape_line, host.groups))
    if isinstance(host, Audited):
        properties["kernelRelease"] = escape_line(host.kernel.release)
        properties["isolation"] = host.isolation
        properties |= {"void": escape_line(host.void)} if host.void else {}
    name = escape_line(host.name)
    return {"name": name, "fullyQualifiedName": name, "kind": "host", "properties": properties}


def _locations(index: int, host: HostResult, place: Location | None) -> list[Json]:
    """Returns the locations of a result: the host, and the line of a file if there is one."""
    name = escape_line(host.name)
    logical: Json = {"logicalLocations": [{"index": index, "fullyQualifiedName": name}]}
    return [_physical_location(place) | logical if place else logical]


def _physical_location(place: Location) -> Json:
    """Returns a line of a file, relative to the repository if possible."""
    path = quote(place.file.encode(errors="surrogatepass"))
    artifact = {"uri": path, "uriBaseId": ROOT}
    if path.startswith("/"):
        artifact = {"uri": f"file://{path}"}
    region = {"startLine": place.line, "startColumn": 1, "endLine": place.line, "endColumn": 2}
    return {"physicalLocation": {"artifactLocation": artifact, "region": region}}


def _expectation_location(finding: Finding, run: AuditRun) -> Location | None:
    """Returns the location of the expectation in the playbook, None if it is in no playbook.

    The expectation that a host key does not change is in none, for example.
    """
    kind, colon, _ = finding.id.partition(":")
    if not colon:
        return None
    if kind == "kernel":
        return run.locations.get("kernel:")
    if kind == "service":  # all checks of a service have one place
        return run.locations.get(finding.id.rpartition("/")[0])
    return run.locations.get(_rule_id(finding.id).replace("control:", "scenario:", 1))


def _fallback_location(run: AuditRun) -> Location:
    """Returns a location for a result without one, as in a run of an earlier version."""
    names = (*run.run.inventory, *run.run.playbooks)
    files = [name for name in names if name and "," not in name]
    return Location(file=posixpath.normpath(next(iter(files), "fleetaudit")))


def _results(run: AuditRun, indexes: Mapping[str, int]) -> list[Json]:
    """Returns a result per finding; `indexes` are those of the rules by id."""
    results = list[Json]()
    for i, host in enumerate(run.hosts):
        for finding in host.findings:
            results.append(_result(i, host, finding, indexes[_rule_id(finding.id)], run))
    return results


def _result(index: int, host: HostResult, finding: Finding, rule_index: int, run: AuditRun) -> Json:
    """Returns the result of one finding; `index` is that of the host."""
    expectation = _expectation_location(finding, run)
    place = host.location or expectation or _fallback_location(run)
    text = message(f"{host.name}: expected {finding.expected}, observed {finding.observed}")
    related: Json = {}
    if expectation and host.location:
        text["text"] += " ([the expectation](1))"
        related = _related_locations(expectation)
    return {
        "ruleId": escape_line(finding.id),
        "ruleIndex": rule_index,
        "kind": "fail",
        "level": LEVELS[finding.severity],
        "message": text,
        "locations": _locations(index, host, place),
        **related,
        "partialFingerprints": _fingerprints(host, finding),
        "suppressions": _suppressions(finding),
        **_first_seen(finding),
    }


def _related_locations(expectation: Location) -> Json:
    """Returns the line of the expectation, to which the message links."""
    place = {"id": 1, **_physical_location(expectation), "message": {"text": "The expectation."}}
    return {"relatedLocations": [place]}


def _fingerprints(host: HostResult, finding: Finding) -> Json:
    """Returns what identifies an alert.

    The second is the one that GitHub reads; a line that moves must not make a new alert.
    """
    text = f"{host.name}\0{finding.id}".encode(errors="surrogatepass")
    fingerprint = hashlib.sha256(text).hexdigest()
    return {
        "hostAndFinding/v1": fingerprint,
        "primaryLocationLineHash": f"{fingerprint[:16]}:1",
    }


def _suppressions(finding: Finding) -> list[Json]:
    """Returns the waiver of a finding; [] states that there is none."""
    if finding.waived is None:
        return []
    reason = escape_line(finding.waived)
    return [{"kind": "external", "status": "accepted", "justification": reason}]


def _first_seen(finding: Finding) -> Json:
    """Returns the date on which a finding was first seen, {} if unknown."""
    return {"properties": {"firstSeen": escape_line(finding.since)}} if finding.since else {}


# ---- the invocation


def _invocation(run: AuditRun, not_audited: Sequence[IndexedHost]) -> Json:
    """Returns the invocation with a notification per host not audited and per note."""
    notifications = [_notification(i, host) for i, host in not_audited]
    notifications += [{"level": "warning", "message": message(note)} for note in run.run.notes]
    return {
        "executionSuccessful": not not_audited,
        **_times(run.run),
        "toolExecutionNotifications": notifications,
    }


def _times(info: RunInfo) -> Json:
    """Returns start and end of the run, if they are valid."""
    times = {"startTimeUtc": info.started, "endTimeUtc": info.finished}
    return {name: text for name, text in times.items() if parse_moment(text)}


def _descriptors(not_audited: Sequence[IndexedHost]) -> list[Json]:
    """Returns the kinds of notifications: one per stage that failed."""
    return [
        {
            "id": f"not-audited/{stage}",
            "shortDescription": message(f"Not audited: failed at the stage “{stage}”."),
        }
        for stage in dict.fromkeys(host.stage for _, host in not_audited)
    ]


def _notification(index: int, host: NotAudited) -> Json:
    """Returns the notification about a host that was not audited."""
    hint = surround(" Next: ", host.hint)
    return {
        "descriptor": {"id": f"not-audited/{host.stage}"},
        "level": "error",
        "message": message(f"{host.name}: not audited: {host.stage}: {host.reason}{hint}"),
        "locations": _locations(index, host, host.location),
    }
