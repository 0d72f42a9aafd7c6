"""The way to a host, looked over up to the experiment: what passed, how fast, where it stopped.
Pure.

`nouns` are the results, `watch` records how far a host came, `visit` makes the result from that,
`missing` says what a run would lack there.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetaudit.analysis.causes import Cause
from fleetaudit.analysis.causes import group_by_cause as group_failures
from fleetaudit.analysis.stages import CHECK_STAGES, CheckStage
from fleetaudit.model import HostPlan, Plan

from .host_check import build_host_check, describe_connection
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
from .unmet_needs import USER_NAMESPACES

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


def failure_causes(visits: Iterable[HostCheck]) -> tuple[Cause, ...]:
    """Returns why hosts are not ready, as a run reports it."""
    return group_failures((visit for visit in visits if not visit.ready), _names)[0]


def _names(visit: HostCheck) -> tuple[str, ...]:
    found = (
        step.found
        for step in visit.steps
        if step.stage == "resolve" and not step.found.startswith(JUMP_HOST)
    )
    return visit.name, visit.address, *(address for text in found for address in text.split(", "))


def plan_without_trials(plan: Plan, asked: Plan) -> Plan:
    """Returns the hosts of `plan`, asked for no trials of the scenarios that `asked` has for them.

    The very same program runs, and only says where it is and what it could not run.
    """
    scenarios = {host.name: host for host in asked.hosts}
    hosts = (
        HostPlan(
            name=host.name,
            groups=host.groups,
            target=host.target,
            scenarios=scenarios[host.name].scenarios,
            trials=0,
            isolation=scenarios[host.name].isolation,
            sysctls_collect=tuple(USER_NAMESPACES),
            sysctls_expect={},
        )
        for host in plan.hosts
    )
    return Plan(playbooks=(), hosts=tuple(hosts))
