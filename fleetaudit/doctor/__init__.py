"""The way to a host, looked over up to the experiment: what passed, how fast, where it stopped. Pure.

`nouns` is what is told, `watch` takes down how far a host came, `visit` makes one of the other, `causes` groups hosts.
"""

from __future__ import annotations

from ..model import HostPlan, Plan
from .causes import Cause, causes_of
from .nouns import JUMP, POINTS, Examination, Point, State, Step, Visit, encode, json_schema
from .visit import visit_of, way_to
from .watch import Told, Watch

__all__ = [
    "JUMP",
    "POINTS",
    "Cause",
    "Examination",
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


def without_experiment(plan: Plan) -> Plan:
    """Returns the same hosts, asked for nothing: the very same program runs, and only says where it is."""
    hosts = (
        HostPlan(
            name=host.name,
            groups=host.groups,
            target=host.target,
            scenarios=(),
            trials=1,
            isolation="auto",
            sysctls_collect=(),
            sysctls_expect={},
        )
        for host in plan.hosts
    )
    return Plan(playbooks=(), hosts=tuple(hosts))
