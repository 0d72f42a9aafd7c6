"""Builds an `Inventory` from what the readers of all formats add. No I/O.

Rules: hosts and groups keep the order in which they are first mentioned. A variable of higher
precedence replaces a lower one whole, mappings too; from low to high: the groups (precedence.py),
the host, host_vars. A name of both a host and a group means what it means in Ansible, with a note:
what is written for the host after the group was named is set for the group.
"""

from __future__ import annotations

import graphlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.model import Group, Host, Inventory
from fleetaudit.text.phrases import and_more
from fleetaudit.text.sanitize import shorten

from .entries import MAX_ENTRIES, SPLIT_HINT, GroupEntry, HostEntry, Origin, VarsLayer
from .layered_mapping import overlay
from .precedence import GroupPrecedence, ReplacedMappings

MAX_HOSTS = 250_000
"""Maximum number of hosts of an inventory."""
_BUILT_IN_GROUPS = ("all", "ungrouped")
_MAX_LOOP_SHOWN = 10
_MAX_NAMES_SHOWN = 10


class InventoryBuilder:
    """Collects hosts, groups and variables, and makes an `Inventory` of them.

    The names that it takes have no ranges and no ports; each is known to be valid. Methods that add
    something take the place where it is written, for errors and for the origins of variables; they
    raise `InputError` at that place above `MAX_HOSTS` hosts or `MAX_ENTRIES` entries. What is
    mentioned first comes first. Ansible: inventory/data.py.
    """

    def __init__(self) -> None:
        built_in = Origin("built in")
        self._groups = {"all": GroupEntry(built_in), "ungrouped": GroupEntry(built_in)}
        self._groups["all"].children["ungrouped"] = built_in
        self._groups["ungrouped"].parents["all"] = None
        self._hosts = dict[str, HostEntry]()
        self._layers = list[VarsLayer]()
        self._entries = 0
        # The origin of the last variable, also as text: the hosts of a range share both.
        self._last_origin = ("", built_in)
        self._set_on_groups = dict[str, dict[str, Origin]]()
        self._replaced = ReplacedMappings()

    @property
    def group_names(self) -> tuple[str, ...]:
        """Every group that was mentioned, and `all` and `ungrouped`."""
        return tuple(self._groups)

    @property
    def host_names(self) -> tuple[str, ...]:
        """Every host that was mentioned."""
        return tuple(self._hosts)

    @property
    def mapping_set_twice(self) -> str:
        """A variable that one host gets as a mapping from two places; known after `build`."""
        return self._replaced.variable

    @property
    def has_group_variables(self) -> bool:
        """Whether any group sets a variable."""
        inline = map(attrgetter("variables"), self._groups.values())
        return any(itertools.chain(inline, map(attrgetter("groups"), self._layers)))

    def has_group(self, name: str) -> bool:
        """Returns whether a group was mentioned."""
        return name in self._groups

    def add_layer(self, layer: VarsLayer) -> None:
        """Adds the variables of one folder's group_vars and host_vars above all earlier ones.

        They override what inventories set, as in Ansible ("Understanding variable precedence").
        """
        self._layers.append(layer)

    def add_group(self, name: str, at: Origin) -> None:
        """Adds a group, if it is new."""
        if name not in self._groups:
            self._groups[name] = GroupEntry(at)

    def add_child(self, parent: str, child: str, at: Origin) -> None:
        """Makes the group `child` a child of the group `parent`. Both are groups already.

        Raises `InputError` if either is a built-in group that Ansible has no place for there.
        """
        if child == "all":
            raise at.error(
                "“all” cannot be in another group: every group is in it",
                f"remove it from “{parent}”",
            )
        if parent == "ungrouped" or (child == "ungrouped" and parent != "all"):
            # Ansible loses hosts of such groups, even from “all”.
            raise at.error(
                "“ungrouped” is for hosts in no group: it has no children and no parent but “all”",
                "use another name",
            )
        self._count_entry(at)
        self._groups[parent].children.setdefault(child, at)
        self._groups[child].parents[parent] = None

    def add_host(
        self, name: str, group: str, port: int | None, at: Origin, *, listed: bool = False
    ) -> None:
        """Puts a host into a group that exists, and adds the host if it is new.

        `port` is the one in its name, None without one; the first mention decides. `listed` says
        that a `host,host,` list names it and not a file: then a host that is in a group already
        stays only there. Raises `InputError` if there are too many hosts, or for a port that
        Ansible would ignore.
        """
        self._count_entry(at)
        host = self._hosts.get(name)
        if host is None:
            host = self._new_host(name, port, at, listed)
        elif port not in (None, host.port):
            raise _late_port(name, host, port, at)
        host.only_listed = host.only_listed and listed
        if not (listed and host.groups):
            host.groups[group] = None
            self._groups[group].hosts[name] = None

    def _new_host(self, name: str, port: int | None, at: Origin, listed: bool) -> HostEntry:
        """Adds an entry for a host that is mentioned for the first time.

        A port in its name becomes its variable ansible_port, of lower precedence than one that is
        set.
        """
        if len(self._hosts) >= MAX_HOSTS:
            raise at.error(f"more than {MAX_HOSTS} hosts", SPLIT_HINT)
        host = self._hosts[name] = HostEntry(at, port, listed)
        if port is not None:
            host.variables["ansible_port"], host.origins["ansible_port"] = port, str(at)
        return host

    def set_host_variable(self, name: str, variable: str, value: Any, at: Origin) -> None:
        """Sets a variable of a host; if a group of that name exists already, of the group.

        So does Ansible.
        """
        self._count_entry(at)
        if name in self._groups:
            self._set_on_groups.setdefault(name, {})[variable] = at
            self.set_group_variable(name, variable, value, at)
            return
        if at is not self._last_origin[1]:
            self._last_origin = str(at), at
        host = self._hosts[name]
        if isinstance(value, dict):
            self._replaced.note(host.variables, {variable: value})
        host.variables[variable], host.origins[variable] = value, self._last_origin[0]

    def set_group_variable(self, name: str, variable: str, value: Any, at: Origin) -> None:
        """Sets a variable of a group that exists; a later value replaces an earlier one whole.

        `ansible_group_priority` is no variable: it orders the groups of one depth. Raises
        `InputError` if that is not an integer. Ansible: "How to build your inventory: how variables
        are merged".
        """
        group = self._groups[name]
        if variable == "ansible_group_priority":
            group.priority = _parse_priority(value, at)
            return
        if isinstance(value, dict):
            self._replaced.note(group.variables, {variable: value})
        group.variables[variable], group.origins[variable] = value, str(at)

    def _count_entry(self, at: Origin) -> None:
        """Counts an entry; raises `InputError` above the limit."""
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            raise at.error(f"more than {MAX_ENTRIES} entries, with ranges expanded", SPLIT_HINT)

    def build(self, sources: Iterable[str], notes: tuple[str, ...] = ()) -> Inventory:
        """Returns the inventory, with what every host inherits and all hosts of each group.

        `sources` are what the command line names, `notes` those of the readers; notes about names
        of both a host and a group follow them. Nothing may be added afterwards. Raises `InputError`
        if there is no host, for a loop of groups, for groups that are nested too deeply or have too
        many hosts all together, and for a host with the name of a built-in group. Ansible:
        `reconcile_inventory` in inventory/data.py.
        """
        sources = tuple(sources)
        if not self._hosts:
            raise InputError(
                "no host in it", source=", ".join(sources), hint="name at least one, below “hosts:”"
            )
        self._check_built_in_names()
        shared = tuple(name for name in self._hosts if name in self._groups)
        self._connect_to_roots(shared)
        parents_first = self._parents_first()
        precedence = GroupPrecedence(self._groups, parents_first, self._layers, self._replaced)
        hosts = [self._build_host(name, host, precedence) for name, host in self._hosts.items()]
        members = self._members()
        return Inventory(
            sources=sources,
            hosts=tuple(hosts),
            groups=members,
            tree=self._tree(),
            notes=(*notes, *self._notes_about_shared_names(shared, members)),
        )

    def _check_built_in_names(self) -> None:
        """Raises `InputError` if a host has the name of a built-in group.

        In Ansible the pattern “all” then selects this one host, and every other host is lost.
        """
        for name in _BUILT_IN_GROUPS:
            if name in self._hosts:
                raise self._hosts[name].origin.error(
                    f"a host has the name “{name}”, which is the name of a built-in group",
                    "if its hosts are meant, write them in its place; otherwise give the host"
                    " another name",
                )

    def _notes_about_shared_names(
        self, shared: Sequence[str], members: Mapping[str, Sequence[str]]
    ) -> Iterator[str]:
        """Yields a note for each name that is both a host and a group, up to a limit."""
        for name in shared[:_MAX_NAMES_SHOWN]:
            yield self._note_about_shared_name(name, members[name])
        if len(shared) > _MAX_NAMES_SHOWN:
            yield f"{len(shared) - _MAX_NAMES_SHOWN} more names are both a host and a group"

    def _note_about_shared_name(self, name: str, members: Sequence[str]) -> str:
        """Returns the note about one name that is both a host and a group with these hosts.

        It says which of the two a pattern means, what is set for the group although it is written
        for the host, and how to name the group if only the host was meant to be in another group.
        """
        word, at = shorten(name), self._hosts[name].origin
        note = (
            f"“{word}” is a host ({at}) and a group ({self._groups[name].origin}): "
            f"as in Ansible, the pattern “{word}” selects the host alone"
        )
        moved = self._set_on_groups.get(name, {})
        if moved and tuple(members) != (name,):
            variable, written = next(iter(moved.items()))
            more = and_more(len(moved) - 1)
            note += (
                f"; {shorten(variable)} ({written}){more}, written for the host, is set for the"
                " group"
            )
        if name not in members:
            note += f"; to name the group in {at}, write it below “children”"
        return note

    def _connect_to_roots(self, shared: Iterable[str]) -> None:
        """Makes every group without a parent a child of `all`.

        A name of both a host and a group in no other group becomes a child of `ungrouped`: Ansible
        means to put the host there, and finds the group first.
        """
        for name, group in self._groups.items():
            if name != "all" and not group.parents:
                group.parents["all"] = None
                self._groups["all"].children.setdefault(name, group.origin)
        for name in shared:
            host = self._hosts[name]
            if set(host.groups) <= {"all"}:
                self._groups["ungrouped"].children.setdefault(name, host.origin)
                self._groups[name].parents["ungrouped"] = None

    def _parents_first(self) -> tuple[str, ...]:
        """Returns every group after its parents; raises `InputError` for a loop."""
        graph = {name: group.parents for name, group in self._groups.items()}
        try:
            return tuple(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as e:
            raise self._loop_error(e.args[1]) from e

    def _loop_error(self, loop: list[str]) -> InputError:
        """Returns the error about groups that contain one another, at the first link."""
        at = self._groups[loop[0]].children[loop[1]]
        names = list(map(shorten, loop[:_MAX_LOOP_SHOWN]))
        if len(loop) > _MAX_LOOP_SHOWN:
            names.append("…")
        return at.error(
            f"a loop of groups: {' > '.join(names)}", "take one of them out of the other"
        )

    def _build_host(self, name: str, host: HostEntry, precedence: GroupPrecedence) -> Host:
        """Returns one host with everything it inherits."""
        self._settle_ungrouped(name, host, precedence)
        if host.is_implicit_localhost(name):
            host.variables["ansible_connection"] = "local"
            host.origins["ansible_connection"] = str(host.origin)
        groups, inherited, inherited_origins = precedence.inherited(tuple(host.groups))
        own, own_origins = host.variables, host.origins
        for layer in self._layers:
            if name in layer.hosts:
                more, more_origins = layer.hosts[name]
                self._replaced.note(own, more)
                own, own_origins = {**own, **more}, {**own_origins, **more_origins}
        self._replaced.note(inherited, own)
        return Host(
            name=name,
            groups=groups,
            variables=overlay(own, inherited),
            variable_origins=overlay(own_origins, inherited_origins),
            origin=str(host.origin),
        )

    def _settle_ungrouped(self, name: str, host: HostEntry, precedence: GroupPrecedence) -> None:
        """Puts a host into `ungrouped` if it is in no other group, and takes it out otherwise.

        A name of both a host and a group that is a child of `ungrouped` is there already.
        """
        ungrouped = self._groups["ungrouped"]
        if precedence.with_ancestors(tuple(host.groups)).difference(_BUILT_IN_GROUPS):
            host.groups.pop("ungrouped", None)
            ungrouped.hosts.pop(name, None)
        elif name not in ungrouped.children:
            host.groups["ungrouped"] = None
            ungrouped.hosts[name] = None

    def _tree(self) -> dict[str, Group]:
        """Returns every group with the hosts and the groups that are directly in it."""
        return {
            name: Group(hosts=tuple(group.hosts), children=tuple(group.children))
            for name, group in self._groups.items()
        }

    def _members(self) -> dict[str, tuple[str, ...]]:
        """Returns all hosts of every group; raises `InputError` if that is too many together.

        A group's own hosts come first, then those of the groups in it, level by level, as in
        Ansible. Those of `all` are in the order of the file: Ansible's order depends on nesting.
        """
        members, count = dict[str, tuple[str, ...]](), 0
        for name in self._groups:
            members[name] = self._members_of(name)
            count += len(members[name])
            if count > MAX_ENTRIES:
                raise self._groups[name].origin.error(
                    f"groups of more than {MAX_ENTRIES} hosts, all together", SPLIT_HINT
                )
        members["all"] = tuple(self._hosts)
        return members

    def _members_of(self, name: str) -> tuple[str, ...]:
        """Returns the hosts of one group and of every group in it, each once."""
        hosts, seen, queue = dict[str, None](), {name}, deque([name])
        while queue:
            group = self._groups[queue.popleft()]
            hosts.update(group.hosts)
            fresh = [child for child in group.children if child not in seen]
            seen.update(fresh)
            queue.extend(fresh)
        return tuple(hosts)


def _late_port(name: str, host: HostEntry, port: int, at: Origin) -> InputError:
    """Returns the error about a port that Ansible drops: it takes the one of the first mention."""
    first = f"with port {host.port}" if host.port else "without one"
    return at.error(
        f"the port {port} of “{shorten(name)}” comes too late: it is first mentioned, {first},"
        f" in {host.origin}",
        f"write ansible_port: {port} among the variables of “{shorten(name)}”, once",
    )


def _parse_priority(value: Any, at: Origin) -> int:
    """Returns the value of ansible_group_priority; raises `InputError`."""
    try:
        return int(value)
    except (TypeError, ValueError) as e:
        raise at.error("ansible_group_priority is not an integer", "write for example 10") from e
