"""Places of moments on an axis that is proportional to real time, and its labels. Pure.

Rules: positions are percent of the width of a drawing, so that one drawing fits every width. An
axis has two sets of labels, for wide and for narrow drawings. All times are UTC.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median

import msgspec

MOST_WIDE, MOST_NARROW = 8, 4
"""Maximum number of labels of a drawing of at least 480 pixels, and of one of at least 260."""
GAP = 1.75
"""A gap between two runs is longer than the usual interval times this."""
_TOLERANCE = 0.25
"""A usual interval differs from the median by at most this share of it."""
_FEWEST_INTERVALS = 3
"""So many intervals are needed to know a usual one."""
_IRREGULAR_PAD = 0.01
"""The room at both ends of an axis without a usual interval, as a share of its span."""
_HOUR, _DAY = 3600, 86400
_MONDAY = 4 * _DAY
"""The first Monday of Unix time, in seconds."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Tick(msgspec.Struct, frozen=True):
    """A label of an axis and its position, in percent of the width or in pixels of the height."""

    position: float
    label: str


class Gap(msgspec.Struct, frozen=True):
    """A time without a run that should have had one, in percent of the width."""

    start: float
    width: float


class TimeAxis(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a drawing on one axis of time.

    `positions` are in percent of the width, one for each run. `stretches` are ranges of runs
    without a gap between them; each is drawn `pad` percent longer at both ends, so that a single
    run has a width, too.
    """

    positions: tuple[float, ...]
    stretches: tuple[range, ...]
    pad: float
    gaps: tuple[Gap, ...]
    wide: tuple[Tick, ...]
    narrow: tuple[Tick, ...]


def time_axis(moments: Sequence[datetime]) -> TimeAxis:
    """Returns the axis of at least one moment; they are aware, and the earliest comes first.

    Time without a run is a gap if the runs have a usual interval, such as one night, and the gap is
    longer. Runs that somebody starts now and then have no gaps.
    """
    times = [moment.timestamp() for moment in moments]
    usual = _usual_interval(times)
    pad = usual / 2 if usual else (times[-1] - times[0]) * _IRREGULAR_PAD or _DAY / 2
    start, span = times[0] - pad, times[-1] - times[0] + 2 * pad
    positions = tuple(round(100 * (time - start) / span, 3) for time in times)
    stretches = _stretches(times, usual)
    share = round(100 * pad / span, 3)
    return TimeAxis(
        positions=positions,
        stretches=stretches,
        pad=share,
        gaps=tuple(_gaps(positions, stretches, share)),
        wide=_ticks(start, span, MOST_WIDE),
        narrow=_ticks(start, span, MOST_NARROW),
    )


def without_runs(axis: TimeAxis, left_out: Collection[int]) -> TimeAxis:
    """Returns an axis whose stretches do not contain some runs, given by their indexes."""
    kept = list[range]()
    for runs in axis.stretches:
        cuts = [runs.start - 1, *(run for run in runs if run in left_out), runs.stop]
        kept.extend(range(a + 1, b) for a, b in pairwise(cuts) if b - a > 1)
    return msgspec.structs.replace(axis, stretches=tuple(kept))


def _usual_interval(times: Sequence[float]) -> float | None:
    """Returns the median interval in seconds, None unless most intervals are about as long."""
    intervals = [after - before for before, after in pairwise(times)]
    if len(intervals) < _FEWEST_INTERVALS:
        return None
    middle = median(intervals)
    usual = sum(abs(interval - middle) <= middle * _TOLERANCE for interval in intervals)
    if middle <= 0 or 2 * usual < len(intervals):
        return None
    return middle


def _stretches(times: Sequence[float], usual: float | None) -> tuple[range, ...]:
    """Returns the ranges of runs without a gap between them."""
    longest = usual * GAP if usual else math.inf
    starts = [n for n, (a, b) in enumerate(pairwise(times), 1) if b - a > longest]
    return tuple(range(a, b) for a, b in pairwise((0, *starts, len(times))))


def _gaps(positions: Sequence[float], stretches: Sequence[range], pad: float) -> Iterator[Gap]:
    """Yields the time between two stretches, without the ends that are drawn longer."""
    for before, after in pairwise(stretches):
        start = positions[before[-1]] + pad
        yield Gap(round(start, 3), round(positions[after[0]] - pad - start, 3))


def _ticks(start: float, span: float, most: int) -> tuple[Tick, ...]:
    """Returns at most `most` labels at round times between `start` and `start` + `span` seconds."""
    marks = next(marks for marks in _round_times(start, start + span) if len(marks[0]) <= most)
    moments, time_of, label_of = marks
    ticks = [(time_of(moment), label_of(moment)) for moment in moments]
    if not ticks:
        middle = start + span / 2
        ticks = [(middle, f"{_day(int(middle))} {_clock(int(middle))}")]
    return tuple(Tick(round(100 * (time - start) / span, 3), label) for time, label in ticks)


_Marks = tuple[range, Callable[[int], float], Callable[[int], str]]
"""Round times as numbers, the time of each number in Unix seconds, and its label."""


def _round_times(start: float, end: float) -> Iterator[_Marks]:
    """Yields the round times between two times, from every hour to every thousand years."""
    first, last = math.ceil(start), math.floor(end)
    for hours in (1, 3, 6, 12):
        yield _multiples(first, last, hours * _HOUR), float, _clock
    for days in (1, 2, 7, 14):
        yield _multiples(first, last, days * _DAY, _MONDAY), float, _day
    first, last = _month_number(first - 1) + 1, _month_number(last)
    for months in (1, 3, 6, 12, 60, 120, 1200, 12000, 120000):
        yield _multiples(first, last, months), _month_start, _month


def _multiples(first: int, last: int, step: int, origin: int = 0) -> range:
    """Returns the numbers from `first` to `last` that are whole steps away from `origin`."""
    return range(origin - (origin - first) // step * step, last + 1, step)


def _clock(time: int) -> str:
    """Returns "06:00"; the day at midnight."""
    moment = datetime.fromtimestamp(time, UTC)
    return f"{moment:%H:%M}" if time % _DAY else _day(time)


def _day(time: int) -> str:
    """Returns "9 Oct", in English in every locale."""
    moment = datetime.fromtimestamp(time, UTC)
    return f"{moment.day} {_MONTHS[moment.month - 1]}"


def _month_number(time: int) -> int:
    """Returns the number of the month of a time, counted from January of year 0."""
    moment = datetime.fromtimestamp(time, UTC)
    return 12 * moment.year + moment.month - 1


def _month_start(month: int) -> float:
    """Returns the time at which a month begins."""
    return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()


def _month(month: int) -> str:
    """Returns "Oct 2026"."""
    return f"{_MONTHS[month % 12]} {month // 12}"
