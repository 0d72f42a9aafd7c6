"""Decides which old runs are removed, and which always stay.

Rules: these runs always stay: the run that `latest` points to, the last finished run of its job and
of every scheduled job, and the baselines of these. The newest runs are those that finished last. A
run dated in the future counts as begun together with the run that finished after it, so that a
wrong clock does not keep a run forever. The caller holds the lock of the output folder.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from fleetaudit.errors import OutputError
from fleetaudit.model import RunInfo

from .disk import close_after_use
from .jobs import job_name
from .names import (
    JOURNAL_FILE,
    LATEST_LINK,
    OUTLINE_FILE,
    PLAN_FILE,
    RUN_FILE,
    RUN_NAME,
    STORE_FILE,
    name_order,
)
from .removal import (
    ABSENT,
    entries,
    is_file,
    is_folder,
    open_folder,
    remove_leftovers,
    remove_run,
)
from .run_file import read_info_in


class RetentionPolicy(msgspec.Struct, frozen=True):
    """Which runs stay: the last `runs` that finished, or those begun in the last `days`.

    Exactly one of the two is set.
    """

    runs: int | None = None
    days: int | None = None


class Pruned(msgspec.Struct, frozen=True):
    """The runs that were due: the names of those `removed`, and the reason of each one `kept`."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]


def parse_retention(text: str) -> RetentionPolicy:
    """Returns the policy of "30d" (days) or "20" (runs).

    The number is from 1 to 99999. Raises `ValueError` for any other text; the message names both
    forms.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})(d?)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is neither a number of days (30d) nor a number of runs (20)")
    number = int(match[1])
    if match[2]:
        return RetentionPolicy(days=number)
    return RetentionPolicy(runs=number)


def prune(
    output: Path,
    policy: RetentionPolicy,
    *,
    now: datetime,
    files: Iterable[str],
    protect: Collection[str] = (),
) -> Pruned:
    """Removes the runs in `output` that the policy does not keep.

    `now` has a time zone. `files` are the names that a run folder may have besides those of the
    store; a run with any other file is kept, with the reason. Runs in `protect` stay as well,
    whatever their age. Without the folder there is nothing to remove. Raises `OutputError` if the
    folder cannot be read or changed; runs that were removed until then stay removed.
    """
    known = _known_files(files)
    try:
        fd = os.open(output, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Pruned((), ())
    except OSError as e:
        raise OutputError(f"{output}: cannot be read: {e.strerror}") from e
    try:
        runs = _find_runs(fd)
        remove_leftovers(fd, known)
        protected = {*protect, *_always_kept(runs, _latest(fd))}
        due = [name for name in _due(runs, policy, now) if name not in protected]
        return _remove_runs(fd, due, known)
    except OSError as e:
        raise OutputError(f"{output}: cannot be cleaned up: {e.strerror}") from e
    finally:
        close_after_use(fd)


def remove_leftovers_in(output: Path, files: Iterable[str]) -> None:
    """Removes what killed processes left in an output folder, as `removal.remove_leftovers` does.

    The caller holds the lock of the folder. `files` are as in `prune`. Raises nothing.
    """
    with contextlib.suppress(OSError), open_folder(None, str(output.resolve())) as fd:
        remove_leftovers(fd, _known_files(files))


def _known_files(files: Iterable[str]) -> frozenset[str]:
    """Returns the names of the files that a run folder may have."""
    return frozenset({STORE_FILE, RUN_FILE, JOURNAL_FILE, PLAN_FILE, OUTLINE_FILE, *files})


def _remove_runs(output: int, names: Iterable[str], known: Collection[str]) -> Pruned:
    """Removes these runs of an open output folder, if they can be removed."""
    removed, kept = list[str](), list[str]()
    for name in names:
        if problem := remove_run(output, name, known):
            kept.append(f"{name}: {problem}")
        else:
            removed.append(name)
    return Pruned(tuple(removed), tuple(kept))


def _latest(output: int) -> str:
    """Returns the name of the run that `latest` points to, "" if there is none."""
    try:
        return Path(os.readlink(LATEST_LINK, dir_fd=output)).name
    except OSError:
        return ""


class _Run(msgspec.Struct, frozen=True):
    """A run that may be removed. `info` is None if it was not finished or cannot be read."""

    name: str
    is_finished: bool
    info: RunInfo | None

    @property
    def order(self) -> tuple[int, tuple[str, int]]:
        """The sort key that orders runs by when they finished."""
        if self.info is None:
            return 0, name_order(self.name)
        return self.info.sequence, name_order(self.name)


def _find_runs(output: int) -> list[_Run]:
    """Returns the runs in the order in which they finished; unfinished runs come first."""
    runs = [_read_run(output, name) for name in entries(output) if _is_run(output, name)]
    return sorted(runs, key=lambda run: run.order)


def _is_run(output: int, name: str) -> bool:
    """Returns whether a name in the open output folder is a folder of a run that may be removed.

    Such a folder is named by a start time and contains a run or a journal. `removal` checks
    later that all of its files were written by fleetaudit.
    """
    if not _is_run_name(name) or not is_folder(output, name):
        return False
    return _is_written(output, name) or is_file(output, f"{name}/{JOURNAL_FILE}")


def _is_written(output: int, name: str) -> bool:
    """Returns whether a folder in the open output folder has a store or a run.json."""
    return any(is_file(output, f"{name}/{file}") for file in (STORE_FILE, RUN_FILE))


def _is_run_name(name: str) -> bool:
    """Returns whether a name is a start time that exists: there is no month 13."""
    if not RUN_NAME.fullmatch(name):
        return False
    try:
        _start_time(name)
    except ValueError:
        return False
    return True


def _read_run(output: int, name: str) -> _Run:
    """Returns the run in a folder of the open output folder.

    `info` is None for a copy of another run, and if the run cannot be read: then it belongs to no
    job.
    """
    if not _is_written(output, name):
        return _Run(name, is_finished=False, info=None)
    return _Run(name, is_finished=True, info=_read_own_info(output, name))


def _read_own_info(output: int, name: str) -> RunInfo | None:
    """Returns the `RunInfo` of a run folder that has the name of its run, or None.

    Raises `OSError` if the disk fails.
    """
    try:
        with open_folder(output, name) as fd:
            info = read_info_in(fd)
    except OSError as e:
        if e.errno in ABSENT:
            return None
        raise
    return info if info is not None and info.id == name else None


def _always_kept(runs: Iterable[_Run], latest: str) -> Iterator[str]:
    """Yields the names of the runs that stay whatever their age.

    These are the run that `latest` points to, the last run of its job and of every scheduled job,
    and the baselines of all of them. `runs` are in the order in which they finished. `latest` is ""
    if there is none, which is no name of a run.
    """
    yield latest
    infos = [(job_name(run.info), run.info) for run in runs if run.info]
    last_of_job = dict(infos)
    for job, info in infos:
        if info.id == latest:
            yield from _with_baseline(info)
        if info.scheduled or info.id == latest:
            yield from _with_baseline(last_of_job[job])


def _with_baseline(info: RunInfo) -> Iterator[str]:
    """Yields the name of a run and, if it was compared with one, that of its baseline."""
    yield from filter(None, (info.id, info.baseline))


def _due(runs: list[_Run], policy: RetentionPolicy, now: datetime) -> list[str]:
    """Returns the names of the runs that the policy does not keep, in the order of `runs`."""
    if policy.days is not None:
        return _older_than(runs, now - timedelta(days=policy.days), now)
    return _more_than(runs, policy.runs or 1)


def _older_than(runs: list[_Run], limit: datetime, now: datetime) -> list[str]:
    """Returns the names of the runs that began before `limit`."""
    dates = _start_times(runs, now)
    return [run.name for run in runs if dates[run.name] < limit]


def _more_than(runs: list[_Run], number: int) -> list[str]:
    """Returns the names of the runs before the last `number` that finished.

    Only finished runs are counted. An unfinished run is removed once every finished run that stays
    began after it.
    """
    finished = [run.name for run in runs if run.is_finished]
    removed, kept = set(finished[:-number]), finished[-number:]
    if not removed:
        return []
    oldest = min(map(name_order, kept))
    unfinished = (run.name for run in runs if not run.is_finished)
    removed.update(name for name in unfinished if name_order(name) < oldest)
    return [run.name for run in runs if run.name in removed]


def _start_times(runs: list[_Run], now: datetime) -> dict[str, datetime]:
    """Returns the start time of each run.

    A run dated in the future counts as begun together with the run that finished after it.
    """
    times, following = dict[str, datetime](), now
    for run in reversed(runs):
        start = _start_time(run.name)
        if start <= now:
            following = start
        times[run.name] = following
    return times


def _start_time(name: str) -> datetime:
    """Returns when a run of that name began; raises `ValueError` for a month 13."""
    return datetime.strptime(name_order(name)[0], "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)
