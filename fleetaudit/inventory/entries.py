"""What a builder collects: entries of hosts and groups, and where they are written. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from fleetaudit.errors import InputError

MAX_ENTRIES = 5_000_000
"""Maximum number of hosts in groups, groups in groups and variables of hosts, ranges expanded."""
SPLIT_HINT = "shorten its ranges, or split it and audit one part after the other"


class Origin(NamedTuple):
    """Where something is written. `line` is 0 if the source has no lines."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.source
        return f"{self.source}:{self.line}"

    def error(self, message: str, hint: str = "") -> InputError:
        """Returns an error to raise about what is written here."""
        return InputError(
            message, source=self.source, line=self.line, column=self.column, hint=hint
        )


def error_at(origin: str, message: str, hint: str = "") -> InputError:
    """Returns an error to raise about what is set at `origin`, the text of an `Origin`.

    That is file:line, or the name of what has no lines, such as a variable of the environment or a
    list of hosts. `hint` is the next step, with a command to type where there is one.
    """
    source, _, line = origin.rpartition(":")
    if not line.isdecimal():
        return InputError(message, source=origin, hint=hint)
    return InputError(message, source=source, line=int(line), hint=hint)


class GroupEntry(msgspec.Struct):
    """One group: what it sets and where, its own hosts, its children and its parents.

    `children` maps each child to the place where it becomes one. The other mappings without values
    are ordered sets.
    """

    origin: Origin
    variables: dict[str, Any] = msgspec.field(default_factory=dict)
    origins: dict[str, str] = msgspec.field(default_factory=dict)
    hosts: dict[str, None] = msgspec.field(default_factory=dict)
    children: dict[str, Origin] = msgspec.field(default_factory=dict)
    parents: dict[str, None] = msgspec.field(default_factory=dict)
    priority: int = 1


class HostEntry(msgspec.Struct):
    """One host: its port, its own variables and where they are set, and its direct groups.

    `only_listed` is true if no file names the host, only `host,host,` lists.
    """

    origin: Origin
    port: int | None
    only_listed: bool
    variables: dict[str, Any] = msgspec.field(default_factory=dict)
    origins: dict[str, str] = msgspec.field(default_factory=dict)
    groups: dict[str, None] = msgspec.field(default_factory=dict)

    def is_implicit_localhost(self, name: str) -> bool:
        """Returns whether the host, which is called `name`, is this machine without SSH.

        It is a bare `localhost` that no file names, as Ansible's "Implicit localhost" is.
        """
        return name == "localhost" and self.only_listed and self.port is None


VariablesAndOrigins = tuple[Mapping[str, Any], Mapping[str, str]]
"""Variables by name, and where each is set (file:line)."""


class VarsLayer(NamedTuple):
    """What group_vars and host_vars of one folder set for each group and each host."""

    groups: Mapping[str, VariablesAndOrigins]
    hosts: Mapping[str, VariablesAndOrigins]
