"""YAML 1.1 scalars: their tags, and their values as the installed SafeLoader makes them.

What a scalar means is left to PyYAML, through its documented API: releases of PyYAML differ in it.
"""

from __future__ import annotations

from typing import Any

import yaml

PREFIX = "tag:yaml.org,2002:"
STR, MAP, MERGE = PREFIX + "str", PREFIX + "map", PREFIX + "merge"
NUMBERS = (PREFIX + "int", PREFIX + "float")
SCALARS = (*NUMBERS, *(PREFIX + name for name in ("null", "bool", "binary", "timestamp")))
MAX_NUMBER = 1000
"""Maximum number of characters of a number: Python takes quadratic time for longer ones, and
refuses to print them.
"""
_CONSTRUCTED = "!constructed"


class Constructor(yaml.SafeLoader):
    """Makes single values from nodes, as the installed SafeLoader does."""


class ConstructedNode(yaml.ScalarNode):
    """A node whose value exists already; `text` is how it was written."""

    def __init__(self, value: Any, text: str = "") -> None:
        super().__init__(_CONSTRUCTED, text)
        self.constructed = value


def _constructed(_: Constructor, node: ConstructedNode) -> Any:
    return node.constructed


Constructor.add_constructor(_CONSTRUCTED, _constructed)
_RESOLVER: Any = Constructor("")


def tag_of(scalar: Any) -> str:
    """Returns the tag of a scalar's event, in full ("tag:yaml.org,2002:int").

    A scalar that is written without one has the tag that YAML 1.1 gives it: that of text if it is
    quoted, else the first type whose pattern fits.
    """
    if scalar.tag not in (None, "!"):
        return str(scalar.tag)
    return _resolve(scalar.value, scalar.implicit)


def _resolve(text: str, implicit: tuple[bool, bool]) -> str:
    """Returns the tag of a text; `implicit` tells whether it is plain, and whether it is quoted."""
    return str(_RESOLVER.resolve(yaml.ScalarNode, text, implicit))


def parse_plain_scalar(text: str) -> Any:
    """Returns what YAML 1.1 makes of `text` without quotation marks and without a tag.

    0022 is 18, yes is True, 1.10 is the number 1.1, and "" is None. Text stays text if it is a
    number of more than `MAX_NUMBER` characters. Raises `ValueError` for a date that does not exist,
    such as 2024-02-31.
    """
    tag = _resolve(text, (True, False))
    is_long_number = tag in NUMBERS and len(text) > MAX_NUMBER
    if tag not in SCALARS or is_long_number:
        return text
    return Constructor("").construct_document(yaml.ScalarNode(tag, text))
