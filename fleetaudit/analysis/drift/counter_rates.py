"""Reset rates of production between two runs, from counters that only grow. Pure.

There is no rate if the counters were reset in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from fleetaudit.model import (
    Exposure,
    ResetRate,
    RunInfo,
)

from .host_pairs import Pair

CLOCK_SLACK_S = 60.0
"""How far a host's uptime may lag behind the time between two runs before it counts as rebooted, in
seconds.
"""


class _Interval(NamedTuple):
    """The time between two runs, in seconds: from start to start, and from end to start."""

    seconds: float
    least: float


def reset_rates(pairs: Iterable[Pair], before: RunInfo, after: RunInfo) -> Iterator[ResetRate]:
    """Yields the rate of each host that reported its counters in both runs.

    A rate is per 1,000 connections, over the seconds from the start of one run to the start of the
    other; without one, `ResetRate.reason` says why ("no connection in between"). There is none of
    any host if the second run is not the later one, or the times of a run cannot be read (a file
    that somebody wrote by hand).
    """
    interval = _interval(before, after)
    if interval is None or interval.seconds <= 0:
        return
    for pair in pairs:
        old, new = pair.before.exposure, pair.after.exposure
        if old is not None and new is not None:
            yield _rate(pair.after.name, old, new, interval)


def _interval(before: RunInfo, after: RunInfo) -> _Interval | None:
    """Returns the time between two runs, None if a time is missing or invalid.

    A time without a zone cannot be compared with one that has a zone, so the two together are
    invalid.
    """
    try:
        started, finished = map(datetime.fromisoformat, (before.started, before.finished))
        next_started = datetime.fromisoformat(after.started)
        return _Interval(
            seconds=(next_started - started).total_seconds(),
            least=(next_started - finished).total_seconds(),
        )
    except (ValueError, TypeError):
        return None


def _rate(host: str, old: Exposure, new: Exposure, interval: _Interval) -> ResetRate:
    """Returns the rate of one host, or why there is none.

    `before_per_thousand` is the rate since boot, as of the earlier run; the other numbers are the
    growth between the runs.
    """
    rate = ResetRate(
        host=host,
        seconds=interval.seconds,
        before_per_thousand=_Closes.of(old.counters).per_thousand,
    )
    if reason := _why_reset(old, new, interval.least):
        return msgspec.structs.replace(rate, reason=reason)
    closes = _Closes.of(_growth(old.counters, new.counters))
    return msgspec.structs.replace(
        rate,
        connections=closes.connections,
        aborts=closes.aborts,
        per_thousand=closes.per_thousand,
        reason=closes.why_no_rate,
    )


def _growth(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int]:
    """Returns by how much each counter grew that both runs have.

    {ActiveOpens: 10} and {ActiveOpens: 15, PassiveOpens: 3} are {ActiveOpens: 5}.
    """
    return {name: value - old[name] for name, value in new.items() if name in old}


def _why_reset(old: Exposure, new: Exposure, least: float) -> str:
    """Returns why the counters count from a new start, "" if they do not.

    At least `least` seconds passed between the two. CurrEstab is no counter: the connections that
    are open now also become fewer. A counter that one of the two runs could not read is passed
    over.
    """
    if _has_rebooted(old.uptime_s, new.uptime_s, least):
        return "rebooted in between: its counters began at 0"
    both = old.counters.keys() & new.counters.keys() - {"CurrEstab"}
    if any(new.counters[name] < old.counters[name] for name in both):
        return "its counters are smaller than before: they were reset"
    return ""


def _has_rebooted(old: float | None, new: float | None, least: float) -> bool:
    """Returns whether an uptime shows a reboot.

    A host that stayed up is older by the time between the two runs, which is at least `least`
    seconds; its clock may be CLOCK_SLACK_S behind. Without both uptimes nothing is shown. With an
    uptime of 1000 s before and at least 600 s in between, less than 1540 s shows a reboot. Less
    than the old uptime always does.
    """
    if old is None or new is None:
        return False
    return new < max(old, old + least - CLOCK_SLACK_S)


class _Closes(NamedTuple):
    """Connections opened and accepted, and those of them that were closed with unread data; None if
    unknown.
    """

    connections: int | None
    aborts: int | None

    @classmethod
    def of(cls, counters: Mapping[str, int]) -> _Closes:
        """Returns the numbers in the counters of a host.

        Connections are ActiveOpens + PassiveOpens, unknown if one of them is missing; aborts are
        TCPAbortOnClose.
        """
        aborts = counters.get("TCPAbortOnClose")
        if not counters.keys() >= {"ActiveOpens", "PassiveOpens"}:
            return cls(None, aborts)
        return cls(counters["ActiveOpens"] + counters["PassiveOpens"], aborts)

    @property
    def per_thousand(self) -> float | None:
        """Aborts per 1,000 connections, None if unknown or without connections."""
        if not self.connections or self.aborts is None:
            return None
        return 1000 * self.aborts / self.connections

    @property
    def why_no_rate(self) -> str:
        """Why there is no rate, "" if there is one."""
        if self.per_thousand is not None:
            return ""
        if self.connections == 0:
            return "no connection in between"
        return "its counters are unknown"
