"""A run as JUnit XML: a test suite a host, a test case an expectation, in the shape that Jenkins
and GitLab read.

Rules:
- Every selected host is a suite with a case "audited"; where it was not audited that case is an
  error, and where no play matches it, it is skipped; it is never absent.
- Cases are named by the ids of findings, so that a case has one name whether it passes or fails.
- A finding is a failure whose type is its severity. A waived finding, a scenario that did not run
  and every verdict of a void host are skipped, with the reason.
- What is said of the whole run (waivers that excuse nothing) is a property of the first suite.
- `escape_line` takes away what XML 1.0 forbids; the order of elements is that of the JUnit schema of
  Jenkins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

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
    findings_by_id,
    gravest,
    lasted,
    moment,
    status_of,
)

Outcome = Literal["passed", "failure", "error", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    name: str
    outcome: Outcome = "passed"
    type: str = ""
    message: str = ""
    text: str = ""


def render(run: AuditRun) -> str:
    """Returns the document; its counts add up, suite by suite and as a whole."""
    rows = {row.name: row for row in run.scenarios}
    total = Counter[Outcome]()
    suites = list[str]()
    for host in run.hosts:
        cases = list(_cases(host, rows))
        outcomes = Counter(case.outcome for case in cases)
        total += outcomes
        # The document has no place for what is said of the whole run: its first suite says it.
        said = () if suites else run.run.notes
        suites.append(_suite(host, cases, outcomes, run.run, said))
    seconds = lasted(run.run.started, run.run.finished)
    whole = _attributes({"name": "fleetaudit", **_counts(total), "time": str(seconds or 0)})
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {whole}>\n'
    return head + "".join(suites) + "</testsuites>\n"


# ---- what is a case
# ------------------------------------------------------------------------------------------------


def _cases(host: HostResult, rows: Mapping[str, ScenarioRow]) -> Iterator[_Case]:
    if isinstance(host, NotSelected):
        yield _Case(name="audited", outcome="skipped", message=host.reason)
        return
    if isinstance(host, NotAudited):
        yield _Case(
            name="audited", outcome="error", type=host.stage, message=host.reason, text=host.hint
        )
        yield from (_judged(id_, findings) for id_, findings in findings_by_id(host).items())
        return
    yield _Case(name="audited")
    found = findings_by_id(host)
    for o in host.observations:
        id_ = f"scenario:{o.scenario}/{o.family}"
        yield _observed(id_, o, rows.get(o.scenario), host.void, found.pop(id_, None))
    for id_ in dict.fromkeys((*host.expectations, *found)):
        yield _judged(id_, found[id_]) if id_ in found else _Case(name=id_)


def _observed(
    id_: str, o: Observation, row: ScenarioRow | None, void: str, findings: list[Finding] | None
) -> _Case:
    if findings:
        return _judged(id_, findings)
    if void:
        return _Case(
            name=id_,
            outcome="skipped",
            message=f"void: {void}",
            text=f"seen: {describe_endings(o)}",
        )
    if o.ending == "not run":
        return _Case(name=id_, outcome="skipped", message=f"not run: {o.reason}")
    if row is None or not row.expect:
        return _Case(
            name=id_, outcome="skipped", message=f"no expectation; seen: {describe_endings(o)}"
        )
    return _Case(name=id_)


def _judged(id_: str, findings: list[Finding]) -> _Case:
    open_ = [f for f in findings if f.waived is None]
    if not open_:
        waived = "; ".join(dict.fromkeys(f.waived or "" for f in findings))
        return _Case(name=id_, outcome="skipped", message=f"waived: {waived}", text=_text(findings))
    message = "; ".join(f"wanted {f.expected}, found {f.observed}" for f in open_)
    return _Case(
        name=id_, outcome="failure", type=gravest(open_), message=message, text=_text(open_)
    )


def _text(findings: Iterable[Finding]) -> str:
    lines = list[str]()
    for f in findings:
        lines += [
            f"severity: {f.severity}",
            f"expected: {escape_line(f.expected)}",
            f"observed: {escape_line(f.observed)}",
        ]
        lines += [f"why: {escape_line(f.because)}"] if f.because else []
        lines += [f"what to do: {escape_line(f.fix)}"] if f.fix else []
        lines += [f"first seen: {escape_line(f.since)}"] if f.since else []
    return "\n".join(lines)


# ---- layout
# --------------------------------------------------------------------------------------------------------


def _suite(
    host: HostResult,
    cases: list[_Case],
    outcomes: Counter[Outcome],
    info: RunInfo,
    said: Sequence[str],
) -> str:
    name = escape_line(host.name)
    begun = moment(info.started)
    head = {
        "name": name,
        **_counts(outcomes),
        "skipped": str(outcomes["skipped"]),
        "time": f"{host.elapsed_s:.3f}" if isinstance(host, Audited) else "0",
        # Without a zone, as the schemas of Ant and Jenkins want it; it is UTC.
        **({"timestamp": begun.strftime("%Y-%m-%dT%H:%M:%S")} if begun else {}),
        "hostname": name,
    }
    inside = [*_properties(host, said), *(_case(name, case) for case in cases)]
    return f"  <testsuite {_attributes(head)}>\n" + "".join(inside) + "  </testsuite>\n"


def _counts(outcomes: Counter[Outcome]) -> dict[str, str]:
    return {
        "tests": str(outcomes.total()),
        "failures": str(outcomes["failure"]),
        "errors": str(outcomes["error"]),
    }


def _properties(host: HostResult, notes: Sequence[str]) -> Iterator[str]:
    said = {"status": status_of(host), "groups": ",".join(host.groups)}
    if isinstance(host, Audited):
        kernel = host.kernel
        said |= {
            "kernel.release": kernel.release,
            "kernel.version": kernel.version,
            "kernel.machine": kernel.machine,
        }
        said |= {"os": host.os.pretty_name, "isolation": host.isolation, "void": host.void}
        said["notes"] = " ".join(host.notes)
    said["run.notes"] = "; ".join(notes)
    yield "    <properties>\n"
    for name, value in said.items():
        if value:
            yield f"      <property {_attributes({'name': name, 'value': escape_line(value)})}/>\n"
    yield "    </properties>\n"


def _case(host: str, case: _Case) -> str:
    head = f"    <testcase {_attributes({'classname': host, 'name': escape_line(case.name)})}"
    if case.outcome == "passed":
        return f"{head}/>\n"
    said = {"type": escape_line(case.type)} if case.type else {}
    said["message"] = escape_line(case.message)
    body = escape("\n".join(escape_line(line) for line in case.text.split("\n")))
    return (
        f"{head}>\n      <{case.outcome} {_attributes(said)}>{body}</{case.outcome}>\n   "
        " </testcase>\n"
    )


def _attributes(values: Mapping[str, str]) -> str:
    """Returns attributes whose values are plain already."""
    return " ".join(f'{name}="{escape(value)}"' for name, value in values.items())
