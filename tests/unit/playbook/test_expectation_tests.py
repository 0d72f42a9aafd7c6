"""What an expectation means: values, releases, contradictions, patterns that end, and tags as
Ansible has them.
"""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model import Condition, Kernel, SysctlExpectation
from fleetaudit.playbook.conditions import applies, parse_comparisons, release_numbers
from fleetaudit.playbook.contradictions import is_contradictory
from fleetaudit.playbook.expectation_tests import MAX_MATCHED, describe_expectation, meets
from fleetaudit.playbook.patterns import pattern_fault
from fleetaudit.playbook.tags import is_selected_by_tags
from tests.support.runs import K612, Fleet

# ---- values


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


# ---- contradictions


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


# ---- kernels and groups


@pytest.mark.parametrize(
    ("release", "wanted", "met"),
    [
        ("6.12.117+deb13-amd64", ">=6.1", True),
        ("6.12.117+deb13-amd64", ">=6.12.53, <6.13", True),
        ("6.1.156", "==6.1", True),
        ("6.1.156", "<=6.1", True),
        ("6.1.156", ">6.1", False),
        ("6.10.1", "==6.1", False),
        ("5.10.0-30-amd64", "<5.10", False),
        ("5.10", ">=5.10.1", False),
        ("7.3-rc7", ">=7.3", True),
        ("7.3-rc7", "!=7.3", False),
        ("6.1", "", True),
        ("unreadable", ">=99", True),
    ],
)
def test_a_kernel_release_is_compared_by_as_many_numbers_as_are_named(
    release: str, wanted: str, met: bool
) -> None:
    host = Fleet().host("a", Kernel(release=release, version="#1", machine="x86_64"))
    assert applies(Condition(kernel=wanted), host) is met


@pytest.mark.parametrize("text", ["6.1", ">= six", ">=6.1 <7", "~>6.1", ">=6.1.2.3.4", ">=6.1;"])
def test_a_text_that_is_not_a_comparison_of_a_release_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a comparison"):
        parse_comparisons(text)


def test_an_expectation_for_groups_applies_to_hosts_of_any_of_them() -> None:
    host = Fleet().host("a", K612, groups=("web", "blue"))
    assert applies(Condition(groups=("db", "web")), host)
    assert applies(Condition(groups=("all",)), host)
    assert not applies(Condition(groups=("db",)), host)
    assert not applies(Condition(groups=("web",), kernel="<6"), host)


@given(st.text(max_size=300))
def test_the_numbers_of_any_release_can_be_read(release: str) -> None:
    assert all(number >= 0 for number in release_numbers(release))


# ---- regular expressions


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|a)*",
        "((a+))+b",
        "(a{1,9}){9}",
        "a*a*a*a*a*",
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
    "pattern", ["reno|cubic", "[0-9]+ [0-9]+ [0-9]+", "(reno|cubic) bbr", r"\d{1,3}", "[]*+]+", ""]
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


# ---- tags


@pytest.mark.parametrize(
    ("tags", "only", "skip", "taken"),
    [
        ([], [], [], True),
        (["x"], [], [], True),
        ([], ["x"], [], False),
        (["x"], ["x"], [], True),
        (["x", "y"], ["y"], [], True),
        (["x"], ["y"], [], False),
        (["always"], ["y"], [], True),
        (["always"], ["y"], ["always"], False),
        (["never"], [], [], False),
        (["never"], ["all"], [], False),
        (["never", "x"], ["x"], [], True),
        (["x"], ["tagged"], [], True),
        ([], ["tagged"], [], False),
        ([], ["untagged"], [], True),
        (["x"], ["untagged"], [], False),
        (["x"], [], ["x"], False),
        (["x"], ["x"], ["x"], False),
        ([], [], ["x"], True),
        (["x"], [], ["all"], False),
        (["always"], [], ["all"], True),
        (["x"], [], ["tagged"], False),
        ([], [], ["untagged"], False),
    ],
)
def test_tags_select_as_those_of_ansible(
    tags: list[str], only: list[str], skip: list[str], taken: bool
) -> None:
    assert is_selected_by_tags(tags, only, skip) is taken
