"""Shell completion of runs, hosts and scenarios; click completes commands, options and files.

Rules: it reads the output folder and connects to nothing. What cannot be read completes nothing: an
error message would appear in the middle of the line that somebody types.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from fleetaudit.errors import FleetauditError

from . import params

if TYPE_CHECKING:
    from fleetaudit.model import AuditRun


def complete_runs(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the runs of the output folder, the newest first after "latest", then files."""
    from fleetaudit.store.run_search import run_names

    named = context.params.get("output_dir") or os.environ.get("FLEETAUDIT_OUTPUT_DIR")
    output = params.output_folder(str(named) if named else None)
    try:
        names = sorted(run_names(output), reverse=True)
    except (OSError, FleetauditError):
        names = []
    if (output / "latest").exists():
        names.insert(0, "latest")
    return [*_matching(names, incomplete), CompletionItem(incomplete, type="file")]


def complete_hosts(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the hosts of the run that is typed before."""
    run = _typed_run(context)
    return _matching([host.name for host in run.hosts], incomplete) if run else []


def complete_scenarios(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the scenarios of the run that is typed before, each with its title."""
    run = _typed_run(context)
    titles = {row.name: row.title for row in run.scenarios} if run else {}
    return [
        CompletionItem(item.value, help=titles[item.value])
        for item in _matching(titles, incomplete)
    ]


def _typed_run(context: click.Context) -> AuditRun | None:
    """Returns the run of the argument RUN, None if there is no such run."""
    from fleetaudit.store.run_file import read_run

    path = context.params.get("run_path")
    try:
        return read_run(path) if isinstance(path, Path) else None
    except (OSError, FleetauditError):
        return None


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Returns the names that begin with what is typed, without any that would break the line."""
    return [
        CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()
    ]
