"""The lock of an output folder: one run at a time writes there.

The kernel releases the lock of a process that dies (flock(2)).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from fleetaudit.errors import LockedError

from .disk import close_after_use, output_errors
from .names import LOCK_FILE


@contextlib.contextmanager
def hold_lock(output: Path) -> Iterator[None]:
    """Holds the lock of an output folder; creates the folder if needed.

    Raises `LockedError` at once if another process holds the lock, and `OutputError`.
    """
    with output_errors(output):
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(
            output / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    try:
        with output_errors(output / LOCK_FILE, "cannot be locked"):
            _lock(fd, output)
        with output_errors(output / LOCK_FILE):  # for people only: flock holds the lock
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        close_after_use(fd)


def refuse_if_locked(output: Path) -> None:
    """Raises `LockedError` if another process holds the lock; creates nothing and holds nothing.

    The message names that process by its id, and what to do. An output folder that does not exist
    is not locked.
    """
    try:
        fd = os.open(output / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # nobody holds it, or `hold_lock` will report the error
    try:
        with contextlib.suppress(OSError):  # `hold_lock` will report it
            _lock(fd, output)
    finally:
        close_after_use(fd)


def _lock(fd: int, output: Path) -> None:
    """Locks an open lock file; raises `LockedError` if another process has locked it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"{output}: another run holds this folder ({describe_holder(fd)}); wait for it, or"
            " write elsewhere with -o"
        ) from None


def describe_holder(fd: int) -> str:
    """Returns the process that an open lock file names."""
    pid = b""
    with contextlib.suppress(OSError):
        pid = os.pread(fd, 20, 0).strip()
    return f"process {pid.decode()}" if pid.isdigit() else "another process"
