"""YAML inventories: the tree of groups in a parsed document goes into a draft. No I/O.

Rules: what Ansible warns about and skips (keys it does not know, groups that are scalars) is an
error here: with it a host or its address would silently be missing. A group at the top may have the
name of a section (“hosts”), as in Ansible.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.sanitize import shorten
from fleetaudit.text.yaml_lines import Document

from .builder import InventoryBuilder, Origin
from .host_names import InvalidNameError, check_printable, parse_host_name
from .listing import conversion_hint

_SECTIONS = ("hosts", "children", "vars")
_VARIABLE = re.compile(r"[^\W\d]\w*")
_SHAPE = "a group looks like this:  web: {hosts: {web1: , web2: }, vars: {ansible_user: audit}}"


def read_yaml(document: Document, draft: InventoryBuilder) -> None:
    """Puts every group and host of `document` into `draft`; raises `InputError` at what does not
    belong there.
    """
    top = document.value
    if not isinstance(top, Mapping):
        raise document.error(f"{_kind(top)} where a mapping of groups belongs", hint=_SHAPE)
    if top.get("plugin"):
        raise document.error(
            "the configuration of an inventory plugin, which is not run here",
            ["plugin"],
            key=True,
            hint=conversion_hint(document.source),
        )
    reader = _Reader(document, draft)
    for name, body in top.items():
        if name in _SECTIONS:
            reader.refuse_forgotten_group(name, body)
        reader.group([name], name, body)


class _Reader:
    def __init__(self, document: Document, draft: InventoryBuilder) -> None:
        self._document, self._draft = document, draft

    def refuse_forgotten_group(self, name: str, body: Any) -> None:
        """Refuses “hosts”, “vars” or “children” at the top, unless it is a group of that name.

        Ansible takes each for a group and drops what is not part of a group: the hosts below a
        forgotten “all:”.
        """
        strange = (
            [key for key in body if key not in _SECTIONS] if isinstance(body, Mapping) else [body]
        )
        if body is None or not strange:
            return
        lost = f"“{shorten(strange[0])}”" if isinstance(body, Mapping) else f"{_kind(body)} in it"
        raise self._document.error(
            f"“{name}” is at the top, where groups are named, and Ansible would drop {lost}",
            [name],
            key=True,
            hint=(
                f"indent it below the line “all:”, or below the group whose {name} these are; a"
                f" group with the name “{name}” has hosts, children and vars, and nothing else"
            ),
        )

    def group(self, path: list[Any], name: Any, body: Any) -> None:
        if not isinstance(name, str) or not name:
            raise self._no_text(path, name, "group")
        if body is not None and not isinstance(body, Mapping):
            raise self._document.error(
                f"{_kind(body)} where the group “{shorten(name)}” belongs", path, hint=_SHAPE
            )
        if any(c.isspace() or c == "," for c in name):
            raise self._document.error(
                f"“{shorten(' '.join(name.split()))}” is no group name: several names in one, folded"
                " from several lines?",
                path,
                key=True,
                hint=_hint_for("children"),
            )
        try:
            check_printable(name)
        except InvalidNameError as e:
            raise self._document.error(e.message, path, key=True, hint=e.hint) from e
        self._draft.group(name, self._origin(path))
        for key, section in (body or {}).items():
            where = [*path, key]
            if key not in _SECTIONS:
                raise self._unknown(where, name, key, section)
            # A lone name stands for a mapping with nothing in it, as in Ansible; a lone variable
            # would be nothing.
            entries = {section: None} if isinstance(section, str) and key != "vars" else section
            if entries is None:
                continue
            if not isinstance(entries, Mapping):
                raise self._document.error(
                    f"{_kind(entries)} where the {shorten(key)} of “{shorten(name)}” belong, as a"
                    " mapping",
                    where,
                    hint=_hint_for(key),
                )
            if key == "hosts":
                written = self._document.written(entries)
                for host, variables in entries.items():
                    at = self._origin_in(written, [*where, host])
                    self._host([*where, host], name, host, variables, at)
            elif key == "children":
                for child, inner in entries.items():
                    self.group([*where, child], child, inner)
                    self._draft.child(name, child, self._origin([*where, child]))
            else:
                for variable, value in entries.items():
                    self._check_variable([*where, variable], variable)
                    self._draft.set_group(name, variable, value, self._origin([*where, variable]))

    def _host(self, path: list[Any], group: str, text: Any, variables: Any, at: Origin) -> None:
        if not isinstance(text, str):
            raise self._no_text(path, text, "host")
        try:
            names, port = parse_host_name(text)
        except InvalidNameError as e:
            raise at.error(e.message, e.hint) from e
        if variables is None or variables == "":
            variables = {}
        if not isinstance(variables, Mapping):
            raise self._document.error(
                f"{_kind(variables)} where the variables of the host “{shorten(text)}” belong",
                path,
                hint=f"write them as  {shorten(text)}: {{ansible_host: 192.0.2.1}}",
            )
        self._refuse_groups(path, text, variables)
        written = self._document.written(variables)
        places = [
            (v, value, self._origin_in(written, [*path, v])) for v, value in variables.items()
        ]
        for name in names:
            self._draft.host(name, group, port, at)
            for variable, value, origin in places:
                self._draft.set_host(name, variable, value, origin)

    def _refuse_groups(self, path: list[Any], text: str, variables: Mapping[Any, Any]) -> None:
        """Refuses a host whose variables look like a group's hosts: a forgotten “children:”."""
        for variable, value in variables.items():
            self._check_variable([*path, variable], variable)
            is_body = value is None or isinstance(value, Mapping)
            if is_body and (variable in _SECTIONS or not _VARIABLE.fullmatch(variable)):
                raise self._document.error(
                    f"“{shorten(text)}” is written as a host, and “{shorten(variable)}” in it as if it"
                    " were a group",
                    [*path, variable],
                    key=True,
                    hint=(
                        f"if “{shorten(text)}” is a group, put it below “children:” instead of"
                        " “hosts:”"
                    ),
                )

    def _check_variable(self, path: list[Any], variable: Any) -> None:
        if not isinstance(variable, str) or not variable:
            raise self._no_text(path, variable, "variable")

    def _unknown(self, path: list[Any], group: str, key: Any, value: Any) -> InputError:
        near = difflib.get_close_matches(str(key), _SECTIONS, 1)
        message = f"unknown key “{shorten(key)}” in the group “{shorten(group)}”"
        if near:
            return self._document.error(
                f"{message}; did you mean “{near[0]}”?",
                path,
                key=True,
                hint="a group has hosts, children and vars, and nothing else",
            )
        inside = isinstance(value, Mapping) and set(value) & set(_SECTIONS)
        return self._document.error(
            message,
            path,
            key=True,
            hint=(
                f"if “{shorten(key)}” is a group, put it below “children:”"
                if inside
                else (
                    "a host belongs below “hosts:”, a group below “children:”, a variable below"
                    f" “vars:” of “{shorten(group)}”"
                )
            ),
        )

    def _no_text(self, path: list[Any], name: Any, what: str) -> InputError:
        if name is None or name == "":
            return self._document.error(
                f"a {what} without a name", path, key=True, hint="write its name"
            )
        return self._document.error(
            f"a {what}'s name that YAML reads as {_kind(name)}",
            path,
            key=True,
            hint="put the name in quotes",
        )

    def _origin_in(
        self, written: Mapping[Any, tuple[int, int, int, int]], path: list[Any]
    ) -> Origin:
        """Returns where the key that ends `path` is; `written` are the places in its mapping, for
        most are there.
        """
        place = written.get(path[-1])
        return Origin(self._document.source, place[0], place[1]) if place else self._origin(path)

    def _origin(self, path: list[Any]) -> Origin:
        line, column = self._document.key_at(path)
        return Origin(self._document.source, line, column)


def _hint_for(section: str) -> str:
    return {
        "hosts": "one host a line, without a dash and with a colon at its end:  web1:",
        "children": "one group a line, without a dash and with a colon at its end:  web:",
        "vars": "one variable a line, without a dash:  ansible_user: audit",
    }[section]


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes or no"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case Mapping():
            return "a mapping"
        case _:
            return "a date or binary data"
