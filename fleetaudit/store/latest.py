"""The order in which runs finish, and which of them `latest` points to.

Rules: the caller holds the lock of the output folder. `jobs.takes_latest` decides; if a run does
not take `latest` over, a note says so, with the command that does it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from fleetaudit.model import MAX_SEQUENCE, RunInfo

from . import archive
from .jobs import describe, job_of, takes_latest

Runs = Sequence[archive.Finished]
Tell = Callable[[str], None]


def numbered(runs: Runs, info: RunInfo, *, scheduled: bool = False) -> RunInfo:
    """Returns `info` of a run that has just finished, with the sequence number that follows those
    of `runs`.

    A run that had finished before, and was resumed all the same, keeps its place.
    """
    own = next((run.info for run in runs if run.info.id == info.id), None)
    if own is not None and own.sequence:
        return replace(info, sequence=own.sequence, scheduled=own.scheduled)
    before = _last_of(runs, info)
    last = max((run.info.sequence for run in runs), default=0)
    return replace(
        info,
        sequence=min(last + 1, MAX_SEQUENCE),
        scheduled=scheduled or (before is not None and before.scheduled),
    )


def publish(output: Path, runs: Runs, info: RunInfo, *, tell: Tell, remind: Tell) -> None:
    """Makes `latest` point to a finished run if it takes it over.

    If another job keeps it, `tell` gets a note at the first run of the job of `info` and at its
    first run with --cron; later `remind` gets it.
    """
    held, before = archive.read_latest(output), _last_of(runs, info)
    if takes_latest(info, held, before):
        archive.point_latest(output, info.id)
    elif held is not None and job_of(held) != job_of(info):
        is_new = before is None or before.scheduled != info.scheduled
        (tell if is_new else remind)(
            _stays(output.absolute() if info.scheduled else output, held, info)
        )


def _stays(output: Path, held: RunInfo, info: RunInfo) -> str:
    """Returns the note that `latest` stays with the job of `held`. From cron its paths are
    absolute.
    """
    where = () if output == Path("reports") else ("-o", str(output))
    return (
        f"fleetaudit: note: {output / archive.LATEST} still points to {held.id}, of the job"
        f" {job_of(held)}:\n  {describe(held)}\nto make it point to this run, of the job"
        f" {job_of(info)}, and follow that job:\n "
        f" {shlex.join(('fleetaudit', 'runs', *where, '--latest', info.id))}"
    )


def _last_of(runs: Runs, info: RunInfo) -> RunInfo | None:
    """Returns the last finished run of the job of `info`, except itself."""
    job = job_of(info)
    return next(
        (run.info for run in runs if run.info.id != info.id and job_of(run.info) == job), None
    )
