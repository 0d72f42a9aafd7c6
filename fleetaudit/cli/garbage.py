"""Turns Python's garbage collector off while a command makes no garbage."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collects no garbage while modules are imported and files are read, which makes none.

    What exists afterwards lives as long as the process, so it is not searched later, either.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
