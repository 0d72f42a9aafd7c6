"""What reaches the screen and the log: results on stdout, everything else on stderr, nothing that a terminal obeys.

Rules: only this file and progress.py write to the streams. A reader that went away is no bug.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys

from ..errors import ConfigError, OutputError


class ReaderGoneError(OutputError):
    """Whoever read our output has closed it; there is nobody to tell."""


def out(text: str) -> None:
    """Writes to stdout at once; raises `OutputError` where that cannot be done."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as e:
        # What is left in the buffer would fail again when Python closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        kind = ReaderGoneError if isinstance(e, BrokenPipeError) else OutputError
        raise kind(f"standard output cannot be written: {e.strerror}") from e
    except UnicodeEncodeError:  # a locale that lacks our letters
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "replace"))
        sys.stdout.flush()


def tell(text: str) -> None:
    """Writes a line to stderr; each line of `text` is made harmless for a terminal."""
    from ..report.terminal import safe

    try:
        for line in text.splitlines() or [""]:
            blanks = line[: len(line) - len(line.lstrip(" "))]
            print(blanks + safe(line.lstrip(" ")), file=sys.stderr, flush=True)
    except OSError:
        pass  # stderr is closed: the exit status still speaks


def width() -> int:
    """Returns how wide a line may be: COLUMNS, else the terminal, else 80; never so narrow that words break."""
    return max(60, min(shutil.get_terminal_size((80, 24)).columns, 160))


def set_up_log(verbose: int) -> None:
    """Sends the log to FLEETAUDIT_LOG_PATH, else to stderr; warnings, with -v what is tried, with -vv everything."""
    path = os.environ.get("FLEETAUDIT_LOG_PATH")
    handler: logging.Handler
    if path:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            handler = logging.StreamHandler(os.fdopen(fd, "a", encoding="utf-8"))
        except OSError as e:
            raise ConfigError(f"FLEETAUDIT_LOG_PATH={path}: {e.strerror}") from e
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(_Harmless("%(asctime)s %(levelname)s %(message)s" if path else "%(levelname)s %(message)s"))
    logger = logging.getLogger("fleetaudit")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG))


class _Harmless(logging.Formatter):
    """Keeps what a host said from forging a line of the log, or moving the cursor where the log is a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        from ..report.terminal import safe

        message = safe(self.formatMessage(self._filled(record)))
        if not record.exc_info:
            return message
        trace = self.formatException(record.exc_info).splitlines()
        return "\n".join([message, *(" " * (len(line) - len(line.lstrip())) + safe(line.lstrip()) for line in trace)])

    def _filled(self, record: logging.LogRecord) -> logging.LogRecord:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record) if self.usesTime() else ""
        return record
