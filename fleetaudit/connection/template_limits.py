"""Limits on templates: the size of one value, and the work for one host. No I/O.

Rules: a value is weighed as if every list and mapping in it were written out, because whoever
prints, copies or compares it does just that. A unit of work is about a twentieth of a microsecond:
a host costs a fraction of a second.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

MAX_RESULT = 65_536
"""Maximum number of characters or items of what any part of a template gives."""
MAX_WEIGHT = 2 * MAX_RESULT
"""Maximum number of values in one value; 64 characters of a text count as one."""
MAX_BITS = 4096
"""Maximum number of bits of an integer."""
MAX_WORK = 2_000_000
"""Maximum number of units of work for one host."""
_CHARACTERS_PER_UNIT = 64
_SURROGATE = re.compile("[\ud800-\udfff]")


class TemplateLimitError(Exception):
    """A template exceeds a limit; the text says which."""


class WorkBudget:
    """The work that may still be done for one host."""

    def __init__(self) -> None:
        self.units = MAX_WORK

    def spend(self, units: int) -> None:
        """Takes units of work; raises `TemplateLimitError` if none remain."""
        self.units -= units
        if self.units < 0:
            raise TemplateLimitError("its templates take too much work, all together")


_CURRENT = ContextVar[WorkBudget]("_CURRENT")


@contextlib.contextmanager
def counted_against(budget: WorkBudget) -> Iterator[None]:
    """Takes all work inside the block from the budget of one host."""
    token = _CURRENT.set(budget)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def spend(units: int) -> None:
    """Takes units of work from the current host's budget; raises `TemplateLimitError`."""
    _CURRENT.get().spend(units)


def check_weight(value: Any) -> Any:
    """Returns the value itself; raises `TemplateLimitError` if it is too long, large or deep."""
    spend(weight(value))
    return value


def check_result(value: Any) -> Any:
    """Returns the value itself, weighed; raises Jinja2's error if it is undefined."""
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)  # raises UndefinedError, with the name that is missing
    return check_weight(value)


def weight(value: Any) -> int:
    """Returns how many values are in a value, itself counted, as if everything were written out.

    A text counts one more for every 64 characters; the keys of a mapping do not count. Raises
    `TemplateLimitError` above `MAX_WEIGHT`, for a text, list or mapping longer than `MAX_RESULT`,
    and for an integer of more than `MAX_BITS` bits. The value is walked without recursion, so that
    one that is nested deeply is no problem.
    """
    total, rest = 0, [value]
    while rest:
        one = rest.pop()
        total += 1
        match one:
            case str():
                total += _checked_length(one) // _CHARACTERS_PER_UNIT
            case bool():
                pass
            case int() if one.bit_length() > MAX_BITS:
                raise TemplateLimitError(f"a number of more than {MAX_BITS} bits")
            case list() | tuple():
                _checked_length(one)
                rest.extend(one)
            case dict():
                _checked_length(one)
                rest.extend(one.values())
        _check_total(total)
    return total


def _check_total(values: int) -> None:
    """Raises `TemplateLimitError` for more values than the limit."""
    if values > MAX_WEIGHT:
        raise TemplateLimitError(f"it gives more than {MAX_WEIGHT} values")


def _checked_length(value: str | list[Any] | tuple[Any, ...] | dict[Any, Any]) -> int:
    """Returns the length of a value; raises `TemplateLimitError` above the limit."""
    if len(value) > MAX_RESULT:
        raise TemplateLimitError(f"it gives more than {MAX_RESULT} characters or items")
    return len(value)


def evaluated(value: Any) -> Any:
    """Returns a copy of a value with every lazy mapping in it evaluated, and tuples as lists.

    Raises `TemplateLimitError` if it has more than `MAX_WEIGHT` values, or half a character in a
    text, and `TemplateValueError` if a value in it cannot be rendered.
    """
    total = 0

    def copy(one: Any) -> Any:
        nonlocal total
        total += 1
        _check_total(total)
        if isinstance(one, Mapping):
            return {key: copy(one[key]) for key in one}
        if isinstance(one, list | tuple):
            return list(map(copy, one))
        if isinstance(one, str):
            _check_characters(one)
        return one

    result = copy(value)
    spend(total)
    return result


def _check_characters(text: str) -> None:
    r"""Raises `TemplateLimitError` for half a character, which no program or file can be given.

    Escapes make one, such as `\ud800` in a literal of a template or of INI.
    """
    if _SURROGATE.search(text):
        raise TemplateLimitError("half a character (a lone surrogate) is in it")


def check_items(values: Iterator[Any]) -> Iterator[Any]:
    """Yields what a lazy filter gives, each item weighed.

    Such a filter, for example map, has no length before it runs. Raises `TemplateLimitError` when
    the items together are too much.
    """
    total = 0
    for value in values:
        units = weight(value)
        total += units
        _check_total(total)
        spend(units)
        yield value
