"""After how long a service closes an idle connection. All of a host are waited for at once."""

import select
from typing import Any, Dict, List, Optional

from .service_capture import ServiceCapture
from .service_client import ServiceClient
from .service_http import request_head, says_close
from .service_target import Target
from .waiting import now

ANSWER_S = 10.0  # until when an idle connection must have had its answer
MAX_IDLE_BYTES = 1 << 22  # a service that sends more is not idle


class IdleConnection(object):
    """A connection on which one request was answered, and nothing follows. A service that does not
    speak HTTP is asked nothing.
    """

    def __init__(self, target, longest):
        # type: (Target, float) -> None
        """Connects and asks; raises CannotAsk."""
        self.target, self.longest = target, longest
        self.client = ServiceClient(target, ANSWER_S + longest, ServiceCapture(""))
        self.began, self.is_done = self.client.last, False
        self.waited = None  # type: Optional[float]
        if target.is_http:
            self.client.send_all(request_head(target, "GET", "Connection: keep-alive"))

    def until(self):
        # type: () -> float
        """Returns when the waiting is over at the latest."""
        if self.is_answered():
            return min(self.client.end, self.client.last + self.longest)
        return self.began + ANSWER_S

    def is_answered(self):
        # type: () -> bool
        """Returns whether the time of the idle connection runs."""
        return bool(self.client.received) or not self.target.is_http

    def look(self, end):
        # type: (float) -> None
        """Reads what has arrived, and finds out whether the waiting is over; it is at `end`."""
        client = self.client
        if self.is_done:
            return
        client.receive_all(MAX_IDLE_BYTES)
        is_busy = client.received >= MAX_IDLE_BYTES
        self.is_done = bool(client.ending) or is_busy or now() >= min(end, self.until())
        self.waited = now() - client.last if self.is_answered() else None

    def result(self):
        # type: () -> Dict[str, Any]
        """Returns what was seen, and closes the connection. The seconds are those since the last
        byte of the answer; of a connection that is still open, how long it was.
        """
        client = self.client
        if max(now() - client.end, client.received - MAX_IDLE_BYTES) >= 0:
            client.keep_error("the service keeps sending")
        client.judge_end()
        if says_close(client.head):
            client.keep_error("the answer says Connection: close")
        seen = client.seen("", 0)
        seen["seconds"] = self.waited
        client.close()
        return seen


def look_at(waiting, end):
    # type: (List[IdleConnection], float) -> None
    """Reads what has arrived on each connection."""
    for each in waiting:
        each.look(end)


def wait_idle(waiting, end):
    # type: (List[IdleConnection], float) -> Dict[IdleConnection, Dict[str, Any]]
    """Returns what was seen of each connection, once all are closed or their time is over; `end`
    is when it is over for all.
    """
    results = {}
    while waiting:
        look_at(waiting, end)
        results.update({each: each.result() for each in waiting if each.is_done})
        waiting = [each for each in waiting if not each.is_done]
        wait_for_any(waiting, end)
    return results


def wait_for_any(waiting, end):
    # type: (List[IdleConnection], float) -> None
    """Waits until something comes on one of these connections, or the time of one is over."""
    poller, soonest = select.poll(), end
    for each in waiting:
        poller.register(each.client.sock, select.POLLIN)
        soonest = min(soonest, each.until())
    if waiting:
        poller.poll(max(0, int(1000 * (soonest - now()))) + 1)
