"""The filters that templates may use: they compute a value and do nothing else. No I/O.

Rules: whatever can make a large value of a small one is weighed, before and after. jinja2 is
imported where a template is met, because importing takes time.
"""

from __future__ import annotations

import functools
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

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
    from jinja2 import Environment

Filter = Callable[..., Any]
WEIGHED, JOINED = "_weighed", "_joined"
"""Names of internal filters, which no template may use."""
_FROM_JINJA2 = frozenset(
    """
    abs capitalize count d default dictsort first float int items last length list lower map max
    min reject rejectattr reverse select selectattr sort string title trim unique upper urlencode
    """.split()  # noqa: SIM905 — a list of words
)
# These look at one item, or at none: groups with all hosts of a fleet may go through them, for
# every host.
_NOT_WEIGHED = frozenset({"count", "d", "default", "first", "last", "length"})
_MAX_DIGITS = 64


def allowed_filters(jinja2_filters: Mapping[str, Filter]) -> dict[str, Filter]:
    """Returns every filter that templates may use, by name: some of Jinja2's, and our own.

    `jinja2_filters` are those of a new environment. Our own replace Jinja2's where those could make
    a huge value before anybody weighs it (join, replace, round, sum), or are Ansible's (bool,
    ternary, mandatory, basename, dirname, to_json: "Using filters to manipulate data"). The result
    also has the two internal filters WEIGHED and JOINED.
    """
    from jinja2 import pass_environment

    filters: dict[str, Filter] = {
        **{name: jinja2_filters[name] for name in _FROM_JINJA2},
        "bool": _bool,
        "ternary": _ternary,
        "mandatory": check_result,
        "basename": _basename,
        "dirname": _dirname,
        "to_json": json.dumps,
        "join": join_texts,
        "replace": _replace,
        "round": _round,
        "sum": pass_environment(_sum),
        WEIGHED: check_weight,
        JOINED: join_texts,
    }
    weighed = {name: weighing(each) for name, each in filters.items() if name not in _NOT_WEIGHED}
    return {**filters, **weighed}


def weighing(function: Filter) -> Filter:
    """Returns a filter or test that evaluates and weighs its arguments, and weighs its result.

    `function` may be one that wants Jinja2's context or environment as its first argument; that
    argument is passed on as it is. The result raises `TemplateLimitError` for a value that is too
    large, when it is called.
    """
    # The first argument is Jinja2's own if the function asks for it.
    own = int(hasattr(function, "jinja_pass_arg"))

    @functools.wraps(function)
    def weighing_function(*arguments: Any, **named: Any) -> Any:
        values = map(_ready, arguments[own:])
        options = {name: _ready(value) for name, value in named.items()}
        result = function(*arguments[:own], *values, **options)
        if isinstance(result, Iterator):
            result = list(check_items(result))  # Ansible makes a list of it, too
        return check_weight(result)

    return weighing_function


def _ready(value: Any) -> Any:
    """Returns a value evaluated and weighed; an iterator as it is, since it is checked later."""
    if isinstance(value, Iterator):
        return value
    return check_weight(evaluated(value))


def join_texts(values: Iterable[Any], separator: str = "") -> str:
    """Returns values as one text; raises `TemplateLimitError` before that is too long."""
    texts, length = list[str](), -len(separator)
    for value in values:
        text = str(check_result(value))
        texts.append(text)
        length += len(separator) + len(text)
        if length > MAX_RESULT:
            raise TemplateLimitError(f"it gives more than {MAX_RESULT} characters")
    return separator.join(texts)


def _bool(value: Any) -> bool:
    """Returns what Ansible's filter `bool` does."""
    return value is True or str(value).lower() in TRUE_WORDS


def _ternary(value: Any, yes: Any, no: Any, null: Any = None) -> Any:
    """Returns `yes` or `no`, or `null` for None if there is one."""
    if value is None and null is not None:
        return null
    return yes if value else no


def _basename(path: Any) -> str:
    """Returns the last part of a path."""
    return posixpath.basename(str(path))


def _dirname(path: Any) -> str:
    """Returns a path without its last part."""
    return posixpath.dirname(str(path))


def _replace(text: Any, old: str, new: str) -> str:
    """Returns a text with `new` in the place of `old`."""
    text = str(text)
    if len(text) + text.count(old) * len(new) > MAX_RESULT:
        raise TemplateLimitError(f"it gives more than {MAX_RESULT} characters")
    return str(text.replace(old, new))


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    """Returns a rounded number, as Jinja2's filter does."""
    from jinja2.filters import do_round

    if abs(precision) > _MAX_DIGITS:
        raise TemplateLimitError(f"it rounds to more than {_MAX_DIGITS} digits")
    return float(do_round(value, precision, method))  # type: ignore[arg-type]  # it checks the method itself


def _sum(
    environment: Environment, values: Iterable[Any], attribute: Any = None, start: float = 0
) -> float:
    """Returns the sum of numbers, or of an attribute of each value."""
    total = _number(start)
    for value in values:
        part = value if attribute is None else environment.getitem(value, attribute)
        total += _number(part)
    return total


def _number(value: Any) -> float:
    """Returns a number as it is; raises TypeError for anything else, which could be long."""
    if not isinstance(value, int | float):
        raise TypeError("a sum is one of numbers")
    return value
