"""Runs one trial."""

import fcntl
import select
import socket
import struct
import time

from .connecting import connect
from .constants import (
    CLOSE,
    CLOSE_WAIT,
    CLOSING,
    ERRORS,
    FIN_WAIT1,
    FIN_WAIT2,
    FIONREAD,
    GONE,
    HEARING,
    LAST_ACK,
    MAX_STATE,
    PATIENCE,
    POLLRDHUP,
    QUIET,
    RESET,
    SCARCE,
    SIDES,
    SIOCOUTQ,
    TCP_INFO,
    TCP_QUICKACK,
    TOOK_FIN,
    micros,
    other,
)
from .counters import NEEDED
from .errors import Failed, Scarce, TimedOut, name_of, number_of, words_of, would_block
from .files import write
from .listeners import accept_from
from .sysctls import path_of
from .system import safe_close
from .trace import connection_of, trace_of
from .verbs import ENDS, VERBS
from .waiting import TIMEOUT, Wait, awaited, names_of, now, polled, wait_until

# When an ending is final: once the kernel has nothing more to send of its own accord that could change what the closer
# sent. To be quiet for a while is not enough. The functions are those of net/ipv4.
#
# - The peer's socket is in CLOSE: tcp_reset() or the last ACK took it there, and it sends and takes nothing any more.
# - The closer's FIN was sent and is not acknowledged (FIN_WAIT1, CLOSING, LAST_ACK): the ACK may be answered by a RST,
#   since tcp_rcv_state_process() gives an orphan with TCP_LINGER2 below zero no FIN_WAIT2. The peer may put that ACK
#   off by 40 ms; tcp_cleanup_rbuf() sends it when the FIN was read and TCP_QUICKACK is set, so both are done.
# - The closer's FIN is queued behind data for which the peer has no room: it leaves when the peer reads. Where nothing
#   moves although the kernel had the time to probe the window (tcp_probe_timer(), from the RTO on), it stays so, since
#   no step is left. The same holds for what the peer still has for a closer that has not closed.
# - The closer is closed, or has sent FIN and shut reading, and the peer has bytes that are not acknowledged: they will
#   be sent (tcp_write_xmit(), tcp_probe_timer()) and answered by a RST (tcp_v4_rcv(), tcp_rcv_state_process()).
# - The closer is in FIN_WAIT2 or TIME_WAIT, or gone: tcp_close() and tcp_time_wait() leave no timer that sends.
# - MPTCP: mptcp_worker() passes on to the socket what its subflows got (mptcp_check_fastclose(),
#   mptcp_check_data_fin()), some milliseconds later.
#
# Who says so: TCP_INFO and SIOCOUTQ of a socket that is still open, sock_diag(7) or /proc/net/tcp for one that is not.
# What is outstanding after two timeouts without progress is reported: the ending is not known.


class Trial(object):
    """One connection from its beginning to its end, and what three witnesses said of the end."""

    def __init__(self, lab, family, steps):
        self.lab, self.family, self.steps = lab, family, steps
        self.kind = "unix" if family == "unix" else "tcp"
        self.socks = {"closer": None, "peer": None}
        self.sent = {"closer": 0, "peer": 0}
        self.received = {"closer": 0, "peer": 0}
        self.gone = set()  # sides that ended
        self.address = {}  # by side: what a socket that is gone cannot be asked for any more
        self.listener, self.own_listener, self.listener_options, self.backlog = (
            None,
            False,
            [],
            None,
        )
        self.queue_is_full = False
        self.client_side, self.client, self.waiting, self.signed = None, 0, False, False
        self.references, self.children, self.restore = [], [], []
        self.packets, self.marks, self.peer_recv, self.queue = [], [], [], {}
        self.beyond = 0  # where the bytes end that were sent out of order
        self.messages, self.poll_added = False, []
        self.kept = []  # those of `packets` that are reported
        self.ended = False  # the closer's first ending step was done
        self.left = 0  # bytes of the closer that were not acknowledged before its last ending step
        self.sent_before, self.heard_at, self.hastened = (
            0,
            0.0,
            False,
        )  # segments of the peer when it heard a FIN
        self.shut_reading, self.outstanding = False, ""
        self.forged = (
            False  # the peer's kernel did not send it all, and drops what acknowledges the rest
        )
        self.timed_out = False
        self.cleanups = []

    def run(self):
        """Runs the steps and returns the trial as it is reported; raises NotHere."""
        lab = self.lab
        TIMEOUT.begin_trial()
        if lab.capture:
            lab.capture.drain(-1, [])
            lab.capture.lost()
        before = lab.counters.read()
        self.began = int(time.time() * 1e6) / 1e6
        error, failed_step = "", None
        try:
            try:
                for i, step in enumerate(self.steps):
                    self.marks.append((micros(time.time() - self.began), i))
                    self.step(i, step)
            except (Failed,) + ERRORS as e:
                if number_of(e) in SCARCE:
                    raise Scarce(
                        "this host gives the probe too little to work with (%s)" % name_of(e)
                    )
                error, failed_step = words_of(e), i
                self.timed_out = isinstance(e, (TimedOut, socket.timeout))
            self.hold()
            after = lab.counters.read()
            return dict(self.report(error, self.witness(), before, after), failed_step=failed_step)
        finally:
            self.clean_up()

    def step(self, i, step):
        actor, verb = step[0], step[1]
        if (
            actor in ("closer", "peer", "both")
            and verb not in ("connect", "sign")
            and self.client_side is None
        ):
            self.connect_first("tcp")
        if (
            verb == "fill-queue" or (actor, verb) == ("listener", "close")
        ) and self.client_side is None:
            self.connect_first("unaccepted")
        if self.kind == "unix":
            self.step_over_unix(i, step)
            return
        ends = verb in ENDS and tuple(step[1:3]) != ("shutdown", "read")
        if not (ends or (self.ended and verb.startswith("send"))):
            VERBS[verb](self, actor, *step[2:])
            return
        if ends and actor in ("closer", "listener"):
            if not self.ended or verb != "shutdown":  # after a half-close more may have come
                self.look_at_queue()
            self.ended = True
        watcher = other(actor) if actor in SIDES and ends else "peer"
        before, sent = self.events(watcher), self.segments_out(watcher)
        took = self.took_fin(watcher)
        stuck = actor == "peer" and (took or self.number(actor, SIOCOUTQ) > 0)  # hears nothing, yet
        if actor == "closer":
            self.left = max(
                [0] + [self.number_of(s, SIOCOUTQ) for s in self.open_sockets("closer")]
            )
        VERBS[verb](self, actor, *step[2:])
        if ends and actor == "peer":
            if not stuck and not self.hear(watcher, before) and not self.took_fin(watcher):
                raise TimedOut("the closer did not hear of it")
        else:
            at_once = (
                self.lab.settle() and self.kind != "mptcp"
            )  # TCP has sent it then; MPTCP tells the socket later
            self.hear(watcher, before, 0 if at_once else TIMEOUT.stretched(HEARING))
            if ends and watcher == "peer" and not took:  # also where it hears of it later
                self.sent_before, self.heard_at = sent, now()
        if ends and i + 1 < len(self.steps) and not took:
            self.wait_for_ack(watcher, sent)

    def connect_first(self, how):
        """Connects the two where no step says how; raises Failed."""
        try:
            connect(self, "peer", how)
        except (Failed,) + ERRORS as e:
            if number_of(e) in SCARCE:
                raise
            raise Failed("they could not be connected: " + words_of(e))

    def step_over_unix(self, i, step):
        """Carries out a step over AF_UNIX, where a call has done all that it does when it returns.

        Notes which of the peer's events each ending step of the closer adds; the peer can bring about some itself.
        """
        actor, verb = step[0], step[1]
        if actor != "closer" or verb not in ENDS:
            VERBS[verb](self, actor, *step[2:])
            return
        if not self.ended:
            self.look_at_queue()
            self.ended = True
        before = self.events("peer")
        VERBS[verb](self, actor, *step[2:])
        self.poll_added.append((i, names_of(self.events("peer") & ~before)))

    # -- what the verbs stand on --

    def sock(self, side):
        """Returns a side's socket, accepting it first where that was put off; raises Failed where it is gone."""
        if self.socks[side] is None and self.waiting and side != self.client_side:
            self.accept()
        if self.socks[side] is None:
            raise Failed("the %s has no socket" % side)
        return self.socks[side]

    def accept(self):
        side = other(self.client_side)
        self.socks[side] = accept_from(self.listener, self.address[self.client_side][1:])
        self.waiting = False

    def events(self, side):
        """Returns what poll(2) says of a side now, without waiting."""
        sock = self.socks[side]
        return polled(sock, POLLRDHUP, 0) if sock is not None else 0

    def hear(self, side, before, seconds=None):
        """Returns whether a side hears more of an end within `seconds`, or TIMEOUT's, than the events `before` said."""
        sock = self.socks[side]
        if sock is None or before & (select.POLLERR | select.POLLHUP):
            return True
        if before & POLLRDHUP:
            return bool(
                polled(sock, 0, TIMEOUT.stretched(HEARING / 2) if seconds is None else seconds)
            )
        return bool(
            awaited(sock, POLLRDHUP) if seconds is None else polled(sock, POLLRDHUP, seconds)
        )

    def took_fin(self, side):
        """Returns whether a side has no socket, or its TCP has taken a FIN; shut reading itself, it hears of none."""
        return self.socks[side] is None or self.info(side)[0:1] in TOOK_FIN

    def segments_out(self, side):
        """Returns how many segments this side's kernel sent (tcpi_segs_out, since 4.2), None where unknown. The SYN-ACK
        does not count, so that it is 0 for a side that accepted and was only spoken to."""
        info = self.info(side)
        return struct.unpack_from("I", info, 136)[0] if len(info) >= 140 else None

    def wait_for_ack(self, side, before):
        """Waits until a side that heard a FIN has acknowledged it, which it may put off by 40 ms: a closer that is
        still in FIN_WAIT1 goes other ways in what follows. `before` is what segments_out was."""
        if (
            before is not None
            and self.events(side) & (POLLRDHUP | select.POLLHUP | select.POLLERR) == POLLRDHUP
        ):
            if side == "peer":
                self.hasten_ack()
            wait_until(lambda: (self.segments_out(side) or 0) > before, TIMEOUT.stretched(0.25))
            self.lab.settle()  # it was sent; it has to arrive

    def info(self, side):
        """Returns a side's struct tcp_info as bytes, b"" where there is none."""
        return self.info_of(self.socks[side])

    def info_of(self, sock):
        """Returns a socket's struct tcp_info as bytes, b"" where there is none."""
        if sock is None or self.kind == "unix":
            return b""
        try:
            return sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
        except ERRORS:
            return b""

    def received_by_kernel(self, side):
        """Returns how many bytes this side's kernel took in (tcpi_bytes_received, since 4.1), None where unknown."""
        info = self.info(side)
        return struct.unpack_from("Q", info, 128)[0] if len(info) >= 136 else None

    def number(self, side, request):
        """Returns what FIONREAD or SIOCOUTQ says of a side, 0 where it cannot say."""
        return self.number_of(self.socks[side], request)

    def number_of(self, sock, request):
        """Returns what FIONREAD or SIOCOUTQ says of a socket, 0 where there is none or it cannot say."""
        try:
            return (
                0
                if sock is None
                else struct.unpack("i", fcntl.ioctl(sock, request, b"\0\0\0\0"))[0]
            )
        except ERRORS:
            return 0

    def window(self, side):
        """Returns how many bytes wide the window is that a side announced last, as the other side's kernel has it
        (tcpi_snd_wnd, since 5.4), None where it does not tell."""
        info = self.info(other(side))
        return struct.unpack_from("I", info, 228)[0] if len(info) >= 232 else None

    def announces_zero(self, side):
        """Returns whether a side's window is known to be zero without tcpi_snd_wnd: the last segment that was captured
        of it says so, or the other side's kernel probes it, which it does only where not one more byte fits."""
        self.drain()
        sent = self.packets_of(side)
        if sent and sent[-1].window == 0:
            return True
        retransmits, probes, backoff = bytearray(self.info(other(side))[2:5]) or (0, 0, 0)
        return bool(probes or (backoff and not retransmits))

    def note_window(self, side, left):
        """Notes how many bytes of a side's window are left, where that is known and there is a window."""
        if left is not None and self.kind != "unix":
            self.queue[side + " window"] = left

    def rto(self, side):
        """Returns a side's retransmission timeout in seconds (tcpi_rto), 0 where unknown."""
        info = self.info(side)
        return struct.unpack_from("I", info, 8)[0] / 1e6 if len(info) >= 12 else 0.0

    def persist_time(self, side):
        """Returns after how many seconds without any progress a sender is blocked for good: its persist timer first
        goes off after one RTO, and what answers to that may be put off by 40 ms."""
        return min(4 * max(self.rto(side), 0.2), 4.0)

    def acknowledge(self, side):
        """Has a side send now the acknowledgment that it may put off by 40 ms; returns whether its kernel lets it."""
        try:
            self.socks[side].setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)
            return True
        except (AttributeError,) + ERRORS:
            return False

    def arrive(self, sender):
        """Waits until what a side sent is in the other's receive queue, or that is full, or the sender was reset for
        it; raises Failed."""
        receiver = other(sender)
        if self.kind == "unix":
            return
        if receiver in self.gone or self.queue_is_full:
            self.lab.settle()  # what is sent to nobody is reset
            return
        if self.socks[receiver] is None:
            if not wait_until(
                lambda: self.number(sender, SIOCOUTQ) == 0 or self.info(sender)[0:1] == RESET
            ):
                raise TimedOut("the bytes were not acknowledged")
            return
        seen = [-1, now()]  # how many bytes, and since when

        def arrived():
            if self.info(sender)[0:1] == RESET:
                return True
            got = self.received_by_kernel(receiver)
            if self.beyond and got > self.sent[sender]:
                self.forged = True  # the gap was filled, see send_out_of_order
            if got is None:
                return self.number(receiver, FIONREAD) > 0 or self.number(sender, SIOCOUTQ) == 0
            if got != seen[0]:
                seen[:] = [got, now()]
            # Full: nothing moved for 10 ms or more though there is something to move.
            quiet = now() - seen[1] > TIMEOUT.stretched(0.01)
            return got >= self.sent[sender] or (got > 0 and quiet and self.number(sender, SIOCOUTQ))

        while not wait_until(arrived):
            if now() - seen[1] >= TIMEOUT.seconds():
                raise TimedOut("the bytes did not arrive")

    def took(self, side, result):
        """Notes what a recv gave; the peer's after the end are testimony. Consecutive numbers are one."""
        count = result if isinstance(result, int) else 0
        self.received[side] += count
        if side == "peer" and self.ended:
            said = self.peer_recv
            if count and said and said[-1].isdigit() and said[-1] != "0":
                said[-1] = str(int(said[-1]) + count)
            elif len(said) < 15 and said[-1:] != [str(result)]:  # a reply has room for 16
                said.append(str(result))

    def note_refused_send(self, side, error):
        """Notes the error of a send by the peer after the end: what it learns of the end. Raises any other."""
        if not self.ended or side != "peer":
            raise error
        if len(self.peer_recv) < 10:  # a reply has room for 16, and recv comes later
            self.peer_recv.append("send: " + name_of(error))

    def recv(self, side, size, flags=0, wait=False):
        """Returns the bytes that one recv gives, which waits for what must come where `wait` is true; raises OSError,
        also EAGAIN."""
        sock = self.sock(side)
        if wait:
            awaited(sock, select.POLLIN | POLLRDHUP)
        try:
            data = sock.recv(size, QUIET | flags)
        except ERRORS as e:
            if not would_block(e):
                self.took(side, name_of(e))
            raise
        if not flags & socket.MSG_PEEK:
            self.took(side, len(data))
        return data

    def gather(self, side, count, flags=0):
        """Receives exactly `count` bytes; raises Failed where they do not come."""
        left, wait = count, Wait()
        while left > 0:
            try:
                size = len(self.recv(side, min(left, 65536), flags, True))
            except ERRORS as e:
                if would_block(e) and not wait.is_over():
                    continue
                kind, why = (TimedOut, "no more came") if would_block(e) else (Failed, words_of(e))
                raise kind("%s after %d of %d bytes" % (why, count - left, count))
            if size == 0:
                raise Failed("end of file after %d of %d bytes" % (count - left, count))
            left -= size
            wait.restart()

    def look_at_queue(self):
        """Notes what the closer's receive queue holds; rx_queue tells more than FIONREAD, but lists a namespace."""
        sock = self.socks["closer"]
        if sock is None:
            return
        self.queue["fionread"] = self.number("closer", FIONREAD)
        self.queue.pop("rx_queue", None)
        if self.lab.private and self.kind in ("tcp", "mapped"):
            unread = self.lab.rx_queue(self.address["closer"], self.address["peer"], self.steps)
            if unread is not None:
                self.queue["rx_queue"] = unread

    # -- what the witnesses say --

    def hold(self):
        """Waits until the ending is final, and takes in what was captured. Before the peer is asked: its recv opens a
        window that was shut, and what comes through then is no part of the ending."""
        self.outstanding = "" if self.kind == "unix" else self.wait_for_the_end()
        if self.kind == "mptcp":
            self.wait_for_quiet()
        for _ in range(2):  # an ACK that left just now, and a RST that answers to it
            self.lab.settle()
        self.drain()

    def wait_for_the_end(self):
        """Returns "" once nothing more can come, else what may still come; see the head of this section."""
        amount, limit, pause, least = None, now() + 2 * TIMEOUT.seconds(), 0.0005, 0.0
        if self.kind == "mptcp":  # its worker may be late by more than any timer of TCP
            least = TIMEOUT.seconds()
        while True:
            self.deliver()
            what, left = self.may_come()
            if not what:
                return ""
            if left != amount:
                amount, end = left, now() + max(least, self.two_timeouts())
            if now() > min(end, limit):
                return "" if self.waits_for_a_reader() else what
            time.sleep(pause)
            pause = min(2 * pause, 0.008)

    def deliver(self):
        """Has everything delivered that is on its way, the peer's ACK of a FIN with it."""
        self.lab.settle()
        self.hasten_ack()
        for _ in range(2):  # and once more for what answers to that
            self.lab.settle()
        self.drain()

    def hasten_ack(self):
        """Has the peer acknowledge at once a FIN that it heard and before which nothing is left to read."""
        if any(tuple(step[:2]) == ("closer", "send-urgent") for step in self.steps):
            return  # a recv would step over the urgent byte, which FIONREAD does not count
        heard = self.events("peer") & (POLLRDHUP | select.POLLERR | select.POLLHUP)
        if heard == POLLRDHUP and not self.number("peer", FIONREAD):
            try:
                self.recv("peer", 1)
                self.hastened = self.acknowledge("peer") or self.hastened
            except ERRORS:
                pass

    def may_come(self):
        """Returns (what may still come, an amount that shrinks on the way), or ("", 0)."""
        peer = self.state_of("peer")
        if self.kind == "mptcp" and self.is_worker_late(peer):
            return "MPTCP has not told the peer's socket of it", 1
        if peer[0] == CLOSE and self.socks["peer"] is not None:
            return "", 0
        closer = self.state_of("closer", peer[0])
        if closer is None:
            return "what the closer still has to send cannot be read", 1
        if closer[0] in (FIN_WAIT1, CLOSING, LAST_ACK) and closer[1] and not self.forged:
            return "the closer's FIN is not acknowledged", closer[1]
        if peer[0] != GONE and peer[1] and self.is_deaf(closer[0]):
            return "the peer still sends to a socket that was closed", peer[1]
        return "", 0

    def state_of(self, side, others=GONE):
        """Returns (tcpi_state, bytes that are not acknowledged, FIN with them) of a side, GONE where its socket is no
        more and None where that cannot be read; `others` is the state of the other side's socket."""
        for sock in self.open_sockets(side):
            info = self.info_of(sock)
            if info:
                return ord(info[0:1]), self.number_of(sock, SIOCOUTQ)
        if side not in self.address:
            return GONE, 0
        ends = self.address[side], self.address[other(side)]
        found = self.lab.diagnosed(*ends)
        if found is None and others in (
            CLOSE_WAIT,
            LAST_ACK,
            CLOSING,
        ):  # its FIN came, and with it all before that
            return (GONE, 0) if self.is_fin_acknowledged() else (FIN_WAIT1, 1)
        if found is None and others != GONE and not self.left and not self.number("peer", FIONREAD):
            return GONE, 0  # a FIN with nothing before it had left
        return found or self.lab.listed(*ends)

    def open_sockets(self, side):
        """Returns the sockets of a side that this process still holds."""
        kept = self.references if side == "closer" and self.socks["closer"] is None else ()
        return [s for s in [self.socks[side]] + list(kept) if hasattr(s, "getsockopt")]

    def is_fin_acknowledged(self):
        """Returns whether the peer, which heard a FIN, has sent a segment since; all put off no longer than 0.2 s."""
        sent = self.segments_out("peer")
        if sent is None or self.sent_before is None:
            return self.hastened or now() > self.heard_at + TIMEOUT.stretched(0.25)
        return self.hastened or sent > self.sent_before

    def is_deaf(self, state):
        """Returns whether the closer answers new data with a RST: closed, or shut both ways."""
        if self.forged and self.beyond > self.sent["peer"]:
            return False  # nothing new is left: the closer took it from behind a gap
        return "closer" in self.gone or (
            self.shut_reading and state in (FIN_WAIT1, FIN_WAIT2, CLOSING)
        )

    def is_worker_late(self, peer):
        """Returns whether the peer's MPTCP socket has still to hear of what its subflow got."""
        if self.socks["peer"] is None or self.events("peer") & (
            POLLRDHUP | select.POLLHUP | select.POLLERR
        ):
            return False
        closers = self.packets_of("closer")
        ended = any(p.bits & 0x01 or "DATA_FIN" in p.options for p in closers)
        return peer[0] == CLOSE or (ended and not any(p.bits & 0x04 for p in closers))

    def waits_for_a_reader(self):
        """Returns whether a side keeps what is outstanding out, with data in its queue that it does not read."""
        peer_does = not self.took_fin("peer") and self.has_unread("peer")
        return peer_does or ("closer" not in self.gone and self.has_unread("closer"))

    def has_unread(self, side):
        """Returns whether a side has data to read; FIONREAD ends before an urgent byte, rx_queue does not."""
        ends = self.address[side], self.address[other(side)]
        found = self.lab.diagnosed(*ends) or self.lab.listed(*ends)
        return bool(found and found[2]) or self.number(side, FIONREAD) > 0

    def two_timeouts(self):
        """Returns twice the time after which the peer sends again or probes a window (tcpi_rto, tcpi_backoff)."""
        backoff = ord(self.info("peer")[4:5] or b"\0")
        return min(max(0.1, 2 * (self.rto("peer") or 0.25) * 2 ** min(backoff, 4)), 2 * PATIENCE)

    def witness(self):
        """Returns what the peer's socket says: state and poll first, which consume nothing, SO_ERROR last, which
        shares one pending error with recv."""
        sock = self.socks["peer"]
        if sock is None:
            return None
        info = self.info("peer")
        state = ord(info[0:1]) if info else None
        if state is not None and state > MAX_STATE:
            state = None
        bits = polled(sock, select.POLLIN | select.POLLPRI | select.POLLOUT | POLLRDHUP, 0)
        poll = names_of(bits)
        self.ended = True
        for _ in range(3):
            try:
                if not self.recv("peer", 65536):
                    break
            except ERRORS as e:
                if would_block(e):
                    self.took("peer", name_of(e))
                    break
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return {
            "state": state,
            "poll": poll,
            "recv": self.peer_recv,
            "so_error": name_of(error) if error else "0",
            "poll_added": self.poll_added,
        }

    def wait_for_quiet(self):
        """Waits until nothing was captured for a while: MPTCP ends its subflows from a worker, a little later."""
        if self.lab.capture:
            end = now() + TIMEOUT.stretched(HEARING)
            while now() < end and polled(
                self.lab.capture.sock, select.POLLIN, TIMEOUT.stretched(0.005)
            ):
                self.drain()

    def drain(self):
        """Moves what was captured of this connection into `packets`."""
        if self.lab.capture and self.client:
            self.lab.capture.drain(self.client, self.packets)

    def packets_of(self, side):
        """Returns those of `packets` that a side sent."""
        return [p for p in self.packets if (p.source == self.client) == (side == self.client_side)]

    def report(self, error, peer, before, after):
        lab = self.lab
        wire, note, lost, omitted, connection = None, lab.wire_note, 0, 0, None
        if self.kind == "unix":
            note = "AF_UNIX has no segments"
        elif lab.capture:
            lost = lab.capture.lost()
            wire, self.kept = trace_of(self.packets, self.client, self.client_side, self.began)
            omitted = len(self.packets) - len(self.kept)
            connection = connection_of(self.packets, self.client, self.client_side, self.began)
            if connection and self.kind == "mapped":
                connection["mapped"] = True
        moved = None
        if before and after and all(n in before and n in after for n in NEEDED):
            grown = ((n, after[n] - before[n]) for n in after if n in before)
            moved = {n: min(by, 0xFFFFFFFF) for n, by in grown if by > 0}
        amounts = {}
        for side in SIDES:
            amounts[side + " sent"], amounts[side + " received"] = (
                self.sent[side],
                self.received[side],
            )
        return {
            "count": 1,
            "wire": wire,
            "wire_note": note,
            "wire_lost": lost,
            "wire_omitted": omitted,
            "peer": peer,
            "connection": connection,
            "kernel": moved,
            "steps": self.marks,
            "queue": self.queue,
            "bytes": amounts,
            "error": error,
            "outstanding": self.outstanding,
        }

    def clean_up(self):
        """Leaves nothing behind: no process, no setting, no TIME_WAIT where an RST can prevent it."""
        for child in self.children:
            child.close()
        for reference in self.references:
            safe_close(reference, abort=True)
        if self.own_listener:
            self.lab.watch()
        elif (
            self.waiting
        ):  # accept failed: the next trial must not find this connection in the queue
            safe_close(self.lab.listeners.pop((self.family, self.kind)))
        for side in SIDES:
            if self.socks[side] is not None:
                safe_close(self.socks[side], abort=True)
        for (
            undo
        ) in self.cleanups:  # after the sockets: what the other side still sends is reset by theirs
            try:
                undo()
            except ERRORS:
                pass
        if self.own_listener and self.listener is not None:
            safe_close(self.listener)
        for key, value in reversed(self.restore):
            write(path_of(key), value)
        if self.kind == "mptcp":  # its worker's last segments must not count for the next trial
            self.wait_for_quiet()
        self.lab.settle()
