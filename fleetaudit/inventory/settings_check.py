"""Which unsupported settings of ansible.cfg would change how these inventories are read.

Rules: the answer follows from what was read; only for other YAML file extensions a folder is
listed. If the answer is unknown, the setting counts as one that changes something.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from fleetaudit.text.phrases import surround

from .unsupported_settings import (
    IGNORED_EXTENSIONS,
    YAML_EXTENSIONS,
    UnsupportedSetting,
    short_plugin_name,
)

_MAX_FILES = 100_000
_READ_BY_ANY = ("", "host_list")
"""Sources of these plugins mean the same whichever plugin reads them."""
_READERS = {"yaml": {"yaml", "ini"}}
"""The plugins that read a file of a plugin, where it is not that one alone."""
# A pattern without repetitions: no file name makes it slow.
_SIMPLE_PATTERN = re.compile(r"[\w .^$/\\~-]*")


class ReadingRecord(msgspec.Struct):
    """What was read, as far as settings could change it.

    `sources` are files and lists with the plugin of Ansible that would read them, "" for a listing,
    which no plugin reads. `folders` are where group_vars and host_vars may be, `variable_files`
    those that were read; `repeated` is the place where one of them has a duplicate key.
    `mapping_set_twice` names a variable that one host gets as a mapping from two places.
    `has_group_variables` says whether a group sets anything.
    """

    sources: list[tuple[str, str]] = msgspec.field(default_factory=list)
    folders: list[Path] = msgspec.field(default_factory=list)
    variable_files: list[Path] = msgspec.field(default_factory=list)
    repeated: str = ""
    mapping_set_twice: str = ""
    has_group_variables: bool = False


def check_folder_settings(
    settings: Iterable[UnsupportedSetting], folder: Path, names: Sequence[str]
) -> None:
    """Raises `InputError` for a setting with which Ansible would skip other files of a folder.

    `folder` is a source, or in one, and `names` are its entries, of which the first that would be
    affected is in the error. Settings about anything else are ignored here. Ansible: the settings
    INVENTORY_IGNORE_EXTS and INVENTORY_IGNORE_PATTERNS in "Ansible Configuration Settings".
    """
    for setting in settings:
        is_affected = _FOLDER_CHECKS.get(setting.name, _never)
        for name in names:
            if is_affected(setting, name):
                raise setting.error(f"which files of the folder {folder} are read ({name})")


def check_reading_settings(
    settings: Iterable[UnsupportedSetting], record: ReadingRecord
) -> Iterator[str]:
    """Yields a note for each setting that changes nothing.

    `record` is what was read, after all sources and their group_vars and host_vars. Settings about
    connections are ignored here (connection/settings_check.py). Raises `InputError` for a setting
    that would change something: it says what, and the command that runs without this one setting.
    """
    for setting in settings:
        change_by = _READING_CHECKS.get(setting.name, _no_change)
        if change := change_by(setting, record):
            raise setting.error(change)
        if setting.name in _NOTED:
            yield setting.note()


def _never(_setting: UnsupportedSetting, _name: str) -> bool:
    """Returns False: the setting does not concern the files of a folder."""
    return False


def _skipped_by_extension(setting: UnsupportedSetting, name: str) -> bool:
    """Returns whether these extensions and the usual ones differ about skipping a file."""
    return name.endswith(IGNORED_EXTENSIONS) != name.endswith(tuple(setting.values))


def _skipped_by_pattern(setting: UnsupportedSetting, name: str) -> bool:
    """Returns whether a pattern matches a file's name, or could: complex patterns are not tried."""
    return any(_may_match(pattern, name) for pattern in setting.values)


def _may_match(pattern: str, name: str) -> bool:
    """Returns whether one pattern matches a name, or could.

    Only a pattern without repetitions is tried, because another one may take forever.
    """
    if not _SIMPLE_PATTERN.fullmatch(pattern):
        return True
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return True


_FOLDER_CHECKS: dict[str, Callable[[UnsupportedSetting, str], bool]] = {
    "inventory_ignore_extensions": _skipped_by_extension,
    "inventory_ignore_patterns": _skipped_by_pattern,
}


def _no_change(_setting: UnsupportedSetting, _record: ReadingRecord) -> str:
    """Returns "": the setting does not concern the reading of inventories."""
    return ""


def _hash_behaviour(_setting: UnsupportedSetting, record: ReadingRecord) -> str:
    """Returns what another hash_behaviour changes: mappings that one host gets twice."""
    return surround("", record.mapping_set_twice, ", a mapping that is set in two places")


def _precedence(_setting: UnsupportedSetting, record: ReadingRecord) -> str:
    """Returns what another precedence changes: the variables of groups."""
    if not record.has_group_variables:
        return ""
    return "which variable of a group wins"


def _duplicate_keys(_setting: UnsupportedSetting, record: ReadingRecord) -> str:
    """Returns what another duplicate_dict_key changes: a file with a duplicate key."""
    return surround("what a duplicate key means (", record.repeated, ")")


def _yaml_extensions(setting: UnsupportedSetting, record: ReadingRecord) -> str:
    """Returns what other yaml_valid_extensions change: a file with a differing extension.

    Ansible would read a source in another format, or skip a file of variables.
    """
    differing = set(YAML_EXTENSIONS) ^ set(setting.values)
    sources = (Path(source) for source, plugin in record.sources if plugin != "host_list")
    files = itertools.chain(sources, _variable_files_in(record.folders))
    file = next((file for file in files if file.suffix in differing), None)
    return surround("whether or how ", file, " is read")


def _variable_files_in(folders: Iterable[Path]) -> Iterator[Path]:
    """Yields what is in group_vars and host_vars of these folders."""
    for folder, name in itertools.product(dict.fromkeys(folders), ("group_vars", "host_vars")):
        yield from itertools.islice((folder / name).rglob("*"), _MAX_FILES)


def _vars_plugins(setting: UnsupportedSetting, record: ReadingRecord) -> str:
    """Returns what other vars_plugins_enabled change: one more or one less source of variables.

    The plugin host_group_vars reads group_vars and host_vars; another one can set anything.
    """
    enabled = set(map(short_plugin_name, setting.values))
    others = sorted(enabled - {"host_group_vars"})
    if others:
        return f"the variables of hosts (by the plugin {others[0]})"
    if "host_group_vars" in enabled or not record.variable_files:
        return ""
    return f"whether {record.variable_files[0]} is read"


def _inventory_plugins(setting: UnsupportedSetting, record: ReadingRecord) -> str:
    """Returns what other enable_plugins change: a source that another plugin would read.

    Every plugin reads a host list in the same way, and Ansible has no plugin for a listing.
    """
    enabled = list(map(short_plugin_name, setting.values))
    for source, plugin in record.sources:
        if plugin in _READ_BY_ANY:
            continue
        if _first_reader(plugin, enabled) != plugin:
            return f"how {source} is read (by the plugin {plugin})"
    return ""


def _first_reader(plugin: str, enabled: Iterable[str]) -> str | None:
    """Returns the first enabled plugin that reads a file of `plugin`, None if none does.

    The INI plugin tries every file: before the YAML one it might make hosts of lines of YAML.
    """
    readers = _READERS.get(plugin, {plugin})
    return next(filter(readers.__contains__, enabled), None)


_READING_CHECKS: dict[str, Callable[[UnsupportedSetting, ReadingRecord], str]] = {
    "hash_behaviour": _hash_behaviour,
    "precedence": _precedence,
    "duplicate_dict_key": _duplicate_keys,
    "yaml_valid_extensions": _yaml_extensions,
    "vars_plugins_enabled": _vars_plugins,
    "enable_plugins": _inventory_plugins,
}
_NOTED = {*_READING_CHECKS, *_FOLDER_CHECKS} - {"duplicate_dict_key"}
"""Settings that are worth a note; a duplicate key has a note of its own."""
