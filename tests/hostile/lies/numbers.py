"""Lies that are one number: out of its range, of another type, or no number of JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from .genuine import Body, Genuine, Lie, result_line

Place = tuple[str | int, ...]
NEVER_VALID = (
    "1" + "0" * 400,
    "1e400",
    "NaN",
    "-Infinity",
    f"{2**64}",
    f"{-(2**63) - 1}",
    '"7"',
    "[1]",
    "true",
    "1e308",
)
"""What no field for a number accepts, as it is written in JSON."""
PER_FIELD = 3


def lies(genuine: Genuine) -> Iterator[Lie]:
    """Yields lies for each field that has a number."""
    values = itertools.cycle(NEVER_VALID)
    body = genuine.body
    for place in one_of_each(body):
        for text in itertools.islice(values, PER_FIELD):
            path = ".".join(map(str, place))
            yield Lie(f"number {path} = {text[:24]}", _sender(body, place, text), "refused")


def _sender(body: Body, place: Place, text: str) -> Any:
    """Returns what sends the reply with `text` in the place of a number."""

    def send() -> bytes:
        changed = json.loads(json.dumps(body))
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = "@here@"
        return result_line(json.dumps(changed).replace('"@here@"', text).encode())

    return send


def numbers(value: Any, at: Place = ()) -> Iterator[Place]:
    """Yields the place of every number in a decoded reply."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(inner, (*at, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at


def one_of_each(body: Body) -> list[Place]:
    """Returns the first number of every field: a place in a list is any, but in a row that is
    written as a list.
    """
    first = dict[Place, Place]()
    for at in numbers(body):
        first.setdefault((*("*" if isinstance(key, int) else key for key in at[:-1]), at[-1]), at)
    kept = {key: at for key, at in first.items() if not (key[0] == "times" and at[-1] != 0)}
    return list(kept.values())
