"""The exit status of a finished run. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from fleetaudit.model import SEVERITIES, AuditRun, HostResult, NotAudited, NotSelected, Plan

BUG, NOT_MET, NOT_AUDITED, DRIFT = 1, 2, 4, 8


def exit_status(run: AuditRun, fail_on: Collection[str]) -> int:
    """Returns the exit status of a run, unless `has_bug` says otherwise: a sum of the following.

    2: a finding without a waiver is as severe as the least severity in `fail_on`. 4: some host was
    not audited. 8: "drift" is in `fail_on`, and something changed since the baseline or that is
    unknown. `fail_on` has the words of --fail-on: severities and "drift".
    """
    counts_drift = "drift" in fail_on and _has_drift(run)
    return (
        NOT_MET * _has_finding(run, fail_on)
        + NOT_AUDITED * bool(run.not_audited)
        + DRIFT * counts_drift
    )


def plan_status(plan: Plan) -> int:
    """Returns the exit status of --check: 4 if a host of the plan cannot be audited, else 0."""
    return NOT_AUDITED * any(isinstance(host.target, NotAudited) for host in plan.hosts)


def _has_drift(run: AuditRun) -> bool:
    """Returns whether something changed since the baseline, or that is unknown."""
    return run.drift is not None and not run.drift.is_unchanged


def _has_finding(run: AuditRun, fail_on: Collection[str]) -> bool:
    """Returns whether a finding without a waiver is at least as severe as `fail_on` says."""
    counted = [*itertools.dropwhile(lambda severity: severity not in fail_on, SEVERITIES)]
    findings = itertools.chain.from_iterable(host.findings for host in run.hosts)
    return any(finding.waived is None and finding.severity in counted for finding in findings)


def has_bug(run: AuditRun) -> bool:
    """Returns whether a bug in fleetaudit cost every host that was to be audited.

    One that costs single hosts is theirs: they are not audited, which is a part of `exit_status`.
    So no host decides the status of the others.
    """
    selected = [host for host in run.hosts if not isinstance(host, NotSelected)]
    return bool(selected) and all(map(_is_lost, selected))


def _is_lost(host: HostResult) -> bool:
    """Returns whether a bug in fleetaudit cost a host.

    Only `run_output.leave_out_failing_hosts` makes results of the stage "report".
    """
    return host.stage == "report" or host.kind == "bug in fleetaudit"
