"""The sandbox that templates run in: what of Jinja2 there is in it, and a meter on all that can
grow. No I/O.

Rules: expressions and `{% if %}`, methods and filters that are known to compute and do nothing
else. Whatever can make a large value of a small one (operators, filters, joining, comparing) is
weighed, before and after. jinja2 is imported where a template is met, because that takes its time.
"""

from __future__ import annotations

import functools
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fleetaudit.inventory.values import TRUE_WORDS

from .template_limits import (
    MAX_RESULT,
    TemplateLimitError,
    check_items,
    check_result,
    check_weight,
    evaluated,
)

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from jinja2.nodes import Node
    from jinja2.nodes import Template as Tree

MAX_PARTS = 300
"""The most nodes of a template's syntax tree."""
_CACHED = 1024

_METHODS = frozenset(
    [
        "split",
        "rsplit",
        "lower",
        "upper",
        "strip",
        "lstrip",
        "rstrip",
        "startswith",
        "endswith",
        "get",
        "keys",
        "values",
        "items",
        "title",
        "capitalize",
        "partition",
        "rpartition",
        "find",
        "rfind",
        "index",
        "count",
        "removeprefix",
        "removesuffix",
        "splitlines",
        "isdigit",
    ]
)
_FILTERS = frozenset(
    [
        "abs",
        "capitalize",
        "d",
        "default",
        "dictsort",
        "first",
        "float",
        "int",
        "items",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "reject",
        "rejectattr",
        "reverse",
        "select",
        "selectattr",
        "sort",
        "string",
        "title",
        "trim",
        "unique",
        "upper",
        "urlencode",
        "count",
    ]
)
# These look at one item, or at none: groups with all hosts of a fleet may go through them, for
# every host.
_CHEAP = frozenset({"count", "d", "default", "first", "last", "length"})
_MOST_DIGITS = 64
_WEIGHED, _JOINED = "_weighed", "_joined"  # filters of our own, which no template may name


class CompiledTemplate(NamedTuple):
    """A template that can be run; `alone` says that it is one expression, whose value it leaves in
    `result`.
    """

    template: Template
    alone: bool


@functools.lru_cache(_CACHED)
def compile_template(text: str) -> CompiledTemplate:
    """Returns a template that can be run; raises jinja2's errors, and SyntaxError where it nests
    too deep.
    """
    environment = _environment()
    tree = environment.parse(text)
    _check(tree, environment)
    _metered(tree, environment)
    # As in Ansible, one expression alone keeps its type, and anything around it makes text.
    alone = _lone_expression(tree)
    return CompiledTemplate(
        environment.from_string(tree if alone is None else alone), alone is not None
    )


@functools.cache
def _environment() -> Environment:
    from jinja2 import StrictUndefined, pass_environment
    from jinja2.nativetypes import NativeCodeGenerator
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        code_generator_class = NativeCodeGenerator
        intercepted_binops = frozenset(["+", "*", "**", "%"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            left, right = check_result(left), check_result(right)
            if operator == "*":
                for one, times in ((left, right), (right, left)):
                    if (
                        isinstance(one, Sequence)
                        and isinstance(times, int)
                        and len(one) * times > MAX_RESULT
                    ):
                        raise TemplateLimitError("a product that is too long")
            if operator == "**" and not (abs(left) <= 1_000_000 and abs(right) <= 64):
                raise TemplateLimitError("a power that is too large")
            if operator == "%" and isinstance(left, str):
                raise TemplateLimitError("“%” formats text; write  ~  between the parts")
            return check_result(super().call_binop(context, operator, left, right))

    environment = Sandbox(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    environment.globals.clear()
    allowed: dict[str, Callable[..., Any]] = {
        **{name: environment.filters[name] for name in _FILTERS},
        "bool": _bool,
        "ternary": _ternary,
        "mandatory": check_result,
        "basename": lambda path: posixpath.basename(str(path)),
        "dirname": lambda path: posixpath.dirname(str(path)),
        "to_json": json.dumps,
        "join": join_texts,
        "replace": _replace,
        "round": _round,
        "sum": pass_environment(_sum),
        _WEIGHED: check_weight,
        _JOINED: join_texts,
    }
    environment.filters.clear()
    environment.filters.update(
        {name: one if name in _CHEAP else _careful(one) for name, one in allowed.items()}
    )
    tests: dict[str, Any] = dict(environment.tests)
    environment.tests.update({name: _careful(one) for name, one in tests.items()})
    return environment


# ---- filters


def _careful(one: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a filter or test whose arguments are worked out and weighed, and its result is, too."""
    own = 1 if hasattr(one, "jinja_pass_arg") else 0  # its first argument is Jinja2's

    @functools.wraps(one)
    def careful(*given: Any, **named: Any) -> Any:
        values = (_ready(value) for value in given[own:])
        result = one(
            *given[:own], *values, **{name: _ready(value) for name, value in named.items()}
        )
        return check_items(result) if isinstance(result, Iterator) else check_weight(result)

    return careful


def _ready(value: Any) -> Any:
    return value if isinstance(value, Iterator) else check_weight(evaluated(value))


def _bool(value: Any) -> bool:
    return value is True or str(value).lower() in TRUE_WORDS


def _ternary(value: Any, yes: Any, no: Any, null: Any = None) -> Any:
    return null if value is None and null is not None else yes if value else no


def join_texts(values: Iterable[Any], separator: str = "") -> str:
    """Returns values as one text; raises `TemplateLimitError` before that is too long."""
    texts, length = list[str](), 0
    for value in values:
        texts.append(str(check_result(value)))
        length += len(texts[-1]) + len(separator)
        if length - len(separator) > MAX_RESULT:
            raise TemplateLimitError(f"it gives more than {MAX_RESULT} characters")
    return separator.join(texts)


def _replace(text: Any, old: str, new: str) -> str:
    text = str(text)
    if len(text) + text.count(old) * len(new) > MAX_RESULT:
        raise TemplateLimitError(f"it gives more than {MAX_RESULT} characters")
    return str(text.replace(old, new))


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    from jinja2.filters import do_round

    if abs(precision) > _MOST_DIGITS:
        raise TemplateLimitError(f"it rounds to more than {_MOST_DIGITS} digits")
    return float(do_round(value, precision, method))  # type: ignore[arg-type]  # it looks at the method itself


def _sum(
    environment: Environment, values: Iterable[Any], attribute: Any = None, start: float = 0
) -> float:
    total = start
    for value in values:
        number = value if attribute is None else environment.getitem(value, attribute)
        if not isinstance(number, int | float) or not isinstance(total, int | float):
            raise TypeError("a sum is one of numbers")
        total += number
    return total


# ---- syntax trees


def _check(tree: Node, environment: Environment) -> None:
    """Raises `SecurityError` for a template that does more than compute one value, `TemplateLimitError` for a
    huge one.
    """
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError

    for number, node in enumerate(tree.find_all(nodes.Node), 1):
        if number > MAX_PARTS:
            raise TemplateLimitError(f"a template of more than {MAX_PARTS} parts")
        if isinstance(node, nodes.Call):
            inner = node.node
            if isinstance(inner, nodes.Name):
                raise SecurityError(
                    f"it calls “{inner.name}”, and no lookup or function is run here"
                )
            if not (isinstance(inner, nodes.Getattr) and inner.attr in _METHODS):
                raise SecurityError("it calls a method that is not known to be harmless")
        elif isinstance(node, nodes.Name) and node.name in ("self", "super", "caller", "loop"):
            raise SecurityError(f"“{node.name}” is no variable of the inventory")
        elif isinstance(node, nodes.Filter) and (
            node.name not in environment.filters or node.name[0] == "_"
        ):
            raise SecurityError(f"the filter “{node.name}” is not run here")
        elif isinstance(node, nodes.Stmt) and not isinstance(
            node, nodes.Output | nodes.If | nodes.Template
        ):
            raise SecurityError(
                f"only expressions and “if” are, no “{type(node).__name__.lower()}”"
            )


def _metered(tree: Tree, environment: Environment) -> None:
    """Puts a weighing filter into a tree wherever `~` joins, and around what is compared."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def through(name: str, node: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)

    class Metering(NodeTransformer):
        def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
            self.generic_visit(node)
            return through(_JOINED, nodes.List(node.nodes, lineno=node.lineno))

        def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
            self.generic_visit(node)
            node.expr = through(_WEIGHED, node.expr)
            for operand in node.ops:
                operand.expr = through(_WEIGHED, operand.expr)
            return node

    Metering().visit(tree)
    tree.set_environment(environment)


def _lone_expression(tree: Tree) -> Tree | None:
    """Returns a template that keeps the value of the one expression that `tree` is, or None where
    it is more.
    """
    from jinja2 import nodes

    match tree.body:
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            keep = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
            return nodes.Template([keep], lineno=1)
        case _:
            return None
