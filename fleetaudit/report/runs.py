"""The runs of an output folder for a terminal: a line per run, the jobs, and unfinished runs.

Rules: pure, and plain text; text of files passes `terminal_line`. A command to type is on a
separate line, never wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from fleetaudit.analysis.compare.common import group_by
from fleetaudit.store.run_list import FinishedRun, RunList, UnfinishedRun
from fleetaudit.text.phrases import agree, count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .common import seconds_between
from .text_lines import align, join_lines

_HEADING = ("", "RUN", "TOOK", "JOB", "HOSTS", "STATUS")


def runs_text(runs: RunList) -> str:
    """Returns the list; a star marks the run that `latest` points to.

    Up to four blocks with an empty line between them: finished runs as a table, jobs, unfinished
    runs with the commands that resume them, and runs that cannot be read.
    """
    unreadable = [
        f"{terminal_line(run.id)}: {terminal_line(run.reason)}" for run in runs.unreadable
    ]
    blocks = (_finished_runs(runs), _jobs(runs.runs), _unfinished_runs(runs.unfinished), unreadable)
    return "\n".join(map(join_lines, filter(None, blocks)))


def _finished_runs(runs: RunList) -> list[str]:
    """Returns the heading and a line per run, or that there is none."""
    if not runs.runs:
        return [f"No finished run in {terminal_line(runs.output)}."]
    rows = [_HEADING, *map(_row, runs.runs)]
    return align(rows)


def _row(run: FinishedRun) -> tuple[str, ...]:
    """Returns the cells of one run."""
    return (
        "*" * run.latest,
        terminal_line(run.id),
        _known(seconds_between(run.started, run.finished), " s"),
        terminal_line(run.job),
        _hosts(run),
        f"{_known(run.status)}: {_findings(run)}",
    )


def _known(number: int | None, unit: str = "") -> str:
    """Returns a number with its unit, "?" if it is unknown."""
    if number is None:
        return "?"
    return f"{number}{unit}"


def _hosts(run: FinishedRun) -> str:
    """Returns how many hosts were selected, and their status."""
    hosts = run.hosts
    counts = (
        (hosts.audited, "audited"),
        (hosts.not_audited, "not audited"),
        (hosts.not_selected, "not selected by any play"),
    )
    return f"{hosts.selected:,}: {_join_counts(counts) or 'none'}"


def _findings(run: FinishedRun) -> str:
    """Returns the findings by severity."""
    findings = run.findings
    counts = (
        (findings.error, agree(findings.error, "error", "errors")),
        (findings.warning, agree(findings.warning, "warning", "warnings")),
        (findings.info, "info"),
        (findings.waived, "waived"),
    )
    return _join_counts(counts) or "no findings"


def _join_counts(counts: Iterable[tuple[int, str]]) -> str:
    """Returns the counts that are not zero."""
    return ", ".join(f"{n:,} {text}" for n, text in counts if n)


def _jobs(runs: Sequence[FinishedRun]) -> list[str]:
    """Returns the jobs in the order of their last runs, each with its description."""
    if not runs:
        return []
    lines = ["Jobs:"]
    for job, of_job in group_by(runs, lambda run: run.job).items():
        count = count_noun(len(of_job), "run")
        lines.append(f"  {terminal_line(job)}: {', '.join((count, *_job_marks(of_job)))}")
        lines.append(f"      {terminal_line(of_job[0].description)}")
    return lines


def _job_marks(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Yields whether a job is scheduled, and whether `latest` points to one of its runs."""
    if runs[0].scheduled:
        yield "scheduled"
    if any(run.latest for run in runs):
        yield "has latest"


def _unfinished_runs(runs: Sequence[UnfinishedRun]) -> list[str]:
    """Returns the runs that can be resumed, or why they cannot."""
    if not runs:
        return []
    return ["Not finished:", *chain.from_iterable(map(_unfinished_run, runs))]


def _unfinished_run(run: UnfinishedRun) -> Iterator[str]:
    """Yields how far the run is and the command that resumes it, or why it cannot be resumed."""
    if run.reason:
        yield f"  {terminal_line(run.id)}: {terminal_line(run.reason)}"
        return
    job = surround(", job ", terminal_line(run.job))
    hosts = f"{run.done:,} of {count_noun(run.selected, 'host')} done"
    yield f"  {terminal_line(run.id)}: {hosts}{job}"
    yield f"      {terminal_line(run.resume)}"
