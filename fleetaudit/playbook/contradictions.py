"""Expectations that no value can meet together. Pure.

Rules: what depends on the host (its default, overlapping conditions) is not foreseen: only what can
never be met is a contradiction.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, product
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from fleetaudit.model import Condition, ExposureExpectation, Play, SysctlExpectation

from .expectation_tests import meets

_ALWAYS = Condition()
_Numbers = Mapping[str, tuple[ExposureExpectation, ...]]


class Bounds(NamedTuple):
    """The least and the greatest number that an expectation accepts, and where it applies."""

    low: float
    high: float
    when: Condition

    @property
    def is_empty(self) -> bool:
        """Whether no number is within the bounds."""
        return self.low > self.high

    def excludes(self, other: Bounds) -> bool:
        """Returns whether both apply together and leave no number."""
        if self.when != other.when and _ALWAYS not in (self.when, other.when):
            return False
        return max(self.low, other.low) > min(self.high, other.high)


def find_contradiction(one: Play, other: Play) -> str:
    """Returns the first sysctl or number of production, by name, of which two plays expect what no
    value can meet on one host; "" if there is none.

    Sysctls come before numbers of production. Whether a host has both plays is for the caller to
    know. Kernel expectations cannot contradict each other.
    """
    found = chain(
        _contradictory_sysctls(one, other),
        _disjoint_numbers(one.exposure_expect, other.exposure_expect),
        _disjoint_numbers(one.watch_expect, other.watch_expect),
    )
    return next(found, "")


def _contradictory_sysctls(one: Play, other: Play) -> Iterator[str]:
    """Yields the sysctls of which two plays expect what no value can meet, by name."""
    for key in sorted(one.sysctls_expect.keys() & other.sysctls_expect.keys()):
        if is_contradictory(one.sysctls_expect[key] + other.sysctls_expect[key]):
            yield key


def _disjoint_numbers(one: _Numbers, other: _Numbers) -> Iterator[str]:
    """Yields the numbers of which two plays expect what no number can meet, by name."""
    for name in sorted(one.keys() & other.keys()):
        if are_disjoint(map(bounds_of, one[name] + other[name])):
            yield name


# ---- sysctls


def is_contradictory(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether no value can meet all expectations of one sysctl that apply together.

    Expectations with different conditions may never apply to one host, so only those are taken
    together that have the same condition, or none.
    """
    return any(map(_cannot_be_met, _applying_together(expectations)))


def _applying_together(
    expectations: Sequence[SysctlExpectation],
) -> Iterator[list[SysctlExpectation]]:
    """Yields the expectations that surely apply together: for each condition those that have it,
    with the unconditional ones.
    """
    for condition in {each.when for each in expectations} | {_ALWAYS}:
        yield [each for each in expectations if each.when in (_ALWAYS, condition)]


def _cannot_be_met(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether no value meets all of the expectations.

    A sysctl that must be absent can meet nothing else. Otherwise the expectations of each position
    are looked at, and those of the whole value with those of its words.
    """
    presence = {each.present for each in expectations}
    if False in presence:
        return presence != {False}
    by_position = defaultdict[int | None, list[SysctlExpectation]](list)
    for each in expectations:
        by_position[each.position].append(each)
    if any(map(_excludes_all, by_position.values())):
        return True
    return _whole_fails_parts(by_position.pop(None, []), chain(*by_position.values()))


def _excludes_all(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether the expectations of one position leave no number, or no named value."""
    return _bounds_exclude_all(expectations) or _named_values_are_excluded(expectations)


def _whole_fails_parts(
    wholes: Iterable[SysctlExpectation], parts: Iterable[SysctlExpectation]
) -> bool:
    """Returns whether a whole value that is expected does not have the parts that are expected."""
    values = _values(wholes, "equals")
    return any(not meets(value, part) for value, part in product(values, parts))


def _values(expectations: Iterable[SysctlExpectation], field: str) -> list[Any]:
    """Returns the values of a field in the expectations that set it."""
    return [value for value in map(attrgetter(field), expectations) if value is not None]


def _bounds_exclude_all(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether the bounds of one position leave no number.

    Bounds are integers, and both are included: at least 10 and at most 10 leaves 10.
    """
    low = max(_values(expectations, "at_least"), default=-math.inf)
    high = min(_values(expectations, "at_most"), default=math.inf)
    return bool(low > high)


def _named_values_are_excluded(expectations: Sequence[SysctlExpectation]) -> bool:
    """Returns whether an expectation names values and each of them fails another expectation."""
    named = filter(None, map(_named_values, expectations))
    return any(not _passing(values, expectations) for values in named)


def _named_values(expectation: SysctlExpectation) -> tuple[str, ...]:
    """Returns the values that an expectation names; () if it names none."""
    if expectation.equals is not None:
        return (expectation.equals,)
    return expectation.one_of or ()


def _passing(values: Iterable[str], expectations: Sequence[SysctlExpectation]) -> list[str]:
    """Returns those of the values that meet all expectations of one position.

    The values are already the word at that position, so the expectations are taken without it.
    """
    words = [msgspec.structs.replace(each, position=None) for each in expectations]
    return [value for value in values if all(meets(value, each) for each in words)]


# ---- exposure numbers


def bounds_of(expectation: ExposureExpectation) -> Bounds:
    """Returns the bounds of an expectation.

    Exposure numbers are counts and rates, so the least is 0 if no other bound is set. Without
    `at_most` the greatest is infinity.
    """
    high = math.inf if expectation.at_most is None else expectation.at_most
    return Bounds(expectation.at_least or 0, high, expectation.when)


def are_disjoint(bounds: Iterable[Bounds]) -> bool:
    """Returns whether two of the bounds apply together and leave no number between them.

    Bounds apply together if they have the same condition, or if one of them has none.
    """
    return any(one.excludes(other) for one, other in combinations(bounds, 2))
