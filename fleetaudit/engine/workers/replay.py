"""Makes the results of hosts from the reports of workers, with the engine itself.

A report takes the place of the connection: the engine decodes and judges it as if the host had
answered here, so every rule about results holds for hosts behind workers, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from fleetaudit.engine.control import (
    EngineSettings,
    JudgeHost,
    Outcome,
    RepeatCommand,
    RunCommand,
    StopRequest,
)
from fleetaudit.engine.failures import not_audited
from fleetaudit.engine.scheduler import audit
from fleetaudit.errors import FailureKind, rerun_hint
from fleetaudit.model import HostPlan, HostResult, NotAudited, Plan, Target
from fleetaudit.probe.offer import Offer
from fleetaudit.transport import Deadline, Limits, Output

from .messages import HostReport, Printed

MISSING = "worker lost: it ended without a report about this host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """Where results go, and what completes them: as the arguments of `engine.audit`."""

    settings: EngineSettings
    judge: JudgeHost
    on_result: Callable[[HostResult], None]
    repeat_command: RepeatCommand | None = None

    def report(self, hosts: Sequence[HostPlan], reports: Mapping[str, HostReport]) -> Outcome:
        """Returns the results of hosts, from the report of each; `on_result` gets them, too.

        A host without a report is not audited: its worker is lost.
        """
        known = [host if host.name in reports else lost(host, MISSING) for host in hosts]
        return self._audit(known, _Replay(reports).run_command_for)

    def report_known(self, hosts: Sequence[HostPlan]) -> Outcome:
        """Returns the results of hosts whose target says already why they are not audited."""
        return self._audit(hosts, _Replay({}).run_command_for)

    def _audit(
        self, hosts: Sequence[HostPlan], run_command_for: Callable[[HostPlan], RunCommand]
    ) -> Outcome:
        """Has the engine audit hosts whose answers are here already."""
        # A request of its own: what is here is kept, also while the run stops.
        return audit(
            Plan(playbooks=(), hosts=tuple(hosts)),
            run_command=_no_command,
            run_command_for=run_command_for,
            settings=self.settings,
            judge=self.judge,
            on_result=self.on_result,
            stop=StopRequest(),
            repeat_command=self.repeat_command,
        )


def lost(host: HostPlan, reason: str) -> HostPlan:
    """Returns the host as one whose worker is lost; a run that is resumed audits it."""
    hint = rerun_hint("-l", host.name)
    return without_target(host, "interrupted", reason, hint, kind="worker lost")


def without_target(
    host: HostPlan, stage: str, reason: str, hint: str, *, kind: FailureKind
) -> HostPlan:
    """Returns the host as one that cannot be audited, for this reason."""
    result: NotAudited = not_audited(host, stage, reason, hint, kind=kind)
    return msgspec.structs.replace(host, target=result)


def _no_command(
    target: Target, command: str, stdin: Offer, deadline: Deadline, limits: Limits
) -> Output:
    """Takes the place of a transport that is never used."""
    raise AssertionError("every host has a report or no target")


class _Replay:
    """The reports of one batch, as a transport."""

    def __init__(self, reports: Mapping[str, HostReport]) -> None:
        self._reports = reports

    def run_command_for(self, host: HostPlan) -> RunCommand:
        """Returns the function that returns the output of a host, or raises its error."""
        found = self._reports[host.name].found

        def replay(
            target: Target, command: str, stdin: Offer, deadline: Deadline, limits: Limits
        ) -> Output:
            if isinstance(found, Printed):
                return found.as_output()
            raise found.as_error()

        return replay
