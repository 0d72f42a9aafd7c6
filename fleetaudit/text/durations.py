"""Lengths of time as people write them: 60s, 5m, 1h, or a number of seconds. Pure."""

from __future__ import annotations

import re

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([smh]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_duration(text: str) -> float:
    """Returns a length of time in seconds: 300.0 for "5m"; raises `ValueError` for other text."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a length of time; write it as 60s, 5m or 1h")
    return float(match[1]) * _SECONDS[match[2]]
