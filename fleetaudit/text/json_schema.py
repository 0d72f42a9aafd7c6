"""JSON for other programs: how a value is encoded, and the schemas in `fleetaudit/schema/`, made
from the types that read the same files. Pure.

Rules: JSON is shown on terminals, too, so what a person cannot see is escaped in what is printed.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from .sanitize import is_visible

# A surrogate that stands for no byte of a file's name: nothing encodes it.
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_NULL = {"type": "null"}


def encode_json(value: Any, enc_hook: Callable[[Any], Any] | None = None) -> bytes:
    """Returns a value as JSON, with U+FFFD for what is not text: a file's name may be any bytes.

    `enc_hook` is msgspec's: it returns what is encoded in place of a type that msgspec does not
    know. The value is copied only if it has a text that cannot be encoded.
    """
    try:
        return msgspec.json.encode(value, enc_hook=enc_hook)
    except UnicodeEncodeError:
        return msgspec.json.encode(_with_texts(msgspec.to_builtins(value, enc_hook=enc_hook)))


def escape_json(data: bytes) -> bytes:
    """Returns JSON whose invisible characters are escaped; it means the same.

    JSON itself has only the controls below U+0020 escaped. A terminal obeys those of U+0080 to
    U+009F as well, and bidi overrides.
    """
    if not _NOT_PRINTABLE_ASCII.search(data):
        return data
    return escape_json_text(data.decode()).encode()


def escape_json_text(text: str) -> str:
    """Returns what `escape_json` returns, of a text, in which line feeds may stand."""
    return _NOT_PLAIN.sub(lambda found: "".join(map(_escape_invisible, found[0])), text)


_NOT_PLAIN = re.compile("[^\n -~]+")
_NOT_PRINTABLE_ASCII = re.compile(rb"[\x7f-\xff]")


def _escape_invisible(character: str) -> str:
    """Returns a visible character as it is, and another one as JSON writes it in ASCII."""
    if is_visible(character):
        return character
    return json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def file_name_text(name: object) -> str:
    """Returns the name of a file as text, with U+FFFD for bytes that are not UTF-8.

    Python has such bytes as lone surrogates (PEP 383). Surrogates that stand for no byte become
    U+FFFD as well.
    """
    text = _NO_BYTE.sub("\ufffd", str(name))
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _with_texts(value: Any) -> Any:
    """Returns a value of JSON's own types whose texts can be encoded."""
    match value:
        case str():
            return file_name_text(value)
        case dict():
            return {_with_texts(key): _with_texts(inner) for key, inner in value.items()}
        case list() | tuple():
            return list(map(_with_texts, value))
        case _:
            return value


def json_schema_of(type_: Any, title: str) -> bytes:
    """Returns the JSON Schema (2020-12) of a msgspec type, indented, with a line feed at its
    end.

    The text is the same with every release of Python and msgspec that fleetaudit supports, because
    it is committed and published.
    """
    schema: dict[str, Any] = msgspec.json.schema(type_)
    for definition in schema["$defs"].values():
        # A description is a docstring, which Python 3.13 dedents and earlier releases do not.
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    _put_null_last(schema)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return msgspec.json.format(msgspec.json.encode(head | schema), indent=2) + b"\n"


def _put_null_last(schema: Any) -> None:
    """Sorts alternatives: msgspec before 0.22 names null first."""
    if isinstance(schema, list):
        parts = schema
    elif isinstance(schema, dict):
        _sort_alternatives(schema)
        parts = list(schema.values())
    else:
        return
    for part in parts:
        _put_null_last(part)


def _sort_alternatives(schema: dict[str, Any]) -> None:
    """Puts null after the other alternatives of one type."""
    alternatives = schema.get("anyOf")
    if isinstance(alternatives, list):
        alternatives.sort(key=lambda alternative: alternative == _NULL)
