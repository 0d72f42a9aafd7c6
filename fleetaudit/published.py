"""The JSON Schemas that are published in `fleetaudit/schema/`, made of the types that read the same files. Pure."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec


def schema_of(type_: Any, title: str) -> bytes:
    """Returns the JSON Schema (2020-12) of a msgspec type, indented, with a line's end."""
    schema: dict[str, Any] = msgspec.json.schema(type_)
    for noun in schema["$defs"].values():
        if "description" in noun:  # a docstring, which Python 3.13 dedents and earlier ones do not
            noun["description"] = inspect.cleandoc(noun["description"])
    _put_null_last(schema)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return msgspec.json.format(msgspec.json.encode(head | schema), indent=2) + b"\n"


def _put_null_last(schema: Any) -> None:
    """Sorts alternatives, of which msgspec before 0.22 names null first."""
    if isinstance(schema, dict):
        if isinstance(alternatives := schema.get("anyOf"), list):
            alternatives.sort(key=lambda one: one == {"type": "null"})
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else ():
        _put_null_last(part)
