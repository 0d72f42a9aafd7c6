"""Compares what was observed with what the playbook expects; each difference is a finding. Pure.

Rules:
- An observation is never changed: a verdict stands beside it, never in its place.
- Only what is known can meet an expectation; what is unknown is a warning at most.
- An expectation counts only where its `when` applies.
- `judge_host` is for one host, `judge_fleet` for what only all hosts together show. Both may be
  repeated: each replaces its own findings.
- `HostJudge` is `judge_host` for the hosts of one run: those that share observations (the same
  object) share their findings, which are made once.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fleetaudit.model import Audited, Finding, HostPlan

from .exposure import judge_exposure
from .findings import expectation_ids, is_unknown, severity_order
from .fleet import is_finding_of_fleet, is_of_fleet, judge_fleet
from .scenarios import (
    ExpectationStatus,
    ScenarioFindings,
    describe_endings,
    expectation_status,
    judge_scenarios,
)
from .services import judge_services, service_expectations
from .sysctls import judge_sysctls
from .watch import NOT_WATCHED, judge_watch, program_id

__all__ = [
    "NOT_WATCHED",
    "ExpectationStatus",
    "HostJudge",
    "describe_endings",
    "expectation_status",
    "is_unknown",
    "judge_fleet",
    "judge_host",
    "program_id",
]


class HostJudge:
    """Judges the hosts of one run as `judge_host` does. Threads may share it."""

    def __init__(self) -> None:
        self._scenarios = ScenarioFindings()

    def __call__(self, audited: Audited, plan: HostPlan) -> Audited:
        """Returns `audited` with the findings that follow from `plan`; see `judge_host`."""
        return _with_findings(audited, plan, self._scenarios.find(audited, plan))


def judge_host(audited: Audited, plan: HostPlan) -> Audited:
    """Returns `audited` with the findings that follow from `plan`, the most severe first, then by
    id. Earlier findings are replaced, except those of `judge_fleet`.

    `plan` is the plan of this host: the scenarios that it ran, and what the playbook expects of
    them, of its sysctls, production numbers and services, and for how long it was watched. Also set
    are the ids of the expectations that apply to the host, met or not
    ("sysctl:net.ipv4.tcp_rfc1337"); those of scenarios are not among them, because the observations
    of the host name the scenarios.
    """
    return _with_findings(audited, plan, judge_scenarios(audited, plan))


def _with_findings(audited: Audited, plan: HostPlan, scenarios: Iterable[Finding]) -> Audited:
    """Returns a host with the findings of its scenarios and all others."""
    found = [
        *scenarios,
        *judge_sysctls(audited, plan),
        *judge_exposure(audited, plan),
        *judge_watch(audited, plan),
        *judge_services(audited, plan),
        *filter(is_finding_of_fleet, audited.findings),
    ]
    expectations = (
        *expectation_ids("sysctl", plan.sysctls_expect, audited),
        *expectation_ids("exposure", plan.exposure_expect, audited),
        *expectation_ids("watch", plan.watch_expect, audited),
        *([NOT_WATCHED] if plan.watch else ()),
        *service_expectations(audited, plan),
        *filter(is_of_fleet, audited.expectations),
    )
    found.sort(key=severity_order)
    return msgspec.structs.replace(audited, expectations=expectations, findings=tuple(found))
