"""What the readers of all formats fill in, and how it becomes an `Inventory`: membership and
precedence. No I/O.

Rules: hosts and groups keep the order in which they are first mentioned. Variables of a higher
place replace those of a lower one whole, mappings too. From low to high: `all`, the groups by
(depth, ansible_group_priority, name), group_vars/all, group_vars of those groups in that order, the
host, host_vars. Of several folders with group_vars the later one wins, whatever the group. A name
of a host and of a group means what it means in Ansible, with a note: what is written for the host
after the group was named is set for the group.
"""

from __future__ import annotations

import graphlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fleetaudit.errors import InputError
from fleetaudit.model import Group, Host, Inventory
from fleetaudit.text.sanitize import shorten

from .layered_mapping import overlay

MAX_HOSTS = 250_000
"""How many hosts an inventory may have."""
MAX_ENTRIES = 5_000_000
"""How many hosts in groups, groups in groups and variables of hosts may be written, ranges written
out.
"""
MAX_DEPTH = 100
"""How deep groups may be in one another."""
_LOOP_SHOWN = 10
_NAMES_SHOWN = 10
_SPLIT = "shorten its ranges, or split it and audit one part after the other"


class Origin(NamedTuple):
    """Where something was written; `line` 0 where the source has no lines."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source

    def error(self, message: str, hint: str = "") -> InputError:
        """Returns an error to raise about what was written here."""
        return InputError(
            message, source=self.source, line=self.line, column=self.column, hint=hint
        )


@dataclass(slots=True)
class _Group:
    origin: Origin
    variables: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, Origin] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    priority: int = 1


@dataclass(slots=True)
class _Host:
    origin: Origin
    port: int | None
    only_listed: bool
    variables: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)


class VarsLayer(NamedTuple):
    """What the files beside one source set: for each group and each host its variables and where
    they were written.
    """

    groups: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]]
    hosts: Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]]


class InventoryBuilder:
    """An inventory in the making. The methods take names that are already plain: no ranges, no
    ports.
    """

    def __init__(self) -> None:
        built_in = Origin("built in")
        self._groups = {"all": _Group(built_in), "ungrouped": _Group(built_in)}
        self._groups["all"].children["ungrouped"] = built_in
        self._groups["ungrouped"].parents["all"] = None
        self._hosts = dict[str, _Host]()
        self._layers = list[VarsLayer]()
        self._entries = 0
        self._place = (
            "",
            self._groups["all"].origin,
        )  # of the variable that was set last: a range sets it often
        self._given_to_groups = dict[str, dict[str, Origin]]()
        self.mapping_twice = ""
        """A variable that a host gets as a mapping from two places, one of which is replaced; known
        after `inventory`.
        """

    @property
    def group_names(self) -> tuple[str, ...]:
        """Every group that was mentioned, also `all` and `ungrouped`."""
        return tuple(self._groups)

    @property
    def host_names(self) -> tuple[str, ...]:
        """Every host that was mentioned."""
        return tuple(self._hosts)

    @property
    def groups_set(self) -> bool:
        """Whether any group sets a variable."""
        return any(group.variables for group in self._groups.values()) or any(
            layer.groups for layer in self._layers
        )

    def has_group(self, name: str) -> bool:
        """Returns whether a group was mentioned."""
        return name in self._groups

    def layer(self, layer: VarsLayer) -> None:
        """Puts what files beside a source set above everything that came before."""
        self._layers.append(layer)

    def group(self, name: str, at: Origin) -> None:
        """Mentions a group."""
        if name not in self._groups:
            self._groups[name] = _Group(at)

    def child(self, parent: str, child: str, at: Origin) -> None:
        """Puts the group `child` into the group `parent`; both were mentioned."""
        if child == "all":
            raise at.error(
                "“all” cannot be in another group: every group is in it",
                f"remove it from “{parent}”",
            )
        if parent == "ungrouped" or (child == "ungrouped" and parent != "all"):
            # Ansible loses hosts of such groups, even from “all”.
            raise at.error(
                "“ungrouped” is for hosts in no group: it has no children and is in none",
                "use another name",
            )
        self._count(at)
        self._groups[parent].children.setdefault(child, at)
        self._groups[child].parents[parent] = None

    def host(
        self, name: str, group: str, port: int | None, at: Origin, *, listed: bool = False
    ) -> None:
        """Puts a host into a group; `listed` says that it comes from a `host,host,` list and not
        from a file.
        """
        self._count(at)
        host = self._hosts.get(name)
        if host is None:
            if len(self._hosts) >= MAX_HOSTS:
                raise at.error(f"more than {MAX_HOSTS} hosts", _SPLIT)
            host = self._hosts[name] = _Host(at, port, listed)
            if port is not None:
                host.variables["ansible_port"], host.origins["ansible_port"] = port, str(at)
        elif port is not None and port != host.port:
            # Ansible takes the port of the first mention and drops this one.
            raise at.error(
                f"the port {port} of “{shorten(name)}” comes too late: it is first mentioned, "
                + (f"with port {host.port}" if host.port else "without one")
                + f", in {host.origin}",
                f"write ansible_port: {port} among the variables of “{shorten(name)}”, once",
            )
        host.only_listed = host.only_listed and listed
        if not (listed and host.groups):
            host.groups[group] = None
            self._groups[group].hosts[name] = None

    def set_host(self, name: str, variable: str, value: Any, at: Origin) -> None:
        """Sets a variable of a host; if a group of that name exists already, of that group, as in
        Ansible.
        """
        self._count(at)
        if name in self._groups:
            self._given_to_groups.setdefault(name, {})[variable] = at
            self.set_group(name, variable, value, at)
            return
        if at is not self._place[1]:
            self._place = str(at), at
        host = self._hosts[name]
        if isinstance(value, dict):
            self._note_replaced(host.variables, variable)
        host.variables[variable], host.origins[variable] = value, self._place[0]

    def set_group(self, name: str, variable: str, value: Any, at: Origin) -> None:
        """Sets a variable of a group; `ansible_group_priority` is none, but orders the groups of
        one depth.
        """
        group = self._groups[name]
        if variable != "ansible_group_priority":
            if isinstance(value, dict):
                self._note_replaced(group.variables, variable)
            group.variables[variable], group.origins[variable] = value, str(at)
            return
        try:
            group.priority = int(value)
        except (TypeError, ValueError) as e:
            raise at.error(
                "ansible_group_priority is no whole number", "write for example 10"
            ) from e

    def _note_replaced(self, before: Mapping[str, Any], variable: str) -> None:
        if isinstance(before.get(variable), dict):
            self.mapping_twice = variable

    def _count(self, at: Origin) -> None:
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise at.error(f"more than {MAX_ENTRIES} entries, once ranges are written out", _SPLIT)

    def inventory(self, sources: Iterable[str], notes: tuple[str, ...] = ()) -> Inventory:
        """Returns the finished inventory; raises `InputError` for loops, hosts named “all”, and
        where no host is.
        """
        sources = tuple(sources)
        if not self._hosts:
            raise InputError(
                "no host in it", source=", ".join(sources), hint="name at least one, below “hosts:”"
            )
        shared = self._shared_names()
        order = self._parents_first(shared)
        lineage = _Lineage(self._groups, order, self._layers)
        hosts = [self._finished(name, host, lineage) for name, host in self._hosts.items()]
        self.mapping_twice = self.mapping_twice or lineage.mapping_twice
        tree = {
            name: Group(hosts=tuple(g.hosts), children=tuple(g.children))
            for name, g in self._groups.items()
        }
        members = self._members()
        notes = (*notes, *self._notes_about(shared, members))
        return Inventory(
            sources=sources, hosts=tuple(hosts), groups=members, tree=tree, notes=notes
        )

    def _shared_names(self) -> tuple[str, ...]:
        """Returns the names of both a host and a group; raises if a host has the name of a built-in
        group.
        """
        shared = tuple(name for name in self._hosts if name in self._groups)
        for name in ("all", "ungrouped"):
            if name in shared:
                # In Ansible the pattern “all” then selects this one host, and every other host is
                # lost.
                raise self._hosts[name].origin.error(
                    f"a host with the name “{name}”, which is the name of a built-in group",
                    "if its hosts are meant, write them in its place; otherwise give the host"
                    " another name",
                )
        return shared

    def _notes_about(
        self, shared: Sequence[str], members: Mapping[str, Sequence[str]]
    ) -> Iterator[str]:
        for name in shared[:_NAMES_SHOWN]:
            yield self._note_about(name, members[name])
        if len(shared) > _NAMES_SHOWN:
            yield f"{len(shared) - _NAMES_SHOWN} more names are each a host and a group"

    def _note_about(self, name: str, members: Sequence[str]) -> str:
        word, at = shorten(name), self._hosts[name].origin
        note = (
            f"“{word}” is a host ({at}) and a group ({self._groups[name].origin}): "
            f"as in Ansible, the pattern “{word}” selects the host alone"
        )
        given = self._given_to_groups.get(name, {})
        if given and tuple(members) != (name,):
            variable, written = next(iter(given.items()))
            more = f" and {len(given) - 1} more" if len(given) > 1 else ""
            note += f"; {shorten(variable)} ({written}){more}, written for the host, is set for the group"
        if name not in members:
            note += f"; to name the group in {at}, write it below “children”"
        return note

    def _parents_first(self, shared: Iterable[str]) -> tuple[str, ...]:
        for name, group in self._groups.items():
            if name != "all" and not group.parents:
                group.parents["all"] = None
                self._groups["all"].children.setdefault(name, group.origin)
        for name in shared:
            host = self._hosts[name]
            if set(host.groups) <= {"all"}:
                # Ansible puts what has this name into “ungrouped”, and finds the group first.
                self._groups["ungrouped"].children.setdefault(name, host.origin)
                self._groups[name].parents["ungrouped"] = None
        graph = {name: group.parents for name, group in self._groups.items()}
        try:
            return tuple(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as e:
            loop: list[str] = e.args[1]
            at = self._groups[loop[0]].children[loop[1]]
            named = " > ".join(
                map(shorten, loop if len(loop) <= _LOOP_SHOWN else [*loop[:_LOOP_SHOWN], "…"])
            )
            raise at.error(f"a loop of groups: {named}", "take one of them out of the other") from e

    def _finished(self, name: str, host: _Host, lineage: _Lineage) -> Host:
        others = lineage.of(tuple(host.groups)) - {"all", "ungrouped"}
        if others:
            host.groups.pop("ungrouped", None)
            self._groups["ungrouped"].hosts.pop(name, None)
        elif name not in self._groups["ungrouped"].children:
            host.groups["ungrouped"] = None
            self._groups["ungrouped"].hosts[name] = None
        if name == "localhost" and host.only_listed and host.port is None:
            host.variables["ansible_connection"], host.origins["ansible_connection"] = (
                "local",
                str(host.origin),
            )
        groups, inherited, written_there = lineage.inherited(tuple(host.groups))
        own, written = host.variables, host.origins
        for layer in self._layers:
            if name in layer.hosts:
                more, here = layer.hosts[name]
                self.mapping_twice = self.mapping_twice or replaced_mapping(own, more)
                own, written = {**own, **more}, {**written, **here}
        self.mapping_twice = self.mapping_twice or replaced_mapping(inherited, own)
        return Host(
            name=name,
            groups=groups,
            variables=overlay(own, inherited),
            variable_origins=overlay(written, written_there),
            origin=str(host.origin),
        )

    def _members(self) -> dict[str, tuple[str, ...]]:
        """A group's own hosts, then those of the groups in it, level by level, as Ansible orders
        them.
        """
        members, count = dict[str, tuple[str, ...]](), 0
        for name in self._groups:
            found, seen, queue = dict[str, None](), {name}, deque([name])
            while queue:
                group = self._groups[queue.popleft()]
                found.update(group.hosts)
                fresh = [child for child in group.children if child not in seen]
                seen.update(fresh)
                queue.extend(fresh)
            members[name] = tuple(found)
            count += len(found)
            if count > MAX_ENTRIES:
                raise self._groups[name].origin.error(
                    f"groups of more than {MAX_ENTRIES} hosts, all together", _SPLIT
                )
        members["all"] = tuple(
            self._hosts
        )  # the order of the file; Ansible's depends on where groups are nested
        return members


class _Lineage:
    """What groups inherit from one another, worked out once for each combination of groups that a
    host is in.
    """

    def __init__(
        self, groups: dict[str, _Group], parents_first: Iterable[str], layers: Iterable[VarsLayer]
    ) -> None:
        self._groups, self._layers = groups, tuple(layers)
        self._depth = dict[str, int]()
        self._line = dict[str, frozenset[str]]()
        count = 0
        for name in parents_first:
            parents, at = groups[name].parents, groups[name].origin
            self._depth[name] = max((self._depth[p] + 1 for p in parents), default=0)
            if self._depth[name] > MAX_DEPTH:
                raise at.error(
                    f"groups nested deeper than {MAX_DEPTH}", "put them into fewer others"
                )
            count += sum(len(self._line[p]) for p in parents)
            if count > MAX_ENTRIES:
                raise at.error(
                    f"groups with more than {MAX_ENTRIES} groups around them, all together", _SPLIT
                )
            self._line[name] = frozenset({name}).union(*(self._line[p] for p in parents))
        self.mapping_twice = ""
        self._inherited = dict[
            tuple[str, ...], tuple[tuple[str, ...], dict[str, Any], dict[str, str]]
        ]()

    def of(self, direct: tuple[str, ...]) -> frozenset[str]:
        """Returns these groups and every group that they are in."""
        return (
            self._line[direct[0]]
            if len(direct) == 1
            else frozenset().union(*(self._line[g] for g in direct))
        )

    def inherited(
        self, direct: tuple[str, ...]
    ) -> tuple[tuple[str, ...], dict[str, Any], dict[str, str]]:
        """Returns the groups of a host that is in `direct`, lowest precedence first and without
        `all`, and what they set, with its origins. The mappings are shared between hosts: not to be
        changed.
        """
        if direct not in self._inherited:
            variables, origins = dict[str, Any](), dict[str, str]()
            line = sorted(
                self.of(direct), key=lambda g: (self._depth[g], self._groups[g].priority, g)
            )
            for set_here, written in self._settings_of(line):
                self.mapping_twice = self.mapping_twice or replaced_mapping(variables, set_here)
                variables.update(set_here)
                origins.update(written)
            self._inherited[direct] = tuple(g for g in line if g != "all"), variables, origins
        return self._inherited[direct]

    def _settings_of(
        self, line: Sequence[str]
    ) -> Iterator[tuple[Mapping[str, Any], Mapping[str, str]]]:
        """Yields what is set for these groups, lowest precedence first, and where."""
        for name in line:
            yield self._groups[name].variables, self._groups[name].origins
        for names in (["all"], line[1:]):
            for layer in self._layers:
                for name in names:
                    if name in layer.groups:
                        yield layer.groups[name]


def replaced_mapping(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Returns a variable that is a mapping before and after, "" if there is none: Ansible may merge
    those.
    """
    for name, value in after.items():
        if isinstance(value, dict) and isinstance(before.get(name), dict):
            return name
    return ""
