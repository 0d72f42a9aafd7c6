"""A setting of ansible.cfg that is not followed: its error, its note, and the command that leaves
it out. Pure.

Rules: a setting is an error only if it would change what this run sees; otherwise it is a note. The
command leaves out this one setting and keeps the rest of the file: the environment takes precedence
over ansible.cfg.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

from fleetaudit.errors import InputError

ENABLED_PLUGINS = ("host_list", "script", "auto", "yaml", "ini", "toml")
"""The inventory plug-ins that Ansible tries if nothing is set, in this order."""
PRECEDENCE = (
    "all_inventory",
    "groups_inventory",
    "all_plugins_inventory",
    "all_plugins_play",
    "groups_plugins_inventory",
    "groups_plugins_play",
)
"""Where the variables of groups come from, a later one winning, if nothing is set."""
YAML_EXTENSIONS = (".yml", ".yaml", ".json")
"""The endings of YAML files in Ansible."""
IGNORED_EXTENSIONS = (
    ".pyc",
    ".pyo",
    ".swp",
    ".bak",
    "~",
    ".rpm",
    ".md",
    ".txt",
    ".rst",
    ".orig",
    ".cfg",
    ".retry",
)
"""The endings of files that Ansible passes over in a folder."""


class UnsupportedSetting(NamedTuple):
    """A setting that is set to something else than is done here. `origin` is file:line, or an
    environment variable; `key` is the setting's name there, which can be shorter than `name`.

    With `variable` in the environment set to `usual` it is as if it were not set.
    """

    name: str
    key: str
    value: str
    origin: str
    variable: str
    usual: str

    @property
    def values(self) -> list[str]:
        """The parts of a value that is a list."""
        return split_list(self.value)

    def error(self, what: str) -> InputError:
        """Returns the error for a setting that would change `what`."""
        message = f"“{self.key}” would change {what}, and is not followed here"
        source, _, line = self.origin.rpartition(":")
        if not line.isdecimal():
            return InputError(
                message, source=self.origin, hint=f"without it:  unset {self.variable}"
            )
        hint = (
            "without this one setting:  export"
            f" {self.variable}={shlex.quote(self.usual) if self.usual else ''}"
        )
        return InputError(message, source=source, line=int(line), hint=hint)

    def note(self) -> str:
        """Returns the note for a setting that changes nothing."""
        return f"{self.key} in {self.origin} is not followed; it would change nothing here"


def split_list(value: str) -> list[str]:
    """Returns the parts of a list as ansible.cfg has it, with commas between."""
    return [part.strip() for part in value.split(",") if part.strip()]


def short_plugin_name(plugin: str) -> str:
    """Returns the short name of one of Ansible's own plug-ins."""
    return plugin.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
