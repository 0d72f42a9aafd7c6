"""How many connections begin in a second (--rate): a token bucket. Pure.

It holds what one second brings and is empty when a run begins, so that there is no burst at the
start, and later none of more than one second's worth. A rate per minute holds one token.

The bucket is kept as one number, the moment at which it would be full again (GCRA, ITU-T I.371): no
timer fills it, and a connection can reserve a moment in the future.
"""

from __future__ import annotations

import math
import re

_SECONDS = {"s": 1, "m": 60}


class Pace:
    """When the next connection may begin; moments are seconds of one clock."""

    def __init__(self, per_second: float, now: float) -> None:
        """`per_second` is the rate, `math.inf` for no limit."""
        self._interval_s = 1 / per_second
        self._saved_s = max(0.0, 1.0 - self._interval_s)  # what the bucket holds besides one token
        self._full_at = now + self._saved_s

    @property
    def next_at(self) -> float:
        """The moment from which the next connection may begin."""
        return self._full_at - self._saved_s

    def reserve(self, now: float) -> float:
        """Takes the next token; returns the moment at which its connection may begin, at least
        `now`.
        """
        begins_at = max(now, self.next_at)
        self._full_at = max(now, self._full_at) + self._interval_s
        return begins_at


def parse_rate(text: str | None) -> float:
    """Returns how many connections "10/s" or "30/m" allows in a second; infinity for None.

    Raises ValueError with what is expected.
    """
    if text is None:
        return math.inf
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([sm])\s*", text)
    if found is None or int(found[1]) == 0:
        raise ValueError(
            f"“{text}” is not a rate; expected connections in a second or a minute: 10/s or 30/m"
        )
    return int(found[1]) / _SECONDS[found[2]]
