"""The runs of an output folder for a terminal: a line per run, the jobs, and unfinished runs.

Rules: pure, and plain text; text of files passes `terminal_line`. A command to type is on a
separate line, never wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fleetaudit.analysis.compare.common import group_by
from fleetaudit.store.run_list import FinishedRun, RunList, UnfinishedRun
from fleetaudit.text.phrases import agree, count_noun, surround
from fleetaudit.text.sanitize import terminal_line

from .common import seconds_between
from .text_lines import join_lines

_HEADING = ("", "RUN", "TOOK", "JOB", "HOSTS", "STATUS")


def runs_text(runs: RunList) -> str:
    """Returns the list; a star marks the run that `latest` points to."""
    blocks = (
        _table(runs.runs) or [f"No finished run in {terminal_line(runs.output)}."],
        _jobs(runs.runs),
        _unfinished_runs(runs.unfinished),
        [f"{terminal_line(run.id)}: {terminal_line(run.reason)}" for run in runs.unreadable],
    )
    return "\n".join(join_lines(block) for block in blocks if block)


def _table(runs: Sequence[FinishedRun]) -> list[str]:
    """Returns the heading and a line per run, [] without a run."""
    if not runs:
        return []
    rows = [_HEADING, *map(_row, runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)) for row in rows]


def _row(run: FinishedRun) -> tuple[str, ...]:
    """Returns the cells of one run."""
    seconds = seconds_between(run.started, run.finished)
    status = "?" if run.status is None else str(run.status)
    return (
        "*" * run.latest,
        terminal_line(run.id),
        "?" if seconds is None else f"{seconds} s",
        terminal_line(run.job),
        _hosts(run),
        f"{status}: {_findings(run)}",
    )


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
    jobs = group_by(runs, lambda run: run.job)
    lines = ["Jobs:"] if jobs else []
    for job, of_job in jobs.items():
        scheduled = ", scheduled" if of_job[0].scheduled else ""
        latest = ", has latest" if any(run.latest for run in of_job) else ""
        lines.append(f"  {terminal_line(job)}: {count_noun(len(of_job), 'run')}{scheduled}{latest}")
        lines.append(f"      {terminal_line(of_job[0].description)}")
    return lines


def _unfinished_runs(runs: Sequence[UnfinishedRun]) -> list[str]:
    """Returns the runs that can be resumed, or why they cannot."""
    lines = ["Not finished:"] if runs else []
    for run in runs:
        lines += _unfinished_run(run)
    return lines


def _unfinished_run(run: UnfinishedRun) -> Iterator[str]:
    """Yields how far the run is and the command that resumes it, or why it cannot be resumed."""
    if run.reason:
        yield f"  {terminal_line(run.id)}: {terminal_line(run.reason)}"
        return
    job = surround(", job ", terminal_line(run.job))
    hosts = f"{run.done:,} of {count_noun(run.selected, 'host')} done"
    yield f"  {terminal_line(run.id)}: {hosts}{job}"
    yield f"      {terminal_line(run.resume)}"
