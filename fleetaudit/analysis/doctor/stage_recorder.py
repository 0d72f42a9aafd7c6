"""Records which stages of one host were passed, and when. Pure.

Rules: the clock comes in as an argument. One thread writes, and a reader gets what is recorded
until then, because an abandoned connection may still report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from fleetaudit.model import Stage

from .model import JUMP_HOST


class PassedStage(NamedTuple):
    """A stage that was passed: its result in a few words, and the seconds since the one before."""

    stage: Stage
    found: str
    seconds: float

    @property
    def ms(self) -> float:
        """The time in milliseconds, rounded to microseconds."""
        return round(self.seconds * 1000, 3)

    @property
    def is_of_jump_host(self) -> bool:
        """Whether a jump host passed the stage, and not the host itself."""
        return self.found.startswith(JUMP_HOST)


class StageRecorder:
    """Records the stages that one host passes; each attempt starts again.

    `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: float | None = None
        self._last = 0.0
        self._ended: float | None = None
        self._passed: tuple[PassedStage, ...] = ()
        self.attempts = 0

    def begin(self) -> None:
        """Starts an attempt; what an earlier one recorded is forgotten, except its time."""
        self.attempts, self._passed, self._ended = self.attempts + 1, (), None
        self._last = self._clock()
        self._first = self._last if self._first is None else self._first

    def passed(self, stage: Stage, found: str) -> None:
        """Records that a stage was passed; it is a `transport.StageListener`.

        `found` is its result in a few words; that of a jump host begins with JUMP_HOST.
        """
        now = self._clock()
        seconds = now - self._last
        self._passed, self._last = (*self._passed, PassedStage(stage, found, seconds)), now

    def end(self) -> None:
        """Ends the attempt, whether it failed or not."""
        self._ended = self._clock()

    def record(self) -> StageRecord:
        """Returns what was recorded until now."""
        if self._first is None:
            return StageRecord()
        end = self._clock() if self._ended is None else self._ended
        return StageRecord(
            self.attempts,
            self._passed,
            since_last_s=max(0.0, end - self._last),
            total_s=max(0.0, end - self._first),
        )


class StageRecord(msgspec.Struct, frozen=True):
    """What a recorder recorded: the stages of the last of `attempts`.

    `since_last_s` is the time since the last stage that was passed, `total_s` that of every
    attempt, both in seconds; None without an attempt.
    """

    attempts: int = 0
    passed: tuple[PassedStage, ...] = ()
    since_last_s: float | None = None
    total_s: float | None = None

    def stages_of_host(self) -> set[Stage]:
        """Returns the stages that the host itself passed, and no jump host before it."""
        return {each.stage for each in self.passed if not each.is_of_jump_host}
