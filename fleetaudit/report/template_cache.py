"""Keeps the compiled templates of the page in the user's cache folder.

Compiling them takes a quarter of the CPU of a run of one host, and the result is the same each
time. Jinja2 cannot tell whether code that is kept was compiled by another release of itself or for
other settings, so the checksum of a source covers these as well.

Rules: code is run only if the file belongs to this user, nobody else may write to it and it is
whole. A cache that cannot be read or written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from fleetaudit import __version__
from fleetaudit.text.files import read_file_and_status

MAX_BYTES = 4 * 1024 * 1024
"""The largest file that is read. That of the largest template has 60 KB."""
_DIGEST = hashlib.sha256().digest_size


class TemplateCache(jinja2.BytecodeCache):
    """One file per template: the SHA-256 of what follows, and the code as Jinja2 writes it."""

    def __init__(self, folder: Path, settings: str) -> None:
        """`settings` is text that is different for other settings of the environment."""
        self._folder = folder
        self._made_by = f"{__version__} {jinja2.__version__} {settings} "

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Returns the name of the file of a template."""
        return name

    def get_source_checksum(self, source: str) -> str:
        """Returns a checksum of everything that the code depends on, except Python's version."""
        return hashlib.sha256((self._made_by + source).encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fills the bucket if the code that is kept can be trusted and is current."""
        with contextlib.suppress(OSError):
            data, status = read_file_and_status(self._folder / bucket.key, MAX_BYTES)
            code = data[_DIGEST:]
            if _is_private(status) and hashlib.sha256(code).digest() == data[:_DIGEST]:
                bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keeps the code of the bucket."""
        code = bucket.bytecode_to_string()
        path = self._folder / bucket.key
        new = path.with_name(f".{path.name}.{os.getpid()}.part")
        with contextlib.suppress(OSError):
            if not _is_own(self._folder):
                return
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            # Not synced: a file that a crash leaves behind cut short has another digest.
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            new.replace(path)


def _is_private(status: os.stat_result) -> bool:
    """Returns whether only this user can have written a file."""
    others = stat.S_IWGRP | stat.S_IWOTH
    return status.st_uid == os.geteuid() and not status.st_mode & others


def _is_own(folder: Path) -> bool:
    """Returns whether a folder, or the one in which it would be made, belongs to this user.

    With sudo and the HOME of somebody else, they would get a folder that they cannot write.
    """
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.stat().st_uid == os.geteuid()


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Returns the folder of the cache (XDG Base Directory Specification), None if there is none."""
    base = environment.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # the specification ignores a relative path
        base = f"{environment.get('HOME', '')}/.cache"
    if base == "/.cache":
        return None
    return Path(base, "fleetaudit", "templates")
