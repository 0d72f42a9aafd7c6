"""Compares two runs and renders what changed."""

from __future__ import annotations

from pathlib import Path

from fleetaudit.analysis import drift as analysis
from fleetaudit.analysis.compare import summarize_changes
from fleetaudit.errors import InputError
from fleetaudit.model import AuditRun, Drift
from fleetaudit.report.changes import changes_text
from fleetaudit.store.part_reader import Interner
from fleetaudit.store.run_file import read_run


def diff_runs(before: AuditRun, after: AuditRun, *, names: tuple[str, str]) -> Drift:
    """Returns what changed from one run to a later one.

    `names` are those of the two runs in messages. Raises `InputError` if they cannot be compared.
    """
    drift = analysis.compute_drift(before, after)
    if drift.refused:
        raise InputError(
            f"cannot be compared with {names[0]}: {drift.refused}",
            source=names[1],
            hint="expected: two runs of the same inventory and playbook",
        )
    return drift


def diff_files(before: Path, after: Path) -> Drift:
    """Returns what changed between two runs, each a run folder or its run.json.

    Raises `NothingToDoError` for a run that is missing, and `InputError` for what is not a run or
    if the two cannot be compared.
    """
    interner = Interner()
    runs = [read_run(path, interner) for path in (before, after)]
    return diff_runs(*runs, names=(str(before), str(after)))


def render_drift(drift: Drift, format_: str, *, width: int) -> bytes:
    """Returns the changes as "json" or, for any other format, as text, in UTF-8.

    `width` is the width of the text in columns.
    """
    if format_ == "json":
        return analysis.encode(drift)
    return changes_text(summarize_changes(drift), width=width).encode()
