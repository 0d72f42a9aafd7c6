"""A run as JUnit XML, as Jenkins and GitLab read it: a suite per host, a case per verdict.

Rules:
- Every selected host is a suite with a case "audited". It is an error if the host was not audited,
  and skipped if no play matches the host; it is never absent.
- Cases are named by the ids of findings, so that a case has one name whether it passes or fails.
- A finding is a failure whose type is its severity. A waived finding, a scenario that did not run
  and every verdict of a void host are skipped, with the reason.
- Notes about the whole run (waivers that excuse nothing) are a property of the first suite.
- `escape_line` removes what XML 1.0 forbids; the order of elements is that of the JUnit schema of
  Jenkins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import chain
from typing import Literal

import msgspec

from fleetaudit.analysis.judge import describe_endings
from fleetaudit.model import (
    Audited,
    AuditRun,
    Finding,
    HostResult,
    NotAudited,
    NotSelected,
    Observation,
    RunInfo,
    ScenarioRow,
)
from fleetaudit.text.sanitize import escape_line

from .common import (
    UNDECLARED,
    findings_by_id,
    most_severe,
    parse_moment,
    scenario_finding_id,
    seconds_between,
    status_of,
)

Outcome = Literal["passed", "failure", "error", "skipped"]


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """A test case; `text` is its body."""

    name: str
    outcome: Outcome = "passed"
    type: str = ""
    message: str = ""
    text: str = ""


def render(run: AuditRun) -> str:
    """Returns the document; its counts add up, for each suite and in total.

    `testsuites` has a `testsuite` per host, in inventory order, and that a `testcase` per verdict
    whose `classname` is the name of the host (the JUnit format of Jenkins, which GitLab reads too).
    Times are in seconds.
    """
    rows = run.scenarios_by_name()
    total = Counter[Outcome]()
    suites = list[str]()
    for host in run.hosts:
        cases = list(_cases(host, rows))
        outcomes = Counter(case.outcome for case in cases)
        total += outcomes
        # The document has no place for notes about the whole run: its first suite has them.
        notes = () if suites else run.run.notes
        suites.append(_suite(host, cases, outcomes, run.run, notes))
    seconds = seconds_between(run.run.started, run.run.finished) or 0
    root = _attributes({"name": "fleetaudit", **_counts(total), "time": str(seconds)})
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {root}>\n'
    return head + "".join(suites) + "</testsuites>\n"


# ---- cases


def _cases(host: HostResult, rows: Mapping[str, ScenarioRow]) -> Iterator[_Case]:
    """Yields the cases of one host."""
    if isinstance(host, NotSelected):
        yield _skipped("audited", host.reason)
    elif isinstance(host, NotAudited):
        yield _Case(
            name="audited", outcome="error", type=host.stage, message=host.reason, text=host.hint
        )
        for id_, findings in findings_by_id(host).items():
            yield _judged(id_, findings)
    else:
        yield _Case(name="audited")
        yield from _audited_cases(host, rows)


def _audited_cases(host: Audited, rows: Mapping[str, ScenarioRow]) -> Iterator[_Case]:
    """Yields a case per observation, then one per other expectation or finding."""
    findings = findings_by_id(host)
    for o in host.observations:
        id_ = scenario_finding_id(o.scenario, o.family)
        found = findings.pop(id_, None)
        if found:
            yield _judged(id_, found)
        else:
            yield _unjudged(id_, o, rows.get(o.scenario, UNDECLARED), host.void)
    for id_ in dict.fromkeys((*host.expectations, *findings)):
        yield _judged(id_, findings.get(id_, []))


def _unjudged(id_: str, o: Observation, row: ScenarioRow, void: str) -> _Case:
    """Returns the case of an observation without a finding."""
    endings = describe_endings(o)
    if void:
        return _skipped(id_, f"void: {void}", f"observed: {endings}")
    if o.ending == "not run":
        return _skipped(id_, f"not run: {o.reason}")
    if not row.expect:
        return _skipped(id_, f"no expectation; observed: {endings}")
    return _Case(name=id_)


def _skipped(id_: str, message: str, text: str = "") -> _Case:
    """Returns a skipped case."""
    return _Case(name=id_, outcome="skipped", message=message, text=text)


def _judged(id_: str, findings: Sequence[Finding]) -> _Case:
    """Returns the case of an expectation: passed without a finding, skipped if all are waived."""
    if not findings:
        return _Case(name=id_)
    open_ = [finding for finding in findings if finding.is_open]
    if not open_:
        waivers = dict.fromkeys(str(finding.waived) for finding in findings)
        return _skipped(id_, f"waived: {'; '.join(waivers)}", _details(findings))
    messages = [f"expected {f.expected}, observed {f.observed}" for f in open_]
    return _Case(
        name=id_,
        outcome="failure",
        type=most_severe(open_),
        message="; ".join(messages),
        text=_details(open_),
    )


def _details(findings: Iterable[Finding]) -> str:
    """Returns the fields of findings, one per line."""
    return "\n".join(chain.from_iterable(map(_detail_lines, findings)))


def _detail_lines(finding: Finding) -> Iterator[str]:
    """Yields the fields of a finding that are not empty."""
    yield f"severity: {finding.severity}"
    yield f"expected: {escape_line(finding.expected)}"
    yield f"observed: {escape_line(finding.observed)}"
    optional = (
        ("why", finding.because),
        ("what to do", finding.fix),
        ("first seen", finding.since),
    )
    yield from (f"{name}: {escape_line(text)}" for name, text in optional if text)


# ---- elements


def _suite(
    host: HostResult,
    cases: list[_Case],
    outcomes: Counter[Outcome],
    info: RunInfo,
    notes: Sequence[str],
) -> str:
    """Returns the element of one host; `notes` are those about the whole run."""
    name = escape_line(host.name)
    attributes = {
        "name": name,
        **_counts(outcomes),
        "skipped": str(outcomes["skipped"]),
        "time": _seconds(host),
        **_timestamp(info),
        "hostname": name,
    }
    inside = [*_properties(host, notes), *(_case(name, case) for case in cases)]
    return f"  <testsuite {_attributes(attributes)}>\n" + "".join(inside) + "  </testsuite>\n"


def _seconds(host: HostResult) -> str:
    """Returns how long the audit of a host took, in seconds."""
    if isinstance(host, Audited):
        return f"{host.elapsed_s:.3f}"
    return "0"


def _timestamp(info: RunInfo) -> dict[str, str]:
    """Returns the start of the run in UTC, without a zone as the schema of Jenkins requires."""
    started = parse_moment(info.started)
    if started is None:
        return {}
    return {"timestamp": started.strftime("%Y-%m-%dT%H:%M:%S")}


def _counts(outcomes: Counter[Outcome]) -> dict[str, str]:
    """Returns the attributes that count cases."""
    return {
        "tests": str(outcomes.total()),
        "failures": str(outcomes["failure"]),
        "errors": str(outcomes["error"]),
    }


def _properties(host: HostResult, notes: Sequence[str]) -> Iterator[str]:
    """Yields the lines of the properties that are not empty."""
    properties = {"status": status_of(host), "groups": ",".join(host.groups)}
    if isinstance(host, Audited):
        properties |= _audited_properties(host)
    properties["run.notes"] = "; ".join(notes)
    yield "    <properties>\n"
    for name, value in properties.items():
        if value:
            attributes = _attributes({"name": name, "value": escape_line(value)})
            yield f"      <property {attributes}/>\n"
    yield "    </properties>\n"


def _audited_properties(host: Audited) -> dict[str, str]:
    """Returns the properties that only an audited host has."""
    return {
        "kernel.release": host.kernel.release,
        "kernel.version": host.kernel.version,
        "kernel.machine": host.kernel.machine,
        "os": host.os.pretty_name,
        "isolation": host.isolation,
        "void": host.void,
        "notes": " ".join(host.notes),
    }


def _case(host: str, case: _Case) -> str:
    """Returns the element of one case."""
    names = _attributes({"classname": host, "name": escape_line(case.name)})
    if case.outcome == "passed":
        return f"    <testcase {names}/>\n"
    body = escape("\n".join(map(escape_line, case.text.split("\n"))))
    return (
        f"    <testcase {names}>\n"
        f"      <{case.outcome} {_reason(case)}>{body}</{case.outcome}>\n"
        "    </testcase>\n"
    )


def _reason(case: _Case) -> str:
    """Returns the attributes of the element that says why a case did not pass."""
    attributes = {"message": escape_line(case.message)}
    if case.type:
        attributes = {"type": escape_line(case.type)} | attributes
    return _attributes(attributes)


def _attributes(values: Mapping[str, str]) -> str:
    """Returns attributes; the values have passed `escape_line` already."""
    return " ".join(f'{name}="{escape(value)}"' for name, value in values.items())
