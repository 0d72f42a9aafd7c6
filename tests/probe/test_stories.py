"""Stories of a side that does not answer: what each ends in on this machine's kernel, in three
Pythons. No ending is believed before the kernel's timers are over.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.phrases import PHRASES
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol, verdict
from fleetaudit.probe.remote import firewall, stories
from fleetaudit.probe.remote.verbs import VERBS
from fleetaudit.probe.request import STEP_PARTS, parts_of, request_call
from tests.support import probe_runs
from tests.support.probe_runs import notable_segments, request, run, scenario, trial_of
from tests.support.timed_replies import TimedReply, parse_reply
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
QUEUED = "peer connects without being accepted; 3 others wait in the accept queue; listener closes"
ACCEPTED = "peer connects; 3 others wait in the accept queue; peer sends 5 bytes; closer closes"
SHARED = (
    "peer connects without being accepted; 3 others wait in the accept queue; second listener joins"
    " with SO_REUSEPORT; listener closes"
)
MIGRATED = (
    f"namespace sets net.ipv4.tcp_migrate_req 1; {SHARED}; closer accepts; peer sends 5 bytes;"
    " closer closes"
)
AGAIN = "; peer connects again from the same port; peer sends 7 bytes; "
SECOND = f"peer sends 5 bytes; closer closes; peer closes{AGAIN}closer closes"
SECOND_READ = f"closer closes; peer closes{AGAIN}closer reads all; closer closes"
BY_CLIENT = (
    "closer connects; closer closes; peer closes; closer connects again from the same port; peer"
    " sends 5 bytes; closer closes"
)
AT_ONCE = f"namespace sets net.ipv4.tcp_tw_reuse 0; {BY_CLIENT}"
TOO_SOON = f"namespace sets net.ipv4.tcp_timestamps 0; {BY_CLIENT}"
NO_RST = "namespace drops RST; peer sends 5 bytes; closer closes"
NO_RST_LATE = "peer connects; namespace drops RST; closer closes; peer sends 5 bytes"
NO_RST_FIN = "namespace drops RST; closer closes"
GONE = "closer sets TCP_REPAIR 1; closer closes; peer sends 5 bytes"
KNOWN = f"peer connects; namespace drops invalid; {GONE}"
UNKNOWN = (
    "namespace sets net.netfilter.nf_conntrack_tcp_loose 0; peer connects; namespace drops"
    f" invalid; {GONE}"
)
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
    QUEUED: ("RST", ["closer R."]),
    ACCEPTED: ("RST", ["closer R."]),
    SHARED: ("RST", ["closer R."]),
    MIGRATED: ("RST", ["closer R."]),
    SECOND: ("RST", ["closer R."]),
    SECOND_READ: ("FIN", ["closer F."]),
    AT_ONCE: ("RST", ["closer R."]),
    NO_RST: ("RST", ["closer R."]),
    NO_RST_FIN: ("FIN", ["closer F."]),
    KNOWN: ("RST", ["closer R"]),
    UNKNOWN: ("nothing", []),
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


def skip_if_not_run(reply: TimedReply, text: str) -> None:
    """Skips where this kernel lacks what a story needs: migration, or nftables in memory."""
    (observation,) = [each for each in reply.observations if each.scenario == text]
    if re.search("tcp_migrate_req|nf_conntrack|nftables", observation.not_run):
        pytest.skip(observation.not_run)


@pytest.mark.parametrize("text", ENDINGS)
def test_each_story_ends_as_the_kernel_ends_it(here: TimedReply, text: str) -> None:
    skip_if_not_run(here, text)
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
    paths = (None, Path("timeouts"), Path("restarts"), Path("firewall"))
    plans = [plan_of(load_playbook(path).plays[0].scenarios) for path in paths]
    assert [parts_of(request_call(plan)) for plan in plans] == [
        (),
        ("stories",),
        ("stories",),
        ("firewall",),
    ]


def test_the_steps_that_are_sent_apart_are_those_of_their_module() -> None:
    assert {
        "stories": set(stories.STORY_VERBS),
        "firewall": set(firewall.FIREWALL_VERBS),
    } == STEP_PARTS
    known = {str(phrase.call[1]) for phrase in PHRASES}
    assert set().union(*STEP_PARTS.values()) <= known == set(VERBS)


def test_the_sockets_of_those_who_wait_tell_whether_they_were_reset(here: TimedReply) -> None:
    waiting = {"others waiting": 3, "others reset": 3}
    assert trial_of(here, QUEUED).queue == trial_of(here, SHARED).queue == waiting
    assert trial_of(here, ACCEPTED).queue["others reset"] == 0
    counters = trial_of(here, QUEUED).kernel
    assert counters
    assert counters["OutRsts"] == 4
    skip_if_not_run(here, MIGRATED)
    assert trial_of(here, MIGRATED).queue["others reset"] == 0


def test_only_the_second_connection_is_reported(here: TimedReply) -> None:
    trial = trial_of(here, SECOND)
    assert trial.wire is not None
    assert [segment.flags for segment in trial.wire[:2]] == ["S", "S."]
    assert sum("S" in segment.flags for segment in trial.wire) == 2
    assert (trial.bytes["peer sent"], trial.queue["fionread"]) == (7, 7)


def test_ports_that_the_kernel_does_not_use_again_fail_the_step() -> None:
    reply = run(request(scenario("a", TOO_SOON, families=["ipv4"])))
    (observation,) = reply.observations
    (trial,) = observation.trials
    assert trial.error == "the kernel does not use the ports again (EADDRNOTAVAIL)"
    assert trial.failed_step == 4


def test_a_rst_that_is_dropped_leaves_the_peer_connected(here: TimedReply) -> None:
    skip_if_not_run(here, NO_RST)
    peer = trial_of(here, NO_RST).peer
    assert peer is not None
    assert (peer.state, peer.recv) == (1, ("EAGAIN",))


def test_every_rst_is_dropped_and_seen() -> None:
    reply = run(request(scenario("a", NO_RST_LATE)))
    assert [each.not_run for each in reply.observations] == ["", ""]
    for observation in reply.observations:
        (trial,) = observation.trials
        assert trial.wire is not None
        assert "R" in {segment.flags for segment in trial.wire}


@pytest.mark.parametrize("text", [NO_RST, UNKNOWN])
def test_no_rule_is_made_in_the_namespace_of_the_host(text: str) -> None:
    within = probe_runs.in_new_network()
    reply = run(request(scenario("a", text), isolation="host"), within=within)
    assert {each.not_run.partition(":")[0] for each in reply.observations} == {
        "needs a private network namespace"
    }


def test_no_rule_is_made_if_the_kernel_would_have_to_load_a_module() -> None:
    script = protocol.make_script(request(scenario("a", NO_RST), scenario("b", UNREAD))).decode()
    changed = script.replace('"nft_meta_get_eval"', '"nft_meta_get_nothing"')
    assert changed != script
    reply = parse_reply(probe_runs.run_text(changed))
    reasons = {each.scenario: each.not_run for each in reply.observations}
    assert reasons == {
        "a": "needs nftables in the kernel, which is not loaded, and the probe loads none (no"
        " nft_meta_get_nothing)",
        "b": "",
    }


def test_the_rule_is_gone_when_the_trial_is_over() -> None:
    """The second scenario runs in the same namespace as the first."""
    reply = run(request(scenario("a", NO_RST), scenario("b", "peer sends 5 bytes; closer closes")))
    for family in ("ipv4", "ipv6"):
        peer = trial_of(reply, "b", family).peer
        assert peer is not None
        assert "ECONNRESET" in peer.recv


def test_a_stranger_who_was_not_reset_makes_the_ending_inconclusive(here: TimedReply) -> None:
    trial = trial_of(here, QUEUED)
    kernel = dict(trial.kernel or {})
    less = msgspec.structs.replace(
        trial,
        queue={**trial.queue, "others reset": 2},
        kernel={**kernel, "OutRsts": kernel["OutRsts"] - 1},
    )
    steps = tuple(parse_step(line) for line in QUEUED.split(";"))
    ending, why = verdict.trial_verdict(less, steps, "ipv4", here.isolation)
    assert (ending, "of 3 others in the accept queue 2 were reset" in why) == ("inconclusive", True)
