"""The standing proof: that random orders change nothing on this kernel, and that the proof can
fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fleetaudit.model import HostPlan, Scenario
from fleetaudit.playbook.step_order import step_families
from fleetaudit.playbook.steps import parse_step
from fleetaudit.transport import Output
from tests.truth import __main__ as truth
from tests.truth.cases import Case, shipped
from tests.truth.tally import Tally
from tests.truth.worlds import World

FOREVER = float("inf")


def case(name: str, steps: str, *right: str) -> Case:
    """Returns a case; `steps` has a semicolon between two steps, `right` the endings that are right
    everywhere.
    """
    parsed = tuple(parse_step(step) for step in steps.split(";"))
    families = step_families(parsed, ("ipv4", "ipv6"))
    scenario = Scenario(name=name, title=name, steps=parsed, expect=(), families=families)
    return Case(scenario, lambda world: right)


def proof(world: World, *cases: Case) -> Tally:
    """Returns what a world has shown, printed."""
    tally = truth.run_world(world, cases, 1, FOREVER)
    print("\n".join(truth.report([tally], [])))
    return tally


# ---- this kernel


# ---- the proof can fail


def answers(*outputs: bytes) -> World:
    """Returns a world whose probe prints these, one call after the other."""
    left: Iterator[bytes] = iter(outputs)

    def ask(plan: HostPlan, deadline_s: float) -> Output:
        return Output(stdout=next(left), stderr=b"", exit_status=0, cut="")

    return World(
        name="fake", about="a fake", side="after", release=(6, 18), ask=ask, rounds=len(outputs)
    )


def test_a_call_without_a_reply_makes_every_trial_of_it_inconclusive() -> None:
    tally = proof(answers(b"sh: no python\n"), case("closed", "closer closes", "FIN"))
    assert (tally.trials, tally.inconclusive, truth.proof_holds([tally], [])) == (6, 6, False)


def test_calls_for_which_time_ran_out_are_named_and_the_proof_fails() -> None:
    tally = truth.run_world(answers(b"", b""), [case("closed", "closer closes", "FIN")], 1, end=0.0)
    assert tally.left_out == 2
    assert not truth.proof_holds([tally], [])
    assert "fake: 2 calls NOT RUN: interrupted, or the time was up" in truth.report([tally], [])


def test_a_missing_world_is_named_and_the_proof_fails() -> None:
    tally = Tally(answers(), agree=1)
    assert truth.proof_holds([tally], [])
    gap = truth.Missing("guests", "the archive has none")
    assert not truth.proof_holds([tally], [gap])
    assert "guests: NOT RUN: the archive has none" in truth.report([tally], [gap])


def test_a_result_that_changes_with_the_order_is_named_with_both_seeds() -> None:
    tally = Tally(answers(), agree=1)
    tally.seen["zero", "ipv4"] |= {"RST": 4, "FIN": 7}
    assert [*tally.differences()] == [
        "zero over ipv4 differs between orders: RST (seed 4), FIN (seed 7)"
    ]
    assert not truth.proof_holds([tally], [])


def test_one_inconclusive_trial_in_a_thousand_is_allowed_and_two_are_not() -> None:
    assert truth.proof_holds([Tally(answers(), agree=999, inconclusive=1)], [])
    assert not truth.proof_holds([Tally(answers(), agree=998, inconclusive=2)], [])


def test_a_call_has_the_controls_of_its_scenarios_also_where_a_round_is_cut() -> None:
    world = replace(answers(b""), trials=100)
    calls = [*truth.calls_of(world, shipped(), 1)]
    assert len(calls) > 5
    for call in calls:
        names = {one.scenario.name for one in call.cases}
        assert {one.scenario.control for one in call.cases} <= {*names, None}


def test_each_seed_has_an_order_of_its_own_and_always_the_same() -> None:
    world, cases = answers(b""), shipped()

    def names(seed: int) -> list[str]:
        return [
            one.scenario.name for call in truth.calls_of(world, cases, seed) for one in call.cases
        ]

    assert names(1) == names(1)
    assert names(1) != names(2)
    assert sorted(names(1)) == sorted(one.scenario.name for one in cases)
