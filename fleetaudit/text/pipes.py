"""Reads what a pipe or a file delivers, as it comes and within a deadline."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator

_CHUNK_BYTES = 65_536


def read_chunks(fd: int, wait_s: float) -> Iterator[bytes]:
    """Yields what a file or a pipe delivers, as it comes, up to its end.

    A chunk has at most 64 KiB. Raises `TimeoutError` if all of it takes longer than `wait_s`
    seconds, also if the caller is slow; OSError passes through. The caller closes `fd`.
    """
    until = time.monotonic() + wait_s
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        chunk = os.read(fd, _CHUNK_BYTES)
        if not chunk:
            return
        yield chunk
    raise TimeoutError(0, f"nothing came of it within {wait_s:g} s")
