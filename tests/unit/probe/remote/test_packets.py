"""The parser of captured segments and of their TCP options."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.probe.remote.constants import ACK, FIN, PSH, RST, SYN, URG
from fleetaudit.probe.remote.packets import flag_names, parse_options, parse_packet, split_options

TIMESTAMPS = struct.pack("!BBII", 8, 10, 100, 200)
NOP = b"\1"


def mptcp(*value: int) -> bytes:
    return bytes([30, 2 + len(value), *value])


@pytest.mark.parametrize(
    ("data", "bits", "names"),
    [
        (b"", SYN, ""),
        (b"\2\4\5\xb4", SYN, ""),  # the maximum segment size is not reported
        (NOP * 2 + TIMESTAMPS, SYN, "TS"),
        (NOP * 2 + TIMESTAMPS, ACK, ""),
        (b"\5\x0a" + b"\0" * 8, ACK, "SACK"),
        (b"\x13\x12" + b"\0" * 16, SYN, "MD5"),
        (b"\x13\x12" + b"\0" * 16, ACK | FIN, "MD5"),
        (b"\x13\x12" + b"\0" * 16, ACK | RST, "MD5"),
        (b"\x13\x12" + b"\0" * 16, ACK, ""),
        (b"\x22\2", SYN, "TFO"),
        (b"\x22\2", ACK, ""),
        (mptcp(0x00, 1), SYN, "MP_CAPABLE"),
        (mptcp(0x10, 0), SYN, "MP_JOIN"),
        (mptcp(0x20, 0x10), ACK, "DATA_FIN"),
        (mptcp(0x20, 0x05), ACK, ""),
        (mptcp(0x60, 0), ACK, "MP_FAIL"),
        (mptcp(0x70, 0), RST, "MP_FASTCLOSE"),
        (mptcp(0x80, 0), RST, "MP_RST"),
        (mptcp(0x30, 0), ACK, ""),
        (mptcp(0x20), ACK, ""),  # without its flags
        (mptcp(), ACK, ""),
        (TIMESTAMPS + mptcp(0x80, 0), SYN, "TS MP_RST"),
        (b"\0" + b"\x22\2", SYN, ""),  # the end of the list
        (b"\x22\1", SYN, ""),  # shorter than its own header
        (b"\x22\x09", SYN, ""),  # longer than the list
        (b"\x22", SYN, ""),
        (b"\x08\x09" + b"\0" * 7, SYN, ""),  # timestamps of a wrong size
    ],
)
def test_the_reported_options_by_segment(data: bytes, bits: int, names: str) -> None:
    assert parse_options(data, bits)[0] == names


def test_timestamps_and_the_scale_of_a_syn() -> None:
    data = b"\3\3\7" + NOP + TIMESTAMPS
    assert parse_options(data, SYN) == ("TS", (100, 200), 7)
    assert parse_options(data, ACK) == ("", (100, 200), None)


def test_options_are_split_up_to_a_wrong_size() -> None:
    data = bytearray(NOP + b"\2\4\5\xb4" + b"\x22\2" + b"\5\0" + TIMESTAMPS)
    assert list(split_options(data)) == [(2, bytearray(b"\5\xb4")), (34, bytearray())]


@given(st.binary(max_size=44), st.integers(0, 255))
def test_no_options_break_the_parser(data: bytes, bits: int) -> None:
    names, timestamps, scale = parse_options(data, bits)
    assert set(names.split()) <= {
        *("TS", "SACK", "MD5", "TFO", "DATA_FIN"),
        *("MP_CAPABLE", "MP_JOIN", "MP_FAIL", "MP_FASTCLOSE", "MP_RST"),
    }
    assert timestamps is None or len(timestamps) == 2
    assert scale is None or 0 <= scale <= 255


def tcp_header(options: bytes = b"", bits: int = ACK | PSH, urgent: int = 0) -> bytes:
    offset = (5 + len(options) // 4) << 4
    return struct.pack("!HHIIBBHHH", 1000, 2000, 7, 8, offset, bits, 512, 0, urgent) + options


def test_an_ipv4_packet_with_ip_options_and_a_cut_end() -> None:
    tcp = tcp_header(NOP * 2 + TIMESTAMPS)
    header = struct.pack("!BBH16s", 0x46, 0, 24 + len(tcp) + 1000, b"") + NOP * 4
    packet = parse_packet(header + tcp + b"data", 1.5)
    assert packet is not None
    assert (packet.at, packet.source, packet.target) == (1.5, 1000, 2000)
    assert (packet.seq, packet.ack, packet.window, packet.length) == (7, 8, 512, 1000)
    assert packet.headers == header + tcp
    assert (packet.options, packet.timestamps, packet.scale) == ("", (100, 200), None)


def test_an_ipv6_packet() -> None:
    tcp = tcp_header(bits=SYN)
    header = struct.pack("!IHBB32s", 0x60000000, len(tcp), 6, 64, b"")
    packet = parse_packet(header + tcp, 0)
    assert packet is not None
    assert (packet.bits, packet.length, packet.headers) == (SYN, 0, header + tcp)


@pytest.mark.parametrize(("bits", "urgent"), [(ACK | URG, 5), (ACK, 0)])
def test_an_urgent_pointer_counts_only_with_its_flag(bits: int, urgent: int) -> None:
    header = struct.pack("!IHBB32s", 0x60000000, 20, 6, 64, b"")
    packet = parse_packet(header + tcp_header(bits=bits, urgent=5), 0)
    assert packet is not None
    assert packet.urgent == urgent


@given(st.binary(max_size=80))
def test_no_bytes_break_the_parser_of_packets(data: bytes) -> None:
    packet = parse_packet(data or b"\0", 0)
    assert packet is None or packet.length >= 0


@pytest.mark.parametrize(
    ("bits", "names"),
    [(0, "none"), (SYN, "S"), (FIN | ACK, "F."), (RST, "R"), (PSH | ACK | URG, "P.U")],
)
def test_flags_are_written_as_tcpdump_writes_them(bits: int, names: str) -> None:
    assert flag_names(bits) == names
