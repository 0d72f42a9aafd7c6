"""One connection of two sockets: its state, and what the kernel says of it."""

import fcntl
import socket
import struct
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from .constants import ERRORS, FIONREAD, HAS_FIN, POLLRDHUP, SIOCOUTQ, TCP_INFO, TCP_QUICKACK, other
from .errors import StepFailed, call_or
from .lab import Laboratory
from .listeners import accept_from
from .packets import Packet
from .waiting import poll_events

NO_NUMBER = b"\0\0\0\0"

# Offsets in struct tcp_info (include/uapi/linux/tcp.h).
TCPI_RTO, TCPI_BYTES_RECEIVED, TCPI_SEGS_OUT, TCPI_SND_WND = 8, 128, 136, 228


class Connection(object):
    """Two sockets, "closer" and "peer", with what the steps have done to them so far."""

    def __init__(self, lab, family, steps):
        # type: (Laboratory, str, Sequence[Any]) -> None
        self.lab, self.family, self.steps = lab, family, steps
        self.kind = {"unix": "unix"}.get(family, "tcp")  # or "mptcp", "mapped"
        self.sockets = {"closer": None, "peer": None}  # type: Dict[str, Any]
        self.addresses = {}  # type: Dict[str, Tuple[int, str, int]]  # also of closed sockets
        self.references = []  # type: List[Any]  # other references to the closer's socket
        self.children = []  # type: List[Any]
        self.cleanups = []  # type: List[Callable[[], Any]]
        self.changed_sysctls = []  # type: List[Tuple[str, str]]  # with the values before

        # How it is made. `waiting`: the server's end is not accepted yet.
        self.listener = None  # type: Any
        self.second_listener = None  # type: Any  # on the same port
        self.strangers = []  # type: List[Any]  # that wait in the accept queue
        self.listener_address = ()  # type: Any  # as in `addresses`, also of a closed one
        self.own_listener = self.waiting = self.signed = self.messages = False
        self.listener_options = []  # type: List[Any]
        self.backlog = None  # type: Optional[int]
        self.accept_queue_full = False
        self.client_side, self.client_port = "", 0

        self.drops_invalid = False  # what conntrack does not know never arrives
        self.began = 0.0
        self.step_times = []  # type: List[Tuple[int, int]]
        self.timed_out = False
        self.observe()

    def observe(self):
        # type: () -> None
        """Begins to observe the connection, or the next one from the same port."""
        self.before = {}  # type: Dict[str, int]  # the counters
        self.sent = {"closer": 0, "peer": 0}  # bytes
        self.received = {"closer": 0, "peer": 0}
        self.closed_sides = set()  # type: Set[str]

        # What was seen.
        self.packets = []  # type: List[Packet]
        self.reported_packets = []  # type: List[Packet]
        self.queue = {}  # type: Dict[str, int]
        self.peer_results = []  # type: List[str]  # of recv and send after the end
        self.poll_added = []  # type: List[Any]
        self.outstanding = ""

        # How far its end is.
        self.ending = False  # the closer's first ending step was done
        self.reading_shut = False  # by the closer
        self.unacknowledged = 0  # bytes of the closer before its last ending step
        self.segments_before_fin = 0  # type: Optional[int]  # of the peer
        self.fin_arrived_at, self.ack_hastened = 0.0, False
        self.gap_end = 0  # where the bytes end that were sent out of order
        self.vanished = False  # what is sent to the peer is dropped
        self.forged = False  # the peer's kernel did not send it all, and drops what acknowledges it

    def sock(self, side):
        # type: (str) -> Any
        """Returns a side's socket, accepted now if that was put off; raises StepFailed."""
        if self.sockets[side] is None and self.waiting and side != self.client_side:
            self.accept()
        if self.sockets[side] is None:
            raise StepFailed("the %s has no socket" % side)
        return self.sockets[side]

    def accept(self):
        # type: () -> None
        address = self.addresses[self.client_side][1:]
        self.sockets[other(self.client_side)] = accept_from(self.listener, address)
        self.waiting = False

    def open_sockets(self, side):
        # type: (str) -> List[Any]
        """Returns the sockets of a side that this process still holds."""
        found = [self.sockets[side]]
        if side == "closer" and found == [None]:
            found += self.references
        return [sock for sock in found if hasattr(sock, "getsockopt")]

    def ends(self, side):
        # type: (str) -> Tuple[Tuple[int, str, int], Tuple[int, str, int]]
        return self.addresses[side], self.addresses[other(side)]

    def events(self, side):
        # type: (str) -> int
        sock = self.sockets[side]
        return poll_events(sock, POLLRDHUP, 0) if sock is not None else 0

    def tcp_info(self, side):
        # type: (str) -> bytes
        """Returns a side's struct tcp_info, b"" if there is none."""
        return self.tcp_info_of(self.sockets[side])

    def tcp_info_of(self, sock):
        # type: (Any) -> bytes
        info = b""
        if sock is not None and self.kind != "unix":
            info = call_or(b"", sock.getsockopt, socket.IPPROTO_TCP, TCP_INFO, 256)
        return info

    def info_field(self, side, layout, offset):
        # type: (str, str, int) -> Optional[int]
        """Returns a number of a side's struct tcp_info, None if the kernel has no such field."""
        info = self.tcp_info(side)
        if len(info) < offset + struct.calcsize(layout):
            return None
        value = struct.unpack_from(layout, info, offset)[0]  # type: int
        return value

    def has_fin(self, side):
        # type: (str) -> bool
        """Returns whether a side has no socket, or its TCP has received a FIN, which poll(2) does
        not show once it shut reading.
        """
        return self.sockets[side] is None or self.tcp_info(side)[0:1] in HAS_FIN

    def segments_sent(self, side):
        # type: (str) -> Optional[int]
        """Returns how many segments a side's kernel sent without a SYN-ACK (tcpi_segs_out, since
        4.2), None if unknown.
        """
        return self.info_field(side, "I", TCPI_SEGS_OUT)

    def bytes_received(self, side):
        # type: (str) -> Optional[int]
        """Returns how many bytes a side's kernel received (since 4.1), None if unknown."""
        return self.info_field(side, "Q", TCPI_BYTES_RECEIVED)

    def window(self, side):
        # type: (str) -> Optional[int]
        """Returns the window that a side announced last, in bytes, as the other side's kernel has
        it (tcpi_snd_wnd, since 5.4), None if unknown.
        """
        return self.info_field(other(side), "I", TCPI_SND_WND)

    def rto(self, side):
        # type: (str) -> float
        return (self.info_field(side, "I", TCPI_RTO) or 0) / 1e6

    def announces_zero(self, side):
        # type: (str) -> bool
        """Returns whether a side's window is known to be zero without tcpi_snd_wnd: its last
        captured segment says so, or the other side's kernel probes it, which it does only if not
        one more byte fits.
        """
        self.drain()
        sent = self.packets_of(side)
        if sent and sent[-1].window == 0:
            return True
        info = bytearray(self.tcp_info(other(side))[2:5]) or bytearray(3)
        retransmits, probes, backoff = info
        return bool(probes or (backoff and not retransmits))

    def unread(self, side):
        # type: (str) -> int
        return self.number_of(self.sockets[side], FIONREAD)

    def unacked(self, side):
        # type: (str) -> int
        return self.number_of(self.sockets[side], SIOCOUTQ)

    def number_of(self, sock, request):
        # type: (Any, int) -> int
        """Returns the answer to an ioctl(2) on a socket, 0 if there is none."""
        answer = NO_NUMBER
        if sock is not None:
            answer = call_or(NO_NUMBER, fcntl.ioctl, sock, request, NO_NUMBER)
        number = struct.unpack("i", answer)[0]  # type: int
        return number

    def send_ack_now(self, side):
        # type: (str) -> bool
        """Has a side send an ACK that it may delay by 40 ms; returns whether its kernel does."""
        try:
            self.sockets[side].setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)
            return True
        except (AttributeError,) + ERRORS:
            return False

    def drain(self):
        # type: () -> None
        """Moves what was captured of this connection into `packets`."""
        if self.lab.capture and self.client_port:
            self.lab.capture.drain(self.client_port, self.packets)

    def packets_of(self, side):
        # type: (str) -> List[Packet]
        from_client = side == self.client_side
        return [p for p in self.packets if (p.source == self.client_port) == from_client]
