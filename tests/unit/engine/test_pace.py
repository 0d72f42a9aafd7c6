"""The pace of connections: never faster than its rate, never slower for long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.engine.pace import Pace, parse_rate


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("10/s", 10), ("30/m", 0.5), (" 1 / s ", 1), ("6000/m", 100), (None, math.inf)],
)
def test_rates(text: str | None, per_second: float) -> None:
    assert parse_rate(text) == per_second


@pytest.mark.parametrize("text", ["", "0/s", "10", "/s", "1/h", "-1/s", "1.5/s", "1/s/s", "1e3/s"])
def test_text_that_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="10/s or 30/m"):
        parse_rate(text)


def begins(pace: Pace, count: int, now: float = 0.0) -> list[float]:
    """Returns when connections begin that all want to begin now."""
    return [pace.reserve(now) for _ in range(count)]


def test_there_is_no_burst_at_the_start() -> None:
    assert begins(Pace(4, now=0.0), 5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert begins(Pace(0.5, now=0.0), 3) == [0.0, 2.0, 4.0]


def test_after_a_pause_one_second_is_caught_up() -> None:
    pace = Pace(4, now=0.0)
    assert begins(pace, 6, now=100.0) == [100.0] * 4 + [100.25, 100.5]


def test_a_slow_rate_catches_nothing_up() -> None:
    assert begins(Pace(0.5, now=0.0), 3, now=100.0) == [100.0, 102.0, 104.0]


def test_without_a_limit_all_begin_at_once() -> None:
    pace = Pace(math.inf, now=5.0)
    assert begins(pace, 100, now=5.0) == [5.0] * 100
    assert pace.next_at <= 5.0


WAITS = st.lists(st.floats(0, 3), min_size=1, max_size=60)


@given(per_second=st.sampled_from([0.1, 0.5, 1.0, 3.0, 50.0]), waits=WAITS)
def test_the_average_is_kept_from_every_moment(per_second: float, waits: list[float]) -> None:
    pace = Pace(per_second, now=0.0)
    now, begun = 0.0, list[float]()
    for wait in waits:
        now += wait
        begun.append(pace.reserve(now))
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            allowed = max(1.0, per_second) + per_second * (begun[last] - begun[first])
            assert last - first + 1 <= allowed + 1e-6
