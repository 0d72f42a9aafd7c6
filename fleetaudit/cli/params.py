"""Parameters that several commands take from the command line or the environment.

Every command imports this module to declare its options, so `pathlib` is imported where it is used.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import click

from fleetaudit.app.option_values import (
    parse_engine,
    parse_keep_option,
    parse_list,
    parse_notify_command,
    parse_publish_folder,
    parse_publish_mode,
    parse_rate_option,
    parse_report_url,
    parse_serial_option,
    parse_shard_option,
    parse_tags,
)
from fleetaudit.app.render import REPORT_FORMATS, RUN_FORMATS
from fleetaudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "DEFAULT_INVENTORY",
    "FAIL_ON",
    "FORMATS",
    "RUN_FORMATS",
    "Duration",
    "RunPath",
    "Seconds",
    "close_standard_input",
    "inventory_sources",
    "output_folder",
    "parse_engine",
    "parse_fail_on",
    "parse_formats",
    "parse_keep_option",
    "parse_list",
    "parse_notify_command",
    "parse_publish_folder",
    "parse_publish_mode",
    "parse_rate_option",
    "parse_report_url",
    "parse_serial_option",
    "parse_shard_option",
    "parse_tags",
    "publish_mode_option",
]

DEFAULT_INVENTORY = "inventory.yml"
FORMATS = REPORT_FORMATS
FAIL_ON = ("info", "warning", "error", "drift")

publish_mode_option = click.option(
    "--publish-mode",
    metavar="MODE",
    default="0600",
    show_default=True,
    help="Mode of the published files: 0644 for a web server that runs as another user.",
)
"""The option of the commands that publish; `parse_publish_mode` reads its value."""


def parse_formats(text: str, option: str = "--format") -> tuple[str, ...]:
    """Returns the formats of a list with commas; raises `UsageError`."""
    return parse_list(text, RUN_FORMATS, option)


def parse_fail_on(text: str, option: str = "--fail-on") -> tuple[str, ...]:
    """Returns the words of --fail-on; raises `UsageError`."""
    return parse_list(text, FAIL_ON, option)


class RunPath(click.Path):
    """A run: a path, or the name of one in the output folder ("latest", "2026-01-31T020000Z")."""

    name = "run"

    def __init__(self, *, may_be_reply: bool = False) -> None:
        """`may_be_reply`: a name that does not exist anywhere is a file, not a run."""
        super().__init__()
        self._may_be_reply = may_be_reply

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path; an existing path takes precedence over a run of the output folder."""
        from pathlib import Path

        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if len(path.parts) != 1 or path.exists():
            return path
        stored = Path(os.environ.get("FLEETAUDIT_OUTPUT_DIR") or "reports") / path
        return stored if stored.exists() or not self._may_be_reply else path


class Seconds(click.FloatRange):
    """A number of seconds between two bounds; "nan" is in no range, and click would accept it."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Returns the seconds; fails as click's own types do."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


class Duration(click.types.FloatParamType):
    """A length of time between two bounds, in seconds: 60s, 5m, 1h, or a number of seconds.

    It is no range of click's, whose help would show the bounds without their unit.
    """

    name = "duration"

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Returns the seconds; fails as click's own types do."""
        from fleetaudit.text.durations import parse_duration

        try:
            seconds = parse_duration(value) if isinstance(value, str) else float(value)
        except ValueError as e:
            self.fail(f"{value!r} is {e}.", param, ctx)
        if not self.least <= seconds <= self.most:
            bounds = f"{self.least:g}s to {self.most:g}s"
            self.fail(f"{value!r} is not a length of time from {bounds}.", param, ctx)
        return seconds


def inventory_sources(named: Sequence[str]) -> tuple[str, ...]:
    """Returns the inventories: those named, else FLEETAUDIT_INVENTORY, else the configuration's,
    else inventory.yml.
    """
    if named:
        return tuple(named)
    if of_environment := os.environ.get("FLEETAUDIT_INVENTORY"):
        return (of_environment,)
    context = click.get_current_context(silent=True)
    if context and (configured := (context.find_root().obj or {}).get("inventory")):
        return tuple(configured)
    if os.access(DEFAULT_INVENTORY, os.F_OK):
        return (DEFAULT_INVENTORY,)
    raise UsageError(
        f"no inventory named, and no {DEFAULT_INVENTORY} in this folder\n"
        "  to audit this machine:  fleetaudit run localhost,\n"
        f"  to audit the hosts of an Ansible inventory, write {DEFAULT_INVENTORY}, and then:"
        "  fleetaudit run"
    )


def output_folder(named: str | None) -> Path:
    """Returns the folder of the runs: the one that the command line, the environment or the
    configuration names, else reports.
    """
    from fleetaudit.text.files import expand_home

    return expand_home(named or "reports")


def close_standard_input() -> None:
    """Makes standard input empty, so that nothing can wait for an answer."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
