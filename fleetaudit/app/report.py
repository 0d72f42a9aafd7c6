"""Renders one report of a run, or of several runs as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from fleetaudit.model import AuditRun, HostResult
from fleetaudit.report import common, prometheus, registry
from fleetaudit.store.part_reader import Interner
from fleetaudit.store.run_file import read_run
from fleetaudit.text.files import read_first_bytes

from .merge import merge_runs
from .run_output import leave_out_failing_hosts

_MAX_OTHER_FILES, _HEAD_BYTES = 100, 64 * 1024


class RenderedReport(msgspec.Struct, frozen=True):
    """A report in UTF-8, its run, and how many hosts a bug in fleetaudit cost.

    `chunks` are the bytes, to be taken once; a large report is made while they are taken.
    """

    run: AuditRun
    chunks: Iterable[bytes]
    bugs: int


def render_report(run_paths: Sequence[Path], format_: str, *, width: int) -> RenderedReport:
    """Returns the report of the runs as one; the same runs give the same bytes.

    `format_` is one of `render.REPORT_FORMATS`, `width` the width of "text" in columns. A host with
    which rendering fails is left out and counted as a bug. Raises `NothingToDoError` for a run that
    is missing, `InputError` for what is not a run, and for a host that differs between two runs.
    """
    interner = Interner()
    run = merge_runs([(path, read_run(path, interner)) for path in run_paths])

    def render(hosts: tuple[HostResult, ...]) -> Iterable[bytes]:
        part = msgspec.structs.replace(run, hosts=hosts)
        chunks = registry.render_in_chunks(part, format_, width=width)
        if format_ not in registry.STREAMED:
            return tuple(chunks)
        for _ in chunks:  # a bug is met here, before anything is written
            pass
        return registry.render_in_chunks(part, format_, width=width)

    chunks, bugs = leave_out_failing_hosts(run.hosts, render, render)
    return RenderedReport(run, chunks, bugs)


def same_job_warnings(path: Path, run: AuditRun) -> Iterator[str]:
    """Yields a warning for each other file of metrics in the folder of `path` with the same job.

    Only a file named *.prom is one of metrics; of the others in its folder the first
    `_MAX_OTHER_FILES` are read, as far as their first `_HEAD_BYTES`.
    """
    if path.suffix != ".prom":
        return
    beginning = prometheus.beginning_of_info(run).encode()
    files = sorted(path.parent.glob("*.prom"))[:_MAX_OTHER_FILES]
    for other in _files_with(beginning, (file for file in files if file.name != path.name)):
        yield (
            f"fleetaudit: warning: {other} has metrics of the same job,"
            f" {common.job_of(run)}: node_exporter reads only one of the two; if two"
            " inventories have the same name, give `run` the full path of each"
        )


def _files_with(text: bytes, files: Iterable[Path]) -> Iterator[Path]:
    """Yields the files that have `text` near their beginning."""
    for file in files:
        try:
            head = read_first_bytes(file, _HEAD_BYTES)
        except OSError:
            continue
        if text in head:
            yield file
