"""Which settings of ansible.cfg that are not followed would change how these inventories are read.

Rules: the answer follows from what was read; only for other YAML file extensions a folder is
listed. If the answer is unknown, the setting counts as one that changes something.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .unsupported_settings import (
    IGNORED_EXTENSIONS,
    YAML_EXTENSIONS,
    UnsupportedSetting,
    short_plugin_name,
)

_MOST_FILES = 100_000
# A pattern without repetitions: nobody's file name makes it slow.
_SIMPLE = re.compile(r"[\w .^$/\\~-]*")


@dataclass(slots=True)
class ReadingRecord:
    """What was read, as far as settings could change it.

    `sources` are files and lists with the plug-in of Ansible that would read them; "" for what it
    has none for. `folders` are where group_vars and host_vars may be, `variable_files` those that
    were read; `repeated` is the place where one of them has a key again. `mapping_twice` names a
    variable that one host gets as a mapping from two places. `groups_set` says whether a group sets
    anything.
    """

    sources: list[tuple[str, str]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    variable_files: list[Path] = field(default_factory=list)
    repeated: str = ""
    mapping_twice: str = ""
    groups_set: bool = False


def check_folder_settings(
    unsupported: Iterable[UnsupportedSetting], folder: Path, names: Sequence[str]
) -> None:
    """Raises `InputError` where a setting would make Ansible pass over other files in a folder that
    is a source.
    """
    for setting in unsupported:
        differs = _FOLDERS.get(setting.name)
        name = next((name for name in names if differs(setting, name)), None) if differs else None
        if name is not None:
            raise setting.error(f"which files of the folder {folder} are read ({name})")


def check_reading_settings(
    unsupported: Iterable[UnsupportedSetting], reading: ReadingRecord
) -> Iterator[str]:
    """Yields a note for each setting that changes nothing; raises `InputError` for one that would
    change something.
    """
    for setting in unsupported:
        touches = _READING.get(setting.name)
        if touches and (what := touches(setting, reading)):
            raise setting.error(what)
        if (touches and setting.name != "duplicate_dict_key") or setting.name in _FOLDERS:
            yield setting.note()


def _endings_differ(setting: UnsupportedSetting, name: str) -> bool:
    return name.endswith(IGNORED_EXTENSIONS) != name.endswith(tuple(setting.values))


def _pattern_matches(setting: UnsupportedSetting, name: str) -> bool:
    for pattern in setting.values:
        try:
            if not _SIMPLE.fullmatch(pattern) or re.search(pattern, name):
                return True
        except re.error:
            return True
    return False


_FOLDERS: dict[str, Callable[[UnsupportedSetting, str], bool]] = {
    "inventory_ignore_extensions": _endings_differ,
    "inventory_ignore_patterns": _pattern_matches,
}


def _merging(_setting: UnsupportedSetting, reading: ReadingRecord) -> str:
    return (
        f"{reading.mapping_twice}, a mapping that is set in two places"
        if reading.mapping_twice
        else ""
    )


def _order(_setting: UnsupportedSetting, reading: ReadingRecord) -> str:
    return "which variable of a group wins" if reading.groups_set else ""


def _repeated(_setting: UnsupportedSetting, reading: ReadingRecord) -> str:
    return (
        f"what a key means that a file has twice ({reading.repeated})" if reading.repeated else ""
    )


def _yaml_endings(setting: UnsupportedSetting, reading: ReadingRecord) -> str:
    differing = set(YAML_EXTENSIONS) ^ set(setting.values)
    files = (Path(source) for source, plugin in reading.sources if plugin != "host_list")
    file = next(
        (
            file
            for file in itertools.chain(files, _beside(reading.folders))
            if file.suffix in differing
        ),
        None,
    )
    return f"whether or how {file} is read" if file else ""


def _beside(folders: Iterable[Path]) -> Iterator[Path]:
    """Yields what is in group_vars and host_vars of these folders."""
    for folder in dict.fromkeys(folders):
        for name in ("group_vars", "host_vars"):
            yield from itertools.islice((folder / name).rglob("*"), _MOST_FILES)


def _variable_plugins(setting: UnsupportedSetting, reading: ReadingRecord) -> str:
    enabled = {short_plugin_name(name) for name in setting.values}
    if others := sorted(enabled - {"host_group_vars"}):
        return f"the variables of hosts (by the plug-in {others[0]})"
    missed = reading.variable_files if "host_group_vars" not in enabled else ()
    return f"whether {missed[0]} is read" if missed else ""


def _plugins(setting: UnsupportedSetting, reading: ReadingRecord) -> str:
    enabled = [short_plugin_name(name) for name in setting.values]
    for source, plugin in reading.sources:
        if plugin in ("", "host_list"):  # every plug-in reads a list alike
            continue
        # The INI plug-in tries every file: before the YAML one it might make hosts of lines of
        # YAML.
        first = next(
            (name for name in enabled if name == plugin or (name == "ini" and plugin == "yaml")),
            None,
        )
        if first != plugin:
            return f"how {source} is read (by the plug-in {plugin})"
    return ""


_READING: dict[str, Callable[[UnsupportedSetting, ReadingRecord], str]] = {
    "hash_behaviour": _merging,
    "precedence": _order,
    "duplicate_dict_key": _repeated,
    "yaml_valid_extensions": _yaml_endings,
    "vars_plugins_enabled": _variable_plugins,
    "enable_plugins": _plugins,
}
