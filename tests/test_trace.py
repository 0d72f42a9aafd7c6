"""The probe's own trace beside that of a real tcpdump on the same loopback device."""

from __future__ import annotations

import re

import pytest

from fleetaudit import wire
from fleetaudit.model import Family

from .probing import DRAINED, UNREAD, Beside, Captured, beside_tcpdump, request, scenario, trial_of

pytestmark = pytest.mark.probe

SCENARIOS = (
    UNREAD,
    DRAINED,
    (
        "chat",
        "closer connects; closer sends 1 urgent byte; peer reads the urgent byte; peer sends 1 urgent byte; "
        "closer reads the urgent byte; closer closes",
    ),
    ("window-zero", "peer sends until blocked; closer closes"),
    ("linger", "peer sends 5 bytes; closer reads all; closer sets SO_LINGER 1 0; closer closes"),
    ("half-close", "peer half-closes; closer closes"),
    ("late data", "closer closes; peer sends 5 bytes"),
    ("reset by the peer", "peer sets SO_LINGER 1 0; peer closes; closer closes"),
    ("no scaling", "peer sets SO_RCVBUF 4096; closer sends 10 bytes; peer reads all; closer closes"),
)
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
FLAGS = ((0x01, "F"), (0x02, "S"), (0x04, "R"), (0x08, "P"), (0x10, "."), (0x20, "U"))


@pytest.fixture(scope="module")
def beside() -> Beside:
    scenarios = [scenario(name, steps, families=FAMILIES) for name, steps in SCENARIOS]
    return beside_tcpdump(request(*scenarios, isolation="host"))


def flags(bits: int) -> str:
    return "".join(letter for bit, letter in FLAGS if bits & bit)


def test_the_packets_of_the_file_are_read_as_tcpdump_reads_them(beside: Beside) -> None:
    assert len(beside.packets) == len(beside.lines) > 100
    for packet, line in zip(beside.packets, beside.lines, strict=True):
        assert line.startswith(f"{packet.at:.6f} IP")
        assert re.search(rf"\.{packet.source} > \S+\.{packet.target}: ", line)
        words = {word: int(number) for word, number in re.findall(r"\b(seq|ack|win|urg|length) (\d+)", line)}
        assert words == {
            "win": packet.window,
            "length": packet.length,
            **({"seq": packet.seq} if packet.length or packet.bits & 0x07 else {}),
            **({"ack": packet.ack} if packet.bits & 0x10 else {}),
            **({"urg": packet.urgent} if packet.bits & 0x20 else {}),
        }
        assert sorted(re.findall(r"Flags \[(\S+)\]", line)[0]) == sorted(flags(packet.bits))


def relative(packets: tuple[Captured, ...]) -> list[tuple[object, ...]]:
    """Returns rows as a trace has them, with numbers counted from each side's SYN."""
    first = {p.source: p.seq for p in reversed(packets) if p.bits & 0x02}
    return [
        (
            p.source,
            flags(p.bits),
            0 if p.bits & 0x02 else (p.seq - first[p.source]) % 2**32,
            (p.ack - first[p.target]) % 2**32 if p.bits & 0x10 else 0,
            p.length,
            p.urgent,
            p.window,
        )
        for p in packets
    ]


def trace(trial: wire.RawTrial) -> list[tuple[object, ...]]:
    assert trial.wire is not None
    assert trial.connection is not None
    port = dict(zip(("closer", "peer"), trial.connection.ports, strict=True))
    return [(port[s.sender], s.flags, s.seq, s.ack, s.length, s.urgent, s.window) for s in trial.wire]


def scale_of(packets: tuple[Captured, ...], port: int) -> int | None:
    """Returns the window scale in the SYN that a port sent."""
    (syn,) = {p.options for p in packets if p.source == port and p.bits & 0x02}
    found = re.search(rb"\x01\x03\x03(.)", syn, re.DOTALL)  # NOP, kind 3, length 3
    return found[1][0] if found else None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [name for name, _ in SCENARIOS])
def test_a_trace_is_what_tcpdump_saw(beside: Beside, name: str, family: Family) -> None:
    trial = trial_of(beside.reply, name, family)
    seen = beside.of(trial)
    rows = trace(trial)
    assert trial.wire_omitted == 0
    assert rows == relative(seen)[: len(rows)]
    connection = trial.connection
    assert connection is not None
    assert connection.scales == tuple(scale_of(seen, port) for port in connection.ports)
    for segment, packet in zip(trial.wire or (), seen, strict=False):
        assert abs(connection.began + segment.at_us / 1e6 - packet.at) < 1e-5
