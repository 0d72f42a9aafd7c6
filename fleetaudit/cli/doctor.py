"""`fleetaudit doctor`: goes the way to every host, up to the experiment, and says where it stops
and what to type.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import click

from fleetaudit import __version__
from fleetaudit.app import clock
from fleetaudit.app.command_line import CommandLine, command_line_of

from . import console, params
from .connection_options import ConnectionArguments, choose_password_sources, connection_options

if TYPE_CHECKING:
    from fleetaudit.analysis.doctor import DoctorReport, HostCheck, StageRecorder
    from fleetaudit.app.activity import Activity
    from fleetaudit.engine import Outcome, RunCommand
    from fleetaudit.model import (
        Audited,
        HostPlan,
        HostResult,
        Plan,
        Target,
    )
    from fleetaudit.transport import Deadline, Limits, Output
    from fleetaudit.transport.registry import Transports

NOT_READY, BUG = 4, 1
_ACCEPTED = (
    "fleetaudit: note: host keys that are met for the first time were accepted for this check"
    " alone; none was written"
)


@click.command(short_help="Check that every host can be audited.")
@click.argument("inventories", metavar="[INVENTORY]...", nargs=-1)
@click.option(
    "-p",
    "--playbook",
    "playbooks",
    metavar="PLAYBOOK",
    multiple=True,
    help="Default: unread-close.",
)
@connection_options
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True
)
@click.option("-q", "--quiet", is_flag=True, help="Only the hosts that are not ready.")
@click.option(
    "-v",
    "--verbose",
    count=True,
    help="Print one line per host; -vv: log each stage of each attempt.",
)
@click.pass_context
def doctor(
    context: click.Context,
    /,
    inventories: tuple[str, ...],
    playbooks: tuple[str, ...],
    format_: str,
    quiet: bool,
    verbose: int,
    **options: object,
) -> int:
    """Checks every stage of a run except the experiment; where one fails, prints the next command
    to type.

    Shows one host in detail, several hosts as a table, and what a run would lack: scenarios that
    need a packet capture, a private network namespace or more rights. Writes nothing, neither here
    nor on the hosts. The options are those of `run`. Exit status: 0 every host is ready, 4 some
    host is not.
    """
    command = command_line_of(
        context, params.inventory_sources(inventories), {**options, "playbooks": playbooks}
    )
    connecting = ConnectionArguments.taken_from(choose_password_sources(options))
    console.set_up_log(verbose)
    return _Doctor(command, connecting, playbooks, quiet=quiet, verbose=verbose > 0).conduct(
        format_
    )


class _Doctor:
    """One examination, from its words to its status."""

    def __init__(
        self,
        command: CommandLine,
        connecting: ConnectionArguments,
        playbooks: tuple[str, ...],
        *,
        quiet: bool,
        verbose: bool,
    ) -> None:
        from fleetaudit.engine import StopRequest

        self.typed, self.connecting, self.quiet, self.verbose = command, connecting, quiet, verbose
        self.playbooks = playbooks
        self.stop = StopRequest()

    def conduct(self, format_: str) -> int:
        """Visits every host, tells what is to be told, and returns the exit status."""
        from fleetaudit.analysis.doctor import DoctorReport, encode

        from .signals import Signals

        started = clock.format_rfc3339(clock.current_time())
        plan = self._plan()
        with Signals(self.stop) as signals:
            outcome, visits = self._visit(plan)
        self._say_what_was_accepted(plan, visits)
        examination = DoctorReport(
            fleetaudit=__version__,
            started=started,
            inventory=self.typed.sources,
            limit=self.connecting.limit,
            hosts=tuple(visits[host.name] for host in plan.hosts),
        )
        with signals.reporting():
            if format_ == "json":
                console.print_bytes(encode(examination))
            else:
                console.print_report(self._text(examination))
        if outcome.bugs:
            console.print_message(
                f"{outcome.bugs} of the hosts met a bug in fleetaudit; its traceback is in the log"
            )
            return BUG
        return signals.status or (0 if examination.ready else NOT_READY)

    def _plan(self) -> Plan:
        from fleetaudit.analysis.doctor import plan_without_trials
        from fleetaudit.app.planning import build_plan, read_inventory

        connecting = self.connecting
        loaded = read_inventory(
            self.typed.sources,
            connecting.vault_password_file,
            connecting.extra(),
            tell=console.print_message,
        )
        self.connecting = connecting.with_forks_of(loaded.settings)
        options = connecting.options()
        plan = build_plan(loaded, (), connecting.limit, options, tell=console.print_message)
        connecting.tell_unused(plan, loaded, options, console.print_message)
        asked = (
            build_plan(loaded, self.playbooks, connecting.limit, options)
            if self.playbooks
            else plan
        )
        return plan_without_trials(plan, asked)

    def _visit(self, plan: Plan) -> tuple[Outcome, dict[str, HostCheck]]:
        from fleetaudit.analysis.doctor import HostCheck, StageRecorder, build_host_check
        from fleetaudit.app.activity import Activity
        from fleetaudit.engine import EngineSettings, audit
        from fleetaudit.report.doctor import progress

        from .progress import Progress

        watches = {host.name: StageRecorder(time.monotonic) for host in plan.hosts}
        hosts = {host.name: host for host in plan.hosts}
        visits = dict[str, HostCheck]()
        transports = _warm(plan)
        activity = Activity(transports)
        with Progress(
            len(hosts), activity, quiet=self.quiet, verbose=False, missing="not ready"
        ) as shown:

            def came(result: HostResult) -> None:
                again = partial(self._again, result.name)
                visit = build_host_check(
                    hosts[result.name], result, watches[result.name].record(), again
                )
                visits[result.name] = visit
                shown.came(result)
                if self.verbose:
                    console.print_message(progress(visit))

            outcome = audit(
                plan,
                run_command=transports.run,
                settings=EngineSettings(
                    forks=self.connecting.forks,
                    host_deadline_s=self.connecting.host_deadline,
                    retries=self.connecting.retries,
                ),
                judge=_unjudged,
                on_result=came,
                stop=self.stop,
                run_command_for=lambda host: _watched(activity, host, watches[host.name]),
                repeat_command=self.typed.for_host,
            )
        return outcome, visits

    def _again(self, host: str, option: str) -> str:
        return self.typed.for_host(host, (option,))

    def _text(self, examination: DoctorReport) -> str:
        from fleetaudit.report.doctor import host_check_text
        from fleetaudit.report.doctor_table import host_check_table

        next_ = self.typed.line(self.connecting.limit, verb="run")
        match examination.hosts:
            case (visit,) if self.quiet and visit.ready:
                return ""
            case (visit,):
                return host_check_text(visit, width=console.width(), next_=next_)
            case _:
                return host_check_table(
                    examination, width=console.width(), next_=next_, problems_only=self.quiet
                )

    def _say_what_was_accepted(self, plan: Plan, visits: Mapping[str, HostCheck]) -> None:
        from fleetaudit.model import SshTarget

        for host in plan.hosts:
            if isinstance(host.target, SshTarget) and host.target.host_key_policy == "accept-new":
                steps = visits[host.name].steps
                if any(step.stage == "host key" and step.state == "passed" for step in steps):
                    console.print_message(_ACCEPTED)
                    return


def _warm(plan: Plan) -> Transports:
    """Returns the transports with everything imported that is slow to import, before any host is timed."""
    from fleetaudit.model import NoTarget
    from fleetaudit.transport.registry import Transports

    transports = Transports()
    targets = (host.target for host in plan.hosts)
    transports.preload(target for target in targets if not isinstance(target, NoTarget))
    return transports


def _watched(activity: Activity, host: HostPlan, watch: StageRecorder) -> RunCommand:
    """Returns what runs a command on one host, and has `watch` take down how far it comes."""
    inner = activity.run_of(host, watch.passed)

    def run(
        target: Target, command: str, stdin: bytes, deadline: Deadline, limits: Limits
    ) -> Output:
        watch.begin()
        try:
            return inner(target, command, stdin, deadline, limits)
        finally:
            watch.end()

    return run


def _unjudged(host: Audited, plan: HostPlan) -> Audited:
    """Nothing is expected of a host that was asked for nothing."""
    return host
