"""Renders templates in values for one host: Jinja2 in a sandbox, with inventory variables only.

Rules: expressions and `{% if %}` only, with filters that compute and do nothing else: no lookup, no
loop, no macro, no file (template_sandbox.py). What a host reported is never in reach. An error
names the variable and where it is written, never a value. Work is bounded: how deep variables may
refer to one another, and all that is done for one host (template_limits.py).
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fleetaudit.errors import FleetauditError
from fleetaudit.inventory.values import EncryptedText, Unsafe
from fleetaudit.inventory.vault import Vault, VaultError
from fleetaudit.model import Host, Inventory, by_name

from .template_limits import (
    TemplateLimitError,
    WorkBudget,
    check_result,
    counted_against,
    evaluated,
    spend,
)

MAX_TEMPLATE = 4096
"""Maximum number of characters of a template."""
MAX_DEPTH = 20
"""Maximum number of variables that refer to one another in a row."""

_UNITS_OF_A_TEMPLATE = 200  # about what running a small one takes
_MARK = re.compile(r"\{[{%#]")


class TemplateValueError(FleetauditError):
    """A value that cannot be rendered for its host; the text says which and why."""


def is_template(value: Any) -> bool:
    """Returns whether a value is to be rendered before it is used.

    It is text with “{{”, “{%” or “{#” in it, unless it was tagged `!unsafe`.
    """
    if not isinstance(value, str) or isinstance(value, Unsafe):
        return False
    return _MARK.search(value) is not None


class Renderer:
    """Decrypts and renders the variables of one host, and those that they refer to.

    `vault` has the passwords of values tagged `!vault`. `inventory` is what templates mean by
    `groups` and `hostvars`; without it they know neither. Each variable is rendered once. Ansible:
    "Templating (Jinja2)" and "Special Variables"; templates in its inventories may do more, such as
    run lookups on the controller, which an audit never does.
    """

    def __init__(self, host: Host, vault: Vault, inventory: Inventory | None = None) -> None:
        self._host, self._vault, self._inventory = host, vault, inventory
        self._budget = WorkBudget()
        self._rendered = dict[str, Any]()
        self._in_progress = list[str]()

    def value(self, name: str) -> Any:
        """Returns the variable `name` in its own type, as plain values without lazy mappings; of
        an “if” without “else” Jinja2's Undefined, as in Ansible.

        Raises KeyError if it is not set, and `TemplateValueError` for a value that cannot be
        decrypted or rendered, for one that refers to itself, and for more work than
        `template_limits.MAX_WORK` for this host.
        """
        if name in self._rendered:
            return self._rendered[name]
        raw = self._host.variables[name]
        self._check_depth(name)
        self._in_progress.append(name)
        try:
            with counted_against(self._budget):
                self._rendered[name] = evaluated(self.render(raw, name))
        except TemplateLimitError as e:
            raise self._error(name, f"is not rendered here: {e}") from e
        finally:
            self._in_progress.pop()
        return self._rendered[name]

    def _check_depth(self, name: str) -> None:
        """Raises `TemplateValueError` if a variable refers to itself, or is reached too deep."""
        if name in self._in_progress:
            loop = " > ".join([*self._in_progress, name])
            raise self._error(name, f"refers to itself: {loop}")
        if len(self._in_progress) >= MAX_DEPTH:
            raise self._error(name, f"is reached through more than {MAX_DEPTH} variables")

    def render(self, raw: Any, name: str) -> Any:
        """Returns a value of the variable `name`, or a part of it, decrypted and rendered.

        `raw` is the value as the inventory has it. The values of a mapping are rendered when they
        are used. Raises `TemplateValueError`, which names the variable and its place.
        """
        if isinstance(raw, EncryptedText):
            return self._render_scalar(self._decrypt(raw, name), name)
        if isinstance(raw, Mapping):
            return _LazyMapping(raw, self, name)
        if isinstance(raw, list):
            return [self.render(item, name) for item in raw]
        return self._render_scalar(raw, name)

    def _render_scalar(self, value: Any, name: str) -> Any:
        """Returns a value that is neither a list nor a mapping, rendered if it is a template."""
        if is_template(value):
            return self._render_text(value, name)
        return value

    def _decrypt(self, encrypted: EncryptedText, name: str) -> str:
        """Returns the text of an encrypted value.

        Raises `TemplateValueError` for a missing or wrong password, and for bytes that are not
        UTF-8.
        """
        try:
            return self._vault.decrypt(encrypted.ciphertext.encode()).decode()
        except VaultError as e:
            raise self._error(name, f"cannot be used: {e}") from e
        except UnicodeDecodeError as e:
            raise self._error(name, "cannot be used: it is encrypted, and no text") from e

    def is_known(self, name: str) -> bool:
        """Returns whether a template may refer to `name`."""
        return name in self._host.variables or name in _MAGIC

    def look_up(self, name: str) -> Any:
        """Returns what a template means by `name`: one of Ansible's own names, or a variable.

        A mapping is not rendered as a whole: the template may use only one good entry of it.
        """
        if name in _MAGIC:
            return _MAGIC[name](self)
        value = self._host.variables[name]
        if isinstance(value, Mapping):
            return self.render(value, name)
        return self.value(name)

    def inventory_hostname(self) -> str:
        """Returns the name of the host."""
        return self._host.name

    def inventory_hostname_short(self) -> str:
        """Returns the first part of the host's name; an address as it is."""
        try:
            ipaddress.ip_address(self._host.name)
        except ValueError:
            return self._host.name.split(".")[0]
        return self._host.name

    def group_names(self) -> list[str]:
        """Returns the names of the host's groups, sorted."""
        return sorted(self._host.groups)

    def inventory_file(self) -> str:
        """Returns the path of the file that names the host."""
        return str(Path(self._host.origin.rpartition(":")[0]).absolute())

    def inventory_dir(self) -> str:
        """Returns the folder of the file that names the host."""
        return str(Path(self.inventory_file()).parent)

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Returns the hosts of every group."""
        return _fleet_of(self._require_inventory("groups")).groups

    def hostvars(self) -> Mapping[str, Any]:
        """Returns the variables of every host."""
        return _HostVars(_fleet_of(self._require_inventory("hostvars")).hosts, self)

    def _require_inventory(self, name: str) -> Inventory:
        """Returns the inventory that the template's `name` refers to."""
        if self._inventory is None:
            raise TemplateValueError(f"“{name}” is not known here")
        return self._inventory

    def renderer_for(self, host: Host) -> Renderer:
        """Returns a renderer for another host that this one's templates refer to.

        It begins at this depth and takes from this budget.
        """
        other = Renderer(host, self._vault, self._inventory)
        other._in_progress, other._budget = [""] * len(self._in_progress), self._budget
        return other

    def _render_text(self, text: str, name: str) -> Any:
        """Returns the value of a template.

        Raises `TemplateValueError` for any problem with it; the text names variables and types of
        errors, and never a value.
        """
        if len(text) > MAX_TEMPLATE:
            raise self._error(name, f"is a template longer than {MAX_TEMPLATE}")
        from jinja2 import TemplateError
        from jinja2.exceptions import SecurityError, UndefinedError

        try:
            return self._run(text)
        except UndefinedError as e:
            raise self._error(name, f"needs {_describe_undefined(e)}") from e
        except (SecurityError, TemplateLimitError) as e:
            raise self._error(name, f"is not rendered here: {e}") from e
        except TemplateError as e:
            raise self._error(name, f"is not a template: {_describe_syntax(e)}") from e
        except (SyntaxError, RecursionError, MemoryError) as e:
            # Of the code that Jinja2 makes of it.
            raise self._error(name, "is not a template: nested too deeply") from e
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as e:
            raise self._error(name, f"cannot be computed: {type(e).__name__}") from e

    def _run(self, text: str) -> Any:
        """Runs a template and returns its value.

        One expression alone keeps its type, as in Ansible; several parts are joined to a text.
        """
        from .template_filters import join_texts
        from .template_sandbox import compile_template

        spend(_UNITS_OF_A_TEMPLATE)
        template, is_expression = compile_template(text)
        context = template.new_context(_Names(self), shared=True)  # type: ignore[arg-type]  # it only looks up
        parts = list(template.root_render_func(context))
        if is_expression:
            return check_result(context.vars["result"])
        if len(parts) == 1:
            return check_result(parts[0])
        return join_texts(map(evaluated, parts))

    def _error(self, name: str, problem: str) -> TemplateValueError:
        """Returns the error about the variable `name`."""
        origin = self._host.variable_origins.get(name) or self._host.origin
        return TemplateValueError(f"{name} in {origin} of “{self._host.name}” {problem}")


def _playbook_python(_renderer: Renderer) -> str:
    """Returns the Python that runs here."""
    return sys.executable


_MAGIC: dict[str, Callable[[Renderer], Any]] = {
    "inventory_hostname": Renderer.inventory_hostname,
    "inventory_hostname_short": Renderer.inventory_hostname_short,
    "group_names": Renderer.group_names,
    "groups": Renderer.groups,
    "hostvars": Renderer.hostvars,
    "inventory_dir": Renderer.inventory_dir,
    "inventory_file": Renderer.inventory_file,
    "ansible_playbook_python": _playbook_python,
}
"""Ansible's magic variables, which come before those of the host."""


class _LazyMapping(Mapping[Any, Any]):
    """A mapping whose values are rendered when they are used: a bad one spoils no other."""

    def __init__(self, raw: Mapping[Any, Any], renderer: Renderer, name: str) -> None:
        self._raw, self._renderer, self._name = raw, renderer, name

    def __getitem__(self, key: Any) -> Any:
        return self._renderer.render(self._raw[key], self._name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


class _Names(Mapping[str, Any]):
    """What a template may refer to by name."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def __getitem__(self, name: str) -> Any:
        if not self._renderer.is_known(name):
            raise KeyError(name)
        return self._renderer.look_up(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._renderer.is_known(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_MAGIC)

    def __len__(self) -> int:
        return len(_MAGIC)


class _Fleet(NamedTuple):
    """An inventory as templates see it."""

    inventory: Inventory
    groups: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Host]


_last_fleet: list[_Fleet] = []


def _fleet_of(inventory: Inventory) -> _Fleet:
    """Returns it, made once an inventory: once a host would take quadratic time."""
    if not _last_fleet or _last_fleet[0].inventory is not inventory:
        groups = {group: list(hosts) for group, hosts in inventory.groups.items()}
        hosts = by_name(inventory.hosts)
        _last_fleet[:] = [_Fleet(inventory, groups, hosts)]
    return _last_fleet[0]


class _HostVars(Mapping[str, Any]):
    """`hostvars`: the inventory's variables of every host, rendered when they are used."""

    def __init__(self, hosts: Mapping[str, Host], renderer: Renderer) -> None:
        self._hosts, self._renderer = hosts, renderer

    def __getitem__(self, name: str) -> Any:
        host = self._hosts[name]
        return _HostNames(self._renderer.renderer_for(host), host)

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


def _describe_undefined(e: Exception) -> str:
    """Returns what Jinja2's “'x' is undefined” says; it names variables and keys, never values."""
    quoted = str(e).split("'")
    if len(quoted) < 3:
        return "something that is not set"
    return f"“{quoted[-2]}”, which is not set"


def _describe_syntax(e: Exception) -> str:
    """Returns what is wrong with a template; Jinja2's own text could repeat a value."""
    name = type(e).__name__
    return {"TemplateSyntaxError": "its syntax is wrong"}.get(name, name)
