"""Verdicts under real faults: a firewall that drops RSTs, a small capture, a locked-down kernel."""

from __future__ import annotations

from typing import Any

import pytest

from fleetaudit.model import (
    Audited,
    HostPlan,
    Isolation,
    LocalTarget,
    Observation,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol, verdict
from tests.support import probe_runs

from .test_isolation import dropping_resets


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
    """Returns the observations over IPv4 by scenario; `probe_text` replaces the probe's text."""
    sent = protocol.make_program(asked, deadline_s=30)
    if program:
        assert protocol.probe_text() in sent
        sent = sent.replace(protocol.probe_text(), program)
    done = probe_runs.run_text(sent, **how)
    return {
        o.scenario: o
        for o in verdict.result_from_output(asked, done).observations
        if o.family == "ipv4"
    }


@pytest.mark.parametrize(
    ("hook", "words"), [("output", "TCPAbortFailed"), ("input", "did not arrive")]
)
def test_a_reset_that_a_firewall_drops_is_sent_and_not_delivered(hook: str, words: str) -> None:
    seen = observed(plan("unread-close", isolation="host"), within=dropping_resets(hook))[
        "unread-close"
    ]
    assert seen.ending == "sent, not delivered"
    assert seen.endings == {"sent, not delivered": 2}
    assert words in seen.reason


def test_where_a_firewall_drops_resets_the_positive_control_voids_the_host() -> None:
    seen = observed(
        plan("drained-close", "zero-linger-close", isolation="host"),
        within=dropping_resets("output"),
    )["drained-close"]
    assert seen.ending == "inconclusive"
    assert seen.endings == {"FIN": 2}
    assert "zero-linger-close" in seen.reason


def test_a_capture_that_overflows_is_noted_and_the_peer_decides() -> None:
    probe_runs.need_root()
    small = protocol.probe_text().replace(
        "32 * 1024 * 1024", "1"
    )  # the kernel makes it its least, a few packets
    assert small != protocol.probe_text()
    seen = observed(plan("window-zero-close"), program=small)["window-zero-close"]
    assert "found no room" in seen.evidence.wire_note
    assert seen.ending == "RST"


def verdicts(asked: HostPlan, **how: Any) -> Audited:
    return verdict.result_from_output(
        asked,
        probe_runs.run_text(protocol.make_request(asked, deadline_s=30).decode("ascii"), **how),
    )


@pytest.mark.parametrize(
    ("limit", "words"), [("-n 16", "too few resources"), ("-u 0", "no process")]
)
def test_a_host_with_too_few_resources_is_neither_void_nor_well(limit: str, words: str) -> None:
    within = [*probe_runs.as_nobody(), "bash", "-c", f'ulimit {limit}; exec "$0" "$@"']
    names = (
        "drained-close",
        "zero-linger-close",
        "unread-close",
        "drained-killed",
        "unread-killed",
    )
    seen = verdicts(plan(*names), within=within, python=probe_runs.public_python())
    assert seen.void == ""
    endings = {o.scenario: o for o in seen.observations if o.family == "ipv4"}
    assert endings["unread-close"].ending == "RST"
    assert endings["unread-killed"].ending in ("inconclusive", "RST")
    if endings["unread-killed"].ending == "inconclusive":
        assert words in endings["unread-killed"].reason


def test_without_a_namespace_an_ordinary_user_keeps_every_verdict_that_has_a_witness() -> None:
    play = load_playbook(None).plays[0]
    asked = plan(*(s.name for s in play.scenarios), isolation="host", trials=1)
    seen = verdicts(asked, within=probe_runs.as_nobody(), python=probe_runs.public_python())
    assert seen.isolation == "host"
    assert seen.void == ""
    told = {
        (o.scenario, o.family): o.ending
        for o in seen.observations
        if o.ending not in ("inconclusive", "not run")
    }
    assert told["unread-close", "ipv4"] == "RST"
    controls = {s.name: s.control for s in asked.scenarios}
    for o in seen.observations:
        if o.ending == "inconclusive" and o.evidence.peer is not None:
            # The peer spoke, and what it sent counts, but where the scenario's own control has no
            # witness.
            assert (controls[o.scenario], o.family) not in told, (o.scenario, o.family, o.reason)
    assert len(told) > len(seen.observations) / 2


def test_a_peer_that_shut_reading_itself_shows_no_fin() -> None:
    text = "peer shuts reading; closer duplicates its socket; closer closes"
    call = probe_runs.request(
        probe_runs.scenario("kept", text, families=("ipv4",)), isolation="host"
    )
    reply = probe_runs.run(call, within=probe_runs.as_nobody(), python=probe_runs.public_python())
    steps = [parse_step(line) for line in text.split(";")]
    assert verdict.trial_verdict(probe_runs.trial_of(reply, "kept"), steps, "ipv4", "host") == (
        "nothing",
        "",
    )


def test_without_proc_the_endings_and_the_missing_witness_are_reported() -> None:
    probe_runs.need_root()
    probe_runs.need_program("unshare")
    within = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"']
    seen = verdicts(
        plan("unread-close", "drained-close"), within=within, python=probe_runs.public_python()
    )
    assert {(o.scenario, o.family): o.ending for o in seen.observations} == {
        ("drained-close", "ipv4"): "FIN",
        ("drained-close", "ipv6"): "FIN",
        ("unread-close", "ipv4"): "RST",
        ("unread-close", "ipv6"): "RST",
    }
    assert any("counters could not be read" in note for note in seen.notes)


def test_loopback_that_is_down_leaves_af_unix_as_it_is() -> None:
    probe_runs.need_root()
    probe_runs.need_program("unshare")
    seen = verdicts(
        plan(
            "unix-unread-close",
            "unix-drained-close",
            "unread-close",
            "drained-close",
            isolation="host",
        ),
        within=["unshare", "--net", "--"],
    )
    endings = {(o.scenario, o.family): o.ending for o in seen.observations}
    assert endings["unix-unread-close", "unix"] == "RST"
    assert endings["unix-drained-close", "unix"] == "FIN"
    assert endings["unread-close", "ipv4"] == "not run"
    assert seen.void == ""


@pytest.mark.parametrize("descriptors", [10, 11, 12, 13, 14])
def test_a_scenario_that_lacks_a_descriptor_costs_the_next_one_nothing(descriptors: int) -> None:
    texts = ["closer is killed", "closer duplicates its socket; closer closes", "closer closes"]
    scenarios = [
        probe_runs.scenario(text, f"peer sends 5 bytes; {text}", trials=2) for text in texts * 4
    ]
    within = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"]
    reply = probe_runs.run(probe_runs.request(*_numbered(scenarios)), within=within)
    assert [t.error for o in reply.observations for t in o.trials if t.error] == []
    assert {o.not_run for o in reply.observations if o.not_run} == {SCARCE}


SCARCE = "this host gives the probe too few resources (EMFILE)"


def _numbered(scenarios: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{**scenario, "name": f"{scenario['name']} {i}"} for i, scenario in enumerate(scenarios)]
