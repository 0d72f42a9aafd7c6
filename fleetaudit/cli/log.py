"""The log: warnings on stderr, and each stage of each attempt in the file of FLEETAUDIT_LOG_PATH.

Rules: text of hosts is sanitized. What cannot be written never ends a run.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from typing import TextIO

from fleetaudit.errors import ConfigError

from . import console

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
            console.print_message(
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
        return "\n".join((message, *map(console.sanitize_indented, lines)))

    def _filled(self, record: logging.LogRecord) -> logging.LogRecord:
        """Returns the record with message and time, as `logging.Formatter.format` makes them."""
        record.message = record.getMessage()
        record.asctime = self.formatTime(record) if self.usesTime() else ""
        return record
