"""Reads group_vars and host_vars next to a source: which files belong to which group or host.

Rules: Ansible's search: `web`, `web.yml`, `web.yaml`, `web.json`, each a file or a folder of files.
Ansible takes the first and skips the others; here a second one with content is an error. Of a
duplicate key the last value counts, as in Ansible, with a note: no host can be lost by that. The
current folder does not count as next to a source: what a run sees must not depend on where it was
started.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetaudit.errors import InputError
from fleetaudit.text.document import Document
from fleetaudit.text.phrases import describe_duplicate_key
from fleetaudit.text.yaml_lines import decode_utf8, parse_yaml, read_bounded

from .builder import InventoryBuilder
from .entries import VariablesAndOrigins, VarsLayer
from .folders import is_folder, list_folder, refuse_link_out, unreadable
from .json_text import parse_json
from .settings_check import ReadingRecord
from .values import TAGS
from .variable_names import check_variable_name
from .vault import Vault, decrypt_file

_EXTENSIONS = ("", ".yml", ".yaml", ".json")
_FOLDERS = ("group_vars", "host_vars")
_SKIPPED_NAME = re.compile(r"^\.|~$")
_MAX_DEPTH = 20
_MAX_REPEATED_SHOWN = 5


def read_vars_files(
    folders: Iterable[Path],
    builder: InventoryBuilder,
    vault: Vault,
    record: ReadingRecord,
    *,
    no_exec: bool = False,
) -> tuple[str, ...]:
    """Adds the variables of group_vars and host_vars in each of `folders`; a later folder wins.

    `folders` are those of the sources, in their order; one that comes twice is read once. Only
    groups and hosts that `builder` has already get variables. `vault` decrypts whole files;
    encrypted values stay encrypted. The files that were read are added to `record`. Returns a note
    for each duplicate key, up to a limit a file. Raises `InputError` for a file that cannot be read
    or decrypted or is no mapping, for one that another one hides, for folders nested deeper than
    20, and with `no_exec` for a link that leads out of the source's folder. Ansible: "How to build
    your inventory: organizing host and group variables", its vars plugin host_group_vars, and
    `find_vars_files` in parsing/dataloader.py.
    """
    reader = _Reader(vault, record, no_exec=no_exec)
    known = dict[Path, VarsLayer]()
    for folder in folders:
        if folder not in known:
            known[folder] = VarsLayer(
                groups=reader.read_folder(folder, "group_vars", builder.group_names),
                hosts=reader.read_folder(folder, "host_vars", builder.host_names),
            )
        builder.add_layer(known[folder])
    return tuple(reader.notes)


def unread_vars_notes(
    here: Path, folders: Iterable[Path], builder: InventoryBuilder
) -> Iterator[str]:
    """Yields a note for each folder of variables in the current folder that is not read.

    Ansible reads it where a playbook in that folder runs. `here` is the current folder, `folders`
    are those of the sources: if it is among them, there is nothing to note. Only files of hosts and
    groups that `builder` has count.
    """
    if any(_is_same(here, folder) for folder in folders):
        return
    for name, names in zip(_FOLDERS, (builder.group_names, builder.host_names), strict=True):
        if _may_have_variables(here / name, names):
            yield (
                f"{name} in the current folder is not read: what a run sees does not depend on"
                " where it starts; put it next to the inventory"
            )


def _may_have_variables(folder: Path, names: Iterable[str]) -> bool:
    """Returns whether a folder has variables of one of `names`, or cannot be read."""
    try:
        return next(_entries(folder, names), None) is not None
    except InputError:
        return True


def _is_same(one: Path, other: Path) -> bool:
    """Returns whether two paths are the same folder; False if one does not exist."""
    try:
        return one.samefile(other)
    except OSError:
        return False


class _Reader:
    """Reads files of variables; `notes` are about duplicate keys."""

    def __init__(self, vault: Vault, record: ReadingRecord, *, no_exec: bool) -> None:
        self._vault, self._record, self._no_exec = vault, record, no_exec
        self.notes = list[str]()

    def read_folder(
        self, folder: Path, kind: str, names: Iterable[str]
    ) -> dict[str, VariablesAndOrigins]:
        """Returns the variables of each of `names` that has a file or folder in `folder`/`kind`."""
        return {
            name: self._read_entry(entry, folder) for name, entry in _entries(folder / kind, names)
        }

    def _read_entry(self, entry: Path, folder: Path) -> VariablesAndOrigins:
        """Returns the variables in a file, or in the files of a folder, and where each is set.

        A later file wins, by name. Mappings are not merged: the later one replaces the other.
        """
        variables, origins = dict[str, Any](), dict[str, str]()
        for file in _files(entry):
            if self._no_exec:
                refuse_link_out(file, folder)
            document = self._parse(file)
            for variable, value in _mapping_of(document).items():
                variables[variable] = value
                origins[variable] = f"{file}:{document.key_at([variable]).line}"
        return variables, origins

    def _parse(self, file: Path) -> Document:
        """Returns one file, decrypted and parsed as JSON or YAML; an empty file sets nothing.

        Adds a note for each duplicate key, up to a limit.
        """
        source = str(file)
        self._record.variable_files.append(file)
        try:
            data = read_bounded(file)
        except OSError as e:
            raise unreadable(file, e) from e
        text = decode_utf8(decrypt_file(data, self._vault, source=source), source=source)
        repeated = list[str]()

        def note_repeated(key: str, first: int, second: int) -> None:
            self._record.repeated = place = f"{source}:{second}"
            repeated.append(f"{place}: {describe_duplicate_key(key, first)}")

        document = parse_json(text, source=source, repeated=note_repeated)
        if document is None:
            document = parse_yaml(text, source=source, tags=TAGS, empty={}, repeated=note_repeated)
        self._add_notes(repeated, source)
        return document

    def _add_notes(self, repeated: Sequence[str], source: str) -> None:
        """Adds notes about the duplicate keys of one file, up to a limit."""
        for note in repeated[:_MAX_REPEATED_SHOWN]:
            self.notes.append(f"{note}. The last value counts, as in Ansible")
        if len(repeated) > _MAX_REPEATED_SHOWN:
            more = len(repeated) - _MAX_REPEATED_SHOWN
            self.notes.append(f"{source}: {more} more duplicate keys")


def _entries(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yields each of `names` that has a file or folder of its own, and that.

    Raises `InputError` if Ansible would skip another one of the same name that has content.
    """
    present = _names_in(folder)
    if not present:
        return
    for name in names:
        found = [folder / file for file in _file_names(name) if file in present]
        if found:
            _check_none_hidden(found)
            yield name, found[0]


def _file_names(name: str) -> Iterator[str]:
    """Yields the names that a file or folder of the variables of `name` may have, the first first.

    Ansible takes them in this order.
    """
    for extension in _EXTENSIONS:
        yield name + extension


def _names_in(folder: Path) -> frozenset[str]:
    """Returns the names in a folder, none if there is no such folder."""
    try:
        return frozenset(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as e:
        raise unreadable(folder, e) from e


def _check_none_hidden(found: Sequence[Path]) -> None:
    """Raises `InputError` if Ansible takes the first of these and skips one that has content.

    For example `group_vars/web.yml` is hidden by a folder `group_vars/web/`.
    """
    for entry in found[1:]:
        if any(map(_size, _files(entry))):
            raise InputError(
                f"Ansible would not read it: {found[0].name} beside it comes first",
                source=str(entry),
                hint="join the two, or remove one",
            )


def _size(file: Path) -> int:
    """Returns the size of a file in bytes, 0 if it is gone.

    An empty file that is hidden by another one loses nothing.
    """
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as e:
        raise unreadable(file, e) from e


def _files(entry: Path, depth: int = 0) -> Iterator[Path]:
    """Yields the files at and below `entry` that hold variables, in Ansible's order.

    In a folder these are files without an extension or with one of YAML, and folders without a dot
    in their names; hidden files and editors' backups (~) are skipped.
    """
    if not is_folder(entry):
        yield entry
        return
    if depth > _MAX_DEPTH:
        raise InputError(
            f"folders nested deeper than {_MAX_DEPTH}",
            source=str(entry),
            hint="look for a loop of links",
        )
    for inner in filter(_may_hold_variables, list_folder(entry)):
        yield from _files(inner, depth + 1)


def _may_hold_variables(entry: Path) -> bool:
    """Returns whether Ansible reads a file or folder in a folder of variables, by its name."""
    if _SKIPPED_NAME.search(entry.name):
        return False
    if is_folder(entry):
        return not entry.suffix
    return entry.suffix in _EXTENSIONS


def _mapping_of(document: Document) -> Mapping[str, Any]:
    """Returns the variables in a file; raises `InputError` unless it is a mapping of names."""
    if not isinstance(document.value, Mapping):
        raise document.error(
            "not a mapping of variables", hint="write one variable a line:  ansible_user: audit"
        )
    for name in document.value:
        check_variable_name(name, document, [name])
    return document.value
