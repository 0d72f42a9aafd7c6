"""What several verbs take from the command line or the environment, in one place."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fleetaudit.errors import NothingToDoError, UsageError
from fleetaudit.report import registry
from fleetaudit.text.files import expand_home

if TYPE_CHECKING:
    from fleetaudit.store.retention import RetentionPolicy

DEFAULT_INVENTORY = "inventory.yml"
FORMATS = registry.SINGLE_FILE_NAMES
RUN_FORMATS = registry.NAMES
FAIL_ON = ("info", "warning", "error", "drift")


def parse_tags(text: str) -> tuple[str, ...]:
    """Returns the tags of a list with commas, as -t takes it."""
    return tuple(dict.fromkeys(filter(None, (word.strip() for word in text.split(",")))))


class RunPath(click.Path):
    """A run: a path, or the name of one in the output folder ("latest", "2026-01-31T020000Z")."""

    name = "run"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path; what exists where it says goes before what the output folder has."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        there = Path(os.environ.get("FLEETAUDIT_OUTPUT_DIR") or "reports") / path
        return there if len(path.parts) == 1 and not path.exists() and there.exists() else path


class Seconds(click.FloatRange):
    """A number of seconds between two bounds; "nan" is in no range, and click would let it through."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Returns the seconds; fails as click's own types do."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
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
    if Path(DEFAULT_INVENTORY).exists():
        return (DEFAULT_INVENTORY,)
    raise UsageError(
        f"no inventory named, and no {DEFAULT_INVENTORY} in this folder\n"
        "  fleetaudit run localhost,          audits this machine\n"
        "  fleetaudit run inventory.yml       audits the hosts of an Ansible inventory"
    )


def output_folder(named: str | None) -> Path:
    """Returns where runs are kept: what the command line, the environment or the configuration
    names, else reports.
    """
    return expand_home(named or "reports")


def parse_list(text: str, allowed: Sequence[str], option: str) -> tuple[str, ...]:
    """Returns the words of "a,b" in the order of `allowed`; raises `UsageError` for any other."""
    words = {word.strip() for word in text.split(",")}
    for word in sorted(words):
        if word not in allowed:
            raise UsageError(f"{option}: “{word}” is none of {', '.join(allowed)}")
    return tuple(word for word in allowed if word in words)


def parse_shard_option(text: str | None) -> tuple[int, int] | None:
    """Returns what --shard names; raises `UsageError`."""
    from fleetaudit.playbook.shards import parse_shard

    try:
        return parse_shard(text) if text else None
    except ValueError as e:
        raise UsageError(f"--shard: {e}") from e


def parse_keep_option(text: str | None, option: str = "--keep") -> RetentionPolicy | None:
    """Returns what --keep names; raises `UsageError`."""
    from fleetaudit.store.retention import parse_retention

    try:
        return parse_retention(text) if text else None
    except ValueError as e:
        raise UsageError(f"{option}: {e}") from e


def close_standard_input() -> None:
    """Takes the terminal away from whatever might ask a question: standard input becomes empty."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def existing_file(named: str, option: str) -> Path:
    """Returns the file that an option names; raises `NothingToDoError` where it is missing."""
    path = expand_home(named)
    if not path.exists():
        raise NothingToDoError(f"{option} {named}: no such file")
    return path
