"""Expectations that no value can meet together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model import Condition, Play, SysctlExpectation
from fleetaudit.playbook.contradictions import find_contradiction, is_contradictory
from fleetaudit.playbook.expectation_tests import meets


@pytest.mark.parametrize(
    ("rules", "contradict"),
    [
        ([SysctlExpectation(equals="1"), SysctlExpectation(equals="0")], True),
        ([SysctlExpectation(equals="1"), SysctlExpectation(one_of=("1", "2"))], False),
        ([SysctlExpectation(one_of=("1", "2")), SysctlExpectation(at_least=3)], True),
        ([SysctlExpectation(at_least=3), SysctlExpectation(at_most=2)], True),
        ([SysctlExpectation(at_least=3), SysctlExpectation(at_most=3)], False),
        ([SysctlExpectation(equals="cubic"), SysctlExpectation(matches="reno")], True),
        ([SysctlExpectation(present=False), SysctlExpectation(equals="1")], True),
        ([SysctlExpectation(present=False), SysctlExpectation(present=True)], True),
        ([SysctlExpectation(present=True), SysctlExpectation(equals="1")], False),
        (
            [SysctlExpectation(position=1, at_least=5), SysctlExpectation(position=2, at_most=4)],
            False,
        ),
        (
            [SysctlExpectation(position=1, at_least=5), SysctlExpectation(position=1, at_most=4)],
            True,
        ),
        ([SysctlExpectation(equals="4 5 6"), SysctlExpectation(position=3, at_most=5)], True),
        ([SysctlExpectation(equals="4 5 6"), SysctlExpectation(position=3, at_most=6)], False),
        (
            [
                SysctlExpectation(equals="1", when=Condition(kernel="<6.1")),
                SysctlExpectation(equals="0", when=Condition(kernel=">=6.1")),
            ],
            False,
        ),
        (
            [
                SysctlExpectation(equals="1", when=Condition(groups=("a",))),
                SysctlExpectation(equals="0"),
            ],
            True,
        ),
        (
            [
                SysctlExpectation(equals="1", when=Condition(groups=("a",))),
                SysctlExpectation(equals="0", when=Condition(groups=("a",))),
            ],
            True,
        ),
    ],
)
def test_expectations_that_no_value_can_meet_contradict_each_other(
    rules: list[SysctlExpectation], contradict: bool
) -> None:
    assert is_contradictory(rules) is contradict


_bound = st.none() | st.integers(0, 5)
_rule = st.builds(
    SysctlExpectation,
    equals=st.none() | st.integers(0, 5).map(str),
    one_of=st.none() | st.lists(st.integers(0, 5).map(str), min_size=1, max_size=3).map(tuple),
    at_least=_bound,
    at_most=_bound,
)


@given(st.lists(_rule, min_size=1, max_size=3))
def test_a_contradiction_is_found_exactly_if_no_small_number_meets_all_expectations(
    rules: list[SysctlExpectation],
) -> None:
    possible = any(all(meets(str(value), rule) for rule in rules) for value in range(6))
    assert is_contradictory(rules) is not possible


def test_of_several_contradictions_the_first_name_is_reported_in_every_run() -> None:
    def play(value: str) -> Play:
        expectations: tuple[SysctlExpectation, ...] = (SysctlExpectation(equals=value),)
        expected = {f"net.ipv4.k{n:02d}": expectations for n in range(20)}
        return Play(name=value, hosts="all", sysctls_expect=expected)

    assert find_contradiction(play("0"), play("1")) == "net.ipv4.k00"
