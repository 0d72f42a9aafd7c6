"""Finds the runs of an output folder.

The last run is the one with the greatest `sequence`. A run gets the next number when it finishes,
while the lock is held. No clock is involved, so a run that was dated 2036 by mistake does no harm.
Runs of earlier versions have no number; they come before all others, in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fleetaudit.errors import FleetauditError
from fleetaudit.model import RunInfo

from .names import RUN_FILE, RUN_NAME, STORE_FILE, name_order
from .run_file import read_head, read_info


class StoredRun(NamedTuple):
    """A run of an output folder that was written: it has a store, or a run.json."""

    path: Path
    info: RunInfo


class StoredRuns(NamedTuple):
    """The runs of an output folder that were written: `finished` ones, the last one first;
    `interrupted` ones; and those that cannot be read, with the reason.
    """

    finished: tuple[StoredRun, ...]
    interrupted: tuple[StoredRun, ...]
    unreadable: tuple[tuple[Path, FleetauditError], ...]


def run_names(output: Path) -> tuple[str, ...]:
    """Returns the names in an output folder that a run can have, unsorted; () without a folder.

    Such a name is "2026-01-31T020000Z" or "2026-01-31T020000Z-2". What has it may be something
    else: whether it is a run is not looked up.
    """
    try:
        return tuple(path.name for path in output.iterdir() if RUN_NAME.fullmatch(path.name))
    except OSError:
        return ()


def find_runs(output: Path) -> StoredRuns:
    """Returns the runs of an output folder that were written, none if there is no folder.

    A copy of a run under another name, such as a golden run, is left out. A run without a sequence
    number was interrupted or comes from an earlier version; the stages of its hosts decide.
    """
    runs: dict[bool, list[StoredRun]] = {False: [], True: []}
    unreadable = list[tuple[Path, FleetauditError]]()
    for path in _folders_with_a_run_file(output):
        try:
            run = StoredRun(path, read_info(path))
            is_interrupted = _was_interrupted(run)
        except FleetauditError as e:
            unreadable.append((path, e))
            continue
        if run.info.id == path.name:
            runs[is_interrupted].append(run)
    return StoredRuns(_last_first(runs[False]), _last_first(runs[True]), tuple(unreadable))


def _was_interrupted(run: StoredRun) -> bool:
    """Returns whether a run ended before every host was audited; raises as `read_head`."""
    return not run.info.sequence and read_head(run.path).interrupted


def _folders_with_a_run_file(output: Path) -> Iterator[Path]:
    """Yields the folders of written runs, except symbolic links and unreadable folders."""
    for name in run_names(output):
        path = output / name
        try:
            is_run = has_run_file(path) and not path.is_symlink()
        except OSError:  # no permission, or a disk that fails
            continue
        if is_run:
            yield path


def has_run_file(path: Path) -> bool:
    """Returns whether a folder has a run that was written: a store, or the run.json of an earlier
    version; raises `OSError`.
    """
    return (path / STORE_FILE).is_file() or (path / RUN_FILE).is_file()


def _last_first(runs: list[StoredRun]) -> tuple[StoredRun, ...]:
    """Returns runs, the one that finished last first."""
    return tuple(sorted(runs, key=lambda run: finish_order(run.info), reverse=True))


def finish_order(info: RunInfo) -> tuple[int, tuple[str, int]]:
    """Returns the sort key that orders runs by when they finished.

    It is the sequence number, then the name; runs of earlier versions have the number 0.
    """
    return info.sequence, name_order(info.id)
