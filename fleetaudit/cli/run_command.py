"""`fleetaudit run` and its kin: audits the hosts of an inventory and writes a run folder."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fleetaudit.app.audit_request import AuditRequest, RunOptions
from fleetaudit.app.command_line import make_command_line
from fleetaudit.app.connection_arguments import ConnectionArguments, choose_password_sources
from fleetaudit.app.notify import change_summary, run_notify_command
from fleetaudit.app.resume import UnfinishedRun, find_unfinished_run

from . import console, params
from .garbage import no_garbage_collection
from .log import set_up_log
from .reporter import ConsoleReporter

if TYPE_CHECKING:
    from fleetaudit.app.audit import FinishedAudit, PreparedRun
    from fleetaudit.app.options import CommandOptions
    from fleetaudit.app.render import Comparison
    from fleetaudit.model import Watch

    from .signals import Signals

CRON_KEEP, CRON_DEADLINE_S = "30d", 4 * 3600.0
DEFAULT_MODE = 0o600


class RunCommand:
    """One `fleetaudit run`, from its options to its exit status."""

    def __init__(self, options: CommandOptions, inventories: tuple[str, ...]) -> None:
        output = params.output_folder(cast("str | None", options["output_dir"].value))
        resumed: UnfinishedRun | None = None
        if resume := options["resume"].value:
            resumed = find_unfinished_run(str(resume), output)
            output, inventories = resumed.path.parent, resumed.sources(inventories)
            options = resumed.options(options)
        options = choose_password_sources(options)
        values = options.values()
        self.is_cron, self.is_check = bool(values["cron"]), bool(values["check"])
        self.is_quiet, self.verbose = bool(values["quiet"]), cast("int", values["verbose"])
        notify = values["notify"]
        self.notify = params.parse_notify_command(str(notify)) if notify else ()
        self.request = self._request(
            options, params.inventory_sources(inventories), output, resumed
        )
        self.reporter = ConsoleReporter(
            quiet=self.is_quiet, verbose=self.verbose > 0, keeps_notes=self.is_cron
        )

    def _request(
        self,
        options: CommandOptions,
        sources: tuple[str, ...],
        output: Path,
        resumed: UnfinishedRun | None,
    ) -> AuditRequest:
        """Returns the request of the run; raises `UsageError` for what makes no sense in it."""
        # Whoever reads the mail of a job is in another folder.
        folder = str(Path.cwd()) if self.is_cron else ""
        return AuditRequest(
            sources=sources,
            output=output,
            run=self._run_options(options),
            connection=ConnectionArguments.from_options(options),
            command_options=options,
            command_line=make_command_line(options, sources, folder=folder),
            resumed=resumed,
        )

    def _run_options(self, options: CommandOptions) -> RunOptions:
        """Returns the options of `run` that do not concern connections, parsed."""
        values = options.values()

        def text(name: str) -> str | None:
            return cast("str | None", values.get(name))

        report_url = text("report_url")
        cron_keep, cron_deadline = (CRON_KEEP, CRON_DEADLINE_S) if self.is_cron else (None, None)
        return RunOptions(
            playbooks=cast("tuple[str, ...]", values.get("playbooks", ())),
            watch=_watch_of(values),
            formats=params.parse_formats(text("formats") or ""),
            fail_on=params.parse_fail_on(text("fail_on") or ""),
            shard=params.parse_shard_option(text("shard")),
            shard_text=text("shard"),
            serial=params.parse_serial_option(text("serial")),
            max_fail_percentage=cast("float | None", values["max_fail_percentage"]),
            tags=params.parse_tags(text("tags") or ""),
            skip_tags=params.parse_tags(text("skip_tags") or ""),
            keep=params.parse_keep_option(text("keep") or cron_keep),
            waivers=text("waivers"),
            baseline=text("baseline") or "",
            deadline_s=cast("float | None", values["run_deadline"]) or cron_deadline,
            scheduled=self.is_cron,
            report_latest=not self.is_quiet,
            needs_drift=self.is_cron or bool(self.notify),
            report_url=params.parse_report_url(report_url) if report_url else None,
            engine=params.parse_engine(text("engine")),
            publish=params.parse_publish_folder(text("publish")),
            publish_mode=params.parse_publish_mode(str(values["publish_mode"])),
            asks_services=options.verb == "services",
        )

    def run(self) -> int:
        """Audits, prints the result, and returns the exit status."""
        set_up_log(self.verbose)
        with no_garbage_collection():
            from fleetaudit.app.audit import StopRequest, execute_run
            from fleetaudit.app.exit_status import plan_status
            from fleetaudit.app.planning import render_plan

            from .signals import Signals

            prepared = self._prepare()
        if self.is_check:
            console.print_result(render_plan(prepared.plan, self.request.run.serial))
            return plan_status(prepared.plan)
        stop = StopRequest()
        with Signals(stop) as signals:
            finished = execute_run(
                prepared,
                self.reporter,
                stop,
                signal_status=lambda: signals.status,
                render=self._summary,
            )
        self._print(finished, signals)
        return finished.status

    def _prepare(self) -> PreparedRun:
        """Reads what the run needs, and asks for passwords."""
        from fleetaudit.app.audit import prepare_run

        from .password_prompt import prompt_password

        if self.is_cron:
            self.request.connection.refuse_prompts("--cron")
        prepared = prepare_run(
            self.request,
            self.reporter,
            prompt=None if self.is_check else prompt_password,
            connects=not self.is_check,
        )
        if self.is_cron:
            params.close_standard_input()  # not before: a password may be piped to the job
        return prepared

    def _summary(self, comparison: Comparison) -> str:
        """Returns the closing text."""
        from fleetaudit.app.render import render_summary

        return render_summary(comparison, width=console.width(), problems_only=self.is_quiet)

    def _print(self, finished: FinishedAudit, signals: Signals) -> None:
        """Prints and sends what there is to say about the finished run.

        First the changes and the summary, then what the user must know or do, last, so that it is
        still on the screen: a problem, how to finish the run, and hosts that a bug has cost.
        """
        with signals.reporting():
            if finished.changed:
                self._send_changes(finished)
            if not self.is_cron:
                self._print_summary(finished)
        if finished.problem:
            console.print_message(f"fleetaudit: {finished.problem}")
        if finished.not_published:
            self._print_how_to_publish(finished)
        if finished.interrupted or finished.problem:
            folder = shlex.quote(str(finished.folder))
            verb = self.request.command_options.verb
            console.print_message(f"to finish it:  fleetaudit {verb} --resume {folder}")
        if finished.bugs:
            console.print_message(
                f"{finished.bugs} of the hosts not audited failed because of a bug in fleetaudit;"
                " its traceback is in the log"
            )

    def _print_how_to_publish(self, finished: FinishedAudit) -> None:
        """Prints why the run was not published, and the command that does only that."""
        run = self.request.run
        command = ["fleetaudit", "publish", str(run.publish), "-o", str(self.request.output)]
        if run.publish_mode != DEFAULT_MODE:
            command += ("--publish-mode", f"{run.publish_mode:04o}")
        console.print_message(f"fleetaudit: not published: {finished.not_published}")
        console.print_message(f"the run is complete; to publish it:  {shlex.join(command)}")

    def _send_changes(self, finished: FinishedAudit) -> None:
        """Prints one screen from cron, and runs the command of --notify."""
        notification = finished.notification
        text = change_summary(finished.comparison, notification, width=console.width())
        if self.is_cron:
            self.reporter.print_notes()
            with contextlib.suppress(console.ReaderGoneError):  # the run is done and on the disk
                console.print_result(text)
        if self.notify:
            run_notify_command(self.notify, text, console.print_message, notification.environment())

    def _print_summary(self, finished: FinishedAudit) -> None:
        """Prints the closing text and the report; with -q only if there are problems."""
        text = self._summary(finished.comparison)
        if self.is_quiet and not text:
            return
        report = "".join(f"Report: {path}\n" for path in finished.written.reports[:1])
        if finished.site:
            report += f"Site: {finished.site.index}\n"
        with contextlib.suppress(console.ReaderGoneError):  # `| head`: the run is on the disk
            console.print_report(f"{text}\n{report}" if text else report)


def _watch_of(values: Mapping[str, object]) -> Watch | None:
    """Returns what `fleetaudit watch` asks, None for a command without its options."""
    if "peers" not in values:
        return None
    from fleetaudit.model import Watch

    return Watch(seconds=cast("float", values["seconds"]), peers=bool(values["peers"]))
