"""Areas and lines are where their numbers are, and nothing is drawn without a run."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from fleetaudit.report.charts import line, marks, stack
from fleetaudit.report.time_axis import TimeAxis, time_axis

HEIGHT = 200


def nightly(count: int, *missing: int) -> TimeAxis:
    """Returns the axis of nightly runs, some of which are missing."""
    start = datetime(2026, 9, 28, 2, tzinfo=UTC)
    return time_axis([start + timedelta(days=n) for n in range(count) if n not in missing])


def points(path: str) -> list[list[tuple[float, float]]]:
    """Returns the points of each part of a path."""
    parts = [part.removesuffix("z").split() for part in path.split("M") if part]
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in part)] for part in parts]


def test_layers_lie_on_each_other_from_zero() -> None:
    drawn = stack(nightly(4), [("a", [10, 20, 20, 0]), ("b", [30, 20, 0, 0])], HEIGHT)
    assert [(tick.position, tick.label) for tick in drawn.ticks] == [
        (200, "0"), (150, "10"), (100, "20"), (50, "30"), (0, "40"),
    ]  # fmt: skip
    assert points(drawn.areas[0].edge) == [
        [(0, 150), (125, 150), (375, 100), (625, 100), (875, 200), (1000, 200)]
    ]
    assert points(drawn.areas[1].edge) == [[(0, 0), (375, 0), (625, 100), (875, 200), (1000, 200)]]
    (outline,) = points(drawn.areas[1].path)
    assert outline[5:] == [*reversed(points(drawn.areas[0].edge)[0])]


def test_nothing_is_drawn_in_a_night_without_a_run() -> None:
    axis = nightly(10, 4)
    before, after = points(stack(axis, [("a", [5] * 9)], HEIGHT).areas[0].edge)
    assert before[-1][0] == pytest.approx(axis.gaps[0].start * 10, abs=0.1)
    assert after[0][0] == pytest.approx((axis.gaps[0].start + axis.gaps[0].width) * 10, abs=0.1)


def test_an_empty_layer_has_no_path() -> None:
    empty = stack(nightly(5), [("a", [0] * 5)], HEIGHT)
    assert (empty.areas[0].path, empty.areas[0].label) == ("", None)
    assert [tick.label for tick in empty.ticks] == ["0", "1"]


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (1, ["0", "1"]),
        (3, ["0", "1", "2", "3"]),
        (180, ["0", "50", "100", "150", "200"]),
        (1_000_000, ["0", "500,000", "1M"]),
        (7_000_000, ["0", "2M", "4M", "6M", "8M"]),
    ],
)
def test_the_vertical_axis_has_round_whole_numbers(most: int, labels: list[str]) -> None:
    ticks = stack(nightly(2), [("a", [most, 0])], HEIGHT).ticks
    assert [tick.label for tick in ticks] == labels


def test_a_label_is_inside_its_area() -> None:
    axis = nightly(40)
    low, high = [100] * 40, [*([2] * 20), *([60] * 20)]
    thick, rising = stack(axis, [("6.12", low), ("6.1", high)], HEIGHT).areas
    assert thick.label is not None
    assert rising.label is not None
    assert thick.label[0] == pytest.approx(50, abs=2)
    assert rising.label[0] > axis.positions[20]
    assert 0 < rising.label[1] < thick.label[1] < HEIGHT


def test_an_area_without_room_has_no_label() -> None:
    axis = nightly(40)
    thin = stack(axis, [("a", [100] * 40), ("b", [3] * 40)], HEIGHT).areas[1]
    narrow = stack(axis, [("a", [*([0] * 39), 100])], HEIGHT).areas[0]
    long = stack(axis, [("a" * 200, [100] * 40)], HEIGHT).areas[0]
    assert (thin.label, narrow.label, long.label) == (None, None, None)


def test_a_line_is_interrupted_where_a_value_is_unknown() -> None:
    drawn = line(nightly(9, 7), [None, 0.5, 1.0, None, 0.2, None, 1.9, 0], HEIGHT)
    assert [len(part) for part in points(drawn.path)] == [2]
    assert len(re.findall("M", drawn.dots)) == 5
    assert [tick.label for tick in drawn.ticks] == ["0", "0.5", "1", "1.5", "2"]
    assert points(drawn.path)[0][1][1] == 100


def test_a_line_of_many_runs_has_dots_only_where_it_would_not_be_seen() -> None:
    values = [*([1.0] * 200), None, 1.0, None, *([1.0] * 100)]
    assert line(nightly(303), values, HEIGHT).dots.count("M") == 1


def test_a_line_without_values_has_an_axis() -> None:
    drawn = line(nightly(3), [None] * 3, HEIGHT)
    assert (drawn.path, drawn.dots) == ("", "")
    assert [tick.label for tick in drawn.ticks] == ["0", "1"]


def test_marks_are_at_the_runs_with_a_count() -> None:
    axis = nightly(4)
    found = [(mark.position, mark.count) for mark in marks(axis, [0, 2, 0, 1])]
    assert found == [(axis.positions[1], 2), (axis.positions[3], 1)]
