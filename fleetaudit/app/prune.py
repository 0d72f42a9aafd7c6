"""Removes old runs from an output folder."""

from __future__ import annotations

from pathlib import Path

from fleetaudit.report import registry
from fleetaudit.store import retention
from fleetaudit.store.lock import hold_lock
from fleetaudit.store.retention import Pruned, RetentionPolicy

from . import clock


def prune_runs(output: Path, keep: RetentionPolicy, *, baseline: str) -> Pruned:
    """Removes the runs that `keep` does not keep; `baseline` names one more run to keep.

    `baseline` may be a path; only its last part counts. A run with a file that
    neither the store nor a report writes is kept, with the reason. Raises `LockedError` if another
    run uses the output folder, and `OutputError` if it cannot be read or changed.
    """
    with hold_lock(output):
        return retention.prune(
            output,
            keep,
            now=clock.current_time(),
            files=registry.FILES.values(),
            protect={Path(baseline).name},
        )
