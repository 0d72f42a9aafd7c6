"""A run's folder: plan and journal while it runs, run.json when it is done, the lock beside it, and
reading it back.

Rules: a folder that is there has its plan and its journal, so that a process killed at any moment
leaves a run that can be resumed. Folders are 0700 and files 0600. A file that is there is whole:
each is written under another name, synced and renamed; only the journal grows in place, a line a
host, and a last line that was cut does not count. Whatever the disk refuses is an `OutputError`;
whatever is read back is bounded and typed before it is believed.

The last run is the one with the greatest `sequence`. A run gets the next number when it finishes,
while the lock is held. No clock is involved, so a run that was dated 2036 by mistake does no harm.
Runs of earlier versions have no number; they come before all others, in the order of their names.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shlex
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from fleetaudit.errors import (
    FleetauditError,
    InputError,
    LockedError,
    NothingToDoError,
    OutputError,
)
from fleetaudit.model import (
    DECODE_ERRORS,
    Audited,
    AuditRun,
    HostResult,
    RunInfo,
    Severity,
)
from fleetaudit.text.json_schema import encode_json, json_schema_of

from .deduplication import for_disk, owners_of, restored

JOURNAL = "hosts.jsonl"
RUN = "run.json"
PLAN = "plan.json"
LATEST = "latest"
LOCK = "lock"
RUN_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6}Z)(?:-([1-9][0-9]{0,3}))?")
"""The name of a run's folder: when it began, and which of that second it is where it is not the
first.
"""
MAX_RUN = 1024 * 1024 * 1024
"""The largest run.json or journal that is read, in bytes; 10,000 hosts with all their evidence are
a third of it.
"""

_APPEND = os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


INFO_WITHIN = 256 * 1024
"""Bytes at the beginning of a run.json that are read for its `RunInfo`."""
_BEGINNING = b'{"format":"fleetaudit-run/1","run":'


class FindingHead(msgspec.Struct, frozen=True):
    """The severity of one finding, and whether it is waived."""

    severity: Severity
    waived: str | None = None


class HostHead(msgspec.Struct, frozen=True):
    """The status of one host, the stage at which its audit failed, and its findings."""

    status: str
    stage: str | None = None
    findings: tuple[FindingHead, ...] = ()


class RunHead(msgspec.Struct, frozen=True):
    """Of a run.json: which run it is, and a head for each host."""

    run: RunInfo
    hosts: tuple[HostHead, ...]

    @property
    def interrupted(self) -> bool:
        """Whether the run ended before every host was audited."""
        return any(host.stage == "interrupted" for host in self.hosts)


_head_decoder = msgspec.json.Decoder(RunHead)
_run_decoder = msgspec.json.Decoder(AuditRun)
_host_decoder: msgspec.json.Decoder[HostResult] = msgspec.json.Decoder(HostResult)


# ---- writing
# -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(output: Path) -> Iterator[None]:
    """Holds the lock of an output folder, which is made if need be.

    Raises `LockedError` at once where a living process has it; the kernel frees a dead one's.
    """
    with _disk(output):
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(output / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _lock(fd, output)
        with _disk(output / LOCK):  # the number is for people; the lock is what counts
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(fd)


def refuse_locked(output: Path) -> None:
    """Raises `LockedError` where a living process has the lock of an output folder; makes and holds
    nothing.
    """
    try:
        fd = os.open(output / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # nobody has it, or `locked` will say what is wrong
    try:
        _lock(fd, output)
    finally:
        os.close(fd)


def _lock(fd: int, output: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        by = f"process {holder}" if holder.isdecimal() else "another process"
        raise LockedError(
            f"{output}: another run holds this folder ({by}); wait for it, or write elsewhere"
            " with -o"
        ) from None


def order(name: str) -> tuple[str, int]:
    """Returns what sorts runs' names by when they began: the time, then the number within that
    second.
    """
    match = RUN_NAME.fullmatch(name)
    return (match[1], int(match[2] or 1)) if match else ("", 0)


def run_names(output: Path) -> tuple[str, ...]:
    """Returns the names in an output folder that a run of ours can have, in no order; none where
    there is no folder.
    """
    try:
        return tuple(path.name for path in output.iterdir() if RUN_NAME.fullmatch(path.name))
    except OSError:
        return ()


class RunFolder:
    """A run's folder while the run lasts; a context manager that closes the journal."""

    def __init__(self, output: Path, path: Path, journal: int, length: int = 0) -> None:
        self.output, self.path, self.id = output, path, path.name
        self._journal, self._length = journal, length

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._journal)

    def append(self, result: HostResult) -> None:
        """Adds one host to the journal, so that a process killed now loses only what comes after
        it.
        """
        line = memoryview(encode_json(for_disk(result)) + b"\n")
        with _disk(self.path / JOURNAL):
            try:
                _write(self._journal, line)
            except OSError:
                os.ftruncate(self._journal, self._length)  # half a line helps nobody
                raise
        self._length += len(line)

    def write(self, name: str, data: bytes) -> Path:
        """Writes one whole file of the run, in a folder of its own where `name` has one, and
        returns its path.
        """
        path = self.path / name
        with _disk(path.parent):
            path.parent.mkdir(mode=0o700, exist_ok=True)
        return write_whole(path, data)

    def finish(self, run: AuditRun) -> Path:
        """Writes run.json, which makes this a finished run; returns its path."""
        with _disk(self.path / JOURNAL):
            os.fsync(self._journal)
        return self.write(RUN, encode_run(run))


def point_latest(output: Path, name: str) -> None:
    """Makes `latest` point to a run, in one step: a reader sees either the old run or this one.

    `jobs.takes_latest` decides whether a run gets it.
    """
    link, new = output / LATEST, output / f".{LATEST}.{os.getpid()}"
    with _disk(link):
        new.unlink(missing_ok=True)
        new.symlink_to(name, target_is_directory=True)
        try:
            new.replace(link)
        except OSError as e:
            new.unlink()
            raise OSError(e.errno, e.strerror, str(link)) from e
        _sync_folder(output)


def create(output: Path, started: datetime, plan: bytes = b"") -> RunFolder:
    """Makes a new run's folder, named after the moment it began, in `output`; the caller holds that
    folder's lock.

    `plan` is what plan.json holds, the record of what is asked. The folder appears under its name
    with its plan and an empty journal, in one step.
    """
    stem = started.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    with _disk(output):
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = output / f".{stem}.{os.getpid()}.new"
        shutil.rmtree(new, ignore_errors=True)  # of an earlier process that had this number
        new.mkdir(mode=0o700)
        try:
            if plan:
                write_whole(new / PLAN, plan)
            journal = os.open(new / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _APPEND, 0o600)
            try:
                return RunFolder(output, _name(new, output, stem), journal)
            except BaseException:
                os.close(journal)
                raise
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise


def _name(new: Path, output: Path, stem: str) -> Path:
    """Gives a finished new folder the first name of its second that is free, and returns it."""
    for n in range(1, 10_000):
        path = output / (stem if n == 1 else f"{stem}-{n}")
        if os.path.lexists(path):  # rename would replace an empty folder
            continue
        try:
            return new.rename(path)
        except OSError as e:
            if e.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
    raise FileExistsError(errno.EEXIST, "ten thousand runs of this second are there already")


def reopen(path: Path) -> RunFolder:
    """Opens the folder of a run that was begun, to go on with it; the caller holds the lock of the
    folder around it.

    A last line of the journal that was cut is taken off. Raises `OutputError`.
    """
    with _disk(path / JOURNAL):
        journal = os.open(path / JOURNAL, os.O_RDWR | _APPEND)
        try:
            length = _whole_lines(journal)
            os.ftruncate(journal, length)
        except BaseException:
            os.close(journal)
            raise
    return RunFolder(path.parent, path, journal, length)


def _whole_lines(fd: int) -> int:
    """Returns how many bytes of a file are whole lines."""
    size = os.fstat(fd).st_size
    while size:
        start = max(0, size - 65536)
        newline = os.pread(fd, size - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        size = start
    return 0


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> Path:
    """Writes a file so that its name never shows a part of it; returns `path`, raises
    `OutputError`.
    """
    new = path.parent / f".{path.name}.{os.getpid()}.part"
    with _disk(path):
        new.unlink(missing_ok=True)  # of an earlier process that had this number
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.fchmod(fd, mode)
                _write(fd, memoryview(data))
                os.fsync(fd)
            finally:
                os.close(fd)
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    return path


def encode_run(run: AuditRun) -> bytes:
    """Returns the bytes of run.json, in which evidence that several hosts share is written once."""
    return encode_json(replace(run, hosts=tuple(map(for_disk, run.hosts)))) + b"\n"


def run_schema() -> bytes:
    """Returns the JSON Schema of run.json, as `fleetaudit/schema/run.schema.json` has it."""
    return json_schema_of(AuditRun, "fleetaudit-run/1")


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        name = e.filename if isinstance(e.filename, str) else path
        raise OutputError(f"{name}: cannot be written: {e.strerror or e}") from e


# ---- reading
# -------------------------------------------------------------------------------------------------------


def read_run(path: Path) -> AuditRun:
    """Returns the run in a folder or in a run.json.

    Raises `NothingToDoError` where there is none, and `InputError` for a file that is no run of
    ours or for a run that was never finished.
    """
    file = _run_file(path)
    text = _read(file)
    try:
        run = _run_decoder.decode(text)
    except DECODE_ERRORS as e:
        raise InputError(
            f"not a run of fleetaudit: {e}", source=str(file), hint=f"wanted: the {RUN} of a run"
        ) from e
    seen = set[str]()
    for host in run.hosts:
        if host.name in seen:
            raise InputError(f"the host {host.name!r} is in it twice", source=str(file))
        seen.add(host.name)
    unknown = {o.scenario for host in run.hosts for o in host.observations} - {
        s.name for s in run.scenarios
    }
    if unknown:
        raise InputError(
            f"it has observations of {min(unknown)!r} and no such scenario", source=str(file)
        )
    return replace(run, hosts=restored(run.hosts))


def read_head(path: Path) -> RunHead:
    """Returns what a run says of itself, and how far it came, without most of what was seen; raises
    as `read_run`.
    """
    file = _run_file(path)
    try:
        return _head_decoder.decode(_read(file))
    except DECODE_ERRORS as e:
        raise InputError(
            f"not a run of fleetaudit: {e}", source=str(file), hint=f"wanted: the {RUN} of a run"
        ) from e


def read_info(path: Path) -> RunInfo:
    """Returns the `RunInfo` of a run, if possible from the beginning of the file; raises as
    `read_run`.
    """
    file = _run_file(path)
    return _info_at_the_beginning(_read(file, INFO_WITHIN)) or read_head(file).run


def read_info_in(folder: int) -> RunInfo | None:
    """Returns the `RunInfo` of the run in an open folder, None if it cannot be read; follows no
    link.
    """
    try:
        fd = os.open(RUN, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(fd, "rb") as file:
            return _info_at_the_beginning(file.read(INFO_WITHIN))
    except OSError:
        return None


def _info_at_the_beginning(text: bytes) -> RunInfo | None:
    """Returns the `RunInfo` in the first bytes of a run.json, None if `encode_run` did not write
    them.
    """
    if not text.startswith(_BEGINNING):
        return None
    try:
        info, _ = json.JSONDecoder().raw_decode(text[len(_BEGINNING) :].decode(errors="ignore"))
        return msgspec.convert(info, RunInfo)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


class Finished(NamedTuple):
    """A finished run of an output folder."""

    path: Path
    info: RunInfo


class Runs(NamedTuple):
    """The runs of an output folder that have a run.json: the finished ones, the last finished
    first; those that were interrupted; and why others cannot be read.
    """

    finished: tuple[Finished, ...]
    interrupted: tuple[Finished, ...]
    unreadable: tuple[tuple[Path, FleetauditError], ...]


def runs_in(output: Path) -> Runs:
    """Returns the runs of an output folder that have a run.json, none where there is no folder.

    A copy of a run under another name, such as a golden run, is left out.
    """
    finished, interrupted, unreadable = (
        list[Finished](),
        list[Finished](),
        list[tuple[Path, FleetauditError]](),
    )
    for name in run_names(output):
        path = output / name
        try:
            if path.is_symlink() or not (path / RUN).is_file():
                continue
            run = Finished(path, read_info(path))
            cut_short = not run.info.sequence and read_head(path).interrupted
        except FleetauditError as e:
            unreadable.append((path, e))
            continue
        except OSError:  # a folder that may not be read
            continue
        if run.info.id == name:
            (interrupted if cut_short else finished).append(run)
    finished.sort(key=lambda run: finish_order(run.info), reverse=True)
    interrupted.sort(key=lambda run: finish_order(run.info), reverse=True)
    return Runs(tuple(finished), tuple(interrupted), tuple(unreadable))


def finish_order(info: RunInfo) -> tuple[int, tuple[str, int]]:
    """Returns the sort key that orders runs by when they finished."""
    return info.sequence, order(info.id)


def read_latest(output: Path) -> RunInfo | None:
    """Returns the `RunInfo` of the run that `latest` points to, None if no such run can be read."""
    try:
        return read_info(output / LATEST)
    except FleetauditError:
        return None


def _run_file(path: Path) -> Path:
    file = path / RUN if path.is_dir() else path
    if file != path and not file.exists() and (path / JOURNAL).exists():
        hosts = len(read_journal(path / JOURNAL))
        raise InputError(
            f"never finished: its journal holds {hosts} host{'' if hosts == 1 else 's'}, and there"
            f" is no {RUN}",
            source=str(path),
            hint=f"finish it:  fleetaudit run --resume {shlex.quote(str(path))}",
        )
    return file


def read_plan(path: Path) -> bytes:
    """Returns what plan.json of a run's folder holds; raises `NothingToDoError` where there is no
    run.
    """
    if not (path / PLAN).exists() and (path / JOURNAL).exists():
        raise InputError(
            f"it has no {PLAN}, which says what it was asked, and so cannot be resumed",
            source=str(path),
            hint=f"run it again from its beginning; what was gathered stays in {JOURNAL}",
        )
    return _read(path / PLAN)


def read_journal(
    path: Path, note: Callable[[str], None] = lambda _: None
) -> tuple[HostResult, ...]:
    """Returns the hosts of a journal, in the order they came in, without a last line that was cut.

    A host whose evidence is that of another, of which the journal knows nothing, is as good as not
    audited: left out. So is a host whose line is damaged, with a call of `note`: one line never
    prevents a run from being finished.
    """
    text = _read(path)
    whole = text[: text.rfind(b"\n") + 1]
    hosts = list[HostResult]()
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            hosts.append(_host_decoder.decode(line))
        except DECODE_ERRORS as e:
            note(f"{path}:{number}: not a valid result; that host is audited again: {e}")
    audited = {host.name for host in hosts if isinstance(host, Audited)}
    return restored(host for host in hosts if owners_of(host) <= audited)


class _JournalLine(msgspec.Struct, frozen=True):
    """One line of a journal: the host, and the stage at which its audit failed."""

    name: str
    stage: str | None = None


def count_done(journal: Path) -> int:
    """Returns how many hosts of a journal have a result that resuming the run keeps; raises as
    `read_journal`.
    """
    decoder = msgspec.json.Decoder(_JournalLine)
    done = set[str]()
    for line in _read(journal).split(b"\n")[:-1]:
        with contextlib.suppress(*DECODE_ERRORS):  # a damaged line is audited again
            host = decoder.decode(line)
            if host.stage != "interrupted":
                done.add(host.name)
    return len(done)


def _read(path: Path, most: int = MAX_RUN) -> bytes:
    """Returns the file, or its first `most` bytes."""
    try:
        # Without O_NONBLOCK the opening of a pipe would wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as e:
        raise NothingToDoError(
            f"{path}: no such run; `ls {path.parent}` shows what there is"
        ) from e
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}", source=str(path)) from e
    with contextlib.ExitStack() as held:
        held.callback(os.close, fd)  # Python's own files refuse a folder
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise InputError(
                "not a file", source=str(path), hint=f"wanted: a run's folder or its {RUN}"
            )
        file = held.enter_context(os.fdopen(fd, "rb", closefd=False))
        if info.st_size > MAX_RUN:
            raise InputError(
                f"{info.st_size} bytes, more than the {MAX_RUN} that are read", source=str(path)
            )
        data: bytes | None = file.read(most)
    if data is None:  # a file of /proc that has nothing to read yet
        raise InputError(
            "not a file", source=str(path), hint=f"wanted: a run's folder or its {RUN}"
        )
    return data
