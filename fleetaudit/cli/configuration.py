"""Configuration files as defaults of the options: below the environment and the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fleetaudit.errors import ConfigError, UsageError

from . import console, params

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import click

RENAMED = {"playbook": "playbooks", "format": "formats"}
"""Keys of options with a different name in the code."""

_OF_SCHEDULE = ("no_exec",)

CHECKS: tuple[tuple[str, Callable[[str, str], object]], ...] = (
    ("format", lambda text, name: params.parse_formats(text, name)),
    ("fail_on", lambda text, name: params.parse_fail_on(text, name)),
    ("keep", params.parse_keep_option),
    ("serial", params.parse_serial_option),
    ("rate", params.parse_rate_option),
    ("notify", params.parse_notify_command),
    ("report_url", params.parse_report_url),
    ("publish_mode", params.parse_publish_mode),
)
"""Keys whose text click would accept as it is, and the functions that check it."""


def apply(context: click.Context, commands: Mapping[str, click.Command]) -> None:
    """Makes the values of the configuration files the defaults of the options of all commands.

    `schedule` is an exception: it prints only what was typed, because the job reads the same files
    when it runs. It takes only --no-exec from there, because it reads the inventory now. The key
    `inventory` is not an option; `params.inventory_sources` asks the context for it.
    """
    if not _may_exist():
        return
    from pathlib import Path

    from fleetaudit.app.config import load_config

    configuration = load_config(os.environ, Path.cwd())
    for note in configuration.notes:
        console.print_message(f"fleetaudit: warning: {note}")
    _check(configuration.values)
    values = {RENAMED.get(key, key): value for key, value in configuration.values.items()}
    context.obj = {"inventory": tuple(values.pop("inventory", ()))}
    context.default_map = {name: _defaults(command, values) for name, command in commands.items()}
    now = {name: values[name] for name in _OF_SCHEDULE if name in values}
    context.default_map["schedule"] = now


def _defaults(command: click.Command, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values for the options of a command."""
    names = (parameter.name for parameter in command.params)
    return {name: values[name] for name in names if name in values}


def _check(values: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for a value that an option would refuse."""
    for key, check in CHECKS:
        if key not in values:
            continue
        try:
            check(str(values[key]), f"the configuration's {key}")
        except UsageError as e:  # nobody typed it
            raise ConfigError(str(e)) from e


def _may_exist() -> bool:
    """Returns whether there may be a configuration; if not, nothing that reads YAML is imported."""
    home, base = os.environ.get("HOME") or "/", os.environ.get("XDG_CONFIG_HOME") or "/"
    places = (
        "fleetaudit.yml",
        "/etc/fleetaudit",
        f"{home}/.config/fleetaudit",
        f"{base}/fleetaudit",
    )
    if os.environ.get("FLEETAUDIT_CONFIG"):
        return True
    return any(os.access(place, os.F_OK) for place in places)
