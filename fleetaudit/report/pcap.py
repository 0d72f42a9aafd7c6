"""The packets of a host as a pcapng file, for tcpdump and Wireshark. Pure: host in, bytes out.

Two interfaces tell where headers come from. "captured": the probe sent them as they were captured,
which it does for trials that deviate from the expectation. "rebuilt": they are made from the trace;
a comment in the file lists what is made up. Payload is never kept, so packets are marked as cut off
after their headers. Comments of packets name the scenario and the steps before the packet.

A run of an earlier version has no ports and no dates. Each of its observations is a connection of
its own: the port of the closer is 10000 plus its place in the run, that of the peer 30000 plus
that; times count from 1970, one observation per second.

Source of the format: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import hashlib
import struct
import urllib.parse
from collections.abc import Iterator, Sequence

from fleetaudit import __version__
from fleetaudit.model import (
    Audited,
    Connection,
    Evidence,
    Observation,
    ScenarioRow,
    step_text,
)
from fleetaudit.text.phrases import surround
from fleetaudit.text.sanitize import escape_line

from .captured_headers import captured_headers
from .rebuilt_headers import rebuild_headers

LINKTYPE_ETHERNET = 1
"""As Linux has it for loopback; LINKTYPE_RAW is not read in a file with two interfaces (libpcap
1.10).
"""
SNAPLEN = 262_144
CLOSER_PORT, PEER_PORT = 10_000, 30_000
CAPTURED, REBUILT = 0, 1
"""The numbers of the two interfaces."""
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
"""Types of blocks."""
COMMENT, APPLICATION, NAME, DESCRIPTION = 1, 4, 2, 3
"""Codes of options."""
ABOUT = (
    "Packets of the probe's own connections on loopback. Interface “captured”: the headers as they"
    " were captured. Interface “rebuilt”: headers rebuilt from the trace; times, ports, flags,"
    " lengths, urgent pointers, windows and window scales are what was captured; sequence numbers"
    " count from 0; the other fields of IP, TCP checksums, and of the options MSS, SACK, Fast Open"
    " and the values of timestamps, signatures and MPTCP are made up or left out. Payload was not"
    " kept."
)
_ETHER_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}


def file_name(host: str) -> str:
    """Returns the name of the file of a host, percent-encoded (RFC 3986, section 2.1).

    It has no slash and no leading dot, at most 255 bytes, and is different for different hosts.
    """
    name = urllib.parse.quote(host, safe="", errors="surrogatepass").replace("~", "%7E")
    if name.startswith("."):
        name = name.replace(".", "%2E", 1)
    if len(name) > 200:
        digest = hashlib.sha256(host.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name[:150]}~{digest[:32]}"
    return f"{name}.pcap"


def render(host: Audited, scenario: str = "", rows: Sequence[ScenarioRow] = ()) -> bytes:
    """Returns a pcapng file (microseconds, little-endian) with the traces of a host.

    `scenario` selects those of NAME or NAME/FAMILY, "" all of them. `rows` are the scenarios of the
    run, whose steps become comments.
    """
    steps = {row.name: row.steps for row in rows}
    blocks = [
        _section(f"{ABOUT} Host: {escape_line(host.name)}."),
        _interface("captured", "headers as they were captured"),
        _interface("rebuilt", "rebuilt from traces"),
    ]
    for place, o in enumerate(host.observations):
        if scenario in ("", o.scenario, f"{o.scenario}/{o.family}"):
            blocks += _packets(o, place, steps.get(o.scenario, ()))
    return b"".join(blocks)


def host_file(host: Audited, rows: Sequence[ScenarioRow]) -> tuple[str, bytes]:
    """Returns name and content of the file with all traces of a host; `rows` as for `render`."""
    return file_name(host.name), render(host, rows=rows)


# ---- blocks


def _block(kind: int, body: bytes) -> bytes:
    """Returns a block: type, length, body, and the length again (pcapng, section 3.1)."""
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def _pad(data: bytes) -> bytes:
    """Returns data padded to a multiple of 4 bytes, as options and packets are."""
    return data + bytes(-len(data) % 4)


def _options(*options: tuple[int, str]) -> bytes:
    """Returns the options of a block and their end (pcapng, section 3.5)."""
    return b"".join(_option(code, text) for code, text in options) + bytes(4)


def _option(code: int, text: str) -> bytes:
    """Returns one option of a block; its text is cut off at the 65,535 bytes that fit."""
    data = text.encode("utf-8", "replace")[:0xFFFF]
    return struct.pack("<HH", code, len(data)) + _pad(data)


def _section(comment: str) -> bytes:
    """Returns the header of the file, a Section Header Block (pcapng, section 4.1).

    It has the version 1.0 and no length of the section (-1).
    """
    head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    options = _options((COMMENT, comment), (APPLICATION, f"fleetaudit {__version__}"))
    return _block(SECTION, head + options)


def _interface(name: str, description: str) -> bytes:
    """Returns the block of one interface, an Interface Description Block (pcapng, section 4.2).

    Without the option if_tsresol, its times are in microseconds.
    """
    head = struct.pack("<HHI", LINKTYPE_ETHERNET, 0, SNAPLEN)
    return _block(INTERFACE, head + _options((NAME, name), (DESCRIPTION, description)))


def _packet(
    interface: int, at_us: int, headers: bytes, payload: int, comments: Sequence[str]
) -> bytes:
    """Returns the block of one packet, an Enhanced Packet Block (pcapng, section 4.3).

    Of its `payload` bytes none were kept: the original length counts them, the captured one does
    not. The frame has an Ethernet header with addresses of zeros.
    """
    frame = bytes(12) + _ETHER_TYPES.get(headers[0] >> 4, _ETHER_TYPES[4]) + headers
    high, low = at_us >> 32, at_us & 0xFFFFFFFF
    head = struct.pack("<IIIII", interface, high, low, len(frame), len(frame) + payload)
    options = b""
    if comments:
        options = _options(*((COMMENT, comment) for comment in comments))
    return _block(PACKET, head + _pad(frame) + options)


# ---- packets


def _packets(o: Observation, place: int, steps: Sequence[str]) -> Iterator[bytes]:
    """Yields the blocks of one observation; `place` is its index among those of the host."""
    connection = o.evidence.connection or _made_up_connection(place)
    interface, headers = _headers(o, connection)
    comments = _comments(o, steps, interface)
    began = round(connection.began * 1_000_000)
    for segment, of_segment, texts in zip(o.evidence.segments, headers, comments, strict=True):
        at_us = max(0, began + segment.at_us)
        yield _packet(interface, at_us, of_segment, segment.length, texts)


def _headers(o: Observation, connection: Connection) -> tuple[int, Sequence[bytes]]:
    """Returns the interface and the headers of each segment."""
    captured = captured_headers(o.evidence, o.family)
    if captured is not None:
        return CAPTURED, captured
    segments = o.evidence.segments
    return REBUILT, [rebuild_headers(segment, o.family, connection) for segment in segments]


def _made_up_connection(place: int) -> Connection:
    """Returns the connection of an observation in a run of an earlier version."""
    offset = place % 20_000
    return Connection(began=float(place), ports=(CLOSER_PORT + offset, PEER_PORT + offset))


def _comments(o: Observation, steps: Sequence[str], interface: int) -> Iterator[list[str]]:
    """Yields the comments of each segment, in the order of the segments.

    The first segment has the scenario, and every segment the steps that began before it and after
    the one before. Each of a rebuilt trace has the note that it is rebuilt, the first in its own
    words. Steps that begin after the last segment are on none.
    """
    evidence = o.evidence
    first = [_describe_trace(o, interface)]
    others = ["rebuilt from the trace"] * (interface == REBUILT)
    shown = 0
    for number, segment in enumerate(evidence.segments):
        before = max(shown, sum(at <= segment.at_us for at, _ in evidence.steps))
        texts = [_describe_step(steps, index) for _, index in evidence.steps[shown:before]]
        shown = before
        yield [*texts, *others] if number else [*first, *texts]


def _describe_trace(o: Observation, interface: int) -> str:
    """Returns the scenario, and where the headers come from."""
    source = "captured" if interface == CAPTURED else "rebuilt from the trace"
    parts = (
        f"{escape_line(o.scenario)} over {o.family}: {source}",
        _describe_unused_headers(o.evidence, interface),
        _describe_same_trace(o.evidence),
        _describe_omitted(o.evidence),
    )
    return "; ".join(filter(None, parts))


def _describe_unused_headers(evidence: Evidence, interface: int) -> str:
    """Returns that the headers of the host were not used, "" if they were or there are none."""
    if interface == CAPTURED or not evidence.connection or not evidence.connection.headers:
        return ""
    return (
        "the host also sent headers, which contradict its trace or cannot be read: the trace counts"
    )


def _describe_same_trace(evidence: Evidence) -> str:
    """Returns the host with the same trace, "" if the trace is of this host."""
    return surround(
        "on ",
        escape_line(evidence.same_as),
        ", whose trace is the same except for times, ports and windows",
    )


def _describe_omitted(evidence: Evidence) -> str:
    """Returns how many segments the probe left out, "" if none."""
    omitted = evidence.wire_omitted
    return surround("", omitted, " segments in the middle were left out")


def _describe_step(steps: Sequence[str], index: int) -> str:
    """Returns the number of a step and its text."""
    number, text = step_text((), index), step_text(steps, index)
    return number if text == number else f"{number}: {escape_line(text)}"
