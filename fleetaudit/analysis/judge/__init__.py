"""Compares what was observed with what the playbook expects; each difference is a finding. Pure.

Rules:
- An observation is never changed: a verdict stands beside it, never in its place.
- Only what is known can meet an expectation; what is unknown is a warning at most.
- An expectation counts only where its `when` applies.
- `judge_host` is for one host, `judge_fleet` for what only all hosts together show. Both may be
  repeated: each replaces its own findings.
"""

from __future__ import annotations

import msgspec

from fleetaudit.model import Audited, HostPlan

from .exposure import exposure_expectations, judge_exposure
from .findings import is_unknown, severity_order
from .fleet import is_of_fleet, judge_fleet
from .scenarios import (
    ExpectationStatus,
    describe_endings,
    expectation_status,
    judge_scenarios,
    void_finding,
)
from .sysctls import judge_sysctls, sysctl_expectations

__all__ = [
    "ExpectationStatus",
    "describe_endings",
    "expectation_status",
    "is_unknown",
    "judge_fleet",
    "judge_host",
]


def judge_host(audited: Audited, plan: HostPlan) -> Audited:
    """Returns `audited` with the findings that follow from `plan`, the most severe first, then by
    id. Earlier findings are replaced, except those of `judge_fleet`.
    """
    found = [void_finding(audited, plan)] if audited.void else [*judge_scenarios(audited, plan)]
    found += judge_sysctls(audited, plan)
    found += judge_exposure(audited, plan)
    found += (finding for finding in audited.findings if is_of_fleet(finding.id))
    expectations = (
        *sysctl_expectations(audited, plan),
        *exposure_expectations(audited, plan),
        *filter(is_of_fleet, audited.expectations),
    )
    found.sort(key=severity_order)
    return msgspec.structs.replace(audited, expectations=expectations, findings=tuple(found))
