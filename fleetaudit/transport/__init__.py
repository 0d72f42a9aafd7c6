"""Moves bytes: a command and its stdin go to a target, stdout and stderr come back, under one
deadline.

Rules: a transport knows neither JSON nor scenarios. It never waits without a limit, never returns
more than `Limits` allows, and fails only with `TransportError` (stage, reason, next command to
type). Only its own module imports its library, and imports it late.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fleetaudit.model import Stage

StageListener = Callable[[Stage, str], None]
"""Is called when a stage has passed, with a few words about it: an address, a key."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which everything about one host must end, in seconds of the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Returns the deadline `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Returns the remaining seconds, at least 0."""
        return max(0.0, self.at - time.monotonic())

    def within(self, seconds: float) -> Deadline:
        """Returns the deadline `seconds` from now, or this one if it comes earlier."""
        return _Sooner(time.monotonic() + seconds, self)


@dataclass(frozen=True, slots=True)
class _Sooner(Deadline):
    """A deadline within an outer deadline, which is moved earlier if the run stops."""

    whole: Deadline

    def remaining(self) -> float:
        """Returns the remaining seconds of the earlier one."""
        return min(Deadline.remaining(self), self.whole.remaining())


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Maximum output of a command, in bytes; a stream that exceeds it ends the command."""

    stdout: int = 8 * 1024 * 1024
    stderr: int = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The output of a command.

    `exit_status` is None if there is none; `cut` is the stream that exceeded its limit, or "".
    `nonce` is that of the request that was sent, None for the caller's own; "" for an output that
    was recorded.
    """

    stdout: bytes
    stderr: bytes
    exit_status: int | None
    cut: str = ""
    nonce: str | None = None


def os_error_text(error: OSError) -> str:
    """Returns the operating system's words for an error, in lower case."""
    return (error.strerror or str(error)).lower()


def ignore_stage(stage: Stage, found: str) -> None:
    """Does nothing: a `StageListener` for callers that need none."""
