"""Which old runs go, and how they go: only what we wrote ourselves, and never the run that somebody looks at.

Rules: a run is a folder with our kind of name that holds nothing but our kinds of file. Nothing is followed: every
name is opened and removed relative to the open output folder, without symbolic links. A run is renamed before
its files go, so that nobody reads half of it; one in which something foreign turns up gets its name back.
The caller holds the lock of the output folder.
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

from .archive import JOURNAL, LATEST, PLAN, RUN, RUN_NAME, order
from .errors import OutputError

_GONE = re.compile(r"\.(?:" + RUN_NAME.pattern + r")\.\d+\.(?:new|gone)")
_PART = re.compile(r"\.(.+)\.\d+\.part")
_TRACES = "traces"


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays: the newest `runs` finished runs, or those that began in the last `days`; the other one is None."""

    runs: int | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of the runs that were due: names of those `gone`, and why each of the `left` stayed."""

    gone: tuple[str, ...]
    left: tuple[str, ...]


def parse_keep(text: str) -> Keep:
    """Returns what "30d" (days) or "20" (runs) means; raises `ValueError`."""
    match = re.fullmatch(r"([1-9]\d{0,4})(d?)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is neither a number of days (30d) nor a number of runs (20)")
    number = int(match[1])
    return Keep(days=number) if match[2] else Keep(runs=number)


def prune(output: Path, keep: Keep, *, now: datetime, files: Iterable[str], spare: Collection[str] = ()) -> Pruned:
    """Removes the runs in `output` that `keep` does not cover; returns what went and what stayed although it was due.

    `files` are the names that a run of ours may hold beside its own; the runs in `spare`, and the one that `latest`
    points to, always stay. Raises `OutputError`.
    """
    known = frozenset({RUN, JOURNAL, PLAN, *files})
    try:
        fd = os.open(output, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Pruned((), ())
    except OSError as e:
        raise OutputError(f"{output}: cannot be read: {e.strerror}") from e
    try:
        spared = {*spare, _latest(fd)}
        for name in sorted(_entries(fd)):
            if _GONE.fullmatch(name):  # of a process that was killed in between
                _remove(fd, name, name, known)
        gone, left = list[str](), list[str]()
        for name in _due(fd, keep, now):
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
        return Path(os.readlink(LATEST, dir_fd=output)).name
    except OSError:
        return ""


def _due(output: int, keep: Keep, now: datetime) -> Iterator[str]:
    """Yields the names of the runs that go, oldest first."""
    runs = sorted((name for name in _entries(output) if _is_run(output, name)), key=order)
    if keep.days is not None:
        limit = now - timedelta(days=keep.days)
        yield from (name for name in runs if _began(name) < limit)
        return
    # What was never finished does not push out what was.
    finished = [name for name in runs if _is_file(output, f"{name}/{RUN}")]
    if len(finished) > (kept := keep.runs or 1):
        yield from (name for name in runs if order(name) < order(finished[-kept]))


def _began(name: str) -> datetime:
    try:
        return datetime.strptime(order(name)[0], "%Y-%m-%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:  # a month 13: none of ours
        return datetime.max.replace(tzinfo=UTC)


def _is_run(output: int, name: str) -> bool:
    if not RUN_NAME.fullmatch(name) or not _is_folder(output, name):
        return False
    return any(_is_file(output, f"{name}/{file}") for file in (RUN, JOURNAL))


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
                        strange = [e for e in _entries(traces) if not (e.endswith(".pcap") and _is_file(traces, e))]
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
        for entry in sorted(_entries(fd), key=lambda entry: entry in (RUN, JOURNAL)):
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
