"""The way to a host, looked over up to the experiment: what passed, how fast, where it stopped.
Pure.

`nouns` are the results, `watch` records how far a host came, `visit` makes the result from that,
`missing` says what a run would lack there.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetaudit.analysis.causes import Cause
from fleetaudit.analysis.causes import causes_of as group_failures
from fleetaudit.model import HostPlan, Plan

from .host_check import visit_of, way_to
from .model import (
    JUMP,
    POINTS,
    Examination,
    Missing,
    Point,
    State,
    Step,
    Visit,
    encode,
    json_schema,
)
from .stage_recorder import Told, Watch
from .unmet_needs import USER_NAMESPACES

__all__ = [
    "JUMP",
    "POINTS",
    "Examination",
    "Missing",
    "Point",
    "State",
    "Step",
    "Told",
    "Visit",
    "Watch",
    "causes_of",
    "encode",
    "json_schema",
    "visit_of",
    "way_to",
    "without_experiment",
]


def causes_of(visits: Iterable[Visit]) -> tuple[Cause, ...]:
    """Returns why hosts are not ready, as a run reports it."""
    return group_failures((visit for visit in visits if not visit.ready), _names)[0]


def _names(visit: Visit) -> tuple[str, ...]:
    found = (
        step.found
        for step in visit.steps
        if step.stage == "resolve" and not step.found.startswith(JUMP)
    )
    return visit.name, visit.address, *(address for text in found for address in text.split(", "))


def without_experiment(plan: Plan, asked: Plan) -> Plan:
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
