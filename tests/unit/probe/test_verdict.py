"""The verdict on a scenario of several trials, and on a host without trials."""

from __future__ import annotations

import msgspec
import pytest

from fleetaudit.errors import ReplyError
from fleetaudit.playbook.steps import parse_step
from tests.unit.probe.cases import (
    ABORT,
    DRAINED,
    FINISHED,
    PEER_RST,
    RESET,
    UNIX,
    UNIX_HUP,
    UNREAD,
    line,
    observation,
    plan,
    reply,
    result,
    trial,
    wire,
)


@pytest.mark.parametrize(
    ("index", "words"), [(2, "number the steps"), (64, "not what the probe sends"), (-1, "not")]
)
def test_a_failed_step_that_the_scenario_does_not_have_is_refused(index: int, words: str) -> None:
    failed = trial(wire("R."), PEER_RST, ABORT, error="EPIPE", failed_step=index)
    with pytest.raises(ReplyError, match=words):
        result(plan(UNREAD), line(reply(observation("unread-close", failed))))


def test_a_trial_whose_window_did_not_reach_zero_is_shown() -> None:
    steps = (parse_step("peer sends until blocked"), parse_step("closer closes"))
    asked = plan(msgspec.structs.replace(UNREAD, steps=steps))
    shut = trial(wire("R."), PEER_RST, ABORT, count=2, queue={"closer window": 0})
    left = trial(wire("R."), PEER_RST, ABORT, count=1, queue={"closer window": 93})
    (seen,) = result(asked, line(reply(observation("unread-close", shut, left)))).observations
    assert (seen.ending, seen.endings) == ("RST", {"RST": 3})
    assert "93 bytes" in seen.reason
    assert seen.evidence.queue == {"closer window": 93}


def test_a_lossy_capture_is_noted_although_the_peer_decides_the_ending() -> None:
    seen = result(
        plan(UNREAD), line(reply(observation("unread-close", {**RESET, "wire_lost": 4})))
    ).observations[0]
    assert seen.ending == "RST"
    assert "4 packets found no room" in seen.evidence.wire_note


def test_a_change_by_a_step_that_the_scenario_does_not_have_is_refused() -> None:
    peer = UNIX_HUP | {"poll_added": [[2, ["HUP"]]]}
    with pytest.raises(ReplyError, match="tells of a step that unix-close does not have"):
        result(plan(UNIX), line(reply(observation("unix-close", trial(None, peer), family="unix"))))
    for wrong in ([[64, ["HUP"]]], [[-1, []]], [[0, ["HUP"] * 17]], [[0, []]] * 65):
        with pytest.raises(ReplyError, match="not what the probe sends"):
            result(
                plan(UNIX),
                line(
                    reply(observation("unix-close", trial(None, UNIX_HUP | {"poll_added": wrong})))
                ),
            )


def test_trials_that_disagree_are_inconclusive_with_the_odd_one_as_evidence() -> None:
    host = result(
        plan(UNREAD),
        line(reply(observation("unread-close", {**RESET, "count": 2}, {**FINISHED, "count": 1}))),
    )
    seen = host.observations[0]
    assert (seen.ending, seen.endings, seen.trials) == ("inconclusive", {"FIN": 1, "RST": 2}, 3)
    assert "RST ×2, FIN ×1" in seen.reason
    assert seen.evidence.wire is not None
    assert seen.evidence.wire[-1].flags == "F."


def test_the_reason_says_that_fewer_trials_ran_than_planned() -> None:
    seen = result(
        plan(UNREAD), line(reply(observation("unread-close", {**RESET, "count": 1})))
    ).observations[0]
    assert (seen.ending, seen.reason) == ("RST", "1 of 3 trials ran")


def test_a_scenario_without_an_answer_is_inconclusive_rather_than_missing() -> None:
    host = result(plan(UNREAD, DRAINED), line(reply(observation("drained-close", FINISHED))))
    assert {o.scenario: o.ending for o in host.observations} == {
        "unread-close": "inconclusive",
        "drained-close": "FIN",
    }


def test_a_scenario_that_a_host_cannot_run_is_not_run_and_one_that_failed_is_inconclusive() -> None:
    drained = observation("drained-close", FINISHED)
    over_mptcp = (parse_step("peer connects over MPTCP"), *UNREAD.steps)
    lacks = result(
        plan(msgspec.structs.replace(UNREAD, steps=over_mptcp), DRAINED),
        line(reply(drained, observation("unread-close", not_run="no MPTCP"))),
    )
    fails = result(
        plan(UNREAD, DRAINED),
        line(reply(drained, observation("unread-close", not_run="time ran out", failed=True))),
    )
    assert [o.ending for o in lacks.observations] == ["not run", "FIN"]
    assert [o.ending for o in fails.observations] == ["inconclusive", "FIN"]
    assert fails.observations[0].reason == "time ran out"
    assert fails.void == ""


def test_a_host_cannot_pass_by_running_its_controls_only() -> None:
    drained = observation("drained-close", FINISHED)
    host = result(
        plan(UNREAD, DRAINED), line(reply(drained, observation("unread-close", not_run="no TCP")))
    )
    assert [o.ending for o in host.observations] == ["inconclusive", "FIN"]
    assert host.observations[0].reason == (
        "no TCP; but the host ran drained-close over ipv4, and this scenario needs nothing more"
    )


def test_a_host_cannot_pass_by_running_nothing_over_tcp() -> None:
    over_unix = (parse_step("peer connects over AF_UNIX"), *UNREAD.steps)
    asked = plan(UNREAD, DRAINED, msgspec.structs.replace(UNIX, steps=over_unix, control=None))
    unix = observation("unix-close", trial(None, UNIX_HUP, {}, steps=[[n, n] for n in range(3)]))
    missing = [observation(s.name, not_run="IPv4 is off") for s in (UNREAD, DRAINED)]
    host = result(asked, line(reply(*missing, {**unix, "family": "unix"})))
    assert [o.ending for o in host.observations][:2] == ["not run", "inconclusive"]
    assert host.observations[1].reason == "IPv4 is off; but nothing ran over TCP"


def test_a_host_on_which_nothing_ran_is_not_audited() -> None:
    for observations in ([], [observation("unread-close", not_run="time ran out", failed=True)]):
        with pytest.raises(ReplyError, match="no scenario ran") as caught:
            result(plan(UNREAD, DRAINED), line(reply(*observations)))
        assert caught.value.stage == "execute"


def test_a_note_says_that_counters_could_not_be_read() -> None:
    host = result(plan(UNREAD), line(reply(observation("unread-close", {**RESET, "kernel": None}))))
    assert any("counters could not be read" in note for note in host.notes)
