"""An axis of time is proportional, shows the nights without a run, and its labels have room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from fleetaudit.report.time_axis import MOST_NARROW, MOST_WIDE, TimeAxis, time_axis, without_runs

START = datetime(2026, 9, 28, 2, tzinfo=UTC)


def nightly(count: int, *missing: int) -> TimeAxis:
    """Returns the axis of nightly runs, some of which are missing."""
    nights = [night for night in range(count) if night not in missing]
    return time_axis([START + timedelta(days=night) for night in nights])


def test_positions_are_proportional_to_the_time() -> None:
    axis = time_axis([START, START + timedelta(hours=1), START + timedelta(hours=10)])
    first, second, last = axis.positions
    assert (second - first) / (last - first) == pytest.approx(0.1, abs=1e-3)
    assert 0 < first < 2
    assert 98 < last < 100


def test_a_missing_night_is_a_gap_as_wide_as_a_night() -> None:
    axis = nightly(60, 47)
    assert [(runs.start, runs.stop) for runs in axis.stretches] == [(0, 47), (47, 59)]
    (gap,) = axis.gaps
    assert gap.width == pytest.approx(100 / 60, abs=0.01)
    assert axis.positions[46] < gap.start < gap.start + gap.width < axis.positions[47]


def test_runs_that_are_started_now_and_then_have_no_gaps() -> None:
    hours = [0, 1, 30, 31, 100, 400, 401, 900]
    axis = time_axis([START + timedelta(hours=hour) for hour in hours])
    assert axis.stretches == (range(8),)
    assert not axis.gaps


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_runs_have_an_axis(count: int) -> None:
    axis = nightly(count)
    assert len(axis.positions) == count
    assert all(0 < position < 100 for position in axis.positions)
    assert axis.wide
    assert axis.narrow


def test_runs_of_one_second_have_an_axis() -> None:
    assert time_axis([START] * 5).positions == (50.0,) * 5


def test_runs_can_be_left_out_of_the_stretches() -> None:
    axis = without_runs(nightly(10, 5), {0, 3, 8})
    assert axis.stretches == (range(1, 3), range(4, 5), range(5, 8))


@pytest.mark.parametrize(
    ("span", "first", "last"),
    [
        (timedelta(minutes=20), "02:00", "02:00"),
        (timedelta(hours=5), "02:00", "07:00"),
        (timedelta(hours=30), "06:00", "06:00"),
        (timedelta(days=6), "29 Sep", "4 Oct"),
        (timedelta(days=59), "28 Sep", "23 Nov"),
        (timedelta(days=400), "Oct 2026", "Oct 2027"),
        (timedelta(days=20_000), "Jan 2030", "Jan 2080"),
    ],
)
def test_labels_are_at_round_times(span: timedelta, first: str, last: str) -> None:
    ticks = time_axis([START, START + span]).wide
    assert (ticks[0].label, ticks[-1].label) == (first, last)


def test_runs_between_two_hours_have_one_label() -> None:
    half_past = START + timedelta(minutes=30)
    ticks = time_axis([half_past, half_past + timedelta(minutes=20)]).wide
    assert [tick.label for tick in ticks] == ["28 Sep 02:40"]


@pytest.mark.parametrize("days", [1, 3, 8, 15, 33, 59, 90, 200, 399, 1000, 5000, 40_000])
def test_labels_are_few_and_in_order(days: int) -> None:
    axis = time_axis([START, START + timedelta(days=days)])
    for ticks, most in ((axis.wide, MOST_WIDE), (axis.narrow, MOST_NARROW)):
        assert 1 <= len(ticks) <= most
        assert all(a.position < b.position for a, b in pairwise(ticks))
        days_of = [tick.label for tick in ticks if ":" not in tick.label]
        assert len({*days_of}) == len(days_of)
