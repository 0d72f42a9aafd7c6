"""The runs of an output folder as a list: job, time, hosts and result of each, and how to finish
what was left.

Rules: `RunList` is what `fleetaudit runs --format json` prints (format "fleetaudit-runs/1", schema
in `fleetaudit/schema/`), so renaming a field is a breaking change. A run that cannot be read is
listed with the reason.
"""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fleetaudit.errors import FleetauditError
from fleetaudit.model import Frozen
from fleetaudit.text.json_schema import encode_json, file_name_text, json_schema_of

from .jobs import describe_job, job_name
from .journal import count_results
from .latest import read_latest
from .manifest import decode_manifest
from .names import JOURNAL_FILE, PLAN_FILE, RUN_FILE, name_order
from .run_file import RunHead, read_head
from .run_folder import read_plan
from .run_search import StoredRun, find_runs, run_names


class HostCounts(Frozen, frozen=True, kw_only=True):
    """How many hosts: `selected` is the three others together."""

    selected: int
    audited: int
    not_audited: int
    not_selected: int


class FindingCounts(Frozen, frozen=True, kw_only=True):
    """How many findings, by severity; the waived ones are counted apart."""

    error: int
    warning: int
    info: int
    waived: int


class FinishedRun(Frozen, frozen=True, kw_only=True):
    """A finished run. `description` is what its job stands for, as words of a command line.
    `latest`: the link `latest` points to it. Every other field is as in run.json.
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

    `resume` is the command that finishes it. Where `reason` says why it cannot be resumed, that is
    "", and the numbers are 0. `job` is "" in a run of an earlier version.
    """

    id: str
    job: str = ""
    started: str = ""
    selected: int = 0
    done: int = 0
    resume: str = ""
    reason: str = ""


class UnreadableRun(Frozen, frozen=True, kw_only=True):
    """A run whose run.json cannot be read, and why."""

    id: str
    reason: str


class RunList(Frozen, frozen=True, kw_only=True):
    """The runs of the folder `output`: those that finished, the last one first; those that did not,
    by name.
    """

    format: Literal["fleetaudit-runs/1"] = "fleetaudit-runs/1"
    output: str
    latest: str | None
    runs: tuple[FinishedRun, ...]
    unfinished: tuple[UnfinishedRun, ...]
    unreadable: tuple[UnreadableRun, ...]


def list_runs(output: Path, here: Path) -> RunList:
    """Returns the runs of an output folder; `here` is where the commands that resume them will be
    typed.
    """
    latest = read_latest(output)
    found = find_runs(output)
    runs, unreadable = (
        list[FinishedRun](),
        [UnreadableRun(id=path.name, reason=str(e)) for path, e in found.unreadable],
    )
    for run in found.finished:
        try:
            runs.append(_finished(run, latest.id if latest else ""))
        except FleetauditError as e:
            unreadable.append(UnreadableRun(id=run.info.id, reason=str(e)))
    left = [*_begun(output), *(run.path for run in found.interrupted)]
    return RunList(
        output=str(output),
        latest=latest.id if latest else None,
        runs=tuple(runs),
        unfinished=tuple(
            _unfinished(path, here) for path in sorted(left, key=lambda path: name_order(path.name))
        ),
        unreadable=tuple(unreadable),
    )


def _begun(output: Path) -> Iterator[Path]:
    """Yields the runs without a run.json."""
    for name in run_names(output):
        with contextlib.suppress(OSError):  # a folder that may not be read
            if not (output / name / RUN_FILE).exists() and (output / name / JOURNAL_FILE).is_file():
                yield output / name


def encode(runs: RunList) -> bytes:
    """Returns the list as JSON, with a newline at the end."""
    return encode_json(runs) + b"\n"


def json_schema() -> bytes:
    """Returns the JSON Schema of a list, as `fleetaudit/schema/runs.schema.json` has it."""
    return json_schema_of(RunList, "fleetaudit-runs/1")


def _finished(run: StoredRun, latest: str) -> FinishedRun:
    info, head = run.info, read_head(run.path)
    hosts = Counter(host.status for host in head.hosts)
    findings = Counter(_kinds(head))
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
        hosts=HostCounts(
            selected=len(head.hosts),
            audited=hosts["audited"],
            not_audited=hosts["not audited"],
            not_selected=hosts["not selected"],
        ),
        findings=FindingCounts(
            error=findings["error"],
            warning=findings["warning"],
            info=findings["info"],
            waived=findings["waived"],
        ),
    )


def _kinds(head: RunHead) -> Iterator[str]:
    for host in head.hosts:
        for finding in host.findings:
            yield finding.severity if finding.waived is None else "waived"


def _unfinished(path: Path, here: Path) -> UnfinishedRun:
    try:
        asked = decode_manifest(read_plan(path), source=str(path / PLAN_FILE))
        done = count_results(path / JOURNAL_FILE)
    except FleetauditError as e:
        return UnfinishedRun(id=path.name, reason=str(e))
    resume = f"fleetaudit run --resume {shlex.quote(str(path))}"
    if asked.folder != file_name_text(here):  # the names of its files are relative to there
        resume = (
            f"cd {shlex.quote(asked.folder)} && fleetaudit run --resume"
            f" {shlex.quote(str(path.absolute()))}"
        )
    return UnfinishedRun(
        id=path.name,
        job=asked.job,
        started=asked.started,
        selected=len(asked.hosts),
        done=done,
        resume=resume,
    )
