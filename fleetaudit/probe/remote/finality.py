"""Waits until an ending is final.

That is once the kernel has nothing more to send of its own accord that could change what the closer
sent. Silence for a while is not enough. The functions are those of net/ipv4.

- The peer's socket is in CLOSE: tcp_reset() or the last ACK closed it, and it sends nothing more.
- The closer's FIN is sent and not acknowledged (FIN_WAIT1, CLOSING, LAST_ACK): the ACK may be
  answered by a RST, since tcp_rcv_state_process() gives an orphan with a negative TCP_LINGER2 no
  FIN_WAIT2. The peer may delay that ACK by 40 ms; tcp_cleanup_rbuf() sends it once the FIN was read
  and TCP_QUICKACK is set, so both are done.
- The closer's FIN is queued behind data for which the peer has no room: it is sent when the peer
  reads. If nothing moves although the kernel had the time to probe the window (tcp_probe_timer(),
  after the RTO), it stays so, since no step is left. The same holds for what the peer still has for
  a closer that has not closed.
- The closer is closed, or has sent FIN and shut reading, and bytes of the peer are unacknowledged:
  they will be sent (tcp_write_xmit(), tcp_probe_timer()) and answered by a RST (tcp_v4_rcv(),
  tcp_rcv_state_process()).
- The closer is in FIN_WAIT2 or TIME_WAIT, or gone: tcp_close() and tcp_time_wait() leave no timer
  that sends.
- The peer has vanished, and the closer still has a timer that sends to it: keepalive, or a
  retransmission (tcp_keepalive_timer(), tcp_retransmit_timer()).
- MPTCP: mptcp_worker() passes on to the socket what its subflows received, milliseconds later
  (mptcp_check_fastclose(), mptcp_check_data_fin()).

The sources are TCP_INFO and SIOCOUTQ of an open socket, sock_diag(7) or /proc/net/tcp for a closed
one. What is outstanding after two timeouts without progress is reported: the ending is unknown.
"""

import select
import socket
import time
from typing import Optional, Tuple

from .connection import Connection
from .constants import (
    CLOSE,
    CLOSE_WAIT,
    CLOSING,
    ERRORS,
    FIN,
    FIN_WAIT1,
    FIN_WAIT2,
    GONE,
    LAST_ACK,
    NOTICE,
    PATIENCE,
    POLL_END,
    POLLRDHUP,
    RST,
    SIOCOUTQ,
)
from .proc_net import NO_SOCKET
from .receiving import receive
from .waiting import TIMEOUT, now, poll_events

NOTHING_MORE = ("", 0)
UNACKNOWLEDGED_FIN = (FIN_WAIT1, CLOSING, LAST_ACK)  # of a socket that has sent one
AFTER_FIN = (CLOSE_WAIT, LAST_ACK, CLOSING)  # states of a socket that received a FIN


def wait_for_final_ending(c):
    # type: (Connection) -> None
    """Waits until the ending is final, and collects what was captured. The peer's recv must come
    later: it opens a window that was shut.
    """
    c.outstanding = "" if c.kind == "unix" else wait_until_nothing_more(c)
    if c.kind == "mptcp":
        wait_for_quiet(c)
    for _ in range(2):  # an ACK that was sent just now, and a RST that answers it
        c.lab.fence.settle()
    c.drain()


def wait_until_nothing_more(c):
    # type: (Connection) -> str
    """Returns "" once nothing more can come, else what may still come."""
    amount, end, pause = -1, 0.0, 0.0005
    limit = now() + 2 * TIMEOUT.seconds()
    # The worker of MPTCP may be late by more than any timer of TCP.
    least = TIMEOUT.seconds() if c.kind == "mptcp" else 0.0
    while True:
        deliver_everything(c)
        what, remaining = find_outstanding(c)
        if not what:
            return ""
        if remaining != amount:
            amount, end = remaining, now() + max(least, two_timeouts(c))
        if now() > min(end, limit):
            return "" if waits_for_a_reader(c) else what
        time.sleep(pause)
        pause = min(2 * pause, 0.008)


def deliver_everything(c):
    # type: (Connection) -> None
    """Waits until loopback has delivered everything, with the peer's ACK of a FIN."""
    c.lab.fence.settle()
    hasten_ack(c)
    for _ in range(2):  # and once more for the answer
        c.lab.fence.settle()
    c.drain()


def hasten_ack(c):
    # type: (Connection) -> None
    """Has the peer acknowledge a FIN at once, if nothing before it is left to read."""
    if any(tuple(step[:2]) == ("closer", "send-urgent") for step in c.steps):
        return  # a recv would skip the urgent byte, which FIONREAD does not count
    if c.events("peer") & POLL_END != POLLRDHUP or c.unread("peer"):
        return
    try:
        receive(c, "peer", 1)
    except ERRORS:
        return
    c.ack_hastened = c.send_ack_now("peer") or c.ack_hastened


def find_outstanding(c):
    # type: (Connection) -> Tuple[str, int]
    """Returns (what may still come, an amount that shrinks on the way), or NOTHING_MORE."""
    peer = peer_state(c)
    if peer is None:
        return "what the peer still has to send cannot be read", 1
    if c.kind == "mptcp" and is_worker_late(c, peer[0]):
        return "MPTCP has not passed the end on to the peer's socket", 1
    if peer[0] == CLOSE and c.sockets["peer"] is not None:
        return NOTHING_MORE
    closer = closer_state(c, peer[0])
    if closer is None:
        return "what the closer still has to send cannot be read", 1
    return find_outstanding_between(c, closer, peer)


def find_outstanding_between(c, closer, peer):
    # type: (Connection, Tuple[int, int, int], Tuple[int, int, int]) -> Tuple[str, int]
    """Returns the same of two known states."""
    if closer[0] in UNACKNOWLEDGED_FIN and closer[1] and not c.forged:
        return "the closer's FIN is not acknowledged", closer[1]
    if c.vanished and still_tries(c, closer):
        return "the closer still tries to reach a peer that has vanished", 1
    if peer[0] != GONE and peer[1] and resets_new_data(c, closer[0]):
        return "the peer still sends to a closed socket", peer[1]
    return NOTHING_MORE


def open_state(c, side):
    # type: (Connection, str) -> Optional[Tuple[int, int, int]]
    """Returns (tcpi_state, unacknowledged bytes and FIN, 0) of a side's open socket, NO_SOCKET if
    it never had one, None if it is closed.
    """
    for sock in c.open_sockets(side):
        info = c.tcp_info_of(sock)
        if info:
            return ord(info[0:1]), c.number_of(sock, SIOCOUTQ), 0
    return None if side in c.addresses else NO_SOCKET


def peer_state(c):
    # type: (Connection) -> Optional[Tuple[int, int, int]]
    """Returns the same of the peer, open or closed; None if it cannot be read."""
    return open_state(c, "peer") or c.lab.find(*c.ends("peer"))


def closer_state(c, peer):
    # type: (Connection, int) -> Optional[Tuple[int, int, int]]
    """Returns the same of the closer; `peer` is the state of the peer's socket."""
    found = open_state(c, "closer") or c.lab.find_by_diag(*c.ends("closer"))
    if found is not None:
        return found
    if peer in AFTER_FIN:  # all that came before the FIN arrived with it
        return NO_SOCKET if is_fin_acknowledged(c) else (FIN_WAIT1, 1, 0)
    if peer != GONE and not c.unacknowledged and not c.unread("peer"):
        return NO_SOCKET  # only a FIN was left to send
    return c.lab.find_in_tables(*c.ends("closer"))


def is_fin_acknowledged(c):
    # type: (Connection) -> bool
    """Returns whether the peer sent a segment since it received a FIN; it delays none by more than
    0.2 s.
    """
    if c.ack_hastened:
        return True
    sent = c.segments_sent("peer")
    if sent is None or c.segments_before_fin is None:
        return now() > c.fin_arrived_at + TIMEOUT.stretched(0.25)
    return sent > c.segments_before_fin


def still_tries(c, closer):
    # type: (Connection, Tuple[int, int, int]) -> bool
    """Returns whether the closer's kernel sends again, or asks a silent peer whether it is there;
    `closer` is its state.
    """
    sock = c.sockets["closer"]
    if sock is None or closer[0] == CLOSE:
        return False
    return closer[1] > 0 or sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0


def resets_new_data(c, state):
    # type: (Connection, int) -> bool
    """Returns whether the closer answers new data with a RST: closed, or shut both ways."""
    if c.forged and c.gap_end > c.sent["peer"]:
        return False  # nothing is new: the closer has it from behind a gap
    if c.drops_invalid:
        return False  # what was not answered was dropped, and is dropped each time it comes
    if "closer" in c.closed_sides:
        return True
    return c.reading_shut and state in (FIN_WAIT1, FIN_WAIT2, CLOSING)


def is_worker_late(c, peer):
    # type: (Connection, int) -> bool
    """Returns whether the peer's MPTCP socket does not show yet what its subflow received."""
    if c.sockets["peer"] is None or c.events("peer") & POLL_END:
        return False
    bits = 0
    for packet in c.packets_of("closer"):
        bits |= packet.bits | FIN * ("DATA_FIN" in packet.options)
    return peer == CLOSE or bits & (FIN | RST) == FIN


def waits_for_a_reader(c):
    # type: (Connection) -> bool
    """Returns whether what is outstanding waits for a side that does not read its queue."""
    if c.vanished:
        return False
    if not c.has_fin("peer") and has_unread(c, "peer"):
        return True
    return "closer" not in c.closed_sides and has_unread(c, "closer")


def has_unread(c, side):
    # type: (Connection, str) -> bool
    """Returns whether a side has data to read; FIONREAD does not count urgent bytes."""
    found = c.lab.find(*c.ends(side)) or NO_SOCKET
    return found[2] > 0 or c.unread(side) > 0


def two_timeouts(c):
    # type: (Connection) -> float
    """Returns twice the time after which the peer sends again or probes a window (tcpi_rto,
    tcpi_backoff).
    """
    backoff = ord(c.tcp_info("peer")[4:5] or b"\0")
    seconds = 2 * (c.rto("peer") or 0.25) * (1 << min(backoff, 4))
    return min(max(0.1, seconds), 2 * PATIENCE)


def wait_for_quiet(c):
    # type: (Connection) -> None
    """Waits until nothing was captured for a while: MPTCP ends its subflows from a worker."""
    if not c.lab.capture:
        return
    end = now() + TIMEOUT.stretched(NOTICE)
    while now() < end and poll_events(c.lab.capture.sock, select.POLLIN, TIMEOUT.stretched(0.005)):
        c.drain()
