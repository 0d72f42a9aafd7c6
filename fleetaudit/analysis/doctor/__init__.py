"""Connectivity check: every stage of a run except the experiment, host by host. Pure.

`model` has the results, `stage_recorder` records which stages a host passed, `stage_results` makes
the result of every stage from that, `host_check` the result of the host, and `missing_verdicts`
finds the verdicts that a run would not have there.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetaudit.analysis.causes import Cause, group_by_cause
from fleetaudit.analysis.stages import CHECK_STAGES, CheckStage
from fleetaudit.model import HostPlan, Plan, by_name

from .connection import describe_connection
from .host_check import build_host_check
from .missing_verdicts import USER_NAMESPACES
from .model import (
    JUMP_HOST,
    DoctorReport,
    HostCheck,
    MissingVerdicts,
    StageResult,
    State,
    encode,
    json_schema,
)
from .stage_recorder import StageRecord, StageRecorder

__all__ = [
    "CHECK_STAGES",
    "JUMP_HOST",
    "CheckStage",
    "DoctorReport",
    "HostCheck",
    "MissingVerdicts",
    "StageRecord",
    "StageRecorder",
    "StageResult",
    "State",
    "build_host_check",
    "describe_connection",
    "encode",
    "failure_causes",
    "json_schema",
    "plan_without_trials",
]


def failure_causes(checks: Iterable[HostCheck]) -> tuple[Cause, ...]:
    """Returns why hosts are not ready, grouped as a run groups its failures.

    Hosts that are ready do not count. The names and addresses of a host are masked in a reason
    without a kind, so that equal reasons are one cause.
    """
    causes, _ = group_by_cause((check for check in checks if not check.ready), _names)
    return causes


def _names(check: HostCheck) -> list[str]:
    """Returns the names and addresses of a host that may be in its reason."""
    names = [check.name, check.address]
    for step in check.steps:
        if step.stage == "resolve" and not step.found.startswith(JUMP_HOST):
            names += step.found.split(", ")
    return names


def plan_without_trials(plan: Plan, playbook_plan: Plan) -> Plan:
    """Returns the hosts of `plan`, with no trials of their scenarios in `playbook_plan`.

    The same probe runs, and reports only where it is and what it could not run. `plan` selects the
    hosts of the check, and `playbook_plan` has at least these. The sysctls that keep users from
    namespaces are read, and nothing is expected of them.
    """
    planned = by_name(playbook_plan.hosts)
    hosts = (_without_trials(host, planned[host.name]) for host in plan.hosts)
    return Plan(playbooks=(), hosts=tuple(hosts))


def _without_trials(host: HostPlan, planned: HostPlan) -> HostPlan:
    """Returns a host with the scenarios of `planned` and no trials of them."""
    return HostPlan(
        name=host.name,
        groups=host.groups,
        target=host.target,
        scenarios=planned.scenarios,
        trials=0,
        isolation=planned.isolation,
        sysctls_collect=tuple(USER_NAMESPACES),
        sysctls_expect={},
    )
