"""Groups and orders counted rows, for the tables of production and of services. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
C = TypeVar("C", int, str)
V = TypeVar("V")


def group(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Returns values by key, both in order of appearance."""
    groups = dict[K, list[V]]()
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def count_order(item: tuple[C, int]) -> tuple[int, C]:
    """Returns the key that sorts counts: the largest first, then by what is counted."""
    return -item[1], item[0]
