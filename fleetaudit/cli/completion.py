"""Shell completion of runs, jobs, hosts and scenarios; click completes commands, options and files.

Rules: it reads the output folder and connects to nothing. What cannot be read completes nothing: an
error message would appear in the middle of the line that somebody types. Every command imports this
module to declare its options, so what completes is imported when somebody presses the key.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import params

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import click
    from click.shell_completion import CompletionItem

_SHELL_SYNTAX = frozenset(" \"'`$\\|&;<>()*?[]{}~#!^")
"""Characters that a shell does not leave as they are, once the line is sent."""


def complete_runs(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the runs of the output folder, the newest first after "latest", then files."""
    from click.shell_completion import CompletionItem

    from fleetaudit.app.completion import list_run_names

    names = list_run_names(_output_folder(context))
    return [*_matching(names, incomplete), CompletionItem(incomplete, type="file")]


def complete_jobs(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the jobs of the output folder, that of `latest` first."""
    from fleetaudit.app.completion import list_job_names

    return _matching(list_job_names(_output_folder(context)), incomplete)


def complete_hosts(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the hosts of the run that is typed before."""
    from fleetaudit.app.completion import list_hosts

    return _matching(list_hosts(_typed_run(context)), incomplete)


def complete_scenarios(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the scenarios of the run that is typed before, each with its title."""
    from fleetaudit.app.completion import scenario_titles

    return _with_titles(scenario_titles(_typed_run(context)), incomplete)


def complete_playbook_scenarios(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the scenarios of the playbooks that are typed before, else of the default one."""
    from fleetaudit.app.completion import playbook_titles

    return _with_titles(playbook_titles(context.params.get("playbooks") or ()), incomplete)


def _with_titles(titles: dict[str, str], incomplete: str) -> list[CompletionItem]:
    """Returns the names that begin as typed, each with its title."""
    from click.shell_completion import CompletionItem

    from fleetaudit.text.sanitize import terminal_line

    return [
        CompletionItem(item.value, help=terminal_line(titles[item.value]))
        for item in _matching(titles, incomplete)
    ]


def _output_folder(context: click.Context) -> Path:
    """Returns the output folder of the line that is typed."""
    named = context.params.get("output_dir") or os.environ.get("FLEETAUDIT_OUTPUT_DIR")
    return params.output_folder(str(named) if named else None)


def _typed_run(context: click.Context) -> Path | None:
    """Returns the argument RUN as far as it is typed."""
    path: Path | None = context.params.get("run_path")
    return path


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Returns the names that begin with what is typed and that a shell takes for one word.

    A name with other characters has to be typed in quotes: it could break the line, or be a command
    in it.
    """
    from click.shell_completion import CompletionItem

    from fleetaudit.text.sanitize import is_visible

    return [
        CompletionItem(name)
        for name in names
        if name.startswith(incomplete) and is_visible(name) and _SHELL_SYNTAX.isdisjoint(name)
    ]
