"""ansible.cfg and its environment variables: what they set about connections.

Rules: the environment overrides the file, also where it sets a variable to nothing. A setting that
changes how inventories are read or how hosts are reached, and is not supported here, is never
skipped: it is an error if it would change what this run sees, and a note otherwise
(settings_check.py, in inventory and here).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from fleetaudit.inventory.unsupported_settings import (
    UnsupportedSetting,
    short_plugin_name,
    split_list,
)
from fleetaudit.inventory.values import FALSE_WORDS, TRUE_WORDS
from fleetaudit.model import Frozen
from fleetaudit.text.files import expand_home

from .ansible_cfg_file import NAME, ConfigFile, Lookup, Value
from .ansible_cfg_table import IGNORED, SUPPORTED, TO_REFUSE, Place, SettingToRefuse
from .variables import MAX_TEXT

_SYSTEM = Path("/etc/ansible") / NAME
_QUOTES = "\"'"
_MAX_DIGITS = 9
_DIGITS = re.compile(r"[0-9]+")


class AnsibleSettings(Frozen, frozen=True, kw_only=True):
    """What Ansible's own configuration sets about connections; None is "not set".

    `origins` says where: file:line, or the name of an environment variable. `notes` are for the
    user; `unsupported` are settings that fleetaudit does not support.
    """

    transport: str | None = None
    remote_user: str | None = None
    remote_port: int | None = None
    private_key_file: str | None = None
    timeout: int | None = None
    forks: int | None = None
    host_key_checking: bool | None = None
    ssh_args: str | None = None
    ssh_common_args: str | None = None
    ssh_extra_args: str | None = None
    become: bool | None = None
    become_method: str | None = None
    become_user: str | None = None
    become_exe: str | None = None
    become_allow_same_user: bool | None = None
    connection_password_file: str | None = None
    become_password_file: str | None = None
    vault_password_file: str | None = None
    interpreter_python: str | None = None
    origins: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    unsupported: tuple[UnsupportedSetting, ...] = ()


def load_ansible_settings(
    sources: Iterable[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
    system: Path = _SYSTEM,
) -> AnsibleSettings:
    """Returns the settings that Ansible would use if it were started here now.

    `sources` are the inventories of the run: an ansible.cfg beside one of them that is not read is
    a note. `environment` is os.environ by default; `system` is the file that counts last. Raises
    `ConfigError` if ANSIBLE_CONFIG names no file, and `InputError` with file and line, or with the
    name of the variable, for a value that is not valid. Ansible: "Ansible Configuration Settings",
    and `find_ini_config_file` in config/manager.py.
    """
    if environment is None:
        environment = os.environ
    lookup = Lookup(environment, system)
    found = dict(_supported(lookup))
    values = {name: _parse(name, value, lookup.file) for name, value in found.items()}
    origins = {name: value.origin for name, value in found.items()}
    notes = [*lookup.notes, *_notes(lookup, values, origins)]
    notes += _other_files_beside(sources, lookup.file)
    unsupported = tuple(_unsupported(lookup))
    return AnsibleSettings(
        **values,  # type: ignore[arg-type]  # _parse made them fit
        origins=origins,
        notes=tuple(notes),
        unsupported=unsupported,
    )


def _supported(lookup: Lookup) -> Iterator[tuple[str, Value]]:
    """Yields the name of each supported setting that is set, and the value that counts."""
    for name, setting in SUPPORTED.items():
        value = next(lookup.values(setting.variables, setting.places), None)
        if value:
            yield name, value


def _notes(
    lookup: Lookup, values: Mapping[str, str | int | bool], origins: Mapping[str, str]
) -> Iterator[str]:
    """Yields a note for each setting that is ignored.

    These are settings about prompts and host keys, for which the command line alone decides.
    """
    if values.get("host_key_checking") is False:
        yield (
            f"host_key_checking in {origins['host_key_checking']} is not supported: host keys are"
            " checked; --host-key-policy says how"
        )
    for setting in IGNORED:
        for value in lookup.values((setting.variable,), (setting.place,)):
            if value.text.strip().lower() not in FALSE_WORDS:
                yield f"{setting.place.key} in {value.origin} is not supported: {setting.instead}"


def _parse(name: str, value: Value, file: ConfigFile | None) -> str | int | bool:
    """Returns the setting `name` in the type of its kind.

    Raises `InputError` with its line for one that is not valid or longer than `MAX_TEXT`, and for a
    template: templates are rendered in inventories only.
    """
    value = value._replace(text=value.text.strip())
    if "{{" in value.text:
        raise value.error(
            f"{name} is a template, and templates in {NAME} are not rendered",
            "write the value itself",
        )
    if len(value.text) > MAX_TEXT:
        raise value.error(f"{name} is longer than {MAX_TEXT} characters")
    kind = SUPPORTED[name].kind
    if kind == "path":
        return _parse_path(value, file)
    return _PARSERS[kind](name, value)


def _parse_number(name: str, value: Value) -> int:
    """Returns a whole number above 0; digits beyond the ninth are ignored.

    Raises `InputError` for anything else.
    """
    digits = value.text[:_MAX_DIGITS]
    if _DIGITS.fullmatch(value.text) and int(digits) > 0:
        return int(digits)
    raise value.error(f"{name} is not a number above 0")


def _parse_boolean(name: str, value: Value) -> bool:
    """Returns what Ansible takes for yes or for no."""
    word = value.text.lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise value.error(f"{name} is neither yes nor no", "write true or false")
    return word in TRUE_WORDS


def _parse_text(_name: str, value: Value) -> str:
    """Returns a text, without quotation marks around it.

    Ansible removes them, too, if the first and the last character are the same mark.
    """
    text = value.text
    if text[:1] in _QUOTES and text[:1] == text[-1:]:
        return text.strip(_QUOTES)
    return text


def _parse_path(value: Value, file: ConfigFile | None) -> str:
    """Returns a path with ~ and variables of the environment expanded.

    One in a file is relative to the folder of the file, as in Ansible; one in the environment is
    relative to the current folder.
    """
    path = expand_home(os.path.expandvars(value.text.strip(_QUOTES)))
    is_in_file = ":" in value.origin
    return str(file.path.absolute().parent / path if file and is_in_file else path)


_PARSERS: dict[str, Callable[[str, Value], str | int | bool]] = {
    "number": _parse_number,
    "boolean": _parse_boolean,
    "text": _parse_text,
}


def _unsupported(lookup: Lookup) -> Iterator[UnsupportedSetting]:
    """Yields the settings that are not supported and differ from what fleetaudit does.

    Whether one matters to this run depends on the inventory and the hosts (settings_check.py).
    """
    for name, setting in TO_REFUSE.items():
        for key, value in _set_values(lookup, name, setting):
            parts = map(short_plugin_name, split_list(value.text))
            if ",".join(parts).lower() not in setting.harmless:
                yield UnsupportedSetting(
                    name=name,
                    key=key,
                    value=value.text.strip(),
                    origin=value.origin,
                    variable=setting.variable,
                    default=setting.harmless[0],
                )


def _set_values(lookup: Lookup, name: str, setting: SettingToRefuse) -> Iterator[tuple[str, Value]]:
    """Yields each value that is set, and its key for messages.

    An empty variable of the environment overrides the file, too.
    """
    if setting.variable in lookup.environment:
        for value in lookup.values((setting.variable,), ()):
            yield name, value
        return
    for place in setting.places:
        for value in lookup.values_at(place):
            yield _key_in_messages(name, place), value


def _key_in_messages(name: str, place: Place) -> str:
    """Returns a setting's key in this place, with the section if the key alone is unclear."""
    is_shorter = name == f"{place.section}_{place.key}"
    return f"[{place.section}] {place.key}" if is_shorter else name


def _other_files_beside(sources: Iterable[str], file: ConfigFile | None) -> Iterator[str]:
    """Yields a note for each ansible.cfg beside a source that is not the one read.

    Ansible looks in the current folder, and not in that of the inventory, which many expect.
    """
    seen: set[Path | None] = {None}
    for source in sources:
        other = _unread_file_beside(Path(source), file)
        if other not in seen:
            seen.add(other)
            yield (
                f"{other} is not read, nor would Ansible from here: start in that folder, or set"
                f" ANSIBLE_CONFIG={other}"
            )


def _unread_file_beside(source: Path, file: ConfigFile | None) -> Path | None:
    """Returns the ansible.cfg in the folder of an inventory, None if it is `file` or missing.

    A list of hosts has none, and whoever reads a missing source reports it.
    """
    try:
        if not source.exists():
            return None
        other = (source if source.is_dir() else source.parent) / NAME
        is_read = not other.exists() or (file is not None and other.samefile(file.path))
    except (OSError, ValueError):
        return None
    return None if is_read else other
