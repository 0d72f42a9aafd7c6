"""The steps that send a raw segment."""

import socket
import struct

from .constants import ERRORS, PATTERN, other
from .errors import Failed, NotHere, TimedOut
from .listeners import needs_raw
from .waiting import wait_until


def raw_sender(t, actor):
    """Returns send(offset, size, bits, urgent), which sends a raw segment with the bytes of a side's stream at `offset`
    and returns a test whether the other side answered. The capture has seen the numbers."""
    closer = t.sock("closer")
    forth, back = [], []

    def answers():
        t.drain()
        forth[:], back[:] = t.packets_of(actor), t.packets_of(other(actor))
        return len(back)

    if not wait_until(lambda: answers() and sum(p.length for p in forth) >= t.sent[actor]):
        raise TimedOut("the capture did not see the peer's bytes")
    if not forth[0].bits & 0x02:
        raise Failed("the capture did not see the connection begin")
    family = (
        socket.AF_INET if t.kind == "mapped" else closer.family
    )  # on the wire a mapped address is an IPv4 one
    near, far = [
        (a.replace("::ffff:", ""), port) for _, a, port in (t.address[actor], t.address["closer"])
    ]
    try:
        raw = t.lab.raw_socket(family)
    except (NotHere,) + ERRORS:
        raise NotHere(needs_raw())
    start = forth[0].seq + 1
    ack = (
        back[-1].seq + back[-1].length + (back[-1].bits & 1) + (back[-1].bits >> 1 & 1)
    ) & 0xFFFFFFFF
    stamp = (forth[-1].stamp[0], back[-1].stamp[0]) if forth[-1].stamp and back[-1].stamp else None

    def send(offset, size, bits, urgent=""):
        before, data = answers(), PATTERN[offset % 16 : offset % 16 + size]
        raw.sendto(
            segment(
                family,
                near,
                far,
                (start + offset) & 0xFFFFFFFF,
                ack,
                bits | (0x20 if urgent else 0),
                forth[-1].window,
                size if urgent else 0,
                stamp,
                data,
            ),
            (far[0], 0),
        )
        return lambda: answers() > before

    def break_off():
        """Resets the side that knows nothing of the segments, whose kernel drops what the other acknowledges: orphaned,
        it would send its FIN again and again, into later trials."""
        answers()
        raw.sendto(
            segment(family, far, near, forth[-1].ack, 0, 0x04, 0, 0, None, b""), (near[0], 0)
        )

    t.cleanups.append(break_off)
    return send


def resend(t, actor, size, urgent="", fin=0):
    """Sends the last `size` bytes of the peer once more; with FIN, as a retransmission after a lost ACK may be."""
    send = raw_sender(t, actor)
    if size > t.sent[actor]:
        raise Failed("the peer sent %d bytes only" % t.sent[actor])
    if fin:
        t.forged = True
        # Whatever becomes of the closer, it must not retransmit into the next trial.
        t.cleanups.append(lambda: send(t.sent[actor] + 1, 0, 0x04))
    answered = send(t.sent[actor] - size, size, 0x18 | fin, urgent)
    if not wait_until((lambda: t.took_fin("closer")) if fin else answered):
        raise TimedOut("the closer did not take the segment")


def resend_fin(t, actor, size, urgent=""):
    resend(t, actor, size, urgent, 0x01)


def send_out_of_order(t, actor, size):
    """Sends `size` bytes without the byte before them, so that they wait in the closer's out-of-order queue."""
    send = raw_sender(t, actor)
    first = max(t.sent[actor], t.beyond) + 1
    t.beyond = first + size
    # As above: a RST that follows the highest SACK block is taken, too (tcp_validate_incoming()).
    t.cleanups.append(lambda: send(t.beyond, 0, 0x04))
    if not wait_until(send(first, size, 0x18)):
        raise TimedOut("the closer did not take the segment")


def segment(family, near, far, seq, ack, bits, window, pointer, stamp, data):
    """Returns a TCP segment with its checksum (RFC 9293, section 3.1), for a raw socket that adds the IP header."""
    options = struct.pack("!BBBBII", 1, 1, 8, 10, *stamp) if stamp else b""
    length = 20 + len(options) + len(data)
    ends = socket.inet_pton(family, near[0]) + socket.inet_pton(family, far[0])
    pseudo = ends + (
        struct.pack("!BBH", 0, 6, length)
        if family == socket.AF_INET
        else struct.pack("!II", length, 6)
    )

    def with_checksum(value):
        return (
            struct.pack(
                "!HHIIBBHHH",
                near[1],
                far[1],
                seq,
                ack,
                (5 + len(options) // 4) << 4,
                bits,
                window,
                value,
                pointer,
            )
            + options
            + data
        )

    summed = pseudo + with_checksum(0) + b"\0" * (length % 2)
    total = sum(struct.unpack("!%dH" % (len(summed) // 2), summed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return with_checksum(~total & 0xFFFF)
