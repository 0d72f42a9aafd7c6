"""The settings of ansible.cfg about inventories and connections, and where each is set. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from fleetaudit.inventory.unsupported_settings import (
    ENABLED_PLUGINS,
    IGNORED_EXTENSIONS,
    PRECEDENCE,
    YAML_EXTENSIONS,
)

Kind = Literal["text", "number", "boolean", "path"]
"""The type of a setting's value."""


class Place(NamedTuple):
    """A section and a key of ansible.cfg."""

    section: str
    key: str


class SupportedSetting(NamedTuple):
    """A setting that is followed: the first variable or place that is set counts."""

    kind: Kind
    variables: tuple[str, ...]
    places: tuple[Place, ...]


class SettingToRefuse(NamedTuple):
    """A setting that changes what an inventory means or how hosts are reached.

    `harmless` are the values with which it changes nothing; the first is the one to type.
    """

    variable: str
    places: tuple[Place, ...]
    harmless: tuple[str, ...]


class IgnoredSetting(NamedTuple):
    """A setting that is ignored with a note; `instead` is what fleetaudit does."""

    variable: str
    place: Place
    instead: str


def _setting(kind: Kind, section: str, key: str, variable: str = "") -> SupportedSetting:
    """Returns a setting with one place, and the variable ANSIBLE_KEY if no other is named."""
    return SupportedSetting(kind, (variable or f"ANSIBLE_{key.upper()}",), (Place(section, key),))


def _ssh_or_default(kind: Kind, key: str) -> SupportedSetting:
    """Returns a setting of the ssh plugin, which overrides the one of all plugins."""
    name = key.upper()
    return SupportedSetting(
        kind,
        (f"ANSIBLE_SSH_{name}", f"ANSIBLE_{name}"),
        (Place("ssh_connection", key), Place("defaults", key)),
    )


SUPPORTED: dict[str, SupportedSetting] = {
    "transport": _setting("text", "defaults", "transport"),
    "remote_user": _setting("text", "defaults", "remote_user"),
    "remote_port": _setting("number", "defaults", "remote_port"),
    "private_key_file": _setting("path", "defaults", "private_key_file"),
    "timeout": _ssh_or_default("number", "timeout"),
    "forks": _setting("number", "defaults", "forks"),
    "host_key_checking": _ssh_or_default("boolean", "host_key_checking"),
    "ssh_args": _setting("text", "ssh_connection", "ssh_args"),
    "ssh_common_args": _setting("text", "ssh_connection", "ssh_common_args"),
    "ssh_extra_args": _setting("text", "ssh_connection", "ssh_extra_args"),
    "become": _setting("boolean", "privilege_escalation", "become"),
    "become_method": _setting("text", "privilege_escalation", "become_method"),
    "become_user": _setting("text", "privilege_escalation", "become_user"),
    "become_exe": _setting("text", "privilege_escalation", "become_exe"),
    "become_allow_same_user": _setting("boolean", "privilege_escalation", "become_allow_same_user"),
    "connection_password_file": _setting("path", "defaults", "connection_password_file"),
    "become_password_file": _setting("path", "defaults", "become_password_file"),
    "vault_password_file": _setting("path", "defaults", "vault_password_file"),
    "interpreter_python": _setting(
        "text", "defaults", "interpreter_python", "ANSIBLE_PYTHON_INTERPRETER"
    ),
}
"""By the field of `AnsibleSettings`."""


def _refused(variable: str, *places: Place, harmless: tuple[str, ...]) -> SettingToRefuse:
    """Returns a setting that is refused unless it has one of these values."""
    return SettingToRefuse(variable, places, harmless)


def _of_become_plugin(method: str) -> dict[str, SettingToRefuse]:
    """Returns the settings of one become plugin, by name."""
    section = f"{method}_become_plugin"
    names = {"user": "USER", "executable": "EXE", "flags": "FLAGS", "password": "PASS"}
    return {
        f"[{section}] {name}": _refused(
            f"ANSIBLE_{method.upper()}_{word}",
            Place(section, name),
            harmless=_HARMLESS_FLAGS if name == "flags" else _EMPTY,
        )
        for name, word in names.items()
    }


_EMPTY = ("",)
_HARMLESS_FLAGS = ("", "-h -s -n", "-h -s", "-n")
TO_REFUSE: dict[str, SettingToRefuse] = {
    "hash_behaviour": _refused(
        "ANSIBLE_HASH_BEHAVIOUR", Place("defaults", "hash_behaviour"), harmless=("replace",)
    ),
    "precedence": _refused(
        "ANSIBLE_PRECEDENCE", Place("defaults", "precedence"), harmless=(",".join(PRECEDENCE),)
    ),
    "duplicate_dict_key": _refused(
        "ANSIBLE_DUPLICATE_YAML_DICT_KEY",
        Place("defaults", "duplicate_dict_key"),
        harmless=("warn", "ignore"),
    ),
    "yaml_valid_extensions": _refused(
        "ANSIBLE_YAML_FILENAME_EXT",
        Place("defaults", "yaml_valid_extensions"),
        harmless=(",".join(YAML_EXTENSIONS),),
    ),
    "inventory_ignore_extensions": _refused(
        "ANSIBLE_INVENTORY_IGNORE",
        Place("defaults", "inventory_ignore_extensions"),
        Place("inventory", "ignore_extensions"),
        harmless=(",".join(IGNORED_EXTENSIONS),),
    ),
    "inventory_ignore_patterns": _refused(
        "ANSIBLE_INVENTORY_IGNORE_REGEX",
        Place("defaults", "inventory_ignore_patterns"),
        Place("inventory", "ignore_patterns"),
        harmless=_EMPTY,
    ),
    "vars_plugins_enabled": _refused(
        "ANSIBLE_VARS_ENABLED",
        Place("defaults", "vars_plugins_enabled"),
        harmless=("host_group_vars",),
    ),
    "enable_plugins": _refused(
        "ANSIBLE_INVENTORY_ENABLED",
        Place("inventory", "enable_plugins"),
        harmless=(",".join(ENABLED_PLUGINS),),
    ),
    "transport": _refused(
        "ANSIBLE_TRANSPORT",
        Place("defaults", "transport"),
        harmless=("ssh", "smart", "paramiko"),
    ),
    "ssh_executable": _refused(
        "ANSIBLE_SSH_EXECUTABLE",
        Place("ssh_connection", "ssh_executable"),
        harmless=("ssh", "/usr/bin/ssh"),
    ),
    "pkcs11_provider": _refused(
        "ANSIBLE_PKCS11_PROVIDER", Place("ssh_connection", "pkcs11_provider"), harmless=_EMPTY
    ),
    "private_key": _refused(
        "ANSIBLE_PRIVATE_KEY", Place("ssh_connection", "private_key"), harmless=_EMPTY
    ),
    "proxy_command": _refused(
        "ANSIBLE_PARAMIKO_PROXY_COMMAND",
        Place("paramiko_connection", "proxy_command"),
        harmless=_EMPTY,
    ),
    "become_flags": _refused(
        "ANSIBLE_BECOME_FLAGS",
        Place("privilege_escalation", "become_flags"),
        harmless=_HARMLESS_FLAGS,
    ),
    "become_pass": _refused("ANSIBLE_BECOME_PASS", harmless=_EMPTY),
    **_of_become_plugin("sudo"),
    **_of_become_plugin("doas"),
    **_of_become_plugin("su"),
    "[sudo_become_plugin] chdir": _refused(
        "ANSIBLE_SUDO_CHDIR", Place("sudo_become_plugin", "chdir"), harmless=_EMPTY
    ),
}
"""By the name that messages have."""

_VAULT = "--vault-password-file opens what is encrypted"
IGNORED = (
    IgnoredSetting("ANSIBLE_VAULT_IDENTITY_LIST", Place("defaults", "vault_identity_list"), _VAULT),
    IgnoredSetting("ANSIBLE_ASK_VAULT_PASS", Place("defaults", "ask_vault_pass"), _VAULT),
    IgnoredSetting("ANSIBLE_ASK_PASS", Place("defaults", "ask_pass"), "-k asks"),
    IgnoredSetting(
        "ANSIBLE_BECOME_ASK_PASS", Place("privilege_escalation", "become_ask_pass"), "-K asks"
    ),
)
