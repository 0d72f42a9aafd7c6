"""A run as CSV (RFC 4180, UTF-8, with a header): one row per observation or finding.

Rules:
- There is a row for each scenario and family that a host reported, one for each program that it
  saw reset, one for each check of its services, one for each other finding, and one for each host
  that has none of them, audited or not: every selected host is in the table.
- Safe in a spreadsheet: a cell that would be a formula begins with an apostrophe (OWASP, CSV
  injection), also if the spreadsheet takes the semicolon or the bar as the separator.
- A record is one line: `escape_line` leaves no line break in a cell.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter

from msgspec import UNSET, UnsetType

from fleetaudit.analysis.judge import expectation_status, program_id
from fleetaudit.analysis.production import host_resets
from fleetaudit.analysis.services import rows_by_check
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    UNDECLARED,
    Audited,
    AuditRun,
    Finding,
    HostResult,
    Observation,
    ScenarioRow,
    ServiceResult,
    Watched,
)
from fleetaudit.text.sanitize import escape_line

from .common import (
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
    "probe",
)
"""The columns in their order; new ones are added at the end."""

_REASON, _ID = COLUMNS.index("reason"), COLUMNS.index("id")
_MAX_KEPT = 1000
"""How many sets of rows are kept, each of which may have a hundred kilobytes."""

Row = dict[str, str]
Line = tuple[str | None, str]
"""What the rows of a host differ in: the reason, None for that of the host, and the cells from the
id on, except the last one, which is the host's.
"""

_SERVICE_VERDICTS = ("no expectation", "met", "not met")
"""The verdict of a check: nothing is expected of it, it has no finding, it has one."""
_FORMULA = re.compile(r"""(^|[;|])([\s"]*)(?=[=+\-@＝＋－＠])""")


def render(run: AuditRun) -> str:
    """Returns the table: hosts in inventory order, scenarios in the order of the playbook.

    As RFC 4180 has it: records end in CR LF, the first one is the header, and a cell with a comma
    or a quotation mark stands between quotation marks. Every record has all `COLUMNS`.
    """
    return "".join(_texts(run))


def render_in_chunks(run: AuditRun) -> Iterator[bytes]:
    """Yields the table as `render` returns it, in UTF-8, a host at a time."""
    return (text.encode(errors="replace") for text in _texts(run))


def _texts(run: AuditRun) -> Iterator[str]:
    """Yields the header and the records of each host.

    Hosts of one kernel build share what they observed, so these cells are encoded once.
    """
    lines = _Lines(run.scenarios_by_name())
    yield _encode(COLUMNS)[1:] + "\r\n"
    for host in run.hosts:
        cells = [*_host_cells(host)]
        head, reason = _encode(cells[:_REASON])[1:], _encode([cells[_REASON]])
        middle, end = _encode(cells[_REASON + 1 :]), _encode([host.program or ""]) + "\r\n"
        own = [
            f"{head}{reason if other is None else other}{middle}{rest}{end}"
            for other, rest in lines.of_host(host)
        ]
        yield "".join(own)


def _encode(cells: Iterable[str]) -> str:
    """Returns cells as they stand in a record, each after a comma."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(["", *map(_cell, cells)])
    return text.getvalue()


@lru_cache(maxsize=4096)  # the same few texts occur a million times in a fleet
def _cell(value: str) -> str:
    """Returns a value as it stands in a cell, never a formula."""
    return _FORMULA.sub(r"\1\2'", escape_line(value))


def _host_cells(host: HostResult) -> Iterator[str]:
    """Yields the cells that the rows of a host have in common: those before the id."""
    yield from (host.name, ",".join(host.groups), status_of(host))
    if isinstance(host, Audited):
        yield from ("", "", "", host.kernel.release, host.kernel.version, host.kernel.machine)
        yield from (host.os.pretty_name, host.isolation)
    else:
        yield from (host.stage or "", host.reason, host.hint, "", "", "", "", "")


class _Lines:
    """Encodes what the rows of a host have besides its own cells."""

    def __init__(self, scenarios: Mapping[str, ScenarioRow]) -> None:
        self._scenarios = scenarios
        self._of_parts = once_per_object(self._encode_rows, _MAX_KEPT)
        self._of_observation = once_per_object(self._encode_observation)

    def of_host(self, host: HostResult) -> list[Line]:
        """Returns the rows of a host; at least one."""
        return self._of_parts(
            host.observations,
            host.findings,
            host.void,
            host.watch,
            host.services,
            host.expectations,
        )

    def _encode_rows(
        self,
        observations: Sequence[Observation],
        findings: Sequence[Finding],
        void: str,
        watch: Watched | UnsetType,
        services: Sequence[ServiceResult] | UnsetType,
        expectations: Sequence[str],
    ) -> list[Line]:
        """Returns a row per observation, program that resets, check of a service and other finding,
        or one that says why the host is void.
        """
        by_id = findings_by_id(findings)
        lines = list[Line]()
        for o in observations:
            found = by_id.pop(scenario_finding_id(o.scenario, o.family), [])
            encode = self._encode_judged if found else self._of_observation
            lines.append(encode(o, void, *found))
        if watch is not UNSET:
            lines += map(_encode_row, _reset_rows(watch, by_id))
        lines += map(_encode_row, _service_rows(services or (), by_id, expectations))
        lines += map(_encode_row, _finding_rows(by_id))
        return lines or [_encode_row({"reason": void} if void else {})]

    def _encode_observation(self, o: Observation, void: str) -> Line:
        """Returns the row of an observation without a finding."""
        return self._encode_judged(o, void)

    def _encode_judged(self, o: Observation, void: str, *findings: Finding) -> Line:
        """Returns the row of an observation and its findings."""
        row = self._scenarios.get(o.scenario, UNDECLARED)
        return _encode_row(_observation_row(o, row, void) | _judged(findings))


def _encode_row(row: Row) -> Line:
    """Returns the cells of one row that are not common to its host."""
    reason = _encode([row["reason"]]) if "reason" in row else None
    return reason, _encode(row.get(column, "") for column in COLUMNS[_ID:-1])


def _reset_rows(watch: Watched, findings: dict[str, list[Finding]]) -> Iterator[Row]:
    """Yields a row for each program, port and reason; takes the findings of programs out of
    `findings`.
    """
    for row in host_resets(watch):
        id_ = program_id(row.program)
        found = findings.pop(id_, [])
        observed = f"{row.count} in {watch.seconds:.0f} s: {row.reason}: {row.program.executable}"
        judged = {"verdict": "not met" if found else "no expectation", **_judged(found)}
        yield {"id": id_, **judged, "observed": observed}


def _service_rows(
    services: Iterable[ServiceResult],
    findings: dict[str, list[Finding]],
    expectations: Sequence[str],
) -> Iterator[Row]:
    """Yields a row for each check of a service; takes the findings of checks out of `findings`."""
    for result in services:
        for check, rows in rows_by_check(result).items():
            id_ = f"service:{result.name}/{check}"
            found = findings.pop(id_, [])
            yield {
                "id": id_,
                "trials": str(sum(row.tries for row in rows)),
                "verdict": _SERVICE_VERDICTS[(id_ in expectations) + bool(found)],
                **_judged(found),
                "observed": "; ".join(f"{row.title}: {row}" for row in rows),
            }


def _finding_rows(findings: Mapping[str, Sequence[Finding]]) -> Iterator[Row]:
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


def _observation_row(o: Observation, row: ScenarioRow, void: str) -> Row:
    """Returns the row of one observation without its findings."""
    endings = [f"{trials} {ending}" for ending, trials in sorted(o.endings.items())]
    return {
        "reason": void or o.reason,
        "id": scenario_finding_id(o.scenario, o.family),
        "scenario": o.scenario,
        "family": o.family,
        "ending": o.ending,
        "trials": str(o.trials),
        "endings": ", ".join(endings),
        "expected": " or ".join(row.expect),
        "verdict": "void" if void else expectation_status(o, row.expect),
    }


def _judged(findings: Sequence[Finding]) -> Row:
    """Returns the cells of the findings of one row, {} without any."""
    if not findings:
        return {}
    waivers = [f.waived for f in findings if f.waived is not None]
    return {
        "expected": _join_distinct(map(attrgetter("expected"), findings)),
        "severity": most_severe(findings),
        "observed": _join_distinct(map(attrgetter("observed"), findings)),
        "waived": "; ".join(waivers),
        "since": min(map(attrgetter("since"), findings)),
    }


def _join_distinct(texts: Iterable[str]) -> str:
    """Returns different texts in order of appearance."""
    return "; ".join(dict.fromkeys(texts))
