"""Keeps what was read from the user's files for one run: hosts share the keys to log in with.

Rules: no lock is held while a file is read. What could not be read is not kept, because that may be
temporary.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from . import Deadline
from .file_reader import shared_reader

T = TypeVar("T")


class FileCache:
    """The results of one run; safe to use from many threads."""

    def __init__(self) -> None:
        self._results: dict[Hashable, Any] = {}

    def get(self, key: Hashable, read: Callable[[], T], deadline: Deadline) -> T:
        """Returns what `read` returned, which is called once unless it fails.

        Raises what `read` raises, and `TimeoutError` if the deadline comes first.
        """
        if key not in self._results:
            self._results[key] = shared_reader.get(key, read, deadline)
        result: T = self._results[key]
        return result
