"""Reads YAML inventories: the tree of groups in a parsed document. No I/O.

Rules: what Ansible warns about and skips (keys that it does not know, groups that are scalars) is
an error here: with it a host or its address would silently be missing. A group at the top may have
the name of a section (“hosts”), as in Ansible.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.document import Document
from fleetaudit.text.sanitize import shorten

from .builder import InventoryBuilder
from .entries import Origin
from .host_names import check_group_name, parse_host_name_at
from .listing import conversion_hint

_SECTIONS = ("hosts", "children", "vars")
_VARIABLE = re.compile(r"[^\W\d]\w*")
_SEPARATOR = re.compile(r"[\s,]")
_SHAPE = "a group looks like this:  web: {hosts: {web1: , web2: }, vars: {ansible_user: audit}}"
_SECTION_HINTS = {
    "hosts": "one host a line, without a dash and with a colon at its end:  web1:",
    "children": "one group a line, without a dash and with a colon at its end:  web:",
    "vars": "one variable a line, without a dash:  ansible_user: audit",
}
_ONLY_SECTIONS = "a group has hosts, children and vars, and nothing else"
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "nothing"),
    (bool, "yes or no"),
    ((int, float), "a number"),
    (str, "text"),
    (list, "a list"),
    (Mapping, "a mapping"),
)
"""Types of values and their names in messages, the first that fits."""

_Places = Mapping[Any, tuple[int, int, int, int]]


def read_yaml(document: Document, builder: InventoryBuilder) -> None:
    """Adds every group and host of `document` to `builder`.

    The document is a mapping of groups; each has `hosts` (host names with ranges and ports, and
    below each its variables), `children` (groups, of the same form) and `vars`, or nothing. Raises
    `InputError` at the place of whatever does not belong there, and for the configuration of an
    inventory plugin, with the command that converts it. Ansible: "How to build your inventory", and
    plugins/inventory/yaml.py.
    """
    top = document.value
    if not isinstance(top, Mapping):
        raise document.error(f"expected a mapping of groups, found {_kind(top)}", hint=_SHAPE)
    if top.get("plugin"):
        raise document.error(
            "the configuration of an inventory plugin, which is not run here",
            ["plugin"],
            key=True,
            hint=conversion_hint(document.source),
        )
    reader = _Reader(document, builder)
    for name, body in top.items():
        if name in _SECTIONS:
            reader.check_section_name(name, body)
        reader.read_group([name], name, body)


class _Reader:
    """Reads the groups of one document. A `path` is the keys from the top to a value."""

    def __init__(self, document: Document, builder: InventoryBuilder) -> None:
        self._document, self._builder = document, builder
        self._section_readers = {
            "hosts": self._read_hosts,
            "children": self._read_children,
            "vars": self._read_variables,
        }

    def check_section_name(self, name: str, body: Any) -> None:
        """Raises `InputError` for “hosts”, “vars” or “children” at the top that is not a group.

        Ansible takes each for a group and drops what is not part of a group: the hosts below a
        forgotten “all:”.
        """
        dropped = _dropped_part(body)
        if not dropped:
            return
        raise self._key_error(
            f"“{name}” is at the top, where groups are named, and Ansible would drop {dropped}",
            [name],
            f"indent it below the line “all:”, or below the group whose {name} these are; a"
            f" group with the name “{name}” has hosts, children and vars, and nothing else",
        )

    def read_group(self, path: list[Any], name: Any, body: Any) -> None:
        """Adds a group with its hosts, children and variables, in the order of the file.

        Raises `InputError` for another key: Ansible warns about it and drops what is below.
        """
        at = self._origin(path)
        self._check_group(path, name, body, at)
        self._builder.add_group(name, at)
        for key, section in (body or {}).items():
            where = [*path, key]
            if key not in _SECTIONS:
                raise self._unknown_key(where, name, key, section)
            entries = self._entries_of(section, key, name, where)
            self._section_readers[key](where, name, entries)

    def _check_group(self, path: list[Any], name: Any, body: Any, at: Origin) -> None:
        """Raises `InputError` unless a group has a valid name and a mapping or nothing as body.

        Blanks and commas in a name mean that YAML folded several lines into one.
        """
        self._check_text(path, name, "group")
        if not isinstance(body, Mapping | None):
            raise self._document.error(
                f"expected the group “{shorten(name)}”, found {_kind(body)}", path, hint=_SHAPE
            )
        if _SEPARATOR.search(name):
            raise self._key_error(
                f"“{shorten(' '.join(name.split()))}” is not a group name: several names in one,"
                " folded from several lines?",
                path,
                _SECTION_HINTS["children"],
            )
        check_group_name(name, at)

    def _entries_of(
        self, section: Any, key: str, group: str, where: list[Any]
    ) -> Mapping[Any, Any]:
        """Returns the entries of a section. A lone name is a mapping with nothing in it.

        So it is in Ansible; a lone variable would be nothing.
        """
        if isinstance(section, str) and key != "vars":
            return {section: None}
        if section is None:
            return {}
        if not isinstance(section, Mapping):
            raise self._document.error(
                f"expected the {key} of “{shorten(group)}” as a mapping, found {_kind(section)}",
                where,
                hint=_SECTION_HINTS[key],
            )
        return section

    def _read_hosts(self, where: list[Any], group: str, entries: Mapping[Any, Any]) -> None:
        """Adds the hosts of a group."""
        places = self._document.written(entries)
        for host, variables in entries.items():
            path = [*where, host]
            self._read_host(path, group, host, variables, self._origin_in(places, path))

    def _read_children(self, where: list[Any], group: str, entries: Mapping[Any, Any]) -> None:
        """Adds the groups in a group."""
        for child, body in entries.items():
            path = [*where, child]
            self.read_group(path, child, body)
            self._builder.add_child(group, child, self._origin(path))

    def _read_variables(self, where: list[Any], group: str, entries: Mapping[Any, Any]) -> None:
        """Sets the variables of a group."""
        for variable, value in entries.items():
            path = [*where, variable]
            self._check_text(path, variable, "variable")
            self._builder.set_group_variable(group, variable, value, self._origin(path))

    def _read_host(
        self, path: list[Any], group: str, text: Any, variables: Any, at: Origin
    ) -> None:
        """Adds the hosts that one name stands for, each with the same variables.

        Nothing or an empty text after the name means no variables. Raises `InputError` for an
        invalid name and for anything else than a mapping.
        """
        if not isinstance(text, str):
            self._check_text(path, text, "host")
        names, port = parse_host_name_at(text, at)
        variables = self._variables_of_host(path, text, variables)
        places = self._document.written(variables)
        entries = [
            (name, value, self._origin_in(places, [*path, name]))
            for name, value in variables.items()
        ]
        for host in names:
            self._builder.add_host(host, group, port, at)
            for variable, value, origin in entries:
                self._builder.set_host_variable(host, variable, value, origin)

    def _variables_of_host(self, path: list[Any], text: str, body: Any) -> Mapping[Any, Any]:
        """Returns the variables below the name of a host.

        Raises `InputError` for anything else than a mapping, nothing or an empty text.
        """
        if body in (None, ""):
            return {}
        if not isinstance(body, Mapping):
            raise self._document.error(
                f"expected the variables of the host “{shorten(text)}”, found {_kind(body)}",
                path,
                hint=f"write them as  {shorten(text)}: {{ansible_host: 192.0.2.1}}",
            )
        self._check_is_host(path, text, body)
        return body

    def _check_is_host(self, path: list[Any], text: str, variables: Mapping[Any, Any]) -> None:
        """Raises `InputError` if a host's variables look like a group's hosts.

        The line “children:” is forgotten there.
        """
        for variable, value in variables.items():
            self._check_text([*path, variable], variable, "variable")
            could_be_group = value is None or isinstance(value, Mapping)
            if could_be_group and _looks_like_group_entry(variable):
                raise self._key_error(
                    f"“{shorten(text)}” is written as a host, and “{shorten(variable)}” in it as if"
                    " it were a group",
                    [*path, variable],
                    f"if “{shorten(text)}” is a group, put it below “children:” instead of"
                    " “hosts:”",
                )

    def _check_text(self, path: list[Any], name: Any, what: str) -> None:
        """Raises `InputError` for the name of a group, host or variable that is not text."""
        if name is None or name == "":
            raise self._key_error(f"a {what} without a name", path, "write its name")
        if not isinstance(name, str):
            raise self._key_error(
                f"a {what}'s name that YAML reads as {_kind(name)}",
                path,
                "put the name in quotes",
            )

    def _unknown_key(self, path: list[Any], group: str, key: Any, value: Any) -> InputError:
        """Returns the error about an unknown key of a group, with what may be meant.

        It can be a misspelt section, a group without “children:” above it, a host or a variable.
        """
        message = f"unknown key “{shorten(key)}” in the group “{shorten(group)}”"
        near = difflib.get_close_matches(str(key), _SECTIONS, 1)
        if near:
            return self._key_error(f"{message}; did you mean “{near[0]}”?", path, _ONLY_SECTIONS)
        if isinstance(value, Mapping) and not set(_SECTIONS).isdisjoint(value):
            hint = f"if “{shorten(key)}” is a group, put it below “children:”"
        else:
            hint = (
                "a host belongs below “hosts:”, a group below “children:”, a variable below"
                f" “vars:” of “{shorten(group)}”"
            )
        return self._key_error(message, path, hint)

    def _key_error(self, message: str, path: list[Any], hint: str) -> InputError:
        """Returns an error to raise about the key that ends `path`."""
        return self._document.error(message, path, key=True, hint=hint)

    def _origin_in(self, places: _Places, path: list[Any]) -> Origin:
        """Returns where the key that ends `path` is written.

        `places` are those of the mapping around it, which has most keys: only merged ones are
        looked up from the top.
        """
        place = places.get(path[-1])
        if place is None:
            return self._origin(path)
        return Origin(self._document.source, place[0], place[1])

    def _origin(self, path: list[Any]) -> Origin:
        """Returns where the key that ends `path` is written, looked up from the top."""
        line, column = self._document.key_at(path)
        return Origin(self._document.source, line, column)


def _dropped_part(body: Any) -> str:
    """Returns what Ansible drops of the body of a group, "" if it drops nothing."""
    if body is None:
        return ""
    if not isinstance(body, Mapping):
        return f"{_kind(body)} in it"
    return next((f"“{shorten(key)}”" for key in body if key not in _SECTIONS), "")


def _looks_like_group_entry(name: str) -> bool:
    """Returns whether a name is a section of a group, or cannot be a variable."""
    return name in _SECTIONS or not _VARIABLE.fullmatch(name)


def _kind(value: Any) -> str:
    """Returns what a value is, for a message.

    A message never repeats the value itself: it may be a secret.
    """
    names = (name for kind, name in _KINDS if isinstance(value, kind))
    return next(names, "a date or binary data")
