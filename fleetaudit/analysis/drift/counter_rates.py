"""What production felt between two runs: counters that only ever grow, as rates; none where they
began anew. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from fleetaudit.model import (
    Audited,
    Exposure,
    ResetRate,
    RunInfo,
)

from .host_pairs import Pair

CLOCK_SLACK_S = 60.0
"""How far a host's uptime may lag behind the time between two runs before it counts as rebooted, in
seconds.
"""


def rates(pairs: Iterable[Pair], before: RunInfo, after: RunInfo) -> Iterator[ResetRate]:
    """Yields the rate of each host that told its counters in both runs; none where the second run
    is not the later.
    """
    try:
        begun, ended, again = map(
            datetime.fromisoformat, (before.started, before.finished, after.started)
        )
        seconds, least = (again - begun).total_seconds(), (again - ended).total_seconds()
    except (ValueError, TypeError):  # a file that somebody wrote by hand
        return
    if seconds <= 0:
        return
    for pair in pairs:
        if isinstance(pair.before, Audited) and isinstance(pair.after, Audited):
            old, new = pair.before.exposure, pair.after.exposure
            if old is not None and new is not None:
                yield _rate(pair.after.name, old, new, seconds, least)


def _rate(host: str, old: Exposure, new: Exposure, seconds: float, least: float) -> ResetRate:
    rate = ResetRate(
        host=host, seconds=seconds, before_per_thousand=_per_thousand(*_felt(old.counters))
    )
    if reason := _began_anew(old, new, least):
        return msgspec.structs.replace(rate, reason=reason)
    grown = {
        name: value - old.counters[name]
        for name, value in new.counters.items()
        if name in old.counters
    }
    connections, aborts = _felt(grown)
    per_thousand = _per_thousand(connections, aborts)
    why = "no connection in between" if connections == 0 else "its counters were not told"
    return msgspec.structs.replace(
        rate,
        connections=connections,
        aborts=aborts,
        per_thousand=per_thousand,
        reason=why if per_thousand is None else "",
    )


def _began_anew(old: Exposure, new: Exposure, least: float) -> str:
    """Why the growth of the counters is not known, "" where it is. `least` seconds passed at the
    least.
    """
    # A host that stayed up has aged by the time between.
    was, is_ = old.uptime_s, new.uptime_s
    if was is not None and is_ is not None and is_ < max(was, was + least - CLOCK_SLACK_S):
        return "rebooted in between: its counters began at 0"
    # A counter that one of the two could not read tells nothing; connections that are open now also
    # become fewer.
    both = old.counters.keys() & new.counters.keys() - {"CurrEstab"}
    if any(new.counters[name] < old.counters[name] for name in both):
        return "its counters are smaller than before: they began anew"
    return ""


def _felt(counters: Mapping[str, int]) -> tuple[int | None, int | None]:
    """Connections opened and accepted, and those of them that were closed with unread data."""
    opened = [counters[name] for name in ("ActiveOpens", "PassiveOpens") if name in counters]
    return sum(opened) if len(opened) == 2 else None, counters.get("TCPAbortOnClose")


def _per_thousand(connections: int | None, aborts: int | None) -> float | None:
    return 1000 * aborts / connections if connections and aborts is not None else None
