"""A run as CSV (RFC 4180, UTF-8, with a header): a row for whatever a host was seen to do or falls
short of.

Rules:
- A row for each scenario and family that a host reported, one for each finding of anything else,
  and one for each host that has neither, audited or not: every selected host is in the table.
- Safe in a spreadsheet: a cell that would be a formula begins with an apostrophe (OWASP, CSV
  injection), also where the spreadsheet takes the semicolon for the separator.
- A record is one line: `escape_line` leaves no line break in a cell.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
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

from .common import findings_by_id, gravest, status_of

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
"""The columns, in their order; new ones are added at the end."""

_FORMULA = re.compile(r"""(^|;)([\s"]*)(?=[=+\-@＝＋－＠])""")


def render(run: AuditRun) -> str:
    """Returns the table, hosts in inventory order, scenarios as declared."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    scenarios = {row.name: row for row in run.scenarios}
    for host in run.hosts:
        about = _about(host)
        for row in _rows(host, scenarios):
            said = about | row
            writer.writerow([_cell(said[column]) if column in said else "" for column in COLUMNS])
    return text.getvalue()


@lru_cache(maxsize=4096)  # a fleet says the same few words a million times
def _cell(value: str) -> str:
    return _FORMULA.sub(r"\1\2'", escape_line(value))


def _about(host: HostResult) -> dict[str, str]:
    said = {"host": host.name, "groups": ",".join(host.groups)}
    said["status"] = status_of(host)
    if not isinstance(host, Audited):
        return said | {"stage": host.stage or "", "reason": host.reason, "hint": host.hint}
    return said | {
        "kernel_release": host.kernel.release,
        "kernel_version": host.kernel.version,
        "machine": host.kernel.machine,
        "os": host.os.pretty_name,
        "isolation": host.isolation,
    }


def _rows(host: HostResult, scenarios: Mapping[str, ScenarioRow]) -> Iterator[dict[str, str]]:
    """The rows of a host, without what they all say; at least one."""
    found = findings_by_id(host)
    if not isinstance(host, Audited):
        yield from [
            {"id": id_, **_subject(id_)} | _judged(findings) for id_, findings in found.items()
        ] or [{}]
        return
    for o in host.observations:
        id_ = f"scenario:{o.scenario}/{o.family}"
        yield _observed(id_, o, scenarios.get(o.scenario), host.void) | _judged(found.pop(id_, []))
    for id_, findings in found.items():
        yield {"id": id_, **_subject(id_)} | _judged(findings)
    if not host.observations and not host.findings:
        yield {"reason": host.void}


def _subject(id_: str) -> dict[str, str]:
    """What a finding is about that no observation goes with."""
    if not id_.startswith("scenario:"):
        return {"verdict": "not met"}
    scenario, _, family = id_.removeprefix("scenario:").rpartition("/")
    return {
        "scenario": scenario,
        "family": family,
        "verdict": "untold",
    }  # asked, and the host reported nothing


def _observed(id_: str, o: Observation, row: ScenarioRow | None, void: str) -> dict[str, str]:
    expect = row.expect if row else ()
    verdict = "void" if void else expectation_status(o, expect)
    return {
        "reason": void or o.reason,
        "id": id_,
        "scenario": o.scenario,
        "family": o.family,
        "ending": o.ending,
        "trials": str(o.trials),
        "endings": ", ".join(f"{n} {ending}" for ending, n in sorted(o.endings.items())),
        "expected": " or ".join(expect),
        "verdict": verdict,
    }


def _judged(findings: list[Finding]) -> dict[str, str]:
    if not findings:
        return {}
    return {
        "expected": "; ".join(dict.fromkeys(f.expected for f in findings)),
        "severity": gravest(findings),
        "observed": "; ".join(dict.fromkeys(f.observed for f in findings)),
        "waived": "; ".join(f.waived for f in findings if f.waived is not None),
        "since": min(f.since for f in findings),
    }
