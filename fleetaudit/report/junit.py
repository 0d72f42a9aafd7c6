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
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    UNDECLARED,
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
    findings_by_id,
    most_severe,
    parse_moment,
    scenario_finding_id,
    seconds_between,
    status_of,
)

Outcome = Literal["passed", "failure", "error", "skipped"]
EncodedCase = tuple[Outcome, str]
EncodedCases = tuple[Counter[Outcome], str]
"""How many cases of a host have which outcome, and their elements, with `_HOST` in them."""
_HOST = "\0"
"""Stands for the name of a host; XML forbids it, so it is in no other text."""
_MAX_KEPT = 1000
"""How many encoded hosts are kept, each of which may have a hundred kilobytes."""


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
    return "".join(_texts(run))


def render_in_chunks(run: AuditRun) -> Iterator[bytes]:
    """Yields the document as `render` returns it, in UTF-8, a host at a time."""
    return (text.encode(errors="replace") for text in _texts(run))


def _texts(run: AuditRun) -> Iterator[str]:
    """Yields the beginning, the suites and the end of the document."""
    cases = _Cases(run.scenarios_by_name())
    total = Counter[Outcome]()
    for host in run.hosts:
        total.update(cases.of_host(host)[0])
    seconds = seconds_between(run.run.started, run.run.finished) or 0
    root = _attributes({"name": "fleetaudit", **_counts(total), "time": str(seconds)})
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {root}>\n'
    # The document has no place for notes about the whole run: its first suite has them.
    notes = run.run.notes
    for host in run.hosts:
        yield _suite(host, cases.of_host(host), run.run, notes)
        notes = ()
    yield "</testsuites>\n"


# ---- cases


class _Cases:
    """Makes the cases of hosts, those of hosts that share everything they observed once."""

    def __init__(self, rows: Mapping[str, ScenarioRow]) -> None:
        self._rows = rows
        self._audited = once_per_object(self._encode_audited, _MAX_KEPT)
        self._unjudged = once_per_object(self._encode_unjudged)

    def of_host(self, host: HostResult) -> EncodedCases:
        """Returns the outcomes of the cases of a host, and their elements."""
        if isinstance(host, Audited):
            return self._audited(host.observations, host.findings, host.expectations, host.void)
        return _join_cases(map(_encode, _cases_without_verdict(host)))

    def _encode_audited(
        self,
        observations: Sequence[Observation],
        findings: Sequence[Finding],
        expectations: Sequence[str],
        void: str,
    ) -> EncodedCases:
        """Returns the cases of an audited host."""
        cases = self._audited_cases(observations, findings_by_id(findings), expectations, void)
        return _join_cases((_encode(_Case(name="audited")), *cases))

    def _audited_cases(
        self,
        observations: Sequence[Observation],
        findings: dict[str, list[Finding]],
        expectations: Sequence[str],
        void: str,
    ) -> Iterator[EncodedCase]:
        """Yields a case per observation, then one per other expectation or finding."""
        for o in observations:
            id_ = scenario_finding_id(o.scenario, o.family)
            found = findings.pop(id_, None)
            yield _encode(_judged(id_, found)) if found else self._unjudged(o, void)
        for id_ in dict.fromkeys((*expectations, *findings)):
            yield _encode(_judged(id_, findings.get(id_, [])))

    def _encode_unjudged(self, o: Observation, void: str) -> EncodedCase:
        """Returns the case of an observation without a finding."""
        id_ = scenario_finding_id(o.scenario, o.family)
        return _encode(_unjudged(id_, o, self._rows.get(o.scenario, UNDECLARED), void))


def _encode(case: _Case) -> EncodedCase:
    """Returns the outcome of a case, and its element."""
    return case.outcome, _case(case)


def _join_cases(cases: Iterable[EncodedCase]) -> EncodedCases:
    """Returns the outcomes of cases, and their elements as one text."""
    outcomes, elements = zip(*cases, strict=True)
    return Counter(outcomes), "".join(elements)


def _cases_without_verdict(host: NotAudited | NotSelected) -> Iterator[_Case]:
    """Yields the cases of a host that was not audited."""
    if isinstance(host, NotSelected):
        yield _skipped("audited", host.reason)
        return
    yield _Case(
        name="audited", outcome="error", type=host.stage, message=host.reason, text=host.hint
    )
    for id_, findings in findings_by_id(host.findings).items():
        yield _judged(id_, findings)


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
    cases: EncodedCases,
    info: RunInfo,
    notes: Sequence[str],
) -> str:
    """Returns the element of one host; `notes` are those about the whole run."""
    name = escape_line(host.name)
    outcomes, elements = cases
    attributes = {
        "name": name,
        **_counts(outcomes),
        "skipped": str(outcomes["skipped"]),
        "time": _seconds(host),
        **_timestamp(info),
        "hostname": name,
    }
    inside = "".join(_properties(host, notes)) + elements.replace(_HOST, escape(name))
    return f"  <testsuite {_attributes(attributes)}>\n{inside}  </testsuite>\n"


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


def _case(case: _Case) -> str:
    """Returns the element of one case, with `_HOST` in place of the name of its host."""
    names = _attributes({"classname": _HOST, "name": escape_line(case.name)})
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
