"""The ending of one trial: what the wire, the peer and the counters decide together."""

from __future__ import annotations

from typing import Any

import pytest

from fleetaudit.model import (
    PeerWitness,
    Step,
)
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol, verdict
from tests.unit.probe.cases import (
    ABORT,
    FINISHED,
    HANDSHAKE,
    PEER_BOTH,
    PEER_FIN,
    PEER_NOTHING,
    PEER_RST,
    RESET,
    UNIX_HUP,
    UNREAD,
    decide,
    line,
    observation,
    plan,
    reply,
    result,
    trial,
    wire,
)


@pytest.mark.parametrize(
    ("one", "ending"),
    [
        (RESET, "RST"),
        (FINISHED, "FIN"),
        (trial(wire("F.", "R."), PEER_BOTH, {"OutRsts": 1}), "FIN, then RST"),
        (trial(wire("F.", "F.", "R"), None, {"OutRsts": 1}), "FIN, then RST"),
        (trial(wire(), PEER_NOTHING, {}), "nothing"),
        (trial(wire("R."), None, ABORT), "RST"),  # the peer was gone
        (trial(None, PEER_RST, ABORT, wire_note="no packet socket"), "RST"),
        (trial(None, PEER_FIN, {}), "FIN"),
        (trial(None, {**PEER_RST, "recv": ["11", "ECONNRESET", "0"]}, ABORT), "RST"),
        (trial(wire("R."), PEER_RST, None), "RST"),  # counters unreadable
    ],
)
def test_witnesses_that_agree_decide_the_ending(one: dict[str, Any], ending: str) -> None:
    assert decide(one) == (ending, "")


@pytest.mark.parametrize(
    ("one", "ending", "words"),
    [
        (trial(wire("R."), PEER_NOTHING, ABORT), "sent, not delivered", "INPUT"),
        (trial(wire("F.", "R."), PEER_FIN, {"OutRsts": 1}), "sent, not delivered", "INPUT"),
        (
            trial(wire(), PEER_NOTHING, {**ABORT, "TCPAbortFailed": 1}),
            "sent, not delivered",
            "OUTPUT",
        ),
        (
            trial(None, PEER_NOTHING, {**ABORT, "TCPAbortFailed": 1}),
            "sent, not delivered",
            "OUTPUT",
        ),
        (
            trial(wire("R."), PEER_FIN, ABORT),
            "inconclusive",
            "the wire says RST and the peer says FIN",
        ),
        (
            trial(wire("F."), PEER_RST, {}),
            "inconclusive",
            "the wire says FIN and the peer says RST",
        ),
        (trial(wire("R."), PEER_RST, {}), "inconclusive", "OutRsts did not move"),
        (
            trial(wire("F."), PEER_FIN, {"TCPAbortOnClose": 1}),
            "inconclusive",
            "TCPAbortOnClose moved",
        ),
        (
            trial(wire("R."), PEER_RST, {**ABORT, "OutRsts": 2}),
            "inconclusive",
            "the wire has 1 RST of the closer",
        ),
        (trial(None, None, {}, wire_note="no right"), "inconclusive", "no right"),
        (
            trial(wire("R."), PEER_RST, ABORT, error="step 2: EPIPE"),
            "inconclusive",
            "step 2: EPIPE",
        ),
    ],
)
def test_a_disagreement_of_witnesses_is_inconclusive_and_named(
    one: dict[str, Any], ending: str, words: str
) -> None:
    host, reason = decide(one)
    assert host == ending
    assert words in reason


LATE = "MPTCP has not told the peer's socket of it"
OVER_MPTCP = (parse_step("peer connects over MPTCP"), *UNREAD.steps)


@pytest.mark.parametrize(
    ("one", "steps", "ending", "words"),
    [
        (
            trial(wire("F."), PEER_FIN, {}, outstanding="x"),
            UNREAD.steps,
            "inconclusive",
            "more may come: x",
        ),
        (
            trial(wire(), PEER_NOTHING, {}, outstanding="x"),
            UNREAD.steps,
            "inconclusive",
            "more may come: x",
        ),
        (trial(wire("R."), PEER_RST, ABORT, outstanding="x"), UNREAD.steps, "RST", ""),
        # A FIN that a firewall drops is not acknowledged either.
        (
            trial(wire("F."), PEER_NOTHING, {}, outstanding="x"),
            UNREAD.steps,
            "sent, not delivered",
            "INPUT",
        ),
        # mptcp_worker() may be later than the probe waits, and earlier than the peer's socket is
        # asked.
        (trial(wire("R."), PEER_RST, {}, outstanding=LATE), OVER_MPTCP, "RST", ""),
        (
            trial(wire("R."), PEER_NOTHING, {}, outstanding=LATE),
            OVER_MPTCP,
            "inconclusive",
            "more may come",
        ),
    ],
)
def test_an_ending_that_may_not_be_final_is_inconclusive(
    one: dict[str, Any], steps: tuple[Step, ...], ending: str, words: str
) -> None:
    host, reason = decide(one, steps=steps)
    assert host == ending
    assert words in reason


def test_segments_with_a_wrong_checksum_are_not_blamed_on_a_firewall() -> None:
    one = trial(wire("R."), PEER_NOTHING, {**ABORT, "InCsumErrors": 3})
    assert decide(one) == (
        "sent, not delivered",
        (
            "the wire says RST and the peer says nothing: it left and did not arrive; "
            "3 segments had a wrong checksum (InCsumErrors)"
        ),
    )


def test_a_trial_that_failed_names_the_step_as_the_playbook_has_it() -> None:
    failed = trial(wire("R."), PEER_RST, ABORT, error="Broken pipe (EPIPE)", failed_step=1)
    assert decide(failed) == ("inconclusive", "step 2 “closer closes”: Broken pipe (EPIPE)")
    seen = result(plan(UNREAD), line(reply(observation("unread-close", failed)))).observations[0]
    assert seen.reason == "step 2 “closer closes”: Broken pipe (EPIPE)"


def test_a_window_that_did_not_reach_zero_is_the_reason_of_the_ending() -> None:
    blocked = (parse_step("peer sends until blocked"), parse_step("closer closes"))
    assert decide(
        trial(wire("R."), PEER_RST, ABORT, queue={"closer window": 0}), steps=blocked
    ) == ("RST", "")
    ending, reason = decide(
        trial(wire("R."), PEER_RST, ABORT, queue={"closer window": 15360}), steps=blocked
    )
    assert ending == "RST"
    assert (
        "“peer sends until blocked”: the window of the closer did not reach zero, 15360 bytes"
        in reason
    )


def test_a_lossy_capture_is_no_witness() -> None:
    assert decide(trial(wire(), PEER_RST, ABORT, wire_lost=4)) == ("RST", "")
    ending, reason = decide(trial(wire("R."), None, ABORT, wire_lost=4))
    assert ending == "inconclusive"
    assert "4 packets found no room" in reason


def test_in_the_hosts_namespace_counters_may_move_by_more_but_not_by_less() -> None:
    assert decide(
        trial(None, PEER_FIN, {"TCPAbortOnClose": 7, "OutRsts": 9}), isolation="host"
    ) == (
        "FIN",
        "",
    )
    assert decide(trial(None, PEER_RST, {}), isolation="host")[0] == "inconclusive"


def test_a_peer_that_was_reset_after_a_fin_is_not_taken_for_a_fin() -> None:
    raw = protocol.RawTrial(
        count=1,
        wire=None,
        peer=PeerWitness(state=7, poll=("ERR", "HUP"), recv=("0",), so_error="EPIPE"),
        kernel=None,
    )
    assert verdict.trial_verdict(raw, UNREAD.steps, "ipv4", "namespace") == ("FIN, then RST", "")


def test_a_send_that_failed_with_the_reset_is_evidence_of_it() -> None:
    first = {
        "state": 7,
        "poll": ["IN", "HUP", "RDHUP"],
        "recv": ["send: ECONNRESET", "11", "0"],
        "so_error": "0",
    }
    assert decide(trial(wire("R."), first, ABORT)) == ("RST", "")


def test_silence_of_a_peer_with_forged_segments_is_no_witness() -> None:
    for step in ("peer resends 5 bytes with FIN", "peer sends 5 bytes out of order"):
        forged = (parse_step(step), parse_step("closer closes"))
        assert decide(trial(wire("F."), PEER_NOTHING, {}), steps=forged) == ("FIN", "")
        assert decide(trial(wire("R."), PEER_RST, ABORT), steps=forged) == ("RST", "")
        assert decide(trial(wire("F."), PEER_RST, {}), steps=forged)[0] == "inconclusive"


def test_silence_of_a_peer_whose_data_was_sent_again_is_a_witness() -> None:
    again = (parse_step("peer resends 5 bytes"), parse_step("closer closes"))
    assert decide(trial(wire("F."), PEER_NOTHING, {}), steps=again)[0] == "sent, not delivered"


def test_a_peer_whose_connection_is_over_shows_no_reset() -> None:
    over = {**PEER_FIN, "state": 7, "poll": ["IN", "OUT", "HUP", "RDHUP"]}
    assert decide(trial(wire("F.", "R"), over, {"OutRsts": 1})) == ("FIN, then RST", "")
    assert decide(trial(wire("F.", "R"), PEER_FIN, {"OutRsts": 1}))[0] == "sent, not delivered"


def test_over_af_unix_the_peer_is_the_only_witness() -> None:
    assert decide(trial(None, {**PEER_RST, "state": None}, None), family="unix") == ("RST", "")
    assert decide(trial(None, {**PEER_FIN, "state": None}, None), family="unix") == ("FIN", "")
    assert decide(trial(None, None, None), family="unix")[0] == "inconclusive"


SHUT = (parse_step("peer shuts reading"), parse_step("closer closes"))


@pytest.mark.parametrize(
    ("added", "ending"),
    [([[1, ["HUP"]]], "FIN"), ([[1, []]], "nothing"), ([], "nothing"), ([[1, ["IN"]]], "nothing")],
)
def test_over_af_unix_only_what_the_closer_added_counts_at_a_peer_that_shut_reading(
    added: list[Any], ending: str
) -> None:
    assert decide(trial(None, UNIX_HUP | {"poll_added": added}), family="unix", steps=SHUT) == (
        ending,
        "",
    )


def test_over_af_unix_a_failed_send_is_no_reset_and_counters_count_for_nothing() -> None:
    late = UNIX_HUP | {"recv": ["send: EPIPE", "0"], "poll_added": [[1, ["HUP", "RDHUP"]]]}
    others = {"OutRsts": 3, "TCPAbortOnClose": 1, "TCPAbortFailed": 1}
    assert decide(trial(None, late, others), family="unix", isolation="host") == ("FIN", "")
    silent = {"poll": ["OUT"], "recv": ["EAGAIN"], "so_error": "0", "poll_added": [[1, []]]}
    assert decide(trial(None, silent, others), family="unix", isolation="host") == ("nothing", "")


@pytest.mark.parametrize(
    "odd",
    [
        {"poll": ["ERR", "HUP"], "recv": ["0"], "so_error": "0"},
        {"recv": ["0"], "so_error": "0", "poll_added": [[1, ["ERR", "HUP"]]]},
        {"recv": ["EAGAIN"], "so_error": "0", "poll_added": [[1, ["RDHUP"]]]},
        {"recv": ["ECONNRESET", "EAGAIN"], "so_error": "0", "poll_added": [[1, ["ERR"]]]},
    ],
)
def test_over_af_unix_a_peer_that_contradicts_itself_gives_no_verdict(odd: dict[str, Any]) -> None:
    ending, reason = decide(trial(None, odd), family="unix")
    assert ending == "inconclusive"
    assert "contradicts itself" in reason


def test_end_of_file_by_the_peers_own_shutdown_is_not_a_fin() -> None:
    for state in (1, 4, 5):
        own = {"state": state, "poll": ["IN", "OUT", "RDHUP"], "recv": ["0"], "so_error": "0"}
        assert decide(trial(None, own, {})) == ("nothing", "")
        assert decide(trial(wire(), own, {})) == ("nothing", "")


def test_a_send_after_the_peers_own_half_close_is_no_evidence_of_a_reset() -> None:
    failed = {
        "state": 6,
        "poll": ["IN", "OUT", "RDHUP", "HUP"],
        "recv": ["send: EPIPE", "0"],
        "so_error": "0",
    }
    shut = (
        parse_step("peer half-closes"),
        parse_step("closer closes"),
        parse_step("peer sends 1 byte"),
    )
    assert decide(trial(wire("F."), failed, {}), steps=shut) == ("FIN", "")
    assert (
        decide(trial(wire("F.", "R"), {**failed, "state": 7}, {"OutRsts": 1}))[0] == "FIN, then RST"
    )


def test_a_capture_without_the_beginning_is_no_witness() -> None:
    assert decide(trial([], None, {}))[0] == "inconclusive"
    assert decide(trial([[5, "peer", "S", 0, 0, 0, 0, ""]], PEER_RST, None)) == ("RST", "")


@pytest.mark.parametrize(
    "others",
    [{"TCPAbortFailed": 1}, {"TCPAbortFailed": 1, "TCPAbortOnClose": 1}, {"TCPAbortFailed": 3}],
)
def test_in_the_hosts_namespace_a_failed_reset_of_others_does_not_change_a_fin(
    others: dict[str, int],
) -> None:
    assert decide(trial(wire("F."), PEER_FIN, others), isolation="host") == ("FIN", "")


def test_in_the_hosts_namespace_a_failed_reset_counts_only_if_the_counters_fit_one() -> None:
    ours = {"TCPAbortOnClose": 1, "TCPAbortFailed": 1, "OutRsts": 1}
    assert decide(trial(wire(), PEER_NOTHING, ours), isolation="host")[0] == "sent, not delivered"
    assert decide(trial(wire(), PEER_NOTHING, {**ours, "TCPAbortFailed": 4}), isolation="host") == (
        "nothing",
        "",
    )


def test_over_mptcp_a_data_fin_is_the_fin() -> None:
    wire_ = [*HANDSHAKE, [100, "closer", ".", 1, 6, 0, 0, "DATA_FIN"]]
    steps = (parse_step("peer connects over MPTCP"), parse_step("closer closes"))
    assert decide(trial(wire_, {**PEER_FIN, "state": 1}, {}), steps=steps) == ("FIN", "")


def test_a_peer_that_receives_nothing_is_no_witness() -> None:
    lost = (parse_step("peer vanishes"), parse_step("closer closes"))
    one = trial(wire("R."), PEER_NOTHING, ABORT)
    assert decide(one)[0] == "sent, not delivered"
    assert decide(one, steps=lost) == ("RST", "")
    without_wire = trial(None, PEER_NOTHING, {}, wire_note="no packet socket")
    assert decide(without_wire, steps=lost)[0] == "inconclusive"


def test_a_syn_without_an_answer_is_an_ending_only_where_the_peer_tries_to_connect() -> None:
    tries = (parse_step("peer tries to connect"),)
    waiting = {"state": 2, "poll": [], "recv": ["EAGAIN"], "so_error": "0"}
    refused = {**PEER_RST, "recv": ["ECONNREFUSED", "0"]}
    syn = [0, "peer", "S", 0, 0, 0, 0, "TS"]
    reset = [9, "closer", "R.", 0, 1, 0, 0, ""]
    assert decide(trial([syn], waiting, {}), steps=tries) == ("nothing", "")
    assert decide(trial([syn, reset], refused, {"OutRsts": 1}), steps=tries) == ("RST", "")
    lost = trial([syn, reset], waiting, {"OutRsts": 1})
    assert decide(lost, steps=tries)[0] == "sent, not delivered"
    assert decide(trial([reset], refused, {"OutRsts": 1}), steps=tries)[0] == "RST"
    assert decide(trial([], waiting, {}), steps=tries) == ("nothing", "")
