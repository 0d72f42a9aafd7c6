"""What an inventory source is: a list of hosts, a file, a program or a folder of them; each goes to
its reader.

Rules: only a program that the command line names is run. A source that is broken, empty or of a
kind that is not read is an error with a way out; nothing of it is used. Hosts come in the order in
which they are first mentioned.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace as replace_fields

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Inventory
from fleetaudit.text.yaml_lines import (
    Document,
    decode_utf8,
    parse_yaml,
    read_bounded,
)

from .builder import InventoryBuilder
from .host_list import read_host_list
from .ini_format import is_section, read_ini
from .json_text import parse_json
from .listing import conversion_hint, is_listing, read_listing
from .script import read_script
from .settings_check import ReadingRecord, check_folder_settings, check_reading_settings
from .unsupported_settings import IGNORED_EXTENSIONS, UnsupportedSetting
from .values import TAGS
from .vars_files import read_vars_files, unread_vars_notes
from .vault import Vault, decrypted_file
from .yaml_format import read_yaml

_YAML_SUFFIXES = ("", ".yml", ".yaml", ".json")
# What Ansible passes over in a folder, beside what has one of IGNORED_ENDINGS: hidden files and
# variables.
_NEVER_READ = re.compile(r"^\.|^host_vars$|^group_vars$|^vars_plugins$")
_MAX_DEPTH = 20
_SHOWN = 300


def load_inventory(
    sources: Sequence[str],
    *,
    vault: Vault | None = None,
    unsupported: Sequence[UnsupportedSetting] = (),
) -> Inventory:
    """Returns what `sources` say together: paths of inventories and `host,host,` lists, later ones
    winning.

    `vault` decrypts whole files; values stay encrypted. `unsupported` are settings of ansible.cfg,
    an error where they would change what is read. Raises `NothingToDoError` for a source that is
    missing, `InputError` with file and line for everything that is wrong or that is not read.
    """
    if not sources:
        raise NothingToDoError("no inventory: name a file, or hosts with a comma:  localhost,")
    reader = _Sources(vault or Vault(), unsupported)
    with _no_garbage_collection():
        for source in sources:
            path = Path(source)
            if "," in source and not _exists(path):
                reader.host_list(source)
            else:
                reader.path(path, source)
        return reader.inventory(sources)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Spares the collector: millions of objects come, none of them goes, and looking at them again
    takes time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a long list of hosts is too long for a file's name
        return False


class _Sources:
    """Reads the sources of one inventory into one draft."""

    def __init__(self, vault: Vault, unsupported: Sequence[UnsupportedSetting]) -> None:
        self.draft = InventoryBuilder()
        self._vault, self._unfollowed, self._reading = vault, unsupported, ReadingRecord()
        self._folders = list[Path]()

    def host_list(self, source: str) -> None:
        """Reads a source that is a list of hosts."""
        self._reading.sources.append((source, "host_list"))
        read_host_list(source, self.draft)

    def path(self, path: Path, source: str) -> None:
        """Reads a source that is a file, a program or a folder, and remembers where its group_vars
        are.
        """
        if _is_folder(path, source):
            self._folders.append(path)
            if not self._folder(path, 0):
                raise InputError(
                    "a folder without an inventory in it",
                    source=source,
                    hint="name the file that is meant",
                )
        else:
            self._folders.append(path.parent)
            self._file(path, source, named=True)

    def inventory(self, sources: Sequence[str]) -> Inventory:
        """Returns the finished inventory, with the variables beside its sources and the notes about
        what is unread.
        """
        repeated = read_vars_files(self._folders, self.draft, self._vault, self._reading)
        notes = (*repeated, *unread_vars_notes(Path(), self._folders, self.draft))
        inventory = self.draft.inventory(sources, notes)
        self._reading.folders = self._folders
        self._reading.groups_set = self.draft.groups_set
        self._reading.mapping_twice = self.draft.mapping_twice
        unsupported = check_reading_settings(self._unfollowed, self._reading)
        return replace_fields(inventory, notes=(*unsupported, *inventory.notes))

    def _folder(self, folder: Path, depth: int) -> int:
        if depth > _MAX_DEPTH:
            raise InputError(
                f"folders nested deeper than {_MAX_DEPTH}",
                source=str(folder),
                hint="a loop of links?",
            )
        try:
            entries = sorted(
                entry for entry in folder.iterdir() if not _NEVER_READ.search(entry.name)
            )
        except OSError as e:
            raise InputError(f"cannot be read: {e.strerror}", source=str(folder)) from e
        check_folder_settings(self._unfollowed, folder, [entry.name for entry in entries])
        entries = [entry for entry in entries if not entry.name.endswith(IGNORED_EXTENSIONS)]
        count = 0
        for entry in entries:
            if _is_folder(entry, str(entry)):
                count += self._folder(entry, depth + 1)
            else:
                self._file(entry, str(entry), named=False)
                count += 1
        return count

    def _file(self, path: Path, source: str, *, named: bool) -> None:
        data = _bytes_of(path, source)
        if data.startswith((b"#!", b"\x7fELF")):
            self._program(path, source, named=named)
            return
        text = decode_utf8(decrypted_file(data, self._vault, source=source), source=source)
        suffix = path.suffix.lower()
        if suffix == ".toml":
            raise InputError(
                "TOML inventories are not read", source=source, hint=conversion_hint(source)
            )
        if suffix not in _YAML_SUFFIXES or _begins_with_a_section(text):
            self._ini(text, source)
            return
        as_json = parse_json(text, source=source)
        try:
            document = as_json or parse_yaml(text, source=source, tags=TAGS)
        except InputError as no_yaml:
            self._not_yaml(text, source, suffix, no_yaml)
            return
        if isinstance(
            document.value, str
        ):  # names without a colon: one text to YAML, and so INI to Ansible
            self._ini(text, source)
        elif is_listing(document.value, json=as_json is not None) and not _is_plugin(document):
            self._reading.sources.append((source, ""))
            read_listing(document, self.draft)
        else:
            self._reading.sources.append((source, "yaml"))
            read_yaml(document, self.draft)

    def _ini(self, text: str, source: str) -> None:
        self._reading.sources.append((source, "ini"))
        read_ini(text, source, self.draft)

    def _not_yaml(self, text: str, source: str, suffix: str, no_yaml: InputError) -> None:
        """Reads as INI what is no YAML, where no suffix says otherwise; raises the error of what it
        rather is.
        """
        if suffix or not text.strip():
            raise no_yaml
        try:
            self._ini(text, source)
        except InputError:
            if re.search(
                r":\s*$", text, re.MULTILINE
            ):  # a key of a mapping; INI has no line like this
                raise no_yaml from None
            raise

    def _program(self, path: Path, source: str, *, named: bool) -> None:
        if not os.access(path, os.X_OK):
            raise InputError(
                "a program that may not be run",
                source=source,
                hint=f"chmod +x {path}, or {conversion_hint(source)}",
            )
        if not named:
            hint = (
                "name it as an inventory of its own, beside the folder:  fleetaudit run"
                f" {path.parent} {path}"
            )
            raise InputError(
                "a program in a folder; only one that the command line names is run",
                source=source,
                hint=hint,
            )
        self._reading.sources.append((source, "script"))
        read_script(path, source, self.draft)


def _is_folder(path: Path, source: str) -> bool:
    try:
        return path.is_dir()
    except OSError as e:  # a name that is too long, a folder around it that may not be entered
        raise InputError(f"cannot be read: {e.strerror}", source=source[:_SHOWN]) from e


def _bytes_of(path: Path, source: str) -> bytes:
    try:
        return read_bounded(path)
    except FileNotFoundError as e:
        hint = f"\n  for a list of hosts, add a comma:  {source}," if "/" not in source else ""
        raise NothingToDoError(f"{source}: there is no such inventory{hint}") from e
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise InputError(f"cannot be read: {reason}", source=source) from e


def _begins_with_a_section(text: str) -> bool:
    for line in map(str.strip, text.splitlines()):
        if line and line[0] not in "#;":
            return is_section(line)
    return False


def _is_plugin(document: Document) -> bool:
    return isinstance(document.value, Mapping) and bool(document.value.get("plugin"))
