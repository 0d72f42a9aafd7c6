"""The geometry of charts over time: stacked areas, lines and marks. Pure.

Rules: no markup and no colour here; a template draws what this module computes. Paths are `WIDTH`
units wide and are stretched to the width of the page; what must not be stretched, such as text, has
its position across in percent and down in pixels. Nothing is drawn where there was no run.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from .time_axis import Tick, TimeAxis

WIDTH = 1000
"""The width of a path, in units."""
NARROWEST = 260
"""The least width at which every label of an area has room, in pixels."""
LABEL_HEIGHT, LABEL_PAD, CHARACTER = 15, 8, 7
"""The height of the label of an area, the room left and right of it, and the width of one of its
characters, in pixels.
"""
ENOUGH = 4 * LABEL_HEIGHT
"""More room than this makes the place of a label no better, in pixels."""
MOST_LABEL = 16
"""A longer name has no label in its area, only in the legend."""
MOST_DOTS = 130
"""A line of more runs has no dot for each."""
_MOST_STEPS = 4
_MILLION = 1_000_000

Values = Sequence[float]
_Point = tuple[float, float]


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a stack: its path, "" if it is empty, and where its label fits.

    `edge` is the upper line of the area. `label` is the middle of the label, None without room.
    """

    path: str
    edge: str
    label: _Point | None


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """Layers on each other, the first at the bottom, and the labels of the vertical axis."""

    areas: tuple[Area, ...]
    ticks: tuple[Tick, ...]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line with gaps where a value is unknown, its dots, and the labels of the vertical axis."""

    path: str
    dots: str
    ticks: tuple[Tick, ...]


class Mark(msgspec.Struct, frozen=True):
    """A run in which something happened: its position in percent, and how many things."""

    position: float
    count: int


def stack(axis: TimeAxis, layers: Sequence[tuple[str, Values]], height: int) -> Stack:
    """Returns layers as areas on each other; each has a name and one value for each run.

    The vertical axis starts at 0 and is `height` pixels high.
    """
    totals = list(map(sum, zip(*(values for _, values in layers), strict=True)))
    ticks, top = _vertical_axis(max(totals, default=0), height)
    below: Values = [0.0] * len(axis.positions)
    areas = list[Area]()
    for name, values in layers:
        above = [low + value for low, value in zip(below, values, strict=True)]
        low, high = _scaled(below, top, height), _scaled(above, top, height)
        areas.append(_area(axis, name, values, low, high))
        below = above
    return Stack(areas=tuple(areas), ticks=ticks)


def _scaled(values: Values, top: float, height: int) -> list[float]:
    """Returns values as pixels from the upper edge."""
    return [round(height - height * value / top, 1) for value in values]


def _area(axis: TimeAxis, name: str, values: Values, low: Values, high: Values) -> Area:
    """Returns the area between two lines of pixels, without the stretches in which it is empty."""
    stretches = [runs for runs in axis.stretches if any(values[runs.start : runs.stop])]
    path = edge = ""
    for runs in stretches:
        upper, lower = _points(axis, runs, high), _points(axis, runs, low)
        path += f"M{_text(upper + lower[::-1])}z"
        edge += f"M{_text(upper)}"
    return Area(path=path, edge=edge, label=_label_place(axis, stretches, name, low, high))


def _points(axis: TimeAxis, runs: range, line: Values) -> list[_Point]:
    """Returns the points of one stretch of a line, with its longer ends."""
    first, last = runs[0], runs[-1]
    points = [
        (axis.positions[first] - axis.pad, line[first]),
        *((axis.positions[run], line[run]) for run in runs),
        (axis.positions[last] + axis.pad, line[last]),
    ]
    return [(round(x * WIDTH / 100, 1), y) for x, y in _corners(points)]


def _corners(points: Sequence[_Point]) -> Iterator[_Point]:
    """Yields points without those between two others of the same height."""
    for _, level in groupby(points, key=lambda point: point[1]):
        first, *rest = level
        yield first
        yield from rest[-1:]


def _text(points: Iterable[_Point]) -> str:
    """Returns points as a path has them."""
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _label_place(
    axis: TimeAxis, stretches: Iterable[range], name: str, low: Values, high: Values
) -> _Point | None:
    """Returns the middle of the place for a label, None if there is no room.

    It is near the middle of the chart among the places with most room.
    """
    if len(name) > MOST_LABEL:
        return None
    half = 50 * (len(name) * CHARACTER + LABEL_PAD) / NARROWEST
    places = list[tuple[float, float, float]]()
    for runs in stretches:
        for run in _with_room(axis, runs, half):
            near = _near(axis, runs, run, half)
            floor, ceiling = min(low[near.start : near.stop]), max(high[near.start : near.stop])
            places.append((floor - ceiling, axis.positions[run], (floor + ceiling) / 2))
    room, across, down = max(places, key=_label_score, default=(0.0, 0.0, 0.0))
    return (across, round(down, 1)) if room > LABEL_HEIGHT else None


def _label_score(place: tuple[float, float, float]) -> tuple[float, float]:
    """Returns how good a place is: more room counts up to `ENOUGH`, then the middle."""
    room, across, _ = place
    return min(room, ENOUGH), -abs(across - 50)


def _with_room(axis: TimeAxis, runs: range, half: float) -> Iterator[int]:
    """Yields the runs of a stretch that have `half` percent of it on both sides."""
    start, end = axis.positions[runs[0]] - axis.pad, axis.positions[runs[-1]] + axis.pad
    for run in runs:
        if start + half <= axis.positions[run] <= end - half:
            yield run


def _near(axis: TimeAxis, runs: range, run: int, half: float) -> range:
    """Returns the runs that a label of `run` covers, and one more on each side."""
    here = axis.positions[run]
    first = bisect_right(axis.positions, here - half, runs.start, run) - 1
    last = bisect_left(axis.positions, here + half, run, runs.stop)
    return range(max(first, runs.start), min(last + 1, runs.stop))


def line(axis: TimeAxis, values: Sequence[float | None], height: int) -> Line:
    """Returns a line over the runs; an unknown value, None, interrupts it.

    The vertical axis starts at 0 and is `height` pixels high. A value with unknown neighbours is a
    dot.
    """
    known = [value for value in values if value is not None]
    ticks, top = _vertical_axis(max(known, default=0), height, least_step=0.0)
    points = [
        None
        if value is None
        else (round(x * WIDTH / 100, 1), round(height - height * value / top, 1))
        for x, value in zip(axis.positions, values, strict=True)
    ]
    pieces = list(_known_pieces(axis, points))
    single = len(values) > MOST_DOTS
    dots = [point for piece in pieces for point in piece if not single or len(piece) == 1]
    return Line(
        path="".join(f"M{_text(piece)}" for piece in pieces if len(piece) > 1),
        dots="".join(f"M{x:g},{y:g}h0" for x, y in dots),
        ticks=ticks,
    )


def _known_pieces(axis: TimeAxis, points: Sequence[_Point | None]) -> Iterator[list[_Point]]:
    """Yields the points between two gaps or unknown values; each list has one at least."""
    for runs in axis.stretches:
        groups = groupby(points[runs.start : runs.stop], key=bool)
        yield from (list(filter(None, some)) for is_known, some in groups if is_known)


def marks(axis: TimeAxis, counts: Sequence[int]) -> tuple[Mark, ...]:
    """Returns a mark for each run with a count above 0."""
    both = zip(axis.positions, counts, strict=True)
    return tuple(Mark(position, count) for position, count in both if count)


def _vertical_axis(
    most: float, height: int, *, least_step: float = 1.0
) -> tuple[tuple[Tick, ...], float]:
    """Returns the labels of an axis from 0 to at least `most`, and the value at its upper end.

    Two labels differ by at least `least_step`; with 1 every label is a whole number.
    """
    step = max(least_step, _round_step(most / _MOST_STEPS))
    count = max(1, math.ceil(round(most / step, 6)))
    top = step * count
    values = [step * n for n in range(count + 1)]
    return tuple(Tick(height - height * v / top, _label(v)) for v in values), top


def _round_step(least: float) -> float:
    """Returns the least of 1, 2, 5, 10 … and 0.5, 0.2, 0.1 … that is at least `least`."""
    if least <= 0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(least))
    return next(decade * n for n in (1, 2, 5, 10) if decade * n >= least * (1 - 1e-9))


def _label(value: float) -> str:
    """Returns a number of an axis: 2,000 or 1.5M or 0.05."""
    if value >= _MILLION:
        return f"{value / _MILLION:g}M"
    return f"{round(value, 9):,g}" if value < 1 else f"{value:,.10g}"
