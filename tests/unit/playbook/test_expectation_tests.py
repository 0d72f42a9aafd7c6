"""Whether a sysctl meets an expectation, and the expectation as text."""

from __future__ import annotations

import pytest

from fleetaudit.model import SysctlExpectation
from fleetaudit.playbook.expectation_tests import describe_expectation, meets
from fleetaudit.playbook.patterns import MAX_MATCHED


@pytest.mark.parametrize(
    ("rule", "value", "met"),
    [
        (SysctlExpectation(matches="reno|cubic"), "cubic", True),
        (SysctlExpectation(matches="reno|cubic"), "cubic2", False),
        (SysctlExpectation(matches="reno.*"), "reno" + MAX_MATCHED * "x", False),
        (SysctlExpectation(matches="[0-9]+ [0-9]+"), "32768\t60999", True),
        (SysctlExpectation(position=3, at_least=6291456), "4096 131072 6291456", True),
        (SysctlExpectation(position=3, at_least=6291456), "4096 131072 6291455", False),
        (SysctlExpectation(position=3, at_least=1), "4096 131072", False),
        (SysctlExpectation(position=1, equals="4096"), "4096\t131072 1", True),
        (SysctlExpectation(position=2, one_of=("1", "2")), "0 2", True),
        (SysctlExpectation(at_least=1), "1_0", False),
        (SysctlExpectation(at_least=1), "٣", False),
        (SysctlExpectation(at_least=-1), "-1", True),
        (SysctlExpectation(equals=""), " \n", True),
    ],
)
def test_a_value_meets_an_expectation_or_does_not(
    rule: SysctlExpectation, value: str, met: bool
) -> None:
    assert meets(value, rule) is met


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (SysctlExpectation(at_least=10, at_most=60), "at least 10 and at most 60"),
        (SysctlExpectation(position=3, at_least=6291456), "third number at least 6291456"),
        (SysctlExpectation(position=4, equals="1"), "4th number 1"),
        (SysctlExpectation(present=False), "absent"),
        (SysctlExpectation(is_default=True), "this kernel's own default"),
        (SysctlExpectation(equals=""), "empty"),
        (SysctlExpectation(matches="a|b"), "matches a|b"),
    ],
)
def test_an_expectation_is_described_in_words(rule: SysctlExpectation, words: str) -> None:
    assert describe_expectation(rule) == words
