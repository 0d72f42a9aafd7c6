"""Moving bytes: a command and its stdin go to a target, stdout and stderr come back, under one
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
"""Is told, at the moment when it is so, that a stage lies behind, and in a few words by what: an
address, a key.
"""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock, in seconds, that everything about one host must end by."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Returns the deadline that lies `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Returns the seconds left, never less than 0."""
        return max(0.0, self.at - time.monotonic())

    def within(self, seconds: float) -> Deadline:
        """Returns the deadline `seconds` from now, or this one if it comes earlier."""
        return _Sooner(time.monotonic() + seconds, self)


@dataclass(frozen=True, slots=True)
class _Sooner(Deadline):
    """A deadline of its own within another, which may come early where a run stops."""

    whole: Deadline

    def remaining(self) -> float:
        """Returns the seconds left of the two."""
        return min(Deadline.remaining(self), self.whole.remaining())


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a host may send before it is cut off, in bytes."""

    stdout: int = 8 * 1024 * 1024
    stderr: int = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What came back. `exit_status` is None where none was given; `cut` names the stream that hit
    its limit, or "".
    """

    stdout: bytes
    stderr: bytes
    exit_status: int | None
    cut: str = ""


def os_error_text(error: OSError) -> str:
    """Returns the operating system's words for an error, in lower case."""
    return (error.strerror or str(error)).lower()


def ignore_stage(stage: Stage, what: str) -> None:
    """Takes notice of nothing."""
