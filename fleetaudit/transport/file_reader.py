"""Reads files that may never answer (a dead mount) in a separate thread, without a lock and under a
deadline.

Rules: a read that hangs costs one thread, however many hosts need the file, and each of them waits
only until its own deadline. The data is not kept here.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

from . import Deadline, waiting

T = TypeVar("T")
_MIN_S = 0.1  # for a read that begins after its deadline: the file is not to blame


class FileReader:
    """The reads in progress; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_progress: dict[Hashable, Future[Any]] = {}

    def get(self, key: Hashable, read: Callable[[], T], deadline: Deadline) -> T:
        """Returns what `read` returns; callers with the same `key` at the same time share one call.

        Raises what `read` raises, and `TimeoutError` if the deadline comes first.
        """
        with self._lock:
            future = self._in_progress.get(key) or self._start(key, read)
        flag = waiting.flag_of(future)
        if not (flag.wait(Deadline.after(_MIN_S)) or flag.wait(deadline)):
            raise TimeoutError(
                errno.ETIMEDOUT, "it was not read in time (its file system may not answer)"
            )
        result: T = waiting.result_of(future)
        return result

    def _start(self, key: Hashable, read: Callable[[], T]) -> Future[T]:
        """Starts the thread of one read; raises `OSError` if there is none."""

        def run() -> T:
            try:
                return read()
            finally:
                self._end(key)

        try:
            future = self._in_progress[key] = waiting.start_call(run, f"read {key}")
        except OSError as e:
            raise OSError(errno.EAGAIN, f"no thread to read it: {e.strerror}") from e
        return future

    def _end(self, key: Hashable) -> None:
        """Removes a read that has ended."""
        with self._lock:
            del self._in_progress[key]


shared_reader = FileReader()
"""The reads of this process."""
