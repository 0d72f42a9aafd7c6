"""A run's folder: the journal while it runs, run.json when it is done, the lock beside it, and reading it back.

Rules: folders are 0700 and files 0600. A file that is there is whole: each is written under another name, synced and
renamed; only the journal grows in place, a line a host, and a last line that was cut does not count. Whatever the disk
refuses is an `OutputError`; whatever is read back is bounded and typed before it is believed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import inspect
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from .errors import InputError, LockedError, NothingToDoError, OutputError
from .model import AuditRun, HostResult

JOURNAL = "hosts.jsonl"
RUN = "run.json"
LATEST = "latest"
LOCK = "lock"
MAX_RUN = 1024 * 1024 * 1024
"""The largest run.json or journal that is read, in bytes; 10,000 hosts with all their evidence are a third of it."""

_run_decoder = msgspec.json.Decoder(AuditRun)
_host_decoder: msgspec.json.Decoder[HostResult] = msgspec.json.Decoder(HostResult)


# ---- writing -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(output: Path) -> Iterator[None]:
    """Holds the lock of an output folder, which is made if need be.

    Raises `LockedError` at once where a living process has it; the kernel frees a dead one's.
    """
    with _disk(output):
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(output / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            by = f"process {holder}" if holder.isdecimal() else "another process"
            raise LockedError(
                f"{output}: another run holds this folder ({by}); wait for it, or write elsewhere with -o"
            ) from None
        with _disk(output / LOCK):  # the number is for people; the lock is what counts
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(fd)


class RunFolder:
    """A run's folder while the run lasts; a context manager that closes the journal."""

    def __init__(self, output: Path, path: Path, journal: int) -> None:
        self.output, self.path, self.id = output, path, path.name
        self._journal, self._length = journal, 0

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._journal)

    def append(self, result: HostResult) -> None:
        """Adds one host to the journal, so that a process killed now loses only what comes after it."""
        line = memoryview(msgspec.json.encode(result) + b"\n")
        with _disk(self.path / JOURNAL):
            try:
                _write(self._journal, line)
            except OSError:
                os.ftruncate(self._journal, self._length)  # half a line helps nobody
                raise
        self._length += len(line)

    def write(self, name: str, data: bytes) -> Path:
        """Writes one whole file of the run and returns its path."""
        return write_whole(self.path / name, data)

    def finish(self, run: AuditRun) -> Path:
        """Writes run.json, which makes this a finished run; returns its path."""
        with _disk(self.path / JOURNAL):
            os.fsync(self._journal)
        return self.write(RUN, encode_run(run))

    def point_latest(self) -> None:
        """Makes `latest` point to this run, in one step: whoever looks sees the run before or this one."""
        link, new = self.output / LATEST, self.output / f".{LATEST}.{os.getpid()}"
        with _disk(link):
            new.unlink(missing_ok=True)
            new.symlink_to(self.id, target_is_directory=True)
            try:
                new.replace(link)
            except OSError:
                new.unlink()
                raise
            _sync_folder(self.output)


def create(output: Path, started: datetime) -> RunFolder:
    """Makes a new run's folder, named after the moment it began, in `output`; the caller holds that folder's lock."""
    stem = started.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    with _disk(output):
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        for n in range(1, 10_000):
            path = output / (stem if n == 1 else f"{stem}-{n}")
            try:
                path.mkdir(mode=0o700)
                break
            except FileExistsError:
                continue
        else:
            raise FileExistsError(errno.EEXIST, "ten thousand runs of this second are there already")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        return RunFolder(output, path, os.open(path / JOURNAL, flags, 0o600))


def write_whole(path: Path, data: bytes) -> Path:
    """Writes a file so that its name never shows a part of it, mode 0600; returns `path`, raises `OutputError`."""
    new = path.parent / f".{path.name}.{os.getpid()}.part"
    with _disk(path):
        new.unlink(missing_ok=True)  # of an earlier process that had this number
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
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
    """Returns the bytes of run.json."""
    return msgspec.json.encode(run) + b"\n"


def run_schema() -> bytes:
    """Returns the JSON Schema of run.json, as `fleetaudit/schema/run.schema.json` has it."""
    schema: dict[str, Any] = msgspec.json.schema(AuditRun)
    for noun in schema["$defs"].values():
        if "description" in noun:  # a docstring, which Python 3.13 dedents and earlier ones do not
            noun["description"] = inspect.cleandoc(noun["description"])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "fleetaudit-run/1"}
    return msgspec.json.format(msgspec.json.encode(head | schema), indent=2) + b"\n"


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


# ---- reading -------------------------------------------------------------------------------------------------------


def read_run(path: Path) -> AuditRun:
    """Returns the run in a folder or in a run.json.

    Raises `NothingToDoError` where there is none, and `InputError` for a file that is no run of ours or for a run that
    was never finished.
    """
    file = path / RUN if path.is_dir() else path
    if file != path and not file.exists() and (path / JOURNAL).exists():
        hosts = len(read_journal(path / JOURNAL))
        raise InputError(
            f"never finished: its journal holds {hosts} host{'' if hosts == 1 else 's'}, and there is no {RUN}",
            source=str(path),
            hint="run it again; what was gathered stays in " + JOURNAL,
        )
    text = _read(file)
    try:
        run = _run_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as e:
        raise InputError(f"not a run of fleetaudit: {e}", source=str(file), hint=f"wanted: the {RUN} of a run") from e
    seen = set[str]()
    for host in run.hosts:
        if host.name in seen:
            raise InputError(f"the host {host.name!r} is in it twice", source=str(file))
        seen.add(host.name)
    return run


def read_journal(path: Path) -> tuple[HostResult, ...]:
    """Returns the hosts of a journal, in the order they came in, without a last line that was cut."""
    text = _read(path)
    whole = text[: text.rfind(b"\n") + 1]
    hosts = list[HostResult]()
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            hosts.append(_host_decoder.decode(line))
        except (msgspec.DecodeError, RecursionError) as e:
            raise InputError(f"not a line of a journal: {e}", source=str(path), line=number) from e
    return tuple(hosts)


def _read(path: Path) -> bytes:
    try:
        # Without O_NONBLOCK the opening of a pipe would wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as e:
        raise NothingToDoError(f"{path}: no such run; `ls {path.parent}` shows what there is") from e
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}", source=str(path)) from e
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise InputError("not a file", source=str(path), hint=f"wanted: a run's folder or its {RUN}")
        if info.st_size > MAX_RUN:
            raise InputError(f"{info.st_size} bytes, more than the {MAX_RUN} that are read", source=str(path))
        return file.read(MAX_RUN)
