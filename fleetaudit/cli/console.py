"""What reaches the screen and the log: results on stdout, everything else on stderr, nothing that a
terminal obeys.

Rules: only this file and progress.py write to the streams. A reader that went away is no bug.
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
    """Whoever read our output has closed it; there is nobody to tell."""


def open_standard_streams() -> None:
    """Opens what of the three standard streams is closed, so that no file of ours becomes one of
    them.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stderr is None:  # it was closed at the start; print() would write to stdout instead
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 — as long as the process lives


def print_result(text: str) -> None:
    """Writes to stdout at once; raises `OutputError` where that cannot be done."""
    if sys.stdout is None:  # it was closed when we began
        raise ReaderGoneError("standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as e:
        raise _unwritable(e) from e
    except UnicodeEncodeError:  # a locale that lacks our letters
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "replace"))
        sys.stdout.flush()


def print_report(text: str) -> None:
    """Writes a report's text to stdout, in colour where the terminal has it; raises as `print_result` does."""
    from .colour import add_colour, has_colour

    print_result(
        add_colour(text) if sys.stdout is not None and has_colour(sys.stdout, os.environ) else text
    )


def print_bytes(data: bytes) -> None:
    """Writes to stdout what another program reads, as it is in whatever locale; raises as `print_result`
    does.
    """
    if sys.stdout is None:
        raise ReaderGoneError("standard output is closed")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as e:
        raise _unwritable(e) from e


def discard_output() -> None:
    """Drops what stdout still buffers: writing it would fail again when Python closes the stream."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritable(e: OSError) -> OutputError:
    discard_output()
    kind = ReaderGoneError if isinstance(e, BrokenPipeError) else OutputError
    return kind(f"standard output cannot be written: {e.strerror}")


def print_message(text: str) -> None:
    """Writes a line to stderr; each line of `text` is made harmless for a terminal."""
    from fleetaudit.text.sanitize import terminal_line

    try:
        for line in text.splitlines() or [""]:
            blanks = line[: len(line) - len(line.lstrip(" "))]
            print(blanks + terminal_line(line.lstrip(" ")), file=sys.stderr, flush=True)
    except OSError:
        pass  # stderr is closed: the exit status still counts


def width() -> int:
    """Returns how wide a line may be: COLUMNS, else the terminal, else 80; never so narrow that
    words break.
    """
    return max(60, min(shutil.get_terminal_size((80, 24)).columns, 160))


def set_up_log(verbose: int) -> None:
    """Sets up the log: warnings on stderr, with -v retries as well, with -vv each stage of each
    attempt.

    FLEETAUDIT_LOG_PATH always gets each stage, and what stderr would get without -vv.
    """
    path = os.environ.get("FLEETAUDIT_LOG_PATH")
    handlers = list[logging.Handler]()
    if path:
        handlers.append(_log_file(path))
        handlers[0].setFormatter(_Harmless("%(asctime)s %(levelname)s %(message)s"))
    if not path or verbose > 1:
        handler = _Stderr()
        handler.setFormatter(_Harmless("%(levelname)s %(message)s"))
        handler.setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG))
        handlers.append(handler)
    logger = logging.getLogger("fleetaudit")
    logger.handlers[:] = handlers
    logger.propagate = False
    logger.setLevel(min(handler.level for handler in handlers) or logging.DEBUG)


def _log_file(path: str) -> logging.Handler:
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
    return _File(path, os.fdopen(fd, "a", encoding="utf-8"))


class _File(logging.StreamHandler[TextIO]):
    """Writes to the log file; where that fails (a full disk), says so once: a run goes on without
    its log.
    """

    def __init__(self, path: str, stream: TextIO) -> None:
        super().__init__(stream)
        self._path, self._told = path, False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            print_message(
                f"fleetaudit: warning: FLEETAUDIT_LOG_PATH={self._path}: cannot be written:"
                f" {error.strerror}"
            )


class _Stderr(logging.Handler):
    """Writes to the current stderr: while a bar is shown, that is the one that prints above it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:
            pass  # stderr is closed: the exit status still counts
        except Exception:
            self.handleError(record)


class _Harmless(logging.Formatter):
    """Keeps what a host said from forging a line of the log, or moving the cursor where the log is
    a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        from fleetaudit.text.sanitize import terminal_line

        message = terminal_line(self.formatMessage(self._filled(record)))
        if not record.exc_info:
            return message
        trace = self.formatException(record.exc_info).splitlines()
        return "\n".join(
            [
                message,
                *(
                    " " * (len(line) - len(line.lstrip())) + terminal_line(line.lstrip())
                    for line in trace
                ),
            ]
        )

    def _filled(self, record: logging.LogRecord) -> logging.LogRecord:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record) if self.usesTime() else ""
        return record
