"""Stories of a side that does not answer: what each ends in on this machine's kernel, in three
Pythons. No ending is believed before the kernel's timers are over.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.phrases import PHRASES
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import verdict
from fleetaudit.probe.remote import stories
from fleetaudit.probe.remote.verbs import VERBS
from fleetaudit.probe.request import STEP_PARTS, parts_of, request_call
from tests.support import probe_runs
from tests.support.probe_runs import notable_segments, request, run, scenario, trial_of
from tests.support.timed_replies import TimedReply
from tests.support.two_probes import plan_of

KEEPALIVE = (
    "closer sets SO_KEEPALIVE 1; closer sets TCP_KEEPIDLE 1; closer sets TCP_KEEPINTVL 1;"
    " closer sets TCP_KEEPCNT 1; "
)
SILENCE = "; closer sends nothing for 2 seconds; closer sends nothing for 1 second"
NO_ANSWER = f"{KEEPALIVE}peer vanishes{SILENCE}"
ANSWERS = f"{KEEPALIVE}closer sends nothing for 1.5 seconds"
TOO_EARLY = f"{KEEPALIVE}peer vanishes; closer sends nothing for 100 ms"
GIVEN_UP = (
    "closer sets TCP_USER_TIMEOUT 500; peer vanishes; closer sends 5 bytes; closer sends nothing"
    " for 2 seconds"
)
SENT_AGAIN = "peer vanishes; closer sends 5 bytes; closer sends nothing for 100 ms"
CLOSED = "peer vanishes; closer closes"
UNREAD = "peer sends 5 bytes; peer vanishes; closer closes"
NEVER_ACCEPTED = (
    "peer connects without being accepted; peer sends 5 bytes; closer sends nothing for 200 ms"
)
FULL = "listener has a backlog of 2; others fill the accept queue; peer tries to connect"
ROOM = "listener has a backlog of 2; peer tries to connect"
LATER = f"{ROOM}; closer accepts; peer sends 5 bytes; closer closes"
NOBODY = "listener closes; peer tries to connect"
MORE = "inconclusive: more may come"

ENDINGS = {  # the steps, their ending, and the segments that end the connection
    NO_ANSWER: ("RST", ["closer R."]),
    ANSWERS: ("nothing", []),
    TOO_EARLY: (MORE, []),
    GIVEN_UP: ("nothing", []),
    SENT_AGAIN: (MORE, []),
    CLOSED: (MORE, ["closer F."]),
    UNREAD: ("RST", ["closer R."]),
    NEVER_ACCEPTED: ("nothing", []),
    FULL: ("nothing", []),
    ROOM: ("nothing", []),
    LATER: ("RST", ["closer R."]),
    NOBODY: ("RST", ["closer R."]),
}


@pytest.fixture(scope="module", params=["2.7", "3.6", "3.11"])
def here(request: pytest.FixtureRequest) -> TimedReply:
    """What the probe answers on this machine in one Python."""
    call = probe_runs.request(
        *[scenario(text, text, families=["ipv4"]) for text in ENDINGS], deadline=60.0
    )
    return run(call, python=probe_runs.interpreter(request.param))


def ending_of(reply: TimedReply, text: str) -> str:
    """Returns the ending of a story, and the first words of the reason if it is inconclusive."""
    steps = tuple(parse_step(line) for line in text.split(";"))
    ending, why = verdict.trial_verdict(trial_of(reply, text), steps, "ipv4", reply.isolation)
    return f"{ending}: {why.partition(':')[0]}" if ending == "inconclusive" else ending


@pytest.mark.parametrize("text", ENDINGS)
def test_each_story_ends_as_the_kernel_ends_it(here: TimedReply, text: str) -> None:
    assert (ending_of(here, text), notable_segments(trial_of(here, text))) == ENDINGS[text]


def test_keepalive_resets_after_the_seconds_that_its_options_say(here: TimedReply) -> None:
    trial = trial_of(here, NO_ANSWER)
    assert trial.wire is not None
    (reset,) = [segment.at_us for segment in trial.wire if "R" in segment.flags]
    vanishes, *_ = [at for at, index in trial.steps if index == 4]
    assert 1_900_000 <= reset - vanishes <= 2_900_000
    assert trial.kernel is not None
    assert trial.kernel["TCPAbortOnTimeout"] == 1


def test_a_peer_that_vanished_receives_nothing(here: TimedReply) -> None:
    peer = trial_of(here, NO_ANSWER).peer
    assert peer is not None
    assert (peer.state, peer.recv, peer.so_error) == (1, ("EAGAIN",), "0")


def test_a_syn_is_refused_or_has_no_answer(here: TimedReply) -> None:
    refused, waiting, queued = (trial_of(here, text).peer for text in (NOBODY, FULL, ROOM))
    assert refused
    assert (refused.state, refused.recv) == (7, ("ECONNREFUSED", "0"))
    assert [peer and peer.state for peer in (waiting, queued)] == [2, 1]  # SYN_SENT, ESTABLISHED


def test_a_story_is_not_run_without_a_capture_that_would_show_its_end() -> None:
    call = request(scenario("a", NO_ANSWER), scenario("b", ROOM))
    within = probe_runs.without_user_namespaces()
    reply = run(call, within=within, python=probe_runs.public_python())
    reasons = {each.scenario: each.not_run for each in reply.observations}
    assert reasons["a"].startswith("needs a capture")
    assert reasons["b"] == ""


def test_only_a_plan_with_such_a_step_sends_the_code_for_it() -> None:
    paths = (None, Path("timeouts"))
    plans = [plan_of(load_playbook(path).plays[0].scenarios) for path in paths]
    assert [parts_of(request_call(plan)) for plan in plans] == [(), ("stories",)]


def test_the_steps_that_are_sent_apart_are_those_of_their_module() -> None:
    assert STEP_PARTS["stories"] == set(stories.STORY_VERBS)
    known = {str(phrase.call[1]) for phrase in PHRASES}
    assert set().union(*STEP_PARTS.values()) <= known == set(VERBS)
