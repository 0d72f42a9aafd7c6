"""How a run begins: with a new folder that records what is asked, or in one that was left and is
now gone on with.

Rules: a resumed run asks what it asked when it began; an option on the command line that would make
another run of it is refused by what follows from it, in `asked.refuse_other`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from fleetaudit import __version__
from fleetaudit.cli import console
from fleetaudit.cli.connection_options import is_set
from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.text.files import expand_home

if TYPE_CHECKING:
    from fleetaudit.model import HostResult, Plan
    from fleetaudit.store.manifest import RunManifest
    from fleetaudit.store.run_folder import RunFolder

PROCESS_OPTIONS = frozenset(
    (
        "resume",
        "quiet",
        "verbose",
        "cron",
        "notify",
        "report_url",
        "keep",
        "output_dir",
        "check",
    )
)
"""The options of `run` that are about this process, and not about what the run is."""

RECORDED = ParameterSource.PROMPT
"""The source of an option that a resumed run began with. click has no such source, and none of our
options prompts.
"""


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run that was left: its folder, and what it was asked."""

    path: Path
    manifest: RunManifest

    def go_on(self) -> tuple[RunFolder, dict[str, HostResult]]:
        """Returns the open folder and what it tells already; the caller holds its lock. Raises
        `InputError`.
        """
        from fleetaudit.store import manifest
        from fleetaudit.store.journal import read_journal
        from fleetaudit.store.names import JOURNAL_FILE
        from fleetaudit.store.run_folder import reopen_run_folder

        folder = reopen_run_folder(self.path)
        try:
            return folder, manifest.results_to_keep(
                read_journal(self.path / JOURNAL_FILE, console.print_message)
            )
        except BaseException:
            folder.__exit__(None, None, None)
            raise


def find_unfinished_run(named: str, output: Path) -> UnfinishedRun:
    """Returns the run that --resume names, by its path or by its name in the output folder."""
    from fleetaudit.store import manifest
    from fleetaudit.store.names import PLAN_FILE
    from fleetaudit.store.run_folder import read_plan

    path = expand_home(named)
    if not path.exists() and "/" not in named:
        path = output / named
    if not path.is_dir():
        raise NothingToDoError(f"--resume {named}: no such run; `ls {output}` shows what there is")
    path = path.resolve()
    return UnfinishedRun(
        path, manifest.decode_manifest(read_plan(path), source=str(path / PLAN_FILE))
    )


def resumed_options(
    left: UnfinishedRun, context: click.Context, options: Mapping[str, object]
) -> dict[str, object]:
    """Returns the options of a resumed run: those typed now, else those it began with.

    The sources of the options in `context` become those of the first run: an option counts as given
    if it was given then, whatever the environment and the configuration say now.
    """
    typed = {
        name
        for name in options
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    kept = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in left.manifest.options.items()
        if name in options and name not in typed and name not in PROCESS_OPTIONS
    }
    given = _given(left.manifest, context)
    for name in kept:
        context.set_parameter_source(name, RECORDED if name in given else ParameterSource.DEFAULT)
    return {**options, **kept}


def _given(manifest: RunManifest, context: click.Context) -> frozenset[str]:
    """Returns the options that were given when a run began; for a run of an earlier version, those
    that differ from the default.
    """
    if manifest.explicit_options is not None:
        return frozenset(manifest.explicit_options)
    defaults = {
        parameter.name: parameter.get_default(context) for parameter in context.command.params
    }
    return frozenset(
        name for name, value in manifest.options.items() if value and value != defaults.get(name)
    )


def resumed_sources(left: UnfinishedRun, typed: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the inventories of a resumed run; raises `InputError` where their names mean another
    folder's.
    """
    from fleetaudit.text.json_schema import file_name_text

    here = file_name_text(Path.cwd())
    if not typed and left.manifest.folder != here:
        raise InputError(
            f"begun in {left.manifest.folder}, and this is {here}: the names of its files are"
            " relative to there",
            source=str(left.path),
            hint=(
                f"cd {shlex.quote(left.manifest.folder)} && fleetaudit run --resume"
                f" {shlex.quote(str(left.path))}"
            ),
        )
    return typed or left.manifest.inventory


def make_manifest(
    plan: Plan, started: str, sources: tuple[str, ...], job: str, options: Mapping[str, object]
) -> RunManifest:
    """Returns what plan.json of a new run holds."""
    from fleetaudit.store.manifest import RunManifest, manifest_hosts
    from fleetaudit.text.json_schema import file_name_text

    recorded = {name: value for name, value in options.items() if name not in PROCESS_OPTIONS}
    return RunManifest(
        started=started,
        fleetaudit=__version__,
        folder=file_name_text(Path.cwd()),
        inventory=sources,
        job=job,
        options=recorded,
        explicit_options=tuple(name for name in recorded if is_set(name)),
        hosts=manifest_hosts(plan),
    )
