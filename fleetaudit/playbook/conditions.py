"""Where an expectation applies: on hosts of a group, and on kernel releases. Pure.

Rules: a kernel release is compared by as many numbers as the comparison names: "==6.1" and "<=6.1"
include 6.1.156.
"""

from __future__ import annotations

import functools
import operator
import re
from typing import NamedTuple

from fleetaudit.model import Audited, Condition

_COMPARISON = re.compile(r"(>=|<=|==|!=|>|<)\s*([0-9]{1,6}(?:\.[0-9]{1,6}){0,3})", re.ASCII)
_OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


class ReleaseComparison(NamedTuple):
    """One comparison of a kernel release: (">=", (6, 1)) for ">=6.1"."""

    operator: str
    numbers: tuple[int, ...]


@functools.lru_cache(maxsize=256)
def parse_comparisons(text: str) -> tuple[ReleaseComparison, ...]:
    """Returns the comparisons in ">=6.1, <6.12", all of which must hold; () for "".

    A comparison has one to four numbers of at most six digits. Empty parts, as after a last comma,
    are left out. Raises `ValueError` with the first part that is not a comparison.
    """
    pieces = filter(None, map(str.strip, text.split(",")))
    return tuple(map(_parse_comparison, pieces))


def _parse_comparison(text: str) -> ReleaseComparison:
    """Returns one comparison; raises `ValueError` for other text, such as "6.1" or "=6.1"."""
    match = _COMPARISON.fullmatch(text)
    if match is None:
        raise ValueError(f"“{text}” is not a comparison of a kernel release")
    return ReleaseComparison(match[1], tuple(map(int, match[2].split("."))))


def applies(condition: Condition, host: Audited) -> bool:
    """Returns whether an expectation with this condition applies to a host.

    The host must be in one of the groups, and its kernel release must fit all comparisons. Every
    host is in the group "all", and a condition without groups is for every host. A release that
    does not begin with a number fits all comparisons.
    """
    groups = condition.groups
    if groups and {"all", *host.groups}.isdisjoint(groups):
        return False
    release = release_numbers(host.kernel.release)
    return not release or all(_compare(release, c) for c in parse_comparisons(condition.kernel))


def release_numbers(release: str) -> tuple[int, ...]:
    """Returns the numbers that a kernel release begins with, at most four: 6, 12, 117 of
    "6.12.117+deb13-amd64".

    () if it does not begin with a number.
    """
    match = re.match(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}", release, re.ASCII)
    return tuple(map(int, match[0].split("."))) if match else ()


def _compare(release: tuple[int, ...], comparison: ReleaseComparison) -> bool:
    """Returns the result of a comparison; missing numbers of the release count as 0.

    The release has as many numbers as the comparison: 6.1.156 is "==6.1" and is not ">6.1".
    """
    numbers = (*release, 0, 0, 0, 0)[: len(comparison.numbers)]
    return bool(_OPERATORS[comparison.operator](numbers, comparison.numbers))
