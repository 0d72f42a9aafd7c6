"""Controls: what a failed or missing control does to the verdicts of a host."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fleetaudit.model import (
    Audited,
)
from tests.unit.probe.cases import (
    DRAINED,
    FINISHED,
    PEER_BOTH,
    PEER_FIN,
    PEER_RST,
    RESET,
    UNIX,
    UNREAD,
    line,
    observation,
    plan,
    reply,
    result,
    scenario,
    trial,
)

ZERO = scenario("zero-linger-close", "RST", families=("ipv4", "ipv6"))


UNREAD_6 = scenario("unread-close", "RST", control="drained-close", families=("ipv4", "ipv6"))


DRAINED_6 = scenario("drained-close", "FIN", families=("ipv4", "ipv6"))


OTHER = scenario("other-close", "RST", control="other-drained-close")
OTHER_DRAINED = scenario("other-drained-close", "FIN")
UNIX_DRAINED = scenario("unix-drained-close", "FIN", families=("unix",))
UNTOLD = trial(None, None, {}, wire_note="no right")
UNIX_RESET = trial(None, {**PEER_RST, "state": None}, None)
UNIX_FINISHED = trial(None, {**PEER_FIN, "state": None}, None)


def endings(host: Audited) -> dict[str, str]:
    return {f"{o.scenario}/{o.family}": o.ending for o in host.observations}


def reason(host: Audited, name: str) -> str:
    return next(o.reason for o in host.observations if f"{o.scenario}/{o.family}" == name)


def test_a_control_that_ends_the_wrong_way_voids_only_its_scenarios_over_its_family() -> None:
    host = result(
        plan(ZERO, UNREAD_6, DRAINED_6, OTHER, OTHER_DRAINED),
        line(
            reply(
                *(
                    observation("zero-linger-close", RESET, family=family)
                    for family in ("ipv4", "ipv6")
                ),
                *(observation("unread-close", RESET, family=family) for family in ("ipv4", "ipv6")),
                observation("drained-close", RESET),
                observation("drained-close", FINISHED, family="ipv6"),
                observation("other-close", RESET),
                observation("other-drained-close", FINISHED),
            )
        ),
    )
    assert host.void == ""
    assert endings(host) == {
        "zero-linger-close/ipv4": "RST",
        "zero-linger-close/ipv6": "RST",
        "unread-close/ipv4": "inconclusive",
        "unread-close/ipv6": "RST",
        "drained-close/ipv4": "RST",
        "drained-close/ipv6": "FIN",
        "other-close/ipv4": "RST",
        "other-drained-close/ipv4": "FIN",
    }
    assert host.observations[2].endings == {"RST": 3}
    words = "void: its control drained-close over ipv4 ended RST where it must end FIN"
    assert reason(host, "unread-close/ipv4") == words


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ({"trials": [UNTOLD]}, "its control drained-close was inconclusive: no witness"),
        (
            {"trials": [], "not_run": "IPv4 is off"},
            "its control drained-close was not run: IPv4 is off",
        ),
        (
            {"trials": [], "not_run": "time ran out", "failed": True},
            "its control drained-close was not run: time ran",
        ),
        (
            {"trials": [{**RESET, "count": 1}, {**FINISHED, "count": 2}]},
            "was inconclusive: trials disagree",
        ),
    ],
)
def test_a_control_without_a_verdict_voids_the_scenarios_that_name_it(
    control: Any, words: str
) -> None:
    host = result(
        plan(UNREAD, DRAINED, OTHER, OTHER_DRAINED),
        line(
            reply(
                observation("unread-close", RESET),
                {"scenario": "drained-close", "family": "ipv4", **control},
                observation("other-close", RESET),
                observation("other-drained-close", FINISHED),
            )
        ),
    )
    assert host.void == ""
    assert (endings(host)["unread-close/ipv4"], endings(host)["other-close/ipv4"]) == (
        "inconclusive",
        "RST",
    )
    assert words in reason(host, "unread-close/ipv4")


def test_a_control_over_af_unix_voids_no_segments() -> None:
    for control in (UNIX_RESET, trial(None, None, None, wire_note="no right")):
        host = result(
            plan(UNREAD, DRAINED, UNIX, UNIX_DRAINED),
            line(
                reply(
                    observation("unread-close", RESET),
                    observation("drained-close", FINISHED),
                    observation("unix-close", UNIX_RESET, family="unix"),
                    observation("unix-drained-close", control, family="unix"),
                )
            ),
        )
        assert host.void == ""
        assert (endings(host)["unread-close/ipv4"], endings(host)["unix-close/unix"]) == (
            "RST",
            "inconclusive",
        )


def test_a_positive_control_over_af_unix_voids_af_unix_alone() -> None:
    positive = scenario("unix-zero-close", "RST", families=("unix",))
    host = result(
        plan(UNREAD, DRAINED, positive, UNIX_DRAINED),
        line(
            reply(
                observation("unread-close", RESET),
                observation("drained-close", FINISHED),
                observation("unix-zero-close", UNIX_FINISHED, family="unix"),
                observation("unix-drained-close", UNIX_FINISHED, family="unix"),
            )
        ),
    )
    assert host.void == ""
    assert endings(host)["unread-close/ipv4"] == "RST"
    assert (
        reason(host, "unix-drained-close/unix") == "void: control unix-zero-close over unix failed"
    )


def test_the_reason_of_a_void_host_is_short_enough_to_be_read_back() -> None:
    many = [scenario(f"c{i}", "RST") for i in range(200)]
    failed = [
        observation(s.name, {**FINISHED, "peer": PEER_BOTH, "wire": None, "kernel": None})
        for s in many
    ]
    host = result(plan(*many), line(reply(*failed)))
    assert "and 197 more controls" in host.void
    assert msgspec.json.decode(msgspec.json.encode(host), type=Audited) == host


def test_a_failed_positive_control_voids_the_host_and_keeps_the_observed_endings() -> None:
    linger = scenario("zero-linger-close", "RST")
    assert linger.is_positive_control
    host = result(
        plan(linger, UNREAD, DRAINED, UNIX_DRAINED),
        line(
            reply(
                observation("zero-linger-close", FINISHED),
                observation("unread-close", RESET),
                observation("drained-close", FINISHED),
                observation("unix-drained-close", UNIX_FINISHED, family="unix"),
            )
        ),
    )
    assert "zero-linger-close over ipv4 ended FIN where it must end RST" in host.void
    assert set(endings(host).values()) == {"inconclusive"}
    assert host.observations[1].endings == {"RST": 3}
    assert host.observations[1].reason == "void: control zero-linger-close over ipv4 failed"


@pytest.mark.parametrize(
    "control", [{"trials": [UNTOLD]}, {"trials": [], "not_run": "no SO_LINGER here"}]
)
def test_a_positive_control_without_a_verdict_leaves_a_note_on_the_host(
    control: Any,
) -> None:
    host = result(
        plan(scenario("zero-linger-close", "RST"), UNREAD, DRAINED),
        line(
            reply(
                {"scenario": "zero-linger-close", "family": "ipv4", **control},
                observation("unread-close", RESET),
                observation("drained-close", FINISHED),
            )
        ),
    )
    assert host.void == ""
    assert (endings(host)["unread-close/ipv4"], endings(host)["drained-close/ipv4"]) == (
        "RST",
        "FIN",
    )
    assert any("the positive control zero-linger-close over ipv4" in note for note in host.notes)


def test_an_unmet_expectation_of_a_scenario_that_is_not_a_control_voids_nothing() -> None:
    host = result(
        plan(UNREAD, DRAINED),
        line(reply(observation("unread-close", FINISHED), observation("drained-close", FINISHED))),
    )
    assert host.void == ""
    assert host.observations[0].ending == "FIN"


def test_without_its_control_a_verdict_is_inconclusive() -> None:
    host = result(
        plan(UNREAD, DRAINED),
        line(
            reply(
                observation("unread-close", RESET),
                observation("drained-close", not_run="IPv4 is off"),
            )
        ),
    )
    assert host.observations[0].ending == "inconclusive"
    assert "its control drained-close was not run: IPv4 is off" in host.observations[0].reason
