"""Reads the fields of SSH's binary formats (RFC 4251, section 5), one after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterator


class MalformedFieldsError(ValueError):
    """The bytes are not the fields that they should be; the text says why."""


class Fields:
    """Fields in a sequence of bytes, which may be hostile.

    Every method raises `MalformedFieldsError` where the bytes end too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def taken(self) -> bytes:
        """Returns what was read so far."""
        return self._data[: self._at]

    def number(self, size: int) -> int:
        """Returns a number of `size` bytes."""
        return int.from_bytes(self._take(size), "big")

    def string(self) -> bytes:
        """Returns a string."""
        return self._take(self.number(4))

    def name(self) -> str:
        """Returns a string that is the name of a key type or an algorithm."""
        return self.string().decode("ascii", "replace")

    def strings(self) -> Iterator[bytes]:
        """Yields strings up to the end."""
        while self.has_more:
            yield self.string()

    def numbers(self, size: int) -> Iterator[int]:
        """Yields numbers of `size` bytes up to the end."""
        while self.has_more:
            yield self.number(size)

    @property
    def has_more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def end(self) -> None:
        """Raises `MalformedFieldsError` if anything is left."""
        if self.has_more:
            raise MalformedFieldsError("it has more bytes than fields")

    def _take(self, size: int) -> bytes:
        """Returns the next bytes."""
        if size > len(self._data) - self._at:
            raise MalformedFieldsError("it ends in the middle of a field")
        self._at += size
        return self._data[self._at - size : self._at]


def string_of(data: bytes) -> bytes:
    """Returns bytes as a string of these formats, its length first."""
    return len(data).to_bytes(4, "big") + data
