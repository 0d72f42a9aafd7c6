"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from fleetaudit.text.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("60", 60), ("1.5 m", 90), ("5m", 300), ("1h", 3600), (" 2s ", 2), ("0", 0)],
)
def test_a_number_and_a_unit_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "m5", "5 minutes", "5M", "-5s", "1e3", "nan", "inf", "٦٠s", "1:30", "9" * 99]
)
def test_other_text_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 60s, 5m or 1h"):
        parse_duration(text)
