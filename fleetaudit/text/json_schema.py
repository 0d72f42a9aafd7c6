"""JSON that others read: how a value is written, and the schemas in `fleetaudit/schema/`, made of
the types that read the same files. Pure.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import msgspec

# Half of a pair that stands for no byte of a file's name: nothing encodes it.
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def encode_json(value: Any, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """Returns a value as JSON. What is no text becomes U+FFFD: the name of a file may be any bytes."""
    try:
        return msgspec.json.encode(value, enc_hook=enc_hook)
    except UnicodeEncodeError:
        return msgspec.json.encode(_texts(msgspec.to_builtins(value, enc_hook=enc_hook)))


def file_name_text(name: object) -> str:
    """Returns the name of a file as text; see `encode_json`."""
    text = _NO_BYTE.sub("\ufffd", str(name))
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return file_name_text(value)
    if isinstance(value, dict):
        return {_texts(key): _texts(of_key) for key, of_key in value.items()}
    return [_texts(item) for item in value] if isinstance(value, list | tuple) else value


def json_schema_of(type_: Any, title: str) -> bytes:
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
