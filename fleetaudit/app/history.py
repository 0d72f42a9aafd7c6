"""Reads the kept runs of an output folder, and shows a job over time.

Rules: nothing is locked and nothing is written. A run without an outline that can be used is read
from its store; one that cannot be read is listed with the reason. Unfinished runs are left out: a
run that is resumed is one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fleetaudit.analysis.compare.common import group_by
from fleetaudit.analysis.history import encode, history_of
from fleetaudit.analysis.history.model import JobHistory, LeftOutRun
from fleetaudit.analysis.history.outline import outline_of
from fleetaudit.errors import FleetauditError, NothingToDoError, UsageError
from fleetaudit.report.history_text import history_text
from fleetaudit.store.jobs import job_name, jobs_named
from fleetaudit.store.latest import read_latest
from fleetaudit.store.outline import RunOutline, read_outline
from fleetaudit.store.run_file import read_run
from fleetaudit.store.run_search import StoredRun, StoredRuns, find_runs

from .output_folder import require_output_folder

Jobs = Mapping[str, Sequence[StoredRun]]
"""The finished runs of each job, the last one first."""


def read_histories(output: Path) -> tuple[JobHistory, ...]:
    """Returns every job of an output folder, the job of `latest` first, then by their last runs.

    Raises `NothingToDoError` if there is no folder. A job without a run that can be read is left
    out; its runs are among the unreadable ones of every job.
    """
    found, jobs = _find_jobs(output)
    outlines = {job: _Outlines(runs) for job, runs in jobs.items()}
    unreadable = [
        *_left_out(found),
        *(row for of_job in outlines.values() for row in of_job.failed),
    ]
    return tuple(history_of(o.read, unreadable) for o in outlines.values() if o.read)


def read_history(output: Path, job: str | None = None) -> JobHistory:
    """Returns one job of an output folder, by default that of `latest`.

    `job` is its name, or the name without its digits if no other job has the same. Raises
    `NothingToDoError` if there is no folder, no such job, or none of its runs can be read, and
    `UsageError` if several jobs have the name.
    """
    found, jobs = _find_jobs(output)
    outlines = _Outlines(jobs[_choose(jobs, job, output)])
    unreadable = [*_left_out(found), *outlines.failed]
    if not outlines.read:
        reasons = "".join(f"\n  {row.id}: {row.reason}" for row in unreadable)
        raise NothingToDoError(f"{output}: no run of this job can be read:{reasons}")
    return history_of(outlines.read, unreadable)


def list_jobs(output: Path) -> tuple[str, ...]:
    """Returns the names of the jobs of an output folder, as `read_histories` orders them."""
    return tuple(_find_jobs(output)[1])


def render_history(history: JobHistory, format_: str, *, width: int, bars: bool) -> bytes:
    """Returns a history as "json", as "html" or, for any other format, as text, in UTF-8.

    `width` is that of the text in columns; `bars`: the terminal can show bars. The page has the end
    of the last run as its time, so that the same runs give the same page.
    """
    if format_ == "json":
        return encode(history)
    if format_ == "html":
        from fleetaudit.report import history_page  # Jinja takes its time to load

        return history_page.render(history, generated=history.runs[-1].finished).encode()
    return history_text(history, width=width, bars=bars).encode()


class _Outlines:
    """The outlines of the runs of one job, oldest first; `failed` are runs that cannot be read."""

    def __init__(self, runs: Iterable[StoredRun]) -> None:
        self.read, self.failed = list[RunOutline](), list[LeftOutRun]()
        for run in runs:
            try:
                self.read.append(read_outline(run.path, run.info) or outline_of(read_run(run.path)))
            except FleetauditError as e:
                self.failed.append(LeftOutRun(id=run.info.id, reason=str(e)))
        self.read.reverse()


def _find_jobs(output: Path) -> tuple[StoredRuns, Jobs]:
    """Returns the runs of an output folder, and those that finished by job."""
    require_output_folder(output)
    found = find_runs(output)
    jobs = group_by(found.finished, lambda run: job_name(run.info))
    latest = read_latest(output)
    first = job_name(latest) if latest else ""
    return found, dict(sorted(jobs.items(), key=lambda item: item[0] != first))


def _left_out(found: StoredRuns) -> Iterator[LeftOutRun]:
    """Yields the runs of an output folder whose head cannot be read."""
    for path, error in found.unreadable:
        yield LeftOutRun(id=path.name, reason=str(error))


def _choose(jobs: Jobs, job: str | None, output: Path) -> str:
    """Returns the name of the job that is meant."""
    if not jobs:
        raise NothingToDoError(f"{output}: no finished run")
    if job is None or job in jobs:
        return job or next(iter(jobs))
    named = jobs_named(job, jobs)
    if len(named) == 1:
        return named[0]
    if named:
        raise UsageError(f"several jobs are named {job}; name one of them: {', '.join(named)}")
    raise NothingToDoError(f"{output}: no job {job}; its jobs: {', '.join(jobs)}")
