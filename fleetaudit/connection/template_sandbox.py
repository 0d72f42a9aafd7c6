"""The sandbox that templates run in: a small part of Jinja2, with limits on all that can grow.

Rules: expressions and `{% if %}`, methods and filters that are known to compute and do nothing
else. Whatever can make a large value of a small one (operators, filters, joining, comparing) is
weighed, before and after. No I/O. jinja2 is imported where a template is met, because importing
takes time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .template_filters import JOINED, WEIGHED, allowed_filters, weighing
from .template_limits import MAX_RESULT, TemplateLimitError, check_result

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from jinja2 import nodes as jinja2_nodes
    from jinja2.nodes import Node
    from jinja2.nodes import Template as Tree

MAX_NODES = 300
"""Maximum number of nodes of a template's syntax tree."""
_MAX_CACHED = 1024
_MAX_BASE, _MAX_EXPONENT = 1_000_000, 64
_METHODS = frozenset(
    """
    capitalize count endswith find get index isdigit items keys lower lstrip partition removeprefix
    removesuffix rfind rpartition rsplit rstrip split splitlines startswith strip title upper values
    """.split()  # noqa: SIM905 — a list of words
)
_RESERVED = frozenset({"self", "super", "caller", "loop"})


class CompiledTemplate(NamedTuple):
    """A template that can be run.

    If it `is_expression`, it is one expression and leaves its value in the variable `result`.
    """

    template: Template
    is_expression: bool


@functools.lru_cache(_MAX_CACHED)
def compile_template(text: str) -> CompiledTemplate:
    """Returns a template that can be run.

    `text` is as the inventory has it. It is compiled once for all hosts that share it. Raises
    Jinja2's TemplateSyntaxError for what is no template, its SecurityError for one that does more
    than compute a value, `TemplateLimitError` for one of more than `MAX_NODES` parts, and
    SyntaxError or RecursionError for one that is nested too deeply for Python.
    """
    environment = _environment()
    tree = environment.parse(text)
    _check(tree, environment)
    _add_weighing(tree, environment)
    # As in Ansible, one expression alone keeps its type, and anything around it makes text.
    expression = _single_expression(tree)
    if expression is None:
        return CompiledTemplate(environment.from_string(tree), is_expression=False)
    return CompiledTemplate(environment.from_string(expression), is_expression=True)


@functools.cache
def _environment() -> Environment:
    """Returns the Jinja2 environment without globals, and with the allowed filters only."""
    from jinja2 import StrictUndefined
    from jinja2.nativetypes import NativeCodeGenerator
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        code_generator_class = NativeCodeGenerator
        intercepted_binops = frozenset(_CHECK_OPERANDS)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            left, right = check_result(left), check_result(right)
            _CHECK_OPERANDS[operator](left, right)
            return check_result(super().call_binop(context, operator, left, right))

    environment = Sandbox(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    environment.globals.clear()
    filters = allowed_filters(environment.filters)
    environment.filters.clear()
    environment.filters.update(filters)
    tests: dict[str, Any] = dict(environment.tests)
    environment.tests.update({name: weighing(test) for name, test in tests.items()})
    return environment


def _check_product(left: Any, right: Any) -> None:
    """Raises `TemplateLimitError` if a text or list is repeated too often."""
    if max(_repeated_length(left, right), _repeated_length(right, left)) > MAX_RESULT:
        raise TemplateLimitError("a product that is too long")


def _repeated_length(one: Any, times: Any) -> int:
    """Returns the length of a text or list that is repeated so often, 0 for other values."""
    if isinstance(one, Sequence) and isinstance(times, int):
        return len(one) * times
    return 0


def _check_power(base: Any, exponent: Any) -> None:
    """Raises `TemplateLimitError` for a power with too many digits."""
    if abs(base) > _MAX_BASE or abs(exponent) > _MAX_EXPONENT:
        raise TemplateLimitError("a power that is too large")


def _check_remainder(left: Any, _right: Any) -> None:
    """Raises `TemplateLimitError` for a text: “%” could make it long."""
    if isinstance(left, str):
        raise TemplateLimitError("“%” formats text; write  ~  between the parts")


def _check_nothing(_left: Any, _right: Any) -> None:
    """Accepts any operands: the result is weighed."""


_CHECK_OPERANDS: dict[str, Callable[[Any, Any], None]] = {
    "+": _check_nothing,
    "*": _check_product,
    "**": _check_power,
    "%": _check_remainder,
}
"""What to check before each operator that can make a large value of small ones."""


def _check(tree: Node, environment: Environment) -> None:
    """Raises `SecurityError` for a template that does more than compute one value.

    Raises `TemplateLimitError` for a huge one.
    """
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError

    problem_of: dict[type[Node], Callable[[Any, Environment], str]] = {
        nodes.Call: _problem_of_call,
        nodes.Name: _problem_of_name,
        nodes.Filter: _problem_of_filter,
    }
    for number, node in enumerate(tree.find_all(nodes.Node), 1):
        if number > MAX_NODES:
            raise TemplateLimitError(f"a template of more than {MAX_NODES} parts")
        problem = problem_of.get(type(node), _problem_of_statement)(node, environment)
        if problem:
            raise SecurityError(problem)


def _problem_of_call(call: jinja2_nodes.Call, _environment: Environment) -> str:
    """Returns why a call is not run, "" if it is one of a harmless method."""
    from jinja2 import nodes

    match call.node:
        case nodes.Name(name=name):
            return f"it calls “{name}”, and no lookup or function is run here"
        case nodes.Getattr(attr=method) if method in _METHODS:
            return ""
        case _:
            return "it calls a method that is not known to be harmless"


def _problem_of_name(name: jinja2_nodes.Name, _environment: Environment) -> str:
    """Returns why a name is refused, "" if it may be a variable."""
    return f"“{name.name}” is not a variable of the inventory" if name.name in _RESERVED else ""


def _problem_of_filter(one: jinja2_nodes.Filter, environment: Environment) -> str:
    """Returns why a filter is not run, "" if it is allowed; internal ones are not."""
    is_allowed = one.name in environment.filters and one.name[0] != "_"
    return "" if is_allowed else f"the filter “{one.name}” is not run here"


def _problem_of_statement(node: Node, _environment: Environment) -> str:
    """Returns why a node is refused, "" for an expression and for “if”."""
    from jinja2 import nodes

    allowed = nodes.Output | nodes.If | nodes.Template
    if not isinstance(node, nodes.Stmt) or isinstance(node, allowed):
        return ""
    return f"only expressions and “if” are, no “{type(node).__name__.lower()}”"


def _add_weighing(tree: Tree, environment: Environment) -> None:
    """Puts a weighing filter into a tree wherever `~` joins, and around what is compared."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def filtered(name: str, node: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)

    class Weighing(NodeTransformer):
        def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
            self.generic_visit(node)
            return filtered(JOINED, nodes.List(node.nodes, lineno=node.lineno))

        def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
            self.generic_visit(node)
            node.expr = filtered(WEIGHED, node.expr)
            for operand in node.ops:
                operand.expr = filtered(WEIGHED, operand.expr)
            return node

    Weighing().visit(tree)
    tree.set_environment(environment)


def _single_expression(tree: Tree) -> Tree | None:
    """Returns a template that keeps the value of the one expression in `tree`.

    None if there is anything else in it.
    """
    from jinja2 import nodes

    match tree.body:
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            keep = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
            return nodes.Template([keep], lineno=1)
        case _:
            return None
