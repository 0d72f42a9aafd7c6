"""Reads files that may never answer (a dead mount) in a separate thread, without a lock and under a
deadline.

Rules: a read that hangs costs one thread, however many hosts need the file, and each of them waits
only until its own deadline. The data is not kept here.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

from . import Deadline

T = TypeVar("T")
_POLL_S = 0.25  # how often a wait checks its deadline, which comes early if a run stops
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
            future = self._in_progress.get(key)
            if future is None:
                future = self._in_progress[key] = Future()
                self._start(key, read, future)
        _wait(future, _MIN_S)
        while not future.done():
            if not deadline.remaining():
                raise TimeoutError(
                    errno.ETIMEDOUT, "it was not read in time (its file system may not answer)"
                )
            _wait(future, min(deadline.remaining(), _POLL_S))
        if error := future.exception():
            raise error.with_traceback(None)  # several threads raise the same exception
        result: T = future.result()
        return result

    def _start(self, key: Hashable, read: Callable[[], T], future: Future[Any]) -> None:
        """Starts the thread of one read; raises `OSError` if there is none."""
        thread = threading.Thread(
            target=self._run, args=(key, read, future), name=f"read {key}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as e:
            del self._in_progress[key]
            raise OSError(errno.EAGAIN, f"no thread to read it: {e}") from e

    def _run(self, key: Hashable, read: Callable[[], T], future: Future[Any]) -> None:
        """Reads in the thread, and passes on the result or the error."""
        try:
            result = read()
        except BaseException as e:  # the waiting threads raise it
            self._end(key)
            future.set_exception(e)
        else:
            self._end(key)
            future.set_result(result)

    def _end(self, key: Hashable) -> None:
        """Removes a read that has ended."""
        with self._lock:
            del self._in_progress[key]


def _wait(future: Future[Any], seconds: float) -> None:
    """Waits for a read, and leaves its error to the caller."""
    with contextlib.suppress(TimeoutError):
        future.exception(seconds)


shared_reader = FileReader()
"""The reads of this process."""
