"""Holds what was seen beside what the playbook wants; where they differ there is a finding. Pure.

Rules:
- Nothing that was seen is rewritten: a verdict stands beside an observation, never in its place.
- Only what was told can meet an expectation, and what could not be told is a warning at most.
- An expectation counts where its `when` applies; elsewhere it is as if it were not there.
- `judge_host` is for one host, `judge_fleet` for what only all hosts together show. Both may be repeated: each
  replaces its own.
"""

from __future__ import annotations

import msgspec

from fleetaudit.model import (
    SEVERITIES,
    Audited,
    Finding,
    HostPlan,
)

from .kernels import KIND, judge_fleet
from .scenarios import (
    ExpectationStatus,
    describe_endings,
    expectation_status,
    judged,
    void,
)
from .values import exposure, sysctls, wanted

__all__ = [
    "ExpectationStatus",
    "describe_endings",
    "expectation_status",
    "judge_fleet",
    "judge_host",
]


def judge_host(audited: Audited, plan: HostPlan) -> Audited:
    """Returns `audited` with the findings that `plan` gives rise to, gravest first, then by id;
    earlier ones go.

    What `judge_fleet` found stays: it is not this host's alone to judge.
    """
    found = [void(audited, plan)] if audited.void else list(judged(audited, plan))
    found += [*sysctls(audited, plan), *exposure(audited, plan)]
    found += [finding for finding in audited.findings if finding.id.startswith(KIND)]
    of_fleet = [id_ for id_ in audited.expectations if id_.startswith(KIND)]
    return msgspec.structs.replace(
        audited,
        expectations=(*wanted(audited, plan), *of_fleet),
        findings=tuple(sorted(found, key=gravest_first)),
    )


def gravest_first(finding: Finding) -> tuple[int, str]:
    """Returns the key that sorts findings."""
    return -SEVERITIES.index(finding.severity), finding.id
