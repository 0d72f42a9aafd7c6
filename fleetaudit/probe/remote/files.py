"""Reads and writes small files of /proc and /etc."""

import errno
import os
from typing import Any, Callable, Iterator, List

from .constants import ABSENT, ERRORS, MAX_COUNT
from .errors import errno_of, error_name

READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK  # a FIFO must not block


def read_descriptor(fd, limit):
    # type: (int, int) -> bytes
    """Returns up to `limit` bytes of a file descriptor."""
    chunks = []  # type: List[bytes]
    while limit > 0:
        chunk = os.read(fd, limit)
        if not chunk:
            break
        chunks.append(chunk)
        limit -= len(chunk)
    return b"".join(chunks)


def read_file(path, limit=65536):
    # type: (str, int) -> str
    """Returns the beginning of a file as text, at most `limit` bytes; raises OSError."""
    fd = os.open(path, READ_FLAGS)
    try:
        return read_descriptor(fd, limit).decode("utf-8", "replace")
    finally:
        os.close(fd)


def note_unreadable(notes, path, error):
    # type: (List[str], str, BaseException) -> None
    notes.append("%s cannot be read: %s" % (path, error_name(error)))


def read_file_noted(path, notes, limit=65536):
    # type: (str, List[str], int) -> str
    """Returns the beginning of a file as text, "" if it cannot be read (noted if it exists)."""
    try:
        return read_file(path, limit)
    except ERRORS as e:
        if errno_of(e) not in ABSENT:
            note_unreadable(notes, path, e)
        return ""


def file_lines(path):
    # type: (str) -> Iterator[bytes]
    """Yields the lines of a file; raises OSError, and ValueError for a line that is too long."""
    fd, rest = os.open(path, READ_FLAGS), b""
    try:
        chunk = os.read(fd, 65536)
        while chunk:
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield line
            if len(rest) > 65536:
                raise ValueError("a line without an end")
            chunk = os.read(fd, 65536)
        if rest:
            yield rest
    finally:
        os.close(fd)


def write_file(path, text):
    # type: (str, str) -> None
    """Writes a file of /proc by one system call; raises OSError, and ValueError for other text than
    ASCII.
    """
    fd = open_to_write(path)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)


def open_to_write(path):
    # type: (str) -> int
    """Returns a descriptor of a file of /proc; raises OSError. Something else may be in its place,
    which must stay as it is: only file systems without storage have no blocks.
    """
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    if os.fstatvfs(fd).f_blocks:
        os.close(fd)
        raise OSError(errno.EINVAL, "not a file of /proc")
    return fd


def parse_count(text, base=10, most=MAX_COUNT):
    # type: (Any, int, int) -> int
    """Returns the number in a file's text; raises ValueError unless it is from 0 to `most`."""
    value = int(text, base)
    if not 0 <= value <= most:
        raise ValueError("%d is not from 0 to %d" % (value, most))
    return value


def value_or_note(notes, subject, read, default):
    # type: (List[str], str, Callable[[], Any], Any) -> Any
    """Returns `read()`, or `default` and a note if that fails: one odd file costs one value."""
    try:
        return read()
    except ERRORS as e:
        problem = error_name(e)
    except Exception as e:
        problem = "%s: %s" % (type(e).__name__, e)
    notes.append(("%s cannot be read: %s" % (subject, problem))[:1000])
    return default
