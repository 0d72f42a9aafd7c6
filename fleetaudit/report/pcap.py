"""A host's packets as a pcapng file, for tcpdump and Wireshark. Pure: an audited host in, bytes
out.

Two interfaces tell apart where headers come from. "captured": the probe sent them as they were
captured, which it does for trials that deviate from the expectation. "rebuilt": they are made of
the trace: its moments, ports, flags, lengths, urgent pointers, windows and options are what was
captured; the rest is made up, as the file says in a comment. Payload was never kept, so packets are
marked as cut off after their headers. Comments of packets name the scenario and the steps that came
before.

A run of an earlier version has no ports and no dates. There each observation is a connection of its
own: the closer's port is 10000 and its place in the run, the peer's is 30000 and that; times count
from 1970, an observation a second.

Source of the formats: draft-ietf-opsawg-pcapng, RFC 791, RFC 8200, RFC 9293, RFC 7323, RFC 8684
(MPTCP's options).
"""

from __future__ import annotations

import hashlib
import ipaddress
import struct
import urllib.parse
from collections.abc import Iterator, Sequence

from fleetaudit import __version__
from fleetaudit.model import (
    Audited,
    Connection,
    Family,
    Observation,
    ScenarioRow,
    Segment,
    step_text,
)
from fleetaudit.probe.segments import flag_bits, syn_scale
from fleetaudit.text.sanitize import escape_line

from .captured_headers import captured_headers

LINKTYPE_ETHERNET = 1
"""As Linux has it for loopback; LINKTYPE_RAW is not read where a file has two interfaces (libpcap
1.10).
"""
SNAPLEN = 262_144
CLOSER_PORT, PEER_PORT = 10_000, 30_000
CAPTURED, REBUILT = 0, 1
"""The numbers of the two interfaces."""
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
COMMENT, APPLICATION, NAME, DESCRIPTION = 1, 4, 2, 3
ABOUT = (
    "Packets of the probe's own connections on loopback. Interface “captured”: the headers as they"
    " were captured. Interface “rebuilt”: headers rebuilt from the trace; times, ports, flags,"
    " lengths, urgent pointers, windows and window scales are what was captured; sequence numbers"
    " count from 0; the other fields of IP, TCP checksums, and of the options MSS, SACK, Fast Open"
    " and the values of timestamps, signatures and MPTCP are made up or left out. Payload was not"
    " kept."
)

_NOP = b"\1"
# the words of Segment.options, as far as a header can say them without what was not kept
_OPTIONS = {
    "TS": _NOP * 2 + struct.pack("!BBII", 8, 10, 0, 0),
    "MD5": _NOP * 2 + struct.pack("!BB16x", 19, 18),
    "MP_JOIN": struct.pack("!BBBBII", 30, 12, 0x10, 0, 0, 0),
    "DATA_FIN": struct.pack("!BBBBI", 30, 8, 0x20, 0x11, 0),
    "MP_FAIL": struct.pack("!BBBBQ", 30, 12, 0x60, 0, 0),
    "MP_FASTCLOSE": struct.pack("!BBBBQ", 30, 12, 0x70, 0, 0),
    "MP_RST": struct.pack("!BBBB", 30, 4, 0x80, 0),
}


def file_name(host: str) -> str:
    """Returns the name of a host's file: no slash, no leading dot, no two hosts alike, at most 255
    bytes.
    """
    name = urllib.parse.quote(host, safe="", errors="surrogatepass").replace("~", "%7E")
    name = name.replace(".", "%2E", 1) if name.startswith(".") else name
    if len(name) > 200:
        name = (
            f"{name[:150]}~{hashlib.sha256(host.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
        )
    return f"{name}.pcap"


def render(host: Audited, scenario: str = "", rows: Sequence[ScenarioRow] = ()) -> bytes:
    """Returns a pcapng file (microseconds, little-endian) with all traces of a host, or those of
    NAME or NAME/FAMILY.

    `rows` are the run's scenarios, whose steps become comments.
    """
    steps = {row.name: row.steps for row in rows}
    blocks = [_section(f"{ABOUT} Host: {escape_line(host.name)}.")]
    blocks += [
        _interface("captured", "headers as they were captured"),
        _interface("rebuilt", "rebuilt from traces"),
    ]
    for second, o in enumerate(host.observations):
        if scenario in ("", o.scenario, f"{o.scenario}/{o.family}"):
            blocks += _packets(o, second, steps.get(o.scenario, ()))
    return b"".join(blocks)


def host_file(host: Audited, rows: Sequence[ScenarioRow]) -> tuple[str, bytes]:
    """Returns name and content of the file with all traces of a host."""
    return file_name(host.name), render(host, rows=rows)


# ---- blocks
# --------------------------------------------------------------------------------------------------------


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(*options: tuple[int, str]) -> bytes:
    """Returns the options of a block, and their end."""
    texts = [(code, text.encode("utf-8", "replace")[:0xFFFF]) for code, text in options]
    return b"".join(
        struct.pack("<HH", code, len(text)) + _padded(text) for code, text in texts
    ) + bytes(4)


def _section(comment: str) -> bytes:
    head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    return _block(
        SECTION, head + _options((COMMENT, comment), (APPLICATION, f"fleetaudit {__version__}"))
    )


def _interface(name: str, description: str) -> bytes:
    head = struct.pack("<HHI", LINKTYPE_ETHERNET, 0, SNAPLEN)
    return _block(INTERFACE, head + _options((NAME, name), (DESCRIPTION, description)))


def _packet(
    interface: int, at_us: int, headers: bytes, length: int, comments: Sequence[str]
) -> bytes:
    """Returns the block of one packet of IP, of whose `length` bytes the headers were kept."""
    ethernet = bytes(12) + (b"\x86\xdd" if headers[0] >> 4 == 6 else b"\x08\x00")
    frame, whole = ethernet + headers, len(ethernet) + length
    head = struct.pack("<IIIII", interface, at_us >> 32, at_us & 0xFFFFFFFF, len(frame), whole)
    return _block(
        PACKET,
        head + _padded(frame) + (_options(*((COMMENT, c) for c in comments)) if comments else b""),
    )


# ---- packets
# -------------------------------------------------------------------------------------------------------


def _packets(o: Observation, second: int, steps: Sequence[str]) -> Iterator[bytes]:
    """Yields the blocks of one observation; `second` is its place in the run."""
    evidence = o.evidence
    connection = evidence.connection or _made_up(second)
    captured = captured_headers(evidence, o.family)
    interface = REBUILT if captured is None else CAPTURED
    began = round(connection.began * 1_000_000)
    shown = 0
    for number, segment in enumerate(evidence.wire or ()):
        headers = captured[number] if captured else _headers(segment, o.family, connection)
        before = sum(at <= segment.at_us for at, _ in evidence.steps)
        comments = [_about(o, interface)] if number == 0 else []
        comments += [_step(steps, index) for _, index in evidence.steps[shown:before]]
        comments += ["rebuilt from the trace"] if captured is None and number else []
        shown = max(shown, before)
        yield _packet(
            interface,
            max(0, began + segment.at_us),
            headers,
            len(headers) + segment.length,
            comments,
        )


def _made_up(second: int) -> Connection:
    return Connection(
        began=float(second), ports=(CLOSER_PORT + second % 20_000, PEER_PORT + second % 20_000)
    )


def _about(o: Observation, interface: int) -> str:
    text = (
        f"{escape_line(o.scenario)} over {o.family}:"
        f" {'captured' if interface == CAPTURED else 'rebuilt from the trace'}"
    )
    if interface == REBUILT and o.evidence.connection and o.evidence.connection.headers:
        text += (
            "; the host also sent headers, which contradict its trace or cannot be read: the trace"
            " counts"
        )
    if o.evidence.same_as:
        text += (
            f"; on {escape_line(o.evidence.same_as)}, whose trace is alike but for times, ports and"
            " windows"
        )
    if o.evidence.wire_omitted:
        text += f"; {o.evidence.wire_omitted} segments of the middle were left out"
    return text


def _step(steps: Sequence[str], index: int) -> str:
    """Returns the comment of a packet that a step precedes: its number and its text."""
    number, text = step_text((), index), step_text(steps, index)
    return number if text == number else f"{number}: {escape_line(text)}"


def _headers(segment: Segment, family: Family, connection: Connection) -> bytes:
    """Returns IP and TCP headers that say what the trace says of a segment."""
    ports = connection.ports
    source, target = ports if segment.sender == "closer" else ports[::-1]
    options = _tcp_options(segment, connection)
    bits = flag_bits(segment)
    tcp = struct.pack(
        "!HHIIBBHHH",
        source,
        target,
        segment.seq & 0xFFFFFFFF,
        segment.ack & 0xFFFFFFFF,
        (5 + len(options) // 4) << 4,
        bits,
        0xFFFF if segment.window is None else segment.window & 0xFFFF,
        0,
        segment.urgent & 0xFFFF,
    )
    length = len(tcp) + len(options) + segment.length
    if family == "ipv6" and not connection.mapped:
        loopback = ipaddress.IPv6Address("::1").packed
        return struct.pack("!IHBB", 6 << 28, length & 0xFFFF, 6, 64) + loopback * 2 + tcp + options
    return _ipv4(min(0xFFFF, 20 + length)) + tcp + options


def _tcp_options(segment: Segment, connection: Connection) -> bytes:
    words = segment.options.split()
    options = b"".join(
        _mp_capable(segment) if w == "MP_CAPABLE" else _OPTIONS.get(w, b"") for w in words
    )[:36]
    scale = syn_scale(segment, connection)
    options += b"" if scale is None else _NOP + struct.pack("!BBB", 3, 3, scale & 0xFF)
    return options + _NOP * (-len(options) % 4)


def _mp_capable(segment: Segment) -> bytes:
    """Returns the option with the keys, all zero, that this segment of the handshake has (RFC 8684,
    section 3.1).
    """
    kinds = {"S": 4, "S.": 12}
    length = kinds.get(segment.flags, 22 if segment.length else 20)
    return struct.pack(f"!BBBB{length - 4}x", 30, length, 0x01, 0)


def _ipv4(length: int) -> bytes:
    loopback = ipaddress.IPv4Address("127.0.0.1").packed

    def header(checksum: int) -> bytes:
        return struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, 6, checksum) + loopback * 2

    total = sum(struct.unpack("!10H", header(0)))
    total = (total & 0xFFFF) + (total >> 16)
    return header(~(total + (total >> 16)) & 0xFFFF)
