"""What several verbs take from the command line or the environment, in one place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError, NothingToDoError, UsageError

DEFAULT_INVENTORY = "inventory.yml"
FORMATS = ("html", "json", "text")
_NOT_YET = ("FLEETAUDIT_CONFIG", "FLEETAUDIT_BECOME_PASSWORD_FILE")


class Seconds(click.FloatRange):
    """A number of seconds between two bounds; "nan" is in no range, and click would let it through."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the seconds; fails as click's own types do."""
        seconds: float = super().convert(value, param, ctx)
        if seconds != seconds:
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


def sources(named: Sequence[str]) -> tuple[str, ...]:
    """Returns the inventories: those named, else FLEETAUDIT_INVENTORY, else inventory.yml of the current folder."""
    if named:
        return tuple(named)
    if of_environment := os.environ.get("FLEETAUDIT_INVENTORY"):
        return (of_environment,)
    if Path(DEFAULT_INVENTORY).exists():
        return (DEFAULT_INVENTORY,)
    raise UsageError(
        f"no inventory named, and no {DEFAULT_INVENTORY} in this folder\n"
        "  fleetaudit run localhost,          audits this machine\n"
        "  fleetaudit run inventory.yml       audits the hosts of an Ansible inventory"
    )


def refuse_unsupported() -> None:
    """Raises `ConfigError` for a setting that would be passed over, and so audit something else than was meant."""
    for name in _NOT_YET:
        if os.environ.get(name):
            raise ConfigError(f"{name} is set, and this version does not read it: unset it")


def output_folder(named: str | None) -> Path:
    """Returns where runs are kept: -o, else FLEETAUDIT_OUTPUT_DIR, else reports."""
    return Path(named or os.environ.get("FLEETAUDIT_OUTPUT_DIR") or "reports").expanduser()


def comma_list(text: str, allowed: Sequence[str], option: str) -> tuple[str, ...]:
    """Returns the words of "a,b" in the order of `allowed`; raises `UsageError` for any other."""
    words = {word.strip() for word in text.split(",")}
    for word in sorted(words):
        if word not in allowed:
            raise UsageError(f"{option}: “{word}” is none of {', '.join(allowed)}")
    return tuple(word for word in allowed if word in words)


def existing_file(named: str, option: str) -> Path:
    """Returns the file that an option names; raises `NothingToDoError` where it is missing."""
    path = Path(named).expanduser()
    if not path.exists():
        raise NothingToDoError(f"{option} {named}: no such file")
    return path
