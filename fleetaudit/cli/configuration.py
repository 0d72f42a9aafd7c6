"""Configuration files as defaults of the options: below the environment and the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetaudit.app import notify
from fleetaudit.errors import ConfigError, UsageError

from . import console, params

if TYPE_CHECKING:
    from collections.abc import Mapping

RENAMED = {"playbook": "playbooks", "format": "formats"}
"""Keys whose option has another name inside of this program."""

CHECKS: tuple[tuple[str, Callable[[str, str], object]], ...] = (
    ("format", lambda text, name: params.parse_formats(text, name)),
    ("fail_on", lambda text, name: params.parse_fail_on(text, name)),
    ("keep", params.parse_keep_option),
    ("notify", notify.parse_notify_command),
    ("report_url", notify.parse_report_url),
)
"""Keys whose text the options would take as it stands, and what reads it."""


def apply(context: click.Context, verbs: Mapping[str, click.Command]) -> None:
    """Makes what the configuration files say the defaults of every verb that has an option of that
    name.

    Only `schedule` prints what was typed: what it prints reads the same files when its time comes.

    The key `inventory` is not an option; `words.sources` asks the context for it.
    """
    if not any_file():
        return
    from fleetaudit.app.config import load_config

    configuration = load_config(os.environ, Path.cwd())
    for note in configuration.notes:
        console.print_message(f"fleetaudit: warning: {note}")
    for key, check in CHECKS:
        if key in configuration.values:
            try:
                check(str(configuration.values[key]), f"the configuration's {key}")
            except UsageError as e:  # nobody typed it
                raise ConfigError(str(e)) from e
    values = {RENAMED.get(key, key): value for key, value in configuration.values.items()}
    context.obj = {"inventory": tuple(values.pop("inventory", ()))}
    context.default_map = {
        name: {p.name: values[p.name] for p in verb.params if p.name in values}
        for name, verb in verbs.items()
        if name != "schedule"
    }


def any_file() -> bool:
    """Returns whether there may be a configuration; where there is none, nothing that reads YAML is
    imported.
    """
    home, base = os.environ.get("HOME") or "/", os.environ.get("XDG_CONFIG_HOME") or "/"
    places = (
        Path("fleetaudit.yml"),
        Path("/etc/fleetaudit"),
        Path(home, ".config/fleetaudit"),
        Path(base, "fleetaudit"),
    )
    return bool(os.environ.get("FLEETAUDIT_CONFIG")) or any(place.exists() for place in places)
