"""How Linux ends a TCP connection: a model that reads like the kernel's source, and predicts every
ending.

Rules: pure, and independent of the verdict and the probe. A function that has a name of net/ipv4
does what that function does, in its order, as far as an ending depends on it; the file is named in
its docstring. Left out: congestion control, timers (except a linger time), memory pressure,
options of the header. Loopback is perfect: it delivers in order, and every acknowledgment comes
before the next system call (the probe waits for it; the kernel may delay it by 40 ms).

Sequence numbers begin at 1 after the SYN, and do not wrap. `predict` runs the tuples of the step
language.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fleetaudit.model import Ending, Step

Side = Literal["closer", "peer"]
State = str
"""A name of include/net/tcp_states.h."""
NUMBERS: Mapping[str, int] = {  # include/net/tcp_states.h
    "ESTABLISHED": 1,
    "FIN_WAIT1": 4,
    "FIN_WAIT2": 5,
    "TIME_WAIT": 6,
    "CLOSE": 7,
    "CLOSE_WAIT": 8,
    "LAST_ACK": 9,
    "CLOSING": 11,
    "NEW_SYN_RECV": 12,
}
RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK = 1, 2, 3
TCP_URG_VALID, TCP_URG_NOTYET, TCP_URG_READ = "valid", "not yet", "read"
TCP_TIMEWAIT_LEN = 60
TCP_FIN_TIMEOUT_MAX = 120
RCVBUF, SNDBUF = 100_000, 1 << 18
"""Bytes that a receive queue and a send queue hold. What fills them is "until blocked", whatever
the size.
"""


class Errno(Exception):
    """What a system call fails with, by the name of the errno."""


class Refused(Exception):
    """A step that cannot be carried through, so that the scenario says nothing."""


class NotModelled(Exception):
    """A step or an option that this model knows nothing about."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What the peer's socket shows at the end, in the words of fleetaudit.model.PeerWitness."""

    state: int
    poll: tuple[str, ...]
    recv: tuple[str, ...]
    so_error: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What must be seen of one scenario.

    `ending` is that of the closer by the wire. `peer` is None where the peer's socket is gone.
    `counters` are those that must move, by side: a reset that is received moves EstabResets of the
    side that it reaches. `wire` has the segments with FIN or RST, as "closer F.". `other` is what
    kernels show instead that answer, or do not answer, an ACK of what was never sent (see
    `tcp_ack`), where that makes a difference.
    """

    ending: Ending
    peer: Witness | None
    counters: Mapping[Side, Mapping[str, int]]
    wire: tuple[str, ...]
    other: Prediction | None = None


# ---- struct sk_buff, struct tcp_sock, struct inet_timewait_sock, struct net


@dataclass(slots=True)
class Skb:
    """A segment, on its way or in a queue: TCP_SKB_CB(skb) and what matters of struct tcphdr."""

    sender: Side
    seq: int
    end_seq: int
    fin: bool = False
    rst: bool = False
    ack: bool = True
    ack_seq: int = 0
    window: int = 0
    urg_ptr: int = 0

    @property
    def len(self) -> int:
        return self.end_seq - self.seq - self.fin


@dataclass(eq=False)
class Sock:
    """struct sock, inet_sock, inet_connection_sock and tcp_sock of one side."""

    net: Net = field(repr=False)
    side: Side
    sk_state: State = "ESTABLISHED"
    sk_receive_queue: list[Skb] = field(default_factory=list)
    out_of_order_queue: list[Skb] = field(default_factory=list)
    sk_write_queue: list[Skb] = field(default_factory=list)
    snd_una: int = 1
    snd_nxt: int = 1
    write_seq: int = 1
    snd_up: int = 1
    snd_wnd: int = RCVBUF
    rcv_nxt: int = 1
    rcv_wup: int = 1
    rcv_wnd: int = RCVBUF
    copied_seq: int = 1
    rcvbuf: int = RCVBUF
    urg_data: str = ""
    urg_seq: int = 0
    sk_shutdown: int = 0
    sk_err: str = ""
    sock_done: bool = False
    dead: bool = False
    linger: bool = False
    sk_lingertime: int = 0
    linger2: int = 0
    urginline: bool = False
    repair: bool = False
    rcvlowat: int = 1
    oow_ack_sent: bool = False
    ack_scheduled: bool = False


@dataclass(eq=False)
class TimeWait:
    """struct inet_timewait_sock: what is left of a socket in FIN_WAIT2 or TIME_WAIT that nobody
    holds.
    """

    side: Side
    substate: State
    rcv_nxt: int
    snd_nxt: int


@dataclass(eq=False)
class Net:
    """struct net: the namespace of both sides, and its loopback device."""

    fix: bool
    challenges_unsent: bool
    tcp_fin_timeout: int = 60
    tcp_stdurg: bool = False
    tcp_rfc1337: bool = False
    ehash: dict[Side, Sock | TimeWait] = field(default_factory=dict)
    lo: deque[Skb] = field(default_factory=deque)
    sent: list[Skb] = field(default_factory=list)
    counters: dict[Side, Counter[str]] = field(
        default_factory=lambda: {"closer": Counter(), "peer": Counter()}
    )


def other(side: Side) -> Side:
    """Returns the other side."""
    return "peer" if side == "closer" else "closer"


def inc_stats(net: Net, side: Side, name: str) -> None:
    """NET_INC_STATS and TCP_INC_STATS, booked on the side whose socket (or missing socket) did
    it.
    """
    net.counters[side][name] += 1


# ---- net/core, drivers/net/loopback.c


def loopback_xmit(net: Net, skb: Skb) -> None:
    """drivers/net/loopback.c: what is sent lies in the backlog until the next softirq."""
    net.sent.append(replace(skb))
    net.lo.append(skb)


def softirq(net: Net) -> None:
    """net_rx_action(), also for what waited in a socket's backlog while a system call owned the
    socket.
    """
    while net.lo:
        tcp_v4_rcv(net, net.lo.popleft())


def sock_error(sk: Sock) -> str:
    """include/net/sock.h: takes the pending error, which there is one of for recv, send and
    SO_ERROR.
    """
    error, sk.sk_err = sk.sk_err, ""
    return error


# ---- net/ipv4/tcp_ipv4.c


def tcp_v4_rcv(net: Net, skb: Skb) -> None:
    """net/ipv4/tcp_ipv4.c: finds whose segment this is."""
    side = other(skb.sender)
    found = net.ehash.get(side)
    if isinstance(found, TimeWait):
        tcp_timewait_state_process(net, found, skb)
    elif found is None:  # no_tcp_socket, or the listener, which refuses an ACK as well
        tcp_v4_send_reset(net, side, skb)
    else:
        tcp_v4_do_rcv(found, skb)


def tcp_v4_do_rcv(sk: Sock, skb: Skb) -> None:
    """net/ipv4/tcp_ipv4.c"""
    if sk.sk_state == "NEW_SYN_RECV" and not tcp_check_req(sk, skb):
        return
    if sk.sk_state == "ESTABLISHED":
        tcp_rcv_established(sk, skb)
    elif tcp_rcv_state_process(sk, skb):
        tcp_v4_send_reset(sk.net, sk.side, skb)


def tcp_v4_send_reset(net: Net, side: Side, skb: Skb) -> None:
    """net/ipv4/tcp_ipv4.c: a bare RST with the number that the segment acknowledges; never against
    an RST.
    """
    if skb.rst:
        return
    inc_stats(net, side, "OutRsts")
    loopback_xmit(net, Skb(side, skb.ack_seq, skb.ack_seq, rst=True, ack=False))


# ---- net/ipv4/tcp_minisocks.c


def tcp_check_req(sk: Sock, skb: Skb) -> bool:
    """net/ipv4/tcp_minisocks.c, TCP_DEFER_ACCEPT: a bare ACK makes no connection, data and a FIN
    do.
    """
    if skb.rst:
        tcp_unhash(sk)
        return False
    if skb.end_seq == skb.seq:
        return False
    sk.sk_state = "ESTABLISHED"
    return True


def tcp_time_wait(sk: Sock, substate: State) -> None:
    """net/ipv4/tcp_minisocks.c: a small entry takes the socket's place, and the socket is done."""
    sk.net.ehash[sk.side] = TimeWait(sk.side, substate, sk.rcv_nxt, sk.snd_nxt)
    tcp_done(sk)


def tcp_timewait_state_process(net: Net, tw: TimeWait, skb: Skb) -> None:
    """net/ipv4/tcp_minisocks.c"""
    if tw.substate == "FIN_WAIT2":
        if not tcp_in_window(skb, tw.rcv_nxt):
            tw_send_ack(net, tw)
        elif skb.rst:
            net.ehash.pop(tw.side)
        elif skb.end_seq == tw.rcv_nxt or skb.end_seq == skb.seq:
            pass  # a duplicate ACK
        elif not skb.fin or skb.end_seq != tw.rcv_nxt + 1:
            net.ehash.pop(tw.side)  # new data after the half-duplex close: TCP_TW_RST
            tcp_v4_send_reset(net, tw.side, skb)
        else:
            tw.substate, tw.rcv_nxt = "TIME_WAIT", skb.end_seq
            tw_send_ack(net, tw)
        return
    if skb.seq == tw.rcv_nxt and (skb.seq == skb.end_seq or skb.rst):
        if skb.rst and not net.tcp_rfc1337:
            net.ehash.pop(tw.side)
        return
    if not skb.rst:
        tw_send_ack(net, tw)


def tcp_in_window(skb: Skb, start: int) -> bool:
    """net/ipv4/tcp_minisocks.c; nothing here is beyond the end of the window."""
    return skb.seq == start or skb.end_seq > start


def tw_send_ack(net: Net, tw: TimeWait) -> None:
    """tcp_v4_timewait_ack() of net/ipv4/tcp_ipv4.c: TCP_TW_ACK."""
    loopback_xmit(net, Skb(tw.side, tw.snd_nxt, tw.snd_nxt, ack_seq=tw.rcv_nxt))


# ---- net/ipv4/tcp_output.c


def tcp_receive_window(sk: Sock) -> int:
    """include/net/tcp.h: what remains of the window that was last announced to the sender."""
    return max(0, sk.rcv_wup + sk.rcv_wnd - sk.rcv_nxt)


def tcp_select_window(sk: Sock) -> int:
    """net/ipv4/tcp_output.c, without silly windows: the room in the receive queue. Never takes
    back.
    """
    room = sk.rcvbuf - sum(skb.len for skb in sk.sk_receive_queue)
    return max(0, room, tcp_receive_window(sk))


def tcp_transmit_skb(sk: Sock, skb: Skb) -> None:
    """net/ipv4/tcp_output.c: what is sent carries the acknowledgment, the window and the urgent
    pointer.
    """
    sk.rcv_wnd, sk.rcv_wup, sk.ack_scheduled = tcp_select_window(sk), sk.rcv_nxt, False
    skb.ack_seq, skb.window = sk.rcv_nxt, sk.rcv_wnd
    if skb.seq < sk.snd_up:
        skb.urg_ptr = sk.snd_up - skb.seq
    loopback_xmit(sk.net, skb)


def tcp_send_ack(sk: Sock) -> None:
    """net/ipv4/tcp_output.c"""
    if sk.sk_state not in ("CLOSE", "NEW_SYN_RECV"):
        tcp_transmit_skb(sk, Skb(sk.side, sk.snd_nxt, sk.snd_nxt))


def tcp_write_xmit(sk: Sock) -> None:
    """net/ipv4/tcp_output.c: sends what the peer's window takes, in order."""
    while sk.sk_write_queue:
        skb = sk.sk_write_queue[0]
        room = sk.snd_una + sk.snd_wnd - skb.seq
        if skb.end_seq - skb.seq <= room:
            sk.sk_write_queue.pop(0)
        elif 0 < room < skb.len:  # tso_fragment()
            rest = replace(skb, seq=skb.seq + room)
            skb = replace(skb, end_seq=skb.seq + room, fin=False)
            sk.sk_write_queue[0] = rest
        else:
            return
        sk.snd_nxt = skb.end_seq
        tcp_transmit_skb(sk, skb)


def tcp_send_fin(sk: Sock) -> None:
    """net/ipv4/tcp_output.c: the FIN joins what was not sent yet, else it is a segment of its
    own.
    """
    if sk.sk_write_queue:
        tail = sk.sk_write_queue[-1]
        tail.fin = True
        tail.end_seq += 1
    else:
        sk.sk_write_queue.append(Skb(sk.side, sk.write_seq, sk.write_seq + 1, fin=True))
    sk.write_seq += 1
    tcp_write_xmit(sk)


def tcp_send_active_reset(sk: Sock) -> None:
    """net/ipv4/tcp_output.c: an RST with ACK. (What it counts: OutRsts, and TCPAbortFailed where it
    fails.)
    """
    inc_stats(sk.net, sk.side, "OutRsts")
    tcp_transmit_skb(sk, Skb(sk.side, sk.snd_nxt, sk.snd_nxt, rst=True))


# ---- net/ipv4/tcp_input.c


def tcp_rcv_established(sk: Sock, skb: Skb) -> None:
    """net/ipv4/tcp_input.c: note that data are taken in whatever was shut."""
    if not tcp_validate_incoming(sk, skb) or not skb.ack or tcp_ack(sk, skb) < 0:
        return
    tcp_urg(sk, skb)
    tcp_data_queue(sk, skb)
    tcp_data_snd_check(sk)
    tcp_ack_snd_check(sk)


def tcp_rcv_state_process(sk: Sock, skb: Skb) -> bool:
    """net/ipv4/tcp_input.c: every state but ESTABLISHED. Returns whether the segment is answered
    with an RST.
    """
    if sk.sk_state == "CLOSE" or not tcp_validate_incoming(sk, skb) or not skb.ack:
        return False
    # step 5: check the ACK field
    if tcp_ack(sk, skb) < 0:
        if not sk.net.challenges_unsent:
            tcp_send_challenge_ack(sk)
        return False
    all_acked = sk.snd_una == sk.write_seq
    if sk.sk_state == "FIN_WAIT1" and all_acked:
        tcp_set_state(sk, "FIN_WAIT2")
        sk.sk_shutdown |= SEND_SHUTDOWN
        if sk.dead and tcp_rcv_fin_wait2_orphan(sk, skb):
            return True
        if sk.sk_state == "CLOSE":
            return False
    elif sk.sk_state == "CLOSING" and all_acked:
        tcp_time_wait(sk, "TIME_WAIT")
        return False
    elif sk.sk_state == "LAST_ACK" and all_acked:
        tcp_done(sk)
        return False
    # step 6: check the URG bit
    tcp_urg(sk, skb)
    # step 7: process the segment text
    if sk.sk_state in ("FIN_WAIT1", "FIN_WAIT2") or skb.seq < sk.rcv_nxt:
        if sk.sk_shutdown & RCV_SHUTDOWN and carries_data(sk, skb):
            # RFC 793 says to queue data in these states, RFC 1122 says we MUST send a reset.
            inc_stats(sk.net, sk.side, "TCPAbortOnData")
            tcp_reset(sk)
            return True
        tcp_data_queue(sk, skb)
    # tcp_data could move socket to TIME-WAIT
    if sk.sk_state != "CLOSE":
        tcp_data_snd_check(sk)
        tcp_ack_snd_check(sk)
    return False


def tcp_rcv_fin_wait2_orphan(sk: Sock, skb: Skb) -> bool:
    """The part of tcp_rcv_state_process(), case TCP_FIN_WAIT1, for a socket that nobody holds
    (SOCK_DEAD).
    """
    if sk.linger2 < 0 or carries_data(sk, skb):
        tcp_done(sk)
        inc_stats(sk.net, sk.side, "TCPAbortOnData")
        return True
    if tcp_fin_time(sk) <= TCP_TIMEWAIT_LEN and not skb.fin:
        tcp_time_wait(sk, "FIN_WAIT2")
    return False


def carries_data(sk: Sock, skb: Skb) -> bool:
    """Whether a segment has bytes that were not received yet (tests of tcp_rcv_state_process())."""
    return skb.end_seq != skb.seq and skb.end_seq - skb.fin > sk.rcv_nxt


def tcp_validate_incoming(sk: Sock, skb: Skb) -> bool:
    """net/ipv4/tcp_input.c: sequence numbers first, then RST (RFC 5961, section 3.2). True: goes
    on.
    """
    in_window = skb.end_seq >= sk.rcv_wup and skb.seq <= sk.rcv_nxt + tcp_receive_window(sk)
    if skb.rst:
        if (in_window and skb.seq == sk.rcv_nxt) or tcp_reset_check(sk, skb):
            tcp_reset(sk)
        elif in_window:
            tcp_send_challenge_ack(sk)
        return False
    if not in_window and (skb.end_seq != skb.seq or not tcp_oow_rate_limited(sk)):
        tcp_send_ack(sk)  # tcp_send_dupack()
    return in_window


def tcp_reset_check(sk: Sock, skb: Skb) -> bool:
    """net/ipv4/tcp_input.c: after a FIN, an RST in its place will do as well."""
    return skb.seq == sk.rcv_nxt - 1 and sk.sk_state in ("CLOSE_WAIT", "LAST_ACK", "CLOSING")


def tcp_send_challenge_ack(sk: Sock) -> None:
    """net/ipv4/tcp_input.c (the limit of the namespace is never reached here)."""
    if not tcp_oow_rate_limited(sk):
        tcp_send_ack(sk)


def tcp_oow_rate_limited(sk: Sock) -> bool:
    """net/ipv4/tcp_input.c, tcp_invalid_ratelimit: one in half a second, so here one for each
    socket.
    """
    limited, sk.oow_ack_sent = sk.oow_ack_sent, True
    return limited


def tcp_ack(sk: Sock, skb: Skb) -> int:
    """net/ipv4/tcp_input.c: 1 where it is news, 0 where it is old, -1 where it acknowledges what
    was not sent.

    That last one is answered since 7.1 ("tcp: send a challenge ACK on SEG.ACK > SND.NXT"), in
    stable since 6.18.38 or before; only what a raw socket sent in the peer's name leads there. No
    ending depends on it.
    """
    if skb.ack_seq > sk.snd_nxt:
        if sk.net.challenges_unsent:
            tcp_send_challenge_ack(sk)
        return -1
    if skb.ack_seq < sk.snd_una:
        return 0
    sk.snd_una, sk.snd_wnd = skb.ack_seq, skb.window
    return 1


def tcp_data_snd_check(sk: Sock) -> None:
    """net/ipv4/tcp_input.c"""
    tcp_write_xmit(sk)


def tcp_ack_snd_check(sk: Sock) -> None:
    """net/ipv4/tcp_input.c"""
    if sk.ack_scheduled:
        tcp_send_ack(sk)


def tcp_reset(sk: Sock) -> None:
    """net/ipv4/tcp_input.c: the connection was reset by the other side. The receive queue stays."""
    if sk.sk_state == "CLOSE":
        return
    sk.sk_err = "EPIPE" if sk.sk_state == "CLOSE_WAIT" else "ECONNRESET"
    sk.sk_write_queue.clear()
    tcp_done(sk)


def tcp_fin(sk: Sock) -> None:
    """net/ipv4/tcp_input.c: process the FIN bit."""
    sk.sk_shutdown |= RCV_SHUTDOWN
    sk.sock_done = True
    if sk.sk_state == "ESTABLISHED":
        tcp_set_state(sk, "CLOSE_WAIT")
    elif sk.sk_state == "FIN_WAIT1":  # a simultaneous close
        tcp_send_ack(sk)
        tcp_set_state(sk, "CLOSING")
    elif sk.sk_state == "FIN_WAIT2":
        tcp_send_ack(sk)
        tcp_time_wait(sk, "TIME_WAIT")
    sk.out_of_order_queue.clear()  # it is possible that there is something after FIN


def tcp_data_queue(sk: Sock, skb: Skb) -> None:
    """net/ipv4/tcp_input.c: whatever takes up numbers is acknowledged, also where it is not
    taken.
    """
    if skb.seq == skb.end_seq:
        return
    sk.ack_scheduled = True  # inet_csk_schedule_ack()
    if skb.end_seq <= sk.rcv_nxt:
        return  # a retransmission
    if skb.len and not tcp_receive_window(sk):
        return  # out_of_window
    if skb.seq > sk.rcv_nxt:
        tcp_data_queue_ofo(sk, skb)
        return
    tcp_queue_rcv(sk, skb)
    if skb.fin:
        tcp_fin(sk)
    tcp_ofo_queue(sk)


def tcp_data_queue_ofo(sk: Sock, skb: Skb) -> None:
    """net/ipv4/tcp_input.c: what comes behind a gap waits; it is not in the receive queue."""
    sk.out_of_order_queue.append(replace(skb))
    sk.out_of_order_queue.sort(key=lambda waiting: waiting.seq)


def tcp_ofo_queue(sk: Sock) -> None:
    """net/ipv4/tcp_input.c: moves to the receive queue what is in order now."""
    while sk.out_of_order_queue and sk.out_of_order_queue[0].seq <= sk.rcv_nxt:
        skb = sk.out_of_order_queue.pop(0)
        if skb.end_seq > sk.rcv_nxt:
            tcp_queue_rcv(sk, skb)
            if skb.fin:
                tcp_fin(sk)


def tcp_queue_rcv(sk: Sock, skb: Skb) -> None:
    """net/ipv4/tcp_input.c: joins the last segment where it begins at that one's end
    (tcp_try_coalesce()).
    """
    tail = sk.sk_receive_queue[-1] if sk.sk_receive_queue else None
    if tail is not None and tail.end_seq == skb.seq:
        tail.end_seq, tail.fin = skb.end_seq, skb.fin
    else:
        sk.sk_receive_queue.append(replace(skb))
    sk.rcv_nxt = skb.end_seq


def tcp_urg(sk: Sock, skb: Skb) -> None:
    """net/ipv4/tcp_input.c"""
    if skb.urg_ptr:
        tcp_check_urg(sk, skb)
    if sk.urg_data == TCP_URG_NOTYET and 0 <= sk.urg_seq - skb.seq < skb.len:
        sk.urg_data = TCP_URG_VALID


def tcp_check_urg(sk: Sock, skb: Skb) -> None:
    """net/ipv4/tcp_input.c: a new urgent byte, right after one that nobody read, takes that one
    away.
    """
    ptr = skb.seq + skb.urg_ptr - (not sk.net.tcp_stdurg)
    if sk.copied_seq > ptr or ptr < sk.rcv_nxt or (sk.urg_data and ptr <= sk.urg_seq):
        return
    at_mark = sk.urg_data and sk.urg_seq == sk.copied_seq
    if at_mark and not sk.urginline and sk.copied_seq != sk.rcv_nxt:
        sk.copied_seq += 1
        if sk.sk_receive_queue and sk.copied_seq >= sk.sk_receive_queue[0].end_seq:
            sk.sk_receive_queue.pop(0)
    sk.urg_data, sk.urg_seq = TCP_URG_NOTYET, ptr


# ---- net/ipv4/tcp.c


def tcp_set_state(sk: Sock, state: State) -> None:
    """net/ipv4/tcp.c: leaving ESTABLISHED or CLOSE_WAIT for CLOSE is what EstabResets counts."""
    if state == "CLOSE":
        if sk.sk_state in ("ESTABLISHED", "CLOSE_WAIT"):
            inc_stats(sk.net, sk.side, "EstabResets")
        tcp_unhash(sk)
    sk.sk_state = state


def tcp_unhash(sk: Sock) -> None:
    """inet_unhash() of net/ipv4/inet_hashtables.c"""
    if sk.net.ehash.get(sk.side) is sk:
        del sk.net.ehash[sk.side]


def tcp_done(sk: Sock) -> None:
    """net/ipv4/tcp.c"""
    tcp_set_state(sk, "CLOSE")
    sk.sk_shutdown = SHUTDOWN_MASK


def tcp_fin_time(sk: Sock) -> int:
    """include/net/tcp.h: seconds in FIN_WAIT2."""
    return sk.linger2 or sk.net.tcp_fin_timeout


NEW_STATE: Mapping[State, tuple[State, bool]] = {  # the state after, and TCP_ACTION_FIN
    "ESTABLISHED": ("FIN_WAIT1", True),
    "FIN_WAIT1": ("FIN_WAIT1", False),
    "FIN_WAIT2": ("FIN_WAIT2", False),
    "CLOSE": ("CLOSE", False),
    "CLOSE_WAIT": ("LAST_ACK", True),
    "LAST_ACK": ("LAST_ACK", False),
    "CLOSING": ("CLOSING", False),
}


def tcp_close_state(sk: Sock) -> bool:
    """net/ipv4/tcp.c: new_state[]. Returns whether a FIN is due."""
    state, fin = NEW_STATE[sk.sk_state]
    tcp_set_state(sk, state)
    return fin


def tcp_shutdown(sk: Sock, how: int) -> None:
    """net/ipv4/tcp.c"""
    if how & SEND_SHUTDOWN and sk.sk_state in ("ESTABLISHED", "CLOSE_WAIT") and tcp_close_state(sk):
        tcp_send_fin(sk)


def data_was_unread(sk: Sock) -> bool:
    """The loop of __tcp_close() over the receive queue, before and after 5f9238530970."""
    if sk.net.fix:
        return any(skb.end_seq - skb.fin > sk.copied_seq for skb in sk.sk_receive_queue)
    return sum(skb.len for skb in sk.sk_receive_queue) > 0


def tcp_close(sk: Sock, timeout: int) -> None:
    """net/ipv4/tcp.c, __tcp_close()"""
    sk.sk_shutdown = SHUTDOWN_MASK
    if sk.sk_state == "NEW_SYN_RECV":
        raise NotModelled("close of a request")
    unread = data_was_unread(sk)
    sk.sk_receive_queue.clear()
    if sk.sk_state != "CLOSE":  # else: already reset, or its FIN exchange is over
        if sk.repair:
            tcp_disconnect(sk)
        elif unread:
            # RFC 2525, section 2.17. Unread data was tossed, zap the connection.
            inc_stats(sk.net, sk.side, "TCPAbortOnClose")
            tcp_set_state(sk, "CLOSE")
            tcp_send_active_reset(sk)
        elif sk.linger and not sk.sk_lingertime:
            # Check zero linger _after_ checking for unread data.
            tcp_disconnect(sk)
            inc_stats(sk.net, sk.side, "TCPAbortOnData")
        elif tcp_close_state(sk):
            tcp_send_fin(sk)
        if timeout:
            softirq(sk.net)  # sk_stream_wait_close(): until FIN_WAIT2, or until the time is over
    # adjudge_to_death:
    state = sk.sk_state
    sk.dead = True  # sock_orphan()
    softirq(sk.net)  # __release_sock()
    if (state != "CLOSE" and sk.sk_state == "CLOSE") or sk.sk_state != "FIN_WAIT2":
        return
    if sk.linger2 < 0:
        tcp_set_state(sk, "CLOSE")
        tcp_send_active_reset(sk)
        inc_stats(sk.net, sk.side, "TCPAbortOnLinger")
    elif tcp_fin_time(sk) <= TCP_TIMEWAIT_LEN:
        tcp_time_wait(sk, "FIN_WAIT2")
    softirq(sk.net)


def tcp_need_reset(state: State) -> bool:
    """net/ipv4/tcp.c: these states need RST on ABORT according to RFC 793."""
    return state in ("ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT1", "FIN_WAIT2")


def tcp_disconnect(sk: Sock) -> None:
    """net/ipv4/tcp.c: ABORT function of RFC 793."""
    old_state = sk.sk_state
    if old_state != "CLOSE":
        tcp_set_state(sk, "CLOSE")
    unsent = sk.snd_nxt != sk.write_seq and old_state in ("CLOSING", "LAST_ACK")
    if sk.repair:
        sk.sk_err = "ECONNABORTED"
    elif tcp_need_reset(old_state) or unsent:
        tcp_send_active_reset(sk)
        sk.sk_err = "ECONNRESET"
    sk.sk_receive_queue.clear()
    sk.copied_seq = sk.rcv_nxt
    sk.urg_data = ""
    sk.sk_write_queue.clear()
    sk.out_of_order_queue.clear()
    sk.sk_shutdown = 0
    sk.sock_done = False


def tcp_abort(sk: Sock, error: str) -> None:
    """net/ipv4/tcp.c: SOCK_DESTROY."""
    if sk.sk_state == "CLOSE":
        raise Errno("ENOENT")
    if tcp_need_reset(sk.sk_state):
        tcp_send_active_reset(sk)
    sk.sk_err = error
    sk.sk_write_queue.clear()
    tcp_done(sk)
    softirq(sk.net)


def tcp_sendmsg(sk: Sock, size: int, *, oob: bool = False) -> int:
    """net/ipv4/tcp.c: takes what the send queue has room for, without waiting."""
    if (
        sk.sk_state not in ("ESTABLISHED", "CLOSE_WAIT")
        or sk.sk_err
        or sk.sk_shutdown & SEND_SHUTDOWN
    ):
        raise Errno(sock_error(sk) or "EPIPE")
    if sk.repair:
        raise Errno("EINVAL")
    size = min(size, SNDBUF - (sk.write_seq - sk.snd_nxt))
    if size <= 0:
        raise Errno("EAGAIN")
    sk.sk_write_queue.append(Skb(sk.side, sk.write_seq, sk.write_seq + size))
    sk.write_seq += size
    if oob:
        sk.snd_up = sk.write_seq  # tcp_mark_urg()
    tcp_write_xmit(sk)
    softirq(sk.net)
    return size


def tcp_recvmsg(sk: Sock, size: int, *, peek: bool = False) -> int:
    """net/ipv4/tcp.c, tcp_recvmsg_locked(): one recv that does not wait. Returns 0 at the end of
    file.

    An ordinary recv steps over the urgent mark, also one that then has nothing to give: that byte
    of the stream is lost, and no longer unread.
    """
    if sk.repair:
        raise Errno("EPERM")
    seq, copied = sk.copied_seq, 0
    while size > 0:
        # Are we at urgent data? Stop if we have read anything.
        if sk.urg_data and sk.urg_seq == seq and copied:
            break
        skb = next((s for s in sk.sk_receive_queue if seq - s.seq < s.len or s.fin), None)
        if skb is None:
            break
        if seq - skb.seq < skb.len:  # found_ok_skb
            used = min(size, skb.seq + skb.len - seq)
            if sk.urg_data and 0 <= sk.urg_seq - seq < used:
                if sk.urg_seq != seq:
                    used = sk.urg_seq - seq
                elif not sk.urginline:
                    seq, used = seq + 1, used - 1
            seq, copied, size = seq + used, copied + used, size - used
            if not peek:
                sk.copied_seq = seq
                if sk.urg_data and seq > sk.urg_seq:
                    sk.urg_data = ""
            if seq - skb.seq < skb.len:
                continue
            if not skb.fin:
                if not peek:
                    sk.sk_receive_queue.remove(skb)  # tcp_eat_recv_skb()
                continue
        if not peek:  # found_fin_ok
            sk.copied_seq = seq + 1
            sk.sk_receive_queue.remove(skb)
        break
    if copied:
        tcp_cleanup_rbuf(sk)
        return copied
    return tcp_recv_nothing(sk)


def tcp_recv_nothing(sk: Sock) -> int:
    """The part of tcp_recvmsg_locked() where no byte was found."""
    if sk.sock_done:
        return 0
    if sk.sk_err:
        raise Errno(sock_error(sk))
    if sk.sk_shutdown & RCV_SHUTDOWN:
        return 0
    raise Errno("ENOTCONN" if sk.sk_state == "CLOSE" else "EAGAIN")


def tcp_cleanup_rbuf(sk: Sock) -> None:
    """net/ipv4/tcp.c: tells the sender of the room that was made, where that is much."""
    window, now = tcp_select_window(sk), tcp_receive_window(sk)
    if not sk.sk_shutdown & RCV_SHUTDOWN and 2 * now <= sk.rcvbuf and window and window >= 2 * now:
        tcp_send_ack(sk)
        softirq(sk.net)


def tcp_recv_urg(sk: Sock) -> int:
    """net/ipv4/tcp.c: recv(MSG_OOB). Moves neither copied_seq nor the segment: the byte still
    counts as unread.
    """
    if sk.urginline or not sk.urg_data or sk.urg_data == TCP_URG_READ:
        raise Errno("EINVAL")
    if sk.sk_state == "CLOSE" and not sk.sock_done:
        raise Errno("ENOTCONN")
    if sk.urg_data == TCP_URG_VALID:
        sk.urg_data = TCP_URG_READ
        return 1
    if sk.sk_state == "CLOSE" or sk.sk_shutdown & RCV_SHUTDOWN:
        return 0
    raise Errno("EAGAIN")


def tcp_poll(sk: Sock) -> set[str]:
    """net/ipv4/tcp.c"""
    mask = set()
    if sk.sk_shutdown == SHUTDOWN_MASK or sk.sk_state == "CLOSE":
        mask.add("HUP")
    if sk.sk_shutdown & RCV_SHUTDOWN:
        mask |= {"IN", "RDHUP"}
    at_mark = bool(sk.urg_data) and sk.urg_seq == sk.copied_seq and not sk.urginline
    if sk.rcv_nxt - sk.copied_seq >= sk.rcvlowat + at_mark:
        mask.add("IN")
    if sk.sk_shutdown & SEND_SHUTDOWN or 2 * sum(s.len for s in sk.sk_write_queue) < SNDBUF:
        mask.add("OUT")
    if sk.urg_data == TCP_URG_VALID:
        mask.add("PRI")
    if sk.sk_err:
        mask.add("ERR")
    return mask


# ---- net/ipv4/inet_connection_sock.c, net/ipv4/af_inet.c


def inet_csk_listen_stop(child: Sock) -> None:
    """net/ipv4/inet_connection_sock.c: a connection that nobody accepted is disconnected; a request
    is dropped.
    """
    if child.sk_state == "NEW_SYN_RECV":
        tcp_unhash(child)
        return
    tcp_disconnect(child)  # inet_child_forget()
    child.dead = True
    softirq(child.net)


def inet_shutdown(sk: Sock, how: int) -> None:
    """net/ipv4/af_inet.c: the flags are set whatever the state; the sender learns nothing of
    SHUT_RD.
    """
    closed = sk.sk_state == "CLOSE"
    sk.sk_shutdown |= how
    tcp_shutdown(sk, how)
    softirq(sk.net)
    if closed:
        raise Errno("ENOTCONN")


def inet_release(sk: Sock, *, exiting: bool) -> None:
    """net/ipv4/af_inet.c: the last reference is gone. A process that exits never lingers."""
    tcp_close(sk, sk.sk_lingertime if sk.linger and not exiting else 0)


def inet_stream_connect(sk: Sock) -> None:
    """net/ipv4/af_inet.c, with AF_UNSPEC."""
    tcp_disconnect(sk)
    softirq(sk.net)


def setsockopt(sk: Sock, name: str, *values: int) -> None:
    """net/core/sock.c and net/ipv4/tcp.c: the options that an ending depends on."""
    if name == "SO_LINGER":
        sk.linger, sk.sk_lingertime = bool(values[0]), values[1]
    elif name == "SO_OOBINLINE":
        sk.urginline = bool(values[0])
    elif name == "SO_RCVLOWAT":
        sk.rcvlowat = values[0] or 1
    elif name == "TCP_LINGER2":
        sk.linger2 = max(-1, min(values[0], TCP_FIN_TIMEOUT_MAX))
    elif name == "TCP_REPAIR":
        sk.repair = bool(values[0])
    elif name not in WITHOUT_EFFECT:
        raise NotModelled(name)


WITHOUT_EFFECT = ("SO_KEEPALIVE", "TCP_NODELAY", "TCP_QUICKACK", "TCP_USER_TIMEOUT")


# ---- the program that runs: one step, one system call


ENDS = ("close", "close-other", "destroy", "disconnect", "end", "shutdown")


class Experiment:
    """The two programs at the ends of one connection, and what the peer's program learns of the
    end.
    """

    def __init__(self, *, fix: bool, challenges_unsent: bool) -> None:
        self.net = Net(fix=fix, challenges_unsent=challenges_unsent)
        self.socks: dict[Side, Sock | None] = {"closer": None, "peer": None}
        self.references = 0  # to the closer's socket, after the first
        self.holds = True  # the closer's first reference
        self.waiting = False  # for accept()
        self.connected = False
        self.ended = False
        self.recv: list[str] = []
        self.defer = False
        self.sent: dict[Side, int] = {"closer": 0, "peer": 0}
        self.beyond = 0  # of the peer's bytes, those that a raw socket sent behind a gap

    def run(self, steps: Sequence[tuple[str | int, ...]]) -> None:
        """Runs the steps; raises Refused and NotModelled."""
        for number, step in enumerate(steps, 1):
            try:
                self.step(step)
            except Errno as e:
                raise Refused(f"step {number} {step}: {e}") from None

    def prediction(self) -> Prediction:
        """Asks the peer's socket, and returns what must have been seen."""
        counters = {side: dict(counted) for side, counted in self.net.counters.items()}
        wire = self.wire()
        return Prediction(ending(wire), self.witness(), counters, wire)

    def wire(self) -> tuple[str, ...]:
        return tuple(f"{s.sender} {flags(s)}" for s in self.net.sent if s.fin or s.rst)

    def state(self) -> str:
        """Returns all that a later step may depend on, and all that was seen until now."""
        held = (self.holds, self.references, self.beyond)
        return repr(
            (
                self.socks,
                held,
                self.net.ehash,
                self.wire(),
                self.net.counters,
                self.recv,
                self.ended,
            )
        )

    def step(self, step: tuple[str | int, ...]) -> None:
        actor, verb, *rest = step
        if actor == "namespace":
            self.set_sysctl(str(rest[0]), str(rest[1]))
        elif actor == "listener" and verb == "set":
            self.defer = self.defer or rest[0] == "TCP_DEFER_ACCEPT"
            if rest[0] not in ("TCP_DEFER_ACCEPT", "TCP_FASTOPEN"):
                raise NotModelled(str(rest[0]))
        elif verb == "connect":
            self.connect(actor, *rest)
        elif verb == "wait":
            pass  # no timer is modelled: those that there are take longer, or change no ending
        else:
            if not self.connected:
                self.connect("peer", "unaccepted" if actor == "listener" else "tcp")
            if verb in ENDS and rest != ["read"] and actor != "peer":
                self.ended = True
            self.call(actor, str(verb), rest)

    def set_sysctl(self, key: str, value: str) -> None:
        if key == "net.ipv4.tcp_fin_timeout":
            self.net.tcp_fin_timeout = int(value)
        elif key == "net.ipv4.tcp_stdurg":
            self.net.tcp_stdurg = value != "0"
        elif key == "net.ipv4.tcp_rfc1337":
            self.net.tcp_rfc1337 = value != "0"
        elif key != "net.ipv4.tcp_fastopen":
            raise NotModelled(key)

    def connect(self, actor: str | int, how: str | int, size: str | int = 0) -> None:
        if how not in ("tcp", "mapped", "fastopen", "unaccepted"):
            raise NotModelled(str(how))
        self.connected = True
        client: Side = "peer" if actor == "peer" else "closer"
        server = other(client)
        for side in (client, server):
            sock = Sock(self.net, side)
            self.socks[side] = self.net.ehash[side] = sock
        self.waiting = self.defer or how == "unaccepted"
        if self.defer:
            accepted = self.socks[server]
            assert accepted is not None
            accepted.sk_state = "NEW_SYN_RECV"
        if how == "fastopen":
            self.call(client, "send", [size])

    def sock(self, side: Side) -> Sock:
        """Returns a side's socket, which is accepted now where that was put off."""
        sock = self.socks[side]
        if sock is None or (side == "closer" and not self.holds):
            raise Refused(f"{side} has no socket")
        if self.waiting and side == "closer":
            if sock.sk_state == "NEW_SYN_RECV":
                raise Refused("nothing to accept")
            self.waiting = False
        return sock

    def call(self, actor: str | int, verb: str, rest: Sequence[str | int]) -> None:
        if actor == "listener":
            child = self.socks["closer"]
            if child is not None and self.waiting:
                inet_csk_listen_stop(child)
                self.socks["closer"] = None
            return
        if actor not in ("closer", "peer"):
            raise NotModelled(f"{actor} {verb}")
        side: Side = "closer" if actor == "closer" else "peer"
        if verb == "close-other":
            self.drop_reference(exiting=False)
        else:
            self.socket_call(side, self.sock(side), verb, rest)

    def socket_call(self, side: Side, sk: Sock, verb: str, rest: Sequence[str | int]) -> None:
        match verb, *rest:
            case ("accept",):
                pass
            case "set", str(name), *values:
                setsockopt(sk, name, *(int(v) for v in values))
            case "send", int(size):
                self.send(side, sk, size)
            case "send-urgent", int(size):
                self.send(side, sk, size, oob=True)
            case ("send-until-blocked",):
                while sent := tcp_sendmsg_or_block(sk):
                    self.sent[side] += sent
            case "read-waitall", int(size):
                if self.one_recv(side, sk, size) < size and "RDHUP" not in tcp_poll(sk):
                    raise Refused("fewer bytes, and no end")
            case (("read" | "discard" | "splice"), int(size)):
                self.read(side, sk, size)
            case "peek", int(size):
                if tcp_recvmsg(sk, size, peek=True) < size:
                    raise Refused("fewer bytes to peek at")
            case ("read-all",):
                self.read_all(side, sk)
            case ("read-to-end",):
                self.read_to_end(side, sk)
            case ("try-read",):
                self.try_read(side, sk)
            case ("read-urgent",):
                tcp_recv_urg(sk)
                self.took(side, 1)
            case "shutdown", str(way):
                inet_shutdown(sk, {"read": 1, "write": 2, "both": 3}[way])
            case ("close",):
                self.close(side, sk, exiting=False)
            case "end", str(how):
                self.close(side, sk, exiting=how != "exec")
            case "reference", _:
                self.references += 1
            case ("disconnect",):
                inet_stream_connect(sk)
            case ("destroy",):
                tcp_abort(sk, "ECONNABORTED")
            case "resend-fin", int(size), *urgent:
                self.resend(sk, size, fin=True, urgent=bool(urgent))
            case "resend", int(size), *urgent:
                self.resend(sk, size, fin=False, urgent=bool(urgent))
            case "send-out-of-order", int(size):
                first = max(self.sent["peer"], self.beyond) + 1
                self.beyond = first + size
                self.raw(
                    Skb(
                        "peer",
                        1 + first,
                        1 + self.beyond,
                        ack_seq=sk.rcv_nxt,
                        window=tcp_receive_window(sk),
                    )
                )
            case _:
                raise NotModelled(verb)

    # -- bytes --

    def send(self, side: Side, sk: Sock, size: int, *, oob: bool = False) -> None:
        left = size
        while left:
            try:
                left -= tcp_sendmsg(sk, left, oob=oob)
            except Errno as e:
                if str(e) == "EAGAIN" or side == "closer" or not self.ended:
                    raise
                self.recv.append(f"send: {e}")  # no failure, but what the peer learns of the end
                return
        self.sent[side] += size
        receiver = self.net.ehash.get(other(side))
        if isinstance(receiver, Sock) and receiver.rcv_nxt < sk.snd_nxt and sk.sk_state != "CLOSE":
            raise Refused("the bytes do not arrive")

    def resend(self, peer: Sock, size: int, *, fin: bool, urgent: bool) -> None:
        """A raw socket sends the peer's last bytes once more; the peer's own socket knows nothing
        of it.
        """
        end = 1 + self.sent["peer"]
        closer = self.net.ehash.get("closer")
        if size >= end:
            raise Refused("the peer has not sent as much")
        established = isinstance(closer, Sock) and closer.sk_state == "ESTABLISHED"
        skb = Skb("peer", end - size, end + fin, fin=fin, ack_seq=peer.rcv_nxt)
        skb.window, skb.urg_ptr = tcp_receive_window(peer), size if urgent else 0
        self.raw(skb)
        if fin and not (
            established and isinstance(closer, Sock) and closer.sk_state == "CLOSE_WAIT"
        ):
            raise Refused("the closer does not take the segment")

    def raw(self, skb: Skb) -> None:
        if self.sock("closer").sk_write_queue:  # a raw segment needs that socket, accepted
            raise Refused("the closer is blocked, and would take the segment for an answer")
        if self.sock("peer").snd_nxt <= self.sent["peer"]:
            raise Refused("the peer's bytes were not all sent")
        before = sum(sent.sender == "closer" for sent in self.net.sent)
        loopback_xmit(self.net, skb)
        softirq(self.net)
        if not skb.fin and sum(sent.sender == "closer" for sent in self.net.sent) == before:
            raise Refused("the closer does not answer")

    def took(self, side: Side, result: int | str) -> None:
        """Notes what a recv of the peer gave once the closer ended; what repeats itself is one."""
        if side == "closer" or not self.ended:
            return
        last = self.recv[-1] if self.recv else ""
        if result and isinstance(result, int) and last.isdigit() and last != "0":
            self.recv[-1] = str(int(last) + result)
        elif last != str(result):
            self.recv.append(str(result))

    def one_recv(self, side: Side, sk: Sock, size: int = 65536) -> int:
        try:
            got = tcp_recvmsg(sk, size)
        except Errno as e:
            if str(e) != "EAGAIN":
                self.took(side, str(e))
            raise
        self.took(side, got)
        return got

    def refuse_a_race(self, side: Side) -> None:
        """Refuses to read where the sender is blocked: how much comes through meanwhile is a matter
        of time.
        """
        sender = self.net.ehash.get(other(side))
        if isinstance(sender, Sock) and sender.sk_write_queue:
            raise Refused("the sender is blocked")

    def read(self, side: Side, sk: Sock, size: int) -> None:
        while size:
            got = self.one_recv(side, sk, size)
            if not got:
                raise Refused("end of file")
            size -= got

    def read_all(self, side: Side, sk: Sock) -> None:
        self.refuse_a_race(side)
        try:
            while self.one_recv(side, sk):
                pass
        except Errno as e:
            if str(e) != "EAGAIN" and not (self.ended and side == "peer"):
                raise

    def read_to_end(self, side: Side, sk: Sock) -> None:
        try:
            while self.one_recv(side, sk):
                pass
        except Errno as e:
            if str(e) == "EAGAIN":
                raise

    def try_read(self, side: Side, sk: Sock) -> None:
        self.refuse_a_race(side)
        try:
            self.one_recv(side, sk)
        except Errno as e:
            if str(e) == "EAGAIN":
                self.took(side, "EAGAIN")

    # -- ends --

    def close(self, side: Side, sk: Sock, *, exiting: bool) -> None:
        if side == "peer":
            self.socks["peer"] = None
            inet_release(sk, exiting=exiting)
        else:
            self.holds = False
            self.release(sk, exiting=exiting)

    def drop_reference(self, *, exiting: bool) -> None:
        sk = self.socks["closer"]
        if not self.references or sk is None:
            raise Refused("there is no other reference")
        self.references -= 1
        self.release(sk, exiting=exiting)

    def release(self, sk: Sock, *, exiting: bool) -> None:
        if not self.holds and not self.references:
            inet_release(sk, exiting=exiting)

    # -- what is seen --

    def witness(self) -> Witness | None:
        sk = self.socks["peer"]
        if sk is None:
            return None
        state, mask = sk.sk_state, tcp_poll(sk)
        poll = tuple(name for name in ("IN", "PRI", "OUT", "ERR", "HUP", "RDHUP") if name in mask)
        self.ended = True
        for _ in range(3):
            try:
                if not self.one_recv("peer", sk):
                    break
            except Errno as e:
                if str(e) == "EAGAIN":
                    self.took("peer", "EAGAIN")
                    break
        return Witness(NUMBERS[state], poll, tuple(self.recv), sock_error(sk) or "0")


def tcp_sendmsg_or_block(sk: Sock) -> int:
    """Returns what one send took of "until blocked", 0 where it would block."""
    try:
        return tcp_sendmsg(sk, 65536)
    except Errno as e:
        if str(e) == "EAGAIN":
            return 0
        raise


def flags(skb: Skb) -> str:
    """Returns the flags that matter as tcpdump writes them."""
    return "F" * skb.fin + "R" * skb.rst + "." * skb.ack


def ending(wire: Sequence[str]) -> Ending:
    """Returns what the closer's segments with FIN or RST amount to."""
    mine = [segment.split()[1] for segment in wire if segment.startswith("closer ")]
    rst = next((i for i, word in enumerate(mine) if "R" in word), None)
    fin = next((i for i, word in enumerate(mine) if "F" in word), None)
    if rst is None:
        return "nothing" if fin is None else "FIN"
    return "RST" if fin is None or rst < fin else "FIN, then RST"


def predict(steps: Sequence[Step | tuple[str | int, ...]], *, fix: bool) -> Prediction:
    """Returns what must be seen of a scenario, with or without 5f9238530970.

    Raises Refused where a step cannot be carried through, NotModelled where the model knows nothing
    of it.
    """
    calls = [step.call if isinstance(step, Step) else step for step in steps]
    seen = predicted(calls, fix=fix, challenges_unsent=fix)
    if not any(call[1] in RAW for call in calls):
        return seen
    other = predicted(calls, fix=fix, challenges_unsent=not fix)
    return seen if seen == other else replace(seen, other=other)


RAW = ("resend", "resend-fin", "send-out-of-order")
"""Steps after which one kernel may acknowledge what the other never sent."""


def predicted(
    calls: Sequence[tuple[str | int, ...]], *, fix: bool, challenges_unsent: bool
) -> Prediction:
    """Returns what must be seen on one kind of kernel."""
    experiment = Experiment(fix=fix, challenges_unsent=challenges_unsent)
    experiment.run(calls)
    return experiment.prediction()
