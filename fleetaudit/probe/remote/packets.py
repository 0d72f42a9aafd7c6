"""Parses captured TCP segments."""

import struct


class Packet(object):
    """One captured TCP segment; `at` in seconds of the wall clock, `options` the words that are reported, `scale` the
    window scale that a SYN offers or None, `headers` the bytes of the IP and the TCP header."""

    __slots__ = (
        "ack",
        "at",
        "bits",
        "headers",
        "length",
        "options",
        "scale",
        "seq",
        "source",
        "stamp",
        "target",
        "urgent",
        "window",
    )


def packet_of(data, at):
    """Returns the TCP segment in an IP packet, or None."""
    try:
        if ord(data[0:1]) >> 4 == 4:
            start = (ord(data[0:1]) & 15) * 4
            end = struct.unpack_from("!H", data, 2)[0]
        else:
            start = 40
            end = 40 + struct.unpack_from("!H", data, 4)[0]
        fields = struct.unpack_from("!HHIIBBHHH", data, start)
    except struct.error:
        return None
    p = Packet()
    p.at = at
    p.source, p.target, p.seq, p.ack, offset, p.bits, p.window, _, p.urgent = fields
    header = (offset >> 4) * 4
    p.length = max(0, end - start - header)
    if not p.bits & 0x20:
        p.urgent = 0
    p.headers = data[: start + header]
    p.options, p.stamp, p.scale = options_of(data[start + 20 : start + header], p.bits)
    return p


MPTCP_WORDS = {0: "MP_CAPABLE", 1: "MP_JOIN", 6: "MP_FAIL", 7: "MP_FASTCLOSE", 8: "MP_RST"}


def options_of(data, bits):
    """Returns (words, timestamps, scale): the options that matter, the timestamp option's two numbers or None, and a
    SYN's window scale or None."""
    words, stamp, scale, at = [], None, None, 0
    data, syn = bytearray(data), bits & 0x02
    while at < len(data) and data[at]:
        if data[at] == 1:  # NOP
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            break
        if data[at] == 8 and size == 10:
            stamp = struct.unpack("!II", bytes(data[at + 2 : at + 10]))
            if syn:
                words.append("TS")
        elif data[at] == 3 and size == 3 and syn:
            scale = data[at + 2]
        elif data[at] == 5:
            words.append("SACK")
        elif data[at] == 19 and bits & 0x07:  # of SYN, FIN and RST alone: all others have it too
            words.append("MD5")
        elif data[at] == 34 and syn:
            words.append("TFO")
        elif data[at] == 30:
            kind = data[at + 2] >> 4
            if kind in MPTCP_WORDS:
                words.append(MPTCP_WORDS[kind])
            elif kind == 2 and data[at + 3] & 0x10:  # DSS
                words.append("DATA_FIN")
        at += size
    return " ".join(words), stamp, scale


def flags_of(bits):
    """Returns TCP flags as tcpdump writes them, but for urgent data: "P.U"."""
    word = "".join(
        c
        for bit, c in ((0x01, "F"), (0x02, "S"), (0x04, "R"), (0x08, "P"), (0x10, "."), (0x20, "U"))
        if bits & bit
    )
    return word or "none"
