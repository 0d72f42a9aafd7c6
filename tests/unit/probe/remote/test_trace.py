"""What is reported of captured segments, and which trials count as equal."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import pytest

from fleetaudit.probe.remote import times, trace
from fleetaudit.probe.remote.constants import ACK, FIN, MAX_TRACE, RST, SYN
from fleetaudit.probe.remote.packets import Packet
from fleetaudit.probe.remote.scenario import coarse, key_of, without_defaults

CLIENT, SERVER = 40001, 80
SCALE_7 = b"\3\3\7\0"


def packet(
    bits: int, *, at: float = 10.0, seq: int = 0, ack: int = 0, data: int = 0, server: bool = False
) -> Packet:
    ends = (SERVER, CLIENT) if server else (CLIENT, SERVER)
    options = SCALE_7 if bits & SYN and not server else b""
    offset = (5 + len(options) // 4) << 4
    tcp = struct.pack("!HHIIBBHHH", *ends, seq, ack, offset, bits, 512, 0, 0) + options
    return Packet(at, b"\0" * 20 + tcp, 20, 20 + len(tcp) + data)


HANDSHAKE = [
    packet(SYN, seq=2**32 - 1),
    packet(SYN | ACK, seq=500, ack=0, server=True),
    packet(ACK, seq=0, ack=501),
]


def test_numbers_are_relative_to_the_first_of_each_side_and_wrap() -> None:
    packets = [*HANDSHAKE, packet(FIN | ACK, at=10.25, seq=4, ack=501, data=3)]
    rows, kept = trace.trace_rows(packets, CLIENT, "peer", 10.0)
    assert [row[1:6] for row in rows] == [
        ("peer", "S", 0, 0, 0),
        ("closer", "S.", 0, 1, 0),
        ("peer", ".", 1, 1, 0),
        ("peer", "F.", 5, 1, 3),
    ]
    assert [row[0] for row in rows] == [0, 0, 0, 250000]
    assert kept == packets


def test_a_long_trace_loses_its_middle_and_no_control_segment() -> None:
    packets = [packet(ACK, seq=i) for i in range(3 * MAX_TRACE)]
    packets[MAX_TRACE] = packet(RST, seq=9)
    rows, kept = trace.trace_rows(packets, CLIENT, "peer", 10.0)
    assert len(rows) == len(kept) == MAX_TRACE
    assert packets[MAX_TRACE] in kept
    assert (kept[0], kept[-1]) == (packets[0], packets[-1])


def test_of_too_many_control_segments_the_first_and_the_last_are_kept() -> None:
    assert trace.kept_rows([True] * 1000) == [*range(100), *range(900, 1000)]
    assert trace.kept_rows([True] * MAX_TRACE) == list(range(MAX_TRACE))


def test_a_connection_has_the_ports_and_scales_of_both_sides() -> None:
    assert trace.describe_connection(HANDSHAKE, CLIENT, "peer", 5.0) == {
        "began": 5.0,
        "ports": [SERVER, CLIENT],
        "scales": [None, 7],
    }
    assert trace.describe_connection(HANDSHAKE[2:], CLIENT, "peer", 5.0) is None


def test_headers_are_packed_without_data() -> None:
    packets = [packet(ACK, data=100), packet(RST)]
    packed = times.pack(b"".join(each.headers for each in packets))
    assert len(zlib.decompress(base64.b64decode(packed))) == 80


@pytest.mark.parametrize(("seconds", "micros"), [(1e-6, 1), (-2.5, -2500000), (1e12, 10**12)])
def test_a_clock_that_was_set_stays_in_bounds(seconds: float, micros: int) -> None:
    assert trace.micros(seconds) == micros


def row(flags: str, options: str = "", sender: str = "closer", **how: Any) -> tuple[Any, ...]:
    seq, length = how.get("seq", 0), how.get("length", 0)
    return (how.get("at", 0), sender, flags, seq, 0, length, 0, options, how.get("window", 512))


@pytest.mark.parametrize(
    ("rows", "ending"),
    [
        ([row("S"), row(".")], "nothing"),
        ([row("F."), row("R", sender="peer")], "FIN"),
        ([row("R.")], "RST"),
        ([row("FP."), row("R")], "FIN, then RST"),
        ([row("R"), row("F.")], "RST"),
        ([row(".", "DATA_FIN")], "FIN"),
        ([row(".", "DATA_FIN"), row("R", "MP_FASTCLOSE")], "FIN, then RST"),
    ],
)
def test_the_ending_that_the_closers_segments_show(rows: list[Any], ending: str) -> None:
    assert trace.captured_ending(rows) == ending


TRIAL = {
    "wire": [row("F.")],
    "error": "",
    "outstanding": "",
    "peer": {"recv": ["5", "0"], "so_error": "0"},
}


@pytest.mark.parametrize(
    ("change", "expect", "deviates"),
    [
        ({}, ("FIN",), False),
        ({}, (), False),
        ({}, ("RST", "FIN, then RST"), True),
        ({"error": "timed out"}, (), True),
        ({"outstanding": "more"}, (), True),
        ({"peer": {"recv": ["ECONNRESET"], "so_error": "0"}}, ("FIN",), True),
        ({"peer": {"recv": ["send: EPIPE"], "so_error": "0"}}, ("FIN",), True),
        ({"peer": None}, ("FIN",), False),
        ({"wire": [row("R")]}, ("RST",), True),  # the peer did not see it
    ],
)
def test_only_a_trial_that_needs_an_explanation_deviates(
    change: dict[str, Any], expect: tuple[str, ...], deviates: bool
) -> None:
    assert trace.deviates({**TRIAL, **change}, expect) is deviates


def trial(*rows: Any, **change: Any) -> dict[str, Any]:
    return {"wire": list(rows), "steps": [(0, 0)], "connection": {"began": 1.0}, **change}


def test_trials_that_differ_in_time_and_segmentation_only_are_equal() -> None:
    one = trial(row("P.", length=10), row("F.", seq=10), steps=[(0, 0), (5, 1)])
    two = trial(
        row(".", length=4, at=9),
        row("P.", length=6, seq=4, window=9),
        row("F.", seq=10),
        steps=[(1, 0), (7, 1)],
        connection={"began": 2.0},
    )
    assert key_of(one, []) == key_of(two, [])


@pytest.mark.parametrize(
    "other",
    [
        trial(row("R.", seq=10)),
        trial(row("F.", seq=10), row("R")),
        trial(row("F.", seq=11)),
        trial(row("F.", "DATA_FIN", seq=10)),
        trial(row("F.", seq=10, sender="peer")),
        trial(row("F.", seq=10), kernel={"OutRsts": 1}),
        trial(row("F.", seq=10), steps=[]),
    ],
)
def test_trials_that_differ_in_what_was_sent_are_not_equal(other: dict[str, Any]) -> None:
    assert key_of(trial(row("F.", seq=10)), []) != key_of(other, [])


def test_how_much_is_sent_until_a_sender_blocks_makes_no_difference() -> None:
    many = trial(row("F.", seq=70000), bytes={"closer sent": 70000}, peer=["20000", "0"])
    more = trial(row("F.", seq=90000), bytes={"closer sent": 90000}, peer=["30000", "0"])
    steps = [("closer", "send-until-blocked")]
    assert key_of(many, []) != key_of(more, [])
    assert key_of(many, steps) == key_of(more, steps)
    assert coarse({"a": ("9999", 10001, "x", None)}) == {"a": [9999, 10000, "x", None]}


def test_values_by_default_are_left_out_of_a_trial() -> None:
    full: dict[str, Any] = {
        "error": "",
        "connection": None,
        "wire_note": "n",
        "wire": None,
        "queue": {},
        "kernel": {},
    }
    # No counter that moved is not the same as counters that could not be read.
    assert without_defaults(full) == {"wire_note": "n", "wire": None, "kernel": {}}
