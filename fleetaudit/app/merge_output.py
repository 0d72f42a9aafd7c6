"""Writes one run folder out of several runs, and of replies that were fetched by other means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from fleetaudit.model import AuditRun
from fleetaudit.store import latest
from fleetaudit.store.deduplication import share_evidence
from fleetaudit.store.jobs import job_name
from fleetaudit.store.part_reader import Interner
from fleetaudit.store.run_file import read_run
from fleetaudit.store.run_folder import create_hidden_run_folder
from fleetaudit.store.run_search import find_runs

from . import clock
from .exit_status import BUG, exit_status, has_bug
from .fetched_replies import RepliesRequest, audit_replies
from .merge import merge_runs, refuse_repeated_hosts
from .output_lock import hold_output
from .reply_files import split_runs_and_replies
from .run_output import WrittenRun, write_run

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison

    from .reporter import Report


class MergeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The runs and replies to merge, the options for the replies, and where the result goes."""

    paths: tuple[Path, ...]
    output: Path
    playbooks: tuple[str, ...] = ()
    inventories: tuple[str, ...] = ()
    limit: str | None = None
    vault_password_file: str | None = None
    no_exec: bool = False
    formats: tuple[str, ...] = ("html",)
    fail_on: tuple[str, ...] = ("warning",)


class MergedRun(msgspec.Struct, frozen=True, kw_only=True):
    """The written run, its exit status, and how many of its hosts a bug in fleetaudit cost."""

    written: WrittenRun
    status: int
    bugs: int


def merge_into_folder(
    request: MergeRequest,
    report: Report,
    *,
    render: Callable[[Comparison], object] = lambda _: None,
) -> MergedRun:
    """Merges runs and replies, and writes the run folder with its reports.

    Equal evidence of several runs is kept once, as in a run of all their hosts.
    `report` gets notes; `render` makes what the caller will print, so that a bug in it is found.
    Raises `InputError` for a host that is in two runs or for what is not a run, `NothingToDoError`
    for a path that does not exist, `LockedError` if another run uses the output folder, and
    `OutputError` if it cannot be written.
    """
    whole, bugs = _merge(request, report)
    output = request.output
    with hold_output(output), create_hidden_run_folder(output, clock.current_time()) as folder:
        stored = find_runs(output).finished
        info = replace(
            whole.run, id=folder.id, job=job_name(whole.run), scheduled=False, sequence=0
        )
        whole = replace(whole, run=latest.with_sequence_number(stored, info))
        written = write_run(
            folder,
            whole,
            formats=request.formats,
            finish=lambda run: _with_status(run, request),
            render=render,
        )
        latest.update_latest(output, stored, written.run.run, note=report, later_note=report)
    status = _status(written.run, request)
    return MergedRun(written=written, status=status, bugs=bugs + written.bugs)


def _with_status(run: AuditRun, request: MergeRequest) -> AuditRun:
    """Returns the run with its exit status."""
    return replace(run, run=replace(run.run, status=_status(run, request)))


def _status(run: AuditRun, request: MergeRequest) -> int:
    """Returns the exit status of the merged run."""
    return BUG if has_bug(run) else exit_status(run, request.fail_on)


def _merge(request: MergeRequest, report: Report) -> tuple[AuditRun, int]:
    """Returns the merged run, and how many of its hosts a bug in fleetaudit cost."""
    run_paths, files = split_runs_and_replies(request.paths)
    interner = Interner()
    runs = [(path, read_run(path, interner)) for path in run_paths]
    bugs = 0
    if files or request.inventories:
        replies = RepliesRequest(
            files=tuple(files),
            playbooks=request.playbooks,
            inventories=request.inventories,
            limit=request.limit,
            vault_password_file=request.vault_password_file,
            no_exec=request.no_exec,
        )
        elsewhere = frozenset(host.name for _, run in runs for host in run.hosts)
        run, bugs = audit_replies(replies, elsewhere, report=report)
        runs.append((files[0].parent if files else Path(request.inventories[0]), run))
    refuse_repeated_hosts(runs)
    whole = merge_runs(runs)
    return replace(whole, hosts=share_evidence(whole.hosts)), bugs
