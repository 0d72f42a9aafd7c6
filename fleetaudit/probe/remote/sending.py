"""The steps that send."""

import errno
import select
import socket

from .constants import ERRORS, MAX_BULK, MSG_EOR, PATTERN, QUIET, SIOCOUTQ, other
from .errors import Failed, NotHere, TimedOut, number_of, would_block
from .waiting import TIMEOUT, awaited, wait_until


def send(t, actor, size, flags=0):
    sock, left = t.sock(actor), size
    while left > 0:
        start, count = t.sent[actor] % 16, left if t.messages else min(left, 65536)
        pattern = PATTERN * (1 + (start + count) // len(PATTERN))
        try:
            done = sock.send(pattern[start : start + count], QUIET | flags)
        except ERRORS as e:
            if would_block(e):
                if not awaited(sock, select.POLLOUT) & select.POLLOUT:
                    raise TimedOut("the send blocked after %d of %d bytes" % (size - left, size))
                continue
            t.note_refused_send(actor, e)
            return
        left -= done
        t.sent[actor] += done
    t.arrive(actor)


def send_urgent(t, actor, size):
    try:
        send(t, actor, size, socket.MSG_OOB)
    except ERRORS as e:
        if number_of(e) == errno.EOPNOTSUPP:
            raise NotHere(
                "this kernel has no urgent data over %s"
                % ("AF_UNIX" if t.kind == "unix" else t.kind)
            )
        raise


def send_until_blocked(t, actor):
    """Sends until the other side's window is zero and the send queue is full, and notes what is left of that window.

    A segment longer than what is left of a window waits 200 ms for the persist timer, and until then the window is not
    zero. So one send fills the window, and MSG_EOR (since 4.7) keeps the next from joining its segment; an unknown
    window is waited for. It may never be zero: some kernels drop what finds no room, and announce the old window.
    """
    t.sock(actor)  # accepts it where that was put off
    receiver, limit = other(actor), t.sent[actor] + MAX_BULK
    while t.sent[actor] < limit:
        window, queued = t.window(receiver), t.number(actor, SIOCOUTQ)
        filled = window and queued and not t.events(actor) & (select.POLLERR | select.POLLHUP)
        try:
            if not filled and send_piece(t, actor, window):
                continue
        except ERRORS as e:
            t.note_refused_send(actor, e)
            return
        if t.kind == "unix" or window == 0 or (window is None and t.announces_zero(receiver)):
            t.note_window(receiver, 0)
            return

        def has_moved():
            t.acknowledge(receiver)
            moved = (t.window(receiver), t.number(actor, SIOCOUTQ)) != (window, queued)
            return moved or (window is None and t.announces_zero(receiver))

        if not wait_until(has_moved, TIMEOUT.stretched(t.persist_time(actor))):
            t.note_window(receiver, window)
            return
    raise Failed("the send did not block after %d bytes" % MAX_BULK)


def send_piece(t, actor, window):
    """Returns whether something could be sent: as much as fills the window, where that is known and not zero."""
    start, size = t.sent[actor] % 16, min(window or 65536, 65536)
    flags = QUIET | MSG_EOR if window and t.kind != "mptcp" else QUIET
    try:
        t.sent[actor] += t.sock(actor).send(PATTERN[start : start + size], flags)
        return True
    except ERRORS as e:
        if not would_block(e):
            raise
        return False
