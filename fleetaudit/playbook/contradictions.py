"""Expectations that no value can meet together. Pure.

Rules: what depends on the host (its default, overlapping conditions) is not foreseen: only what can
never be met is a contradiction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import msgspec

from fleetaudit.model import Condition, Play, SysctlExpectation

from .expectation_tests import meets

Bounds = tuple[float | None, float | None, Condition]
"""The least and the greatest number expected, None for no bound, and where that applies."""


def find_contradiction(one: Play, other: Play) -> str:
    """Returns the first sysctl or exposure number of which two plays expect what no value can meet
    on one host; "" if there is none.
    """
    for key in one.sysctls_expect.keys() & other.sysctls_expect.keys():
        if is_contradictory((*one.sysctls_expect[key], *other.sysctls_expect[key])):
            return key
    for name in one.exposure_expect.keys() & other.exposure_expect.keys():
        both = (*one.exposure_expect[name], *other.exposure_expect[name])
        if are_disjoint((each.at_least, each.at_most, each.when) for each in both):
            return name
    return ""


def is_contradictory(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether no value can meet all of the expectations of one sysctl that apply
    together.
    """
    return any(_cannot_be_met(group) for group in _applying_together(expectations))


def _applying_together(
    expectations: Sequence[SysctlExpectation],
) -> Iterator[list[SysctlExpectation]]:
    """Yields the expectations that surely apply together: for each condition those that have it,
    with the unconditional ones.
    """
    always = Condition()
    for condition in {each.when for each in expectations} | {always}:
        yield [each for each in expectations if each.when in (always, condition)]


def _cannot_be_met(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether no value meets all of the expectations."""
    if any(each.present is False for each in expectations):
        return any(each.present is not False for each in expectations)
    for position in {each.position for each in expectations}:
        here = [each for each in expectations if each.position == position]
        if _bounds_exclude_all(here) or _named_values_are_excluded(here):
            return True
    return _whole_value_is_excluded(expectations)


def _bounds_exclude_all(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether the bounds leave no number."""
    lows = [each.at_least for each in expectations if each.at_least is not None]
    highs = [each.at_most for each in expectations if each.at_most is not None]
    return bool(lows and highs) and max(lows) > min(highs)


def _named_values_are_excluded(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether an expectation names values and each of them fails another expectation."""
    named = filter(None, map(_named_values, expectations))
    return any(not _any_passes(values, expectations) for values in named)


def _named_values(expectation: SysctlExpectation) -> tuple[str, ...]:
    """Returns the values that an expectation names; () if it names none."""
    if expectation.equals is not None:
        return (expectation.equals,)
    return expectation.one_of or ()


def _any_passes(values: Iterable[str], expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether one of the values meets all expectations of its position."""
    return any(_passes_all(value, expectations) for value in values)


def _passes_all(value: str, expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether a value, already the word at the position, meets all expectations."""
    return all(meets(value, msgspec.structs.replace(each, position=None)) for each in expectations)


def _whole_value_is_excluded(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether a whole value that is expected fails an expectation of one of its words."""
    wholes = [e.equals for e in expectations if e.position is None and e.equals is not None]
    parts = [each for each in expectations if each.position is not None]
    return any(not meets(whole, part) for whole in wholes for part in parts)


def are_disjoint(bounds: Iterable[Bounds]) -> bool:
    """Returns whether two of the bounds apply together and leave no number between them."""
    return any(_leave_no_number(one, other) for one, other in combinations(bounds, 2))


def _leave_no_number(one: Bounds, other: Bounds) -> bool:
    """Returns whether two bounds apply together and exclude each other; numbers begin at 0."""
    low = max(one[0] or 0, other[0] or 0)
    high = min(_upper(one), _upper(other))
    together = one[2] == other[2] or Condition() in (one[2], other[2])
    return together and low > high


def _upper(bounds: Bounds) -> float:
    """Returns the upper bound, infinity for none."""
    return float("inf") if bounds[1] is None else bounds[1]
