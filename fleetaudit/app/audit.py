"""Audits the hosts of a plan: on their own for the Python API, or into a run folder.

Rules: what can be refused is refused before the first connection. Every host of the plan has
exactly one result. Everything that is gathered is on the disk before the function returns.
"""

from __future__ import annotations

import contextlib
import platform
import shlex
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from fleetaudit import __version__
from fleetaudit.analysis.judge import HostJudge, judge_fleet
from fleetaudit.engine import EngineSettings, Outcome, RepeatCommand, StopRequest
from fleetaudit.engine import audit as audit_hosts
from fleetaudit.errors import FleetauditError, NothingToDoError, OutputError
from fleetaudit.model import AuditRun, Drift, HostResult, NoTarget, Plan, Playbook, RunInfo
from fleetaudit.playbook import is_empty
from fleetaudit.playbook.plan import without_services
from fleetaudit.report import registry
from fleetaudit.store import latest, manifest, retention
from fleetaudit.store.deduplication import judge_and_deduplicate, share_evidence
from fleetaudit.store.disk import output_errors
from fleetaudit.store.lock import refuse_if_locked
from fleetaudit.store.names import RUN_FILE
from fleetaudit.store.run_folder import RunFolder, create_run_folder
from fleetaudit.store.run_search import find_runs
from fleetaudit.transport.registry import Transports

from . import clock
from .activity import Activity
from .audit_request import AuditRequest, RunOptions
from .baseline import ActiveWaivers, Baseline, annotate_run, choose_baseline, read_waivers
from .connection_arguments import (
    ConnectionArguments,
    PasswordReader,
    PromptPassword,
    report_unused_options,
)
from .exit_status import BUG, exit_status, has_bug
from .kernel_table import add_known_kernels
from .notify import Notification, report_address
from .output_lock import hold_output
from .planning import (
    LoadedInventory,
    build_plan,
    has_services,
    make_run_info,
    read_inventory,
    read_playbooks,
    scenario_rows,
)
from .reporter import Report, Reporter, ignore_message
from .resume import make_manifest
from .run_output import MAX_EXPORTED, NotWrittenError, WrittenRun, write_run
from .source_locations import add_locations
from .watch import watch_playbook
from .workers import open_cluster

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.engine.workers.cluster import Cluster
    from fleetaudit.store.run_search import StoredRun

    from .publish import PublishedSite

__all__ = [
    "AuditControl",
    "AuditRequest",
    "FinishedAudit",
    "PreparedRun",
    "RunOptions",
    "StopRequest",
    "audit_plan",
    "execute_run",
    "judge_run",
    "prepare_run",
]

_PUBLISH_WAIT_S = 60.0
"""How long a run waits for another process that publishes into the same folder."""

OpenProgress = Callable[[int, Activity], AbstractContextManager[Callable[[HostResult], None]]]


class PreparedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose files are read: nothing in them can stop the run any more."""

    request: AuditRequest
    connection: ConnectionArguments
    loaded: LoadedInventory
    plan: Plan
    folder: Path
    """The folder in which names of files were typed; it may be gone when the run ends."""

    def info(self, id_: str, started: str = "") -> RunInfo:
        """Returns the description of the run as of now, as run.json has it.

        `id_` is the name of its folder, "" before there is one; `started` is a time of RFC 3339,
        "" for now.
        """
        request = self.request
        return make_run_info(
            self.plan,
            request.sources,
            request.run.selection(self.connection.limit),
            id_=id_,
            started=started,
            shard=request.run.shard_text,
            command=request.command_options.command,
        )


class AuditControl(msgspec.Struct, frozen=True, kw_only=True):
    """What ends an audit early, and what takes part in it.

    `stop` ends it; hosts without an answer are then not audited. `repeat_command` makes the command
    of a hint that audits one host again. `cluster` has the workers that audit the hosts, None if
    this machine does.
    """

    stop: StopRequest = msgspec.field(default_factory=StopRequest)
    repeat_command: RepeatCommand | None = None
    cluster: Cluster | None = None


class FinishedAudit(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is written: its folder and reports, its exit status and how many hosts a bug cost.

    `site` is the site that was published, None for none; `not_published` is why it could not be.

    `changed` is whether something changed since the last run, or that is unknown; None if no option
    needs it. `problem` is why the run could not be written whole, None if it was.
    """

    written: WrittenRun
    folder: Path
    status: int
    bugs: int
    interrupted: bool
    changed: bool | None
    notification: Notification
    problem: OutputError | None = None
    site: PublishedSite | None = None
    not_published: FleetauditError | None = None

    @property
    def comparison(self) -> Comparison:
        """Returns the comparison of the hosts of the run."""
        return self.written.comparison


def prepare_run(
    request: AuditRequest,
    reporter: Reporter,
    *,
    prompt: PromptPassword | None,
    connects: bool = True,
) -> PreparedRun:
    """Reads the inventories, playbooks and passwords of a request, and makes the plan.

    `prompt` asks for passwords, None if nobody can be asked. Without `connects` (--check)
    no password is read from the files that ansible.cfg names, and a locked output folder does not
    matter. Notes about the inventory go to `reporter`.

    Raises `LockedError` if another run uses the output folder, `NothingToDoError` for a missing
    file and for a selection without hosts, `InputError` or `ConfigError` for a file that makes no
    sense, and `UsageError` for options that contradict each other.
    """
    request.refuse_contradictions()
    if connects:
        refuse_if_locked(request.output)
    connection, run = request.connection, request.run
    loaded = read_inventory(
        request.sources,
        connection.vault_password_file,
        connection.parsed_extra_vars(),
        no_exec=connection.no_exec,
        report=reporter.note,
    )
    connection = connection.with_configured_forks(loaded.settings, request.command_options)
    reader = PasswordReader(request.command_options, prompt, reporter.message)
    options = reader.connection_options(connection)
    playbooks = _playbooks(run)
    _check_services(request, playbooks, reporter)
    plan = build_plan(
        loaded,
        playbooks,
        run.selection(connection.limit),
        options,
        connects=connects,
        report=reporter.note,
    )
    report_unused_options(plan, loaded, options, request.command_options, reporter.note)
    return PreparedRun(
        request=request,
        connection=connection,
        loaded=loaded,
        plan=_select_shard(plan, run),
        folder=Path.cwd(),
    )


def _playbooks(run: RunOptions) -> tuple[Playbook, ...]:
    """Returns the playbooks of a run; the one of `fleetaudit watch` is in no file."""
    if run.watch is not None:
        return (watch_playbook(run.watch),)
    return read_playbooks(run.playbooks)


def _check_services(
    request: AuditRequest, playbooks: Sequence[Playbook], reporter: Reporter
) -> None:
    """Notes that services are not asked, or raises `NothingToDoError` if nothing else is left.

    With `fleetaudit services` it is the other way round: a playbook without a service is an error.
    """
    found = has_services(playbooks)
    if found == request.run.asks_services:
        return
    if not found:
        raise NothingToDoError(
            "the playbook names no services\n  list them under “services:” in a play, each with"
            " “url: http://127.0.0.1:8080/” or “port: 6379”"
        )
    command = request.command_line.line(verb="services")
    plays = chain.from_iterable(book.plays for book in without_services(playbooks))
    if all(map(is_empty, plays)):
        raise NothingToDoError(
            f"the playbook has services only, which `run` does not ask\n  to ask them:  {command}"
        )
    reporter.note(f"fleetaudit: note: services are not asked; to ask them, too:  {command}")


def _select_shard(plan: Plan, run: RunOptions) -> Plan:
    """Returns the part of the plan that --shard selects; raises `NothingToDoError` for no host."""
    if run.shard is None:
        return plan
    from fleetaudit.playbook.shards import select_shard
    from fleetaudit.text.phrases import count_noun

    part = select_shard(plan, *run.shard)
    if not part.hosts:
        hosts = count_noun(len(plan.hosts), "host")
        raise NothingToDoError(f"--shard {run.shard_text}: none of {hosts} is in this part")
    return part


def audit_plan(
    plan: Plan,
    *,
    settings: EngineSettings,
    on_result: Callable[[HostResult], None],
    progress: OpenProgress | None = None,
    known_hosts: Path | None = None,
    earlier: Collection[HostResult] = (),
    whole_plan: Plan | None = None,
    control: AuditControl | None = None,
) -> Outcome:
    """Audits every host of a plan; `on_result` gets each result as it comes, in this thread.

    `known_hosts` is the file for host keys that are accepted; without one they are accepted for
    this run only. `earlier` results share their evidence with the new ones; `whole_plan` then has
    the hosts of both, in their order. `progress` opens what shows the hosts and their stages.

    What is wrong with a host is its result and is never raised; an exception of `on_result` is.
    """
    control = control or AuditControl()
    transports = Transports(accept_file=known_hosts)
    targets = (host.target for host in plan.hosts)
    transports.preload(target for target in targets if not isinstance(target, NoTarget))
    activity = Activity(transports)
    positions = {host.name: n for n, host in enumerate((whole_plan or plan).hosts)}
    with _opened(progress, len(plan.hosts), activity) as show_result:

        def take_result(result: HostResult) -> None:
            on_result(result)
            activity.ended(result.name)
            show_result(result)

        arguments: dict[str, Any] = {
            "run_command": transports.run,
            "settings": settings,
            "judge": judge_and_deduplicate(HostJudge(), earlier, positions),
            "on_result": take_result,
            "stop": control.stop,
            "run_command_for": activity.runner_for,
            "repeat_command": control.repeat_command,
        }
        if control.cluster is None:
            return audit_hosts(plan, **arguments)
        from fleetaudit.engine.workers.remote_audit import RemoteRun, audit_with_workers

        run = RemoteRun(plan=plan, note=activity.set_note, **arguments)
        return audit_with_workers(run, control.cluster)


@contextlib.contextmanager
def _opened(
    progress: OpenProgress | None, hosts: int, activity: Activity
) -> Iterator[Callable[[HostResult], None]]:
    """Opens the progress, or one that ignores every result."""
    if progress is None:
        yield _ignore_result
        return
    with progress(hosts, activity) as show_result:
        yield show_result


def _ignore_result(_result: HostResult) -> None:
    """Takes a result and does nothing with it."""


def judge_run(run: AuditRun, plan: Plan, folder: Path) -> AuditRun:
    """Returns the run with the findings that depend on all its hosts, what is known of its kernels,
    and all locations.

    `folder` is the one in which the names of inventories and playbooks were typed. The plan is the
    one of the run; results of a resumed run are judged together with the new ones.
    """
    judged = replace(run, hosts=judge_fleet(run.hosts, plan))
    return add_locations(add_known_kernels(judged), plan, folder)


def execute_run(
    prepared: PreparedRun,
    reporter: Reporter,
    stop: StopRequest,
    *,
    signal_status: Callable[[], int] = lambda: 0,
    render: Callable[[Comparison], object] = lambda _: None,
) -> FinishedAudit:
    """Audits, writes the run folder and its reports, updates `latest` and removes old runs.

    `signal_status` returns 128 and the number of the signal that stopped the run, else 0. `render`
    makes what the caller will print, so that a bug in it is found host by host, too. `reporter`
    gets the progress, and warnings about old runs that stay.

    Raises, before the first connection, `LockedError` if another run uses the output folder,
    `OutputError` if it cannot be written, and `InputError` or `NothingToDoError` for a run to
    resume with another plan, for waivers and for a baseline. After it only a bug that no single
    host causes: what is wrong with a host is its result, and a disk that cannot be written is
    `FinishedAudit.problem`.
    """
    return _Execution(prepared, reporter, stop, signal_status, render).execute()


@dataclass(slots=True)
class _Execution:
    """One run from the plan to the finished folder."""

    prepared: PreparedRun
    reporter: Reporter
    stop: StopRequest
    signal_status: Callable[[], int]
    render: Callable[[Comparison], object]
    waivers: ActiveWaivers = field(init=False)
    baseline: Baseline = field(init=False)
    is_journal_incomplete: bool = False
    problem: OutputError | None = None
    site: PublishedSite | None = None
    not_published: FleetauditError | None = None

    def execute(self) -> FinishedAudit:
        """Returns the finished run; raises `FleetauditError`."""
        prepared, request = self.prepared, self.prepared.request
        resumed, id_ = request.resumed, ""
        if resumed:
            id_ = resumed.path.name
            manifest.refuse_changed_plan(
                resumed.manifest, prepared.plan, __version__, source=str(resumed.path)
            )
        self._check_site()
        self.waivers = read_waivers(request.run.waivers, prepared.loaded.inventory)
        self.baseline = choose_baseline(request.output, request.run.baseline, prepared.info(id_))
        with (
            hold_output(request.output),
            _deadline(self.stop, request.run.deadline_s),
            open_cluster(request.run.engine) as cluster,
        ):
            folder, started, earlier = self._open_folder()
            with folder:
                outcome = self._audit(folder, earlier, cluster)
                written = self._write(folder, started, earlier, outcome)
                if self.problem is None:
                    self._remove_old_runs(written.run)
        if self.problem is None and not outcome.interrupted:
            self._publish(written)
        return self._finished(folder, written, outcome)

    def _open_folder(self) -> tuple[RunFolder, str, dict[str, HostResult]]:
        """Returns the open folder, when the run began, and the results that the folder has."""
        request = self.prepared.request
        if request.resumed:
            folder, results = request.resumed.reopen(self.reporter.message)
            return folder, request.resumed.manifest.started, results
        now = clock.current_time()
        started = clock.format_rfc3339(now)
        record = make_manifest(
            self.prepared.plan,
            started=started,
            sources=request.sources,
            job=self.prepared.info("", started).job,
            options=request.command_options,
        )
        data = manifest.encode_manifest(record)
        return create_run_folder(request.output, now, data), started, {}

    def _audit(
        self, folder: RunFolder, earlier: dict[str, HostResult], cluster: Cluster | None
    ) -> Outcome:
        """Audits the hosts that have no result yet; each result is appended to the journal."""
        run = self.prepared.request.run
        return audit_plan(
            manifest.remaining_plan(self.prepared.plan, earlier),
            settings=self.prepared.connection.engine_settings(run.serial, run.max_fail_percentage),
            on_result=partial(self._append, folder),
            progress=self.reporter.progress,
            known_hosts=folder.output / "known_hosts",
            earlier=earlier.values(),
            whole_plan=self.prepared.plan,
            control=AuditControl(
                stop=self.stop,
                repeat_command=self.prepared.request.command_line.for_host,
                cluster=cluster,
            ),
        )

    def _append(self, folder: RunFolder, result: HostResult) -> None:
        """Appends a result to the journal; if the disk refuses, the result is kept in memory.

        The store and the reports will have it, if they can be written.
        """
        try:
            folder.append(result)
        except OutputError as e:
            if not self.is_journal_incomplete:
                self.reporter.message(
                    f"fleetaudit: warning: {e}; the run continues, and its end will show every host"
                )
            self.is_journal_incomplete = True

    def _write(
        self, folder: RunFolder, started: str, earlier: dict[str, HostResult], outcome: Outcome
    ) -> WrittenRun:
        """Writes the reports and the store, and updates `latest`."""
        prepared, output = self.prepared, self.prepared.request.output
        stored = find_runs(output).finished
        results = manifest.merge_results(prepared.plan, earlier, outcome.results)
        bare = AuditRun(
            run=prepared.info(folder.id, started),
            scenarios=scenario_rows(prepared.plan),
            hosts=share_evidence(results),
            positions=prepared.plan.positions,
        )

        def finish(run: AuditRun) -> AuditRun:
            run = judge_run(run, prepared.plan, prepared.folder)
            run = annotate_run(run, self.baseline, self.waivers)
            return self._with_status(run, outcome.interrupted, stored)

        try:
            written = write_run(
                folder,
                bare,
                formats=prepared.request.run.formats,
                finish=finish,
                render=self.render,
            )
        except NotWrittenError as e:
            self.problem = e
            return WrittenRun(run=e.run, comparison=e.comparison, reports=[], bugs=0)
        try:
            with output_errors(folder.path):
                self._note_missing_export(folder)
                if not outcome.interrupted:
                    self._update_latest(written.run.run, stored)
        except OutputError as e:
            self.problem = e
        return written

    def _note_missing_export(self, folder: RunFolder) -> None:
        """Notes how to make the run.json of a large run, which has none unless it is asked for."""
        file = folder.path / RUN_FILE
        if not file.exists():
            command = ("fleetaudit", "report", folder.path, "--format", "json", "-o", file)
            self.reporter.note(
                f"fleetaudit: note: a run of more than {MAX_EXPORTED} hosts has a {RUN_FILE} only"
                f" with --format json; to write it now:\n  {shlex.join(map(str, command))}"
            )

    def _with_status(
        self, run: AuditRun, interrupted: bool, stored: Sequence[StoredRun]
    ) -> AuditRun:
        """Returns the run with its exit status and, unless it was interrupted, its place among the
        `stored` ones.
        """
        info = replace(run.run, status=self._status(run))
        if not interrupted:
            scheduled = self.prepared.request.run.scheduled
            info = latest.with_sequence_number(stored, info, scheduled=scheduled)
        return replace(run, run=info)

    def _status(self, run: AuditRun) -> int:
        """Returns the exit status of a run."""
        if has_bug(run):
            return BUG
        return self.signal_status() or exit_status(run, self.prepared.request.run.fail_on)

    def _update_latest(self, info: RunInfo, stored: Sequence[StoredRun]) -> None:
        """Makes `latest` point to the run if its job is the one that `latest` follows."""
        request = self.prepared.request
        notes: tuple[Report, Report] = (ignore_message, ignore_message)
        if request.run.report_latest:
            notes = self.reporter.message, self.reporter.note
        latest.update_latest(request.output, stored, info, note=notes[0], later_note=notes[1])

    def _remove_old_runs(self, run: AuditRun) -> None:
        """Removes old runs; one that stays is reported, because the run itself is done."""
        request = self.prepared.request
        if request.run.keep is None:
            return
        # The last run is still needed, for what is new since then.
        used = {path.name for path in self.baseline.paths}
        protect = {run.run.id, run.run.baseline or "", Path(request.run.baseline).name} | used
        try:
            pruned = retention.prune(
                request.output,
                request.run.keep,
                now=clock.current_time(),
                files=registry.FILES.values(),
                protect=protect,
            )
        except OutputError as e:
            self.reporter.message(f"fleetaudit: warning: old runs stay: {e}")
            return
        for name in pruned.kept:
            self.reporter.message(f"fleetaudit: warning: an old run stays: {name}")

    def _check_site(self) -> None:
        """Refuses a folder that cannot become a site before the first connection.

        Not from cron: a folder that is wrong at night must not cost the audit.
        """
        run = self.prepared.request.run
        if run.publish is not None and not run.scheduled:
            from fleetaudit.store.site_folder import refuse_unsuitable

            refuse_unsuitable(run.publish, self.prepared.request.output)

    def _publish(self, written: WrittenRun) -> None:
        """Publishes the runs of the output folder; what stops that does not cost the run.

        The output folder is not locked any more: the next run does not wait for the site.
        """
        request = self.prepared.request
        if request.run.publish is None:
            return
        from .publish import PublishRequest, publish_site

        site = PublishRequest(
            folder=request.run.publish,
            output=request.output,
            mode=request.run.publish_mode,
            wait_s=_PUBLISH_WAIT_S,
            known={written.run.run.id: written.comparison.status},
        )
        try:
            with output_errors(request.run.publish):
                self.site = publish_site(site)
        except FleetauditError as e:
            self.not_published = e
            return
        for note in self.site.notes():
            self.reporter.note(note)

    def _report_address(self, written: WrittenRun, folder: RunFolder) -> str:
        """Returns the address of the report: in the site, if that is published at a URL."""
        run, info = self.prepared.request.run, written.run.run
        if self.site is not None and run.report_url is not None:
            return f"{run.report_url.rstrip('/')}/{self.site.pages[info.id]}"
        return report_address(next(iter(written.reports), folder.path), run.report_url)

    def _finished(self, folder: RunFolder, written: WrittenRun, outcome: Outcome) -> FinishedAudit:
        """Returns the finished run with what its notification needs."""
        run = self.prepared.request.run
        status = self._status(written.run)
        if self.problem or self.not_published:
            status = OutputError.exit_status
        drift: Drift | None = None
        changed: bool | None = None
        if run.needs_drift:
            drift = self.baseline.since_last(written.run)
            changed = drift is None or not drift.is_unchanged or outcome.interrupted
        notification = Notification(
            run=written.run.run,
            status=status,
            controller=platform.node() or "localhost",
            folder=self.prepared.folder,
            report=self._report_address(written, folder),
            drift=drift,
        )
        return FinishedAudit(
            written=written,
            folder=folder.path,
            status=status,
            bugs=outcome.bugs + written.bugs,
            interrupted=outcome.interrupted,
            changed=changed,
            notification=notification,
            problem=self.problem,
            site=self.site,
            not_published=self.not_published,
        )


@contextlib.contextmanager
def _deadline(stop: StopRequest, seconds: float | None) -> Iterator[None]:
    """Requests an early end when the time of the whole run is over, if it has a limit."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, stop.request, (f"the run's deadline of {seconds:g} s came",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
