"""Puts a text of one's own into every field of a type that has text, found by reflection.

A field that is added to the model or to the reply of the probe is covered without being named here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

Take = Callable[[str, int], str]
"""Returns the text of a field, given its path ("hosts.kernel.release") and its maximum length."""
LONGEST = 4000
"""Maximum length of a text whose type has no bound."""
_ENTRIES = 2
"""How many entries a list or mapping gets, if its type allows it."""


class Placed(NamedTuple):
    """A text that was put into a field: the path, the kind of payload, the text and its tag."""

    path: str
    kind: str
    payload: str
    tag: str

    @property
    def text(self) -> str:
        """The text of the field: the tag is last, because an attack may need to be first."""
        return self.payload + self.tag


class Filler:
    """Makes values of a type.

    Literals are taken in turn, numbers are the least ones or 1. `fixed` has the values of fields by
    path, for those that name something else in the value.
    """

    def __init__(self, take: Take, fixed: Mapping[str, object] | None = None) -> None:
        self._take, self._fixed = take, fixed or {}
        self._turn = itertools.count()

    def make(self, type_: Any, path: str = "") -> Any:
        """Returns a value of a type, as the decoder makes it."""
        return msgspec.convert(self._value(inspect.type_info(type_), path), type_, strict=False)

    def _value(self, kind: inspect.Type, path: str) -> Any:
        """Returns plain data for one type."""
        if path in self._fixed:
            return self._fixed[path]
        return _MAKERS[type(kind)](self, kind, path)

    def _text(self, kind: inspect.StrType, path: str) -> str:
        """Returns the text of a field; a type with a pattern allows no text of one's own."""
        if kind.pattern is not None:
            return "/etc/sysctl.conf:1"
        return self._take(path, kind.max_length or LONGEST)

    def _struct(self, kind: inspect.StructType, path: str) -> object:
        """Returns a mapping or, of a type that is an array in JSON, a list."""
        values = {
            field.encode_name: self._value(field.type, f"{path}.{field.name}".lstrip("."))
            for field in kind.fields
        }
        if kind.array_like:
            return list(values.values())
        if kind.tag_field:
            values[kind.tag_field] = kind.tag
        return values

    def _list(self, kind: Any, path: str) -> list[Any]:
        """Returns a list or tuple of several equal items."""
        return [self._value(kind.item_type, path) for _ in range(_count(kind))]

    def _tuple(self, kind: inspect.TupleType, path: str) -> list[Any]:
        """Returns a tuple of given items."""
        return [self._value(item, path) for item in kind.item_types]

    def _dict(self, kind: inspect.DictType, path: str) -> dict[Any, Any]:
        """Returns a mapping; its keys are fields, too."""
        return {
            self._value(kind.key_type, f"{path} key"): self._value(kind.value_type, path)
            for _ in range(_count(kind))
        }

    def _union(self, kind: inspect.UnionType, path: str) -> Any:
        """Returns a value of the first type of several that is not None."""
        types = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return self._value(types[0], path)

    def _literal(self, kind: inspect.LiteralType, _path: str) -> Any:
        """Returns the allowed values in turn."""
        return kind.values[next(self._turn) % len(kind.values)]

    def _number(self, kind: Any, _path: str) -> float:
        """Returns 1, or the nearest number that is allowed."""
        return min(max(1, kind.ge or 0), kind.le if kind.le is not None else 1)


_MAKERS: dict[type[inspect.Type], Callable[[Filler, Any, str], Any]] = {
    inspect.StrType: Filler._text,
    inspect.StructType: Filler._struct,
    inspect.ListType: Filler._list,
    inspect.VarTupleType: Filler._list,
    inspect.TupleType: Filler._tuple,
    inspect.DictType: Filler._dict,
    inspect.UnionType: Filler._union,
    inspect.LiteralType: Filler._literal,
    inspect.IntType: Filler._number,
    inspect.FloatType: Filler._number,
    inspect.BoolType: lambda _self, _kind, _path: True,
    inspect.NoneType: lambda _self, _kind, _path: None,
    inspect.AnyType: lambda self, _kind, path: self._take(path, LONGEST),
}


def _count(kind: Any) -> int:
    """Returns how many entries a list or mapping of a type gets."""
    most = _ENTRIES if kind.max_length is None else min(_ENTRIES, kind.max_length)
    return max(most, kind.min_length or 0)


def tags() -> Iterator[str]:
    """Yields different tags of letters: digits would be folded into ranges of hosts."""
    for length in itertools.count(2):
        for letters in itertools.product("bcdfghjklmnpqrstvwxz", repeat=length):
            yield f"~{''.join(letters)}~"
