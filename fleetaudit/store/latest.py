"""The order in which runs finish, and the link `latest`, which points to one of them.

Rules: the caller holds the lock of the output folder. `jobs.takes_over_latest` decides; if a run
does not take `latest` over, a note says so, with the command that does it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from fleetaudit.errors import FleetauditError
from fleetaudit.model import MAX_SEQUENCE, RunInfo

from .disk import output_errors, sync_folder
from .jobs import describe_job, job_name, takes_over_latest
from .names import LATEST_LINK
from .run_file import read_info
from .run_search import StoredRun

Note = Callable[[str], None]


def with_sequence_number(
    runs: Sequence[StoredRun], info: RunInfo, *, scheduled: bool = False
) -> RunInfo:
    """Returns `info` of a run that has just finished, with the number that follows those of `runs`.

    A run that had finished before and was resumed keeps its number. `scheduled` becomes true with
    the first run of a job that has --cron, and stays true for the job. `runs` are the finished runs
    of the output folder, the last one first. The number is at most MAX_SEQUENCE, so that a file
    that somebody wrote by hand cannot make a run that no JSON reader reads.
    """
    earlier = {run.info.id: run.info for run in runs}
    own = earlier.get(info.id)
    if own is not None and own.sequence:
        return replace(info, sequence=own.sequence, scheduled=own.scheduled)
    before = _last_of_job(runs, info)
    last = max((run.info.sequence for run in runs), default=0)
    if before is not None and before.scheduled:
        scheduled = True
    return replace(info, sequence=min(last + 1, MAX_SEQUENCE), scheduled=scheduled)


def update_latest(
    output: Path, runs: Sequence[StoredRun], info: RunInfo, *, note: Note, later_note: Note
) -> None:
    """Makes `latest` point to a finished run, if `jobs.takes_over_latest` says so.

    If another job keeps it, `note` gets a note at the first run of this job and at its first run
    with --cron; `later_note` gets it at every other run. The note has the command that makes
    `latest` point to this run. `info` is of the run that has just finished, with its sequence
    number, and `runs` are the finished runs of the output folder, the last one first. Raises
    `OutputError`.
    """
    current, before = read_latest(output), _last_of_job(runs, info)
    if current is None or takes_over_latest(info, current, before):
        point_latest(output, info.id)
    elif job_name(current) != job_name(info):
        report = note if _is_first_of_its_kind(info, before) else later_note
        report(_note_of_other_job(output, current, info))


def _is_first_of_its_kind(info: RunInfo, before: RunInfo | None) -> bool:
    """Returns whether a run is the first of its job, or the first one with --cron.

    `before` is the last finished run of the job, None without one.
    """
    return before is None or before.scheduled != info.scheduled


def point_latest(output: Path, name: str) -> None:
    """Makes `latest` point to a run in one step; raises `OutputError`.

    `name` is that of a run folder in `output`, which is the target of the link: it stays right if
    the output folder is moved. A reader sees either the old run or this one.
    """
    link, new = output / LATEST_LINK, output / f".{LATEST_LINK}.{os.getpid()}"
    with output_errors(link):
        new.unlink(missing_ok=True)
        new.symlink_to(name, target_is_directory=True)
        try:
            new.replace(link)
        except OSError as e:
            new.unlink()
            raise OSError(e.errno, e.strerror, str(link)) from e
        sync_folder(output)


def read_latest(output: Path) -> RunInfo | None:
    """Returns the `RunInfo` of the run that `latest` points to.

    It is None if there is no such link, or the run cannot be read: then `latest` is free, and the
    next run that finishes takes it over.
    """
    try:
        return read_info(output / LATEST_LINK)
    except FleetauditError:
        return None


def _note_of_other_job(output: Path, current: RunInfo, info: RunInfo) -> str:
    """Returns the note that `latest` stays with the job of `current`.

    From cron, the folder is absolute, so that the command can be typed anywhere.
    """
    if info.scheduled:
        output = output.absolute()
    command = shlex.join(("fleetaudit", "runs", *_output_option(output), "--latest", info.id))
    return (
        f"fleetaudit: note: {output / LATEST_LINK} still points to {current.id}, of the job"
        f" {job_name(current)}:\n  {describe_job(current)}\nto make it point to this run, of the"
        f" job {job_name(info)}, and follow that job:\n  {command}"
    )


def _output_option(output: Path) -> tuple[str, ...]:
    """Returns the option -o of an output folder, () for the one that commands use without it."""
    if output == Path("reports"):
        return ()
    return "-o", str(output)


def _last_of_job(runs: Sequence[StoredRun], info: RunInfo) -> RunInfo | None:
    """Returns the last finished run of the job of `info`, except itself; None if there is none.

    `runs` are the finished runs of the output folder, the last one first.
    """
    job = job_name(info)
    others = (run.info for run in runs if run.info.id != info.id)
    return next((other for other in others if job_name(other) == job), None)
