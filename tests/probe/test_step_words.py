"""The later words of the step language on this machine's kernel: what each does, by the wire, in
three Pythons.
"""

from __future__ import annotations

import re

import pytest

from fleetaudit.model import Family
from fleetaudit.probe import protocol
from tests.support import probe_runs, timed_replies
from tests.support.probe_runs import (
    STAY_IN_NAMESPACE,
    SYN,
    TcpdumpRun,
    notable_segments,
    request,
    run,
    run_with_tcpdump,
    scenario,
    trial_of,
)
from tests.support.timed_replies import TimedReply, TimedTrial
from tests.support.timing import BUSY_S

WAIT = "peer sends 5 bytes; wait 120 ms; closer closes"
WAITALL = "peer sends 10 bytes; closer reads 10 bytes with MSG_WAITALL; closer closes"
WAITALL_AT_THE_END = (
    "peer sends 5 bytes; peer half-closes; closer reads 10 bytes with MSG_WAITALL; closer closes"
)
WAITALL_AT_THE_MARK = (
    "peer sends 5 bytes; peer sends 1 urgent byte; closer reads 10 bytes with MSG_WAITALL; closer"
    " closes"
)
THREE_VALUES = (
    "namespace sets net.ipv4.tcp_rmem 4096 8192 16384; peer sends until blocked; closer closes"
)
OUT_OF_ORDER = (
    "peer sends 3 bytes; closer reads all; peer sends 5 bytes out of order; closer closes"
)
FILLED = "peer sends 5 bytes out of order; peer sends 1 byte; closer closes"
FILLED_AND_READ = (
    "peer sends 5 bytes out of order; peer sends 1 byte; closer reads 6 bytes; closer closes"
)
RESENT = "peer sends 10 bytes; closer reads all; peer resends 10 bytes; closer closes"
RESENT_URGENT = (
    "peer sends 10 urgent bytes; closer reads the urgent byte; closer reads all; peer resends 10"
    " urgent bytes; closer closes"
)
SIGNED = "both sign with TCP_MD5SIG; peer sends 5 bytes; closer closes"
SIGNED_READ = "both sign with TCP_MD5SIG; peer sends 5 bytes; closer reads all; closer closes"
SIGNED_LATE = (
    "both sign with TCP_MD5SIG; closer sets TCP_LINGER2 100; closer closes; peer sends 5 bytes"
)
FULL = (
    "listener has a backlog of 2; listener sets TCP_DEFER_ACCEPT 5; peer connects without being"
    " accepted; others fill the accept queue; peer sends 5 bytes"
)
FULL_DROPPED = "namespace sets net.ipv4.tcp_abort_on_overflow 0; " + FULL
FULL_ABORTED = "namespace sets net.ipv4.tcp_abort_on_overflow 1; " + FULL

ENDINGS = {  # the steps, and the segments that end the connection
    # The first: what closes a listener must not close that of the others.
    "peer connects; listener closes; peer sends 5 bytes; closer closes": ["closer R."],
    WAIT: ["closer R."],
    WAITALL: ["closer F."],
    WAITALL_AT_THE_END: ["peer F.", "closer F."],
    WAITALL_AT_THE_MARK: ["peer P.U", "closer R."],
    "peer is killed; closer closes": ["peer F.", "closer F."],
    "peer exits; closer closes": ["peer F.", "closer F."],
    "peer is terminated; closer closes": ["peer F.", "closer F."],
    "peer execs; closer closes": ["peer F.", "closer F."],
    "peer sends 5 bytes; peer is killed; closer closes": ["peer F.", "closer R."],
    "closer sends 5 bytes; peer reads all; peer is killed; closer half-closes": [
        "peer F.",
        "closer F.",
    ],
    "closer sends 5 bytes; closer half-closes; peer is killed": ["closer F.", "peer R."],
    "listener has a backlog of 2; peer sends 5 bytes; closer closes": ["closer R."],
    "listener has a backlog of 2; peer connects without being accepted; listener closes": [
        "closer R."
    ],
    THREE_VALUES: ["closer R."],
    SIGNED: ["closer R."],
    SIGNED_READ: ["closer F."],
    SIGNED_LATE: ["closer F.", "closer R"],
    FULL_DROPPED: [],
    FULL_ABORTED: ["closer R"],
    "others fill the accept queue; closer accepts; peer sends 5 bytes; closer closes": [
        "closer R."
    ],
    OUT_OF_ORDER: ["closer F."],
    FILLED: ["closer R."],
    FILLED_AND_READ: ["closer F."],
    "closer connects; peer sends 5 bytes out of order; closer is killed": ["closer F."],
    "peer sends 5 bytes out of order; closer closes; peer sends 1 byte": ["closer F.", "closer R"],
    "peer sends 5 bytes out of order; peer sends 5 bytes out of order; peer sends 1 byte;"
    " closer reads 6 bytes; closer closes": ["closer F."],
    RESENT: ["closer F."],
    RESENT_URGENT: ["peer P.U", "closer F."],
    "peer sends 10 bytes; peer resends 10 bytes; closer closes": ["closer R."],
}


@pytest.fixture(scope="module", params=["2.7", "3.6", "3.11"])
def here(request: pytest.FixtureRequest) -> TimedReply:
    """What the probe answers on this machine in one Python."""
    call = probe_runs.request(*[scenario(text, text, families=["ipv4"]) for text in ENDINGS])
    reply = run(call, python=probe_runs.interpreter(request.param))
    if reply.isolation != "namespace":
        pytest.skip(reply.isolation_note)
    return reply


@pytest.mark.parametrize("text", ENDINGS)
def test_the_segments_that_end_the_connection(here: TimedReply, text: str) -> None:
    (observation,) = [o for o in here.observations if o.scenario == text]
    if "TCP_MD5SIG" in observation.not_run:
        pytest.skip(observation.not_run)
    assert notable_segments(trial_of(here, text)) == ENDINGS[text]


def test_a_step_that_waits_takes_as_long_as_it_says(here: TimedReply) -> None:
    trial = trial_of(here, WAIT)
    assert trial.wire is not None
    waits, closes = (at for at, index in trial.steps if index in (1, 2))
    (reset,) = [s.at_us for s in trial.wire if "R" in s.flags]
    # Not from the segment that was sent: a busy kernel stamps the first segments of a capture late.
    assert closes - waits >= 120_000
    assert reset - waits >= 120_000


def test_waitall_returns_the_bytes_up_to_the_end_or_the_urgent_mark(
    here: TimedReply,
) -> None:
    received = {text: trial_of(here, text).bytes["closer received"] for text in ENDINGS}
    assert received[WAITALL] == 10
    assert received[WAITALL_AT_THE_END] == 5
    assert received[WAITALL_AT_THE_MARK] == 5


def test_a_closed_peer_is_no_witness(here: TimedReply) -> None:
    assert trial_of(here, "peer is killed; closer closes").peer is None


def test_a_receive_buffer_of_three_values_is_that_of_the_connection(
    here: TimedReply,
) -> None:
    trial = trial_of(here, THREE_VALUES)
    assert trial.wire is not None
    (reset,) = [s for s in trial.wire if "R" in s.flags]
    assert 0 < reset.ack < 16384  # what the closer took before its buffer was full


def test_data_behind_a_gap_is_not_in_the_receive_queue(here: TimedReply) -> None:
    assert trial_of(here, OUT_OF_ORDER).queue == {"fionread": 0, "rx_queue": 0}
    assert trial_of(here, FILLED).queue == {"fionread": 6, "rx_queue": 6}


def test_no_counter_shows_data_that_is_lost_behind_a_gap(here: TimedReply) -> None:
    assert trial_of(here, OUT_OF_ORDER).kernel == {}
    assert trial_of(here, FILLED).kernel == {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 2}


def test_the_peer_accepts_a_fin_that_acknowledges_only_what_it_sent(
    here: TimedReply,
) -> None:
    peers = {text: trial_of(here, text).peer for text in (OUT_OF_ORDER, FILLED_AND_READ)}
    assert [peer and peer.state for peer in peers.values()] == [8, 1]  # CLOSE_WAIT, ESTABLISHED


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.11"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_raw_segments_are_what_tcpdump_sees(family: Family, version: str) -> None:
    texts = (OUT_OF_ORDER, FILLED, FILLED_AND_READ, RESENT)
    call = request(*[scenario(text, text, families=[family]) for text in texts])
    beside = run_with_tcpdump(
        call, before=STAY_IN_NAMESPACE, python=probe_runs.interpreter(version)
    )
    told = {text: told_by_tcpdump(beside, trial_of(beside.reply, text, family)) for text in texts}
    assert [line for line in told[OUT_OF_ORDER] if line.startswith("closer [F")] == [
        "closer [F.], seq 1, ack 4, sack {5:10}"
    ]
    assert "peer [P.], seq 5:10, ack 1" in told[OUT_OF_ORDER]
    assert "closer [R.], seq 1, ack 7" in told[FILLED]
    assert "peer [P.], seq 2:7, ack 1" in told[FILLED]
    assert "closer [.], ack 1, sack {2:7}" in told[FILLED]
    assert "closer [F.], seq 1, ack 7" in told[FILLED_AND_READ]
    assert told[RESENT].count("peer [P.], seq 1:11, ack 1") >= 2
    assert "closer [.], ack 11, sack {1:11}" in told[RESENT]
    assert "closer [F.], seq 1, ack 11" in told[RESENT]
    for (
        text
    ) in texts:  # nothing that was sent in the peer's name made its kernel reset the connection
        assert not [line for line in told[text] if line.startswith("peer [R")]


def told_by_tcpdump(beside: TcpdumpRun, trial: TimedTrial) -> list[str]:
    """Returns a trial's segments in tcpdump's words, with numbers counted from the SYNs: without
    those, and as many as the trial's own trace has.
    """
    assert trial.connection is not None
    assert trial.wire is not None
    side = dict(zip(trial.connection.ports, ("closer", "peer"), strict=True))
    first = dict[int, int]()
    told = list[str]()
    for packet, line in zip(beside.packets, beside.lines, strict=True):
        if {packet.source, packet.target} != {*side}:
            continue
        if packet.bits & SYN:
            first[packet.source] = packet.seq
            continue
        own, others = first[packet.source], first[packet.target]
        flags = re.findall(r"Flags (\[.*?\])", line)
        seq = [f"seq {relative(n, own)}" for n in re.findall(r"seq ([0-9:]+)", line)]
        ack = [f"ack {relative(n, others)}" for n in re.findall(r" ack ([0-9]+)", line)]
        sack = [f"sack {{{relative(n, others)}}}" for n in re.findall(r"sack 1 {([0-9:]+)}", line)]
        told.append(f"{side[packet.source]} {', '.join(flags + seq + ack + sack)}")
    return told[: len(trial.wire) - len(first)]


def relative(numbers: str, first: int) -> str:
    """Returns sequence numbers ("4711:4714") counted from that of a SYN."""
    return ":".join(str((int(number) - first) % 2**32) for number in numbers.split(":"))


def test_a_peer_for_whom_the_queue_has_no_room_is_connected_for_its_own_kernel(
    here: TimedReply,
) -> None:
    dropped, aborted = trial_of(here, FULL_DROPPED), trial_of(here, FULL_ABORTED)
    assert dropped.peer is not None
    assert aborted.peer is not None
    assert (dropped.peer.state, dropped.peer.recv, dropped.kernel) == (1, ("EAGAIN",), {})
    assert (aborted.peer.state, aborted.peer.recv) == (7, ("ECONNRESET", "0"))
    assert aborted.kernel == {"OutRsts": 1, "EstabResets": 1}


def test_strangers_who_fill_the_queue_are_bounded() -> None:
    error = error_of("listener has a backlog of 18; others fill the accept queue")
    assert "18 connections do not fill the accept queue" in error


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_every_segment_is_signed_and_the_peer_accepts_the_reset(family: Family) -> None:
    texts = [SIGNED, SIGNED_READ, "both sign with TCP_MD5SIG; closer connects; closer closes"]
    beside = run_with_tcpdump(
        request(*[scenario(text, text, families=[family]) for text in texts], isolation="host")
    )
    if any("TCP_MD5SIG" in o.not_run for o in beside.reply.observations):
        pytest.skip(beside.reply.observations[0].not_run)
    for text in texts:
        trial = trial_of(beside.reply, text, family)
        assert trial.wire is not None
        segments = beside.of(trial)[: len(trial.wire)]
        assert len(segments) >= 4
        assert all(b"\x13\x12" in segment.options for segment in segments)  # kind 19, length 18
        assert {s.options for s in trial.wire if set("SFR") & set(s.flags)} == {"MD5"}
    peer = trial_of(beside.reply, SIGNED, family).peer
    assert peer is not None
    assert "ECONNRESET" in peer.recv


def test_a_kernel_without_signatures_is_the_reason_why_a_scenario_is_not_run() -> None:
    script = protocol.make_script(
        request(scenario("signed", SIGNED), scenario("usual", WAITALL))
    ).decode()
    changed = script.replace(
        "TCP_MD5SIG, TCP_ULP, SOL_TLS = 11, 12, 14,", "TCP_MD5SIG, TCP_ULP, SOL_TLS = 11, 12, 99,"
    )
    assert changed != script
    reply = timed_replies.parse_reply(probe_runs.run_text(changed))
    told = {o.scenario: o.not_run for o in reply.observations}
    assert told == {
        "signed": "this kernel refuses TCP_MD5SIG on a socket (ENOPROTOOPT)",
        "usual": "",
    }
    assert not any(o.failed for o in reply.observations)


CAPTURE, NAMESPACE = "needs a capture", "needs a private network namespace"
WITHOUT_RIGHTS = {  # why it is not run, "" if it is
    WAIT: "",
    WAITALL: "",
    SIGNED: "",
    FULL: "",
    "listener has a backlog of 2; closer closes": "",
    "peer is killed; closer closes": CAPTURE,
    OUT_OF_ORDER: CAPTURE,
    RESENT: CAPTURE,
    THREE_VALUES: NAMESPACE,
}


def test_without_namespaces_the_reason_names_what_a_step_needs() -> None:
    call = request(*[scenario(text, text, families=["ipv4"]) for text in WITHOUT_RIGHTS])
    reply = run(
        call, within=probe_runs.without_user_namespaces(), python=probe_runs.public_python()
    )
    told = {o.scenario: o.not_run for o in reply.observations}
    if "TCP_MD5SIG" in told[SIGNED]:
        told[SIGNED] = ""
    for text, why in WITHOUT_RIGHTS.items():
        assert told[text].startswith(why)
        assert bool(told[text]) == bool(why)
    assert not any(o.failed for o in reply.observations)


def error_of(text: str) -> str:
    """Returns why a scenario cannot be carried through on this machine."""
    (observation,) = run(request(scenario("wrong", text, families=["ipv4"]))).observations
    return observation.trials[0].error if observation.trials else observation.not_run


def test_waitall_does_not_wait_forever() -> None:
    error = error_of("peer sends 5 bytes; closer reads 10 bytes with MSG_WAITALL; closer closes")
    assert "5 of 10 bytes within" in error
    assert "none of 10 bytes came" in error_of(
        "closer reads 10 bytes with MSG_WAITALL; closer closes"
    )


def test_waitall_reads_over_af_unix() -> None:
    (observation,) = run(
        request(scenario("unix", "peer connects over AF_UNIX; " + WAITALL))
    ).observations
    assert observation.trials[0].bytes["closer received"] == 10


def test_a_sysctl_that_is_not_what_was_written_is_an_error() -> None:
    assert "net.ipv4.tcp_rmem is 4096 8192 " in error_of(
        "namespace sets net.ipv4.tcp_rmem 4096 8192; closer closes"
    )
    assert "cannot be set in a network namespace (EINVAL)" in error_of(
        "namespace sets net.ipv4.tcp_rmem 4096 8192 0; closer closes"
    )


def test_a_sysctl_of_three_values_is_restored_byte_for_byte() -> None:
    key = "net.ipv4.tcp_rmem"
    note = f"KEPT.append(repr(open(sysctl_path({key!r})).read()))"
    script = protocol.make_script(
        request(scenario("three", THREE_VALUES), scenario("one", WAITALL))
    ).decode()
    line = "observation = observe(lab, *self.pairs[number])"
    report, class_ = "\t\tlimit_headers(", "class Workers("
    assert [script.count(each) for each in (line, report, class_)] == [1, 1, 1]
    changed = script.replace(line, f"{note}; {line}").replace(class_, f"KEPT = []\n{class_}")
    changed = changed.replace(report, f"\t\treply['notes'] += KEPT\n{report}")
    reply = timed_replies.parse_reply(probe_runs.run_text(changed))
    values = [n for n in reply.notes if "\\t" in n]
    assert len(values) == 4
    assert len(set(values)) == 1
    assert "\\t8192\\t" not in values[0]


def test_a_wait_ends_with_the_probes_time() -> None:
    reply = run(
        request(
            scenario("slow", "wait 2 s; wait 2 s; closer closes", families=["ipv4"]), deadline=1.0
        )
    )
    (observation,) = reply.observations
    assert observation.not_run == "the probe's time ran out"
    assert reply.elapsed_s < 1 + BUSY_S


def test_a_number_without_room_in_an_option_fails_its_step() -> None:
    name, text = "too-large", "closer sets SO_RCVBUF 2147483648; closer closes"
    (observation,) = run(request(scenario(name, text, families=["ipv4"]))).observations
    (trial,) = observation.trials
    assert (trial.failed_step, trial.error) == (0, "SO_RCVBUF takes integers of 32 bits")
    assert trial.wire


def test_the_peer_of_a_connection_that_failed_is_questioned_without_waiting() -> None:
    text = (
        "namespace sets net.ipv4.tcp_fastopen 519; listener sets TCP_FASTOPEN 0;"
        " peer connects with 10 bytes in the SYN; closer closes"
    )
    (observation,) = run(request(scenario("refused", text, families=["ipv4"]))).observations
    if observation.not_run:
        pytest.skip(observation.not_run)
    (trial,) = observation.trials
    assert trial.error == "the data in the SYN was not accepted"
    assert trial.peer is not None
    assert trial.peer.recv == ("EAGAIN",)
