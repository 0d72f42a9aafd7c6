"""Takes down how far one host came and when: what a transport tells, with the time between. Pure.

Rules: the clock comes in as an argument. One thread writes, and whoever reads gets what there is
until then, for a connection may be left behind while it still tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fleetaudit.model import Stage


class PassedStage(NamedTuple):
    """A stage that lies behind: what it came to, and after how many seconds since the one before."""

    stage: Stage
    found: str
    seconds: float


class StageRecorder:
    """Takes down when which stage of one host was passed, by a `clock` in seconds; a new attempt
    begins anew.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: float | None = None
        self._last = 0.0
        self._ended: float | None = None
        self._heard: tuple[PassedStage, ...] = ()
        self.tries = 0

    def begin(self) -> None:
        """Starts an attempt."""
        self.tries, self._heard, self._ended = self.tries + 1, (), None
        self._last = self._clock()
        self._first = self._last if self._first is None else self._first

    def passed(self, stage: Stage, what: str) -> None:
        """Takes down that a stage lies behind; it is a transport's `Passed`."""
        now = self._clock()
        self._heard, self._last = (*self._heard, PassedStage(stage, what, now - self._last)), now

    def end(self) -> None:
        """Ends the attempt, however it went."""
        self._ended = self._clock()

    def told(self) -> StageRecord:
        """Returns what was taken down until now."""
        if self._first is None:
            return StageRecord()
        end = self._clock() if self._ended is None else self._ended
        return StageRecord(
            self.tries,
            self._heard,
            rest=max(0.0, end - self._last),
            all=max(0.0, end - self._first),
        )


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What a watch saw: `rest` is the time since the last stage that was passed, `all` that of
    every attempt, in seconds.
    """

    tries: int = 0
    heard: tuple[PassedStage, ...] = ()
    rest: float | None = None
    all: float | None = None
