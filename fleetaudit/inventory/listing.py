"""What `ansible-inventory --list` or an inventory program prints, as JSON or YAML, goes into a
draft. No I/O.

Rules: names are taken as they are, without ranges and ports. What Ansible guesses (a group with
neither hosts nor children nor vars is a host) or drops (a host that only has variables) is an error
here.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.sanitize import shorten
from fleetaudit.text.yaml_lines import Document

from .builder import InventoryBuilder, Origin
from .host_names import InvalidNameError, check_host_name

META = "_meta"
_SECTIONS = ("hosts", "children", "vars")
HostVariables = Callable[[str], tuple[Mapping[Any, Any], Origin]]
"""Asks for the variables of one host; where they come from, too."""


def is_listing(top: Any, *, json: bool) -> bool:
    """Returns whether a parsed file is such a listing, and not a tree of groups.

    Lists of hosts tell a listing in JSON; in YAML they are rather a tree with a mistake in it.
    """
    if not isinstance(top, Mapping):
        return False
    bodies = [body.get("hosts") if isinstance(body, Mapping) else body for body in top.values()]
    return META in top or (json and any(isinstance(body, list) for body in bodies))


def read_listing(
    document: Document, draft: InventoryBuilder, *, ask: HostVariables | None = None
) -> None:
    """Puts every group and host of `document` into `draft`; raises `InputError` at what does not
    belong there.

    `ask` gives the variables of a host where the listing has no `_meta`; without it such a listing
    is refused.
    """
    top = document.value
    if not isinstance(top, Mapping):
        raise document.error(
            "no mapping of groups", hint='a listing looks like this:  {"web": {"hosts": ["web1"]}}'
        )
    reader = _Reader(document, draft)
    for name, body in top.items():
        if name != META:
            reader.group(name, body)
    reader.host_variables(top, ask)


class _Reader:
    def __init__(self, document: Document, draft: InventoryBuilder) -> None:
        self._document, self._draft = document, draft
        self._hosts = dict[str, None]()

    def group(self, name: Any, body: Any) -> None:
        where = [name]
        self._check(name, "group", where)
        if isinstance(body, list):
            hosts, children, variables = body, [], {}
            at_hosts = where
        elif isinstance(body, Mapping) and set(body) & set(_SECTIONS):
            hosts, children, variables = (
                body.get("hosts", []),
                body.get("children", []),
                body.get("vars", {}),
            )
            at_hosts = [*where, "hosts"]
            for section, value, kind in (
                ("hosts", hosts, list),
                ("children", children, list),
                ("vars", variables, dict),
            ):
                if not isinstance(value, kind):
                    wanted = "a mapping" if kind is dict else "a list of names"
                    raise self._document.error(
                        f"the {section} of “{shorten(name)}” are not {wanted}", [*where, section]
                    )
            for key in body:
                if key not in _SECTIONS:
                    raise self._document.error(
                        f"unknown key “{shorten(key)}” in the group “{shorten(name)}”",
                        [*where, key],
                        key=True,
                        hint="a group of a listing has hosts, children and vars, and nothing else",
                    )
        else:
            raise self._document.error(
                f"the group “{shorten(name)}” has neither hosts nor children nor vars",
                where,
                hint=(
                    "Ansible takes such a group for a host of that name; an empty one is written"
                    ' {"hosts": []}'
                ),
            )
        self._draft.group(name, self._origin(where))
        for n, host in enumerate(hosts):
            self._check(host, "host", [*at_hosts, n])
            self._hosts[host] = None
            self._draft.host(host, name, None, self._origin([*at_hosts, n]))
        for variable, value in variables.items():
            place = [*where, "vars", variable]
            self._check_variable(variable, place)
            self._draft.set_group(name, variable, value, self._origin(place))
        for n, child in enumerate(children):
            place = [*where, "children", n]
            self._check(child, "group", place)
            self._draft.group(child, self._origin(place))
            self._draft.child(name, child, self._origin(place))

    def host_variables(self, top: Mapping[Any, Any], ask: HostVariables | None) -> None:
        if META not in top:
            if ask is None:
                raise self._document.error(
                    f"a listing without “{META}”: the variables of its hosts are missing",
                    hint=(
                        "save what  ansible-inventory -i SOURCE --list  prints, or name the program"
                        " itself"
                    ),
                )
            for host in self._hosts:
                variables, origin = ask(host)
                for variable, value in variables.items():
                    self._draft.set_host(host, variable, value, origin)
            return
        found = top[META].get("hostvars") if isinstance(top[META], Mapping) else None
        if not isinstance(found, Mapping):
            raise self._document.error("no mapping “hostvars” in it", [META], key=True)
        for host, variables in found.items():
            where = [META, "hostvars", host]
            if host not in self._hosts:
                raise self._document.error(
                    f"“{shorten(host)}” has variables and is in no group",
                    where,
                    key=True,
                    hint="Ansible would drop it; put it into the hosts of a group, or remove it",
                )
            if not isinstance(variables, Mapping):
                raise self._document.error(
                    f"the variables of “{shorten(host)}” are no mapping", where
                )
            for variable, value in variables.items():
                self._check_variable(variable, [*where, variable])
                self._draft.set_host(host, variable, value, self._origin([*where, variable]))

    def _check(self, name: Any, what: str, where: list[Any]) -> None:
        try:
            if not isinstance(name, str):
                raise InvalidNameError(f"a {what}'s name that is no text", "put it in quotes")
            check_host_name(name)
        except InvalidNameError as e:
            raise self._document.error(e.message, where, hint=e.hint) from e

    def _check_variable(self, name: Any, where: list[Any]) -> None:
        if not isinstance(name, str) or not name:
            raise self._document.error(
                "a variable's name that is no text", where, key=True, hint="put it in quotes"
            )

    def _origin(self, path: list[Any]) -> Origin:
        return Origin(self._document.source, *self._document.key_at(path))


def variables_of(document: Document) -> tuple[Mapping[Any, Any], Origin]:
    """Returns what a program printed for `--host NAME`; raises `InputError` where that is no
    mapping of names.
    """
    if not isinstance(document.value, Mapping):
        raise InputError("printed no mapping of variables", source=document.source)
    return document.value, Origin(document.source)


def conversion_hint(source: str) -> str:
    """Returns the hint with the command that converts `source` to a listing, which is read.

    The listing goes to a folder of its own: the variables of group_vars are in it already.
    """
    command = f"mkdir -p new && ansible-inventory -i {shlex.quote(source)} --list > new/hosts.json"
    return f"convert it:  {command}  and name new/hosts.json"
