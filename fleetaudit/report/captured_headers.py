"""Unpacks the headers that a host captured, and checks them against its trace. Pure.

Rules: they are bytes from a host. Unpacking is bounded. They are used only if each of them agrees
with its segment in the trace and is between loopback addresses; otherwise the trace counts.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fleetaudit.model import (
    Connection,
    Evidence,
    Family,
    Segment,
)
from fleetaudit.probe.segments import FLAG_BITS, flag_bits, syn_scale

from .common import RECEIVERS

MAX_UNPACKED = 200 * 120
"""Bytes: an IPv6 and a TCP header with all options, for each segment of the longest trace."""
TCP = 6
"""The protocol number of TCP."""
MIN_TCP_HEADER = 20
_END, _NOP, _WINDOW_SCALE = 0, 1, 3
"""Kinds of TCP options."""
_SIX_FLAGS = sum(FLAG_BITS.values())
_LOOPBACK_PAIRS = (bytes((127, 0, 0, 1)) * 2, (bytes(15) + b"\1") * 2)
"""Source and target address of IPv4 and IPv6, if both are loopback."""


class _IpHeader(NamedTuple):
    """Fields of an IP header; `length` is that of the header, `total` that of the whole packet."""

    version: int
    length: int
    total: int
    protocol: int
    addresses: bytes


class _Headers(NamedTuple):
    """Fields of the headers of a packet.

    `bits` are the TCP flags, `length` is that of the payload, `scale` the window scale option of a
    SYN.
    """

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

    @property
    def is_syn(self) -> bool:
        """Whether the packet has the flag SYN."""
        return bool(self.bits & FLAG_BITS["S"])


class _Row(NamedTuple):
    """What a packet and its segment in the trace must agree in; numbers count from the SYNs."""

    version: int
    sender: str
    bits: int
    seq: int
    ack: int
    length: int
    urgent: int
    window: int | None
    scale: int | None


def captured_headers(evidence: Evidence, family: Family) -> tuple[bytes, ...] | None:
    """Returns the IP and TCP headers of each segment of the trace, in its order.

    Returns None if there are none, or if they contradict the trace. `family` is that of the
    sockets; the packets of IPv6 sockets are IPv4 if the connection is mapped. Sources of the
    formats: RFC 791 (section 3.1), RFC 8200 (section 3) and RFC 9293 (section 3.1).
    """
    connection = evidence.connection
    if connection is None or not connection.headers:
        return None
    try:
        packets = _split(_unpack(connection.headers))
        rows = _rows_of_packets(map(_parse, packets), connection)
    except (ValueError, struct.error, zlib.error):
        return None
    if rows != _rows_of_trace(evidence, connection, family):
        return None
    return packets


def _unpack(headers: str) -> bytes:
    """Returns the bytes in the text of a host; raises ValueError or zlib.error."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(headers, validate=True), MAX_UNPACKED)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("more than headers")
    return data


def _split(data: bytes) -> tuple[bytes, ...]:
    """Returns the headers of each packet; raises ValueError if the last ones are cut off."""
    packets = list[bytes]()
    at = 0
    while at < len(data):
        end = _end_of_headers(data, at)
        packets.append(data[at:end])
        at = end
    return tuple(packets)


def _end_of_headers(data: bytes, at: int) -> int:
    """Returns where the headers that begin at `at` end; raises ValueError if they are cut off."""
    tcp = at + _ip_header_length(data[at])
    if tcp + MIN_TCP_HEADER > len(data):
        raise ValueError("cut off")
    end = tcp + max(MIN_TCP_HEADER, (data[tcp + 12] >> 4) * 4)
    if end > len(data):
        raise ValueError("cut off")
    return end


def _ip_header_length(first: int) -> int:
    """Returns the length of an IP header in bytes by its first byte."""
    if first >> 4 == 6:
        return 40
    return max(20, (first & 15) * 4)


def _parse_ip(packet: bytes) -> _IpHeader:
    """Returns the fields of an IP header; raises ValueError for other bytes."""
    version, length = packet[0] >> 4, _ip_header_length(packet[0])
    if version == 4:
        (total,) = struct.unpack_from("!H", packet, 2)
        return _IpHeader(4, length, total, packet[9], packet[12:20])
    if version == 6:
        (payload,) = struct.unpack_from("!H", packet, 4)
        return _IpHeader(6, length, payload + 40, packet[6], packet[8:40])
    raise ValueError("not IP")


def _parse(packet: bytes) -> _Headers:
    """Returns the fields of the headers; raises ValueError unless they are TCP's over loopback."""
    ip = _parse_ip(packet)
    if ip.protocol != TCP or ip.addresses not in _LOOPBACK_PAIRS:
        raise ValueError("not TCP on loopback")
    fields = struct.unpack_from("!HHIIBBHHH", packet, ip.length)
    source, target, seq, ack, _, bits, window, _, urgent = fields
    is_syn = bits & FLAG_BITS["S"]
    return _Headers(
        version=ip.version,
        source=source,
        target=target,
        seq=seq,
        ack=ack,
        bits=bits,
        window=window,
        urgent=urgent * bool(bits & FLAG_BITS["U"]),
        length=ip.total - len(packet),
        scale=_window_scale(packet[ip.length + MIN_TCP_HEADER :]) if is_syn else None,
    )


def _window_scale(options: bytes) -> int | None:
    """Returns the window scale among the options of TCP, None if there is none."""
    scales = (value for kind, value in _split_options(options) if kind == _WINDOW_SCALE)
    return next((value[0] for value in scales if len(value) == 1), None)


def _split_options(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields kind and value of each option of TCP, up to the end or the first broken one."""
    at = 0
    while at < len(options):
        kind, length = options[at], 1
        if kind == _END:
            return
        if kind != _NOP:
            length = int.from_bytes(options[at + 1 : at + 2], "big")
            if not 2 <= length <= len(options) - at:
                return
            yield kind, options[at + 2 : at + length]
        at += length


def _rows_of_trace(evidence: Evidence, connection: Connection, family: Family) -> list[_Row]:
    """Returns the segments of the trace as rows."""
    version = 4
    if family == "ipv6" and not connection.mapped:
        version = 6
    return [_row_of_segment(segment, version, connection) for segment in evidence.segments]


def _rows_of_packets(packets: Iterable[_Headers], connection: Connection) -> list[_Row]:
    """Returns the packets as rows; raises ValueError if one is of another connection.

    Sequence numbers count from the first SYN of each side.
    """
    closer, peer = connection.ports
    senders = {(closer, peer): "closer", (peer, closer): "peer"}
    first_seq = dict[str, int]()
    rows = list[_Row]()
    for packet in packets:
        sender = senders.get((packet.source, packet.target))
        if sender is None:
            raise ValueError("another connection")
        if packet.is_syn:
            first_seq.setdefault(sender, packet.seq)
        rows.append(_row_of_packet(packet, sender, first_seq))
    return rows


def _row_of_packet(packet: _Headers, sender: str, first_seq: dict[str, int]) -> _Row:
    """Returns a captured packet as a row; `first_seq` has the first SYN of each side."""
    seq, ack = 0, 0
    if not packet.is_syn:
        seq = (packet.seq - first_seq.get(sender, packet.seq)) & 0xFFFFFFFF
    if packet.bits & FLAG_BITS["."]:
        ack = (packet.ack - first_seq.get(RECEIVERS[sender], packet.ack)) & 0xFFFFFFFF
    return _Row(
        version=packet.version,
        sender=sender,
        bits=packet.bits & _SIX_FLAGS,
        seq=seq,
        ack=ack,
        length=packet.length,
        urgent=packet.urgent,
        window=packet.window,
        scale=packet.scale,
    )


def _row_of_segment(segment: Segment, version: int, connection: Connection) -> _Row:
    """Returns a segment of the trace as a row."""
    return _Row(
        version=version,
        sender=segment.sender,
        bits=flag_bits(segment),
        seq=segment.seq,
        ack=segment.ack,
        length=segment.length,
        urgent=segment.urgent,
        window=segment.window,
        scale=syn_scale(segment, connection),
    )
