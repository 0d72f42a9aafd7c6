"""A run as CSV (RFC 4180, UTF-8, with a header): one row per observation or finding.

Rules:
- There is a row for each scenario and family that a host reported, one for each other finding, and
  one for each host that has neither, audited or not: every selected host is in the table.
- Safe in a spreadsheet: a cell that would be a formula begins with an apostrophe (OWASP, CSV
  injection), also if the spreadsheet takes the semicolon as the separator.
- A record is one line: `escape_line` leaves no line break in a cell.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from fleetaudit.analysis.judge import expectation_status
from fleetaudit.model import (
    Audited,
    AuditRun,
    Finding,
    HostResult,
    Observation,
    ScenarioRow,
)
from fleetaudit.text.sanitize import escape_line

from .common import (
    UNDECLARED,
    findings_by_id,
    most_severe,
    scenario_finding_id,
    status_of,
)

COLUMNS = (
    "host",
    "groups",
    "status",
    "stage",
    "reason",
    "hint",
    "kernel_release",
    "kernel_version",
    "machine",
    "os",
    "isolation",
    "id",
    "scenario",
    "family",
    "ending",
    "trials",
    "endings",
    "expected",
    "verdict",
    "severity",
    "observed",
    "waived",
    "since",
)
"""The columns in their order; new ones are added at the end."""

Row = dict[str, str]

_FORMULA = re.compile(r"""(^|;)([\s"]*)(?=[=+\-@＝＋－＠])""")


def render(run: AuditRun) -> str:
    """Returns the table: hosts in inventory order, scenarios in the order of the playbook.

    As RFC 4180 has it: records end in CR LF, the first one is the header, and a cell with a comma
    or a quotation mark stands between quotation marks. Every record has all `COLUMNS`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    scenarios = run.scenarios_by_name()
    for host in run.hosts:
        of_host = _host_cells(host)
        for row in _rows(host, scenarios):
            writer.writerow(_record(of_host | row))
    return text.getvalue()


def _record(row: Row) -> list[str]:
    """Returns the cells of one row in the order of the columns."""
    return [_cell(row.get(column, "")) for column in COLUMNS]


@lru_cache(maxsize=4096)  # the same few texts occur a million times in a fleet
def _cell(value: str) -> str:
    """Returns a value as it stands in a cell, never a formula."""
    return _FORMULA.sub(r"\1\2'", escape_line(value))


def _host_cells(host: HostResult) -> Row:
    """Returns what all rows of a host have in common."""
    cells = {"host": host.name, "groups": ",".join(host.groups), "status": status_of(host)}
    if not isinstance(host, Audited):
        return cells | {"stage": host.stage or "", "reason": host.reason, "hint": host.hint}
    return cells | {
        "kernel_release": host.kernel.release,
        "kernel_version": host.kernel.version,
        "machine": host.kernel.machine,
        "os": host.os.pretty_name,
        "isolation": host.isolation,
    }


def _rows(host: HostResult, scenarios: Mapping[str, ScenarioRow]) -> Iterator[Row]:
    """Yields the rows of a host without its common cells; at least one."""
    if isinstance(host, Audited):
        yield from _audited_rows(host, scenarios)
    else:
        yield from list(_finding_rows(findings_by_id(host))) or [{}]


def _audited_rows(host: Audited, scenarios: Mapping[str, ScenarioRow]) -> Iterator[Row]:
    """Yields a row per observation and per other finding, or one that says why it is void."""
    findings = findings_by_id(host)
    for o in host.observations:
        id_ = scenario_finding_id(o.scenario, o.family)
        of_scenario = findings.pop(id_, [])
        row = scenarios.get(o.scenario, UNDECLARED)
        yield _observation_row(id_, o, row, host.void) | _judged(of_scenario)
    yield from _finding_rows(findings)
    if not host.observations and not host.findings:
        yield {"reason": host.void}


def _finding_rows(findings: Mapping[str, list[Finding]]) -> Iterator[Row]:
    """Yields a row for each id of findings without an observation."""
    for id_, of_id in findings.items():
        yield {"id": id_, **_subject(id_), **_judged(of_id)}


def _subject(id_: str) -> Row:
    """Returns the subject of a finding without an observation."""
    if not id_.startswith("scenario:"):
        return {"verdict": "not met"}
    # The host was to run the scenario and did not report it.
    scenario, _, family = id_.removeprefix("scenario:").rpartition("/")
    return {"scenario": scenario, "family": family, "verdict": "untold"}


def _observation_row(id_: str, o: Observation, row: ScenarioRow, void: str) -> Row:
    """Returns the row of one observation without its findings."""
    endings = [f"{trials} {ending}" for ending, trials in sorted(o.endings.items())]
    return {
        "reason": void or o.reason,
        "id": id_,
        "scenario": o.scenario,
        "family": o.family,
        "ending": o.ending,
        "trials": str(o.trials),
        "endings": ", ".join(endings),
        "expected": " or ".join(row.expect),
        "verdict": "void" if void else expectation_status(o, row.expect),
    }


def _judged(findings: list[Finding]) -> Row:
    """Returns the cells of the findings of one row, {} without any."""
    if not findings:
        return {}
    waivers = [f.waived for f in findings if f.waived is not None]
    return {
        "expected": _join_distinct(f.expected for f in findings),
        "severity": most_severe(findings),
        "observed": _join_distinct(f.observed for f in findings),
        "waived": "; ".join(waivers),
        "since": min(f.since for f in findings),
    }


def _join_distinct(texts: Iterable[str]) -> str:
    """Returns different texts in order of appearance."""
    return "; ".join(dict.fromkeys(texts))
