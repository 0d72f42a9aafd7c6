"""The probe's own trace compared with that of a real tcpdump on the same loopback device."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetaudit.model import (
    Audited,
    Evidence,
    Family,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.report import pcap
from fleetaudit.report.captured_headers import captured_headers
from tests.support import native
from tests.support.probe_runs import (
    DRAINED,
    REREAD,
    UNREAD,
    VERSIONS,
    Captured,
    TcpdumpRun,
    interpreter,
    need_program,
    run,
    run_with_tcpdump,
    scenario,
    tcpdump_reads,
    trial_of,
)
from tests.support.probe_runs import request as probe_request
from tests.support.runs import traced_host
from tests.support.timed_replies import TimedReply, TimedTrial

SCENARIOS = (
    UNREAD,
    DRAINED,
    (
        "chat",
        (
            "closer connects; closer sends 1 urgent byte; peer reads the urgent byte; peer sends 1"
            " urgent byte; closer reads the urgent byte; closer closes"
        ),
    ),
    ("window-zero", "peer sends until blocked; closer closes"),
    ("linger", "peer sends 5 bytes; closer reads all; closer sets SO_LINGER 1 0; closer closes"),
    ("half-close", "peer half-closes; closer closes"),
    ("late data", "closer closes; peer sends 5 bytes"),
    ("reset by the peer", "peer sets SO_LINGER 1 0; peer closes; closer closes"),
    (
        "no scaling",
        "peer sets SO_RCVBUF 4096; closer sends 10 bytes; peer reads all; closer closes",
    ),
)
FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")
FLAGS = ((0x01, "F"), (0x02, "S"), (0x04, "R"), (0x08, "P"), (0x10, "."), (0x20, "U"))


Probe = Callable[..., TimedReply]
PROBES = pytest.mark.parametrize("probe", [run, native.run], ids=["python", "native"])
"""Runs a test with both probes: a trace is the same whoever made it."""


@pytest.fixture(scope="module", params=[run, native.run], ids=["python", "native"])
def beside(request: pytest.FixtureRequest) -> TcpdumpRun:
    scenarios = [
        scenario(name, steps, families=FAMILIES, expect=["not seen"]) for name, steps in SCENARIOS
    ]
    return run_with_tcpdump(probe_request(*scenarios, isolation="host"), probe=request.param)


def flags(bits: int) -> str:
    return "".join(letter for bit, letter in FLAGS if bits & bit)


def test_the_packets_of_the_file_are_read_as_tcpdump_reads_them(beside: TcpdumpRun) -> None:
    assert len(beside.packets) == len(beside.lines) > 100
    for packet, line in zip(beside.packets, beside.lines, strict=True):
        assert line.startswith(f"{packet.at:.6f} IP")
        assert re.search(rf"\.{packet.source} > \S+\.{packet.target}: ", line)
        words = {
            word: int(number)
            for word, number in re.findall(r"\b(seq|ack|win|urg|length) (\d+)", line)
        }
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


def trace(trial: TimedTrial) -> list[tuple[object, ...]]:
    assert trial.wire is not None
    assert trial.connection is not None
    port = dict(zip(("closer", "peer"), trial.connection.ports, strict=True))
    return [
        (port[s.sender], s.flags, s.seq, s.ack, s.length, s.urgent, s.window) for s in trial.wire
    ]


def scale_of(packets: tuple[Captured, ...], port: int) -> int | None:
    """Returns the window scale in the SYN that a port sent."""
    (syn,) = {p.options for p in packets if p.source == port and p.bits & 0x02}
    found = re.search(rb"\x01\x03\x03(.)", syn, re.DOTALL)  # NOP, kind 3, length 3
    return found[1][0] if found else None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [name for name, _ in SCENARIOS])
def test_a_trace_is_what_tcpdump_saw(beside: TcpdumpRun, name: str, family: Family) -> None:
    trial = trial_of(beside.reply, name, family)
    seen = beside.of(trial)
    rows = trace(trial)
    assert trial.wire_omitted == 0
    assert rows == relative(seen)[: len(rows)]
    connection = trial.connection
    assert connection is not None
    assert connection.scales == tuple(scale_of(seen, port) for port in connection.ports)
    for segment, packet in zip(trial.wire or (), seen, strict=False):
        assert abs(connection.began + segment.at_us / 1e6 - packet.at) < 0.1


WORDS = {  # Segment.options as tcpdump prints them; of MP_RST and a new TFO it says "unknown"
    "TS": r"TS val",
    "MD5": r"\bmd5\b",
    "SACK": r"\bsack \d",
    "MP_CAPABLE": r"mptcp \d+ capable",
    "MP_FASTCLOSE": r"mptcp \d+ fast-close",
    "DATA_FIN": r"mptcp \d+ dss fin",
}
ONLY_OF = {"TS": "S", "MD5": "SFR"}
"""Options that all segments of a connection have are words of these alone."""


def words_of(packet: Captured, line: str) -> set[str]:
    found = {word for word, pattern in WORDS.items() if re.search(pattern, line)}
    return {word for word in found if set(ONLY_OF.get(word, "SFRP.U")) & set(flags(packet.bits))}


@pytest.mark.slow
@PROBES
def test_every_trace_of_the_shipped_playbook_is_what_tcpdump_saw(
    probe: Probe, tmp_path: Path
) -> None:
    need_program("sysctl")
    (play,) = load_playbook(None).plays
    scenarios = [
        scenario(s.name, "; ".join(step.text for step in s.steps), families=s.families)
        for s in play.scenarios
    ]
    beside = run_with_tcpdump(
        probe_request(*scenarios, isolation="host", deadline=300.0),
        commands=["sysctl -qw net.ipv4.tcp_fastopen=519"],
        probe=probe,
    )
    place = dict(zip(beside.packets, beside.lines, strict=True))
    trials = [
        trial for o in beside.reply.observations for trial in o.trials if trial.wire is not None
    ]
    assert len(trials) > 100
    for trial in trials:
        seen, rows = beside.of(trial), trace(trial)
        if trial.wire_omitted:  # what is left out is in the middle
            rows = rows[:50]
        assert rows == relative(seen)[: len(rows)]
        for segment, packet in zip((trial.wire or ())[: len(rows)], seen, strict=False):
            assert set(segment.options.split()) & WORDS.keys() == words_of(packet, place[packet])
        if not trial.wire_omitted:
            family = next(o.family for o in beside.reply.observations if trial in o.trials)
            assert rebuilt_lines(trial, family, tmp_path) == as_rebuilt(beside, trial)


# ---- the file of packets
# -------------------------------------------------------------------------------------------


def audited(*trials: TimedTrial, family: Family = "ipv4") -> Audited:
    """Returns a host with what these trials report."""
    return traced_host(
        *(
            (family, Evidence(wire=trial.wire, connection=trial.connection, steps=trial.steps))
            for trial in trials
        )
    )


def lines_of(beside: TcpdumpRun, trial: TimedTrial) -> list[str]:
    """Returns tcpdump's own lines of what a trial reports."""
    place = dict(zip(beside.packets, beside.lines, strict=True))
    return [place[packet] for packet in beside.of(trial)][: len(trial.wire or ())]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [name for name, _ in SCENARIOS])
def test_headers_that_were_captured_are_the_capture(
    beside: TcpdumpRun, name: str, family: Family, tmp_path: Path
) -> None:
    trial = trial_of(beside.reply, name, family)
    host = audited(trial, family=family)
    headers = captured_headers(host.observations[0].evidence, family)
    assert headers == tuple(packet.headers for packet in beside.of(trial))[: len(headers or ())]
    path = tmp_path / "trace.pcap"
    path.write_bytes(pcap.render(host))
    ours, theirs = (
        list(map(apart, lines)) for lines in (tcpdump_reads(path), lines_of(beside, trial))
    )
    assert [line for _, line in ours] == [line for _, line in theirs]
    assert all(abs(one - other) < 0.1 for (one, _), (other, _) in zip(ours, theirs, strict=True))


def apart(line: str) -> tuple[float, str]:
    """Returns the time of a line and the rest: tcpdump's own socket reads the clock once more."""
    at, _, rest = line.partition(" ")
    return float(at), rest


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", [name for name, _ in SCENARIOS])
def test_headers_that_are_rebuilt_differ_only_in_what_the_file_says(
    beside: TcpdumpRun, name: str, family: Family, tmp_path: Path
) -> None:
    trial = trial_of(beside.reply, name, family)
    assert rebuilt_lines(trial, family, tmp_path) == as_rebuilt(beside, trial)


def rebuilt_lines(trial: TimedTrial, family: Family, folder: Path) -> list[str]:
    """Returns what tcpdump reads in the file of a trial whose headers are rebuilt."""
    assert trial.connection is not None
    rebuilt = replace(trial, connection=replace(trial.connection, headers=""))
    path = folder / "trace.pcap"
    path.write_bytes(pcap.render(audited(rebuilt, family=family)))
    return [without_what_is_made_up(line) for line in tcpdump_reads(path)]


def as_rebuilt(beside: TcpdumpRun, trial: TimedTrial) -> list[str]:
    """Returns tcpdump's own lines of a trial without what a rebuilt file makes up."""
    return [without_what_is_made_up(line) for line in lines_of(beside, trial)]


def without_what_is_made_up(line: str) -> str:
    """Returns a line of tcpdump without its time and absolute numbers, and of the options those
    that a trace has.
    """
    _, line = apart(line)
    scale = re.search(r"wscale \d+", line)
    line = re.sub(r"options \[.*\], ", f"options [{scale[0]}], " if scale else "", line)
    line = re.sub(r"seq (\d+):(\d+)", lambda m: f"bytes {(int(m[2]) - int(m[1])) % 2**32}", line)
    return re.sub(r"\b(seq|ack) \d+", r"\1", line)


# ---- when headers are sent
# -----------------------------------------------------------------------------------------


def headers_of(reply: TimedReply) -> list[str]:
    """Returns the headers of every trial, "" where there are none."""
    return [t.connection.headers for o in reply.observations for t in o.trials if t.connection]


@PROBES
@pytest.mark.parametrize(
    ("steps", "expect", "sent"),
    [
        (UNREAD[1], ["RST"], False),
        (UNREAD[1], ["FIN"], True),
        (UNREAD[1], [], False),  # nothing is expected, so nothing deviates
        (DRAINED[1], ["FIN"], False),
        (DRAINED[1], ["RST", "nothing"], True),
        ("closer closes; peer sends 5 bytes", ["FIN, then RST"], False),
        ("closer closes; peer sends 5 bytes", ["FIN"], True),
        ("peer sends 5 bytes", ["nothing"], False),
        ("closer reads 5 bytes; closer closes", ["FIN"], True),  # a step that fails
        (REREAD[1], ["nothing"], True),  # and segments follow while the probe cleans up
    ],
)
def test_headers_are_sent_for_what_deviates(
    probe: Probe, steps: str, expect: list[str], sent: bool
) -> None:
    reply = probe(probe_request(scenario("one", steps, families=["ipv4"], expect=expect)))
    (trial,) = reply.observations[0].trials
    assert bool(headers_of(reply)[0]) == sent
    assert bool(captured_headers(audited(trial).observations[0].evidence, "ipv4")) == sent


@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_sends_them(version: str) -> None:
    call = probe_request(scenario(*UNREAD, expect=["FIN"]))
    reply = run(call, python=interpreter(version))
    for observation in reply.observations:
        (trial,) = observation.trials
        seen = audited(trial, family=observation.family).observations[0].evidence
        assert captured_headers(seen, observation.family) is not None


def test_a_python_without_zlib_sends_none() -> None:
    call = probe_request(scenario(*UNREAD, families=["ipv4"], expect=["FIN"]))
    reply = run(call, before="import sys\nsys.modules['zlib'] = None\n")
    assert headers_of(reply) == [""]


@PROBES
def test_the_headers_of_a_reply_are_bounded(probe: Probe) -> None:
    many = [
        scenario(f"s{number}", UNREAD[1], families=["ipv4"], expect=["FIN"])
        for number in range(200)
    ]
    sent = headers_of(probe(probe_request(*many, deadline=120.0)))
    assert len(sent) == 200
    assert 20_000 < sum(map(len, sent)) <= 32_768
    assert sent[0]
    assert not sent[-1]
