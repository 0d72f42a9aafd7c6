"""The result of every stage of one host, in the order in which the host passed them. Pure.

Rules: a stage that does not apply is never reported as passed, and no time is reported that nobody
measured. A time that a host reports is bounded by the time that we waited.
"""

from __future__ import annotations

from typing import Literal

from fleetaudit.analysis.stages import CHECK_STAGES, CheckStage
from fleetaudit.model import Audited, NoTarget, Stage

from .connection import AnyTarget, Connection, connection_of
from .model import StageResult, State
from .stage_recorder import StageRecord

FailedStage = CheckStage | Literal["interrupted"]
_CHECK_STAGES: dict[str, CheckStage] = {stage: stage for stage in CHECK_STAGES}


def milliseconds(seconds: float | None) -> float | None:
    """Returns a time in milliseconds, rounded to microseconds; None if nobody measured it."""
    if seconds is None:
        return None
    return round(seconds * 1000, 3)


# ---- a host that failed ------------------------------------------------------------------------


def failed_stage(target: AnyTarget, stage: Stage, record: StageRecord) -> FailedStage:
    """Returns the stage of the check at which a failure of a run's `stage` is reported.

    What a run calls "execute", "decode" or "report" comes after the login: "interpreter", or an
    earlier stage that `record` does not have. "interrupted" stays what it is.
    """
    match stage:
        case "execute" | "decode" | "report":
            return _stage_after_login(connection_of(target), record)
        case _:
            return stage


def _stage_after_login(connection: Connection, record: StageRecord) -> CheckStage:
    """Returns the stage at which a failure after the login is reported: "interpreter".

    But a thread that was abandoned may hang anywhere, and the built-in client has recorded how far
    it came.
    """
    passed = record.stages_of_host()
    if not connection.reports_login or "authenticate" in passed:
        return "interpreter"
    return next(stage for stage in CHECK_STAGES[1:] if stage not in passed)


def results_of_failed_host(
    target: AnyTarget, failed: FailedStage, record: StageRecord
) -> tuple[StageResult, ...]:
    """Returns the stages of a host that failed at `failed`, all of them in order.

    The stages of jump hosts are results of their own, before those of the host. The failed stage
    has the time since the last one that was passed. A stage that nobody recorded is "not needed" if
    the target does not have it, and otherwise "passed", "not reached" or "not told".
    """
    connection = connection_of(target)
    results = _recorded_results(record)
    passed = {result.stage for result in results if not result.is_of_jump_host}
    for stage in CHECK_STAGES:
        if stage == failed:
            ms = milliseconds(record.since_last_s)
            results.append(StageResult(stage=stage, state="failed", ms=ms))
        elif stage == "inventory":
            _insert(results, _inventory_result(connection))
        elif stage not in passed:
            _add_unrecorded(results, stage, _unrecorded_state(connection, stage, failed, record))
    return tuple(results)


def _inventory_result(connection: Connection) -> StageResult:
    """Returns the result of the first stage, which no transport records."""
    return StageResult(stage="inventory", state="passed", found=connection.description)


def _unrecorded_state(
    connection: Connection, stage: CheckStage, failed: FailedStage, record: StageRecord
) -> State:
    """Returns the state of a stage that the host itself did not record as passed.

    A stage that the target does not have is not needed. One after the failed stage, and every one
    of a host that was never tried, was not reached. An earlier one was passed; but over SSH the
    failure may be a jump host's own, so that it is unknown.
    """
    if stage not in connection.stages:
        return "not needed"
    if not record.attempts or failed == "interrupted" or stage_index(stage) > stage_index(failed):
        return "not reached"
    if connection.has_login:
        return "not told"
    return "passed"


def _add_unrecorded(results: list[StageResult], stage: CheckStage, state: State) -> None:
    """Adds a stage that was not recorded at its place; one that was not reached at the end.

    An unknown stage that a jump host passed is there already, as the jump host's.
    """
    result = StageResult(stage=stage, state=state)
    if state == "not reached":
        results.append(result)
    elif state != "not told" or stage not in {other.stage for other in results}:
        _insert(results, result)


# ---- a host that is ready ----------------------------------------------------------------------


def results_of_ready_host(
    target: AnyTarget, host: Audited, record: StageRecord
) -> tuple[StageResult, ...]:
    """Returns the stages of a host that is ready, all of them in order.

    `host` is its result: the probe reports which Python ran it, how long, and in which namespace.
    Each stage is "passed", or "not needed" if the target does not have it.
    """
    connection = connection_of(target)
    results = _recorded_results(record)
    recorded = {result.stage for result in results}
    is_login_timed = connection.has_login and "authenticate" not in recorded
    measured = _measure_rest(connection, target, host, record, is_login_timed=is_login_timed)
    needed = _needed_stages(connection)
    for stage in CHECK_STAGES:
        if stage not in recorded:
            ms, found = measured.get(stage, (None, ""))
            state: State = "passed" if stage in needed else "not needed"
            _insert(results, StageResult(stage=stage, state=state, ms=ms, found=found))
    return tuple(results)


def _needed_stages(connection: Connection) -> tuple[CheckStage, ...]:
    """Returns the stages that a ready host has passed.

    Without a login, "become" is one only if it was recorded: otherwise we are that user already.
    """
    if connection.has_login:
        return connection.stages
    return tuple(stage for stage in connection.stages if stage != "become")


def _measure_rest(
    connection: Connection,
    target: AnyTarget,
    host: Audited,
    record: StageRecord,
    *,
    is_login_timed: bool,
) -> dict[CheckStage, tuple[float | None, str]]:
    """Returns the milliseconds and the result of the stages that no transport records.

    The host itself reports how long the probe ran; that cannot be longer than we waited.
    `is_login_timed`: the time before the probe ran includes a login, so that it says nothing.
    """
    waited_s = record.since_last_s or 0.0
    on_host_s = min(max(0.0, host.elapsed_s), waited_s)
    before = milliseconds(waited_s - on_host_s)
    measured: dict[CheckStage, tuple[float | None, str]] = {
        "inventory": (None, connection.description),
        "interpreter": (before, _describe_python(target, host)),
        "namespaces": (milliseconds(on_host_s), _describe_namespace(host)),
    }
    if connection.boots:  # the guest starts its Python as it boots
        measured["connect"] = (before, "it booted")
        measured["interpreter"] = (None, f"{host.measured_by}, of this machine")
    elif is_login_timed:
        measured["interpreter"] = (None, _describe_python(target, host))
    return measured


def _describe_namespace(host: Audited) -> str:
    """Returns in which network namespace the probe ran.

    If it is the host's own, the first note of the host says why there is no private one.
    """
    if host.isolation == "namespace":
        return "a private network namespace"
    return next(iter(host.notes), "the host's own")


def _describe_python(target: AnyTarget, host: Audited) -> str:
    """Returns what ran the experiment, and why it is not the one that the inventory names."""
    probe = host.measured_by
    if host.interpreter:
        probe = f"{probe}, {host.interpreter}"
    return "; ".join([probe, *_interpreter_notes(target, host)])


def _interpreter_notes(target: AnyTarget, host: Audited) -> list[str]:
    """Returns the notes of a host about the interpreter that the inventory names.

    Such a note has the place of the setting ("hosts.yml:7") and says why another Python was used.
    """
    if isinstance(target, NoTarget) or target.interpreter is None:
        return []
    origin = target.interpreter.origin
    if not origin:
        return []
    return [note for note in host.notes if origin in note]


# ---- both --------------------------------------------------------------------------------------


def stage_index(stage: CheckStage) -> int:
    """Returns the place of a stage among all of them, from 0."""
    return CHECK_STAGES.index(stage)


def _recorded_results(record: StageRecord) -> list[StageResult]:
    """Returns the stages that a transport recorded, in order.

    If a connection was dropped and begun again, its times are added up.
    """
    results = list[StageResult]()
    for passed in record.passed:
        if stage := _CHECK_STAGES.get(passed.stage):
            _add_recorded(results, stage, passed.found, passed.ms)
    return results


def _add_recorded(results: list[StageResult], stage: CheckStage, found: str, ms: float) -> None:
    """Adds a stage that was passed, with its time in milliseconds.

    If the same stage was passed before with the same result, the connection was begun again: the
    stage replaces all since then, with all of their time.
    """
    before = [(result.stage, result.found) for result in results]
    at = [*before, (stage, found)].index((stage, found))
    ms += sum(result.ms or 0.0 for result in results[at:])
    results[at:] = [StageResult(stage=stage, state="passed", ms=round(ms, 3), found=found)]


def _insert(results: list[StageResult], result: StageResult) -> None:
    """Inserts a stage behind the last one of an earlier stage."""
    at = stage_index(result.stage)
    earlier = (i for i, other in enumerate(results, 1) if stage_index(other.stage) < at)
    results.insert(max(earlier, default=0), result)
