"""Values with templates in them, rendered for one host: Jinja2 in a sandbox, over the inventory's variables alone.

Rules: expressions and `{% if %}` only, with filters that compute and do nothing else: no lookup, no loop, no macro, no
file. What a host once said is never in reach. Work is bounded: the length of a template, of a result, of every product,
and how deep variables may refer to one another. A problem names the variable and where it was written, never a value.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FleetauditError
from ..model import Host, Inventory
from .values import Unsafe, Vaulted
from .vault import Vault, VaultError

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.nodes import Node, Template

MAX_TEMPLATE = 4096
"""The most characters of a template that is rendered."""
MAX_RESULT = 65_536
"""The most characters or items of what any part of one gives."""
MAX_DEPTH = 20
"""How many variables may refer to one another in a row."""

_MARKS = ("{{", "{%", "{#")
_METHODS = frozenset(
    """
    split rsplit lower upper strip lstrip rstrip startswith endswith get keys values items title capitalize
    partition rpartition find rfind index count removeprefix removesuffix splitlines isdigit
    """.split()  # noqa: SIM905 — words are read more easily than a list
)
_FILTERS = frozenset(
    """
    abs capitalize d default dictsort first float int items last length list lower map max min reject rejectattr
    reverse round select selectattr sort string title trim unique upper urlencode count
    """.split()  # noqa: SIM905 — words are read more easily than a list
)
_TRUE = {"yes", "true", "on", "1", "y", "t"}


class TemplateProblem(FleetauditError):
    """A value that cannot be worked out for its host; the text says which and why."""


def is_template(value: Any) -> bool:
    """Returns whether a value is to be rendered before it is used."""
    return isinstance(value, str) and not isinstance(value, Unsafe) and any(mark in value for mark in _MARKS)


class Renderer:
    """Works out the variables of one host: decrypts, renders, and what they refer to, too."""

    def __init__(self, host: Host, vault: Vault, inventory: Inventory | None = None) -> None:
        self._host, self._vault, self._inventory = host, vault, inventory
        self._done = dict[str, Any]()
        self._doing = list[str]()

    def value(self, name: str) -> Any:
        """Returns the variable `name` in its own type; raises `TemplateProblem`, and KeyError where it is not set."""
        if name in self._done:
            return self._done[name]
        raw = self._host.variables[name]
        if name in self._doing:
            raise TemplateProblem(f"{self._named(name)} refers to itself: {' > '.join([*self._doing, name])}")
        if len(self._doing) >= MAX_DEPTH:
            raise TemplateProblem(f"{self._named(name)} is reached through more than {MAX_DEPTH} variables")
        self._doing.append(name)
        try:
            self._done[name] = plain(self.rendered(raw, name))
        finally:
            self._doing.pop()
        return self._done[name]

    def rendered(self, raw: Any, name: str) -> Any:
        """Returns a value of the variable `name`, or a part of it, decrypted and rendered; mappings are so lazily."""
        if isinstance(raw, Vaulted):
            try:
                raw = self._vault.decrypt(raw.ciphertext.encode()).decode()
            except (VaultError, UnicodeDecodeError) as e:
                why = str(e) if isinstance(e, VaultError) else "it is encrypted, and no text"
                raise TemplateProblem(f"{self._named(name)} cannot be used: {why}") from e
        if isinstance(raw, Mapping):
            return _Mapping(raw, self, name)
        if isinstance(raw, list):
            return [self.rendered(item, name) for item in raw]
        return self._render(raw, name) if is_template(raw) else raw

    def known(self, name: str) -> bool:
        """Returns whether a template may refer to `name`."""
        return name in self._host.variables or name in _MAGIC

    def lookup(self, name: str) -> Any:
        """Returns what a template means by `name`: Ansible's own names first, then a variable of the host."""
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
            case _:
                if self._inventory is None:
                    raise TemplateProblem(f"“{name}” is not known here")
                if name == "groups":
                    return {group: list(hosts) for group, hosts in self._inventory.groups.items()}
                return _HostVars(self._inventory, self._vault, len(self._doing))

    def nested(self, depth: int) -> Renderer:
        """Returns this renderer as one that was reached through `depth` variables already."""
        self._doing = [""] * depth
        return self

    def _render(self, text: str, name: str) -> Any:
        if len(text) > MAX_TEMPLATE:
            raise TemplateProblem(f"{self._named(name)} is a template longer than {MAX_TEMPLATE}")
        from jinja2 import TemplateError
        from jinja2.exceptions import SecurityError, UndefinedError

        environment = _environment()
        try:
            tree = environment.parse(text)
            _check(tree)
            # As in Ansible, one expression alone keeps its type, and anything around it makes text.
            alone = _lone_expression(tree)
            template = environment.from_string(tree if alone is None else alone)
            context = template.new_context(_Names(self), shared=True)  # type: ignore[arg-type]  # it only looks up
            parts = list(template.root_render_func(context))
            if alone is not None:
                return bounded(context.vars["result"])
            return bounded(parts[0] if len(parts) == 1 else "".join(str(plain(part)) for part in parts))
        except UndefinedError as e:
            raise TemplateProblem(f"{self._named(name)} needs {_undefined(e)}") from e
        except SecurityError as e:
            raise TemplateProblem(f"{self._named(name)} is not rendered here: {e}") from e
        except TemplateError as e:
            raise TemplateProblem(f"{self._named(name)} is no template: {_syntax(e)}") from e
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as e:
            raise TemplateProblem(f"{self._named(name)} cannot be worked out: {type(e).__name__}") from e

    def _named(self, name: str) -> str:
        return f"{name} in {self._host.variable_origins.get(name) or self._host.origin} of “{self._host.name}”"


_MAGIC = frozenset(
    {"inventory_hostname", "inventory_hostname_short", "group_names", "groups", "hostvars", "inventory_dir"}
    | {"inventory_file"}
)


def plain(value: Any) -> Any:
    """Returns a value with every lazy mapping in it worked out."""
    if isinstance(value, _Mapping):
        return {key: plain(value[key]) for key in value}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def bounded(value: Any) -> Any:
    """Returns the value itself; raises jinja2's errors where it is undefined, or longer than is worked with."""
    from jinja2 import Undefined
    from jinja2.exceptions import SecurityError

    if isinstance(value, Undefined):
        str(value)  # raises UndefinedError, with the name that is missing
    if isinstance(value, str | list | tuple) and len(value) > MAX_RESULT:
        raise SecurityError(f"it gives more than {MAX_RESULT} characters or items")
    return value


class _Mapping(Mapping[Any, Any]):
    """A mapping whose values are worked out when they are asked for, so that one bad one spoils no other."""

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


class _HostVars(Mapping[str, Any]):
    """`hostvars`: the inventory's variables of every host, worked out when they are asked for."""

    def __init__(self, inventory: Inventory, vault: Vault, depth: int) -> None:
        self._inventory, self._vault, self._depth = inventory, vault, depth
        self._hosts = {host.name: host for host in inventory.hosts}

    def __getitem__(self, name: str) -> Any:
        renderer = Renderer(self._hosts[name], self._vault, self._inventory).nested(self._depth)
        return _HostNames(renderer, self._hosts[name])

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


_cached: list[Environment] = []


def _environment() -> Environment:
    """Returns the sandbox; made once, and only where a template is met, because importing jinja2 takes its time."""
    if not _cached:
        _cached.append(_make_environment())
    return _cached[0]


def _make_environment() -> Environment:
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.nativetypes import NativeCodeGenerator
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        code_generator_class = NativeCodeGenerator
        intercepted_binops = frozenset(["+", "*", "**", "%"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            left, right = bounded(left), bounded(right)
            if operator == "*":
                for one, times in ((left, right), (right, left)):
                    if isinstance(one, Sequence) and isinstance(times, int) and len(one) * times > MAX_RESULT:
                        raise SecurityError("a product that is too long")
            if operator == "**" and not (abs(left) <= 1_000_000 and abs(right) <= 64):
                raise SecurityError("a power that is too large")
            if operator == "%" and isinstance(left, str):
                raise SecurityError("“%” formats text; write  ~  between the parts")
            return bounded(super().call_binop(context, operator, left, right))

    environment = Sandbox(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    environment.globals.clear()
    filters = {name: one for name, one in environment.filters.items() if name in _FILTERS}
    environment.filters.clear()
    environment.filters.update(filters)
    environment.filters.update(
        {
            "bool": _bool,
            "ternary": lambda value, yes, no, null=None: (
                null if value is None and null is not None else yes if value else no
            ),
            "mandatory": bounded,
            "basename": lambda path: posixpath.basename(str(path)),
            "dirname": lambda path: posixpath.dirname(str(path)),
            "to_json": lambda value: json.dumps(plain(value)),
            "join": _join,
            "replace": _replace,
        }
    )
    return environment


def _bool(value: Any) -> bool:
    return value is True or str(value).lower() in _TRUE


def _join(values: Any, separator: str = "") -> str:
    texts = [str(value) for value in values]
    bounded("x" * min(MAX_RESULT + 1, sum(map(len, texts)) + len(separator) * len(texts)))
    return separator.join(texts)


def _replace(text: Any, old: str, new: str) -> str:
    text = str(text)
    bounded("x" * min(MAX_RESULT + 1, len(text) + text.count(old) * len(new)))
    return str(text.replace(old, new))


def _lone_expression(tree: Template) -> Template | None:
    """Returns a template that keeps the value of the one expression that `tree` is, or None where it is more."""
    from jinja2 import nodes

    match tree.body:
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            keep = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
            return nodes.Template([keep], lineno=1)
        case _:
            return None


def _check(tree: Node) -> None:
    """Raises `SecurityError` for a template that does more than compute one value."""
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError

    for node in tree.find_all(nodes.Node):
        if isinstance(node, nodes.Call):
            inner = node.node
            if isinstance(inner, nodes.Name):
                raise SecurityError(f"it calls “{inner.name}”, and no lookup or function is run here")
            if not (isinstance(inner, nodes.Getattr) and inner.attr in _METHODS):
                raise SecurityError("it calls a method that is not known to be harmless")
        elif isinstance(node, nodes.Name) and node.name in ("self", "super", "caller", "loop"):
            raise SecurityError(f"“{node.name}” is no variable of the inventory")
        elif isinstance(node, nodes.Filter) and node.name not in _environment().filters:
            raise SecurityError(f"the filter “{node.name}” is not run here")
        elif isinstance(node, nodes.Stmt) and not isinstance(node, nodes.Output | nodes.If | nodes.Template):
            raise SecurityError(f"only expressions and “if” are, no “{type(node).__name__.lower()}”")


def _undefined(e: Exception) -> str:
    """Returns in our words what jinja2's “'x' is undefined” says; it names variables and keys, never values."""
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
