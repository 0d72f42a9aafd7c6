"""Receives, and waits until what was sent has arrived."""

import select
import socket

from .connection import Connection
from .constants import ERRORS, IS_RESET, POLLRDHUP, QUIET, other
from .errors import StepFailed, TimedOut, error_name, reason_of, would_block
from .waiting import TIMEOUT, Wait, now, wait_for_events, wait_until


def receive(c, side, size, flags=0, wait=False):
    # type: (Connection, str, int, int, bool) -> bytes
    """Returns what one recv gives; with `wait` it waits for what must come. Raises OSError, also
    EAGAIN.
    """
    sock = c.sock(side)
    if wait:
        wait_for_events(sock, select.POLLIN | POLLRDHUP)
    try:
        data = sock.recv(size, QUIET | flags)  # type: bytes
    except ERRORS as e:
        if not would_block(e):
            record_result(c, side, error_name(e))
        raise
    if not flags & socket.MSG_PEEK:
        record_received(c, side, len(data))
    return data


def record_received(c, side, count):
    # type: (Connection, str, int) -> None
    """Counts the bytes of a recv. After the end they are the peer's evidence, as one number."""
    c.received[side] += count
    results = c.peer_results
    if is_evidence(c, side) and count and results and results[-1].isdigit() and results[-1] != "0":
        results[-1] = str(int(results[-1]) + count)
    else:
        record_result(c, side, str(count))


def record_result(c, side, result):
    # type: (Connection, str, str) -> None
    """Keeps the result of a peer's recv after the end, once if it repeats."""
    results = c.peer_results
    if is_evidence(c, side) and len(results) < 15 and results[-1:] != [result]:  # a reply has 16
        results.append(result)


def is_evidence(c, side):
    # type: (Connection, str) -> bool
    return side == "peer" and c.ending


def record_refused_send(c, side, error):
    # type: (Connection, str, BaseException) -> None
    """Keeps the error of a peer's send after the end as evidence; raises any other."""
    if not is_evidence(c, side):
        raise error
    if len(c.peer_results) < 10:  # a reply has room for 16, and recv comes later
        c.peer_results.append("send: " + error_name(error))


def receive_exactly(c, side, count, flags=0):
    # type: (Connection, str, int, int) -> None
    """Receives `count` bytes; raises StepFailed if they do not come."""
    missing, wait = count, Wait()
    while missing > 0:
        try:
            size = len(receive(c, side, min(missing, 65536), flags, True))
        except ERRORS as e:
            if not would_block(e):
                problem = "%s after %d of %d bytes"
                raise StepFailed(problem % (reason_of(e), count - missing, count))
            if wait.is_over():
                problem = "only %d of %d bytes came in time"
                raise TimedOut(problem % (count - missing, count))
            continue
        if size == 0:
            raise StepFailed("end of file after %d of %d bytes" % (count - missing, count))
        missing -= size
        wait.restart()


def wait_for_arrival(c, sender):
    # type: (Connection, str) -> None
    """Waits until what a side sent is in the other's receive queue, or that is full, or the sender
    was reset; raises StepFailed.
    """
    receiver = other(sender)
    if c.kind == "unix":
        return
    if receiver in c.closed_sides or c.accept_queue_full or (c.vanished and receiver == "peer"):
        c.lab.fence.settle()  # what is sent to nobody is reset
        return
    if c.sockets[receiver] is None:
        if not wait_until(lambda: c.unacked(sender) == 0 or was_reset(c, sender)):
            raise TimedOut("the bytes were not acknowledged")
        return
    arrival = Arrival(c, sender)
    while not wait_until(arrival.is_complete):
        if now() - arrival.since >= TIMEOUT.seconds():
            raise TimedOut("the bytes did not arrive")


def was_reset(c, side):
    # type: (Connection, str) -> bool
    return c.tcp_info(side)[0:1] == IS_RESET


class Arrival(object):
    """How many bytes of a sender have arrived, and since when there are no more."""

    def __init__(self, c, sender):
        # type: (Connection, str) -> None
        self.c, self.sender = c, sender
        self.count, self.since = -1, now()

    def is_complete(self):
        # type: () -> bool
        """Returns whether all has arrived, or the queue is full: nothing moves for 10 ms or more
        though something is sent.
        """
        if was_reset(self.c, self.sender):
            return True
        sent = self.c.sent[self.sender]
        count = self.c.bytes_received(other(self.sender))
        if count is None:
            return self.c.unread(other(self.sender)) > 0 or self.c.unacked(self.sender) == 0
        if self.c.gap_end and count > sent:
            self.c.forged = True  # the gap was filled, see send_out_of_order
        if count != self.count:
            self.count, self.since = count, now()
        is_quiet = now() - self.since > TIMEOUT.stretched(0.01)
        return count >= sent or (count > 0 and is_quiet and self.c.unacked(self.sender) > 0)
