"""Writes to the terminal and the log: results on stdout, everything else on stderr.

Rules: only this module and progress.py write to the streams. Nothing that a terminal would obey is
written. A reader that has closed the stream is not a bug.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import TextIO

from fleetaudit.errors import ConfigError, OutputError


class ReaderGoneError(OutputError):
    """The reader of standard output has closed it, so a message would reach nobody."""


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
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 — as long as the process lives


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
    if sys.stdout is None:
        raise ReaderGoneError("standard output is closed")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as e:
        raise _unwritable(e) from e


def discard_output() -> None:
    """Drops what stdout has buffered: writing it would fail again when Python closes the stream."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritable(e: OSError) -> OutputError:
    """Returns the error of a stream that cannot be written."""
    discard_output()
    kind = ReaderGoneError if isinstance(e, BrokenPipeError) else OutputError
    return kind(f"standard output cannot be written: {e.strerror}")


def print_message(text: str) -> None:
    """Writes a message to stderr; each line of `text` is sanitized for a terminal."""
    try:
        for line in text.splitlines() or [""]:
            print(_sanitize_indented(line), file=sys.stderr, flush=True)
    except OSError:
        pass  # stderr is closed: the exit status still counts


def width() -> int:
    """Returns the width of a line: COLUMNS, else that of the terminal, else 80; from 60 to 160."""
    return max(60, min(shutil.get_terminal_size((80, 24)).columns, 160))


_LEVELS = {0: logging.WARNING, 1: logging.INFO}
"""The level of stderr by the number of -v."""


def set_up_log(verbose: int) -> None:
    """Sets up the log: warnings on stderr, with -v retries, with -vv each stage of each attempt.

    The file of FLEETAUDIT_LOG_PATH always gets each stage. With it, stderr gets the log only with
    -vv.
    """
    path = os.environ.get("FLEETAUDIT_LOG_PATH")
    handlers = list[logging.Handler]()
    if path:
        handlers.append(_log_file(path))
        handlers[0].setFormatter(_SanitizingFormatter("%(asctime)s %(levelname)s %(message)s"))
    if not path or verbose > 1:
        handlers.append(_StderrHandler())
        handlers[-1].setFormatter(_SanitizingFormatter("%(levelname)s %(message)s"))
        handlers[-1].setLevel(_LEVELS.get(verbose, logging.DEBUG))
    logger = logging.getLogger("fleetaudit")
    logger.handlers[:] = handlers
    logger.propagate = False
    logger.setLevel(min(handler.level for handler in handlers) or logging.DEBUG)


def has_log() -> bool:
    """Returns whether the log is set up."""
    handlers = logging.getLogger("fleetaudit").handlers
    return any(not isinstance(handler, logging.NullHandler) for handler in handlers)


def _log_file(path: str) -> logging.Handler:
    """Returns the handler of the log file; raises `ConfigError`."""
    try:
        # A FIFO blocks: without O_NONBLOCK while nobody reads, with it as soon as its reader is
        # slow.
        fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
        )
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise ConfigError(
                f"FLEETAUDIT_LOG_PATH={path}: a FIFO can block a run; name a regular file"
            )
    except OSError as e:
        raise ConfigError(f"FLEETAUDIT_LOG_PATH={path}: {e.strerror}") from e
    return _FileHandler(path, os.fdopen(fd, "a", encoding="utf-8"))


class _FileHandler(logging.StreamHandler[TextIO]):
    """Writes to the log file; if that fails (a full disk), prints one warning and continues."""

    def __init__(self, path: str, stream: TextIO) -> None:
        super().__init__(stream)
        self._path, self._has_warned = path, False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._has_warned:
            self._has_warned = True
            print_message(
                f"fleetaudit: warning: FLEETAUDIT_LOG_PATH={self._path}: cannot be written:"
                f" {error.strerror}"
            )


class _StderrHandler(logging.Handler):
    """Writes to the current stderr, which prints above the progress bar while that is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:
            pass  # stderr is closed: the exit status still counts
        except Exception:
            self.handleError(record)


class _SanitizingFormatter(logging.Formatter):
    """Sanitizes each line: text of a host must not forge a line or control a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from fleetaudit.text.sanitize import terminal_line

        message = terminal_line(self.formatMessage(self._filled(record)))
        if not record.exc_info:
            return message
        lines = self.formatException(record.exc_info).splitlines()
        return "\n".join((message, *map(_sanitize_indented, lines)))

    def _filled(self, record: logging.LogRecord) -> logging.LogRecord:
        """Returns the record with message and time, as `logging.Formatter.format` makes them."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record) if self.usesTime() else ""
        return record


def _sanitize_indented(line: str) -> str:
    """Returns a line sanitized for a terminal, with its indentation."""
    from fleetaudit.text.sanitize import terminal_line

    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + terminal_line(text)
