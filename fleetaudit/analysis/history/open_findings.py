"""The findings of a job that are open, and since when. Pure."""

from __future__ import annotations

from .model import FindingHistory, JobHistory


def open_since(finding: FindingHistory, history: JobHistory) -> str:
    """Returns the date since when a finding is known, "2026-01-05".

    It is "2026-01-01 or earlier" if the first kept run has the finding already and no earlier date
    is known.
    """
    first_kept = history.runs[0]
    date = finding.first_seen.started[:10]
    if finding.since and finding.since < date:
        return finding.since
    if finding.first_seen.run == first_kept.id:
        return f"{date} or earlier"
    return date


def worst_open(history: JobHistory) -> tuple[FindingHistory, ...]:
    """Returns the open findings above info, the most severe first."""
    return tuple(f for f in history.findings if f.open and f.severity != "info")
