"""Evidence that no kernel and no probe of ours can have seen is not believed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fleetaudit.errors import ReplyError
from fleetaudit.model import Isolation, Observation
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe.known_names import HOST_COUNTERS, TRIAL_COUNTERS
from fleetaudit.probe.possible_evidence import needs_nothing
from fleetaudit.probe.remote import counters
from fleetaudit.probe.sysctl_patterns import SysctlPatterns
from tests.unit.probe.cases import (
    ABORT,
    HANDSHAKE,
    PEER_BOTH,
    PEER_RST,
    UNREAD,
    line,
    observation,
    plan,
    reply,
    result,
    scenario,
    trial,
    wire,
)

SYN, SYN_ACK, ACK, DATA = HANDSHAKE
RST = [100, "closer", "R.", 1, 6, 0, 0, ""]
FIN = [90, "closer", "F.", 1, 6, 0, 0, ""]
SEEN = {
    "queue": {"fionread": 5, "rx_queue": 5},
    "bytes": {"closer sent": 0, "closer received": 0, "peer sent": 5, "peer received": 0},
}
"""What the probe reports of a trial of "peer sends 5 bytes; closer closes"."""


def seen(segments: Any, counts: Any = ABORT, **more: Any) -> dict[str, Any]:
    return trial(segments, PEER_RST, counts, **{**SEEN, **more})


def observed(one: dict[str, Any], isolation: Isolation = "namespace") -> Observation:
    body = reply(observation("unread-close", one), isolation=isolation)
    return result(plan(UNREAD), line(body)).observations[0]


def bytes_with(**counts: int) -> dict[str, Any]:
    return {"bytes": {**SEEN["bytes"], **{k.replace("_", " "): v for k, v in counts.items()}}}


@pytest.mark.parametrize("isolation", ["namespace", "host"])
def test_evidence_that_fits_its_steps_is_believed(isolation: Isolation) -> None:
    for one in (
        seen(wire("R.")),
        seen(None),
        seen(wire("R."), queue={}, bytes={}),
        seen(wire("R."), {**ABORT, "TCPAbortOnMemory": 1}),
    ):
        assert (observed(one, isolation).ending, observed(one, isolation).reason) == ("RST", "")


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (seen([RST, SYN, SYN_ACK, ACK, DATA]), "before any SYN"),
        (seen([DATA, SYN, SYN_ACK, ACK, RST]), "“P.” of the peer, before any SYN"),
        (seen([SYN_ACK, ACK, DATA, RST]), "the wire has no SYN of the peer"),
        (seen([SYN, SYN_ACK, ACK, RST]), "the peer sent 5 bytes, and the wire has none of them"),
        (seen(wire("R."), **bytes_with(peer_sent=0)), "“peer sent” is 0, and the steps send 5"),
        (seen(wire("R."), **bytes_with(peer_sent=4)), "“peer sent” is 4"),
        (seen(wire("R."), **bytes_with(closer_received=6)), "“closer received” is 6"),
        (seen(wire("R."), **bytes_with(peer_received=1)), "“peer received” is 1"),
        (seen(wire("R."), queue={"fionread": 0}), "has 0 bytes, and the steps leave 5"),
        (seen(wire("R."), queue={"fionread": 6}), "has 6 bytes, and the steps leave 5"),
        (seen(wire("R."), steps=[]), "0 of 2 steps began, and none failed"),
        (seen(wire("R."), steps=[[1, 0]]), "1 of 2 steps began"),
        (seen(wire("R."), {"OutRsts": 1, "TCPAbortOnMemory": 1}), "would be TCPAbortOnClose"),
        (seen(None, {**ABORT, "TCPAbortOnClose": 10**9}), "TCPAbortOnClose moved by 1000000000"),
        (seen(None, {**ABORT, "EstabResets": 65}), "at most 64 connections"),
    ],
)
def test_impossible_evidence_is_inconclusive_and_named(one: dict[str, Any], why: str) -> None:
    host = observed(one)
    assert host.ending == "inconclusive"
    assert host.reason.startswith("impossible evidence: ")
    assert why in host.reason


def test_a_trace_with_a_gap_and_a_counter_of_the_whole_host_prove_nothing_impossible() -> None:
    lossy = seen([SYN, SYN_ACK, RST], wire_lost=1)
    assert observed(lossy).ending == "RST"
    assert observed(seen([SYN, SYN_ACK, RST], wire_omitted=1)).ending == "RST"
    shared = seen(wire("R."), {**ABORT, "TCPAbortOnData": 10**6})
    assert observed(shared, "host").ending == "RST"
    late = trial(wire("F.", "R."), PEER_BOTH, {"OutRsts": 1}, steps=[[1, 0]], error="late")
    assert "impossible" not in observed(late).reason


@pytest.mark.parametrize(
    ("field", "what"),
    [("kernel", "counter"), ("queue", "queue"), ("bytes", "count of bytes")],
)
def test_a_number_that_the_probe_does_not_report_is_refused(field: str, what: str) -> None:
    one = {**seen(wire("R.")), field: {"invented": 1}}
    with pytest.raises(ReplyError, match=f"the {what} invented, which was not asked for"):
        observed(one)


def test_counters_and_sysctls_that_were_not_asked_for_are_refused() -> None:
    good = observation("unread-close", seen(wire("R.")))
    for more in (
        {"exposure": {"counters": {"invented": 1}}},
        {"sysctls": {"kernel.core_pattern": {"value": "x"}}},
        {"sysctls": {"net.ipv4.tcp_rmem.more": {"value": "x"}}},
    ):
        with pytest.raises(ReplyError, match="which was not asked for"):
            result(plan(UNREAD), line(reply(good, **more)))


def test_the_names_are_those_that_the_probe_reads() -> None:
    assert set(counters.OF_TRIALS) == TRIAL_COUNTERS
    assert set(counters.SINCE_BOOT) <= HOST_COUNTERS


def test_a_sysctl_is_selected_part_by_part_as_on_the_host() -> None:
    asked = SysctlPatterns(0, ("net.ipv4.conf.*.rp_filter", "net.core.somaxconn", "net.x[12].y"))
    asked.refuse_others(
        ["net.ipv4.conf.eth0/1.rp_filter", "net.core.somaxconn", "net.x1.y", "net.x[12].y"]
    )
    for other in ("net.ipv4.conf.a.b.rp_filter", "net.core", "net.x3.y", "NET.core.somaxconn", ""):
        with pytest.raises(ReplyError, match="not asked for"):
            asked.refuse_others([other])


@pytest.mark.parametrize(
    ("steps", "plain"),
    [
        ("peer sends 5 bytes;closer closes", True),
        ("closer sets SO_LINGER 1 0;closer closes", True),
        ("peer connects over AF_UNIX;closer half-closes", True),
        ("peer connects over MPTCP;closer closes", False),
        ("closer sets TCP_REPAIR 1;closer closes", False),
        ("both enable kTLS;closer closes", False),
        ("peer closes;closer closes", False),
        ("peer resends 5 bytes with FIN;closer closes", False),
        ("peer sends 1 urgent byte;closer closes", False),
        ("closer exits", False),
    ],
)
def test_which_scenarios_every_host_can_run(steps: str, plain: bool) -> None:
    parsed = tuple(parse_step(text) for text in steps.split(";"))
    assert needs_nothing(replace(scenario("x", "RST"), steps=parsed)) is plain
