"""What Ansible would read beside an inventory file, and is refused until it is read here too.

Rules: only what would change this inventory's hosts is refused: variables of a group or host that is in it, settings
that say where or as whom to connect or how variables merge.
"""

from __future__ import annotations

import configparser
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ..errors import InputError
from ..model import Inventory
from .way_out import way_out

_SUFFIXES = (".yml", ".yaml", ".json")
_SETTINGS = {
    "defaults": {
        "ask_vault_pass", "hash_behaviour", "inventory_plugins", "private_key_file", "private_role_vars",
        "remote_port", "remote_user", "transport", "vars_plugins", "vault_identity_list", "vault_password_file",
    },
    "connection": {"ssh_args", "ssh_common_args", "ssh_executable", "ssh_extra_args"},
    "ssh_connection": {"pkcs11_provider", "private_key", "ssh_args", "ssh_common_args", "ssh_executable",
                       "ssh_extra_args"},
    "paramiko_connection": {"proxy_command"},
    "privilege_escalation": {"become", "become_exe", "become_flags", "become_method", "become_user"},
    "inventory": {"enable_plugins", "ignore_extensions", "ignore_patterns"},
}  # fmt: skip


def refuse_beside(files: Iterable[Path], inventory: Inventory) -> None:
    """Raises `InputError` naming the first file beside one of `files` that would change `inventory` in Ansible."""
    hosts = {host.name for host in inventory.hosts}
    for file in files:
        _refuse_variables(file, file.parent / "group_vars", inventory.groups)
        _refuse_variables(file, file.parent / "host_vars", hosts)
        _refuse_settings(file.parent / "ansible.cfg")


def _refuse_variables(file: Path, folder: Path, names: Collection[str]) -> None:
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # none is there, or it is no folder: Ansible reads nothing either
        return
    for entry in entries:
        name = entry.stem if entry.suffix in _SUFFIXES else entry.name
        if entry.name.startswith(".") or entry.name.endswith("~") or not {name, entry.name} & set(names):
            continue
        if _content(entry):
            raise InputError(
                f"Ansible would read this for “{name}”, and {folder.name} is not read here yet",
                source=str(entry),
                hint=way_out(str(file)),
            )


def _content(entry: Path) -> bool:
    if entry.is_dir():
        return any(p.is_file() and p.stat().st_size for p in entry.rglob("*") if not p.name.startswith("."))
    return entry.is_file() and entry.stat().st_size > 0


def _refuse_settings(file: Path) -> None:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as e:
        raise InputError("cannot be read, and Ansible might be set up in it", source=str(file)) from e
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(text, source=str(file))
    except configparser.Error as e:
        raise InputError("is no ansible.cfg: " + str(e).splitlines()[0], source=str(file)) from e
    for section, keys in _SETTINGS.items():
        set_here = [key for key in (parser.options(section) if parser.has_section(section) else ()) if key in keys]
        if set_here:
            raise InputError(
                f"“{set_here[0]}” in [{section}] changes how hosts are reached or read, and is not read here yet",
                source=str(file),
                line=_line_of(text.splitlines(), set_here[0]),
                hint="say it with variables below “all: vars:” (ansible_user, ansible_port, …), "
                "and put the inventory in a folder without this file",
            )


def _line_of(lines: Sequence[str], key: str) -> int:
    return next(
        (n for n, line in enumerate(lines, 1) if line.lower().replace(":", "=").split("=")[0].strip() == key), 0
    )
