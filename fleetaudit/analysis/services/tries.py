"""Counts the tries of a check. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from fleetaudit.analysis.groups import group
from fleetaudit.model import ServiceTry
from fleetaudit.model.base import Frozen

K = TypeVar("K", int, str)


class Answers(Frozen, frozen=True, kw_only=True):
    """How many clients of one way of writing got what; `total` are all of them.

    `counts` has the number of clients by what they got, in words, with "" for what was expected.
    """

    total: int
    counts: dict[str, int]

    @property
    def good(self) -> int:
        """How many clients got what was expected."""
        return self.counts.get("", 0)

    @property
    def others(self) -> str:
        """What the others got: "1 got the status 502, 3 got a reset"; "" if there are none."""
        named = sorted(self.counts.keys() - {""})
        return ", ".join(f"{self.counts[name]} got {name}" for name in named)


def count_tries(tries: Iterable[ServiceTry], key: Callable[[ServiceTry], K]) -> Counter[K]:
    """Returns how many tries there are by what `key` returns; equal ones are one `ServiceTry`."""
    counts = Counter[K]()
    for each in tries:
        counts[key(each)] += each.count
    return counts


def count_answers(tries: Iterable[ServiceTry], key: Callable[[ServiceTry], str]) -> Answers:
    """Returns what clients got, in the words that `key` returns."""
    counts = count_tries(tries, key)
    return Answers(total=counts.total(), counts=counts)


def tries_by_writing(tries: Iterable[ServiceTry]) -> dict[str, list[ServiceTry]]:
    """Returns the tries by their way of writing, both in order of appearance."""
    return group((each.writing, each) for each in tries)
