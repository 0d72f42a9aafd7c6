"""Hosts that share parts, counted and folded together. Pure.

Rules: hosts of one set share the same objects. Sets of equal parts that are not the same objects
give the same report: whoever uses the sets compares their parts by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic

from fleetaudit.text.host_ranges import HostRanges

from .common import BuildKey, H, build_key_of, fold_names

Numbers = tuple[int, ...]
"""Some sets of hosts by their numbers, in the order of the sets. A number that occurs twice counts
its hosts twice.
"""


class HostSets(Generic[H]):
    """The sets of hosts that share the objects that `parts` returns, in order of appearance.

    `firsts` are the first hosts of the sets, `sizes` their numbers of hosts.
    """

    def __init__(self, hosts: Iterable[H], parts: Callable[[H], tuple[object, ...]]) -> None:
        numbered = dict[tuple[int, ...], list[tuple[int, H]]]()
        for place, host in enumerate(hosts):
            numbered.setdefault(tuple(map(id, parts(host))), []).append((place, host))
        self._members = list(numbered.values())
        self._names = dict[Numbers, HostRanges]()
        self._builds = dict[Numbers, tuple[BuildKey, ...]]()
        self.firsts = [members[0][1] for members in self._members]
        self.sizes = list(map(len, self._members))

    def count(self, numbers: Iterable[int]) -> int:
        """Returns the number of hosts of some sets."""
        return sum(map(self.sizes.__getitem__, numbers))

    def hosts(self, numbers: Iterable[int]) -> list[H]:
        """Returns the hosts of some sets in the order in which all hosts were given."""
        members = [member for number in numbers for member in self._members[number]]
        members.sort(key=_place)
        return [host for _, host in members]

    def names(self, numbers: Numbers) -> HostRanges:
        """Returns the names of the hosts of some sets, folded once."""
        if numbers not in self._names:
            self._names[numbers] = fold_names(self.hosts(numbers))
        return self._names[numbers]

    def builds(self, numbers: Numbers) -> tuple[BuildKey, ...]:
        """Returns the kernel builds of the audited hosts of some sets, in order of appearance."""
        if numbers not in self._builds:
            keys = dict.fromkeys(filter(None, map(build_key_of, self.hosts(numbers))))
            self._builds[numbers] = tuple(keys)
        return self._builds[numbers]


def _place(member: tuple[int, object]) -> int:
    """Returns the place of a host among all hosts."""
    return member[0]
