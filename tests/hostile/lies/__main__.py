"""Runs the lies of a host: `make lies`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.hostile.table import main

from . import evidence, numbers, shapes
from .fleet import Fleet
from .genuine import Genuine, Lie
from .over_ssh import ssh_cases

COLUMNS = ("liar", "status", "honest", "reason")


def all_lies(genuine: Genuine) -> list[Lie]:
    """Returns every lie that is sent as a reply that was fetched by other means."""
    return [*evidence.lies(genuine), *shapes.lies(genuine), *numbers.lies(genuine)]


def run(folder: Path) -> int:
    """Runs the section; returns the exit status."""
    fleet = Fleet(folder)
    bulk = list(map(fleet.case, all_lies(fleet.genuine)))
    with ssh_cases(fleet.genuine, folder) as over_ssh:
        return main("lies", COLUMNS, [*bulk, *over_ssh])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(run(Path(place)))
