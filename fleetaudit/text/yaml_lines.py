"""Reads YAML into plain values that know their lines: as PyYAML's SafeLoader, but stricter.

Rules: only `load_yaml` and `read_bounded` touch a file, and never one that could make them wait.
Values are YAML 1.1's, exactly as SafeLoader gives them (0022 is 18, yes is True). What SafeLoader
silently accepts is refused with file, line and column: duplicate keys, several documents, empty
ones; so is what could run code or exhaust memory. No message repeats a value, because a value may
be a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fleetaudit.errors import InputError, NothingToDoError

from .document import Document
from .files import read_first_bytes
from .secret_files import secret_kind
from .yaml_builder import Builder, DuplicateKeyHandler, Tags

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Maximum size of a file."""

_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def load_yaml(path: Path, *, tags: Tags | None = None) -> Document:
    """Returns the document in the file at `path`, as `parse_yaml` does.

    Raises `NothingToDoError` if the file is missing or cannot be read.
    """
    try:
        data = read_bounded(path)
    except OSError as e:
        raise NothingToDoError(f"{path}: {e.strerror or e}") from e
    return parse_yaml(decode_utf8(data, source=str(path)), source=str(path), tags=tags)


def read_bounded(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Returns the bytes of a file, at most one more than `most`; raises OSError, also for a pipe or
    a device.
    """
    return read_first_bytes(path, most + 1)


def decode_utf8(data: bytes, *, source: str) -> str:
    """Returns `data` as text; raises `InputError` at the line of the first byte that is not
    UTF-8.

    A byte order mark of UTF-8 is removed. Raises `InputError` without a line for UTF-16, which is
    recognized by its byte order mark, for more than `MAX_FILE_BYTES`, and for a private key or a
    file of passwords, of which another error could quote a line.
    """
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"larger than the {MAX_FILE_BYTES} bytes that are read", source=source)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            "UTF-16; only UTF-8 is read", source=source, hint="convert it: iconv -f UTF-16 -t UTF-8"
        )
    try:
        return _without_secrets(data.decode("utf-8-sig"), source)
    except UnicodeDecodeError as e:
        line, column = _place_of(data[: e.start].decode("utf-8", "replace"))
        raise InputError(
            f"byte 0x{data[e.start]:02x} is not UTF-8, and only UTF-8 is read",
            source=source,
            line=line,
            column=column,
            hint="convert it: iconv -f ISO-8859-1 -t UTF-8, if that is what it is in",
        ) from e


def _without_secrets(text: str, source: str) -> str:
    """Returns the text of a file; raises `InputError` for one of secrets."""
    if kind := secret_kind(text):
        raise InputError(f"not read: it begins with {kind}", source=source, line=1)
    return text


def parse_yaml(
    text: str,
    *,
    source: str,
    tags: Tags | None = None,
    empty: Any = None,
    repeated: DuplicateKeyHandler | None = None,
) -> Document:
    """Returns the one YAML document in `text`; raises `InputError` at the first problem.

    `tags` says what a scalar with a tag such as `!vault` becomes, given its text; any other tag is
    refused. `empty` is the value of an empty document; None makes that an error. `repeated` is
    called for a duplicate key, whose last value counts; None makes a duplicate an error.
    """
    text = text.removeprefix("\ufeff")
    _check_characters(text, source)
    builder = Builder(source, tags or {}, repeated)
    builder.read(text)
    return builder.document(empty)


def _check_characters(text: str, source: str) -> None:
    """Raises `InputError` at the first character that YAML does not allow."""
    found = _NOT_ALLOWED.search(text)
    if found is None:
        return
    name = "NUL" if found[0] == "\0" else f"U+{ord(found[0]):04X}"
    line, column = _place_of(text[: found.start()])
    raise InputError(
        f"the character {name}, which YAML does not allow", source=source, line=line, column=column
    )


def _place_of(before: str) -> tuple[int, int]:
    """Returns line and column, both from 1, of what follows the text `before`; (1, 1) for ""."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")
