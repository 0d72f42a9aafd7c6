"""The shipped catalogue, run by the real probe on this machine's kernel: endings, counters, bytes
and flags.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from fleetaudit.model import (
    Audited,
    Host,
    HostPlan,
    Inventory,
    LocalTarget,
    Observation,
    Scenario,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.plan import make_plan
from fleetaudit.probe import protocol, verdict

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the probe runs on Linux"),
]

# Both ends live in one namespace, so EstabResets counts both, except one that had left ESTABLISHED
# and CLOSE_WAIT.
ABORT_ON_CLOSE = {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 2}
UNCOUNTED_ABORT = {"OutRsts": 1, "EstabResets": 2}
AFTER_FIN = {"OutRsts": 1, "EstabResets": 1}
COUNTERS = {
    "zero-linger-close": {"TCPAbortOnData": 1, **UNCOUNTED_ABORT},
    "unread-and-fin-close": {"TCPAbortOnClose": 1, **AFTER_FIN},
    "unread-repair-close": {"EstabResets": 1},
    "unread-half-close": {"TCPAbortOnClose": 1, **AFTER_FIN},
    "drained-linger2-close": {"TCPAbortOnLinger": 1, **AFTER_FIN},
    "drained-close-late-data": AFTER_FIN,
    "drained-close-late-data-linger2": {"TCPAbortOnData": 1, **AFTER_FIN},
    "unread-disconnect": UNCOUNTED_ABORT,
    "drained-disconnect": UNCOUNTED_ABORT,
    "unread-destroyed": UNCOUNTED_ABORT,
    "drained-destroyed": UNCOUNTED_ABORT,
    "unaccepted-listener-close": UNCOUNTED_ABORT,
    "unaccepted-unread-listener-close": UNCOUNTED_ABORT,
    "deferred-listener-close-late-data": AFTER_FIN,
    "accept-queue-full-aborted": AFTER_FIN,
    "mptcp-unread-close": {"MPFastcloseTx": 1, "MPRstTx": 1, **UNCOUNTED_ABORT},
    "mptcp-zero-linger-close": {"MPFastcloseTx": 1, "MPRstTx": 1, **UNCOUNTED_ABORT},
}


@pytest.fixture(scope="module")
def plan() -> HostPlan:
    inventory = Inventory(sources=("here",), hosts=(Host(name="here"),), groups={"all": ("here",)})
    targets = {"here": LocalTarget()}
    made = make_plan(
        inventory,
        [load_playbook(None)],
        targets=targets,
        selected=["here"],
        select=lambda pattern: ["here"],
    )
    return made.hosts[0]


@pytest.fixture(scope="module")
def host(plan: HostPlan) -> Audited:
    request = protocol.make_request(plan, deadline_s=60)
    done = subprocess.run(
        protocol.COMMAND, shell=True, input=request, capture_output=True, timeout=300, check=True
    )
    return verdict.result_from_reply(plan, protocol.parse_reply(done.stdout))


@pytest.fixture(scope="module")
def told(host: Audited, plan: HostPlan) -> list[tuple[Scenario, Observation]]:
    """All that ran; a scenario that kernels in service end differently (info) says nothing about
    the catalogue.
    """
    scenarios = {s.name: s for s in plan.scenarios}
    pairs = [(scenarios[o.scenario], o) for o in host.observations if o.ending != "not run"]
    return [(s, o) for s, o in pairs if s.severity != "info" or o.ending in s.expect]


def seen(host: Audited, name: str) -> list[Observation]:
    found = [o for o in host.observations if o.scenario == name and o.ending != "not run"]
    if not found:
        pytest.skip(f"{name}: {next(o.reason for o in host.observations if o.scenario == name)}")
    return found


def test_every_scenario_ends_as_the_catalogue_says(
    host: Audited, told: list[tuple[Scenario, Observation]]
) -> None:
    assert not host.void
    surprising = {
        f"{o.scenario}/{o.family}": (o.ending, o.reason)
        for s, o in told
        if o.ending not in s.expect
    }
    assert surprising == {}
    assert len(told) > 50, "hardly anything ran"


def test_what_did_not_run_says_what_the_host_lacks(host: Audited) -> None:
    for observation in host.observations:
        if observation.ending == "not run":
            assert observation.reason
            assert "failed" not in observation.reason


def test_the_kernels_counters_name_the_branch_that_the_catalogue_names(
    host: Audited, told: list[tuple[Scenario, Observation]]
) -> None:
    if host.isolation != "namespace":
        pytest.skip("no private network namespace: other traffic moves the counters too")
    different = {}
    for scenario, observation in told:
        if observation.family == "unix":
            usual: dict[str, int] = {}
        else:
            usual = ABORT_ON_CLOSE if scenario.expect == ("RST",) else {}
        if observation.evidence.kernel != COUNTERS.get(scenario.name, usual):
            different[f"{scenario.name}/{observation.family}"] = observation.evidence.kernel
    assert different == {}


def test_the_chat_puts_on_the_wire_what_its_first_trace_showed(host: Audited) -> None:
    for observation in seen(host, "chat-killed"):
        if observation.evidence.wire is None:
            pytest.skip(observation.evidence.wire_note)
        segments = [(s.sender, s.flags) for s in observation.evidence.wire]
        assert segments == [
            ("closer", "S"),
            ("peer", "S."),
            ("closer", "."),
            ("closer", "P.U"),
            ("peer", "."),
            ("peer", "P.U"),
            ("closer", "."),
            ("closer", "R."),
        ]


def test_a_lone_urgent_byte_is_not_shown_by_fionread_and_resets_all_the_same(host: Audited) -> None:
    for observation in seen(host, "urgent-read-close"):
        assert observation.evidence.queue["fionread"] == 0
        assert observation.evidence.queue.get("rx_queue", 1) == 1
        assert observation.ending == "RST"


def test_a_large_response_is_cut_by_the_close_and_whole_with_the_cure(host: Audited) -> None:
    for observation in seen(host, "large-response-close"):
        amounts = observation.evidence.bytes
        assert 0 < amounts["peer received"] < amounts["closer sent"]
    for observation in seen(host, "large-response-lingering-close"):
        amounts = observation.evidence.bytes
        assert amounts["peer received"] == amounts["closer sent"] > 0


def test_a_peer_that_reads_first_gets_the_small_response_and_one_that_writes_first_an_error(
    host: Audited,
) -> None:
    for observation in seen(host, "early-response-read-first"):
        assert observation.evidence.peer is not None
        assert observation.evidence.peer.recv[:2] == ("11", "ECONNRESET")
    for observation in seen(host, "early-response-write-first"):
        assert observation.evidence.peer is not None
        assert observation.evidence.peer.recv[0].endswith("ECONNRESET")
        assert "11" in observation.evidence.peer.recv
