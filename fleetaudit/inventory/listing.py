"""Reads what `ansible-inventory --list` or an inventory program prints, as JSON or YAML. No I/O.

Rules: names are taken as they are, without ranges and ports. What Ansible guesses (a group with
neither hosts nor children nor vars is a host) or drops (a host that only has variables) is an error
here.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.document import Document
from fleetaudit.text.sanitize import shorten

from .builder import InventoryBuilder
from .entries import Origin
from .host_names import InvalidNameError, check_host_name
from .variable_names import check_variable_name

META = "_meta"
_SECTIONS: dict[str, tuple[type, str]] = {
    "hosts": (list, "a list of names"),
    "children": (list, "a list of names"),
    "vars": (dict, "a mapping"),
}
"""What a group of a listing may have: the type of each section, and its name in messages."""
HostVariables = Callable[[str], tuple[Mapping[Any, Any], Origin]]
"""Returns the variables of one host, and where they come from."""


def conversion_hint(source: str) -> str:
    """Returns the hint with the command that converts `source` to a listing, which is read.

    The listing goes to a folder of its own: the variables of group_vars are in it already.
    """
    command = f"mkdir -p new && ansible-inventory -i {shlex.quote(source)} --list > new/hosts.json"
    return f"convert it:  {command}  and name new/hosts.json"


def is_listing(top: Any, *, json: bool) -> bool:
    """Returns whether a parsed file is such a listing, and not a tree of groups.

    `top` is the value of the whole file, `json` says that it was read as JSON. `_meta` marks a
    listing. So does a list of hosts in JSON; in YAML that is rather a tree with a mistake in it.
    """
    if not isinstance(top, Mapping):
        return False
    return META in top or (json and any(map(_has_list_of_hosts, top.values())))


def _has_list_of_hosts(body: Any) -> bool:
    """Returns whether the body of a group is a list of hosts, or has one."""
    if isinstance(body, Mapping):
        return isinstance(body.get("hosts"), list)
    return isinstance(body, list)


def read_listing(
    document: Document, builder: InventoryBuilder, *, host_variables: HostVariables | None = None
) -> None:
    """Adds every group and host of `document` to `builder`.

    The document is a mapping of groups, each a list of hosts or a mapping with `hosts`, `children`
    and `vars`; `_meta` has the variables of the hosts, `{"hostvars": {HOST: {NAME: VALUE}}}`.
    `host_variables` gives the variables of each host if the listing has no `_meta`, as older
    programs do; without it such a listing is an error. Raises `InputError` with its line for what
    does not belong there. Ansible: "Developing dynamic inventory: inventory script conventions",
    and plugins/inventory/script.py.
    """
    top = document.value
    if not isinstance(top, Mapping):
        raise document.error(
            "not a mapping of groups",
            hint='a listing looks like this:  {"web": {"hosts": ["web1"]}}',
        )
    reader = _Reader(document, builder)
    for name, body in top.items():
        if name != META:
            reader.read_group(name, body)
    if META in top:
        reader.read_meta(top[META])
    elif host_variables is not None:
        reader.read_variables_from(host_variables)
    else:
        raise document.error(
            f"a listing without “{META}”: the variables of its hosts are missing",
            hint=(
                "save what  ansible-inventory -i SOURCE --list  prints, or name the program itself"
            ),
        )


class _Reader:
    """Reads the groups of one listing, and remembers the hosts in them."""

    def __init__(self, document: Document, builder: InventoryBuilder) -> None:
        self._document, self._builder = document, builder
        self._hosts = dict[str, None]()

    def read_group(self, name: Any, body: Any) -> None:
        """Adds a group: a list of hosts, or a mapping of sections."""
        path = [name]
        self._check_name(name, "group", path)
        if isinstance(body, list):
            self._builder.add_group(name, self._origin(path))
            self._read_hosts(name, body, path)
            return
        self._check_sections(name, body, path)
        self._builder.add_group(name, self._origin(path))
        self._read_hosts(name, body.get("hosts", []), [*path, "hosts"])
        self._read_variables(name, body.get("vars", {}), [*path, "vars"])
        self._read_children(name, body.get("children", []), [*path, "children"])

    def _check_sections(self, name: str, body: Any, path: list[Any]) -> None:
        """Raises `InputError` unless the body of a group is a mapping of its sections.

        A group with none of them is a host of that name to Ansible.
        """
        if not isinstance(body, Mapping) or set(_SECTIONS).isdisjoint(body):
            raise self._document.error(
                f"the group “{shorten(name)}” has neither hosts nor children nor vars",
                path,
                hint=(
                    "Ansible takes such a group for a host of that name; an empty one is written"
                    ' {"hosts": []}'
                ),
            )
        self._check_types(name, body, path)
        for key in body:
            if key not in _SECTIONS:
                raise self._document.error(
                    f"unknown key “{shorten(key)}” in the group “{shorten(name)}”",
                    [*path, key],
                    key=True,
                    hint="a group of a listing has hosts, children and vars, and nothing else",
                )

    def _check_types(self, name: str, body: Mapping[Any, Any], path: list[Any]) -> None:
        """Raises `InputError` unless hosts and children are lists and vars are a mapping."""
        for section, (kind, expected) in _SECTIONS.items():
            if section in body and not isinstance(body[section], kind):
                raise self._document.error(
                    f"the {section} of “{shorten(name)}” are not {expected}", [*path, section]
                )

    def _read_hosts(self, group: str, hosts: list[Any], path: list[Any]) -> None:
        """Adds the hosts of a group."""
        for index, host in enumerate(hosts):
            place = [*path, index]
            self._check_name(host, "host", place)
            self._hosts[host] = None
            self._builder.add_host(host, group, None, self._origin(place))

    def _read_variables(self, group: str, variables: Mapping[Any, Any], path: list[Any]) -> None:
        """Sets the variables of a group."""
        for variable, value in variables.items():
            place = [*path, variable]
            check_variable_name(variable, self._document, place)
            self._builder.set_group_variable(group, variable, value, self._origin(place))

    def _read_children(self, group: str, children: list[Any], path: list[Any]) -> None:
        """Adds the groups in a group."""
        for index, child in enumerate(children):
            place = [*path, index]
            self._check_name(child, "group", place)
            self._builder.add_group(child, self._origin(place))
            self._builder.add_child(group, child, self._origin(place))

    def read_variables_from(self, host_variables: HostVariables) -> None:
        """Sets the variables that `host_variables` gives for each host."""
        for host in self._hosts:
            variables, origin = host_variables(host)
            for variable, value in variables.items():
                self._builder.set_host_variable(host, variable, value, origin)

    def read_meta(self, meta: Any) -> None:
        """Sets the variables of all hosts from `_meta`.

        Raises `InputError` for a host that is in no group: Ansible would drop it.
        """
        match meta:
            case {"hostvars": Mapping() as found}:
                for host, variables in found.items():
                    self._read_host_variables(host, variables, [META, "hostvars", host])
            case _:
                raise self._document.error("it has no mapping “hostvars”", [META], key=True)

    def _read_host_variables(self, host: Any, variables: Any, path: list[Any]) -> None:
        """Sets the variables of one host; raises `InputError` unless they are a mapping."""
        if host not in self._hosts:
            raise self._document.error(
                f"“{shorten(host)}” has variables and is in no group",
                path,
                key=True,
                hint="Ansible would drop it; put it into the hosts of a group, or remove it",
            )
        if not isinstance(variables, Mapping):
            raise self._document.error(
                f"the variables of “{shorten(host)}” are not a mapping", path
            )
        for variable, value in variables.items():
            place = [*path, variable]
            check_variable_name(variable, self._document, place)
            self._builder.set_host_variable(host, variable, value, self._origin(place))

    def _check_name(self, name: Any, what: str, path: list[Any]) -> None:
        """Raises `InputError` for the name of a group or host that is not text or cannot be one.

        Ranges and ports are not expanded: `ansible-inventory` has done that already.
        """
        if not isinstance(name, str):
            raise self._document.error(
                f"a {what}'s name that is not text", path, hint="put it in quotes"
            )
        try:
            check_host_name(name)
        except InvalidNameError as e:
            raise self._document.error(e.message, path, hint=e.hint) from e

    def _origin(self, path: list[Any]) -> Origin:
        """Returns where the key or item that ends `path` is written."""
        return Origin(self._document.source, *self._document.key_at(path))


def variables_of(document: Document) -> tuple[Mapping[Any, Any], Origin]:
    """Returns what a program printed for `--host NAME`, and where it is from.

    Raises `InputError` unless it is a mapping.
    """
    if not isinstance(document.value, Mapping):
        raise InputError("printed no mapping of variables", source=document.source)
    return document.value, Origin(document.source)
