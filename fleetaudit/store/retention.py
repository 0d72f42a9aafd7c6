"""Which old runs go, and how they go: only what we wrote ourselves, and never the run that somebody
looks at.

Rules: a run is a folder with our kind of name that holds nothing but our kinds of file. What always
stays: the run that `latest` points to, the last finished run of that job and of every scheduled
job, and what these were compared with. The newest runs are those that finished last; one that is
dated in the future is as old as the one that finished after it, so that a clock that was wrong once
keeps no run for ever. Nothing is followed: every name is opened and removed relative to the open
output folder, without symbolic links. A run is renamed before its files go, so that nobody reads
half of it; one in which something foreign turns up gets its name back. The caller holds the lock of
the output folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fleetaudit.errors import OutputError
from fleetaudit.model import RunInfo

from .jobs import job_name
from .names import JOURNAL_FILE, LATEST_LINK, PLAN_FILE, RUN_FILE, RUN_NAME, name_order
from .run_file import read_info_in

_GONE = re.compile(r"\.(?:" + RUN_NAME.pattern + r")\.\d+\.(?:new|gone)")
_PART = re.compile(r"\.(.+)\.\d+\.part")
_TRACES = "traces"


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What stays: the `runs` that finished last, or those that began in the last `days`; the other
    one is None.
    """

    runs: int | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of the runs that were due: names of those `gone`, and why each of the `left`
    stayed.
    """

    gone: tuple[str, ...]
    left: tuple[str, ...]


def parse_retention(text: str) -> RetentionPolicy:
    """Returns what "30d" (days) or "20" (runs) means; raises `ValueError`."""
    match = re.fullmatch(r"([1-9]\d{0,4})(d?)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is neither a number of days (30d) nor a number of runs (20)")
    number = int(match[1])
    return RetentionPolicy(days=number) if match[2] else RetentionPolicy(runs=number)


def prune(
    output: Path,
    keep: RetentionPolicy,
    *,
    now: datetime,
    files: Iterable[str],
    spare: Collection[str] = (),
) -> Pruned:
    """Removes the runs in `output` that `keep` does not cover; returns what went and what stayed
    although it was due.

    `files` are the names that a run of ours may hold beside its own; the runs in `spare` stay as
    well. Raises `OutputError`.
    """
    known = frozenset({RUN_FILE, JOURNAL_FILE, PLAN_FILE, *files})
    try:
        fd = os.open(output, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Pruned((), ())
    except OSError as e:
        raise OutputError(f"{output}: cannot be read: {e.strerror}") from e
    try:
        runs = _runs(fd)
        spared = {*spare, *_always(runs, _latest(fd))}
        for name in sorted(_entries(fd)):
            if _GONE.fullmatch(name):  # of a process that was killed in between
                _remove(fd, name, name, known)
        gone, left = list[str](), list[str]()
        for name in _due(runs, keep, now):
            if name not in spared:
                why = _remove(fd, name, f".{name}.{os.getpid()}.gone", known)
                (left if why else gone).append(f"{name}: {why}" if why else name)
        return Pruned(tuple(gone), tuple(left))
    except OSError as e:
        raise OutputError(f"{output}: cannot be cleaned up: {e.strerror}") from e
    finally:
        os.close(fd)


def _entries(fd: int) -> list[str]:
    return os.listdir(fd)


def _latest(output: int) -> str:
    try:
        return Path(os.readlink(LATEST_LINK, dir_fd=output)).name
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that may go; `info` is what its run.json says of it, None where that is missing or
    cannot be read.
    """

    name: str
    finished: bool
    info: RunInfo | None

    @property
    def place(self) -> tuple[int, tuple[str, int]]:
        """What sorts runs by when they finished."""
        return self.info.sequence if self.info else 0, name_order(self.name)


def _runs(output: int) -> list[_Run]:
    """Returns the runs in the order in which they finished; those that did not come first."""
    return sorted(
        (_run(output, name) for name in _entries(output) if _is_run(output, name)),
        key=lambda run: run.place,
    )


def _run(output: int, name: str) -> _Run:
    if not _is_file(output, f"{name}/{RUN_FILE}"):
        return _Run(name, False, None)
    info = None
    with contextlib.suppress(OSError), _folder(output, name) as fd:
        info = read_info_in(fd)
    return _Run(name, True, info if info and info.id == name else None)


def _always(runs: Iterable[_Run], latest: str) -> Iterator[str]:
    """Yields the names of the runs that stay whatever their age."""
    yield latest
    last, jobs = dict[str, RunInfo](), set[str]()
    for info in (run.info for run in runs if run.info):
        last[job_name(info)] = info
        if info.scheduled or info.id == latest:
            jobs.add(job_name(info))
        if info.id == latest:
            yield info.baseline or ""
    for job in jobs:
        yield last[job].id
        yield last[job].baseline or ""


def _due(runs: list[_Run], keep: RetentionPolicy, now: datetime) -> Iterator[str]:
    """Yields the names of the runs that go, in the order in which they finished."""
    if keep.days is not None:
        limit, dates = now - timedelta(days=keep.days), _dates(runs, now)
        yield from (run.name for run in runs if dates[run.name] < limit)
        return
    # What was never finished does not push out what was.
    finished = [run for run in runs if run.finished]
    kept = finished[-(keep.runs or 1) :]
    oldest = min((name_order(run.name) for run in kept), default=("", 0))
    going = {run.name for run in finished[: -len(kept)]} if len(finished) > len(kept) else set()
    if going:
        yield from (
            run.name
            for run in runs
            if run.name in going or (not run.finished and name_order(run.name) < oldest)
        )


def _dates(runs: list[_Run], now: datetime) -> dict[str, datetime]:
    """Returns when each run began; one dated in the future counts as begun with the run that
    finished after it.
    """
    dates, following = dict[str, datetime](), now
    for run in reversed(runs):
        began = _began(run.name)
        following = began if began <= now else following
        dates[run.name] = following
    return dates


def _began(name: str) -> datetime:
    """Returns when a run of that name began; raises `ValueError` for a month 13, which is no name
    of ours.
    """
    return datetime.strptime(name_order(name)[0], "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)


def _is_run(output: int, name: str) -> bool:
    if not RUN_NAME.fullmatch(name) or not _is_folder(output, name):
        return False
    try:
        _began(name)
    except ValueError:
        return False
    return any(_is_file(output, f"{name}/{file}") for file in (RUN_FILE, JOURNAL_FILE))


def _is_folder(at: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
    return False


def _is_file(at: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISREG(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
    return False


def _remove(output: int, name: str, aside: str, known: Collection[str]) -> str:
    """Removes one run and returns "", or returns why it stays, under its own name."""
    if (why := _foreign(output, name, known)) is not None:
        return why
    if aside != name:
        os.rename(name, aside, src_dir_fd=output, dst_dir_fd=output)
    try:
        _empty(output, aside, known)
        os.rmdir(aside, dir_fd=output)
    except OSError as e:
        if aside != name:
            os.rename(aside, name, src_dir_fd=output, dst_dir_fd=output)
        if e.errno == errno.ENOTEMPTY:
            return "something came into it meanwhile"
        return f"it cannot be removed: {e.strerror}"
    return ""


def _foreign(output: int, name: str, known: Collection[str]) -> str | None:
    """Returns what speaks against removing the folder, or None."""
    try:
        with _folder(output, name) as fd:
            for entry in _entries(fd):
                if entry == _TRACES and _is_folder(fd, entry):
                    with _folder(fd, entry) as traces:
                        strange = [
                            e
                            for e in _entries(traces)
                            if not (e.endswith(".pcap") and _is_file(traces, e))
                        ]
                    if strange:
                        return f"{_TRACES}/{strange[0]} is none of ours"
                elif not (_ours(entry, known) and _is_file(fd, entry)):
                    return f"{entry} is none of ours"
    except OSError as e:
        return f"it cannot be read: {e.strerror}"
    return None


def _ours(entry: str, known: Collection[str]) -> bool:
    part = _PART.fullmatch(entry)
    return (part[1] if part else entry) in known


def _empty(output: int, name: str, known: Collection[str]) -> None:
    with _folder(output, name) as fd:
        # run.json last: until it goes, a run that cannot be removed is still a run.
        for entry in sorted(_entries(fd), key=lambda entry: entry in (RUN_FILE, JOURNAL_FILE)):
            if entry == _TRACES and _is_folder(fd, entry):
                with _folder(fd, entry) as traces:
                    for file in _entries(traces):
                        if file.endswith(".pcap"):
                            os.unlink(file, dir_fd=traces)
                os.rmdir(entry, dir_fd=fd)
            elif _ours(entry, known):
                os.unlink(entry, dir_fd=fd)


@contextlib.contextmanager
def _folder(at: int, name: str) -> Iterator[int]:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        yield fd
    finally:
        os.close(fd)
