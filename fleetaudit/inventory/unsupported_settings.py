"""A setting of ansible.cfg that is not supported: its error, its note, the command without it.

Pure. Rules: a setting is an error only if it would change what this run sees; otherwise it is a
note. The command leaves out this one setting and keeps the rest of the file: the environment takes
precedence over ansible.cfg.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

from fleetaudit.errors import InputError

from .entries import error_at

ENABLED_PLUGINS = ("host_list", "script", "auto", "yaml", "ini", "toml")
"""The inventory plugins that Ansible tries by default, in this order."""
PRECEDENCE = (
    "all_inventory",
    "groups_inventory",
    "all_plugins_inventory",
    "all_plugins_play",
    "groups_plugins_inventory",
    "groups_plugins_play",
)
"""Where the variables of groups come from by default, a later one winning."""
YAML_EXTENSIONS = (".yml", ".yaml", ".json")
"""The extensions of YAML files in Ansible by default."""
IGNORED_EXTENSIONS = (
    ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry",
)  # fmt: skip
"""The extensions of files that Ansible skips in a folder by default."""


class UnsupportedSetting(NamedTuple):
    """A setting whose value differs from what fleetaudit does.

    `origin` is file:line, or an environment variable; `key` is the setting's name there, which can
    be shorter than `name`. With `variable` in the environment set to `default` it is as if it were
    not set.
    """

    name: str
    key: str
    value: str
    origin: str
    variable: str
    default: str

    @property
    def values(self) -> list[str]:
        """The parts of a value that is a list."""
        return split_list(self.value)

    def error(self, change: str) -> InputError:
        """Returns the error to raise for a setting that would change `change`.

        `change` completes “would change …”. The hint is the command that makes it as if the setting
        were not set: `unset` for a variable of the environment, and `export` with the default for a
        setting in the file, since the environment overrides it.
        """
        message = f"“{self.key}” would change {change}, and is not supported"
        if self.origin == self.variable:
            return error_at(self.origin, message, f"without it:  unset {self.variable}")
        value = shlex.quote(self.default) if self.default else ""
        hint = f"without this one setting:  export {self.variable}={value}"
        return error_at(self.origin, message, hint)

    def note(self) -> str:
        """Returns the note for a setting that changes nothing."""
        return f"{self.key} in {self.origin} is not supported; it would change nothing here"


def split_list(value: str) -> list[str]:
    """Returns the parts of a list as ansible.cfg has it, with commas between."""
    return list(filter(None, map(str.strip, value.split(","))))


def short_plugin_name(plugin: str) -> str:
    """Returns the name of a plugin without the prefix of Ansible's own collections."""
    return plugin.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
