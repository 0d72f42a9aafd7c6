"""Waiting that adapts to how slow the host is."""

import select
import time

from .constants import PATIENCE, POLLRDHUP


def now():
    """Returns seconds on a clock that nobody sets, for waiting."""
    return getattr(time, "monotonic", time.time)()


class AdaptiveTimeout(object):
    """How long to wait on this host, derived from how slow it shows itself.

    Every wait measures it: how much later than asked a sleep or poll(2) returned, how long a connection and a datagram
    took. `slowest` is the longest such delay in seconds; it shrinks with every trial, since a stall passes.
    """

    def __init__(self):
        self.slowest = self.in_trial = 0.0
        self.deadline = now() + 60.0

    def delayed(self, seconds):
        """Takes down a delay, in seconds."""
        self.slowest = max(self.slowest, seconds)
        self.in_trial = max(self.in_trial, seconds)

    def begin_trial(self):
        self.slowest, self.in_trial = self.slowest * 0.9, 0.0

    def left(self):
        """Returns the seconds until the alarm rings."""
        return max(0.0, self.deadline - now())

    def seconds(self):
        """Returns how long to wait for what must come: PATIENCE, or a hundred times the longest delay, but never more
        than an eighth of the time that is left: one scenario that hangs must not use up the run."""
        return max(min(PATIENCE, self.left() / 2), min(100 * self.slowest, self.left() / 8))

    def stretched(self, seconds):
        """Returns how long to wait for what may not come, `seconds` on an idle host."""
        return max(seconds, min(4 * self.slowest, self.left() / 256))


TIMEOUT = AdaptiveTimeout()


class Wait(object):
    """One wait that is over after `seconds`, or after TIMEOUT's, which grow while it lasts."""

    def __init__(self, seconds=None):
        self.fixed, self.began = seconds, now()

    def is_over(self):
        return now() - self.began >= (TIMEOUT.seconds() if self.fixed is None else self.fixed)

    def restart(self):
        """Begins again: something moved."""
        self.began = now()


def wait_until(test, seconds=None):
    """Returns whether `test()` came true within `seconds`, or TIMEOUT's; looks again after a quarter, then a half...
    millisecond."""
    wait, pause = Wait(seconds), 0.00025
    while not test():
        if wait.is_over():
            return bool(test())  # this process may have been stopped since it last looked
        began = now()
        time.sleep(pause)
        TIMEOUT.delayed(now() - began - pause)
        pause = min(pause * 2, 0.004)
    return True


def polled(sock, mask, seconds):
    """Returns the events that poll(2) tells of a socket within `seconds`; ERR and HUP are always told."""
    poller = select.poll()
    poller.register(sock, mask)
    began = now()
    found = poller.poll(int(seconds * 1000))
    if not found or not seconds:
        TIMEOUT.delayed(now() - began - seconds)
    return found[0][1] if found else 0


def awaited(sock, mask):
    """Returns the events that poll(2) tells of a socket for which something must come, 0 where nothing came in time."""
    wait = Wait()
    found = polled(sock, mask, 0.1)
    while not found and not wait.is_over():
        found = polled(sock, mask, 0.1)
    return found


def names_of(events):
    """Returns the names of poll(2)'s events, without POLL."""
    return [
        name
        for bit, name in (
            (select.POLLIN, "IN"),
            (select.POLLPRI, "PRI"),
            (select.POLLOUT, "OUT"),
            (select.POLLERR, "ERR"),
            (select.POLLHUP, "HUP"),
            (POLLRDHUP, "RDHUP"),
        )
        if events & bit
    ]
