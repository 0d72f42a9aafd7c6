"""What the outputs for other tools share: text made harmless, findings by their id, and moments as
seconds.

Rules: pure. A text that a host or an inventory said goes through `escape_line` before it goes into a
file.
"""

from __future__ import annotations

from datetime import datetime

from fleetaudit.analysis.compare.common import grouped
from fleetaudit.model import (
    SEVERITIES,
    Finding,
    HostResult,
    Severity,
)


def status_of(host: HostResult) -> str:
    """Returns the status of a host in the word of run.json: "audited", "not audited" or "not
    selected".
    """
    return str(host.__struct_config__.tag)


def findings_by_id(host: HostResult) -> dict[str, list[Finding]]:
    """Returns the host's findings by id, in their order; one id may have several."""
    return grouped(host.findings, lambda finding: finding.id)


def gravest(findings: list[Finding]) -> Severity:
    """Returns the gravest severity of at least one finding."""
    return max((f.severity for f in findings), key=SEVERITIES.index)


def moment(text: str) -> datetime | None:
    """Returns a moment that is written as RFC 3339, None where it is not."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def lasted(started: str, finished: str) -> int | None:
    """Returns the whole seconds between two moments, None where either is none or they are the
    wrong way round.
    """
    begin, end = moment(started), moment(finished)
    return int((end - begin).total_seconds()) if begin and end and end >= begin else None
