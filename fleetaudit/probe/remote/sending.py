"""The steps that send."""

import errno
import select
import socket
from typing import Optional, Tuple

from .connection import Connection
from .constants import ERRORS, MAX_BULK, MSG_EOR, PATTERN, QUIET, other
from .errors import StepFailed, TimedOut, Unsupported, errno_of, would_block
from .receiving import record_refused_send, wait_for_arrival
from .waiting import TIMEOUT, wait_for_events, wait_until


def send(c, actor, size, flags=0):
    # type: (Connection, str, int, int) -> None
    sock, unsent = c.sock(actor), size
    while unsent > 0:
        piece = stream_bytes(c.sent[actor], unsent if c.messages else min(unsent, 65536))
        try:
            count = sock.send(piece, QUIET | flags)
        except ERRORS as e:
            if not would_block(e):
                record_refused_send(c, actor, e)
                return
            if not wait_for_events(sock, select.POLLOUT) & select.POLLOUT:
                raise TimedOut("the send blocked after %d of %d bytes" % (size - unsent, size))
            continue
        unsent -= count
        c.sent[actor] += count
    wait_for_arrival(c, actor)


def stream_bytes(offset, size):
    # type: (int, int) -> bytes
    """Returns the bytes of a stream from an offset on."""
    start = offset % 16
    pattern = PATTERN * (1 + (start + size) // len(PATTERN))
    return pattern[start : start + size]


def send_urgent(c, actor, size):
    # type: (Connection, str, int) -> None
    try:
        send(c, actor, size, socket.MSG_OOB)
    except ERRORS as e:
        if errno_of(e) != errno.EOPNOTSUPP:
            raise
        kind = {"unix": "AF_UNIX"}.get(c.kind, c.kind)
        raise Unsupported("this kernel has no urgent data over %s" % kind)


def send_until_blocked(c, actor):
    # type: (Connection, str) -> None
    """Sends until the other side's window is zero and the send queue is full, and notes what
    remains of that window. A segment longer than the rest of a window waits 200 ms for the persist
    timer, and until then the window is not zero. So one send fills the window, and MSG_EOR (since
    4.7) keeps the next from joining its segment; an unknown window is waited for. It may never be
    zero: some kernels drop what finds no room, and announce the old window.
    """
    c.sock(actor)  # accepts it if that was put off
    receiver, limit = other(actor), c.sent[actor] + MAX_BULK
    while c.sent[actor] < limit:
        before = send_state(c, actor)
        try:
            if not is_filled(c, actor, before) and send_piece(c, actor, before[0]):
                continue
        except ERRORS as e:
            record_refused_send(c, actor, e)
            return
        if c.kind == "unix" or is_window_zero(c, receiver, before[0]):
            note_window(c, receiver, 0)
            return
        if not waits_for_progress(c, actor, before):
            note_window(c, receiver, before[0])
            return
    raise StepFailed("the send did not block after %d bytes" % MAX_BULK)


def send_state(c, actor):
    # type: (Connection, str) -> Tuple[Optional[int], int]
    """Returns (the receiver's window, bytes in the send queue)."""
    return c.window(other(actor)), c.unacked(actor)


def is_filled(c, actor, state):
    # type: (Connection, str, Tuple[Optional[int], int]) -> bool
    """Returns whether the queue fills a known window of an open connection."""
    window, queued = state
    if not window or not queued:
        return False
    return not c.events(actor) & (select.POLLERR | select.POLLHUP)


def is_window_zero(c, receiver, window):
    # type: (Connection, str, Optional[int]) -> bool
    return c.announces_zero(receiver) if window is None else window == 0


def waits_for_progress(c, actor, before):
    # type: (Connection, str, Tuple[Optional[int], int]) -> bool
    """Returns whether anything moves before the sender is blocked for good."""
    receiver = other(actor)

    def has_moved():
        # type: () -> bool
        c.send_ack_now(receiver)
        if send_state(c, actor) != before:
            return True
        return before[0] is None and c.announces_zero(receiver)

    return wait_until(has_moved, TIMEOUT.stretched(persist_time(c, actor)))


def persist_time(c, actor):
    # type: (Connection, str) -> float
    """Returns after how many seconds without progress a sender is blocked for good: its persist
    timer first fires after one RTO, and the answer may be delayed by 40 ms.
    """
    return min(4 * max(c.rto(actor), 0.2), 4.0)


def note_window(c, side, remaining):
    # type: (Connection, str, Optional[int]) -> None
    """Notes how many bytes of a side's window remain, if known."""
    if remaining is not None and c.kind != "unix":
        c.queue[side + " window"] = remaining


def send_piece(c, actor, window):
    # type: (Connection, str, Optional[int]) -> bool
    """Returns whether anything could be sent: as much as fills the window, if that is known and not
    zero.
    """
    piece = stream_bytes(c.sent[actor], min(window or 65536, 65536))
    flags = QUIET | MSG_EOR if window and c.kind != "mptcp" else QUIET
    try:
        c.sent[actor] += c.sock(actor).send(piece, flags)
        return True
    except ERRORS as e:
        if not would_block(e):
            raise
        return False
