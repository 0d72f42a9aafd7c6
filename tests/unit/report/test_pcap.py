"""The packets of a host as tcpdump reads them, and the file with them."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetaudit.model import (
    Audited,
    Connection,
    Evidence,
    Family,
    ScenarioRow,
    Segment,
)
from fleetaudit.report import pcap
from fleetaudit.report.captured_headers import captured_headers
from tests.support.runs import traced_host


def host(
    *traces: tuple[Family, tuple[Segment, ...]], connection: Connection | None = None
) -> Audited:
    """Returns a host with these segments, over this connection."""
    steps = ((0, 0), (50, 1), (60, 2), (800, 3))
    return traced_host(
        *(
            (family, Evidence(wire=wire, connection=connection, steps=steps))
            for family, wire in traces
        )
    )


CHAT = (  # kernel-behaviour: the chat with a heartbeat in urgent data, as of 2016
    Segment(at_us=0, sender="peer", flags="S", seq=0, ack=0, length=0, options="TS", window=65495),
    Segment(
        at_us=20, sender="closer", flags="S.", seq=0, ack=1, length=0, options="TS", window=65483
    ),
    Segment(at_us=30, sender="peer", flags=".", seq=1, ack=1, length=0, window=512),
    Segment(at_us=100, sender="peer", flags="P.U", seq=1, ack=1, length=1, urgent=1, window=512),
    Segment(at_us=120, sender="closer", flags=".", seq=1, ack=2, length=0, window=511),
    Segment(at_us=900, sender="closer", flags="R.", seq=1, ack=2, length=0, window=0),
)
CONNECTION = Connection(began=1_795_312_800.25, ports=(35711, 47010), scales=(7, 9))
ROWS = (
    ScenarioRow(
        name="s0",
        title="",
        steps=(
            "peer connects",
            "peer sends 1 urgent byte",
            "closer peeks at 1 byte",
            "closer closes",
        ),
        expect=("RST",),
        severity="info",
        control=None,
        because="",
    ),
)


class Packet(NamedTuple):
    interface: int
    at_us: int
    headers: bytes
    length: int
    comments: tuple[str, ...]


class File(NamedTuple):
    comment: str
    interfaces: tuple[str, ...]
    packets: tuple[Packet, ...]


def options(data: bytes) -> Iterator[tuple[int, str]]:
    at = 0
    while at < len(data):
        code, size = struct.unpack_from("<HH", data, at)
        if code == 0:
            break
        yield code, data[at + 4 : at + 4 + size].decode()
        at += 4 + size + -size % 4


def read(data: bytes) -> File:
    """Reads a pcapng file of one section, each block checked."""
    assert data[:4] == b"\x0a\x0d\x0d\x0a"
    comment, interfaces, packets, at = "", list[str](), list[Packet](), 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4)[0] == length
        body, at = data[at + 8 : at + length - 4], at + length
        if kind == 0x0A0D0D0A:
            comment = dict(options(body[16:]))[1]
        elif kind == 1:
            interfaces.append(dict(options(body[8:]))[2])
        else:
            assert kind == 6
            interface, high, low, kept, whole = struct.unpack_from("<IIIII", body)
            rest = tuple(text for code, text in options(body[20 + kept + -kept % 4 :]) if code == 1)
            frame = body[20 : 20 + kept]
            assert (
                frame[:14] == bytes(12) + {4: b"\x08\x00", 6: b"\x86\xdd"}[frame[14] >> 4]
            )  # as on Linux's lo
            packets.append(Packet(interface, high << 32 | low, frame[14:], whole - 14, rest))
    return File(comment, tuple(interfaces), tuple(packets))


def test_rebuilt_packets_are_marked_and_steps_precede_their_effects() -> None:
    file = read(pcap.render(host(("ipv4", CHAT), connection=CONNECTION), rows=ROWS))
    assert "headers rebuilt from the trace" in file.comment
    assert file.comment.endswith("Host: web-1.")
    assert file.interfaces == ("captured", "rebuilt")
    assert {packet.interface for packet in file.packets} == {pcap.REBUILT}
    assert [packet.comments for packet in file.packets] == [
        ("s0 over ipv4: rebuilt from the trace", "step 1: peer connects"),
        ("rebuilt from the trace",),
        ("rebuilt from the trace",),
        (
            "step 2: peer sends 1 urgent byte",
            "step 3: closer peeks at 1 byte",
            "rebuilt from the trace",
        ),
        ("rebuilt from the trace",),
        ("step 4: closer closes", "rebuilt from the trace"),
    ]


# ---- captured headers


def packed(packets: tuple[bytes, ...]) -> str:
    return base64.b64encode(zlib.compress(b"".join(packets))).decode()


def absolute(headers: bytes, number: int, ack: int) -> bytes:
    """Returns IPv4 headers as a host captures them: with arbitrary initial sequence numbers."""
    source = struct.unpack_from("!H", headers, 20)[0]
    seq, acknowledged = struct.unpack_from("!II", headers, 24)
    first = {35711: 4_000_000_000, 47010: 4_294_967_290}
    numbers = (
        (seq + first[source]) % 2**32,
        (acknowledged + first[82721 - source]) % 2**32 * (ack > 0),
    )
    return (
        headers[:4]
        + struct.pack("!H", 7000 + number)
        + headers[6:24]
        + struct.pack("!II", *numbers)
        + headers[32:]
    )


REBUILT = tuple(
    p.headers for p in read(pcap.render(host(("ipv4", CHAT), connection=CONNECTION))).packets
)
CAPTURED = tuple(absolute(h, i, s.ack) for i, (h, s) in enumerate(zip(REBUILT, CHAT, strict=True)))


def sent(headers: str) -> Audited:
    return host(("ipv4", CHAT), connection=replace(CONNECTION, headers=headers))


def test_captured_headers_are_written_as_they_were_captured() -> None:
    file = read(pcap.render(sent(packed(CAPTURED)), rows=ROWS))
    assert tuple(packet.headers for packet in file.packets) == CAPTURED
    assert {packet.interface for packet in file.packets} == {pcap.CAPTURED}
    assert [packet.length - len(packet.headers) for packet in file.packets] == [
        s.length for s in CHAT
    ]
    assert [packet.comments for packet in file.packets][:2] == [
        ("s0 over ipv4: captured", "step 1: peer connects"),
        (),
    ]


def changed(number: int, place: int, *values: int) -> str:
    """Returns captured headers with bytes of one packet changed."""
    packet = CAPTURED[number]
    packet = packet[:place] + bytes(values) + packet[place + len(values) :]
    return packed((*CAPTURED[:number], packet, *CAPTURED[number + 1 :]))


@pytest.mark.parametrize(
    "headers",
    [
        packed(CAPTURED[:-1]),
        packed((*CAPTURED, CAPTURED[-1])),
        packed((*CAPTURED[:-1], CAPTURED[-1][:30])),
        packed(()),
        packed((b"\0" * 24_000,)),
        packed((b"\0" * 100_000_000,)),
        base64.b64encode(zlib.compress(b"".join(CAPTURED))[:-6]).decode(),
        base64.b64encode(zlib.compress(b"".join(CAPTURED)) + b"more").decode(),
        base64.b64encode(b"".join(CAPTURED)).decode(),
        packed(CAPTURED)[:-1],
        "no base64!",
        changed(3, 19, 2),  # to 127.0.0.2
        changed(3, 9, 17),  # UDP
        changed(3, 3, 99),  # another length
        changed(3, 21, 9),  # another port
        changed(3, 27, 9),  # another sequence number
        changed(3, 31, 9),  # another acknowledgment
        changed(5, 33, 0x11),  # FIN where the trace says RST
        changed(4, 35, 9),  # another window
        changed(3, 39, 9),  # another urgent pointer
        changed(0, 55, 3),  # another window scale
        changed(0, 53, 1),  # none
        changed(3, 0, 0x4F),  # options of IP that are not there
        changed(3, 0, 0x95),  # no version of IP
        changed(3, 32, 0xF0),  # options of TCP that are not there
    ],
)
def test_headers_that_contradict_the_trace_do_not_count(headers: str) -> None:
    file = read(pcap.render(sent(headers), rows=ROWS))
    assert tuple(packet.headers for packet in file.packets) == REBUILT
    assert "contradict its trace or cannot be read: the trace counts" in file.packets[0].comments[0]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_from_a_host_raise_an_error(noise: bytes, at: int) -> None:
    data = b"".join(CAPTURED)
    for mixed in (noise, data[:at] + noise, data[:at] + noise + data[at + len(noise) :]):
        headers = base64.b64encode(zlib.compress(mixed)).decode()
        evidence = sent(headers).observations[0].evidence
        assert captured_headers(evidence, "ipv4") in (None, CAPTURED) or len(mixed) == len(data)
        assert len(read(pcap.render(sent(headers))).packets) == len(CHAT)


# ---- whatever a host claims


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_the_name_of_a_host_becomes_a_file_in_this_folder_for_this_host_only(
    one: str, other: str
) -> None:
    name = pcap.file_name(one)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 255
    assert (name == pcap.file_name(other)) == (one == other)


@given(
    st.builds(
        Segment,
        at_us=st.integers(-10, 2**40),
        sender=st.sampled_from(["closer", "peer"]),
        flags=st.text(max_size=12),
        seq=st.integers(),
        ack=st.integers(),
        length=st.integers(0, 2**20),
        urgent=st.integers(),
        options=st.text(max_size=256),
        window=st.none() | st.integers(0, 0xFFFF),
    ),
    st.sampled_from(["ipv4", "ipv6", "unix"]),
    st.none() | st.just(CONNECTION),
    st.text(max_size=50),
)
def test_any_evidence_becomes_a_complete_file(
    segment: Segment, family: Family, connection: Connection | None, name: str
) -> None:
    data = pcap.render(replace(host((family, (segment,)), connection=connection), name=name))
    (packet,) = read(data).packets
    assert packet.length == len(packet.headers) + segment.length
