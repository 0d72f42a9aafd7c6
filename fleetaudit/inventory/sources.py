"""Loads inventories: each source is a list of hosts, a file, a program or a folder of these.

Rules: only a program that the command line names is run. A source that is broken, empty or of a
kind that is not supported is an error with the command to convert it; nothing of it is used. Hosts
come in the order in which they are first mentioned.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace as replace_fields

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Inventory
from fleetaudit.text.document import Document
from fleetaudit.text.yaml_lines import decode_utf8, parse_yaml, read_bounded

from .builder import InventoryBuilder
from .folders import is_folder, list_folder, refuse_link_out, unreadable
from .host_list import read_host_list
from .ini_format import is_section, read_ini
from .json_text import parse_json
from .listing import conversion_hint, is_listing, read_listing
from .script import read_script
from .settings_check import ReadingRecord, check_folder_settings, check_reading_settings
from .suggestions import did_you_mean
from .unsupported_settings import IGNORED_EXTENSIONS, UnsupportedSetting
from .values import TAGS
from .vars_files import read_vars_files, unread_vars_notes
from .vault import Vault, decrypt_file
from .yaml_format import read_yaml

_YAML_EXTENSIONS = ("", ".yml", ".yaml", ".json")
_PROGRAM_MARKS = (b"#!", b"\x7fELF")
# What Ansible skips in a folder, besides IGNORED_EXTENSIONS: hidden files and variables.
_SKIPPED_NAMES = re.compile(r"^\.|^host_vars$|^group_vars$|^vars_plugins$")
_YAML_KEY_LINE = re.compile(r":\s*$", re.MULTILINE)
_MAX_DEPTH = 20


def load_inventory(
    sources: Sequence[str],
    *,
    vault: Vault | None = None,
    unsupported: Sequence[UnsupportedSetting] = (),
    no_exec: bool = False,
) -> Inventory:
    """Returns the inventory of all `sources` together, a later one winning.

    A source is what `ansible -i` takes: the path of an inventory (YAML, JSON, INI, a program, or a
    folder of these), or a `host,host,` list. `vault` decrypts whole files, nothing by default;
    encrypted values stay encrypted. `unsupported` are settings of ansible.cfg, an error if they
    would change what is read and a note otherwise. With `no_exec` a program is an error, too, and
    so is a link out of the folder of a source. The inventory has at least one host. Raises
    `NothingToDoError` for a source that is missing or if there is none, and `InputError` with file
    and line for everything that is wrong or not supported. Ansible: "How to build your inventory",
    and `parse_sources` in inventory/manager.py.
    """
    if not sources:
        raise NothingToDoError("no inventory: name a file, or hosts with a comma:  localhost,")
    _check_sources(sources)
    reader = _SourceReader(vault or Vault(), unsupported, no_exec=no_exec)
    with _no_garbage_collection():
        for source in sources:
            reader.read_source(source)
        return reader.build(sources)


def _check_sources(sources: Sequence[str]) -> None:
    """Raises `NothingToDoError` for sources that are missing, with similar files in its message.

    If all of them look like names of hosts, the hint is the command with a list of hosts.
    """
    missing = list(filter(_is_missing, sources))
    if not missing:
        return
    path = Path(missing[0])
    similar = did_you_mean(path.name, _names_in(path.parent))
    hint = ""
    if not any("/" in source for source in missing):
        hosts = shlex.quote("".join(f"{source}," for source in missing))
        hint = f"\n  if it is a host, add a comma:  fleetaudit run {hosts}"
    raise NothingToDoError(f"{missing[0]}: there is no such inventory{similar}{hint}")


def _is_missing(source: str) -> bool:
    """Returns whether a source is no list of hosts, and no file or folder has its name."""
    try:
        Path(source).stat()
    except FileNotFoundError:
        return "," not in source
    except (OSError, ValueError):
        return False  # whoever reads the source reports that
    return False


def _names_in(folder: Path) -> list[str]:
    """Returns the names of the files in a folder, [] if it cannot be read."""
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Stops the garbage collector: none of millions of new objects is garbage.

    Looking at them again and again takes time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _exists(path: Path) -> bool:
    """Returns whether a file exists; a long list of hosts is too long for a file's name."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


class _SourceReader:
    """Reads the sources of one inventory into one builder."""

    def __init__(
        self, vault: Vault, unsupported: Sequence[UnsupportedSetting], *, no_exec: bool
    ) -> None:
        self._builder = InventoryBuilder()
        self._vault, self._unsupported = vault, unsupported
        self._no_exec = no_exec
        self._record = ReadingRecord()
        self._folders = list[Path]()

    def read_source(self, source: str) -> None:
        """Reads a list of hosts, a file, a program or a folder, and remembers its folder.

        Text with a comma is a list of hosts, unless a file has that name. group_vars and host_vars
        are looked for in the remembered folders.
        """
        path = Path(source)
        if "," in source and not _exists(path):
            self._record.sources.append((source, "host_list"))
            read_host_list(source, self._builder)
        elif is_folder(path, source):
            self._folders.append(path)
            self._read_source_folder(path, source)
        else:
            self._folders.append(path.parent)
            self._read_file(path, source, is_named=True)

    def build(self, sources: Sequence[str]) -> Inventory:
        """Returns the finished inventory, with group_vars, host_vars and all notes."""
        repeated = read_vars_files(
            self._folders, self._builder, self._vault, self._record, no_exec=self._no_exec
        )
        unread = unread_vars_notes(Path(), self._folders, self._builder)
        inventory = self._builder.build(sources, (*repeated, *unread))
        self._record.folders = self._folders
        self._record.has_group_variables = self._builder.has_group_variables
        self._record.mapping_set_twice = self._builder.mapping_set_twice
        settings = check_reading_settings(self._unsupported, self._record)
        return replace_fields(inventory, notes=(*settings, *inventory.notes))

    def _read_source_folder(self, folder: Path, source: str) -> None:
        """Reads a folder that is a source; raises `InputError` if nothing is in it."""
        if not self._read_folder(folder, 0):
            raise InputError(
                "a folder without an inventory in it",
                source=source,
                hint="name the file that is meant",
            )

    def _read_folder(self, folder: Path, depth: int) -> int:
        """Reads the inventories in a folder and in those below it; returns how many there are.

        They are read in the order of their names, a later one winning. Raises `InputError` at the
        first problem, and for folders that are nested too deeply.
        """
        if depth > _MAX_DEPTH:
            raise InputError(
                f"folders nested deeper than {_MAX_DEPTH}",
                source=str(folder),
                hint="a loop of links?",
            )
        count = 0
        for entry in self._entries_of(folder):
            if is_folder(entry):
                count += self._read_folder(entry, depth + 1)
            else:
                self._refuse_link_out(entry)
                self._read_file(entry, str(entry), is_named=False)
                count += 1
        return count

    def _refuse_link_out(self, entry: Path) -> None:
        """Raises `InputError` for a link out of the folder that is read now, with `no_exec`."""
        if self._no_exec:
            refuse_link_out(entry, self._folders[-1])

    def _entries_of(self, folder: Path) -> list[Path]:
        """Returns what Ansible would read in a folder, sorted by name.

        Raises `InputError` if an unsupported setting would make Ansible read other files.
        """
        entries = [entry for entry in list_folder(folder) if not _SKIPPED_NAMES.search(entry.name)]
        check_folder_settings(self._unsupported, folder, [entry.name for entry in entries])
        return [entry for entry in entries if not entry.name.endswith(IGNORED_EXTENSIONS)]

    def _read_file(self, path: Path, source: str, *, is_named: bool) -> None:
        """Reads one file: a program, INI, or what may be JSON or YAML.

        `is_named` says that the command line names it, and not only a folder around it.
        """
        data = _read_bytes(path, source)
        if data.startswith(_PROGRAM_MARKS):
            self._read_program(path, source, is_named=is_named)
            return
        text = decode_utf8(decrypt_file(data, self._vault, source=source), source=source)
        extension = path.suffix.lower()
        if extension == ".toml":
            raise InputError(
                "TOML inventories are not supported", source=source, hint=conversion_hint(source)
            )
        if extension not in _YAML_EXTENSIONS or _begins_with_a_section(text):
            self._read_ini(text, source)
        else:
            self._read_document(text, source, extension)

    def _read_document(self, text: str, source: str, extension: str) -> None:
        """Reads a file that may be JSON or YAML, or INI if it is neither.

        As in Ansible JSON is tried first: the two differ, for example about 1e3. The listing of
        `ansible-inventory --list` has its own form in both.
        """
        json_document = parse_json(text, source=source)
        try:
            document = json_document or parse_yaml(text, source=source, tags=TAGS)
        except InputError as yaml_error:
            self._read_as_ini(text, source, extension, yaml_error)
            return
        is_json = json_document is not None
        if isinstance(document.value, str):
            # Names without a colon are one text in YAML, and so INI to Ansible.
            self._read_ini(text, source)
        elif is_listing(document.value, json=is_json) and not _is_plugin(document):
            self._record.sources.append((source, ""))
            read_listing(document, self._builder)
        else:
            self._record.sources.append((source, "yaml"))
            read_yaml(document, self._builder)

    def _read_ini(self, text: str, source: str) -> None:
        """Reads a file as INI."""
        self._record.sources.append((source, "ini"))
        read_ini(text, source, self._builder)

    def _read_as_ini(self, text: str, source: str, extension: str, yaml_error: InputError) -> None:
        """Reads as INI what is not YAML, if its extension allows that.

        Raises the error of the format that it rather is: INI has no line with only a key.
        """
        if extension or not text.strip():
            raise yaml_error
        try:
            self._read_ini(text, source)
        except InputError:
            if _YAML_KEY_LINE.search(text):
                raise yaml_error from None
            raise

    def _read_program(self, path: Path, source: str, *, is_named: bool) -> None:
        """Runs a program that is an inventory, if it may be run and the command line names it.

        A program that only lies in a folder is never run: whoever may write there could run
        anything.
        """
        if self._no_exec:
            raise InputError(
                "a program, and --no-exec allows none",
                source=source,
                hint="save what it prints (--list > hosts.json), read it, and name that file",
            )
        if not os.access(path, os.X_OK):
            raise InputError(
                "the program is not executable",
                source=source,
                hint=f"chmod +x {path}, or {conversion_hint(source)}",
            )
        if not is_named:
            raise InputError(
                "a program in a folder; only one that the command line names is run",
                source=source,
                hint=(
                    "name it as an inventory of its own, beside the folder:  fleetaudit run"
                    f" {path.parent} {path}"
                ),
            )
        self._record.sources.append((source, "script"))
        read_script(path, source, self._builder)


def _read_bytes(path: Path, source: str) -> bytes:
    """Returns the bytes of a file.

    Raises `NothingToDoError` if it is missing, and `InputError` if it cannot be read, is too long,
    or is a pipe or device.
    """
    try:
        return read_bounded(path)
    except FileNotFoundError as e:
        raise NothingToDoError(f"{source}: there is no such inventory") from e
    except (OSError, ValueError) as e:
        raise unreadable(path, e, source) from e


def _begins_with_a_section(text: str) -> bool:
    """Returns whether the first line that is not a comment begins a section of INI."""
    lines = filter(None, map(str.strip, text.splitlines()))
    first = next((line for line in lines if not line.startswith(("#", ";"))), "")
    return is_section(first)


def _is_plugin(document: Document) -> bool:
    """Returns whether a document is the configuration of an inventory plugin."""
    return isinstance(document.value, Mapping) and bool(document.value.get("plugin"))
