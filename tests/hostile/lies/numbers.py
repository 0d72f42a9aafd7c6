"""Lies that are one number: out of its range, of another type, or no number of JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from tests.support.reply_numbers import Place, one_of_each, with_text

from .genuine import Body, Genuine, Lie, result_line

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
    for place in _of_one_field_each(body):
        for text in itertools.islice(values, PER_FIELD):
            path = ".".join(map(str, place))
            yield Lie(f"number {path} = {text[:24]}", _sender(body, place, text), "refused")


def _sender(body: Body, place: Place, text: str) -> Any:
    """Returns what sends the reply with `text` in the place of a number."""
    return lambda: result_line(with_text(body, place, text))


def _of_one_field_each(body: Body) -> list[Place]:
    """Returns a number of every field, and of each list of times only the first."""
    return [at for at in one_of_each(body) if not (at[0] == "times" and at[-1] != 0)]
