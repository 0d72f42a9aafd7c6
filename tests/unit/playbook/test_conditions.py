"""Kernel releases and groups to which an expectation applies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model import Condition, Kernel
from fleetaudit.playbook.conditions import applies, parse_comparisons, release_numbers
from tests.support.runs import K612, Fleet


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
