"""The runs of an output folder for a terminal: a line a run, the jobs, and how to finish what was
left.

Rules: pure, and plain text; text of files passes `terminal_line`. A command to type is on a separate line,
never wrapped.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleetaudit.store.run_list import FinishedRun, RunList, UnfinishedRun
from fleetaudit.text.sanitize import terminal_line

from .common import lasted
from .text_lines import counted, joined

_HEADING = ("", "RUN", "TOOK", "JOB", "HOSTS", "STATUS")


def runs_text(runs: RunList) -> str:
    """Returns the list: the run that `latest` points to has a star."""
    blocks = [
        _table(runs.runs) if runs.runs else [f"No finished run in {terminal_line(runs.output)}."],
        _jobs(runs.runs),
        _unfinished(runs.unfinished),
        [f"{terminal_line(run.id)}: {terminal_line(run.reason)}" for run in runs.unreadable],
    ]
    return "\n".join(joined(block) for block in blocks if block)


def _table(runs: Sequence[FinishedRun]) -> list[str]:
    rows = [_HEADING, *map(_row, runs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADING))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _row(run: FinishedRun) -> tuple[str, ...]:
    seconds = lasted(run.started, run.finished)
    took = "?" if seconds is None else f"{seconds} s"
    status = "?" if run.status is None else str(run.status)
    return (
        "*" * run.latest,
        terminal_line(run.id),
        took,
        terminal_line(run.job),
        _hosts(run),
        f"{status}: {_findings(run)}",
    )


def _hosts(run: FinishedRun) -> str:
    hosts = run.hosts
    parts = (
        (hosts.audited, "audited"),
        (hosts.not_audited, "not audited"),
        (hosts.not_selected, "not selected by any play"),
    )
    return f"{hosts.selected:,}: " + (
        ", ".join(f"{n:,} {word}" for n, word in parts if n) or "none"
    )


def _findings(run: FinishedRun) -> str:
    found = run.findings
    words = [
        counted(n, noun) for n, noun in ((found.error, "error"), (found.warning, "warning")) if n
    ]
    words += [f"{n:,} {word}" for n, word in ((found.info, "info"), (found.waived, "waived")) if n]
    return ", ".join(words) or "no findings"


def _jobs(runs: Sequence[FinishedRun]) -> list[str]:
    """The jobs in the order of their last runs, each with its description."""
    jobs = dict[str, list[FinishedRun]]()
    for run in runs:
        jobs.setdefault(run.job, []).append(run)
    lines = ["Jobs:"] if jobs else []
    for job, of_job in jobs.items():
        scheduled = ", scheduled" if of_job[0].scheduled else ""
        latest = ", has latest" if any(run.latest for run in of_job) else ""
        lines += [f"  {terminal_line(job)}: {counted(len(of_job), 'run')}{scheduled}{latest}"]
        lines += [f"      {terminal_line(of_job[0].description)}"]
    return lines


def _unfinished(runs: Sequence[UnfinishedRun]) -> list[str]:
    lines = ["Not finished:"] if runs else []
    for run in runs:
        if run.reason:
            lines.append(f"  {terminal_line(run.id)}: {terminal_line(run.reason)}")
            continue
        job = f", job {terminal_line(run.job)}" if run.job else ""
        lines += [
            f"  {terminal_line(run.id)}: {run.done:,} of {counted(run.selected, 'host')} done{job}"
        ]
        lines += [f"      {terminal_line(run.resume)}"]
    return lines
