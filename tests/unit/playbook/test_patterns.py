"""Regular expressions of a playbook: those that may take too long are refused."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model import SysctlExpectation
from fleetaudit.playbook.expectation_tests import meets
from fleetaudit.playbook.patterns import MAX_MATCHED, pattern_fault


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|a)*",
        "((a+))+b",
        "(a{1,9}){9}",
        "a*a*a*a*a*",
        4 * "(?:|a|aa|aaa|aaaa)" + "a*a*a*a*b",
        3 * "(?:a|aa|aaa)" + "a*a*a*a*b",
        "a|b|c|d|e|[0-9]+ [0-9]+ [0-9]+ [0-9]+",
        "(?=a)",
        "(?i)a",
        r"(.)\1",
        "(",
        "[",
        "[[a]",
        201 * "a",
    ],
)
def test_a_pattern_that_may_take_too_long_or_does_not_compile_is_refused(pattern: str) -> None:
    assert pattern_fault(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "reno|cubic",
        "[0-9]+ [0-9]+ [0-9]+",
        "(reno|cubic) bbr",
        r"\d{1,3}",
        "(a|b|c|d)e* f* g* h*",
        "[]*+]+",
        "",
    ],
)
def test_an_ordinary_pattern_is_accepted(pattern: str) -> None:
    assert pattern_fault(pattern) == ""


@given(pattern=st.text(alphabet="ab*+?|(){},19[]^.\\", max_size=14))
def test_every_accepted_pattern_ends_soon_on_the_longest_value(pattern: str) -> None:
    if pattern_fault(pattern):
        return
    re.compile(pattern)
    begun = time.process_time()
    meets(MAX_MATCHED * "a", SysctlExpectation(matches=pattern))
    meets((MAX_MATCHED - 1) * "a" + "!", SysctlExpectation(matches=pattern))
    assert time.process_time() - begun < 5
