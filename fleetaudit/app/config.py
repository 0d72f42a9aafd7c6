"""Configuration files: which are read, in which order, and what may be in them.

Rules: /etc/fleetaudit/config.yml, then the user's own, then fleetaudit.yml of the current folder;
each key of a later file replaces that of an earlier one. A folder that everybody may write into
gives no configuration. FLEETAUDIT_CONFIG names one file instead of them all. What is in no table
here is an error with file and line, never passed over.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from fleetaudit.errors import ConfigError, FleetauditError
from fleetaudit.model import BecomeMethod, HostKeyPolicy, SshClient
from fleetaudit.text.files import expand_home
from fleetaudit.text.typed_documents import convert_document
from fleetaudit.text.yaml_lines import load_yaml

SYSTEM = Path("/etc/fleetaudit/config.yml")
HERE = "fleetaudit.yml"

_Text = Annotated[str, Meta(min_length=1)]
_Texts = _Text | list[_Text]
_Seconds = Annotated[float, Meta(gt=0, le=7 * 86400)]


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration file may say: the long options of `run`, with _ for -; lists where an
    option takes several.

    A name of a file is relative to the folder of the configuration file.
    """

    inventory: _Texts | None = None
    playbook: _Texts | None = None
    limit: _Text | None = None
    forks: Annotated[int, Meta(ge=1, le=1000)] | None = None
    user: _Text | None = None
    private_key: _Text | None = None
    timeout: _Seconds | None = None
    host_deadline: _Seconds | None = None
    run_deadline: _Seconds | None = None
    retries: Annotated[int, Meta(ge=0, le=10)] | None = None
    host_key_policy: HostKeyPolicy | None = None
    known_hosts: _Text | None = None
    transport: SshClient | None = None
    vault_password_file: _Text | None = None
    become: bool | None = None
    become_user: _Text | None = None
    become_method: BecomeMethod | None = None
    connection_password_file: _Text | None = None
    become_password_file: _Text | None = None
    waivers: _Text | None = None
    baseline: _Text | None = None
    output_dir: _Text | None = None
    format: _Texts | None = None
    fail_on: _Texts | None = None
    keep: Annotated[int, Meta(ge=1)] | _Text | None = None
    notify: _Text | None = None
    report_url: _Text | None = None


_FILES = (
    "inventory",
    "playbook",
    "private_key",
    "known_hosts",
    "vault_password_file",
    "connection_password_file",
    "become_password_file",
    "waivers",
    "output_dir",
)
_LISTS = ("inventory", "playbook")


class Configuration(NamedTuple):
    """What the files say together, by key, as text, numbers and lists of text; `notes` are warnings
    for people.
    """

    values: dict[str, Any]
    notes: tuple[str, ...] = ()


def load_config(environment: Mapping[str, str], here: Path) -> Configuration:
    """Returns what the configuration files say, for a process with this environment in the folder
    `here`.

    Raises `ConfigError` for a file that is named and missing, cannot be read, or makes no sense.
    """
    named = environment.get("FLEETAUDIT_CONFIG")
    if named:
        path = expand_home(named)
        if not path.exists():
            raise ConfigError(f"FLEETAUDIT_CONFIG={named}: there is no such file")
        return Configuration(_read(path, here))
    values, notes = dict[str, Any](), list[str]()
    for path in (SYSTEM, *_of_user(environment), here / HERE):
        if not path.exists():
            continue
        if path.parent == here and (why := _open_to_all(path)):
            notes.append(
                f"{path}: passed over, because {why}; FLEETAUDIT_CONFIG={HERE} reads it all the"
                " same"
            )
            continue
        values |= _read(path, here)
    return Configuration(values, tuple(notes))


def _of_user(environment: Mapping[str, str]) -> tuple[Path, ...]:
    base, home = environment.get("XDG_CONFIG_HOME"), environment.get("HOME")
    # The XDG Base Directory Specification: a relative path in it is invalid and is ignored.
    if base and Path(base).is_absolute():
        return (Path(base) / "fleetaudit/config.yml",)
    return (Path(home) / ".config/fleetaudit/config.yml",) if home else ()


def _open_to_all(path: Path) -> str:
    """Returns why anybody could have written the file, "" where that is not so."""
    for what, where in (("its folder", path.parent), ("it", path)):
        if where.stat().st_mode & stat.S_IWOTH:
            return f"everybody may write into {what}"
    return ""


def _read(path: Path, here: Path) -> dict[str, Any]:
    try:
        document = load_yaml(path)
        found = convert_document(document, ConfigFile)
    except FleetauditError as e:
        raise ConfigError(str(e)) from e
    values = {
        key: value for key in found.__struct_fields__ if (value := getattr(found, key)) is not None
    }
    return {key: _value(key, value, path.parent, here) for key, value in values.items()}


def _value(key: str, value: Any, folder: Path, here: Path) -> Any:
    if key in _LISTS and not isinstance(value, list):
        value = [value]
    if key not in _FILES:
        return ",".join(value) if isinstance(value, list) else value
    return (
        [_file(name, folder, here) for name in value]
        if isinstance(value, list)
        else _file(value, folder, here)
    )


def _file(name: str, folder: Path, here: Path) -> str:
    """Returns the name of a file as seen from `here`; a list of hosts is not a file."""
    path = expand_home(name)
    if "," in name or path.is_absolute() or folder == here:
        return str(path) if name.startswith("~") else name
    return str(folder / path)
