"""How much a template may do: what one value may hold, and what all the work for one host may come
to. No I/O.

Rules: a value is weighed as if every list and mapping in it were written out, because whoever
prints, copies or compares it does just that. A unit of work is about a twentieth of a microsecond:
a host costs a fraction of a second.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

MAX_RESULT = 65_536
"""The most characters or items of what any part of a template gives."""
MAX_WEIGHT = 2 * MAX_RESULT
"""The most values in one value; 64 characters of a text count as one."""
MAX_BITS = 4096
"""The most bits of a whole number."""
MAX_WORK = 2_000_000
"""The most units of work for one host."""


class TemplateLimitError(Exception):
    """What a template asks for is more than is done for one; the text says of what."""


class WorkBudget:
    """The work that is left for one host."""

    def __init__(self) -> None:
        self.left = MAX_WORK

    def spend(self, units: int) -> None:
        """Takes some of it; raises `TemplateLimitError` where it is used up."""
        self.left -= units
        if self.left < 0:
            raise TemplateLimitError("its templates take too much work, all together")


_CURRENT = ContextVar[WorkBudget]("_CURRENT")


@contextlib.contextmanager
def counted_against(work: WorkBudget) -> Iterator[None]:
    """Lets everything inside of it count as work for one host."""
    token = _CURRENT.set(work)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def spend(units: int) -> None:
    """Takes some of the work that is left for the host at hand; raises `TemplateLimitError`."""
    _CURRENT.get().spend(units)


def check_weight(value: Any) -> Any:
    """Returns the value itself; raises `TemplateLimitError` where it is longer, larger or deeper than is
    worked with.
    """
    spend(weight(value))
    return value


def check_result(value: Any) -> Any:
    """Returns the value itself, weighed; raises jinja2's error where it is undefined."""
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)  # raises UndefinedError, with the name that is missing
    return check_weight(value)


def weight(value: Any) -> int:
    """Returns how many values are in a value, itself counted; raises `TemplateLimitError`."""
    total, rest = 0, [value]
    while rest:
        one = rest.pop()
        total += 1
        match one:
            case str():
                total += _length(one) // 64
            case bool():
                pass
            case int() if one.bit_length() > MAX_BITS:
                raise TemplateLimitError(
                    f"a number that is too large, of more than {MAX_BITS} bits"
                )
            case list() | tuple():
                _length(one)
                rest.extend(one)
            case dict():
                _length(one)
                rest.extend(one.values())
        if total > MAX_WEIGHT:
            raise TemplateLimitError(f"it gives more than {MAX_WEIGHT} values")
    return total


def _length(value: str | list[Any] | tuple[Any, ...] | dict[Any, Any]) -> int:
    if len(value) > MAX_RESULT:
        raise TemplateLimitError(f"it gives more than {MAX_RESULT} characters or items")
    return len(value)


def evaluated(value: Any) -> Any:
    """Returns a copy of a value with every lazy mapping in it worked out; raises `TemplateLimitError`."""
    total = 0

    def copied(one: Any) -> Any:
        nonlocal total
        total += 1
        if total > MAX_WEIGHT:
            raise TemplateLimitError(f"it gives more than {MAX_WEIGHT} values")
        if isinstance(one, Mapping):
            return {key: copied(one[key]) for key in one}
        return [copied(item) for item in one] if isinstance(one, list | tuple) else one

    copy = copied(value)
    spend(total)
    return copy


def check_items(values: Iterator[Any]) -> Iterator[Any]:
    """Yields what a lazy filter gives, as long as it is not too much."""
    total = 0
    for value in values:
        heavy = weight(value)
        total += heavy
        if total > MAX_WEIGHT:
            raise TemplateLimitError(f"it gives more than {MAX_WEIGHT} values")
        spend(heavy)
        yield value
