"""Reads and writes whole files of an output folder.

A file is written under another name, synced and renamed, so its name never shows a part of it. What
the disk refuses raises `OutputError`. What is read is bounded in size.
"""

from __future__ import annotations

import contextlib
import os
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
def output_errors(path: Path) -> Iterator[None]:
    """Raises `OutputError` for an `OSError`, with the name of the file, or else `path`.

    The message is such as "reports/lock: cannot be written: Permission denied".
    """
    try:
        yield
    except OSError as e:
        name = e.filename if isinstance(e.filename, str) else path
        raise OutputError(f"{name}: cannot be written: {e.strerror or e}") from e


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
            _write_new_file(new, chunks, mode)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    return path


def _write_new_file(path: Path, chunks: Iterable[bytes], mode: int) -> None:
    """Creates a file with this content and syncs it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, mode)
        with open(fd, "wb", closefd=False) as file:
            file.writelines(chunks)
        os.fsync(fd)
    finally:
        os.close(fd)


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
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, fd)  # Python's file objects refuse a folder
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InputError("not a regular file", source=str(path), hint=_HINT)
        yield stack.enter_context(os.fdopen(fd, "rb", closefd=False))


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
