"""Writes to the terminal: results on stdout, everything else on stderr.

Rules: only this module, log.py and progress.py write to the streams. Nothing that a terminal would
obey is written. A reader that has closed the stream is not a bug.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from fleetaudit.errors import OutputError


class ReaderGoneError(OutputError):
    """The reader of standard output has closed it, so a message would reach nobody."""


class LenientStream:
    """A stream for what nobody needs, such as progress: writing it never fails.

    A terminal that is closed gives EIO, and a run must not end because of that.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text, or drops it."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream, if that is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_standard_streams() -> None:
    """Opens those of the three standard streams that are closed.

    Otherwise the next file that is opened would become one of them.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stderr is None:  # it was closed at the start; print() would write to stdout instead
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def print_result(text: str) -> None:
    """Writes to stdout at once; raises `OutputError` if that fails."""
    if sys.stdout is None:  # it was closed at the start
        raise ReaderGoneError("standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as e:
        raise _unwritable(e) from e
    except UnicodeEncodeError:  # the encoding of the locale lacks a character
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "replace"))
        sys.stdout.flush()


def print_report(text: str) -> None:
    """Writes the text of a report to stdout, in colour if the terminal has it.

    Raises `OutputError`.
    """
    from .colour import add_colour, has_colour

    print_result(
        add_colour(text) if sys.stdout is not None and has_colour(sys.stdout, os.environ) else text
    )


def print_bytes(data: bytes) -> None:
    """Writes to stdout what another program reads, whatever the locale is; raises `OutputError`."""
    print_chunks((data,))


def print_program(data: bytes) -> None:
    """Writes what is no text to stdout; raises `OutputError`, also if stdout is a terminal."""
    if sys.stdout is not None and sys.stdout.isatty():
        raise OutputError(
            "this is no text, and standard output is a terminal: name a file with -o FILE, or"
            " pipe it into another program"
        )
    print_bytes(data)


def print_chunks(chunks: Iterable[bytes]) -> None:
    """Writes to stdout what another program reads, chunk by chunk; raises `OutputError`."""
    if sys.stdout is None:
        raise ReaderGoneError("standard output is closed")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(chunks)
        sys.stdout.buffer.flush()
    except OSError as e:
        raise _unwritable(e) from e


def discard_output() -> None:
    """Drops what stdout has buffered: writing it would fail again when Python closes the stream."""
    if sys.stdout is not None:
        _redirect_to_nowhere(sys.stdout)


def settle_streams() -> None:
    """Writes what the standard streams have buffered, and drops what cannot be written.

    Python tries again at its end, and a failure there would be the exit status (120).
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:  # a full disk, or a terminal that has gone
            _redirect_to_nowhere(stream)


def _redirect_to_nowhere(stream: TextIO) -> None:
    """Makes the null device of a stream."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _unwritable(e: OSError) -> OutputError:
    """Returns the error of a stream that cannot be written."""
    discard_output()
    kind = ReaderGoneError if isinstance(e, BrokenPipeError) else OutputError
    return kind(f"standard output cannot be written: {e.strerror}")


def print_message(text: str) -> None:
    """Writes a message to stderr; each line of `text` is sanitized for a terminal."""
    try:
        for line in text.splitlines() or [""]:
            print(sanitize_indented(line), file=sys.stderr, flush=True)
    except OSError:
        pass  # stderr is closed: the exit status still counts


def width() -> int:
    """Returns the width of a line: COLUMNS, else that of the terminal, else 80; from 60 to 160."""
    import shutil

    return max(60, min(shutil.get_terminal_size((80, 24)).columns, 160))


def can_draw_bars() -> bool:
    """Returns whether stdout is a terminal whose encoding has the characters of bars."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    try:
        "▁█".encode(sys.stdout.encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def sanitize_indented(line: str) -> str:
    """Returns a line sanitized for a terminal, with its indentation."""
    from fleetaudit.text.sanitize import terminal_line

    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + terminal_line(text)
