"""In which TCP states a close resets a connection with unread data: the probe's verdict and
tcpdump.

The table is that of docs/scenarios.md, “Which states reset”.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import verdict
from tests.support.probe_runs import (
    TcpdumpRun,
    request,
    run,
    run_with_tcpdump,
    scenario,
)


class Row(NamedTuple):
    """What happens in one state: the steps, the ending, and the closer's segments with FIN or RST
    by tcpdump.

    The last step is the close; `closes` are the segments that it causes.
    """

    steps: str
    ending: str
    before: tuple[str, ...]
    closes: tuple[str, ...]


# the FIN is behind data for a window of zero
FULL = "closer sends until blocked; closer half-closes; "
STATES = {
    "ESTABLISHED": Row("peer sends 5 bytes; closer closes", "RST", (), ("R.",)),
    "CLOSE_WAIT": Row("peer sends 5 bytes; peer half-closes; closer closes", "RST", (), ("R.",)),
    "FIN_WAIT1": Row("peer sends 5 bytes; " + FULL + "closer closes", "RST", (), ("R.",)),
    "FIN_WAIT2": Row(
        "peer sends 5 bytes; closer half-closes; closer closes", "FIN, then RST", ("F.",), ("R.",)
    ),
    "CLOSING": Row(
        FULL + "peer sends 5 bytes; peer half-closes; closer closes", "RST", (), ("R.",)
    ),
    "LAST_ACK": Row(
        "peer sends 5 bytes; peer half-closes; " + FULL + "closer closes", "RST", (), ("R.",)
    ),
    "CLOSE from LAST_ACK": Row(
        "peer sends 5 bytes; peer half-closes; closer half-closes; closer closes",
        "FIN",
        ("F.",),
        (),
    ),
    "CLOSE from FIN_WAIT2": Row(
        "closer half-closes; peer sends 5 bytes; peer half-closes; closer closes",
        "FIN",
        ("F.",),
        (),
    ),
    "CLOSE from FIN_WAIT2, data first": Row(
        "peer sends 5 bytes; closer half-closes; peer half-closes; closer closes",
        "FIN",
        ("F.",),
        (),
    ),
    "CLOSE from CLOSING": Row(
        FULL + "peer sends 5 bytes; peer half-closes; peer reads to the end; closer closes",
        "FIN",
        ("F.",),
        (),
    ),
    "CLOSE from LAST_ACK, zero linger": Row(
        "closer sets SO_LINGER 1 0; peer sends 5 bytes; peer half-closes; closer half-closes;"
        " closer closes",
        "FIN",
        ("F.",),
        (),
    ),
    "CLOSE by a reset": Row(
        "peer sends 5 bytes; peer sets SO_LINGER 1 0; peer closes; closer closes", "nothing", (), ()
    ),
}


@pytest.fixture(scope="module")
def seen() -> TcpdumpRun:
    """What the probe and tcpdump say of each state, over both families."""
    scenarios = [scenario(name, row.steps, trials=2) for name, row in STATES.items()]
    return run_with_tcpdump(request(*scenarios, isolation="host", deadline=120.0))


@pytest.mark.parametrize("name", STATES)
def test_what_a_close_with_unread_data_does_in_each_state(seen: TcpdumpRun, name: str) -> None:
    row = STATES[name]
    steps = [parse_step(line) for line in row.steps.split(";")]
    observations = [o for o in seen.reply.observations if o.scenario == name and not o.not_run]
    assert observations
    for observation in observations:
        for trial in observation.trials:
            assert verdict.trial_verdict(trial, steps, observation.family, "host") == (
                row.ending,
                "",
            )
            assert trial.queue["fionread"] == 5
            assert trial.connection is not None
            port = trial.connection.ports[0]
            close_at = trial.connection.began + trial.steps[-1][0] / 1e6
            marked = [
                (p.at >= close_at, flags)
                for p in seen.of(trial)
                if p.source == port and (flags := _flags(p.bits))
            ]
            assert tuple(flags for late, flags in marked if not late) == row.before
            assert tuple(flags for late, flags in marked if late) == row.closes


def _flags(bits: int) -> str:
    """Returns the flags of a segment with FIN or RST and without SYN, "" for every other; PSH is
    left out.
    """
    if not bits & 0x05 or bits & 0x02:
        return ""
    return "".join(mark for bit, mark in ((0x01, "F"), (0x04, "R"), (0x10, ".")) if bits & bit)


def test_destroying_a_connection_that_has_ended_does_not_destroy_the_listener() -> None:
    over = "peer sends 5 bytes; peer sets SO_LINGER 1 0; peer closes; closer is destroyed"
    reply = run(
        request(
            scenario("over", over, trials=3), scenario("after", "peer sends 5 bytes; closer closes")
        )
    )
    for observation in reply.observations:
        if observation.not_run:
            pytest.skip(observation.not_run)
        assert [trial.error for trial in observation.trials] == [""]
