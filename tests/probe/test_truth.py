"""The truth proof on this kernel: random orders change nothing, and the proof can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.kernels.test_truth_guests import LATE
from tests.support import probe_runs
from tests.truth import __main__ as truth
from tests.truth.cases import shipped
from tests.truth.worlds import World, worlds_here
from tests.unit.probe.test_truth import case, proof


@pytest.fixture(scope="module")
def here() -> dict[str, World]:
    """Returns the conditions of this machine's kernel, by name."""
    return {world.name: world for world in worlds_here()}


def test_the_shipped_playbook_ends_the_same_in_one_order_as_in_another(
    here: dict[str, World],
) -> None:
    tally = proof(replace(here["here"], rounds=2, trials=1, at_once=1), *shipped())
    assert (tally.wrong, [*tally.differences()]) == (0, [])
    assert tally.agree > 200


def test_a_wrong_verdict_is_counted_and_shown_with_its_segments_and_how_to_see_it_again(
    here: dict[str, World],
) -> None:
    world = replace(here["here"], rounds=1)
    tally = proof(
        world,
        case("drained", probe_runs.DRAINED[1], "RST"),
        case("unread", probe_runs.UNREAD[1], "RST"),
    )
    assert (tally.agree, tally.wrong, truth.proof_holds([tally], [])) == (6, 6, False)
    text = "\n".join(truth.report([tally], []))
    assert "WRONG in here: drained over ipv4 and ipv6, 6 trials: FIN, and right is RST" in text
    assert "closer F." in text
    assert "python -m tests.truth --worlds here --rounds 1 --seed 1\n" in text


def test_a_scenario_that_is_not_run_although_the_kernel_has_all_it_needs_is_wrong(
    here: dict[str, World],
) -> None:
    tally = proof(replace(here["here"], rounds=1), case("no-namespace", "closer closes", "FIN"))
    assert truth.proof_holds([tally], [])
    tally = proof(
        replace(here["here-user"], rounds=1, privileged=True),
        case("no-capture", probe_runs.REREAD[1], "FIN", "RST"),
        case("closed", "closer closes", "FIN"),
    )
    assert (tally.agree, tally.wrong) == (6, 6)


def test_a_scenario_whose_control_cannot_run_is_not_run(here: dict[str, World]) -> None:
    cases = truth.select_cases("shipped", "mptcp-unread-close")
    assert [one.scenario.name for one in cases] == ["mptcp-unread-close", "mptcp-drained-close"]
    tally = proof(here["here-user"], *cases)
    assert (tally.wrong, tally.inconclusive, [*tally.differences()]) == (0, 0, [])
    if any("no MPTCP" in reason for reason in tally.not_run):
        pytest.skip("this kernel has no MPTCP")
    assert any(
        reason.startswith("its control mptcp-drained-close was not run") for reason in tally.not_run
    )


@pytest.mark.parametrize("name", ["here", "here-user", "here-load"])
def test_what_comes_late_is_waited_for_in_ten_of_ten_runs(
    here: dict[str, World], name: str
) -> None:
    tally = proof(replace(here[name], rounds=1, trials=10), *LATE)
    assert (tally.wrong, tally.inconclusive) == (0, 0)
    assert tally.agree >= 40
