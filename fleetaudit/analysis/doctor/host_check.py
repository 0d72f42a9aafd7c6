"""Makes the check of one host from its result and from the stages that were recorded. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from msgspec.structs import replace

from fleetaudit.model import (
    NO_CAPTURE,
    Audited,
    HostPlan,
    HostResult,
    NoTarget,
    NotSelected,
)

from .connection import describe_connection
from .missing_verdicts import find_fixes, find_missing_verdicts
from .model import HostCheck
from .stage_recorder import StageRecord
from .stage_results import (
    failed_stage,
    milliseconds,
    results_of_failed_host,
    results_of_ready_host,
)


def build_host_check(
    host: HostPlan, result: HostResult, record: StageRecord, check_again: Callable[[str], str]
) -> HostCheck:
    """Returns the check of one host: `result` is its result of the engine.

    `record` has the stages that its transport reported. `check_again` returns the command that
    checks this host once more, with one more option ("--become"). Raises `TypeError` for a host
    that no play selects, because the check has no plays.
    """
    if isinstance(result, NotSelected):
        raise TypeError("the check has no plays of its own that could leave a host out")
    check = _common_check(host, result, record)
    if isinstance(result, Audited):
        return _check_of_ready_host(check, host, result, record, check_again)
    stage = failed_stage(host.target, result.stage, record)
    return replace(check, stage=stage, steps=results_of_failed_host(host.target, stage, record))


def _common_check(host: HostPlan, result: HostResult, record: StageRecord) -> HostCheck:
    """Returns the fields that the check of every host has."""
    return HostCheck(
        name=host.name,
        groups=host.groups,
        address="" if isinstance(host.target, NoTarget) else host.target.address,
        connection=describe_connection(host.target),
        ready=isinstance(result, Audited),
        kind=result.kind,
        at=result.at,
        reason=result.reason,
        hint=result.hint,
        attempts=record.attempts,
        ms=milliseconds(record.total_s),
        kernel=result.kernel,
        os=result.os,
        probe=result.program,
        python=result.python,
        isolation=result.isolation,
        verdicts=sum(len(scenario.families) for scenario in host.scenarios),
    )


def _check_of_ready_host(
    check: HostCheck,
    host: HostPlan,
    result: Audited,
    record: StageRecord,
    check_again: Callable[[str], str],
) -> HostCheck:
    """Returns the check of a host that is ready: also what a run would not have there."""
    no_capture = next(filter(_is_about_capture, result.notes), "")
    notes = tuple(itertools.filterfalse(_is_about_capture, result.notes))
    missing = find_missing_verdicts(host, result)
    return replace(
        check,
        steps=results_of_ready_host(host.target, replace(result, notes=notes), record),
        notes=notes,
        no_capture=no_capture.removeprefix(f"{NO_CAPTURE}: "),
        sets_sysctls=result.isolation == "namespace" and result.sysctls_writable,
        missing=missing,
        fixes=find_fixes(host, result, missing, check_again),
    )


def _is_about_capture(note: str) -> bool:
    """Returns whether a note of a host says that no packets are captured."""
    return note.startswith(NO_CAPTURE)
