"""A host's traces as a pcap file, for tcpdump and Wireshark. Pure: an audited host in, bytes out.

What the file holds is what the probe reported, no more: headers with the flags, lengths, urgent pointers and options
that were seen, and relative sequence numbers. Payload was never kept, so packets are marked as cut off after their
headers; keys, timestamps' values and checksums of TCP are zero. Each observation is a connection of its own: the
closer's port is 10000 and its place in the run, the peer's is 30000 and that. Times count from 1970, an observation a
second.

Source of the formats: draft-ietf-opsawg-pcap (LINKTYPE_RAW), RFC 791, RFC 8200, RFC 9293, RFC 8684 (MPTCP's options).
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
import urllib.parse
from collections.abc import Iterator

from ..model import Audited, Family, Segment

LINKTYPE_RAW = 101
SNAPLEN = 262_144
CLOSER_PORT, PEER_PORT = 10_000, 30_000

_BITS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20}
_NOP = b"\1"
_OPTIONS = {  # the words of Segment.options, as far as a header can say them without what was not kept
    "TS": _NOP * 2 + struct.pack("!BBII", 8, 10, 0, 0),
    "MP_CAPABLE": struct.pack("!BBBB", 30, 4, 0x01, 0),
    "MP_JOIN": struct.pack("!BBBBII", 30, 12, 0x10, 0, 0, 0),
    "DATA_FIN": struct.pack("!BBBBI", 30, 8, 0x20, 0x11, 0),
    "MP_FAIL": struct.pack("!BBBBQ", 30, 12, 0x60, 0, 0),
    "MP_FASTCLOSE": struct.pack("!BBBBQ", 30, 12, 0x70, 0, 0),
    "MP_RST": struct.pack("!BBBB", 30, 4, 0x80, 0),
}


def file_name(host: str) -> str:
    """Returns the name of a host's file: no slash, no leading dot, no two hosts alike, at most 255 bytes."""
    name = urllib.parse.quote(host, safe="", errors="surrogatepass").replace("~", "%7E")
    name = name.replace(".", "%2E", 1) if name.startswith(".") else name
    if len(name) > 200:
        name = f"{name[:150]}~{hashlib.sha256(host.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
    return f"{name}.pcap"


def render(host: Audited, scenario: str = "") -> bytes:
    """Returns a pcap file (microseconds, little-endian) with all traces of a host, or those of NAME or NAME/FAMILY."""
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, LINKTYPE_RAW) + b"".join(_records(host, scenario))


def _records(host: Audited, scenario: str) -> Iterator[bytes]:
    for second, observation in enumerate(host.observations):
        if scenario not in ("", observation.scenario, f"{observation.scenario}/{observation.family}"):
            continue
        for segment in observation.evidence.wire or ():
            header = _packet(segment, observation.family, second)
            at = max(0, second * 1_000_000 + segment.at_us)
            yield struct.pack("<IIII", *divmod(at, 1_000_000), len(header), len(header) + segment.length) + header


def _packet(segment: Segment, family: Family, number: int) -> bytes:
    """Returns the IP and TCP headers of a segment."""
    ports = CLOSER_PORT + number % 20_000, PEER_PORT + number % 20_000
    source, target = ports if segment.sender == "closer" else ports[::-1]
    options = b"".join(_OPTIONS.get(word, b"") for word in segment.options.split())[:40]
    options += _NOP * (-len(options) % 4)
    bits = sum(_BITS.get(flag, 0) for flag in set(segment.flags))
    tcp = struct.pack(
        "!HHIIBBHHH",
        source,
        target,
        segment.seq & 0xFFFFFFFF,
        segment.ack & 0xFFFFFFFF,
        (5 + len(options) // 4) << 4,
        bits,
        0xFFFF,
        0,
        segment.urgent & 0xFFFF,
    )
    length = len(tcp) + len(options) + segment.length
    if family == "ipv6":
        loopback = ipaddress.IPv6Address("::1").packed
        return struct.pack("!IHBB", 6 << 28, length & 0xFFFF, 6, 64) + loopback * 2 + tcp + options
    return _ipv4(min(0xFFFF, 20 + length)) + tcp + options


def _ipv4(length: int) -> bytes:
    loopback = ipaddress.IPv4Address("127.0.0.1").packed

    def header(checksum: int) -> bytes:
        return struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, 6, checksum) + loopback * 2

    total = sum(struct.unpack("!10H", header(0)))
    total = (total & 0xFFFF) + (total >> 16)
    return header(~(total + (total >> 16)) & 0xFFFF)
