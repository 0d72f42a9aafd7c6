"""Whether a job is getting better: its first kept run against its last. Pure.

Rules: findings without a waiver decide, errors before warnings; info decides nothing. Hosts that
were not audited are named beside it, since fewer findings may only mean fewer answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from .model import FindingHistory, HistoryRun, JobHistory

Direction = Literal["better", "worse", "unchanged", "unknown"]


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """The first and the last run of a job; `direction` is unknown with fewer than two runs that
    audited a host, and `first` and `last` are then the same.
    """

    direction: Direction
    first: HistoryRun
    last: HistoryRun


def trend_of(history: JobHistory) -> Trend:
    """Returns how a job with at least one run changed over its kept runs.

    Runs that audited no host say nothing, and are passed over.
    """
    runs = [run for run in history.runs if run.hosts.audited]
    if len(runs) < 2:
        last = [*history.runs, *runs][-1]
        return Trend(direction="unknown", first=last, last=last)
    return Trend(direction=_direction(runs), first=runs[0], last=runs[-1])


def _direction(runs: Sequence[HistoryRun]) -> Direction:
    """Returns how the findings of the last run compare with those of the first."""
    first, last = _unmet(runs[0]), _unmet(runs[-1])
    if first == last:
        return "unchanged"
    return "better" if last < first else "worse"


def _unmet(run: HistoryRun) -> tuple[int, int]:
    """Returns the errors and the warnings of a run that are not waived."""
    return run.findings.error, run.findings.warning


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
