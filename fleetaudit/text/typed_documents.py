"""Converts a parsed file into msgspec types, with the line of what does not fit."""

from __future__ import annotations

import difflib
import functools
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import msgspec

from fleetaudit.errors import InputError

from .document import Document, ValuePath
from .phrases import surround

T = TypeVar("T")

_PATH_STEPS = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+|\.\.\.)\]")
"""One step of msgspec's paths: a field, an index, or "..." for any key."""

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "yes or no",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
    "date": "a date",
    "datetime": "a time",
    "bytes": "binary data",
}
"""What a message calls msgspec's kinds of values."""


def convert_document(document: Document, type_: type[T], path: ValuePath = ()) -> T:
    """Returns the part of `document` at `path` as a `type_` (a msgspec type).

    Raises `InputError` at the line of the first value that does not fit; for an unknown key, or a
    word that is not one of several, with the one that may have been meant. `path` must exist.
    """
    value = functools.reduce(operator.getitem, path, document.value)
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as e:
        text, _, place = str(e).partition(" - at `")
        inner = _parse_path(place, value, type_)
        raise _explain(_Mismatch(document, type_, [*path, *inner], inner), text) from e


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean “…”?", the end of a message about an unknown word.

    "" if none of the `known` words is close to `word` (by difflib's ratio, at least 0.6).
    """
    near = "".join(difflib.get_close_matches(word, list(known), 1))
    return surround("; did you mean “", near, "”?")


# ---- where a value does not fit


def _parse_path(text: str, value: Any, type_: Any) -> list[str | int]:
    """Returns msgspec's `$.plays[0].sysctls[...].name` as a path.

    msgspec does not say which key `[...]` is, so they are tried. The path ends before a key that
    cannot be found.
    """
    steps = list[str | int]()
    for name, index in _PATH_STEPS.findall(text):
        step = name or _index(index)
        if step is None:
            step = _first_unfit_key(value, steps, type_)
        if step is None:
            break
        steps.append(step)
    return steps


def _index(text: str) -> int | None:
    """Returns the number in the brackets of a path, None for "..."."""
    return None if text == "..." else int(text)


def _first_unfit_key(value: Any, path: ValuePath, type_: Any) -> Any:
    """Returns the first key of the mapping at `path` whose value does not fit, None for none.

    Each key is tried alone in a copy of `value`, so that an error elsewhere in the mapping does not
    count.
    """
    mapping = functools.reduce(operator.getitem, path, value)
    alone = ((key, _with_part(value, path, {key: mapping[key]})) for key in mapping)
    return next((key for key, part in alone if not _fits(part, type_)), None)


def _fits(value: Any, type_: Any) -> bool:
    """Returns whether a value can be converted."""
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError:
        return False
    return True


def _with_part(value: Any, path: ValuePath, part: Any) -> Any:
    """Returns a copy of `value` with `part` at `path`; only what is on the path is copied."""
    if not path:
        return part
    copy = value.copy()
    copy[path[0]] = _with_part(value[path[0]], path[1:], part)
    return copy


# ---- why it does not fit


class _Mismatch(NamedTuple):
    """A value that does not fit: its path in the document, and inside the part that is
    converted.
    """

    document: Document
    type_: Any
    path: list[str | int]
    inner: Sequence[str | int]


def _explain(mismatch: _Mismatch, text: str) -> InputError:
    """Returns msgspec's error in the words of this project, at the line that it is about.

    A text that `_EXPLANATIONS` does not know stays, with its first letter in lower case.
    """
    for pattern, explain in _EXPLANATIONS:
        if match := pattern.fullmatch(text):
            return explain(mismatch, match)
    return mismatch.document.error(text[:1].lower() + text[1:], mismatch.path)


def _unknown_key(mismatch: _Mismatch, match: re.Match[str]) -> InputError:
    known = _field_names(mismatch)
    return mismatch.document.error(
        f"unknown key “{match[1]}”{did_you_mean(match[1], known)}",
        [*mismatch.path, match[1]],
        key=True,
        hint=f"known here: {', '.join(known)}",
    )


def _unknown_word(mismatch: _Mismatch, match: re.Match[str]) -> InputError:
    words = _literal_values(mismatch)
    return mismatch.document.error(
        f"“{match[1]}” is not one of “{'”, “'.join(words)}”{did_you_mean(match[1], words)}",
        mismatch.path,
    )


def _missing_key(mismatch: _Mismatch, match: re.Match[str]) -> InputError:
    return mismatch.document.error(f"the key “{match[1]}” is missing", mismatch.path)


def _other_kind(mismatch: _Mismatch, match: re.Match[str]) -> InputError:
    kinds = [_KINDS.get(kind, kind) for kind in match[1].split(" | ") if kind != "null"]
    found = _KINDS.get(match[2], match[2])
    return mismatch.document.error(f"{found} where {' or '.join(kinds)} belongs", mismatch.path)


_EXPLANATIONS: tuple[
    tuple[re.Pattern[str], Callable[[_Mismatch, re.Match[str]], InputError]], ...
] = (
    (re.compile(r"Object contains unknown field `(.*)`"), _unknown_key),
    (re.compile(r"Invalid enum value '(.*)'"), _unknown_word),
    (re.compile(r"Object missing required field `(.*)`"), _missing_key),
    (re.compile(r"Expected `(.*)`, got `(.*)`"), _other_kind),
)
"""msgspec's messages, and what each becomes."""


# ---- what would fit


def _field_names(mismatch: _Mismatch) -> list[str]:
    """Returns the keys that are known where a value does not fit."""
    names = list[str]()
    for info in _types_at(mismatch.type_, mismatch.inner):
        if isinstance(info, msgspec.inspect.StructType):
            names += [field.encode_name for field in info.fields]
    return names


def _literal_values(mismatch: _Mismatch) -> list[str]:
    """Returns the words that are known where a value does not fit."""
    words = list[str]()
    for info in _types_at(mismatch.type_, mismatch.inner):
        if isinstance(info, msgspec.inspect.LiteralType):
            words += map(str, info.values)
    return words


def _types_at(type_: Any, path: ValuePath) -> list[msgspec.inspect.Type]:
    """Returns the alternatives of the type at `path` inside `type_`."""
    types = _alternatives(msgspec.inspect.type_info(type_))
    for step in path:
        inner = [_inner_type(each, step) for each in types]
        types = [*chain.from_iterable(map(_alternatives, inner))]
    return types


def _inner_type(info: Any, step: str | int) -> Any:
    """Returns the type of one entry of a type, None if it has none.

    An entry is a field of a struct, a value of a dict, or an item of a list or tuple.
    """
    if isinstance(info, msgspec.inspect.StructType):
        return {field.encode_name: field.type for field in info.fields}.get(str(step))
    if isinstance(info, msgspec.inspect.DictType):
        return info.value_type
    return getattr(info, "item_type", None)


def _alternatives(info: Any) -> list[msgspec.inspect.Type]:
    """Returns the alternatives of a union, a type itself otherwise; [] for None."""
    if info is None:
        return []
    if isinstance(info, msgspec.inspect.Metadata):
        return _alternatives(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return [*chain.from_iterable(map(_alternatives, info.types))]
    return [info]
