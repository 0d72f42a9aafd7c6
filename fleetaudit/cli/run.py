"""`fleetaudit run`: audits the hosts of an inventory and writes a run's folder."""

from __future__ import annotations

import contextlib
import platform
import shlex
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetaudit import __version__
from fleetaudit.app import clock
from fleetaudit.app import notify as news
from fleetaudit.app import resume as beginning
from fleetaudit.app.command_line import CommandLine, command_line_of
from fleetaudit.errors import NothingToDoError, OutputError
from fleetaudit.report import registry

from . import completion, console, params
from .connection_options import ConnectionArguments, choose_password_sources, connection_options

if TYPE_CHECKING:
    from fleetaudit.analysis.compare import Comparison
    from fleetaudit.app.baseline import Baseline
    from fleetaudit.app.planning import LoadedInventory
    from fleetaudit.engine import Outcome, StopRequest
    from fleetaudit.model import (
        AuditRun,
        Drift,
        HostResult,
        Plan,
        RunInfo,
    )
    from fleetaudit.store.run_folder import RunFolder
    from fleetaudit.store.run_search import StoredRun

NOT_MET, NOT_AUDITED, DRIFT, BUG = 2, 4, 8, 1
CRON_KEEP, CRON_DEADLINE_S = "30d", 4 * 3600.0


@click.command(short_help="Audit the hosts of an inventory.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="Default: unread-close.",
)
@click.option(
    "-t",
    "--tags",
    metavar="LIST",
    default="",
    help="Only what has one of these tags, as in Ansible.",
)
@click.option("--skip-tags", metavar="LIST", default="", help="Not what has one of these tags.")
@connection_options
@click.option(
    "-o", "--output-dir", metavar="DIR", envvar="FLEETAUDIT_OUTPUT_DIR", help="Default: reports."
)
@click.option(
    "--format",
    "formats",
    metavar="LIST",
    default="html",
    show_default=True,
    help=f"What to write beside run.json, of {', '.join(params.RUN_FORMATS)}.",
)
@click.option(
    "--fail-on",
    metavar="LIST",
    default="warning",
    show_default=True,
    help=(
        "Of info, warning, error (a finding as severe makes the status 2) and drift (a change"
        " adds 8)."
    ),
)
@click.option(
    "--waivers",
    metavar="FILE",
    help="Findings that somebody has accepted, with owner, reason and expiry.",
)
@click.option(
    "--baseline",
    metavar="last|RUN|FILE|none",
    shell_complete=completion.complete_runs,
    default="last",
    show_default=True,
    help="The run to compare with; last: the last finished one of the same job.",
)
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=completion.complete_runs,
    help="Finish this run, which was interrupted or killed.",
)
@click.option("--shard", metavar="I/N", help="Only part I of N, by the order of the hosts' names.")
@click.option("-C", "--check", is_flag=True, help="Only say what would run where; connect nowhere.")
@click.option(
    "--keep",
    metavar="30d|N",
    help="Remove runs older than that many days, or all but the newest N.",
)
@click.option(
    "--run-deadline",
    type=params.Seconds(1, 7 * 86400),
    metavar="SECONDS",
    help="Seconds for the whole run; hosts that did not answer by then are not audited.",
)
@click.option(
    "--cron",
    is_flag=True,
    help="Unattended: silent if nothing changed; as if --keep 30d --run-deadline 14400.",
)
@click.option(
    "--notify",
    metavar="COMMAND",
    help="If something changed, run this with the summary on its input.",
)
@click.option(
    "--report-url",
    metavar="BASE",
    help="URL of the output folder, for the links that --cron and --notify print.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only problems.")
@click.option(
    "-v",
    "--verbose",
    count=True,
    help="Print one line per host; -vv: log each stage of each attempt.",
)
@click.pass_context
def run(context: click.Context, /, inventories: tuple[str, ...], **options: object) -> int:
    """Audits every host and writes reports/TIME/report.html.

    INVENTORY is an Ansible inventory, or a list of hosts with a comma in it; without one it is
    inventory.yml. Exit status: 0 all well, 2 expectations not met, 4 some host not audited, 6 both.
    """
    output = params.output_folder(context.params["output_dir"])
    left = None
    if resume := context.params["resume"]:
        left = beginning.find_unfinished_run(resume, output)
        output, inventories = left.path.parent, beginning.resumed_sources(left, inventories)
        options = beginning.resumed_options(left, context, options)
    options = choose_password_sources(options)
    sources = params.inventory_sources(inventories)
    folder = (
        str(Path.cwd()) if context.params["cron"] else ""
    )  # the reader of a mail is in another folder
    return _Run(
        sources, options, output, left, command_line_of(context, sources, options, folder=folder)
    ).conduct()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The options of `run` alone, as click typed them."""

    playbooks: tuple[str, ...]
    tags: str
    skip_tags: str
    output_dir: str | None
    formats: str
    fail_on: str
    waivers: str | None
    baseline: str
    resume: str | None
    shard: str | None
    check: bool
    keep: str | None
    run_deadline: float | None
    cron: bool
    notify: str | None
    report_url: str | None
    quiet: bool
    verbose: int


class _Run:
    """One run, from its words to its status. What can be refused is refused before the first
    connection.
    """

    def __init__(
        self,
        sources: tuple[str, ...],
        options: Mapping[str, object],
        output: Path,
        left: beginning.UnfinishedRun | None,
        command: CommandLine,
    ) -> None:
        from fleetaudit.engine import StopRequest

        self.sources, self.output, self.left, self.stop = sources, output, left, StopRequest()
        self.typed = command
        self.here = Path.cwd()  # it may be gone when the run ends
        self.words, self.connecting = options, ConnectionArguments.taken_from(options)
        own = {field.name: options[field.name] for field in fields(_Options)}
        self.options = _Options(**own)  # type: ignore[arg-type]  # click typed them
        self.formats = params.parse_list(self.options.formats, params.RUN_FORMATS, "--format")
        self.fail_on = params.parse_list(self.options.fail_on, params.FAIL_ON, "--fail-on")
        self.shard = params.parse_shard_option(self.options.shard)
        self.tags, self.skip_tags = (
            params.parse_tags(self.options.tags),
            params.parse_tags(self.options.skip_tags),
        )
        self.keep = params.parse_keep_option(
            self.options.keep or (CRON_KEEP if self.options.cron else None)
        )
        self.notify = news.parse_notify_command(self.options.notify) if self.options.notify else ()
        self.report_url = (
            news.parse_report_url(self.options.report_url) if self.options.report_url else None
        )
        self.notes = list[str]()
        self.started = left.manifest.started if left else ""

    def conduct(self) -> int:
        """Audits, writes the run's folder, tells what is to be told, and returns the exit status."""
        console.set_up_log(self.options.verbose)
        from fleetaudit.app.baseline import annotate_run, choose_baseline, read_waivers
        from fleetaudit.app.planning import plan_text
        from fleetaudit.app.run_output import write_run
        from fleetaudit.store import manifest
        from fleetaudit.store.lock import hold_lock, refuse_if_locked
        from fleetaudit.store.run_search import find_runs

        from .signals import Signals

        if self.options.cron:
            self.connecting.refuse_questions("--cron")
        if not self.options.check:
            refuse_if_locked(self.output)
        loaded, plan = self._planned()
        if self.options.check:
            console.print_result(plan_text(plan))
            return 0
        if self.left:
            manifest.refuse_changed_plan(
                self.left.manifest, plan, __version__, source=str(self.left.path)
            )
        accepted = read_waivers(self.options.waivers, loaded.inventory)
        id_ = self.left.path.name if self.left else ""
        baseline = choose_baseline(self.output, self.options.baseline, self._info(plan, id_))
        with hold_lock(self.output), Signals(self.stop) as signals, self._deadline():
            folder, told = self._begin(plan)
            with folder:
                outcome = _audit(
                    manifest.remaining_plan(plan, told),
                    told.values(),
                    folder,
                    self.stop,
                    self.connecting,
                    self.options,
                    self.typed,
                )
                earlier = find_runs(self.output).finished

                def settle(run: AuditRun) -> AuditRun:
                    run = annotate_run(_with_fleet(run, plan, self.here), baseline, accepted)
                    return self._finished(run, outcome, earlier, signals.status)

                done = write_run(
                    folder,
                    self._bare(
                        plan, manifest.merge_results(plan, told, outcome.results), folder.id
                    ),
                    formats=self.formats,
                    settled=settle,
                    show=lambda comparison: _summary(comparison, self.options),
                )
                whole, comparison, reports = done.run, done.comparison, done.reports
                if not outcome.interrupted:
                    self._publish(whole.run, earlier)
                self._prune(whole, baseline)
        bugs = outcome.bugs + done.bugs
        status = BUG if bugs else signals.status or exit_status(whole, self.fail_on)
        with signals.reporting():
            if self._is_news(
                drift := self._since_last(whole, baseline), interrupted=outcome.interrupted
            ):
                self._send(comparison, drift, self._about(whole.run, reports[0], status))
            if not self.options.cron:
                _show(_summary(comparison, self.options), reports[0], self.options)
        if outcome.interrupted:
            console.print_message(
                f"to finish it:  fleetaudit run --resume {shlex.quote(str(folder.path))}"
            )
        if bugs:
            console.print_message(
                f"{bugs} of the hosts not audited failed because of a bug in fleetaudit; its"
                " traceback is in the log"
            )
        return status

    def _note(self, note: str) -> None:
        """Tells a note about the inventory at once; from cron only where there is something to say
        anyway.
        """
        if self.options.cron:
            self.notes.append(note)
        else:
            console.print_message(note)

    def _planned(self) -> tuple[LoadedInventory, Plan]:
        """Returns the inventory and the plan of this part of the fleet; reads them, and asks for
        passwords.
        """
        from fleetaudit.app.planning import build_plan, read_inventory

        loaded = read_inventory(
            self.sources,
            self.connecting.vault_password_file,
            self.connecting.extra(),
            tell=self._note,
        )
        self.connecting = self.connecting.with_forks_of(loaded.settings)
        options = self.connecting.options(ask=not self.options.check)
        plan = build_plan(
            loaded,
            self.options.playbooks,
            self.connecting.limit,
            options,
            self.tags,
            self.skip_tags,
            connects=not self.options.check,
            tell=self._note,
        )
        if self.options.cron:
            params.close_standard_input()  # not before: whatever wraps the job may pipe it a password
        self.connecting.tell_unused(plan, loaded, options, self._note)
        return loaded, self._part(plan)

    def _part(self, plan: Plan) -> Plan:
        if self.shard is None:
            return plan
        from fleetaudit.playbook.shards import select_shard
        from fleetaudit.text.phrases import count_noun

        part = select_shard(plan, *self.shard)
        if not part.hosts:
            hosts = count_noun(len(plan.hosts), "host")
            raise NothingToDoError(f"--shard {self.options.shard}: none of {hosts} is in this part")
        return part

    def _begin(self, plan: Plan) -> tuple[RunFolder, dict[str, HostResult]]:
        """Returns the open folder of the run, and what it tells already."""
        from fleetaudit.store import manifest
        from fleetaudit.store.run_folder import create_run_folder

        if self.left:
            return self.left.go_on()
        now = clock.current_time()
        self.started = clock.format_rfc3339(now)
        record = beginning.make_manifest(
            plan, self.started, self.sources, self._info(plan, "").job, self.words
        )
        return create_run_folder(self.output, now, manifest.encode_manifest(record)), {}

    @contextlib.contextmanager
    def _deadline(self) -> Iterator[None]:
        """Asks for an early end when the time of the whole run is over, while this lasts."""
        seconds = self.options.run_deadline or (CRON_DEADLINE_S if self.options.cron else None)
        if seconds is None:
            yield
            return
        timer = threading.Timer(
            seconds, self.stop.request, (f"the run's deadline of {seconds:g} s came",)
        )
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _info(self, plan: Plan, id_: str) -> RunInfo:
        from msgspec.structs import replace

        from fleetaudit.app.planning import describe_controller
        from fleetaudit.model import RunInfo
        from fleetaudit.store.jobs import job_name

        now = clock.format_rfc3339(clock.current_time())
        info = RunInfo(
            id=id_,
            started=self.started or now,
            finished=now,
            fleetaudit=__version__,
            playbooks=plan.playbooks,
            controller=describe_controller(),
            inventory=self.sources,
            limit=self.connecting.limit,
            shard=self.options.shard,
            tags=self.tags,
            skip_tags=self.skip_tags,
        )
        return replace(info, job=job_name(info))

    def _bare(self, plan: Plan, hosts: tuple[HostResult, ...], id_: str) -> AuditRun:
        """Returns the run with the findings of single hosts only."""
        from fleetaudit.app.planning import scenario_rows
        from fleetaudit.model import AuditRun

        return AuditRun(run=self._info(plan, id_), scenarios=scenario_rows(plan), hosts=hosts)

    def _finished(
        self, run: AuditRun, outcome: Outcome, earlier: Sequence[StoredRun], signal_status: int
    ) -> AuditRun:
        """Returns the run with its exit status and, unless it was interrupted, its place among the
        `earlier` ones.
        """
        from msgspec.structs import replace

        from fleetaudit.store import latest

        status = (
            BUG if outcome.bugs or has_bug(run) else signal_status or exit_status(run, self.fail_on)
        )
        info = replace(run.run, status=status)
        if not outcome.interrupted:
            info = latest.with_sequence_number(earlier, info, scheduled=self.options.cron)
        return replace(run, run=info)

    def _publish(self, info: RunInfo, earlier: Sequence[StoredRun]) -> None:
        from fleetaudit.store import latest

        note, later_note = (
            (_nobody, _nobody) if self.options.quiet else (console.print_message, self._note)
        )
        latest.update_latest(self.output, earlier, info, note=note, later_note=later_note)

    def _prune(self, run: AuditRun, baseline: Baseline) -> None:
        if self.keep is None:
            return
        from fleetaudit.store.retention import prune

        # The last run is still to be read, for what is new since then.
        used = {path.name for path in (baseline.compared, baseline.last) if path}
        protect = {run.run.id, run.run.baseline or "", Path(self.options.baseline).name} | used
        try:
            pruned = prune(
                self.output,
                self.keep,
                now=clock.current_time(),
                files=registry.FILES.values(),
                protect=protect,
            )
        except OutputError as e:  # the run itself is done and on the disk
            console.print_message(f"fleetaudit: warning: old runs stay: {e}")
            return
        for name in pruned.kept:
            console.print_message(f"fleetaudit: warning: an old run stays: {name}")

    def _since_last(self, run: AuditRun, baseline: Baseline) -> Drift | None:
        """Returns what changed since the last run, None if there is none or no option needs it."""
        return baseline.since_last(run) if self.options.cron or self.notify else None

    def _is_news(self, drift: Drift | None, *, interrupted: bool) -> bool:
        """Returns whether something changed since the last run, or that is unknown, and an option
        needs it.
        """
        if not (self.options.cron or self.notify):
            return False
        return drift is None or not drift.is_unchanged or interrupted

    def _about(self, run: RunInfo, report: Path, status: int) -> news.Notification:
        return news.Notification(
            run=run,
            status=status,
            controller=platform.node() or "localhost",
            folder=self.here,
            report=news.report_address(report, self.report_url),
        )

    def _send(self, comparison: Comparison, drift: Drift | None, about: news.Notification) -> None:
        text = news.change_summary(comparison, drift, about, width=console.width())
        if self.options.cron:
            for note in self.notes:
                console.print_message(note)
            with contextlib.suppress(
                console.ReaderGoneError
            ):  # the run is done and on the disk all the same
                console.print_result(text)
        if self.notify:
            news.run_notify_command(self.notify, text, about.environment())


def _nobody(_note: str) -> None:
    """Ignores a note."""


def has_bug(run: AuditRun) -> bool:
    """Returns whether a host is left out because of a bug in fleetaudit."""
    return any(host.stage == "report" for host in run.hosts)


def exit_status(run: AuditRun, fail_on: tuple[str, ...]) -> int:
    """Returns 0, 2 (an unwaived finding at or above the least severity in `fail_on`), 4 (some host
    not audited) or 6 (both); 8 on top where "drift" is in `fail_on` and something changed since the
    baseline, or nobody can tell.
    """
    from fleetaudit.model import SEVERITIES, NotAudited

    least = min(
        (n for n, severity in enumerate(SEVERITIES) if severity in fail_on), default=len(SEVERITIES)
    )
    short = any(
        f.waived is None and f.severity in SEVERITIES[least:]
        for host in run.hosts
        for f in host.findings
    )
    missing = any(isinstance(host, NotAudited) for host in run.hosts)
    drifted = "drift" in fail_on and run.drift is not None and not run.drift.is_unchanged
    return (NOT_MET if short else 0) | (NOT_AUDITED if missing else 0) | (DRIFT if drifted else 0)


def _audit(
    plan: Plan,
    told: Iterable[HostResult],
    folder: RunFolder,
    stop: StopRequest,
    connecting: ConnectionArguments,
    options: _Options,
    command: CommandLine,
) -> Outcome:
    from fleetaudit.analysis.judge import judge_host
    from fleetaudit.app.activity import Activity
    from fleetaudit.engine import EngineSettings, audit
    from fleetaudit.store.deduplication import judge_and_deduplicate
    from fleetaudit.transport.registry import Transports

    from .progress import Progress

    settings = EngineSettings(
        forks=connecting.forks, host_deadline_s=connecting.host_deadline, retries=connecting.retries
    )
    transports = Transports(accept_file=folder.output / "known_hosts")
    activity = Activity(transports)
    with Progress(
        len(plan.hosts), activity, quiet=options.quiet, verbose=options.verbose > 0
    ) as progress:

        def came(result: HostResult) -> None:
            folder.append(result)
            progress.came(result)

        return audit(
            plan,
            run_command=transports.run,
            settings=settings,
            judge=judge_and_deduplicate(judge_host, told),
            on_result=came,
            stop=stop,
            run_command_for=activity.run_of,
            repeat_command=command.for_host,
        )


def _with_fleet(run: AuditRun, plan: Plan, here: Path) -> AuditRun:
    """Returns the run with the findings that depend on all its hosts, and with all locations."""
    from msgspec.structs import replace

    from fleetaudit.analysis.judge import judge_fleet
    from fleetaudit.app.source_locations import add_locations

    return add_locations(replace(run, hosts=judge_fleet(run.hosts, plan)), plan, here)


def _summary(comparison: Comparison, options: _Options) -> str:
    from fleetaudit.report.terminal import summary

    return summary(comparison, width=console.width(), problems_only=options.quiet)


def _show(text: str, report: Path, options: _Options) -> None:
    if text or not options.quiet:
        with contextlib.suppress(
            console.ReaderGoneError
        ):  # `| head`: the run is done and on the disk all the same
            console.print_report(f"{text}\nReport: {report}\n" if text else f"Report: {report}\n")
