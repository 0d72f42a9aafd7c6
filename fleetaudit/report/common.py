"""What the outputs for other tools share: findings by their id, and moments as seconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from fleetaudit.analysis.compare.common import group_by
from fleetaudit.model import (
    SEVERITIES,
    AuditRun,
    Finding,
    HostResult,
    Severity,
)
from fleetaudit.store.jobs import job_name

RECEIVERS = {"closer": "peer", "peer": "closer"}
"""The side that a segment goes to, by its sender."""


def status_of(host: HostResult) -> str:
    """Returns the status of a host as in run.json: audited, not audited, or not selected."""
    return str(host.__struct_config__.tag)


def job_of(run: AuditRun) -> str:
    """Returns the name of the job of a run; runs of earlier versions do not contain it."""
    return run.run.job or job_name(run.run)


def findings_by_id(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Returns the findings of a host by id, in their order; one id may have several."""
    return group_by(findings, lambda finding: finding.id)


def most_severe(findings: Iterable[Finding]) -> Severity:
    """Returns the worst severity of at least one finding; raises ValueError for none."""
    return max((f.severity for f in findings), key=SEVERITIES.index)


def scenario_finding_id(scenario: str, family: str) -> str:
    """Returns the id of a finding about a scenario, such as "scenario:unread-close/ipv4"."""
    return f"scenario:{scenario}/{family}"


def parse_moment(text: str) -> datetime | None:
    """Returns a moment in RFC 3339, None for other texts and without a time zone.

    The moment is aware: it keeps the zone of the text.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def seconds_between(started: str, finished: str) -> int | None:
    """Returns the whole seconds between two moments, None if unknown or negative.

    Both are texts in RFC 3339, as `parse_moment` reads them.
    """
    begin, end = parse_moment(started), parse_moment(finished)
    if begin is None or end is None:
        return None
    seconds = (end - begin).total_seconds()
    if seconds < 0:
        return None
    return int(seconds)
