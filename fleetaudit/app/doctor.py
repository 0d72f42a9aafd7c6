"""Checks every stage of an audit except the experiment, and reports where hosts are not ready."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from fleetaudit import __version__
from fleetaudit.analysis.doctor import (
    DoctorReport,
    HostCheck,
    StageRecorder,
    build_host_check,
    plan_without_trials,
)
from fleetaudit.analysis.doctor import encode as encode_report
from fleetaudit.engine import Outcome, RunCommand, StopRequest, audit
from fleetaudit.model import (
    Audited,
    HostPlan,
    HostResult,
    NoTarget,
    Plan,
    SshTarget,
    Target,
    by_name,
)
from fleetaudit.probe.offer import Offer
from fleetaudit.report.doctor import host_check_text
from fleetaudit.report.doctor import progress as check_progress
from fleetaudit.report.doctor_table import host_check_table
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports

from . import clock
from .activity import Activity
from .command_line import CommandLine
from .connection_arguments import (
    ConnectionArguments,
    PasswordReader,
    PromptPassword,
    report_unused_options,
)
from .options import CommandOptions
from .planning import HostSelection, build_plan, read_inventory, read_playbooks
from .reporter import Reporter, ignore_message

NOT_READY = 4
"""The exit status if some host is not ready."""
_ACCEPTED = (
    "fleetaudit: note: host keys that were seen for the first time were accepted for this check"
    " only; none was written"
)

__all__ = [
    "NOT_READY",
    "DoctorRequest",
    "FinishedCheck",
    "PreparedCheck",
    "StopRequest",
    "check_hosts",
    "encode_report",
    "prepare_check",
]


class DoctorRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to check: inventories, playbooks and how hosts are reached."""

    sources: tuple[str, ...]
    playbooks: tuple[str, ...]
    connection: ConnectionArguments
    command_options: CommandOptions
    command_line: CommandLine


class FinishedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The report of all hosts, and how many of them a bug in fleetaudit cost."""

    report: DoctorReport
    bugs: int
    next_command: str
    """The command that audits the same hosts."""

    def text(self, *, width: int, problems_only: bool) -> str:
        """Returns one host in detail, several as a table; "" if there are no problems to show.

        `width` is in columns; `problems_only` leaves out hosts that are ready.
        """
        match self.report.hosts:
            case (check,) if problems_only and check.ready:
                return ""
            case (check,):
                return host_check_text(check, width=width, next_=self.next_command)
            case _:
                return host_check_table(
                    self.report, width=width, next_=self.next_command, problems_only=problems_only
                )


class PreparedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose files are read: its plan without trials, and its options."""

    request: DoctorRequest
    connection: ConnectionArguments
    plan: Plan
    started: str


def prepare_check(
    request: DoctorRequest, reporter: Reporter, *, prompt: PromptPassword | None
) -> PreparedCheck:
    """Reads the inventories, playbooks and passwords of a request, and makes the plan.

    The plan has every host of the limit, also those that no play of the named playbooks matches.
    `prompt` asks for passwords, None if nobody can be asked. All notes go to `reporter` as
    messages. Raises as `audit.prepare_run`, but an output folder does not matter.
    """
    started = clock.format_rfc3339(clock.current_time())
    connection = request.connection
    loaded = read_inventory(
        request.sources,
        connection.vault_password_file,
        connection.parsed_extra_vars(),
        no_exec=connection.no_exec,
        report=reporter.message,
    )
    connection = connection.with_configured_forks(loaded.settings, request.command_options)
    reader = PasswordReader(request.command_options, prompt, reporter.message)
    options = reader.connection_options(connection)
    selection = HostSelection(limit=connection.limit)
    plan = build_plan(loaded, read_playbooks(()), selection, options, report=reporter.message)
    report_unused_options(plan, loaded, options, request.command_options, reporter.message)
    named = plan
    if request.playbooks:
        named = build_plan(loaded, read_playbooks(request.playbooks), selection, options)
    return PreparedCheck(
        request=request,
        connection=connection,
        plan=plan_without_trials(plan, named),
        started=started,
    )


def check_hosts(
    prepared: PreparedCheck,
    reporter: Reporter,
    stop: StopRequest,
    *,
    on_check: Callable[[str], None] = ignore_message,
) -> FinishedCheck:
    """Checks every host of the plan; `on_check` gets a line of text for each host as it comes.

    Nothing is written: a host key that is accepted is accepted for this check only, which
    `reporter` says. `stop` ends the check early; hosts without an answer are then not ready. What
    is wrong with a host is its check and is never raised.
    """
    request = prepared.request
    fleet = _FleetCheck(prepared, on_check)
    outcome = fleet.run(reporter, stop)
    if fleet.accepted_a_key():
        reporter.message(_ACCEPTED)
    report = DoctorReport(
        fleetaudit=__version__,
        started=prepared.started,
        inventory=request.sources,
        limit=prepared.connection.limit,
        hosts=tuple(fleet.checks[host.name] for host in prepared.plan.hosts),
    )
    next_command = request.command_line.line(prepared.connection.limit, verb="run")
    return FinishedCheck(report=report, bugs=outcome.bugs, next_command=next_command)


class _FleetCheck(msgspec.Struct):
    """The check of every host of a plan; `checks` has the hosts that are done, by name."""

    prepared: PreparedCheck
    on_check: Callable[[str], None]
    checks: dict[str, HostCheck] = msgspec.field(default_factory=dict)

    def run(self, reporter: Reporter, stop: StopRequest) -> Outcome:
        """Checks the hosts; fills `checks`."""
        plan, repeat = self.prepared.plan, self.prepared.request.command_line.for_host
        recorders = {host.name: StageRecorder(time.monotonic) for host in plan.hosts}
        hosts = by_name(plan.hosts)
        transports = _load_transports(plan)
        activity = Activity(transports)
        with reporter.progress(len(hosts), activity) as show_result:

            def take_result(result: HostResult) -> None:
                name = result.name
                check = build_host_check(
                    hosts[name],
                    result,
                    recorders[name].record(),
                    lambda option: repeat(name, (option,)),
                )
                self.checks[name] = check
                activity.ended(name)
                show_result(result)
                self.on_check(check_progress(check))

            return audit(
                plan,
                run_command=transports.run,
                settings=self.prepared.connection.engine_settings(),
                judge=_judge_nothing,
                on_result=take_result,
                stop=stop,
                run_command_for=lambda host: _recorded(activity, host, recorders[host.name]),
                repeat_command=repeat,
            )

    def accepted_a_key(self) -> bool:
        """Returns whether a host key may have been seen for the first time and accepted."""
        return any(map(self._may_have_accepted, self.prepared.plan.hosts))

    def _may_have_accepted(self, host: HostPlan) -> bool:
        """Returns whether the host key of one host may have been accepted."""
        target = host.target
        if not isinstance(target, SshTarget) or target.host_key_policy != "accept-new":
            return False
        steps = self.checks[host.name].steps
        return any(step.stage == "host key" and step.state == "passed" for step in steps)


def _load_transports(plan: Plan) -> Transports:
    """Returns the transports, after the imports that are slow: they must not count as time of a
    host.
    """
    transports = Transports()
    targets = (host.target for host in plan.hosts)
    transports.preload(target for target in targets if not isinstance(target, NoTarget))
    return transports


def _recorded(activity: Activity, host: HostPlan, recorder: StageRecorder) -> RunCommand:
    """Returns the function that runs a command on a host; `recorder` records the stages."""
    inner = activity.runner_for(host, recorder.passed)

    def run(
        target: Target, command: str, stdin: Offer, deadline: Deadline, limits: Limits
    ) -> Output:
        recorder.begin()
        try:
            return inner(target, command, stdin, deadline, limits)
        finally:
            recorder.end()

    return run


def _judge_nothing(host: Audited, _plan: HostPlan) -> Audited:
    """Returns the host as it is: nothing is expected, because no scenario runs."""
    return host
