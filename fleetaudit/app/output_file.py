"""Writes a file that a user names."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from fleetaudit.store.disk import output_errors, remove_dead_parts, write_atomically


def write_file(path: Path, chunks: Iterable[bytes], *, executable: bool = False) -> None:
    """Replaces a file in one step; writes into what is not a regular file (a pipe, /dev/null).

    A new file is readable by its owner only; an existing one keeps its mode, and a symbolic link is
    followed. With `executable`, who may read it may also run it. Raises `OutputError` if it cannot
    be written.
    """
    existing: os.stat_result | None = None
    # A new file, or a folder that does not exist: `write_atomically` reports it.
    with output_errors(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        existing = path.stat()
    if existing is None or stat.S_ISREG(existing.st_mode):
        # A link (/dev/stdout is one) is followed, not replaced. A metric file that a collector of
        # another user reads stays readable for it.
        mode = stat.S_IMODE(existing.st_mode) if existing else 0o600
        if executable:
            mode |= (mode & 0o444) >> 2
        file = path.resolve()
        remove_dead_parts(file)
        write_atomically(file, chunks, mode=mode)
        return
    with output_errors(path), path.open("wb") as pipe:
        pipe.writelines(chunks)
