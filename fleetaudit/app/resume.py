"""Resumes a run that was interrupted or killed: finds it, and restores its options.

Rules: a resumed run keeps the options that it began with. Options are not compared here; the plan
that they lead to is: `store.manifest.refuse_changed_plan` refuses a plan that is not the recorded
one.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleetaudit import __version__
from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.text.files import expand_home

from .options import CommandOptions, OptionSource

if TYPE_CHECKING:
    from fleetaudit.model import HostResult, Plan
    from fleetaudit.store.manifest import RunManifest
    from fleetaudit.store.run_folder import RunFolder

    from .reporter import Report

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
"""The options of `run` that concern this process and do not change what the run is."""


class UnfinishedRun(msgspec.Struct, frozen=True):
    """A run to resume: its folder and its manifest."""

    path: Path
    manifest: RunManifest

    def reopen(self, report: Report) -> tuple[RunFolder, dict[str, HostResult]]:
        """Returns the open folder and the results that it has already, by host.

        The caller holds the lock of the output folder, and closes the folder. `report` gets a
        warning for each damaged line of the journal, whose host is audited again. Raises
        `InputError` for results that cannot be read.
        """
        from fleetaudit.store.manifest import results_to_keep
        from fleetaudit.store.run_folder import read_results, reopen_run_folder

        folder = reopen_run_folder(self.path)
        try:
            return folder, results_to_keep(read_results(self.path, report))
        except BaseException:
            folder.__exit__(None, None, None)
            raise

    def sources(self, typed: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the inventories: those typed now, else those that the run began with.

        Raises `InputError` if the recorded names are relative to another folder than the current
        one.
        """
        from fleetaudit.text.json_schema import file_name_text

        here, began_in = file_name_text(Path.cwd()), self.manifest.folder
        if typed or began_in == here:
            return typed or self.manifest.inventory
        raise InputError(
            f"the run began in {began_in}, and this folder is {here}: the names of its files are"
            " relative to the first",
            source=str(self.path),
            hint=f"cd {shlex.quote(began_in)} && {self._command}",
        )

    @property
    def _command(self) -> str:
        """The command that resumes the run, to be typed in the folder in which it began."""
        return f"fleetaudit {self.manifest.verb} --resume {shlex.quote(str(self.path))}"

    def options(self, options: CommandOptions) -> CommandOptions:
        """Returns the options of the resumed run: those typed now, else those that it began with.

        An option counts as set if it was set when the run began, whatever the environment and the
        configuration say now. Raises `InputError` if another command began the run.
        """
        if options.verb != self.manifest.verb:
            raise InputError(
                f"a run of `fleetaudit {self.manifest.verb}`",
                source=str(self.path),
                hint=self._command,
            )
        kept = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.manifest.options.items()
            if self._is_kept(options, name)
        }
        was_set = self._set_options(options)
        recorded = {name: value for name, value in kept.items() if name in was_set}
        default = {name: value for name, value in kept.items() if name not in was_set}
        options = options.with_values(recorded, OptionSource.RECORDED)
        return options.with_values(default, OptionSource.DEFAULT)

    @staticmethod
    def _is_kept(options: CommandOptions, name: str) -> bool:
        """Returns whether a recorded option applies again."""
        if name in PROCESS_OPTIONS or name not in options.by_name:
            return False
        return not options[name].is_typed

    def _set_options(self, options: CommandOptions) -> frozenset[str]:
        """Returns the options that were set when the run began.

        For a run of an earlier version these are the options that differ from their default.
        """
        if self.manifest.explicit_options is not None:
            return frozenset(self.manifest.explicit_options)
        recorded = self.manifest.options
        return frozenset(
            name
            for name in recorded.keys() & options.by_name.keys()
            if recorded[name] and recorded[name] != options[name].default
        )


def find_unfinished_run(named: str, output: Path) -> UnfinishedRun:
    """Returns the run that --resume names, by its path or by its name in the output folder.

    A path takes precedence over a name. Raises `NothingToDoError` if there is no such run, and
    `InputError` for a plan.json that cannot be resumed from.
    """
    from fleetaudit.store.manifest import decode_manifest
    from fleetaudit.store.names import PLAN_FILE
    from fleetaudit.store.run_folder import read_plan

    path = expand_home(named)
    if not path.exists() and "/" not in named:
        path = output / named
    if not path.is_dir():
        raise NothingToDoError(
            f"--resume {named}: no such run; to list the runs:  fleetaudit runs -o"
            f" {shlex.quote(str(path.parent))}"
        )
    path = _as_typed(path)
    return UnfinishedRun(path, decode_manifest(read_plan(path), source=str(path / PLAN_FILE)))


def _as_typed(path: Path) -> Path:
    """Returns the path of a run without links; a relative one stays relative, as for a new run.

    The reports of a run name its folder: they must be those of a run that was never interrupted.
    """
    resolved, here = path.resolve(), Path.cwd()
    if path.is_absolute() or not resolved.is_relative_to(here):
        return resolved
    return resolved.relative_to(here)


def make_manifest(
    plan: Plan, *, started: str, sources: tuple[str, ...], job: str, options: CommandOptions
) -> RunManifest:
    """Returns the content of plan.json of a new run.

    It has what `--resume` needs: the options without `PROCESS_OPTIONS`, which of them were set, the
    current folder, and a digest of what each host of the plan runs.
    """
    from fleetaudit.store.manifest import RunManifest, manifest_hosts
    from fleetaudit.text.json_schema import file_name_text

    recorded = options.without(PROCESS_OPTIONS)
    values: Mapping[str, object] = recorded.values()
    return RunManifest(
        started=started,
        fleetaudit=__version__,
        folder=file_name_text(Path.cwd()),
        inventory=sources,
        job=job,
        command=options.command,
        options=dict(values),
        explicit_options=tuple(name for name, option in recorded.by_name.items() if option.is_set),
        hosts=manifest_hosts(plan),
    )
