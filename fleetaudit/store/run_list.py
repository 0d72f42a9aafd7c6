"""Lists the runs of an output folder: job, time, hosts and result of each, and how to resume it.

Rules: `RunList` is what `fleetaudit runs --format json` prints (format "fleetaudit-runs/1", schema
in `fleetaudit/schema/`), so renaming a field is a breaking change. A run that cannot be read is
listed with the reason.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fleetaudit.errors import FleetauditError
from fleetaudit.model import Frozen
from fleetaudit.text.json_schema import encode_json, escape_json, file_name_text, json_schema_of

from .jobs import describe_job, job_name
from .latest import read_latest
from .manifest import RunManifest, decode_manifest
from .names import JOURNAL_FILE, PLAN_FILE, name_order
from .run_file import read_head
from .run_folder import count_results, read_plan
from .run_head import FindingCounts, HostCounts
from .run_search import StoredRun, find_runs, has_run_file, run_names


class FinishedRun(Frozen, frozen=True, kw_only=True):
    """A finished run. `description` is its job as in a command line. `latest` is true if the link
    `latest` points to it. Every other field is as in run.json.
    """

    id: str
    job: str
    description: str
    latest: bool
    started: str
    finished: str
    inventory: tuple[str, ...]
    playbooks: tuple[str, ...]
    limit: str | None
    shard: str | None
    tags: tuple[str, ...]
    skip_tags: tuple[str, ...]
    scheduled: bool
    sequence: int
    status: int | None
    hosts: HostCounts
    findings: FindingCounts


class UnfinishedRun(Frozen, frozen=True, kw_only=True):
    """A run that was interrupted or killed, or is under way: `done` of its `selected` hosts have a
    result.

    `resume` is the command that finishes it. If it cannot be resumed, `reason` says why, `resume`
    is "" and the numbers are 0. `job` is "" in a run of an earlier version.
    """

    id: str
    job: str = ""
    started: str = ""
    selected: int = 0
    done: int = 0
    resume: str = ""
    reason: str = ""


class UnreadableRun(Frozen, frozen=True, kw_only=True):
    """A run whose file cannot be read, and why."""

    id: str
    reason: str


class RunList(Frozen, frozen=True, kw_only=True):
    """The runs of the folder `output`: the finished ones, the last one first; the unfinished ones,
    by name; those that cannot be read.
    """

    format: Literal["fleetaudit-runs/1"] = "fleetaudit-runs/1"
    output: str
    latest: str | None
    runs: tuple[FinishedRun, ...]
    unfinished: tuple[UnfinishedRun, ...]
    unreadable: tuple[UnreadableRun, ...]


def list_runs(output: Path, here: Path) -> RunList:
    """Returns the runs of an output folder.

    `here` is the folder in which the commands that resume runs will be typed. A run that cannot be
    read, or whose plan cannot be read, is listed with the reason. Without the folder the list is
    empty. Nothing is locked: a run that is under way is unfinished.
    """
    latest_info = read_latest(output)
    latest = latest_info.id if latest_info else None
    found = find_runs(output)
    finished = list[FinishedRun]()
    unreadable = [UnreadableRun(id=path.name, reason=str(e)) for path, e in found.unreadable]
    for run in found.finished:
        try:
            finished.append(_finished_run(run, latest))
        except FleetauditError as e:
            unreadable.append(UnreadableRun(id=run.info.id, reason=str(e)))
    unfinished = [*_without_run_file(output), *(run.path for run in found.interrupted)]
    unfinished.sort(key=lambda path: name_order(path.name))
    return RunList(
        output=str(output),
        latest=latest,
        runs=tuple(finished),
        unfinished=tuple(_unfinished_run(path, here) for path in unfinished),
        unreadable=tuple(unreadable),
    )


def _without_run_file(output: Path) -> Iterator[Path]:
    """Yields the folders of runs that have a journal, and were never finished."""
    for path in map(output.joinpath, run_names(output)):
        with contextlib.suppress(OSError):  # no permission
            if _is_unfinished(path):
                yield path


def _is_unfinished(path: Path) -> bool:
    """Returns whether a folder has a journal and no file of a run; raises `OSError`."""
    return (path / JOURNAL_FILE).is_file() and not has_run_file(path)


def encode(runs: RunList) -> bytes:
    """Returns the list as JSON, with a line feed at the end."""
    return escape_json(encode_json(runs)) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of a list, as in `fleetaudit/schema/runs.schema.json`."""
    return json_schema_of(RunList, "fleetaudit-runs/1")


def _finished_run(run: StoredRun, latest: str | None) -> FinishedRun:
    """Returns a finished run as it is listed; raises as `run_file.read_head`."""
    info, head = run.info, read_head(run.path)
    return FinishedRun(
        id=info.id,
        job=job_name(info),
        description=describe_job(info),
        latest=info.id == latest,
        started=info.started,
        finished=info.finished,
        inventory=info.inventory,
        playbooks=info.playbooks,
        limit=info.limit,
        shard=info.shard,
        tags=info.tags,
        skip_tags=info.skip_tags,
        scheduled=info.scheduled,
        sequence=info.sequence,
        status=info.status,
        hosts=head.hosts,
        findings=head.findings,
    )


def _unfinished_run(path: Path, here: Path) -> UnfinishedRun:
    """Returns an unfinished run as it is listed, with the command that resumes it."""
    try:
        manifest = decode_manifest(read_plan(path), source=str(path / PLAN_FILE))
        done = count_results(path)
    except FleetauditError as e:
        return UnfinishedRun(id=path.name, reason=str(e))
    return UnfinishedRun(
        id=path.name,
        job=manifest.job,
        started=manifest.started,
        selected=len(manifest.hosts),
        done=done,
        resume=_resume_command(path, manifest, here),
    )


def _resume_command(path: Path, manifest: RunManifest, here: Path) -> str:
    """Returns the command that resumes a run, to be typed in `here`.

    The names of the run's files are relative to the folder in which it began.
    """
    command = f"fleetaudit {manifest.verb} --resume"
    if manifest.folder == file_name_text(here):
        return f"{command} {shlex.quote(str(path))}"
    absolute = shlex.quote(str(path.absolute()))
    return f"cd {shlex.quote(manifest.folder)} && {command} {absolute}"
