"""Reads files whose paths come from users and inventories: regular files of a bounded size only.

Opening a FIFO would wait for a writer, and opening a device may have side effects; /dev/zero never
ends.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_CHUNK = 1024 * 1024
_NULL = os.makedev(1, 3)  # /dev/null on Linux, whatever it is called


class UnsuitableFileError(OSError):
    """A pipe, a socket, a device, or a file that is larger than allowed."""


def expand_home(path: str | Path) -> Path:
    """Returns a path with its ~ or ~user expanded; unchanged if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def read_first_bytes(path: Path, most: int) -> bytes:
    """Returns at most the first `most` bytes of a regular file; raises OSError, also for a pipe or
    a device.
    """
    return _read_regular(path, most)[0]


def read_file(path: Path, most: int) -> bytes:
    """Returns the bytes of a regular file, and b"" for /dev/null, which means "no file" in OpenSSH.

    Raises OSError, also for a pipe, another device, or more than `most` bytes.
    """
    return read_file_and_status(path, most)[0]


def read_file_and_status(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    """Returns what `read_file` returns, and the status of the file that was read."""
    info = path.stat()
    if is_null_device(info):
        return b"", info
    data, info = _read_regular(path, most + 1)
    if len(data) > most:
        raise _too_large(most)
    return data, info


def check_file(path: Path, most: int) -> None:
    """Raises OSError if another program that reads the file would wait for it, or read more than
    `most` bytes.

    If the file system does not answer, this call waits instead of that program.
    """
    info = path.stat()
    if is_null_device(info) or stat.S_ISDIR(info.st_mode):
        return  # no program can read a folder
    if info.st_size > most:
        raise _too_large(most)
    _read_regular(path, 1)


def check_regular(info: os.stat_result) -> None:
    """Raises OSError if a status is not that of a regular file.

    `IsADirectoryError` for a folder, `UnsuitableFileError` for everything else.
    """
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(info.st_mode):
        raise UnsuitableFileError(
            errno.EINVAL, "it is a pipe, a socket or a device, not a regular file"
        )


def is_null_device(info: os.stat_result) -> bool:
    """Returns whether a status is that of /dev/null."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == _NULL


def _too_large(most: int) -> UnsuitableFileError:
    """Returns the error for a file of more than `most` bytes."""
    return UnsuitableFileError(errno.EFBIG, f"it has more than {most} bytes")


def _read_regular(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    """Returns at most `most` bytes of a regular file, and its status."""
    check_regular(path.stat())
    # O_NONBLOCK: it may have become a FIFO meanwhile, and some files of /proc wait for data.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        info = os.fstat(fd)
        check_regular(info)
        return _read(fd, most), info
    finally:
        os.close(fd)


def _read(fd: int, most: int) -> bytes:
    """Returns at most `most` bytes from a file descriptor."""
    data = bytearray()
    try:
        while len(data) < most:
            part = os.read(fd, min(_CHUNK, most - len(data)))
            if not part:
                break
            data += part
    except BlockingIOError as e:
        # /proc/kmsg looks like a regular file, and is empty until the kernel logs.
        raise UnsuitableFileError(
            errno.EINVAL, "it is a special file of the kernel, not a regular file"
        ) from e
    return bytes(data)
