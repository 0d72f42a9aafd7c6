"""Lists the runs of an output folder, and makes `latest` point to another one."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from fleetaudit.errors import InputError, LockedError
from fleetaudit.report.runs import runs_text
from fleetaudit.store.jobs import describe_job, job_name
from fleetaudit.store.latest import point_latest
from fleetaudit.store.lock import refuse_if_locked
from fleetaudit.store.names import LATEST_LINK
from fleetaudit.store.run_file import read_info
from fleetaudit.store.run_list import RunList, encode, list_runs
from fleetaudit.store.run_search import find_runs, run_names
from fleetaudit.text.sanitize import terminal_line

from .output_folder import require_output_folder
from .output_lock import hold_output

__all__ = ["Listing", "follow_run", "list_output_folder", "run_names"]


class Listing(msgspec.Struct, frozen=True):
    """The runs of an output folder."""

    output: Path
    runs: RunList

    def text(self) -> str:
        """Returns the runs as a table for a terminal, sanitized."""
        return runs_text(self.runs)

    def json(self) -> bytes:
        """Returns the runs as JSON in UTF-8 (docs/formats.md)."""
        return encode(self.runs)

    def active_run_note(self) -> str:
        """Returns a note if one of the unfinished runs is still running, else ""."""
        try:
            refuse_if_locked(self.output)
        except LockedError as e:
            if self.runs.unfinished:
                return f"fleetaudit: note: one of the unfinished runs is still running: {e}"
        return ""


def list_output_folder(output: Path) -> Listing:
    """Returns the runs of an output folder; raises `NothingToDoError` if there is no folder."""
    require_output_folder(output)
    return Listing(output, list_runs(output, Path.cwd()))


def follow_run(output: Path, name: str) -> str:
    """Makes `latest` point to a finished run and follow its job; returns a text that says so.

    `name` may be a path; only its last part counts. Raises `NothingToDoError` if there is no folder
    or no such run, `InputError` for a run that is not finished, and `LockedError` if another run
    uses the output folder.
    """
    require_output_folder(output)
    name = Path(name).name
    path = output / name
    with hold_output(output):
        run = next((run for run in find_runs(output).finished if run.path.name == name), None)
        if run is None:
            read_info(path)  # raises if something is wrong with it
            raise InputError(
                "not finished, so `latest` cannot point to it",
                source=str(path),
                hint=f"fleetaudit run --resume {shlex.quote(str(path))}",
            )
        point_latest(output, name)
    job = f"{job_name(run.info)}:\n  {terminal_line(describe_job(run.info))}"
    return f"{output / LATEST_LINK} points to {name} and follows its job, {job}\n"
