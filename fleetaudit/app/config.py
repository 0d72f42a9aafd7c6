"""Reads the configuration files: /etc/fleetaudit/config.yml, the user's own, ./fleetaudit.yml.

Rules: each key of a later file replaces that of an earlier one. A file that everybody may write is
not read. FLEETAUDIT_CONFIG names one file instead of all of them. An unknown key is an error with
file and line.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from fleetaudit.errors import ConfigError, FleetauditError
from fleetaudit.model import BecomeMethod, HostKeyPolicy, ProbeChoice, SshClient
from fleetaudit.text.files import expand_home
from fleetaudit.text.typed_documents import convert_document
from fleetaudit.text.yaml_lines import load_yaml

SYSTEM = Path("/etc/fleetaudit/config.yml")
HERE = "fleetaudit.yml"

_Text = Annotated[str, Meta(min_length=1)]
_Texts = _Text | list[_Text]
_Seconds = Annotated[float, Meta(gt=0, le=7 * 86400)]


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a configuration file: the long options of `run`, with _ instead of -.

    An option that takes several values may be a list. A name of a file is relative to the folder of
    the configuration file.
    """

    inventory: _Texts | None = None
    playbook: _Texts | None = None
    limit: _Text | None = None
    forks: Annotated[int, Meta(ge=1, le=1000)] | None = None
    serial: int | _Text | list[int | _Text] | None = None
    max_fail_percentage: Annotated[float, Meta(ge=0, le=100)] | None = None
    rate: _Text | None = None
    user: _Text | None = None
    private_key: _Text | None = None
    timeout: _Seconds | None = None
    host_deadline: _Seconds | None = None
    run_deadline: _Seconds | None = None
    retries: Annotated[int, Meta(ge=0, le=10)] | None = None
    host_key_policy: HostKeyPolicy | None = None
    known_hosts: _Text | None = None
    transport: SshClient | None = None
    probe: ProbeChoice | None = None
    vault_password_file: _Text | None = None
    no_exec: bool | None = None
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
    publish: _Text | None = None
    publish_mode: int | _Text | None = None


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
    "publish",
)
_LISTS = ("inventory", "playbook")


class Configuration(NamedTuple):
    """The values of all files by key (text, numbers, lists of text), and warnings for people."""

    values: dict[str, Any]
    notes: tuple[str, ...] = ()


def load_config(environment: Mapping[str, str], here: Path) -> Configuration:
    """Returns the configuration of a process with this environment in the folder `here`.

    `environment` says where the user's own file is: XDG_CONFIG_HOME, else HOME. A file in `here`
    that everybody may write is a note instead. Raises `ConfigError` for a file that is named by
    FLEETAUDIT_CONFIG and missing, and for one that cannot be read or makes no sense.
    """
    if named := environment.get("FLEETAUDIT_CONFIG"):
        path = expand_home(named)
        if not path.exists():
            raise ConfigError(f"FLEETAUDIT_CONFIG={named}: there is no such file")
        return Configuration(_read(path, here))
    values, notes = dict[str, Any](), list[str]()
    files = (SYSTEM, *_user_files(environment), here / HERE)
    for path in filter(Path.exists, files):
        if path.parent == here and (reason := _why_untrusted(path)):
            notes.append(
                f"{path}: not read, because {reason}; to read it nevertheless:"
                f"  FLEETAUDIT_CONFIG={HERE}"
            )
        else:
            values |= _read(path, here)
    return Configuration(values, tuple(notes))


def _user_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Returns the user's own configuration file, if there can be one."""
    base, home = environment.get("XDG_CONFIG_HOME"), environment.get("HOME")
    # The XDG Base Directory Specification: a relative path in it is invalid and is ignored.
    if base and Path(base).is_absolute():
        return (Path(base) / "fleetaudit/config.yml",)
    if home:
        return (Path(home) / ".config/fleetaudit/config.yml",)
    return ()


def _why_untrusted(path: Path) -> str:
    """Returns why anybody could have written the file, "" if nobody else could."""
    if path.parent.stat().st_mode & stat.S_IWOTH:
        return "everybody may write into its folder"
    if path.stat().st_mode & stat.S_IWOTH:
        return "everybody may write into it"
    return ""


def _read(path: Path, here: Path) -> dict[str, Any]:
    """Returns the values of one file by key; raises `ConfigError`."""
    try:
        config = convert_document(load_yaml(path), ConfigFile)
    except FleetauditError as e:
        raise ConfigError(str(e)) from e
    values = msgspec.structs.asdict(config)
    return {
        key: _option_value(key, value, path.parent, here)
        for key, value in values.items()
        if value is not None
    }


def _option_value(key: str, value: Any, folder: Path, here: Path) -> Any:
    """Returns the value of a key as the option takes it."""
    if key in _FILES:
        names = value if isinstance(value, list) else [value]
        files = [_file_name(name, folder, here) for name in names]
        return files if key in _LISTS else files[0]
    if isinstance(value, list):
        return ",".join(map(str, value))
    if key == "publish_mode":
        return _mode_text(value)
    return value


def _mode_text(value: int | str) -> str:
    """Returns a mode as it is typed: YAML has made a number of 0644, and another one of 644."""
    is_octal = isinstance(value, int) and value <= 0o777
    return f"{value:04o}" if is_octal else str(value)


def _file_name(name: str, folder: Path, here: Path) -> str:
    """Returns the name of a file as seen from `here`; a list of hosts stays as it is."""
    path = expand_home(name)
    if "," in name or path.is_absolute() or folder == here:
        return str(path) if name.startswith("~") else name
    return str(folder / path)
