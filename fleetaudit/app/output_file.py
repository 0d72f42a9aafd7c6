"""Writes a file that a user names."""

from __future__ import annotations

from pathlib import Path

from fleetaudit.store.disk import remove_dead_parts, write_atomically


def write_file(path: Path, data: bytes) -> None:
    """Writes a file in one step, readable by its owner only; raises `OutputError`."""
    remove_dead_parts(path)
    write_atomically(path, data)
