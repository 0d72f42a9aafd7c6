"""Searches an ordered list for the neighbours between which values change, with few measurements.

Rules: a step depends on nothing but what was measured, so a search that was interrupted continues
where it was. Every two measurements that differ with nothing measured between them hold a change;
the search halves the places between them until none is left. A place that could not be measured is
skipped, as `git bisect skip` does: a neighbour is tried instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

Key = tuple[str, str]
"""What has a value at each place: a scenario and a family."""
Values = Mapping[Key, str]
"""The known values of one place; none if it could not be measured."""
Measured = Mapping[int, Values]
"""The places that were measured, or tried in vain, from 0."""
_Gap = tuple[int, ...]
"""The places between two measurements that differ, as far as nobody has tried them."""


class Change(NamedTuple):
    """A value that differs between two places; every place between them was skipped."""

    key: Key
    before: int
    after: int
    values: tuple[str, str]


class Step(NamedTuple):
    """What to measure next, each place for a reason of its own; nothing if the search is over.

    `left` is how many places are not excluded yet, and `steps` about how many steps they need;
    both are 0 as long as an end is not known.
    """

    places: tuple[int, ...]
    left: int = 0
    steps: int = 0


def next_step(number: int, measured: Measured) -> Step:
    """Returns the next step of a search over the places 0 to `number` - 1.

    The ends come first, then the middle of what is left: where several changes share places, the
    one that halves most of them.
    """
    ends = find_ends(number, measured)
    missing = sorted({end for end in ends if end not in measured})
    if missing or not ends:
        return Step(tuple(missing))
    gaps = _find_gaps(measured)
    left = len({*itertools.chain.from_iterable(gaps)})
    steps = max((len(gap).bit_length() for gap in gaps), default=0)
    return Step(tuple(sorted(_choose(gaps))), left, steps)


def find_ends(number: int, measured: Measured) -> tuple[int, ...]:
    """Returns the first and the last place that were not tried in vain, () if all were."""
    usable = [place for place in range(number) if measured.get(place, True)]
    return tuple(usable[:1] + usable[-1:])


def find_changes(measured: Measured) -> tuple[Change, ...]:
    """Returns the measurements that differ with no other measurement of their key between them.

    In the order of their places, then of their keys.
    """
    keys = {*itertools.chain.from_iterable(measured.values())}
    changes = itertools.chain.from_iterable(_changes_of(key, measured) for key in keys)
    return tuple(sorted(changes, key=lambda change: (change.before, change.after, change.key)))


def _changes_of(key: Key, measured: Measured) -> Iterator[Change]:
    """Yields the changes of one key."""
    known = [(place, measured[place][key]) for place in sorted(measured) if key in measured[place]]
    for (before, old), (after, new) in itertools.pairwise(known):
        if old != new:
            yield Change(key, before, after, (old, new))


def _find_gaps(measured: Measured) -> set[_Gap]:
    """Returns the distinct gaps in which a change hides."""
    spans = {(change.before, change.after) for change in find_changes(measured)}
    gaps = {_untried(before, after, measured) for before, after in spans}
    return gaps - {()}


def _untried(before: int, after: int, measured: Measured) -> _Gap:
    """Returns the places between two others that nobody has tried."""
    return tuple(place for place in range(before + 1, after) if place not in measured)


def _choose(gaps: Iterable[_Gap]) -> Iterator[int]:
    """Yields the best place of all gaps, then the best place of those that it does not halve."""
    rest = sorted(gaps)
    while rest:
        places = sorted({*itertools.chain.from_iterable(rest)})
        best = max(places, key=lambda place: _gain(place, rest))
        yield best
        rest = [gap for gap in rest if best not in gap]


def _gain(place: int, gaps: Sequence[_Gap]) -> int:
    """Returns how many places a measurement excludes at least, in all gaps together."""
    return sum(_excluded(gap.index(place), len(gap)) for gap in gaps if place in gap)


def _excluded(index: int, size: int) -> int:
    """Returns how many places of a gap a measurement excludes at least, itself included."""
    return 1 + min(index, size - 1 - index)
