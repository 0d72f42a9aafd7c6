"""The headers that a host says it captured: unpacked, and held against its trace. Pure.

Rules: they are bytes of a host. Unpacking is bounded, and they are used only where each of them is
what the trace says of its segment, between loopback addresses. Where they are not, the trace
counts.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import NamedTuple

from fleetaudit.model import (
    Connection,
    Evidence,
    Family,
    Segment,
)
from fleetaudit.probe.segments import FLAG_BITS, flag_bits, syn_scale

MAX_UNPACKED = 200 * 120
"""Bytes: an IPv6 and a TCP header with all options, for each segment of the longest trace."""
_END, _NOP, _WINDOW_SCALE = 0, 1, 3
"""Kinds of TCP options."""
_SIX_FLAGS = sum(FLAG_BITS.values())
_LOOPBACK = (bytes((127, 0, 0, 1)) * 2, (bytes(15) + b"\1") * 2)


class Fields(NamedTuple):
    """What a packet's headers say; `version` is IP's, `scale` the window scale option of a SYN."""

    version: int
    source: int
    target: int
    seq: int
    ack: int
    bits: int
    window: int
    urgent: int
    length: int
    scale: int | None


def captured_headers(evidence: Evidence, family: Family) -> tuple[bytes, ...] | None:
    """Returns the IP and TCP headers of each segment of the trace, None if there are none or they
    contradict it.
    """
    connection, wire = evidence.connection, evidence.wire or ()
    if connection is None or not connection.headers:
        return None
    try:
        packets = _split(_unpacked(connection.headers))
        fields = [_fields(packet) for packet in packets]
    except (ValueError, struct.error, zlib.error):
        return None
    version = 6 if family == "ipv6" and not connection.mapped else 4
    trace = [_row(segment, version, connection) for segment in wire]
    return packets if _rows(fields, connection) == trace else None


def _unpacked(headers: str) -> bytes:
    """Returns the bytes in the text of a host; raises ValueError or zlib.error."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(headers, validate=True), MAX_UNPACKED)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("more than headers")
    return data


def _split(data: bytes) -> tuple[bytes, ...]:
    packets, at = list[bytes](), 0
    while at < len(data):
        start = at + _ip_length(data[at])
        if start + 20 > len(data):
            raise ValueError("cut off")
        end = start + max(20, (data[start + 12] >> 4) * 4)
        if end > len(data):
            raise ValueError("cut off")
        packets.append(data[at:end])
        at = end
    return tuple(packets)


def _ip_length(first: int) -> int:
    return 40 if first >> 4 == 6 else max(20, (first & 15) * 4)


def _fields(packet: bytes) -> Fields:
    """Returns what headers say; raises ValueError unless they are TCP's between loopback addresses,
    over IP.
    """
    version, start = packet[0] >> 4, _ip_length(packet[0])
    if version == 4:
        total, protocol, addresses = (
            struct.unpack_from("!H", packet, 2)[0],
            packet[9],
            packet[12:20],
        )
    elif version == 6:
        total, protocol, addresses = (
            struct.unpack_from("!H", packet, 4)[0] + 40,
            packet[6],
            packet[8:40],
        )
    else:
        raise ValueError("not IP")
    if protocol != 6 or addresses not in _LOOPBACK:
        raise ValueError("not TCP on loopback")
    source, target, seq, ack, _, bits, window, _, urgent = struct.unpack_from(
        "!HHIIBBHHH", packet, start
    )
    scale = _scale(packet[start + 20 :]) if bits & FLAG_BITS["S"] else None
    urgent *= bool(bits & FLAG_BITS["U"])
    return Fields(
        version, source, target, seq, ack, bits, window, urgent, total - len(packet), scale
    )


def _scale(options: bytes) -> int | None:
    """Returns the window scale among the options of TCP, None if there is none."""
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] == _NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            break
        if options[at] == _WINDOW_SCALE and length == 3:
            return options[at + 2]
        at += length
    return None


Row = tuple[int, str, int, int, int, int, int, int | None, int | None]


def _rows(packets: list[Fields], connection: Connection) -> list[Row] | None:
    """Returns the packets as a trace has them, with numbers that count from each side's first SYN."""
    closer, peer = connection.ports
    sides = {(closer, peer): "closer", (peer, closer): "peer"}
    first = dict[str, int]()
    rows = list[Row]()
    for p in packets:
        sender = sides.get((p.source, p.target))
        if sender is None:
            return None
        other = "peer" if sender == "closer" else "closer"
        if p.bits & FLAG_BITS["S"]:
            first.setdefault(sender, p.seq)
        seq = 0 if p.bits & FLAG_BITS["S"] else (p.seq - first.get(sender, p.seq)) & 0xFFFFFFFF
        ack = (p.ack - first.get(other, p.ack)) & 0xFFFFFFFF if p.bits & FLAG_BITS["."] else 0
        rows.append(
            (
                p.version,
                sender,
                p.bits & _SIX_FLAGS,
                seq,
                ack,
                p.length,
                p.urgent,
                p.window,
                p.scale,
            )
        )
    return rows


def _row(s: Segment, version: int, connection: Connection) -> Row:
    bits = flag_bits(s)
    return (
        version,
        s.sender,
        bits,
        s.seq,
        s.ack,
        s.length,
        s.urgent,
        s.window,
        syn_scale(s, connection),
    )
