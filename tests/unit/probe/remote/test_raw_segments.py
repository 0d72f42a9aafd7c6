"""Segments that the probe makes itself."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.probe.remote.constants import ACK, PSH
from fleetaudit.probe.remote.packets import parse_packet
from fleetaudit.probe.remote.raw_segments import internet_checksum, make_segment

NUMBERS = (1000, 2000, PSH | ACK, 512, 0)


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D  # section 3
    assert internet_checksum(b"") == 0xFFFF


@given(st.binary(max_size=40))
def test_a_checksum_makes_the_sum_zero(data: bytes) -> None:
    even = data + b"\0" * (len(data) % 2)
    assert internet_checksum(even + struct.pack("!H", internet_checksum(data))) == 0


@pytest.mark.parametrize(
    ("family", "address", "pseudo"),
    [
        (socket.AF_INET, "127.0.0.1", "!4s4sBBH"),
        (socket.AF_INET6, "::1", "!16s16sII"),
    ],
)
@pytest.mark.parametrize("timestamps", [None, (7, 8)])
@pytest.mark.parametrize("data", [b"", b"odd", b"even"])
def test_a_segment_is_valid_and_reads_back(
    family: int, address: str, pseudo: str, timestamps: tuple[int, int] | None, data: bytes
) -> None:
    near, far = (address, 40001), (address, 80)
    segment = make_segment(family, near, far, NUMBERS, timestamps, data)
    packed = socket.inet_pton(family, address)
    rest = (0, 6, len(segment)) if family == socket.AF_INET else (len(segment), 6)
    assert internet_checksum(struct.pack(pseudo, packed, packed, *rest) + segment) == 0
    packet = parse_packet(
        struct.pack("!IHBB32s", 0x60000000, len(segment), 6, 64, b"") + segment, 0
    )
    assert packet is not None
    assert (packet.source, packet.target, packet.seq, packet.ack) == (40001, 80, 1000, 2000)
    assert (packet.bits, packet.window, packet.length) == (PSH | ACK, 512, len(data))
    assert packet.timestamps == timestamps
    assert segment.endswith(data)
