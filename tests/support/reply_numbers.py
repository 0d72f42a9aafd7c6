"""The numbers of a decoded reply: where they are, and the same reply with another text for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""


def numbers(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yields the place of every number in a decoded reply."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*at, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at


def one_of_each(body: dict[str, Any]) -> list[Place]:
    """Returns the first number of every field: a place in a list is any, but in a row that is
    written as a list.
    """
    first = dict[Place, Place]()
    for at in numbers(body):
        first.setdefault((*("*" if isinstance(key, int) else key for key in at[:-1]), at[-1]), at)
    return list(first.values())


def with_text(body: dict[str, Any], at: Place, text: str) -> bytes:
    """Returns a reply as JSON, with `text` as it is in the place of one number."""
    changed = json.loads(json.dumps(body))
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = "@here@"
    return json.dumps(changed).replace('"@here@"', text).encode()
