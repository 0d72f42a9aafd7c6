"""The options of one command as plain values, each with the place that its value comes from.

The command line makes them from what it parsed; use cases need the place to decide which of two
values takes precedence, and to name an option in a message as the user typed it. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

if TYPE_CHECKING:
    from fleetaudit.model import OtherCommand


_OTHER_COMMANDS: Mapping[str, OtherCommand] = {"watch": "watch", "services": "services"}


class OptionSource(Enum):
    """Where the value of an option comes from."""

    COMMAND_LINE = "command line"
    ENVIRONMENT = "environment"
    CONFIGURATION = "configuration"
    RECORDED = "recorded"
    """The command line of the run that is resumed."""
    DEFAULT = "default"


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option: its value, its default, and how it is typed ("-K", "--ask-become-pass")."""

    name: str
    flags: tuple[str, ...]
    value: object
    default: object = None
    source: OptionSource = OptionSource.DEFAULT

    @property
    def is_typed(self) -> bool:
        """Returns whether the command line of this process has the option."""
        return self.source is OptionSource.COMMAND_LINE

    @property
    def is_set(self) -> bool:
        """Returns whether anything but the default set the option."""
        return self.source is not OptionSource.DEFAULT

    @property
    def is_repeated(self) -> bool:
        """Returns whether a command that is printed has to repeat the option.

        The environment and the configuration apply again. 0 is a value; False and None are not.
        """
        is_unset = self.value is None or self.value is False or self.value == ()
        of_environment = self.source is OptionSource.ENVIRONMENT
        return not (is_unset or of_environment or self.value == self.default)


class CommandOptions(msgspec.Struct, frozen=True):
    """The options of a command by name, in the order of its help text."""

    verb: str
    by_name: Mapping[str, Option]

    @property
    def command(self) -> OtherCommand | UnsetType:
        """The command as a run records it: unset for `run`."""
        return _OTHER_COMMANDS.get(self.verb, UNSET)

    def __getitem__(self, name: str) -> Option:
        return self.by_name[name]

    def values(self) -> dict[str, object]:
        """Returns the value of every option by its name, also of those that have their default."""
        return {name: option.value for name, option in self.by_name.items()}

    def typed_flags(self, *names: str) -> list[str]:
        """Returns those of the named options that were typed, by their first flag: "-K".

        They are in the order of `names`. Raises KeyError for an option that the command lacks.
        """
        return [self.by_name[name].flags[0] for name in names if self.by_name[name].is_typed]

    def names_by_flag(self) -> dict[str, str]:
        """Returns the name of every option by each of its flags."""
        return {flag: name for name, option in self.by_name.items() for flag in option.flags}

    def with_values(
        self, values: Mapping[str, object], source: OptionSource | None = None
    ) -> CommandOptions:
        """Returns the options with other values, and with another `source` unless it is None.

        Options that `values` does not name stay as they are; a name of no option is ignored.
        """
        by_name = {name: _changed(option, values, source) for name, option in self.by_name.items()}
        return CommandOptions(self.verb, by_name)

    def without(self, names: Collection[str]) -> CommandOptions:
        """Returns all options but the named ones."""
        rest = {name: option for name, option in self.by_name.items() if name not in names}
        return CommandOptions(self.verb, rest)


def _changed(option: Option, values: Mapping[str, object], source: OptionSource | None) -> Option:
    """Returns an option with its value in `values`, unchanged if there is none."""
    if option.name not in values:
        return option
    return replace(option, value=values[option.name], source=source or option.source)
