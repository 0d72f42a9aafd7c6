"""Checks that an output folder is there, for commands that only read runs."""

from __future__ import annotations

from pathlib import Path

from fleetaudit.errors import NothingToDoError


def require_output_folder(output: Path) -> None:
    """Raises `NothingToDoError` if there is no output folder."""
    if not output.is_dir():
        raise NothingToDoError(
            f"{output}: no such folder; `fleetaudit run` creates it, -o names another one"
        )
