"""A bounded cache of results, by value."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps the values that were used last: at least `size` of them, and fewer than twice as many.

    Two dicts take turns, because that costs one lookup for a value that is used often: the old one
    is dropped when the new one is full. So a fleet in which every host differs costs time, and no
    more memory. Values are never None. Threads may share it: at worst a value is computed twice.

    A key may have `id(object)` in it if its value keeps a reference to the object: then no other
    object can have the id while the value is kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._new = dict[K, V]()
        self._old = dict[K, V]()

    def get(self, key: K) -> V | None:
        """Returns the value of a key, None if it is not kept."""
        value = self._new.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """Returns the value of a key; `make` returns it if it is not kept."""
        value = self.get(key)
        return self.put(key, make()) if value is None else value

    def put(self, key: K, value: V) -> V:
        """Keeps the value of a key, and returns it."""
        if len(self._new) >= self._size:
            self._old, self._new = self._new, {}
        self._new[key] = value
        return value
