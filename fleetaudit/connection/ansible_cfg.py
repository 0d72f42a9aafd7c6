"""ansible.cfg and its environment variables: what they say about connections, and what of it cannot
be followed.

Rules: found where Ansible finds it: ANSIBLE_CONFIG, the current folder unless anybody may write
there, the home folder, /etc/ansible. The environment beats the file, also where it sets nothing. A
setting that changes how inventories are read or how hosts are reached, and is not followed here, is
never passed over: it is an error where it would change what this run sees, and a note where it
would not (`unsupported.py`).
"""

from __future__ import annotations

import configparser
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fleetaudit.errors import ConfigError, InputError
from fleetaudit.inventory.unsupported_settings import (
    ENABLED_PLUGINS,
    IGNORED_EXTENSIONS,
    PRECEDENCE,
    YAML_EXTENSIONS,
    UnsupportedSetting,
    short_plugin_name,
    split_list,
)
from fleetaudit.inventory.values import FALSE_WORDS, TRUE_WORDS
from fleetaudit.model import Frozen
from fleetaudit.text.files import expand_home
from fleetaudit.text.yaml_lines import decode_utf8, read_bounded

NAME = "ansible.cfg"
_SYSTEM = Path("/etc/ansible") / NAME


class AnsibleSettings(Frozen, frozen=True, kw_only=True):
    """What Ansible's own configuration sets about connections; None is "not set". `origins` tells
    where: file:line, or the name of an environment variable. `unsupported` are its settings that
    fleetaudit does not follow.
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


# Field: its kind, its environment variables, and its places in the file; the first that is set
# counts.
_PLACES: dict[str, tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "transport": ("text", ("ANSIBLE_TRANSPORT",), (("defaults", "transport"),)),
    "remote_user": ("text", ("ANSIBLE_REMOTE_USER",), (("defaults", "remote_user"),)),
    "remote_port": ("number", ("ANSIBLE_REMOTE_PORT",), (("defaults", "remote_port"),)),
    "private_key_file": (
        "path",
        ("ANSIBLE_PRIVATE_KEY_FILE",),
        (("defaults", "private_key_file"),),
    ),
    "timeout": (
        "number",
        ("ANSIBLE_SSH_TIMEOUT", "ANSIBLE_TIMEOUT"),
        (("ssh_connection", "timeout"), ("defaults", "timeout")),
    ),
    "forks": ("number", ("ANSIBLE_FORKS",), (("defaults", "forks"),)),
    "host_key_checking": (
        "truth",
        ("ANSIBLE_SSH_HOST_KEY_CHECKING", "ANSIBLE_HOST_KEY_CHECKING"),
        (("ssh_connection", "host_key_checking"), ("defaults", "host_key_checking")),
    ),
    "ssh_args": ("text", ("ANSIBLE_SSH_ARGS",), (("ssh_connection", "ssh_args"),)),
    "ssh_common_args": (
        "text",
        ("ANSIBLE_SSH_COMMON_ARGS",),
        (("ssh_connection", "ssh_common_args"),),
    ),
    "ssh_extra_args": (
        "text",
        ("ANSIBLE_SSH_EXTRA_ARGS",),
        (("ssh_connection", "ssh_extra_args"),),
    ),
    "become": ("truth", ("ANSIBLE_BECOME",), (("privilege_escalation", "become"),)),
    "become_method": (
        "text",
        ("ANSIBLE_BECOME_METHOD",),
        (("privilege_escalation", "become_method"),),
    ),
    "become_user": ("text", ("ANSIBLE_BECOME_USER",), (("privilege_escalation", "become_user"),)),
    "become_exe": ("text", ("ANSIBLE_BECOME_EXE",), (("privilege_escalation", "become_exe"),)),
    "become_allow_same_user": (
        "truth",
        ("ANSIBLE_BECOME_ALLOW_SAME_USER",),
        (("privilege_escalation", "become_allow_same_user"),),
    ),
    "connection_password_file": (
        "path",
        ("ANSIBLE_CONNECTION_PASSWORD_FILE",),
        (("defaults", "connection_password_file"),),
    ),
    "become_password_file": (
        "path",
        ("ANSIBLE_BECOME_PASSWORD_FILE",),
        (("defaults", "become_password_file"),),
    ),
    "vault_password_file": (
        "path",
        ("ANSIBLE_VAULT_PASSWORD_FILE",),
        (("defaults", "vault_password_file"),),
    ),
    "interpreter_python": (
        "text",
        ("ANSIBLE_PYTHON_INTERPRETER",),
        (("defaults", "interpreter_python"),),
    ),
}
_FLAGS = ("", "-h -s -n", "-h -s", "-n")
# Settings that change what an inventory means or how hosts are reached: the environment variable,
# the places in the file, and the values that change nothing, the first of which is the one to type.
_UNFOLLOWED: dict[str, tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]] = {
    "hash_behaviour": ("ANSIBLE_HASH_BEHAVIOUR", (("defaults", "hash_behaviour"),), ("replace",)),
    "precedence": ("ANSIBLE_PRECEDENCE", (("defaults", "precedence"),), (",".join(PRECEDENCE),)),
    "duplicate_dict_key": (
        "ANSIBLE_DUPLICATE_YAML_DICT_KEY",
        (("defaults", "duplicate_dict_key"),),
        ("warn", "ignore"),
    ),
    "yaml_valid_extensions": (
        "ANSIBLE_YAML_FILENAME_EXT",
        (("defaults", "yaml_valid_extensions"),),
        (",".join(YAML_EXTENSIONS),),
    ),
    "inventory_ignore_extensions": (
        "ANSIBLE_INVENTORY_IGNORE",
        (("defaults", "inventory_ignore_extensions"), ("inventory", "ignore_extensions")),
        (",".join(IGNORED_EXTENSIONS),),
    ),
    "inventory_ignore_patterns": (
        "ANSIBLE_INVENTORY_IGNORE_REGEX",
        (("defaults", "inventory_ignore_patterns"), ("inventory", "ignore_patterns")),
        ("",),
    ),
    "vars_plugins_enabled": (
        "ANSIBLE_VARS_ENABLED",
        (("defaults", "vars_plugins_enabled"),),
        ("host_group_vars",),
    ),
    "enable_plugins": (
        "ANSIBLE_INVENTORY_ENABLED",
        (("inventory", "enable_plugins"),),
        (",".join(ENABLED_PLUGINS),),
    ),
    "transport": ("ANSIBLE_TRANSPORT", (("defaults", "transport"),), ("ssh", "smart", "paramiko")),
    "ssh_executable": (
        "ANSIBLE_SSH_EXECUTABLE",
        (("ssh_connection", "ssh_executable"),),
        ("ssh", "/usr/bin/ssh"),
    ),
    "pkcs11_provider": ("ANSIBLE_PKCS11_PROVIDER", (("ssh_connection", "pkcs11_provider"),), ("",)),
    "private_key": ("ANSIBLE_PRIVATE_KEY", (("ssh_connection", "private_key"),), ("",)),
    "proxy_command": (
        "ANSIBLE_PARAMIKO_PROXY_COMMAND",
        (("paramiko_connection", "proxy_command"),),
        ("",),
    ),
    "become_flags": ("ANSIBLE_BECOME_FLAGS", (("privilege_escalation", "become_flags"),), _FLAGS),
    "become_pass": ("ANSIBLE_BECOME_PASS", (), ("",)),
    **{
        f"[{method}_become_plugin] {name}": (
            f"ANSIBLE_{method.upper()}_{word}",
            ((f"{method}_become_plugin", name),),
            _FLAGS if name == "flags" else ("",),
        )
        for method in ("sudo", "doas", "su")
        for name, word in (
            ("user", "USER"),
            ("executable", "EXE"),
            ("flags", "FLAGS"),
            ("password", "PASS"),
        )
    },
    "[sudo_become_plugin] chdir": ("ANSIBLE_SUDO_CHDIR", (("sudo_become_plugin", "chdir"),), ("",)),
}
_VAULT = "--vault-password-file opens what is encrypted"
# Settings that are not followed, with who has the say instead.
_NOTES: dict[tuple[str, str], tuple[str, str]] = {
    ("defaults", "vault_identity_list"): ("ANSIBLE_VAULT_IDENTITY_LIST", _VAULT),
    ("defaults", "ask_vault_pass"): ("ANSIBLE_ASK_VAULT_PASS", _VAULT),
    ("defaults", "ask_pass"): ("ANSIBLE_ASK_PASS", "-k asks"),
    ("privilege_escalation", "become_ask_pass"): ("ANSIBLE_BECOME_ASK_PASS", "-K asks"),
}


def load_ansible_settings(
    sources: Iterable[str] = (),
    *,
    environment: Mapping[str, str] | None = None,
    system: Path = _SYSTEM,
) -> AnsibleSettings:
    """Returns the settings that Ansible would use if it were started here now.

    A note tells of an ansible.cfg beside one of the inventories `sources` that is not the one read.
    Raises `ConfigError` where ANSIBLE_CONFIG names no file, `InputError` with file and line for
    what makes no sense.
    """
    environment = os.environ if environment is None else environment
    file, notes = _found(environment, system)
    config = _File(file) if file else None
    values: dict[str, str | int | bool] = {}
    origins = dict[str, str]()
    for name, (kind, variables, places) in _PLACES.items():
        said = next(_said(variables, places, environment, config), None)
        if said:
            values[name], origins[name] = _typed(kind, said, name, config), said[1]
    if values.get("host_key_checking") is False:
        at = origins["host_key_checking"]
        notes.append(
            f"host_key_checking in {at} is not supported: host keys are checked; --host-key-policy"
            " says how"
        )
    for place, (variable, why) in _NOTES.items():
        for value, origin in _said((variable,), (place,), environment, config):
            if value.strip().lower() not in FALSE_WORDS:
                notes.append(f"{place[1]} in {origin} is not supported: {why}")
    notes += _others_beside(sources, file)
    unsupported = tuple(_unfollowed(environment, config))
    return AnsibleSettings(**values, origins=origins, notes=tuple(notes), unsupported=unsupported)  # type: ignore[arg-type]  # _typed made them fit


def _found(environment: Mapping[str, str], system: Path) -> tuple[Path | None, list[str]]:
    if named := environment.get("ANSIBLE_CONFIG"):
        path = expand_home(os.path.expandvars(named))
        path = path / NAME if path.is_dir() else path
        if not path.exists():
            raise ConfigError(f"ANSIBLE_CONFIG names {path}, and there is no such file")
        return path, []
    notes = list[str]()
    here = Path(NAME)
    if here.exists():
        if not Path().stat().st_mode & stat.S_IWOTH:
            return here, []
        notes.append(f"{NAME} in the current folder is not read: anybody may write there")
    home = Path(environment.get("HOME") or "~").expanduser() / f".{NAME}"
    return next((path for path in (home, system) if os.access(path, os.R_OK)), None), notes


class _File:
    """One ansible.cfg: its settings, and the line of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parser = configparser.ConfigParser(
            interpolation=None, strict=False, inline_comment_prefixes=(";",)
        )
        try:
            text = decode_utf8(read_bounded(path), source=str(path))
            self._parser.read_string(text, source=str(path))
        except (OSError, ValueError) as e:
            raise InputError("cannot be read", source=str(path)) from e
        except configparser.Error as e:
            line = getattr(e, "lineno", 0) or 0
            raise InputError(
                "is no ansible.cfg: neither a section nor a setting", source=str(path), line=line
            ) from e
        self._lines = text.splitlines()

    def get(self, section: str, key: str) -> str | None:
        return self._parser.get(section, key, fallback=None)

    def origin(self, section: str, key: str) -> str:
        """Returns file:line of a setting."""
        inside = ""
        for number, line in enumerate(self._lines, 1):
            stripped = line.strip()
            if stripped.startswith("["):
                inside = stripped[1:].partition("]")[0]
            elif (
                inside == section
                and stripped.lower().replace(":", "=").partition("=")[0].strip() == key
            ):
                return f"{self.path}:{number}"
        return str(self.path)


def _said(
    variables: Iterable[str],
    places: Iterable[tuple[str, str]],
    environment: Mapping[str, str],
    config: _File | None,
) -> Iterator[tuple[str, str]]:
    """Yields what is set, the one that counts first, each with its origin."""
    for variable in variables:
        if value := environment.get(variable):
            yield value, variable
    for section, key in places:
        if config and (value := config.get(section, key)):
            yield value, config.origin(section, key)


def _typed(kind: str, said: tuple[str, str], name: str, config: _File | None) -> str | int | bool:
    value, origin = said[0].strip(), said[1]
    if "{{" in value:
        raise _error(
            f"{name} is a template, and templates in {NAME} are not rendered",
            origin,
            "write the value itself",
        )
    if kind == "number":
        if not (value.isascii() and value.isdecimal() and int(value[:9]) > 0):
            raise _error(f"{name} is no number above 0", origin)
        return int(value[:9])
    if kind == "truth":
        if value.lower() not in TRUE_WORDS | FALSE_WORDS:
            raise _error(f"{name} is neither yes nor no", origin, "write true or false")
        return value.lower() in TRUE_WORDS
    if kind == "path":
        path = expand_home(os.path.expandvars(value.strip("\"'")))
        return str(config.path.absolute().parent / path if config and ":" in origin else path)
    return (
        value.strip("\"'")
        if kind == "text" and value[:1] in "\"'" and value[:1] == value[-1:]
        else value
    )


def _unfollowed(
    environment: Mapping[str, str], config: _File | None
) -> Iterator[UnsupportedSetting]:
    """Yields the settings that are not followed and whose value differs from what fleetaudit does."""
    for name, (variable, places, usual) in _UNFOLLOWED.items():
        # Also an empty variable of the environment takes the place of what the file says.
        inside = () if variable in environment else places
        set_here = [(name, said) for said in _said((variable,), (), environment, config)]
        set_here += [
            (_key(name, place), said)
            for place in inside
            for said in _said((), (place,), environment, config)
        ]
        for key, (value, origin) in set_here:
            if ",".join(map(short_plugin_name, split_list(value))).lower() not in usual:
                yield UnsupportedSetting(name, key, value.strip(), origin, variable, usual[0])


def _key(name: str, place: tuple[str, str]) -> str:
    """Returns a setting's name as ansible.cfg has it in this place; with the section where the key
    is shorter.
    """
    section, key = place
    return f"[{section}] {key}" if name == f"{section}_{key}" else name


def _error(message: str, origin: str, hint: str = "") -> InputError:
    source, _, line = origin.rpartition(":")
    if not line.isdecimal():
        return InputError(message, source=origin, hint=hint)
    return InputError(message, source=source, line=int(line), hint=hint)


def _others_beside(sources: Iterable[str], file: Path | None) -> Iterator[str]:
    seen = set[Path]()
    for source in sources:
        path = Path(source)
        try:
            if not path.exists():
                continue  # a list of hosts, or missing: whoever reads it says so
            other = (path if path.is_dir() else path.parent) / NAME
            if other in seen or not other.exists() or (file and other.samefile(file)):
                continue
        except (OSError, ValueError):
            continue
        seen.add(other)
        yield (
            f"{other} is not read, nor would Ansible from here: start in that folder, or set"
            f" ANSIBLE_CONFIG={other}"
        )
