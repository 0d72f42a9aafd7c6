"""A mapping of few own entries over many shared ones: group variables are not copied for hosts.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

V = TypeVar("V")

_WORTH_SHARING = 16
_MISSING: Any = object()


def overlay(own: Mapping[str, V], shared: Mapping[str, V]) -> Mapping[str, V]:
    """Returns the entries of `shared`, with those of `own` in the place of equal names.

    Neither may change afterwards: the result is one of them or reads from both. Mappings of less
    than 16 shared entries are merged, since that is faster to read; larger ones are not copied:
    hosts with the same group variables share one mapping of them. The order is that of
    {**shared, **own}.
    """
    if not own:
        return shared
    if len(shared) < _WORTH_SHARING:
        return {**shared, **own}
    return _Layered(own, shared)


class _Layered(Mapping[str, V]):
    """Reads like {**shared, **own}, in that order."""

    __slots__ = ("_own", "_shared")

    def __init__(self, own: Mapping[str, V], shared: Mapping[str, V]) -> None:
        self._own, self._shared = own, shared

    def __getitem__(self, name: str) -> V:
        value: V = self._own.get(name, _MISSING)
        if value is _MISSING:
            return self._shared[name]
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the value of a name, `default` if there is none.

        The method of Mapping raises and catches an exception for each missing name, which is slow.
        """
        value: Any = self._own.get(name, _MISSING)
        if value is _MISSING:
            return self._shared.get(name, default)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._shared

    def __iter__(self) -> Iterator[str]:
        yield from self._shared
        yield from (name for name in self._own if name not in self._shared)

    def __len__(self) -> int:
        return len(self._shared) + sum(name not in self._shared for name in self._own)

    def __repr__(self) -> str:
        return repr(dict(self))
