"""Verdicts under real faults: firewalls that eat the RST, a capture too small, kernels locked down."""

from __future__ import annotations

from typing import Any

import pytest

from fleetaudit import wire
from fleetaudit.model import HostPlan, Isolation, LocalTarget, Observation
from fleetaudit.playbook import load_playbook

from . import probing
from .test_probe_isolation import dropping_resets


def plan(*names: str, isolation: Isolation = "auto", trials: int = 2) -> HostPlan:
    """Returns a plan with these scenarios of the shipped playbook."""
    play = load_playbook(None).plays[0]
    chosen = tuple(s for s in play.scenarios if s.name in names)
    assert len(chosen) == len(names)
    return HostPlan(
        name="web-1",
        groups=(),
        target=LocalTarget(),
        scenarios=chosen,
        trials=trials,
        isolation=isolation,
        sysctls_collect=(),
        sysctls_expect={},
    )


def observed(asked: HostPlan, *, program: str = "", **how: Any) -> dict[str, Observation]:
    """Returns what a probe sees over IPv4, by scenario; `program` stands in for the probe's text."""
    sent = wire.request(asked, deadline_s=30).decode("ascii")
    if program:
        sent = sent.replace(wire.program(), program)
    done = probing.run_text(sent, **how)
    return {o.scenario: o for o in wire.decode(asked, done).observations if o.family == "ipv4"}


@pytest.mark.parametrize(("hook", "words"), [("output", "TCPAbortFailed"), ("input", "did not arrive")])
def test_a_reset_that_a_firewall_eats_is_sent_and_not_delivered(hook: str, words: str) -> None:
    seen = observed(plan("unread-close", isolation="host"), within=dropping_resets(hook))["unread-close"]
    assert seen.ending == "sent, not delivered"
    assert seen.endings == {"sent, not delivered": 2}
    assert words in seen.reason


def test_where_a_firewall_eats_resets_the_positive_control_voids_the_host() -> None:
    seen = observed(plan("drained-close", "zero-linger-close", isolation="host"), within=dropping_resets("output"))[
        "drained-close"
    ]
    assert seen.ending == "inconclusive"
    assert seen.endings == {"FIN": 2}
    assert "zero-linger-close" in seen.reason


def test_a_capture_that_overflows_is_said_and_the_peer_decides() -> None:
    probing.need_root()
    small = wire.program().replace("32 * 1024 * 1024", "1")  # the kernel makes it its least, a few packets
    assert small != wire.program()
    seen = observed(plan("window-zero-close"), program=small)["window-zero-close"]
    assert "found no room" in seen.evidence.wire_note
    assert seen.ending == "RST"
