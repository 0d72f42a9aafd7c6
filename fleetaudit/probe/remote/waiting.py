"""Waits, for longer on a host that is slow."""

import os
import select
import time
from typing import Any, Callable, List, Optional

from .constants import PATIENCE, POLLRDHUP


class CorrectedClock(object):
    """The exact clock of Python 2, which somebody may set: without the steps that times(2), which
    nobody sets and which is exact to a hundredth of a second, does not make.
    """

    def __init__(self):
        # type: () -> None
        self.last, self.ticks = time.time(), os.times()[4]
        self.offset = self.ticks - self.last  # so that all processes of a host agree

    def __call__(self):
        # type: () -> float
        found, ticks = time.time(), os.times()[4]
        step = found - self.last - (ticks - self.ticks)
        if abs(step) > 0.05:
            self.offset -= step
        self.last, self.ticks = found, ticks
        return found + self.offset


CLOCK = getattr(time, "monotonic", None) or CorrectedClock()


def now():
    # type: () -> float
    """Returns seconds on a clock that nobody sets, one for all processes of this host."""
    return float(CLOCK())


class AdaptiveTimeout(object):
    """How long to wait on this host. Every wait measures a delay: how much later than asked a sleep
    or poll(2) returned, how long a connection or a datagram took. `slowest` is the longest, in
    seconds; it shrinks with every trial, since a stall passes.
    """

    def __init__(self):
        # type: () -> None
        self.slowest = self.in_trial = 0.0
        self.deadline = now() + 60.0

    def record_delay(self, seconds):
        # type: (float) -> None
        self.slowest = max(self.slowest, seconds)
        self.in_trial = max(self.in_trial, seconds)

    def begin_trial(self):
        # type: () -> None
        self.slowest, self.in_trial = self.slowest * 0.9, 0.0

    def remaining(self):
        # type: () -> float
        return max(0.0, self.deadline - now())

    def seconds(self):
        # type: () -> float
        """Returns how long to wait for what must come: PATIENCE, or a hundred times the longest
        delay, up to an eighth of the remaining time, so that one scenario cannot use up the run.
        """
        remaining = self.remaining()
        return max(min(PATIENCE, remaining / 2), min(100 * self.slowest, remaining / 8))

    def stretched(self, seconds):
        # type: (float) -> float
        """Returns how long to wait for what may not come, `seconds` on an idle host."""
        return max(seconds, min(4 * self.slowest, self.remaining() / 256))


TIMEOUT = AdaptiveTimeout()


class Wait(object):
    """One wait that is over after `seconds`, or after TIMEOUT's, which grow while it lasts."""

    def __init__(self, seconds=None):
        # type: (Optional[float]) -> None
        self.fixed, self.began = seconds, now()

    def is_over(self):
        # type: () -> bool
        seconds = TIMEOUT.seconds() if self.fixed is None else self.fixed
        return now() - self.began >= seconds

    def restart(self):
        # type: () -> None
        self.began = now()


def sleep(seconds):
    # type: (float) -> None
    """Sleeps, and measures the delay."""
    began = now()
    time.sleep(seconds)
    TIMEOUT.record_delay(now() - began - seconds)


def wait_until(test, seconds=None):
    # type: (Callable[[], Any], Optional[float]) -> bool
    """Returns whether `test()` came true within `seconds`, or TIMEOUT's. Tests again after a
    quarter, then a half... millisecond.
    """
    wait, pause = Wait(seconds), 0.00025
    while not test():
        if wait.is_over():
            return bool(test())  # this process may have been stopped since the last test
        sleep(pause)
        pause = min(pause * 2, 0.004)
    return True


def poll_events(sock, mask, seconds):
    # type: (Any, int, float) -> int
    """Returns the events that poll(2) reports of a socket within `seconds`; ERR and HUP always."""
    poller = select.poll()
    poller.register(sock, mask)
    began = now()
    found = poller.poll(int(seconds * 1000))
    if not found or not seconds:
        TIMEOUT.record_delay(now() - began - seconds)
    return found[0][1] if found else 0


def wait_for_events(sock, mask):
    # type: (Any, int) -> int
    """Returns the events of a socket once there are any, 0 if none comes in time."""
    wait = Wait()
    found = poll_events(sock, mask, 0.1)
    while not found and not wait.is_over():
        found = poll_events(sock, mask, 0.1)
    return found


EVENTS = (
    ("IN", select.POLLIN),
    ("PRI", select.POLLPRI),
    ("OUT", select.POLLOUT),
    ("ERR", select.POLLERR),
    ("HUP", select.POLLHUP),
    ("RDHUP", POLLRDHUP),
)


def event_names(events):
    # type: (int) -> List[str]
    """Returns the names of poll(2)'s events, without POLL."""
    return [name for name, bit in EVENTS if events & bit]
