"""Passwords in memory: never printed, never stored."""

from __future__ import annotations

from . import core_dumps


class Secret:
    """A password. Logs, tracebacks and JSON never contain it; only `reveal` returns it.

    A process that creates one writes no core dump from then on.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        core_dumps.disable()
        self._text = text

    def reveal(self) -> str:
        """Returns the password."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(Secret)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not stored")
