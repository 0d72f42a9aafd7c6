"""Reads and writes whole files of an output folder.

A file is written under another name, synced and renamed, so its name never shows a part of it. An
error of the disk is an `OutputError` when it writes, an `InputError` when it reads. What is read is
bounded in size.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from fleetaudit.errors import InputError, NothingToDoError, OutputError

MAX_READ = 1024 * 1024 * 1024
"""The largest run.json or plan that is read, in bytes: 20,000 hosts. A store has no limit."""
_HINT = "expected: the folder of a run, or its run.json"


@contextlib.contextmanager
def output_errors(path: Path, problem: str = "cannot be written") -> Iterator[None]:
    """Raises `OutputError` for an `OSError`, with the name of the file, or else `path`.

    The message is such as "reports/lock: cannot be written: Permission denied".
    """
    try:
        yield
    except OSError as e:
        name = e.filename if isinstance(e.filename, str) else path
        raise OutputError(f"{name}: {problem}: {e.strerror or e}") from e


@contextlib.contextmanager
def input_errors(path: Path) -> Iterator[None]:
    """Raises `InputError` for an `OSError` while `path` is read."""
    try:
        yield
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror or e}", source=str(path)) from e


def close_after_use(fd: int) -> None:
    """Closes a file of which nothing more is needed, whatever the disk says about that.

    What was written to it was synced before. The kernel closes it in any case (close(2)).
    """
    with contextlib.suppress(OSError):
        os.close(fd)


def write_atomically(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o600) -> Path:
    """Writes a file so that its name never shows a part of it; returns `path`.

    `data` are the bytes of the file, whole or in chunks. Raises `OutputError`, and what making the
    chunks raises.
    """
    chunks = (data,) if isinstance(data, bytes) else data
    new = path.parent / f".{path.name}.{os.getpid()}.part"
    with output_errors(path):
        new.unlink(missing_ok=True)  # left by an earlier process with the same number
        try:
            with _new_file(new, chunks, mode):
                new.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong before says more
                new.unlink()
            raise
        sync_folder(path.parent)
    return path


@contextlib.contextmanager
def _new_file(path: Path, chunks: Iterable[bytes], mode: int) -> Iterator[None]:
    """Creates a file with this content and syncs it; it is locked within the `with` block."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(fd, mode)
        with open(fd, "wb", closefd=False) as file:
            file.writelines(chunks)
        os.fsync(fd)
        yield
    finally:
        close_after_use(fd)


def remove_dead_parts(path: Path) -> None:
    """Removes what killed processes left when they wrote the file `path`; raises nothing.

    What a live process writes stays: it is locked, and its name has the number of the process.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.([0-9]+)\.part")
    with contextlib.suppress(OSError):
        for part in path.parent.iterdir():
            match = pattern.fullmatch(part.name)
            if match and not _is_running(int(match[1])):
                _remove_unlocked(part)


def _is_running(pid: int) -> bool:
    """Returns whether a process has this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove_unlocked(path: Path) -> None:
    """Removes a file unless a process, such as one in a container, has locked it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        close_after_use(fd)


def write_all(fd: int, data: memoryview) -> None:
    """Writes all bytes to an open file; raises `OSError`."""
    while data:
        data = data[os.write(fd, data) :]


def sync_folder(path: Path) -> None:
    """Syncs the entries of a folder; raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_bounded(path: Path, limit: int = MAX_READ) -> bytes:
    """Returns the content of a regular file of a run, or its first `limit` bytes.

    Raises `NothingToDoError` if there is no such file, and `InputError` if it is larger than
    `MAX_READ` or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_READ:
            raise InputError(
                f"too large: {size} bytes; the limit is {MAX_READ} bytes",
                source=str(path),
                hint="name the folder of the run: its store can be read at any size",
            )
        # Python allocates as much as is asked for, which a process may not have.
        data: bytes | None = file.read(min(limit, size + 1))
    if data is None:  # a file in /proc that has no data yet
        raise InputError("not a regular file", source=str(path), hint=_HINT)
    return data


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[IO[bytes]]:
    """Opens a regular file of a run for reading, for a `with` block.

    Raises `NothingToDoError` if there is no such file, and `InputError` if it is another kind of
    file or cannot be read.
    """
    fd = _open_for_reading(path)
    with input_errors(path), contextlib.ExitStack() as stack:
        stack.callback(close_after_use, fd)  # Python's file objects refuse a folder
        check_regular(fd, path)
        yield stack.enter_context(os.fdopen(fd, "rb", closefd=False))


def check_regular(fd: int, path: Path) -> None:
    """Raises `InputError` if an open file of a run is not a regular file, but a pipe or a device.

    Raises `OSError` if the disk fails.
    """
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise InputError("not a regular file", source=str(path), hint=_HINT)


def _open_for_reading(path: Path) -> int:
    """Opens a file without waiting; raises `NothingToDoError` or `InputError`."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as e:
        folder = shlex.quote(str(path.parent))
        raise NothingToDoError(
            f"{path}: no such run; to list the runs:  fleetaudit runs -o {folder}"
        ) from e
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}", source=str(path)) from e
