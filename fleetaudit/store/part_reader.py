"""Decodes the lines of a run's hosts; each part is decoded once, and hosts share the objects."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NoReturn

from fleetaudit.model import HostResult, NotAudited, NotSelected

from .part_types import HostLine, Part, UnknownPartError


class Interner:
    """Gives equal values one object, also in several runs that are read with one interner.

    Evidence has times, so that of two runs is never equal. Whatever else is equal in two runs is
    one object: `is` finds it at once, but only `==` proves that two values differ.
    """

    def __init__(self) -> None:
        self._known = dict[tuple[str, Hashable], Any]()

    def intern(self, kind: str, key: Hashable, value: Any) -> Any:
        """Returns the first value of a kind that had this key."""
        return self._known.setdefault((kind, key), value)


def _no_such_part(kind: str, number: int) -> NoReturn:
    """Raises `UnknownPartError`."""
    raise UnknownPartError(f"it needs {kind} {number}, which no line before it has")


class PartReader:
    """The parts of one file that were decoded so far, and the hosts made of them.

    `load` is called for a part that was not added; it returns its line, or raises
    `UnknownPartError`.
    """

    def __init__(
        self,
        interner: Interner | None = None,
        load: Callable[[str, int], Part] = _no_such_part,
    ) -> None:
        self._interner = interner or Interner()
        self._load = load
        self._values = dict[tuple[str, int], Any]()

    def add(self, part: Part) -> Any:
        """Takes the line of a part and returns its value; raises `UnknownPartError`."""
        value: Any = part.build(self.get)
        value = self._interner.intern(part.kind, part.key(value), value)
        self._values[part.kind, part.id] = value
        return value

    def get(self, kind: str, number: int) -> Any:
        """Returns the value of a part; raises `UnknownPartError`."""
        try:
            return self._values[kind, number]
        except KeyError:
            return self.add(self._load(kind, number))

    def host(self, line: HostLine) -> HostResult:
        """Returns the host of a line; raises `UnknownPartError`."""
        record = line.value
        if isinstance(record, NotAudited | NotSelected):
            return record
        return record.build(self.get)
