"""A time of day, and the days that do not have it."""

from __future__ import annotations

import re
import time
from datetime import date, timedelta

import msgspec

from fleetaudit.errors import UsageError

from . import clock

_DAYS = 731
"""The days after today on which the time of the job must exist."""


class TimeOfDay(msgspec.Struct, frozen=True):
    """A time of day, in the time zone of this machine."""

    hour: int
    minute: int

    def __str__(self) -> str:
        return f"{self.hour:02}:{self.minute:02}"

    @classmethod
    def parse(cls, text: str) -> TimeOfDay:
        """Returns the time of --at; raises `UsageError` for text that is not HH:MM (or H:MM)."""
        match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
        if not match:
            raise UsageError(f"--at {text}: not a time of day; expected one such as 04:17")
        return cls(int(match[1]), int(match[2]))

    def first_day_without(self) -> date | None:
        """Returns the first day within two years that does not have this time of day, if any."""
        today = clock.current_time().date()
        days = (today + timedelta(days=n) for n in range(_DAYS))
        return next((day for day in days if not self._exists_on(day)), None)

    def _exists_on(self, day: date) -> bool:
        """Returns whether the clocks of a day show this time."""
        expected = (day.year, day.month, day.day, self.hour, self.minute)
        return time.localtime(time.mktime((*expected, 0, 0, 0, -1)))[:5] == expected
