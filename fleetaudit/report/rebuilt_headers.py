"""Rebuilds the IP and TCP headers of a segment from its trace. Pure.

Moments, ports, flags, lengths, urgent pointers, windows and window scales are what was captured;
the rest is made up, with the right lengths.

Source of the formats: RFC 791, RFC 8200, RFC 9293, RFC 7323, RFC 8684 (the options of MPTCP).
"""

from __future__ import annotations

import ipaddress
import struct

from fleetaudit.model import Connection, Family, Segment
from fleetaudit.probe.segments import flag_bits, syn_scale

MAX_OPTIONS = 36
"""Bytes of options besides the window scale: a TCP header has at most 40 bytes of options."""
_NOP = b"\1"
_TCP, _HOP_LIMIT = 6, 64
_LOOPBACK_V4 = ipaddress.IPv4Address("127.0.0.1").packed
_LOOPBACK_V6 = ipaddress.IPv6Address("::1").packed
_MP_CAPABLE_LENGTHS = {"S": 4, "S.": 12}
"""Lengths of MP_CAPABLE by the flags of its segment (RFC 8684, section 3.1)."""
_OPTIONS = {
    "TS": _NOP * 2 + struct.pack("!BBII", 8, 10, 0, 0),
    "MD5": _NOP * 2 + struct.pack("!BB16x", 19, 18),
    "MP_JOIN": struct.pack("!BBBBII", 30, 12, 0x10, 0, 0, 0),
    "DATA_FIN": struct.pack("!BBBBI", 30, 8, 0x20, 0x11, 0),
    "MP_FAIL": struct.pack("!BBBBQ", 30, 12, 0x60, 0, 0),
    "MP_FASTCLOSE": struct.pack("!BBBBQ", 30, 12, 0x70, 0, 0),
    "MP_RST": struct.pack("!BBBB", 30, 4, 0x80, 0),
}
"""Options by their word in `Segment.options`, without the values that were not kept."""


def rebuild_headers(segment: Segment, family: Family, connection: Connection) -> bytes:
    """Returns IP and TCP headers that agree with the trace of a segment."""
    tcp = _tcp_header(segment, connection)
    length = len(tcp) + segment.length
    if family == "ipv6" and not connection.mapped:
        return _ipv6_header(length) + tcp
    return _ipv4_header(min(0xFFFF, 20 + length)) + tcp


def _tcp_header(segment: Segment, connection: Connection) -> bytes:
    """Returns the TCP header with its options; the checksum is 0."""
    closer, peer = connection.ports
    source, target = (closer, peer) if segment.sender == "closer" else (peer, closer)
    window = 0xFFFF if segment.window is None else segment.window
    options = _options(segment, connection)
    header = struct.pack(
        "!HHIIBBHHH",
        source,
        target,
        segment.seq & 0xFFFFFFFF,
        segment.ack & 0xFFFFFFFF,
        (5 + len(options) // 4) << 4,
        flag_bits(segment),
        window & 0xFFFF,
        0,
        segment.urgent & 0xFFFF,
    )
    return header + options


def _options(segment: Segment, connection: Connection) -> bytes:
    """Returns the options of a segment, padded to a multiple of 4 bytes."""
    options = b"".join(_option(word, segment) for word in segment.options.split())[:MAX_OPTIONS]
    scale = syn_scale(segment, connection)
    if scale is not None:
        options += _NOP + struct.pack("!BBB", 3, 3, scale & 0xFF)
    return options + _NOP * (-len(options) % 4)


def _option(word: str, segment: Segment) -> bytes:
    """Returns one option by its word, nothing if it is unknown."""
    if word == "MP_CAPABLE":
        return _mp_capable(segment)
    return _OPTIONS.get(word, b"")


def _mp_capable(segment: Segment) -> bytes:
    """Returns the option with the keys that this segment of the handshake has, all zero."""
    default = 22 if segment.length else 20
    length = _MP_CAPABLE_LENGTHS.get(segment.flags, default)
    return struct.pack(f"!BBBB{length - 4}x", 30, length, 0x01, 0)


def _ipv6_header(payload: int) -> bytes:
    """Returns an IPv6 header between loopback addresses, for a payload of so many bytes."""
    fields = struct.pack("!IHBB", 6 << 28, payload & 0xFFFF, _TCP, _HOP_LIMIT)
    return fields + _LOOPBACK_V6 * 2


def _ipv4_header(total: int) -> bytes:
    """Returns an IPv4 header between loopback addresses, for a packet of `total` bytes."""
    words = struct.unpack("!10H", _ipv4_fields(total, checksum=0))
    folded = sum(words)
    folded = (folded & 0xFFFF) + (folded >> 16)
    return _ipv4_fields(total, checksum=~(folded + (folded >> 16)) & 0xFFFF)


def _ipv4_fields(total: int, *, checksum: int) -> bytes:
    """Returns an IPv4 header with a given checksum."""
    fields = struct.pack("!BBHHHBBH", 0x45, 0, total, 0, 0x4000, _HOP_LIMIT, _TCP, checksum)
    return fields + _LOOPBACK_V4 * 2
