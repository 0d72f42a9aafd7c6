"""Holds the lock of an output folder for a command, and first removes what killed ones left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fleetaudit.report import registry
from fleetaudit.store.lock import hold_lock
from fleetaudit.store.retention import remove_leftovers_in


@contextlib.contextmanager
def hold_output(output: Path) -> Iterator[None]:
    """Holds the lock of an output folder, in which no killed process has left anything hidden.

    Raises `LockedError` if another process holds the lock, and `OutputError`.
    """
    with hold_lock(output):
        remove_leftovers_in(output, registry.FILES.values())
        yield
