"""Bounds on waiting that hold on a busy machine.

A test may wait for the product's own deadlines, and hold that a call ends by one of them rather
than by what it waits for, which lasts ten minutes. It must not measure how fast the machine is:
with a load of 20 on two cores everything takes many times longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

BUSY_S = 60.0
"""Seconds that a busy machine may add to what ends at a deadline."""


def patience(call: Callable[[], object]) -> float:
    """Returns a deadline in seconds, at least 1, that leaves a command time to start on this
    machine as busy as it is now: `call` is a command of the same kind that just starts and ends.
    """
    began = time.monotonic()
    call()
    return 1 + 5 * (time.monotonic() - began)
