"""Regular expressions of others end in time, and mean what they mean to Python's `re`."""

from __future__ import annotations

import re
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.text.regular_expressions import InvalidExpressionError, MatchBudget, TimeUsedUpError
from fleetaudit.text.wildcards import wildcard_regex
from tests.support.timing import BUSY_S

ENDLESS = {
    "(a*)*b": "a" * 60,
    "(a+)+$": "a" * 60 + "!",
    "(?:a|aa)+$": "a" * 1000 + "!",
    "(x+x+)+y": "x" * 1000,
    "(?=(a+)+b)": "a" * 1000,
    r"(.*)*(.*)*(.*)*\1z": "x" * 1000,
    "(((a{0,65535}){0,65535}){0,65535}){0,65535}b": "a" * 300,
    ".*.*.*.*.*.*.*.*.*b": "a" * 1000,
}


@pytest.mark.parametrize("expression", ENDLESS)
def test_an_expression_of_exponential_time_is_ended(expression: str) -> None:
    budget, began = MatchBudget(0.2), time.monotonic()
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(TimeUsedUpError):
        budget.matching(expression, ["web1", ENDLESS[expression]])
    assert time.monotonic() - began < 5 + BUSY_S
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)


def test_what_is_used_up_is_used_up_for_all_that_is_new() -> None:
    names = ["web1", "db1"]
    budget = MatchBudget(0.2)
    assert budget.matching("web", names) == ["web1"]
    with pytest.raises(TimeUsedUpError):
        budget.matching("(a*)*b", ["a" * 60])
    with pytest.raises(TimeUsedUpError):
        budget.matching("db", names)
    # What ended before ends again: a run that began with it goes on.
    assert budget.matching("web", names) == ["web1"]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(", "unterminated"),
        ("(" * 5000 + ")" * 5000, "nested too deeply"),
        ("a{99999999999}", "."),
        ("(?P<a", "."),
    ],
)
def test_what_is_no_expression_says_why(expression: str, reason: str) -> None:
    with pytest.raises(InvalidExpressionError, match=reason):
        MatchBudget(60).matching(expression, ["a"])


@given(
    st.lists(
        st.sampled_from(
            ["a", "b", ".", "-", "1", r"\d", "[ab]", "(?:a|b)", "^", "$", "*", "+", "?"]
        ),
        max_size=6,
    ),
    st.lists(st.text("ab1-.", max_size=6), max_size=5),
)
def test_the_names_are_those_that_re_matches(parts: list[str], names: list[str]) -> None:
    expression = "".join(parts)
    try:
        expected = list(filter(re.compile(expression).match, names))
    except re.error:
        return
    assert MatchBudget(60).matching(expression, names) == expected


def test_ten_thousand_names_and_a_hundred_patterns_stay_cheap() -> None:
    names = [f"web{n}.example.com" for n in range(10_000)]
    budget, began = MatchBudget(60), time.process_time()
    for number in range(100):
        budget.matching(f"web[0-9]*{number}\\.", names)
    assert time.process_time() - began < 5


@given(st.text("ab*?", max_size=8), st.text("ab?", max_size=8))
def test_a_wildcard_means_what_backtracking_makes_of_it(pattern: str, text: str) -> None:
    signs = {"*": ".*", "?": "."}
    slow = "".join(signs.get(sign, re.escape(sign)) for sign in pattern)
    expected = re.fullmatch(slow, text) is not None
    assert (re.fullmatch(wildcard_regex(pattern), text) is not None) == expected
    literal_slow = "".join(".*" if s == "*" else re.escape(s) for s in pattern)
    expected = re.fullmatch(literal_slow, text) is not None
    found = re.fullmatch(wildcard_regex(pattern, question_mark=False), text)
    assert (found is not None) == expected


def test_a_wildcard_of_many_stars_is_quick() -> None:
    began = time.process_time()
    assert not re.fullmatch(wildcard_regex("*a" * 200 + "*b"), "a" * 4000)
    assert time.process_time() - began < 5
