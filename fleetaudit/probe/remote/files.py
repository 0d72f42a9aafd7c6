"""Reads small files of /proc and /etc."""

import os

from .constants import ABSENT, ERRORS, MAX_COUNT
from .errors import name_of, number_of


def read(path, limit=65536):
    """Returns the beginning of a file as text, at most `limit` bytes; raises OSError. A FIFO does not block it."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        chunks = []
        while limit > 0:
            chunk = os.read(fd, limit)
            if not chunk:
                break
            chunks.append(chunk)
            limit -= len(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode("utf-8", "replace")


def read_or(path, instead, limit=65536):
    """Returns the beginning of a file as text, or `instead` where it cannot be read."""
    try:
        return read(path, limit)
    except ERRORS:
        return instead


def read_noted(path, notes, limit=65536):
    """Returns the beginning of a file as text, "" if it cannot be read; adds to `notes` unless it is absent."""
    try:
        return read(path, limit)
    except ERRORS as e:
        if number_of(e) not in ABSENT:
            notes.append("%s cannot be read: %s" % (path, name_of(e)))
        return ""


def lines_of(path):
    """Yields the lines of a file as bytes; raises OSError, and ValueError for one that is longer than /proc has any."""
    fd, rest = os.open(path, os.O_RDONLY | os.O_NONBLOCK), b""
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


def count_of(text, base=10, most=MAX_COUNT):
    """Returns the number in a file's text; raises ValueError if it is not a number from 0 to `most`."""
    value = int(text, base)
    if not 0 <= value <= most:
        raise ValueError("%d is not from 0 to %d" % (value, most))
    return value


def guarded(notes, what, ask, instead):
    """Returns what `ask` returns, or `instead` with a note on `what` where that fails: an odd file loses one answer."""
    try:
        return ask()
    except Exception as e:
        how = name_of(e) if isinstance(e, ERRORS) else "%s: %s" % (type(e).__name__, e)
        notes.append(("%s cannot be read: %s" % (what, how))[:1000])
        return instead


def write(path, text):
    """Writes a file of /proc by one system call."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
