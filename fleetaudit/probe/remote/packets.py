"""Parses captured TCP segments and their options."""

import struct
from typing import Iterator, Optional, Tuple

from .constants import ACK, FIN, PSH, RST, SYN, URG

FLAGS = (("F", FIN), ("S", SYN), ("R", RST), ("P", PSH), (".", ACK), ("U", URG))

# Kinds of options, and on which segments they are reported.
USUAL_OPTIONS = b"\1\1\x08\x0a"  # of most segments: NOP, NOP, timestamps
END, NOP, WINDOW_SCALE, TIMESTAMPS, MPTCP = 0, 1, 3, 8, 30
ANY = 0x100
REPORTED_OPTIONS = {
    5: ("SACK", ANY),
    TIMESTAMPS: ("TS", SYN),
    19: ("MD5", SYN | FIN | RST),
    34: ("TFO", SYN),
}
MPTCP_NAMES = {0: "MP_CAPABLE", 1: "MP_JOIN", 6: "MP_FAIL", 7: "MP_FASTCLOSE", 8: "MP_RST"}
MPTCP_DSS, DSS_DATA_FIN = 2, 0x10
SIZES = {WINDOW_SCALE: 3, TIMESTAMPS: 10}


class Packet(object):
    """One captured TCP segment: `at` in seconds since 1970, `options` the names of the reported
    ones, `scale` the window scale of a SYN or None, `headers` its IP and TCP headers.
    """

    def __init__(self, at, data, start, end):
        # type: (float, bytes, int, int) -> None
        """Parses an IP packet with its TCP header at `start`, up to `end`; raises struct.error."""
        fields = struct.unpack_from("!HHIIBBHHH", data, start)
        self.at = at
        self.source, self.target, self.seq, self.ack = fields[:4]  # type: int, int, int, int
        self.bits, self.window = fields[5:7]  # type: int, int
        self.urgent = fields[8] if self.bits & URG else 0  # type: int
        stop = start + (fields[4] >> 4) * 4
        self.length = max(0, end - stop)
        self.headers = data[:stop]
        found = parse_options(data[start + 20 : stop], self.bits)
        self.options, self.timestamps, self.scale = found


def parse_packet(data, at):
    # type: (bytes, float) -> Optional[Packet]
    """Returns the TCP segment in an IP packet, None if it is cut."""
    try:
        if ord(data[0:1]) >> 4 == 4:
            start = (ord(data[0:1]) & 15) * 4
            end = struct.unpack_from("!H", data, 2)[0]
        else:
            start = 40
            end = 40 + struct.unpack_from("!H", data, 4)[0]
        return Packet(at, data, start, end)
    except struct.error:
        return None


def split_options(data):
    # type: (bytearray) -> Iterator[Tuple[int, bytearray]]
    """Yields the kind and value of each option, up to one whose size is wrong."""
    at = 0
    while at < len(data) and data[at] != END:
        size = 1
        if data[at] != NOP:
            size = (data[at + 1 : at + 2] + b"\0")[0]
            if size < 2 or at + size > len(data):
                return
            yield data[at], data[at + 2 : at + size]
        at += size


def parse_options(data, bits):
    # type: (bytes, int) -> Tuple[str, Optional[Tuple[int, ...]], Optional[int]]
    """Returns the names of the reported options, the two timestamps or None, and the window scale
    of a SYN or None.
    """
    if data[:4] == USUAL_OPTIONS and len(data) == 12 and not bits & SYN:
        return "", struct.unpack("!II", data[4:]), None
    names, timestamps, scale = [], None, None
    for kind, value in split_options(bytearray(data)):
        if len(value) + 2 != SIZES.get(kind, len(value) + 2):
            continue
        if kind == TIMESTAMPS:
            timestamps = struct.unpack("!II", bytes(value))
        if kind == WINDOW_SCALE and bits & SYN:
            scale = value[0]
        names.append(option_name(kind, value, bits))
    return " ".join(filter(None, names)), timestamps, scale


def option_name(kind, value, bits):
    # type: (int, bytearray, int) -> str
    """Returns the name of an option, "" for one that is not reported on such a segment."""
    if kind == MPTCP:
        return mptcp_name(value)
    name, segments = REPORTED_OPTIONS.get(kind, ("", 0))
    return name if (bits | ANY) & segments else ""


def mptcp_name(value):
    # type: (bytearray) -> str
    """Returns the name of an MPTCP option (RFC 8684); of DSS only its DATA_FIN."""
    first, second = (value + b"\xe0\xe0")[:2]  # no kind, no flag
    if first >> 4 == MPTCP_DSS:
        return "DATA_FIN" if second & DSS_DATA_FIN else ""
    return MPTCP_NAMES.get(first >> 4, "")


def flag_names(bits):
    # type: (int) -> str
    """Returns TCP flags as tcpdump writes them, with U for urgent data: "P.U"."""
    return "".join([name for name, bit in FLAGS if bits & bit]) or "none"
