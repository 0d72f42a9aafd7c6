"""Publishes the runs of an output folder as a static site: index, latest reports, every kept run.

Rules:
- Only what is new or changed is rendered or copied. A page is copied from the report of its run,
  byte for byte, and rendered only if the run has none.
- Pages are written before what links to them, and removed after it. So at no moment does a link
  lead nowhere, and a process that is killed leaves a site that works, which the next one mends.
- Nothing but reports is read from a run: no journal, no store, no known_hosts, no log. The output
  folder is not locked; a run that is pruned meanwhile is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import msgspec

from fleetaudit import __version__
from fleetaudit.analysis.compare import compare
from fleetaudit.analysis.compare.common import group_by
from fleetaudit.analysis.compare.view_model import Status
from fleetaudit.analysis.history import encode as history_json
from fleetaudit.analysis.history.model import JobHistory
from fleetaudit.errors import FleetauditError, InputError, NothingToDoError
from fleetaudit.model import DECODE_ERRORS
from fleetaudit.report import history_page, registry
from fleetaudit.report.site import (
    DATA,
    HISTORY,
    INDEX,
    LATEST,
    Site,
    SiteJob,
    SiteRun,
    SiteStatus,
    SiteUnfinished,
    SiteUnreadable,
    encode,
    render_index,
    render_job,
)
from fleetaudit.store.disk import read_bounded
from fleetaudit.store.jobs import jobs_named
from fleetaudit.store.names import RUN_FILE, STORE_FILE
from fleetaudit.store.run_file import read_run
from fleetaudit.store.run_list import (
    FinishedRun,
    RunList,
    UnfinishedRun,
    UnreadableRun,
    list_runs,
)
from fleetaudit.store.site_folder import (
    OWNER_ONLY,
    SiteFolder,
    name_some,
    open_site,
)
from fleetaudit.text.sanitize import bounded_text

from .history import read_history
from .notify import describe_status
from .output_folder import require_output_folder
from .report import render_report

__all__ = [
    "PublishRequest",
    "PublishedSite",
    "publish_site",
]

_REPORT = registry.FILES["html"]


class PublishRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to publish where: the folder of the site, the output folder, and the mode of the files.

    `jobs` are the names of the jobs to publish, or their parts before the digits; () for all.
    `wait_s` is how long to wait for another process that publishes into the same folder. `known`
    has the status of runs that the caller has compared, by their ids.
    """

    folder: Path
    output: Path
    mode: int = OWNER_ONLY
    jobs: tuple[str, ...] = ()
    wait_s: float = 0.0
    known: Mapping[str, Status] = {}


class PublishedSite(msgspec.Struct, frozen=True, kw_only=True):
    """A site that is written: its index, what it has, and what changed in the folder.

    `pages` has the address of the page of each run. `unreadable` are runs without a page, with the
    reason; `foreign` is what is in the folder and was not written by fleetaudit.
    """

    index: Path
    jobs: int
    pages: dict[str, str]
    written: int
    removed: int
    unreadable: tuple[SiteUnreadable, ...]
    foreign: tuple[str, ...]

    def text(self) -> str:
        """Returns what was done, in two lines."""
        from fleetaudit.text.phrases import count_noun

        return (
            f"{count_noun(self.jobs, 'job')}, {count_noun(len(self.pages), 'run')}:"
            f" {count_noun(self.written, 'file')} written, {self.removed:,} removed\n"
            f"Site: {self.index}\n"
        )

    def notes(self) -> Iterator[str]:
        """Yields what somebody may want to know about the folder."""
        for run in self.unreadable:
            yield f"fleetaudit: warning: not published: {run.id}: {run.reason}"
        if self.foreign:
            names = name_some(self.foreign)
            yield f"fleetaudit: note: {self.index.parent} has other files, which stay: {names}"


def page_of_run(job: str, run: str) -> str:
    """Returns the address of a run in a site, such as "fleet-1c9e07b2/RUN/index.html"."""
    return f"{job}/{run}/{INDEX}"


def publish_site(request: PublishRequest) -> PublishedSite:
    """Writes the site of an output folder, or what changed of it since it was last published.

    Raises `NothingToDoError` if there is no output folder or no such job; as
    `store.site_folder.open_site` for the folder of the site; `OutputError` if it cannot be written.
    """
    output = request.output
    require_output_folder(output)
    with open_site(request.folder, output, mode=request.mode, wait_s=request.wait_s) as folder:
        # Not before the lock is held: whoever held it may have published a run that is newer.
        runs = _selected(list_runs(output, Path.cwd()), request.jobs)
        return _Publication(request, folder, runs).publish()


def _selected(runs: RunList, jobs: Iterable[str]) -> RunList:
    """Returns the runs of the named jobs, or all; raises `NothingToDoError` for an unknown job."""
    known = {run.job for run in runs.runs}
    names = set[str]().union(*(_jobs_named(job, known) for job in jobs))
    if not names:
        return runs
    return msgspec.structs.replace(
        runs,
        runs=tuple(run for run in runs.runs if run.job in names),
        unfinished=tuple(run for run in runs.unfinished if run.job in names),
    )


def _jobs_named(text: str, known: Collection[str]) -> set[str]:
    """Returns the jobs that have a name, or have it before the digits.

    Raises `NothingToDoError` for none.
    """
    found = set(jobs_named(text, known))
    if not found:
        listed = ", ".join(sorted(known)) or "none"
        raise NothingToDoError(f"--job {text}: no finished run of it; there are: {listed}")
    return found


class KeptStatus(msgspec.Struct, frozen=True):
    """The status of a run, and what the page of that run was made from."""

    source: str
    status: SiteStatus


_status_decoder = msgspec.json.Decoder(KeptStatus)


def _decode_status(text: str) -> KeptStatus | None:
    """Returns a status that was kept, None for anything else."""
    try:
        return _status_decoder.decode(text)
    except DECODE_ERRORS:
        return None


@dataclass(slots=True)
class _Publication:
    """One publication of a list of runs into an open folder."""

    request: PublishRequest
    folder: SiteFolder
    runs: RunList
    pages: dict[str, str] = field(default_factory=dict)
    """The addresses of the pages that are written, each with what it was made from."""
    unreadable: list[SiteUnreadable] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    """The statuses to keep for the next time, as JSON by the ids of their runs."""

    def publish(self) -> PublishedSite:
        """Writes pages, then what links to them, and then removes what no link leads to."""
        self.unreadable += map(_unreadable, self.runs.unreadable)
        self.folder.announce(self._all_names())
        finished = [run for run in self.runs.runs if self._write_run(run)]
        site = self._site(finished)
        self.folder.notes = self.statuses
        self._write_latest(site)
        for job in site.jobs:
            self._write(job.page, render_job(site, job).encode(errors="replace"))
        self._write(DATA, encode(site))
        self._write(INDEX, render_index(site).encode(errors="replace"))
        removed = self.folder.finish(self.pages)
        return PublishedSite(
            index=self.folder.path / INDEX,
            jobs=len(site.jobs),
            pages={run.id: page_of_run(run.job, run.id) for run in finished},
            written=self.folder.written,
            removed=removed,
            unreadable=site.unreadable,
            foreign=tuple(self.folder.foreign_names()),
        )

    def _all_names(self) -> Iterator[str]:
        """Yields the name of every file that may be written."""
        yield from (INDEX, DATA, LATEST)
        for run in self.runs.runs:
            yield page_of_run(run.job, run.id)
        for job in {run.job for run in self.runs.runs}:
            yield from (f"{job}/{name}" for name in (INDEX, LATEST, HISTORY, DATA))

    def _write_run(self, run: FinishedRun) -> bool:
        """Writes the page of a run unless it is there; returns whether the run has a page.

        A run that was pruned meanwhile has none, nor has one that cannot be read.
        """
        path, address = self.request.output / run.id, page_of_run(run.job, run.id)
        try:
            file = _file_to_publish(path)
            source = _fingerprint(file)
            if not self.folder.is_current(address, source):
                self.folder.write(address, source, _page(file))
        except (InputError, NothingToDoError) as e:
            if path.is_dir():
                self.unreadable.append(SiteUnreadable(id=run.id, reason=str(e)))
            return False
        self.pages[address] = source
        return True

    def _write(self, name: str, data: bytes) -> None:
        """Writes a file unless it is there with the same bytes."""
        self._write_from(name, _digest(data), lambda: data)

    def _write_from(self, name: str, source: str, make: Callable[[], bytes]) -> None:
        """Writes a file unless it is there and was made from `source`."""
        if not self.folder.is_current(name, source):
            self.folder.write(name, source, make())
        self.pages[name] = source

    def _write_latest(self, site: Site) -> None:
        """Writes the reports whose addresses stay: copies, because not every server has links."""
        for job in site.jobs:
            self._copy(job.runs[0].report, job.latest)
        if site.latest:
            self._copy(site.latest.report, LATEST)

    def _copy(self, page: str, name: str) -> None:
        """Writes a copy of a page of a run unless it is there."""
        source = f"{page} {self.pages[page]}"
        self._write_from(name, source, partial(self.folder.read, page))

    def _status(self, run: FinishedRun) -> SiteStatus | None:
        """Returns the status of a run, None if the run cannot be read.

        It is kept with the list of files, so that a run is read and compared only once.
        """
        source = self.pages[page_of_run(run.job, run.id)]
        kept = _decode_status(self.folder.notes.get(run.id, ""))
        if kept is None or kept.source != source:
            try:
                kept = KeptStatus(source, self._new_status(run.id))
            except FleetauditError:  # it has a report, which is published, and no store any more
                return None
        self.statuses[run.id] = msgspec.json.encode(kept).decode()
        return kept.status

    def _new_status(self, id_: str) -> SiteStatus:
        """Returns the status of a run as its report has it; raises as `read_run`."""
        status = self.request.known.get(id_)
        if status is None:
            status = compare(read_run(self.request.output / id_)).status
        sentence = "".join(part.text for part in status.sentence)
        return SiteStatus(level=status.level, label=status.label, sentence=bounded_text(sentence))

    def _site(self, finished: list[FinishedRun]) -> Site:
        """Returns the site of the runs that have a page; they come the last one first."""
        latest, jobs = None, group_by(finished, lambda run: run.job)
        order = [*jobs]
        if finished:
            main = next((run for run in finished if run.latest), finished[0])
            latest = _run(main)
            order.sort(key=lambda job: job != main.job)
        return Site(
            fleetaudit=__version__,
            latest=latest,
            jobs=tuple(self._job(job, jobs[job]) for job in order),
            unfinished=tuple(map(_unfinished, self.runs.unfinished)),
            unreadable=tuple(self.unreadable),
        )

    def _write_history(self, job: str, runs: Sequence[FinishedRun]) -> bool:
        """Writes the history of a job unless it is there; returns whether it can be read."""
        page, data = f"{job}/{HISTORY}", f"{job}/{DATA}"
        sources = [self.pages[page_of_run(run.job, run.id)] for run in runs]
        known = (__version__, *sources, *(run.id for run in self.runs.unreadable))
        source = _digest(repr(known).encode())
        history = cache(lambda: read_history(self.request.output, job))
        try:
            self._write_from(page, source, lambda: _history_page(history(), runs))
            self._write_from(data, source, lambda: history_json(history()))
        except (InputError, NothingToDoError):  # the reports are there, and the stores are not
            return False
        return True

    def _job(self, job: str, runs: list[FinishedRun]) -> SiteJob:
        """Returns a job with its runs, of which there is at least one."""
        history = data = ""
        if self._write_history(job, runs):
            history, data = f"{job}/{HISTORY}", f"{job}/{DATA}"
        return SiteJob(
            job=job,
            description=runs[0].description,
            scheduled=runs[0].scheduled,
            page=_job_page(job),
            latest=_job_latest(job),
            history=history,
            data=data,
            status=self._status(runs[0]),
            runs=tuple(map(_run, runs)),
        )


def _digest(data: bytes) -> str:
    """Returns the digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def _history_page(history: JobHistory, runs: Sequence[FinishedRun]) -> bytes:
    """Returns the page of the history of a job, with links to the pages of its runs."""
    links = {run.id: f"{run.id}/{INDEX}" for run in runs}
    generated = history.runs[-1].finished
    page = history_page.render(history, links=links, generated=generated, home=f"../{INDEX}")
    return page.encode(errors="replace")


def _job_page(job: str) -> str:
    """Returns the address of the page of a job."""
    return f"{job}/{INDEX}"


def _job_latest(job: str) -> str:
    """Returns the address of the last report of a job."""
    return f"{job}/{LATEST}"


def _run(run: FinishedRun) -> SiteRun:
    """Returns a run as the site has it."""
    result = "unknown" if run.status is None else describe_status(run.status)
    return SiteRun(
        id=run.id,
        started=run.started,
        finished=run.finished,
        status=run.status,
        result=result,
        hosts=run.hosts,
        findings=run.findings,
        report=page_of_run(run.job, run.id),
    )


def _unfinished(run: UnfinishedRun) -> SiteUnfinished:
    """Returns an unfinished run as the site has it."""
    return SiteUnfinished(
        id=run.id, job=run.job, done=run.done, selected=run.selected, reason=run.reason
    )


def _unreadable(run: UnreadableRun) -> SiteUnreadable:
    """Returns a run that cannot be read as the site has it."""
    return SiteUnreadable(id=run.id, reason=run.reason)


def _file_to_publish(path: Path) -> Path:
    """Returns the report of a run, or, if it has none, the file that a report is rendered from.

    A link is no report: what it points to may be anything.
    """
    report, store = path / _REPORT, path / STORE_FILE
    if report.is_file() and not report.is_symlink():
        return report
    return store if store.exists() else path / RUN_FILE


def _fingerprint(file: Path) -> str:
    """Returns a text that changes whenever a file is written again.

    Raises `NothingToDoError` if there is no such file, `InputError` if the disk fails.
    """
    try:
        info = file.stat()
    except FileNotFoundError as e:
        raise NothingToDoError(f"{file}: no such file") from e
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}", source=str(file)) from e
    return f"{file.name} {info.st_size} {info.st_mtime_ns}"


def _page(file: Path) -> bytes:
    """Returns the report of a run: its bytes, or rendered from its store; raises as `read_run`."""
    if file.name == _REPORT:
        return read_bounded(file)
    return b"".join(render_report([file.parent], "html", width=100).chunks)
