"""Computes a result once for the objects that many hosts share. Pure.

Rules: hosts with equal observations, sysctls or findings usually have the same objects, which are
never changed. Identity saves time and decides nothing: a part that is equal and another object is
computed again, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Parts = TypeVarTuple("Parts")

MAX_KEPT = 1 << 16
"""How many results are kept before all are dropped: a fleet in which nothing is shared has millions
of parts.
"""


def once_per_object(
    compute: Callable[[*Parts], T], max_kept: int = MAX_KEPT
) -> Callable[[*Parts], T]:
    """Returns `compute`, which is then called once for each combination of objects.

    Its arguments are never changed afterwards. They are kept, so that the id of an object is not
    that of a later one. `max_kept` bounds the number of results, for results that are large.
    """
    kept = dict[tuple[int, ...], tuple[T, tuple[*Parts]]]()

    def result_of(*parts: *Parts) -> T:
        key = tuple(map(id, parts))
        found = kept.get(key)
        if found is None:
            if len(kept) >= max_kept:
                kept.clear()
            found = kept[key] = (compute(*parts), parts)
        return found[0]

    return result_of


def distinct_objects(parts: Iterable[T]) -> Iterable[T]:
    """Returns each object once, in order of appearance; equal ones may be among them."""
    return {id(part): part for part in parts}.values()
