"""A parsed file: plain values, and the line and column where each was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fleetaudit.errors import InputError

ValuePath = Sequence[str | int]
"""Where a value is in a document: keys and indexes from the root."""
# Bare integers instead of `Position`, because a large file has millions of places.
Place = tuple[int, int, int, int]
"""The place of an entry of a list or mapping: line and column of its key, then of its value."""


class Position(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: `value` is plain Python, `source` the name of the file in messages.

    `_places` has the places of the entries of each list and mapping in `value`, by its id();
    `value` keeps them alive.
    """

    source: str
    value: Any
    _root: Position = field(repr=False)
    _places: dict[int, Mapping[Any, Place]] = field(repr=False)

    def at(self, path: ValuePath = ()) -> Position:
        """Returns where the value at `path` begins.

        A path that does not exist gives the place of its deepest part that does. A value that came
        by an alias or a merge key is where it was written.
        """
        return Position(*self._walk(path)[2:])

    def key_at(self, path: ValuePath) -> Position:
        """Returns where the last key of `path` is written; for an item of a list, its value."""
        return Position(*self._walk(path)[:2])

    def written(self, container: Any) -> Mapping[Any, Place]:
        """Returns the places of the entries of a list or mapping inside `value`.

        Empty for a list or mapping that was not written in the file.
        """
        return self._places.get(id(container), {})

    def error(
        self, message: str, path: ValuePath = (), *, key: bool = False, hint: str = ""
    ) -> InputError:
        """Returns an error to raise about the value at `path`, or about its key."""
        where = self.key_at(path) if key else self.at(path)
        return InputError(
            message, source=self.source, line=where.line, column=where.column, hint=hint
        )

    def _walk(self, path: ValuePath) -> Place:
        """Returns the place of the deepest part of `path` that exists."""
        place, value = (*self._root, *self._root), self.value
        for step in path:
            entries = self._places.get(id(value), {})
            if step not in entries:
                break
            place, value = entries[step], value[step]
        return place
