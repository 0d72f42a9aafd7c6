"""Precedence of variables between groups: what a host inherits from the groups it is in. No I/O.

Rules: from low to high: `all`, the groups by (depth, ansible_group_priority, name), group_vars/all,
group_vars of those groups in that order. Of several folders with group_vars the later one wins,
whatever the group. A mapping replaces another one whole. What a host inherits is computed once for
each combination of groups, not for each host.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .entries import MAX_ENTRIES, SPLIT_HINT, GroupEntry, VariablesAndOrigins, VarsLayer

MAX_DEPTH = 100
"""Maximum depth of groups in groups."""


class Inherited(NamedTuple):
    """What a host gets from its groups. Hosts share these mappings: they must not be changed.

    `groups` are in order of precedence, lowest first, without `all`.
    """

    groups: tuple[str, ...]
    variables: dict[str, Any]
    origins: dict[str, str]


class ReplacedMappings:
    """Remembers the first variable that one host gets as a mapping from two places, in `variable`.

    Ansible merges the two if hash_behaviour is merge; otherwise the later one replaces the other.
    """

    def __init__(self) -> None:
        self.variable = ""

    def note(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Looks for a variable that is a mapping in both, as long as none was found.

        `before` are the variables of lower precedence, `after` those that replace them.
        """
        if self.variable:
            return
        for name, value in after.items():
            if isinstance(value, dict) and isinstance(before.get(name), dict):
                self.variable = name
                return


class GroupPrecedence:
    """The ancestors of every group, and what hosts inherit from them.

    `groups` are all groups by name, and `parents_first` their names, each after its parents.
    `layers` are the variables of group_vars, one for each folder, a later one winning. `replaced`
    gets to know variables that are mappings in two places. Raises `InputError` for groups that are
    nested deeper than `MAX_DEPTH`, and if their ancestors are too many together. Ansible: "Using
    variables: variable precedence", `sort_groups` in inventory/helpers.py and `get_vars` in
    vars/manager.py.
    """

    def __init__(
        self,
        groups: dict[str, GroupEntry],
        parents_first: Iterable[str],
        layers: Iterable[VarsLayer],
        replaced: ReplacedMappings,
    ) -> None:
        self._groups, self._layers, self._replaced = groups, tuple(layers), replaced
        self._depth = dict[str, int]()
        self._ancestors = dict[str, frozenset[str]]()
        self._inherited = dict[tuple[str, ...], Inherited]()
        self._work = 0
        for name in parents_first:
            self._add_group(name, groups[name])

    def _add_group(self, name: str, group: GroupEntry) -> None:
        """Computes the depth and the ancestors of a group whose parents are known already.

        Raises `InputError` above the limits, before the sets are merged: for groups that share
        parents at every level that work would grow much faster than the file.
        """
        depth = max((self._depth[parent] + 1 for parent in group.parents), default=0)
        if depth > MAX_DEPTH:
            raise group.origin.error(
                f"groups nested deeper than {MAX_DEPTH}", "put them into fewer others"
            )
        inherited = [self._ancestors[parent] for parent in group.parents]
        self._work += sum(map(len, inherited))
        if self._work > MAX_ENTRIES:
            raise group.origin.error(
                f"more than {MAX_ENTRIES} groups around groups, all together", SPLIT_HINT
            )
        self._depth[name] = depth
        self._ancestors[name] = frozenset({name}).union(*inherited)

    def with_ancestors(self, direct: tuple[str, ...]) -> frozenset[str]:
        """Returns the groups `direct` and every group that contains one of them, `all` included.

        `direct` has at least one name, and only names of groups.
        """
        if len(direct) == 1:
            return self._ancestors[direct[0]]
        return frozenset().union(*(self._ancestors[name] for name in direct))

    def inherited(self, direct: tuple[str, ...]) -> Inherited:
        """Returns what a host that is directly in the groups `direct` inherits.

        Hosts that are in the same groups get the same object: nobody may change it.
        """
        found = self._inherited.get(direct)
        if found is None:
            found = self._inherited[direct] = self._merge(direct)
        return found

    def _merge(self, direct: tuple[str, ...]) -> Inherited:
        """Merges the variables of a combination of groups, a higher precedence winning.

        Mappings are not merged: the one of higher precedence replaces the other.
        """
        ordered = sorted(self.with_ancestors(direct), key=self._sort_key)
        variables, origins = dict[str, Any](), dict[str, str]()
        for more, more_origins in self._sources_of(ordered):
            self._replaced.note(variables, more)
            variables.update(more)
            origins.update(more_origins)
        groups = tuple(name for name in ordered if name != "all")
        return Inherited(groups, variables, origins)

    def _sort_key(self, name: str) -> tuple[int, int, str]:
        """Returns the precedence of a group among those of one host."""
        return self._depth[name], self._groups[name].priority, name

    def _sources_of(self, ordered: Sequence[str]) -> Iterator[VariablesAndOrigins]:
        """Yields every set of variables of these groups, lowest precedence first.

        `ordered` begins with `all`, which has the lowest precedence.
        """
        for name in ordered:
            yield self._groups[name].variables, self._groups[name].origins
        yield from self._layers_of(["all"])
        yield from self._layers_of(ordered[1:])

    def _layers_of(self, names: Sequence[str]) -> Iterator[VariablesAndOrigins]:
        """Yields what group_vars sets for these groups, lowest precedence first."""
        for layer, name in itertools.product(self._layers, names):
            if name in layer.groups:
                yield layer.groups[name]
