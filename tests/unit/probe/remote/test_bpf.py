"""The packet filter, run by an interpreter of classic BPF (linux/filter.h) against made packets."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from fleetaudit.probe.remote import bpf
from fleetaudit.probe.remote.constants import SNAP
from fleetaudit.probe.remote.service_capture import filter_words

PORTS = (40001, 40002)
HOST, OUTGOING = 0, 4  # packet types


def run_filter(program: bytes, packet: bytes, packet_type: int = HOST) -> int:
    """Returns how many bytes of a packet the filter passes."""
    accumulator = index = place = 0
    while True:
        code, if_true, if_false, operand = struct.unpack_from("HBBI", program, place * 8)
        place += 1
        if code == bpf.RET:
            return int(operand)
        if code == bpf.JEQ:
            place += if_true if accumulator == operand else if_false
        elif code == bpf.AND:
            accumulator &= operand
        elif code == bpf.LDX:
            index = (packet[operand] & 15) * 4
        elif operand == bpf.PACKET_TYPE:
            accumulator = packet_type
        else:
            layout, start = {
                bpf.LDB: ("!B", 0),
                bpf.LDH: ("!H", 0),
                bpf.LDW: ("!I", 0),
                bpf.LDH_X: ("!H", index),
            }[code]
            (accumulator,) = struct.unpack_from(layout, packet, start + operand)


def ipv4(
    source: int = PORTS[0],
    target: int = 5000,
    *,
    protocol: int = 6,
    addresses: tuple[bytes, bytes] = (b"\x7f\0\0\1", b"\x7f\0\0\1"),
    fragment: int = 0,
    options: bytes = b"",
) -> bytes:
    first = 0x40 | (5 + len(options) // 4)
    header = struct.pack("!BBHHHBBH", first, 0, 60, 1, fragment, 64, protocol, 0)
    return header + b"".join(addresses) + options + struct.pack("!HH", source, target) + b"\0" * 16


LOOPBACK_6 = b"\0" * 15 + b"\1"


def ipv6(
    source: int = PORTS[0],
    target: int = 5000,
    *,
    protocol: int = 6,
    addresses: tuple[bytes, bytes] = (LOOPBACK_6, LOOPBACK_6),
) -> bytes:
    header = struct.pack("!IHBB", 0x60000000, 20, protocol, 64)
    return header + b"".join(addresses) + struct.pack("!HH", source, target) + b"\0" * 16


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(),
        ipv4(5000, PORTS[1]),
        ipv4(fragment=0x4000),  # "don't fragment" is no fragment
        ipv4(options=b"\1" * 8),
        ipv6(),
        ipv6(5000, PORTS[1]),
    ],
)
def test_the_probes_own_segments_pass(packet: bytes) -> None:
    assert run_filter(bpf.loopback_filter(PORTS), packet) == SNAP


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(5001, 5000),
        ipv4(protocol=17),
        ipv4(addresses=(b"\x7f\0\0\1", b"\x7f\0\0\2")),
        ipv4(addresses=(b"\x0a\0\0\1", b"\x7f\0\0\1")),
        ipv4(fragment=1),
        ipv6(5001, 5000),
        ipv6(protocol=17),
        ipv6(addresses=(LOOPBACK_6, b"\0" * 15 + b"\2")),
        ipv6(addresses=(b"\xfe\x80" + b"\0" * 13 + b"\1", LOOPBACK_6)),
        b"\0" * 60,
    ],
)
def test_foreign_packets_are_rejected(packet: bytes) -> None:
    assert run_filter(bpf.loopback_filter(PORTS), packet) == 0


def test_outgoing_copies_are_rejected() -> None:
    assert run_filter(bpf.loopback_filter(PORTS), ipv4(), OUTGOING) == 0


def test_nothing_passes_without_ports() -> None:
    program = bpf.loopback_filter(())
    assert [run_filter(program, packet) for packet in (ipv4(), ipv6())] == [0, 0]
    assert run_filter(bpf.assemble(bpf.REJECT_ALL), ipv4()) == 0


def test_a_filter_for_as_many_ports_as_a_trial_has_fits_into_jumps_of_one_byte() -> None:
    ports = tuple(range(40000, 40020))
    program = bpf.loopback_filter(ports)
    assert all(run_filter(program, ipv4(port)) == SNAP for port in ports)
    assert all(run_filter(program, ipv6(5000, port)) == SNAP for port in ports)


def test_labels_become_distances() -> None:
    lines = [("", bpf.JEQ, 7, "end", ""), ("", bpf.RET, 1, "", ""), ("end", bpf.RET, 2, "", "")]
    assert bpf.assemble(lines) == b"".join(
        struct.pack("HBBI", *line) for line in [(0x15, 1, 0, 7), (6, 0, 0, 1), (6, 0, 0, 2)]
    )


OTHER_4, OTHER_6 = b"\xc0\0\2\1", b"\xfe\x80" + b"\0" * 13 + b"\1"


@pytest.mark.parametrize(
    ("address", "make", "packed", "loopback"),
    [
        ("192.0.2.1", ipv4, OTHER_4, b"\x7f\0\0\1"),
        ("fe80::1", ipv6, OTHER_6, LOOPBACK_6),
    ],
)
def test_another_address_of_the_host_passes_instead_of_the_loopback(
    address: str, make: Callable[..., bytes], packed: bytes, loopback: bytes
) -> None:
    program = bpf.loopback_filter(PORTS, *filter_words(address))
    assert run_filter(program, make(addresses=(packed, packed))) == SNAP
    for addresses in ((loopback, loopback), (packed, loopback), (loopback, packed)):
        assert run_filter(program, make(addresses=addresses)) == 0
