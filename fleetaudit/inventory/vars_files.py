"""group_vars and host_vars beside a source: which files belong to which group or host, and what
they set.

Rules: Ansible's search: `web`, `web.yml`, `web.yaml`, `web.json`, each a file or a folder of files.
Ansible takes the first and passes over the others; here two with something in them are an error. Of
a key that a file has twice the last value counts, as in Ansible, with a note: no host can be lost
by that. The current folder is no place beside a source: what a run sees must not depend on where it
was started.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.yaml_lines import (
    Document,
    decode_utf8,
    parse_yaml,
    read_bounded,
)

from .builder import InventoryBuilder, VarsLayer
from .json_text import parse_json
from .settings_check import ReadingRecord
from .values import TAGS
from .vault import Vault, decrypted_file

_SUFFIXES = ("", ".yml", ".yaml", ".json")
_FOLDERS = ("group_vars", "host_vars")
_MAX_DEPTH = 20
_REPEATED_SHOWN = 5
Variables = tuple[Mapping[str, Any], Mapping[str, str]]


def read_vars_files(
    folders: Iterable[Path], draft: InventoryBuilder, vault: Vault, reading: ReadingRecord
) -> tuple[str, ...]:
    """Sets the variables of group_vars and host_vars in each of `folders` in `draft`, in that
    order; a later one wins.

    Returns a note for each key that a file has twice. Adds the files that were read to `reading`.
    """
    reader = _Reader(vault, reading)
    known = dict[Path, VarsLayer]()
    for folder in folders:
        if folder not in known:
            known[folder] = VarsLayer(
                groups=reader.variables_in(folder / "group_vars", draft.group_names),
                hosts=reader.variables_in(folder / "host_vars", draft.host_names),
            )
        draft.layer(known[folder])
    return tuple(reader.notes)


def unread_vars_notes(
    here: Path, folders: Iterable[Path], draft: InventoryBuilder
) -> Iterator[str]:
    """Yields a note for each folder of variables in the current folder `here` that Ansible might
    read and we do not.
    """
    if any(_same(here, folder) for folder in folders):
        return
    for name, names in zip(_FOLDERS, (draft.group_names, draft.host_names), strict=True):
        if _has_some(here / name, names):
            yield (
                f"{name} in the current folder is not read: what a run sees does not depend on"
                " where it starts; put it beside the inventory"
            )


def _has_some(folder: Path, names: Iterable[str]) -> bool:
    """Tells whether the folder has variables of one of `names`; of one that cannot be looked into
    nobody knows.
    """
    try:
        return any(True for _ in _entries(folder, names))
    except InputError:
        return True


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


class _Reader:
    """Reads files of variables; `notes` are about keys that one of them has twice."""

    def __init__(self, vault: Vault, reading: ReadingRecord) -> None:
        self._vault, self._reading = vault, reading
        self.notes = list[str]()

    def variables_in(self, folder: Path, names: Iterable[str]) -> dict[str, Variables]:
        found = dict[str, Variables]()
        for name, entry in _entries(folder, names):
            variables, origins = dict[str, Any](), dict[str, str]()
            for file in _files(entry):
                document = self._document(file)
                for variable, value in _mapping(document).items():
                    variables[variable] = value
                    origins[variable] = f"{file}:{document.key_at([variable]).line}"
            found[name] = variables, origins
        return found

    def _document(self, file: Path) -> Document:
        source = str(file)
        self._reading.variable_files.append(file)
        try:
            data = read_bounded(file)
        except OSError as e:
            raise _unreadable(file, e) from e
        text = decode_utf8(decrypted_file(data, self._vault, source=source), source=source)
        twice = list[str]()

        def repeated(key: str, first: int, second: int) -> None:
            self._reading.repeated = where = f"{source}:{second}"
            twice.append(
                f"{where}: the key “{key}” is here for the second time; the first is in line"
                f" {first}"
            )

        document = parse_json(text, source=source, repeated=repeated) or parse_yaml(
            text, source=source, tags=TAGS, empty={}, repeated=repeated
        )
        self.notes += (
            f"{note}. The last value counts, as in Ansible" for note in twice[:_REPEATED_SHOWN]
        )
        if len(twice) > _REPEATED_SHOWN:
            self.notes.append(
                f"{source}: {len(twice) - _REPEATED_SHOWN} more keys are here for the second time"
            )
        return document


def _entries(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yields each of `names` that has a file or folder of its own, and that."""
    try:
        there = {entry.name for entry in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as e:
        raise _unreadable(folder, e) from e
    if not there:
        return
    for name in names:
        entries = [folder / (name + suffix) for suffix in _SUFFIXES if name + suffix in there]
        if len(entries) > 1 and (hidden := [e for e in entries[1:] if any(map(_size, _files(e)))]):
            raise InputError(
                f"Ansible would not read it: {entries[0].name} beside it comes first",
                source=str(hidden[0]),
                hint="join the two, or remove one",
            )
        if entries:
            yield name, entries[0]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as e:
        raise _unreadable(file, e) from e


def _unreadable(path: Path, e: OSError) -> InputError:
    return InputError(f"cannot be read: {e.strerror or e}", source=str(path))


def _listed(folder: Path) -> list[Path] | None:
    """Returns what is in a folder, by name; None for what is none."""
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else None
    except OSError as e:
        raise _unreadable(folder, e) from e


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as e:  # the folder around it may be listed, but not entered
        raise _unreadable(path, e) from e


def _files(entry: Path, depth: int = 0) -> Iterator[Path]:
    """Yields the files at and below `entry` that hold variables, in Ansible's order."""
    inside = _listed(entry)
    if inside is None:
        yield entry
        return
    if depth > _MAX_DEPTH:
        raise InputError(
            f"folders nested deeper than {_MAX_DEPTH}",
            source=str(entry),
            hint="look for a loop of links",
        )
    for inner in inside:
        if inner.name.startswith(".") or inner.name.endswith("~"):
            continue
        if _is_folder(inner):
            if not inner.suffix:
                yield from _files(inner, depth + 1)
        elif inner.suffix in _SUFFIXES:
            yield inner


def _mapping(document: Document) -> Mapping[str, Any]:
    if not isinstance(document.value, Mapping):
        raise document.error(
            "no mapping of variables", hint="write one variable a line:  ansible_user: audit"
        )
    for name in document.value:
        if not isinstance(name, str) or not name:
            raise document.error(
                "a variable's name that is no text", [name], key=True, hint="put the name in quotes"
            )
    return document.value
