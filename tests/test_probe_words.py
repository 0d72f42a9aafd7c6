"""The later words of the step language on this machine's kernel: what each does, by the wire, in three Pythons."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fleetaudit import wire

from . import probing
from .probing import marked, request, run, scenario, trial_of
from .timing import BUSY_S

pytestmark = pytest.mark.probe

WAIT = "peer sends 5 bytes; wait 120 ms; closer closes"
WAITALL = "peer sends 10 bytes; closer reads 10 bytes with MSG_WAITALL; closer closes"
WAITALL_AT_THE_END = "peer sends 5 bytes; peer half-closes; closer reads 10 bytes with MSG_WAITALL; closer closes"
WAITALL_AT_THE_MARK = (
    "peer sends 5 bytes; peer sends 1 urgent byte; closer reads 10 bytes with MSG_WAITALL; closer closes"
)
THREE_VALUES = (
    "namespace sets net.ipv4.tcp_rmem 4096 8192 16384; peer sends until blocked; closer closes"
)  # fmt: skip

ENDINGS = {  # the steps, and the segments that end the connection
    WAIT: ["closer R."],
    WAITALL: ["closer F."],
    WAITALL_AT_THE_END: ["peer F.", "closer F."],
    WAITALL_AT_THE_MARK: ["peer P.U", "closer R."],
    "peer is killed; closer closes": ["peer F.", "closer F."],
    "peer exits; closer closes": ["peer F.", "closer F."],
    "peer is terminated; closer closes": ["peer F.", "closer F."],
    "peer execs; closer closes": ["peer F.", "closer F."],
    "peer sends 5 bytes; peer is killed; closer closes": ["peer F.", "closer R."],
    "closer sends 5 bytes; peer reads all; peer is killed; closer half-closes": ["peer F.", "closer F."],
    "closer sends 5 bytes; closer half-closes; peer is killed": ["closer F.", "peer R."],
    "listener has a backlog of 0; peer sends 5 bytes; closer closes": ["closer R."],
    "listener has a backlog of 0; peer connects without being accepted; listener closes": ["closer R."],
    THREE_VALUES: ["closer R."],
}


@pytest.fixture(scope="module", params=["2.7", "3.6", "3.11"])
def here(request: pytest.FixtureRequest) -> wire.Reply:
    """What the probe answers on this machine in one Python."""
    call = probing.request(*[scenario(text, text, families=["ipv4"]) for text in ENDINGS])
    reply = run(call, python=probing.interpreter(request.param))
    if reply.isolation != "namespace":
        pytest.skip(reply.isolation_note)
    return reply


@pytest.mark.parametrize("text", ENDINGS)
def test_the_segments_that_end_the_connection(here: wire.Reply, text: str) -> None:
    assert marked(trial_of(here, text)) == ENDINGS[text]


def test_a_step_that_waits_takes_as_long_as_it_says(here: wire.Reply) -> None:
    trial = trial_of(here, WAIT)
    assert trial.wire is not None
    sent, reset = [s.at_us for s in trial.wire if s.length or "R" in s.flags]
    assert reset - sent >= 120_000


def test_waitall_gives_what_there_is_up_to_the_end_or_the_urgent_mark(here: wire.Reply) -> None:
    received = {text: trial_of(here, text).bytes["closer received"] for text in ENDINGS}
    assert received[WAITALL] == 10
    assert received[WAITALL_AT_THE_END] == 5
    assert received[WAITALL_AT_THE_MARK] == 5


def test_a_peer_that_is_gone_is_no_witness(here: wire.Reply) -> None:
    assert trial_of(here, "peer is killed; closer closes").peer is None


def test_a_receive_buffer_of_three_values_is_that_of_the_connection(here: wire.Reply) -> None:
    trial = trial_of(here, THREE_VALUES)
    assert trial.wire is not None
    (reset,) = [s for s in trial.wire if "R" in s.flags]
    assert 0 < reset.ack < 16384  # what the closer took before its buffer was full


def error_of(text: str) -> str:
    """Returns why a scenario cannot be carried through on this machine."""
    (observation,) = run(request(scenario("wrong", text, families=["ipv4"]))).observations
    return observation.trials[0].error if observation.trials else observation.not_run


def test_waitall_does_not_wait_for_ever() -> None:
    error = error_of("peer sends 5 bytes; closer reads 10 bytes with MSG_WAITALL; closer closes")
    assert "5 of 10 bytes within" in error
    assert "EAGAIN, none of 10 bytes" in error_of("closer reads 10 bytes with MSG_WAITALL; closer closes")


def test_waitall_reads_over_af_unix() -> None:
    (observation,) = run(request(scenario("unix", "peer connects over AF_UNIX; " + WAITALL))).observations
    assert observation.trials[0].bytes["closer received"] == 10


def test_a_sysctl_that_is_not_what_was_written_is_an_error() -> None:
    assert "net.ipv4.tcp_rmem is 4096 8192 " in error_of("namespace sets net.ipv4.tcp_rmem 4096 8192; closer closes")
    assert "cannot be set in a network namespace (EINVAL)" in error_of(
        "namespace sets net.ipv4.tcp_rmem 4096 8192 0; closer closes"
    )


def test_a_sysctl_of_three_values_is_restored_byte_for_byte() -> None:
    key = "net.ipv4.tcp_rmem"
    note = f"reply['notes'].append(repr(open(path_of({key!r})).read()))"
    script = wire.script(request(scenario("three", THREE_VALUES), scenario("one", WAITALL))).decode()
    loop = '    for scenario in call["scenarios"]:\n        for family in scenario["families"]:\n'
    assert script.count(loop) == 2  # in fill_in and in work
    head, tail = script.rsplit(loop, 1)
    changed = head + loop + f"            {note}\n" + tail
    done = subprocess.run([sys.executable, "-E", "-s", "-"], input=changed.encode(), capture_output=True, check=True)
    reply = wire.reply_of(done.stdout)
    values = [n for n in reply.notes if "\\t" in n]
    assert len(values) == 4
    assert len(set(values)) == 1
    assert "\\t8192\\t" not in values[0]


def test_a_wait_ends_with_the_probes_time() -> None:
    reply = run(request(scenario("slow", "wait 2 s; wait 2 s; closer closes", families=["ipv4"]), deadline=1.0))
    (observation,) = reply.observations
    assert observation.not_run == "the probe's time ran out"
    assert reply.elapsed_s < 1 + BUSY_S
