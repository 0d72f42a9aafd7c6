"""Endings once reported too early, too late or of the wrong side, each against a real capture."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from fleetaudit.model import Family, Scenario
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol, verdict
from tests.support import probe_runs
from tests.support.timed_replies import TimedReply, TimedTrial

TRIALS = 10


@dataclass(frozen=True, slots=True)
class Known:
    """Steps whose ending is known from the kernel's source; `raw` if a raw segment is sent, which
    needs a namespace.
    """

    steps: str
    ending: str
    family: Family = "ipv4"
    raw: bool = False


KNOWN = {
    # tcp_rcv_state_process(): no FIN_WAIT2 for an orphan with TCP_LINGER2 below zero.
    "linger2-negative": Known("closer sets TCP_LINGER2 -1; closer closes", "FIN, then RST"),
    "linger2-negative-after-an-answer": Known(
        "closer sends 5 bytes; closer sets TCP_LINGER2 -1; closer closes", "FIN, then RST"
    ),
    # The peer goes on sending to a socket that is gone, some time after the close.
    "peer-full-queue": Known(
        "closer sets SO_RCVBUF 4096; peer sends until blocked; closer reads all; closer closes",
        "FIN, then RST",
    ),
    # Nothing moves until somebody reads, and nobody does.
    "peer-full-queue-shut-both-ways": Known(
        "peer sends until blocked; closer shuts both ways", "FIN"
    ),
    "closer-full-queue": Known("closer sends until blocked; closer closes", "nothing"),
    # FIONREAD ends before an urgent byte, and says 0 of a queue that begins with one.
    "closer-full-queue-urgent": Known(
        "closer sends 1 urgent byte; closer sends until blocked; closer closes", "nothing"
    ),
    "peer-full-queue-urgent": Known(
        "peer sends 1 urgent byte; peer sends until blocked; closer shuts both ways", "FIN"
    ),
    # The peer resets first, and no call on the closer's socket can change that.
    "reset-by-peer": Known("peer sets SO_LINGER 1 0; peer closes; closer closes", "nothing"),
    "reset-by-peer-unread": Known("closer sends 5 bytes; peer closes; closer closes", "nothing"),
    "reset-by-peer-for-late-data": Known(
        "peer shuts both ways; closer sends 5 bytes; closer closes", "nothing"
    ),
    # tcp_rcv_state_process(): data for a socket that has shut both ways.
    "shut-both-ways-late-data": Known(
        "closer shuts both ways; peer sends 5 bytes", "FIN, then RST"
    ),
    # tcp_reset(): ECONNRESET in LAST_ACK, although the FIN had come.
    "reset-after-both-fins": Known(
        "peer sends until blocked; closer shuts both ways; peer half-closes; closer closes",
        "FIN, then RST",
    ),
    # What the other side's reset makes of a shutdown is no failure of the experiment.
    "half-close-after-reset": Known("peer sends 5 bytes; closer closes; peer half-closes", "RST"),
    "closer-full-queue-peer-deaf": Known(
        "peer shuts reading; closer sends until blocked; closer closes", "nothing"
    ),
    # A FIN that the closer cannot tell of, since it shut reading, or that the peer had sent before.
    "fin-unheard": Known("closer shuts reading; peer half-closes; closer closes", "FIN"),
    "fin-sent-before": Known("peer half-closes; peer closes; closer closes", "FIN"),
    "fin-sent-before-unread": Known(
        "peer sends 5 bytes; peer half-closes; peer closes; closer closes", "RST"
    ),
    "mptcp-unread": Known("peer connects over MPTCP; peer sends 5 bytes; closer closes", "RST"),
    "mapped-resend": Known(
        "peer connects over IPv4-mapped IPv6; peer sends 10 bytes; closer reads all; "
        "peer resends 10 bytes with FIN; closer half-closes; closer closes",
        "FIN",
        "ipv6",
        raw=True,
    ),
    "resend-half-close": Known(
        "peer sends 10 bytes; closer reads all; peer resends 10 bytes with FIN; closer half-closes;"
        " closer closes",
        "FIN",
        raw=True,
    ),
}


def call(known: dict[str, Known], isolation: str, trials: int = TRIALS) -> dict[str, object]:
    scenarios = [
        probe_runs.scenario(name, k.steps, families=(k.family,), trials=trials)
        for name, k in known.items()
    ]
    return probe_runs.request(*scenarios, isolation=isolation, deadline=600.0)


def endings(reply: TimedReply, steps: str, name: str) -> list[tuple[str, str, int]]:
    """Returns the ending of every trial of a scenario, the reason, and the number of equal ones."""
    (seen,) = [o for o in reply.observations if o.scenario == name]
    assert seen.not_run == ""
    parsed = [parse_step(step) for step in steps.split(";")]
    return [
        (*verdict.trial_verdict(t, parsed, seen.family, reply.isolation), t.count)
        for t in seen.trials
    ]


@pytest.fixture(scope="module")
def private() -> TimedReply:
    probe_runs.need_root()
    return probe_runs.run(call(KNOWN, "namespace"))


@pytest.mark.parametrize("name", KNOWN)
def test_every_trial_ends_as_the_kernels_source_says(private: TimedReply, name: str) -> None:
    if "no MPTCP" in next(o.not_run for o in private.observations if o.scenario == name):
        pytest.skip("needs a kernel with MPTCP")
    ends = endings(private, KNOWN[name].steps, name)
    assert {(ending, reason) for ending, reason, _ in ends} == {(KNOWN[name].ending, "")}
    assert sum(count for _, _, count in ends) == TRIALS


OPEN_AT_THE_END = (
    "peer-full-queue-shut-both-ways",
    "peer-full-queue-urgent",
)  # the probe's cleaning up resets them
WITHOUT_RAW = {
    name: known
    for name, known in KNOWN.items()
    if not known.raw and "MPTCP" not in known.steps and name not in OPEN_AT_THE_END
}


@pytest.fixture(scope="module")
def beside() -> probe_runs.TcpdumpRun:
    return probe_runs.run_with_tcpdump(call(WITHOUT_RAW, "host", trials=1))


@pytest.mark.parametrize("name", WITHOUT_RAW)
def test_tcpdump_sees_the_same_ending(beside: probe_runs.TcpdumpRun, name: str) -> None:
    known = WITHOUT_RAW[name]
    assert [e[:2] for e in endings(beside.reply, known.steps, name)] == [(known.ending, "")]
    assert closers_marks(beside, probe_runs.trial_of(beside.reply, name)) == ends_in_flags(
        known.ending
    )


def closers_marks(beside: probe_runs.TcpdumpRun, trial: TimedTrial) -> list[str]:
    """Returns F and R of the closer in the order in which tcpdump saw them, to the end of the
    connection and after the probe had stopped to look; a segment that was sent again counts once.
    """
    assert trial.connection is not None
    packets = beside.of(trial)
    client = next(
        p.source for p in packets if p.bits == probe_runs.SYN
    )  # in all of these the peer connects
    marks = {
        (p.seq, flag): flag for p in packets if p.source != client for flag in flags_of(p.bits)
    }
    return list(marks.values())


def flags_of(bits: int) -> str:
    return "".join(letter for bit, letter in ((0x01, "F"), (0x04, "R")) if bits & bit)


def ends_in_flags(ending: str) -> list[str]:
    return {"FIN": ["F"], "RST": ["R"], "FIN, then RST": ["F", "R"], "nothing": []}[ending]


@pytest.mark.slow
def test_a_reset_that_answers_the_witness_is_no_ending() -> None:
    """tcp_write_err() tells nobody that the closer gave up: only what the peer's recv sends is
    answered by a RST.
    """
    steps = (
        "closer sets TCP_USER_TIMEOUT 100; closer sends until blocked; wait 800 ms; closer closes"
    )
    reply = probe_runs.run(call({"closer-timed-out": Known(steps, "nothing")}, "auto", 1))
    assert endings(reply, steps, "closer-timed-out") == [("nothing", "", 1)]


def test_no_order_of_the_scenarios_changes_what_one_of_them_sees() -> None:
    probe_runs.need_root()
    (play,) = load_playbook(None).plays
    shuffled = random.Random(2016)
    first = seen_in_order(play.scenarios)
    assert len(first) > 150
    for _ in range(9):
        order = list(play.scenarios)
        shuffled.shuffle(order)
        assert seen_in_order(order) == first, [s.name for s in order]


def seen_in_order(scenarios: Sequence[Scenario]) -> dict[str, tuple[str, str]]:
    """Returns what each scenario ends with, or why it is not run; one trial each, in the given
    order.
    """
    sent = [protocol.scenario_call(s, trials=1) for s in scenarios]
    steps = {s.name: s.steps for s in scenarios}
    reply = probe_runs.run(probe_runs.request(*sent, deadline=600.0))
    return {
        f"{o.scenario}/{o.family}": (
            verdict.trial_verdict(o.trials[0], steps[o.scenario], o.family, reply.isolation)
            if o.trials
            else ("not run", o.not_run)
        )
        for o in reply.observations
    }
