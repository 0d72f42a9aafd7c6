"""Values with templates in them, rendered for one host: Jinja2 in a sandbox, over the inventory's
variables alone.

Rules: expressions and `{% if %}` only, with filters that compute and do nothing else: no lookup, no
loop, no macro, no file (sandbox.py). What a host once said is never in reach. A problem names the
variable and where it was written, never a value. Work is bounded: how deep variables may refer to
one another, and all that is done for one host (bounds.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fleetaudit.errors import FleetauditError
from fleetaudit.inventory.values import EncryptedText, Unsafe
from fleetaudit.inventory.vault import Vault, VaultError
from fleetaudit.model import Host, Inventory

from .template_limits import (
    TemplateLimitError,
    WorkBudget,
    check_result,
    counted_against,
    evaluated,
    spend,
)

MAX_TEMPLATE = 4096
"""The most characters of a template that is rendered."""
MAX_DEPTH = 20
"""How many variables may refer to one another in a row."""

_A_TEMPLATE = 200  # units of work: about what running a small one takes
_MARKS = ("{{", "{%", "{#")


class TemplateValueError(FleetauditError):
    """A value that cannot be worked out for its host; the text says which and why."""


def is_template(value: Any) -> bool:
    """Returns whether a value is to be rendered before it is used."""
    return (
        isinstance(value, str)
        and not isinstance(value, Unsafe)
        and any(mark in value for mark in _MARKS)
    )


class Renderer:
    """Works out the variables of one host: decrypts, renders, and what they refer to, too."""

    def __init__(self, host: Host, vault: Vault, inventory: Inventory | None = None) -> None:
        self._host, self._vault, self._inventory = host, vault, inventory
        self._work = WorkBudget()
        self._done = dict[str, Any]()
        self._doing = list[str]()

    def value(self, name: str) -> Any:
        """Returns the variable `name` in its own type; raises `TemplateValueError`, and KeyError where
        it is not set.
        """
        if name in self._done:
            return self._done[name]
        raw = self._host.variables[name]
        if name in self._doing:
            raise TemplateValueError(
                f"{self._named(name)} refers to itself: {' > '.join([*self._doing, name])}"
            )
        if len(self._doing) >= MAX_DEPTH:
            raise TemplateValueError(
                f"{self._named(name)} is reached through more than {MAX_DEPTH} variables"
            )
        self._doing.append(name)
        try:
            with counted_against(self._work):
                self._done[name] = evaluated(self.rendered(raw, name))
        except TemplateLimitError as e:
            raise TemplateValueError(f"{self._named(name)} is not rendered here: {e}") from e
        finally:
            self._doing.pop()
        return self._done[name]

    def rendered(self, raw: Any, name: str) -> Any:
        """Returns a value of the variable `name`, or a part of it, decrypted and rendered; mappings
        are so lazily.
        """
        if isinstance(raw, EncryptedText):
            try:
                raw = self._vault.decrypt(raw.ciphertext.encode()).decode()
            except (VaultError, UnicodeDecodeError) as e:
                why = str(e) if isinstance(e, VaultError) else "it is encrypted, and no text"
                raise TemplateValueError(f"{self._named(name)} cannot be used: {why}") from e
        if isinstance(raw, Mapping):
            return _Mapping(raw, self, name)
        if isinstance(raw, list):
            return [self.rendered(item, name) for item in raw]
        return self._render(raw, name) if is_template(raw) else raw

    def known(self, name: str) -> bool:
        """Returns whether a template may refer to `name`."""
        return name in self._host.variables or name in _MAGIC

    def lookup(self, name: str) -> Any:
        """Returns what a template means by `name`: Ansible's own names first, then a variable of
        the host.
        """
        if name in _MAGIC:
            return self._magic(name)
        if isinstance(self._host.variables[name], Mapping):
            return self.rendered(self._host.variables[name], name)
        return self.value(name)

    def _magic(self, name: str) -> Any:
        match name:
            case "inventory_hostname":
                return self._host.name
            case "inventory_hostname_short":
                return _short(self._host.name)
            case "group_names":
                return sorted(self._host.groups)
            case "inventory_dir":
                return str(Path(self._host.origin.rpartition(":")[0]).absolute().parent)
            case "inventory_file":
                return str(Path(self._host.origin.rpartition(":")[0]).absolute())
            case "ansible_playbook_python":
                return sys.executable
            case _:
                if self._inventory is None:
                    raise TemplateValueError(f"“{name}” is not known here")
                if name == "groups":
                    return _fleet_of(self._inventory).groups
                return _HostVars(self._inventory, self)

    def nested(self, host: Host) -> Renderer:
        """Returns a renderer for another host that this one's templates speak of: as deep, and at
        this one's cost.
        """
        other = Renderer(host, self._vault, self._inventory)
        other._doing, other._work = [""] * len(self._doing), self._work
        return other

    def _render(self, text: str, name: str) -> Any:
        if len(text) > MAX_TEMPLATE:
            raise TemplateValueError(
                f"{self._named(name)} is a template longer than {MAX_TEMPLATE}"
            )
        from jinja2 import TemplateError
        from jinja2.exceptions import SecurityError, UndefinedError

        from .template_sandbox import compile_template, join_texts

        try:
            spend(_A_TEMPLATE)
            template, alone = compile_template(text)
            context = template.new_context(_Names(self), shared=True)  # type: ignore[arg-type]  # it only looks up
            parts = list(template.root_render_func(context))
            if alone:
                return check_result(context.vars["result"])
            return check_result(parts[0]) if len(parts) == 1 else join_texts(map(evaluated, parts))
        except UndefinedError as e:
            raise TemplateValueError(f"{self._named(name)} needs {_undefined(e)}") from e
        except (SecurityError, TemplateLimitError) as e:
            raise TemplateValueError(f"{self._named(name)} is not rendered here: {e}") from e
        except TemplateError as e:
            raise TemplateValueError(f"{self._named(name)} is no template: {_syntax(e)}") from e
        except (
            SyntaxError,
            RecursionError,
            MemoryError,
        ) as e:  # of the code that Jinja2 makes of it
            raise TemplateValueError(f"{self._named(name)} is no template: nested too deep") from e
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as e:
            raise TemplateValueError(
                f"{self._named(name)} cannot be worked out: {type(e).__name__}"
            ) from e

    def _named(self, name: str) -> str:
        return (
            f"{name} in {self._host.variable_origins.get(name) or self._host.origin} of"
            f" “{self._host.name}”"
        )


_MAGIC = frozenset(
    {
        "inventory_hostname",
        "inventory_hostname_short",
        "group_names",
        "groups",
        "hostvars",
        "inventory_dir",
    }
    | {"inventory_file", "ansible_playbook_python"}
)


class _Mapping(Mapping[Any, Any]):
    """A mapping whose values are worked out when they are asked for, so that one bad one spoils no
    other.
    """

    def __init__(self, raw: Mapping[Any, Any], renderer: Renderer, name: str) -> None:
        self._raw, self._renderer, self._name = raw, renderer, name

    def __getitem__(self, key: Any) -> Any:
        return self._renderer.rendered(self._raw[key], self._name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


class _Names(Mapping[str, Any]):
    """What a template may refer to by name."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def __getitem__(self, name: str) -> Any:
        if not self._renderer.known(name):
            raise KeyError(name)
        return self._renderer.lookup(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._renderer.known(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_MAGIC)

    def __len__(self) -> int:
        return len(_MAGIC)


class _Fleet(NamedTuple):
    """An inventory as templates see it."""

    inventory: Inventory
    groups: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Host]


_last: list[_Fleet] = []


def _fleet_of(inventory: Inventory) -> _Fleet:
    """Returns it, made once an inventory and not once a host: that would take quadratic time."""
    if not _last or _last[0].inventory is not inventory:
        groups = {group: list(hosts) for group, hosts in inventory.groups.items()}
        _last[:] = [_Fleet(inventory, groups, {host.name: host for host in inventory.hosts})]
    return _last[0]


class _HostVars(Mapping[str, Any]):
    """`hostvars`: the inventory's variables of every host, worked out when they are asked for."""

    def __init__(self, inventory: Inventory, asking: Renderer) -> None:
        self._hosts, self._asking = _fleet_of(inventory).hosts, asking

    def __getitem__(self, name: str) -> Any:
        return _HostNames(self._asking.nested(self._hosts[name]), self._hosts[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)


class _HostNames(_Names):
    """The variables of one host, as a mapping that also knows their names."""

    def __init__(self, renderer: Renderer, host: Host) -> None:
        super().__init__(renderer)
        self._host = host

    def __iter__(self) -> Iterator[str]:
        return iter(self._host.variables)

    def __len__(self) -> int:
        return len(self._host.variables)


def _undefined(e: Exception) -> str:
    """Returns in our words what jinja2's “'x' is undefined” says; it names variables and keys,
    never values.
    """
    quoted = str(e).split("'")
    return f"“{quoted[-2]}”, which is not set" if len(quoted) >= 3 else "something that is not set"


def _syntax(e: Exception) -> str:
    return "its syntax is wrong" if type(e).__name__ == "TemplateSyntaxError" else type(e).__name__


def _short(name: str) -> str:
    import ipaddress

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.split(".")[0]
    return name
