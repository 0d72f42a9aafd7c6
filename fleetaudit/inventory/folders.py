"""Looks into folders of inventories and variables: every failure is an error with its path."""

from __future__ import annotations

import os
from pathlib import Path

from fleetaudit.errors import InputError

_MAX_SHOWN = 300


def is_folder(path: Path, source: str = "") -> bool:
    """Returns whether a path is a folder; `source` is its name in messages.

    Raises `InputError` if that cannot be found out: the name is too long, or the folder around it
    is not searchable.
    """
    try:
        return path.is_dir()
    except OSError as e:
        raise unreadable(path, e, source) from e


def list_folder(path: Path) -> list[Path]:
    """Returns what is in a folder, sorted by name; raises `InputError` if it cannot be read.

    Ansible sorts by name too, so that a later file wins in the same way everywhere.
    """
    try:
        return sorted(path.iterdir(), key=lambda entry: entry.name)
    except OSError as e:
        raise unreadable(path, e) from e


def unreadable(path: Path, e: Exception, source: str = "") -> InputError:
    """Returns the error about a file or folder that cannot be read.

    `e` is why: its strerror if it has one, else its own text. `source` is the name of the file in
    messages, by default the path; of a long one only the beginning is shown.
    """
    reason = getattr(e, "strerror", None) or e
    return InputError(f"cannot be read: {reason}", source=(source or str(path))[:_MAX_SHOWN])


def refuse_link_out(path: Path, folder: Path) -> None:
    """Raises `InputError` for a file that a link leads to from within `folder` to outside of it.

    Whoever wrote an inventory could have any file of this machine read as variables, and its values
    in names and addresses.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise InputError(
            "a link out of the inventory's folder, and --no-exec follows none",
            source=str(path),
            hint="put a copy of the file there, if you trust whoever wrote this",
        )
