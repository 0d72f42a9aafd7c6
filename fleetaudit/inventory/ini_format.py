"""Reads INI inventories: sections of hosts, children and variables. No I/O.

Rules: the language is Ansible's own, not configparser's. A value beside a host is split as a shell
would, one below `[web:vars]` is the rest of its line, comment and all; ini_values.py types either.
No message repeats a value.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from fleetaudit.errors import InputError
from fleetaudit.text.phrases import DUPLICATE_KEY_HINT, describe_duplicate_key
from fleetaudit.text.sanitize import shorten

from .builder import InventoryBuilder
from .entries import Origin
from .host_names import check_group_name, parse_host_name_at
from .ini_values import parse_value, split_words

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
_CHILD = re.compile(r"([^:\]\s]+)\s*(?:#.*)?")
_COMMENT_MARKS = "#;"


class _PendingGroup(NamedTuple):
    """A group that is named before its own section: how, where, and the groups that it is in."""

    kind: Literal["children", "vars"]
    line: int
    parents: list[tuple[str, Origin]]


def is_section(line: str) -> bool:
    """Returns whether a stripped line begins a section, and so whether its file is INI.

    A YAML list such as `[a, b]` does not count: a section's name has no blanks.
    """
    return _SECTION.fullmatch(line) is not None


def read_ini(text: str, source: str, builder: InventoryBuilder) -> None:
    """Adds every host and group of `text` to `builder`.

    `source` is the name of the file in origins and messages. Lines are `[web]`, `[web:vars]` or
    `[prod:children]`, hosts with their variables (`web[1:3] ansible_port=22`), variables of a group
    (`name = value`) and names of child groups; “#” and “;” begin a comment line. A group may be a
    child or have variables before its own section begins. Raises `InputError` with the line of what
    is wrong, for an empty file too. Ansible: "How to build your inventory: inventory basics", and
    plugins/inventory/ini.py.
    """
    reader = _Reader(source, builder)
    # The lines are those of str.splitlines, as Ansible counts them.
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line and line[0] not in _COMMENT_MARKS:
            reader.read_line(line, Origin(source, number))
    reader.finish()


class _Reader:
    """Reads the lines of one file, and knows the section that they are in."""

    def __init__(self, source: str, builder: InventoryBuilder) -> None:
        self._source, self._builder = source, builder
        self._group, self._read_entry = "ungrouped", self._read_host
        self._pending = dict[str, _PendingGroup]()
        self._lines_of_variables = dict[str, int]()
        self._is_empty = True
        self._entry_readers = {
            "hosts": self._read_host,
            "vars": self._read_variable,
            "children": self._read_child,
        }

    def read_line(self, line: str, at: Origin) -> None:
        """Reads one line that is not blank and not a comment.

        It begins a section, or is an entry of the present one; the first lines of a file are
        ungrouped hosts.
        """
        self._is_empty = False
        if match := _SECTION.fullmatch(line):
            self._begin_section(match[1], match[2] or "hosts", at)
        elif line[0] == "[" and line[-1] == "]":
            raise at.error(
                "not a valid section", "a section is written [web], [web:vars] or [prod:children]"
            )
        elif line[0] == "[" and "]" not in line:
            raise at.error("a section without its closing bracket", f"write  {shorten(line)}]")
        else:
            self._read_entry(line, at)

    def finish(self) -> None:
        """Raises `InputError` for an empty file, and for a group without a section.

        A group may be named before its section, in a [parent:children] or its own [name:vars].
        """
        if self._is_empty:
            raise InputError("empty: only blank lines and comments", source=self._source)
        for name, pending in self._pending.items():
            raise self._no_section(shorten(name), pending)

    def _no_section(self, name: str, pending: _PendingGroup) -> InputError:
        """Returns the error about a group that is named, and whose section never comes."""
        at = Origin(self._source, pending.line)
        if pending.kind == "vars":
            return at.error(
                f"variables of the group “{name}”, which has no section",
                f"add a section [{name}]",
            )
        parent = shorten(pending.parents[-1][0])
        return at.error(
            f"the group “{name}”, a child of “{parent}”, has no section",
            f"add a section [{name}], empty if need be, or put hosts into [{parent}]",
        )

    def _begin_section(self, group: str, kind: str, at: Origin) -> None:
        """Begins the section of a group; `kind` says what its lines are.

        A group that was only named as a child before becomes one now: Ansible waits for its
        section, too.
        """
        if kind not in self._entry_readers:
            raise at.error(
                f"a section of an unknown kind, “{kind}”",
                "there are [web], [web:vars] and [web:children]",
            )
        check_group_name(group, at)
        self._group, self._read_entry = group, self._entry_readers[kind]
        self._lines_of_variables = {}
        if kind == "vars":
            self._expect_section_of(group, at)
        self._builder.add_group(group, at)
        if kind != "vars" and group in self._pending:
            for parent, where in self._pending.pop(group).parents:
                self._builder.add_child(parent, group, where)

    def _expect_section_of(self, group: str, at: Origin) -> None:
        """Remembers that a group has variables, if it has no section so far."""
        if not self._builder.has_group(group):
            self._pending.setdefault(group, _PendingGroup("vars", at.line, []))

    def _read_host(self, line: str, at: Origin) -> None:
        """Reads a line with a host and its variables.

        The host is the first word, which may stand for several hosts; each gets every variable.
        """
        pattern, *words = split_words(line, at)
        names, port = parse_host_name_at(pattern, at)
        if pattern == "---":
            raise at.error(
                "“---” is not a host: is this YAML?",
                "give a YAML inventory a name that ends in .yml",
            )
        variables = self._variables_of_host(pattern, words, at)
        for host in names:
            self._builder.add_host(host, self._group, port, at)
            for name, value in variables.items():
                self._builder.set_host_variable(host, name, value, at)

    def _variables_of_host(self, pattern: str, words: list[str], at: Origin) -> dict[str, Any]:
        """Returns the variables in the words after a host's name."""
        variables = dict[str, Any]()
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                raise at.error(
                    f"a word without “=” after the host “{shorten(pattern)}”",
                    "one host a line; after it only variables, name=value, quoted where a value has"
                    " blanks",
                )
            _check_new(name, at.line if name in variables else 0, at)
            variables[name] = parse_value(value, name, at)
        return variables

    def _read_variable(self, line: str, at: Origin) -> None:
        """Reads a line with a variable of a group."""
        name, equals, value = map(str.strip, line.partition("="))
        if not equals:
            raise at.error(
                f"a line without “=” among the variables of “{self._group}”", "write  name = value"
            )
        _check_new(name, self._lines_of_variables.get(name, 0), at)
        self._lines_of_variables[name] = at.line
        self._builder.set_group_variable(self._group, name, parse_value(value, name, at), at)

    def _read_child(self, line: str, at: Origin) -> None:
        """Reads a line with the name of a child group.

        Its own section may come later: then it becomes a child there.
        """
        match = _CHILD.fullmatch(line)
        if not match:
            raise at.error(
                f"not a group's name among the children of “{self._group}”", "one name a line"
            )
        child = match[1]
        if self._builder.has_group(child):
            self._builder.add_child(self._group, child, at)
            return
        pending = self._pending.setdefault(child, _PendingGroup("children", at.line, []))
        pending.parents.append((self._group, at))


def _check_new(name: str, first_line: int, at: Origin) -> None:
    """Raises `InputError` for a variable without a name, and for one that was set before.

    `first_line` is where the same host or section set it, 0 if it did not. Ansible takes the last
    value without a warning; it may be meant for another host or group.
    """
    if not name:
        raise at.error("a variable without a name", "write  name=value")
    if first_line:
        raise at.error(describe_duplicate_key(shorten(name), first_line), DUPLICATE_KEY_HINT)
