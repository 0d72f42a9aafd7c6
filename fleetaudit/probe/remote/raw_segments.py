"""The steps that send a raw segment on behalf of the peer."""

import socket
import struct
from typing import Callable, List, Optional, Tuple

from .connection import Connection
from .constants import ACK, ERRORS, FIN, PATTERN, PSH, REFUSED, RST, SYN, URG, other
from .errors import StepFailed, TimedOut, Unsupported, errno_of
from .listeners import lack_of_raw_sockets
from .packets import Packet
from .waiting import wait_until


class RawSender(object):
    """Sends segments with bytes of a side's stream to the closer, numbered as captured."""

    def __init__(self, c, actor):
        # type: (Connection, str) -> None
        self.c, self.actor = c, actor
        self.sent = []  # type: List[Packet]
        self.answers = []  # type: List[Packet]
        if not wait_until(self.has_captured_stream):
            raise TimedOut("the capture did not see the peer's bytes")
        if not self.sent[0].bits & SYN:
            raise StepFailed("the capture did not see the connection begin")
        self.family = int(c.sock("closer").family)
        if c.kind == "mapped":  # captured packets with a mapped address are IPv4
            self.family = int(socket.AF_INET)
        self.near, self.far = plain_address(c, actor), plain_address(c, "closer")
        try:
            self.raw = c.lab.raw_socket(self.family)
        except ERRORS as e:
            if errno_of(e) in REFUSED:
                raise Unsupported(lack_of_raw_sockets())
            raise
        last = self.answers[-1]
        flags = (last.bits & FIN) + (last.bits & SYN) // SYN
        self.start = self.sent[0].seq + 1
        self.ack = (last.seq + last.length + flags) & 0xFFFFFFFF
        self.timestamps = None  # type: Optional[Tuple[int, int]]
        if self.sent[-1].timestamps and last.timestamps:
            self.timestamps = self.sent[-1].timestamps[0], last.timestamps[0]
        c.cleanups.append(self.break_off)

    def has_captured_stream(self):
        # type: () -> bool
        """Returns whether all that the side sent was captured, and an answer."""
        answers = self.count_answers()
        return bool(answers) and sum(p.length for p in self.sent) >= self.c.sent[self.actor]

    def count_answers(self):
        # type: () -> int
        """Returns how many segments of the other side were captured."""
        self.c.drain()
        self.sent = self.c.packets_of(self.actor)
        self.answers = self.c.packets_of(other(self.actor))
        return len(self.answers)

    def send(self, offset, size, bits, urgent=""):
        # type: (int, int, int, str) -> Callable[[], bool]
        """Sends `size` bytes from `offset` on, and returns a test whether the closer answered."""
        before = self.count_answers()
        pointer = 0
        if urgent:
            bits, pointer = bits | URG, size
        seq = (self.start + offset) & 0xFFFFFFFF
        numbers = (seq, self.ack, bits, self.sent[-1].window, pointer)
        data = PATTERN[offset % 16 : offset % 16 + size]
        segment = make_segment(self.family, self.near, self.far, numbers, self.timestamps, data)
        self.raw.sendto(segment, (self.far[0], 0))
        return lambda: self.count_answers() > before

    def break_off(self):
        # type: () -> None
        """Resets the side that knows nothing of the raw segments, and whose kernel drops what
        acknowledges them: orphaned, it would repeat its FIN into later trials.
        """
        self.count_answers()
        numbers = (self.sent[-1].ack, 0, RST, 0, 0)
        segment = make_segment(self.family, self.far, self.near, numbers, None, b"")
        self.raw.sendto(segment, (self.near[0], 0))


def plain_address(c, side):
    # type: (Connection, str) -> Tuple[str, int]
    """Returns the address of a side as its packets have it."""
    _, address, port = c.addresses[side]
    return address.replace("::ffff:", ""), port


def resend(c, actor, size, urgent="", fin=0):
    # type: (Connection, str, int, str, int) -> None
    """Sends the peer's last `size` bytes again; with FIN, as a retransmission after a lost ACK may
    be.
    """
    sender = RawSender(c, actor)
    if size > c.sent[actor]:
        raise StepFailed("the peer sent %d bytes only" % c.sent[actor])
    if fin:
        c.forged = True
        # Whatever happens to the closer, it must not retransmit into the next trial.
        c.cleanups.append(lambda: sender.send(c.sent[actor] + 1, 0, RST))
    is_answered = sender.send(c.sent[actor] - size, size, PSH | ACK | fin, urgent)
    if not wait_until((lambda: c.has_fin("closer")) if fin else is_answered):
        raise TimedOut("the closer did not accept the segment")


def resend_fin(c, actor, size, urgent=""):
    # type: (Connection, str, int, str) -> None
    resend(c, actor, size, urgent, FIN)


def send_out_of_order(c, actor, size):
    # type: (Connection, str, int) -> None
    """Sends `size` bytes without the byte before them, into the closer's out-of-order queue."""
    sender = RawSender(c, actor)
    first = max(c.sent[actor], c.gap_end) + 1
    c.gap_end = first + size
    # As above: a RST after the highest SACK block is accepted, too (tcp_validate_incoming()).
    c.cleanups.append(lambda: sender.send(c.gap_end, 0, RST))
    if not wait_until(sender.send(first, size, PSH | ACK)):
        raise TimedOut("the closer did not accept the segment")


def make_segment(family, near, far, numbers, timestamps, data):
    # type: (int, Tuple[str, int], Tuple[str, int], Tuple[int, ...], Optional[Tuple[int, int]], bytes) -> bytes
    """Returns a TCP segment with its checksum (RFC 9293, section 3.1). `numbers`: sequence number,
    acknowledgment, flags, window, urgent pointer.
    """
    seq, ack, bits, window, pointer = numbers
    options = b""
    if timestamps:
        options = struct.pack("!BBBBII", 1, 1, 8, 10, *timestamps)
    offset = (5 + len(options) // 4) << 4
    header = struct.pack("!HHIIBBHHH", near[1], far[1], seq, ack, offset, bits, window, 0, pointer)
    length = len(header) + len(options) + len(data)
    pseudo = socket.inet_pton(family, near[0]) + socket.inet_pton(family, far[0])
    if family == socket.AF_INET:
        pseudo += struct.pack("!BBH", 0, socket.IPPROTO_TCP, length)
    else:
        pseudo += struct.pack("!II", length, socket.IPPROTO_TCP)
    checksum = internet_checksum(pseudo + header + options + data)
    return header[:16] + struct.pack("!H", checksum) + header[18:] + options + data


def internet_checksum(data):
    # type: (bytes) -> int
    """Returns the checksum of RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))  # type: int
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
