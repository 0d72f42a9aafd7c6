"""From what a watch took down and what became of a host to its visit: every stage, in the order
gone through. Pure.

Rules: a stage that does not apply is never told as passed, and none as measured that nobody
measured. What a host says about time is bounded by how long we waited.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from fleetaudit.analysis.stages import CHECK_STAGES, CheckStage
from fleetaudit.model import (
    NO_CAPTURE,
    Audited,
    Become,
    HostPlan,
    HostResult,
    KernelTarget,
    LocalTarget,
    NoTarget,
    NotAudited,
    NotSelected,
    SshTarget,
    Stage,
    Target,
)

from .model import (
    JUMP_HOST,
    HostCheck,
    MissingVerdicts,
    StageResult,
    State,
)
from .stage_recorder import StageRecord
from .unmet_needs import fixes_of, missing_of

AnyTarget = Target | NoTarget
_POINT_OF: dict[str, CheckStage] = {point: point for point in CHECK_STAGES}


def build_host_check(
    host: HostPlan, result: HostResult, told: StageRecord, again: Callable[[str], str]
) -> HostCheck:
    """Returns what became of one host: `result` of what the engine made of it, `told` of what was
    heard on the way.

    `again` returns the command that checks this host once more, with one more option.
    """
    stage: CheckStage | Literal["interrupted"] | None
    no_capture, missing, fixes = "", tuple[MissingVerdicts, ...](), tuple[str, ...]()
    if isinstance(result, NotSelected):
        raise TypeError("the check has no plays of its own that could leave a host out")
    if isinstance(result, Audited):
        unseen = [note for note in result.notes if note.startswith(NO_CAPTURE)]
        no_capture = unseen[0].removeprefix(f"{NO_CAPTURE}: ") if unseen else ""
        notes = tuple(note for note in result.notes if note not in unseen)
        stage, steps = None, _through(host.target, replace(result, notes=notes), told)
        missing = missing_of(host, result)
        fixes = fixes_of(host, result, missing, again)
    else:
        stage, notes = _stage_of(host.target, result.stage, told), ()
        steps = _until(host.target, stage, told)
    return HostCheck(
        name=host.name,
        groups=host.groups,
        address=host.target.address if isinstance(host.target, SshTarget) else "",
        way=describe_connection(host.target),
        ready=isinstance(result, Audited),
        stage=stage,
        kind=result.kind,
        at=result.at,
        reason=result.reason,
        hint=result.hint,
        steps=steps,
        tries=told.tries,
        ms=_ms(told.all),
        kernel=result.kernel,
        os=result.os,
        python=result.python,
        isolation=result.isolation,
        notes=notes,
        no_capture=no_capture,
        sets_sysctls=_sets_sysctls(result) if isinstance(result, Audited) else None,
        verdicts=sum(len(scenario.families) for scenario in host.scenarios),
        missing=missing,
        fixes=fixes,
    )


def _sets_sysctls(host: Audited) -> bool:
    """Returns whether scenarios can set sysctls: those of a private namespace, unless /proc/sys is
    read-only.
    """
    return host.isolation == "namespace" and host.sysctls_writable


def describe_connection(target: AnyTarget) -> str:
    """Returns in a few words how a host is reached and as whom, "" where that cannot be told."""
    match target:
        case SshTarget():
            user = f"{target.user}@" if target.user else ""
            port = f" port {target.port}" if target.port_is_explicit or target.port != 22 else ""
            by = f", by the system's {target.program}" if target.client == "openssh" else ""
            return f"ssh {user}{target.address}{port}{by}{_as(target.become)}"
        case LocalTarget():
            return f"this machine{_as(target.become)}"
        case KernelTarget():
            return f"kernel {target.image}"
        case NotAudited() | NotSelected():
            return ""


def _as(become: Become | None) -> str:
    return f", as {become.user} by {become.method}" if become else ""


def _needed(target: AnyTarget) -> tuple[CheckStage, ...]:
    """Returns the stages that apply to a target, in order."""
    match target:
        case SshTarget(become=None):
            return tuple(point for point in CHECK_STAGES if point != "become")
        case LocalTarget(become=None):
            return "inventory", "interpreter", "namespaces"
        case LocalTarget():
            return "inventory", "become", "interpreter", "namespaces"
        case KernelTarget():
            return "inventory", "resolve", "connect", "interpreter", "namespaces"
        case _:
            return CHECK_STAGES


def _stage_of(
    target: AnyTarget, stage: Stage, told: StageRecord
) -> CheckStage | Literal["interrupted"]:
    """Returns the stage that a failure is told at."""
    match stage:
        case "execute" | "decode" | "report":
            # A thread that was left behind may hang anywhere; the built-in client told how far it
            # had come.
            own = {heard.stage for heard in told.heard if not heard.found.startswith(JUMP_HOST)}
            if (
                isinstance(target, SshTarget)
                and target.client == "paramiko"
                and "authenticate" not in own
            ):
                return next(point for point in CHECK_STAGES[1:] if point not in own)
            return "interpreter"
        case _:
            return stage


def _until(
    target: AnyTarget, stage: CheckStage | Literal["interrupted"], told: StageRecord
) -> tuple[StageResult, ...]:
    """Returns the steps of a host that stopped at `stage`."""
    steps = _heard(target, told)
    known = {step.stage for step in steps if not step.found.startswith(JUMP_HOST)}
    reached = CHECK_STAGES.index(stage) if stage != "interrupted" else 0
    needed = _needed(target)
    for at, point in enumerate(CHECK_STAGES):
        if point == stage:
            steps.append(StageResult(stage=point, state="failed", ms=_ms(told.rest)))
        elif point in known:
            continue
        elif point == "inventory":
            _insert(
                steps, StageResult(stage=point, state="passed", found=describe_connection(target))
            )
        elif point not in needed:
            _insert(steps, StageResult(stage=point, state="not needed"))
        elif at < reached and told.tries:
            # What only a jump host passed is a step already. Over SSH the failure may be a jump
            # host's own, so that nothing follows from it for the host.
            if not any(step.stage == point for step in steps):
                state: State = "not told" if isinstance(target, SshTarget) else "passed"
                _insert(steps, StageResult(stage=point, state=state))
        else:
            steps.append(StageResult(stage=point, state="not reached"))
    return tuple(steps)


def _through(target: AnyTarget, host: Audited, told: StageRecord) -> tuple[StageResult, ...]:
    """Returns the steps of a host that is ready."""
    steps = _heard(target, told)
    known = {step.stage for step in steps}
    rest = told.rest or 0.0
    elapsed = min(
        max(0.0, host.elapsed_s), rest
    )  # the host's own word, and it cannot be longer than we waited
    on_host, before = _ms(elapsed), _ms(rest - elapsed)
    private = "a private network namespace"
    python = _python(target, host)
    found: dict[CheckStage, tuple[float | None, str]] = {
        "inventory": (None, describe_connection(target)),
        "interpreter": (before, python),
        "namespaces": (
            on_host,
            private if host.isolation == "namespace" else next(iter(host.notes), "the host's own"),
        ),
    }
    if isinstance(target, KernelTarget):  # the guest starts its Python as it comes up
        found |= {
            "connect": (before, "it booted"),
            "interpreter": (None, f"Python {host.python}, of this machine"),
        }
    elif (
        isinstance(target, SshTarget) and "authenticate" not in known
    ):  # nobody told when the way was done
        found["interpreter"] = (None, python)
    needed = _needed(target)
    for point in CHECK_STAGES:
        if point in known:
            continue
        ms, words = found.get(point, (None, ""))
        skipped = point == "become" and isinstance(target, LocalTarget)  # it is who we are already
        state: State = "passed" if point in needed and not skipped else "not needed"
        _insert(steps, StageResult(stage=point, state=state, ms=ms, found=words))
    return tuple(steps)


def _python(target: AnyTarget, host: Audited) -> str:
    """Returns which Python answered, and why it is not the one that the inventory names."""
    named = target.interpreter if isinstance(target, SshTarget | LocalTarget) else None
    notes = [note for note in host.notes if named and named.origin and named.origin in note]
    path = [host.interpreter] if host.interpreter else []
    return "; ".join([", ".join([f"Python {host.python}", *path]), *notes])


def _heard(target: AnyTarget, told: StageRecord) -> list[StageResult]:
    """Returns what was told on the way, in order; where the way was begun anew after a drop, its
    times are added up.
    """
    unchecked = isinstance(target, SshTarget) and target.host_key_policy == "off"
    steps = list[StageResult]()
    for stage, found, seconds in told.heard:
        if (point := _POINT_OF.get(stage)) is None:
            continue
        words = found + (", not checked" if point == "host key" and unchecked else "")
        again = next(
            (i for i, step in enumerate(steps) if (step.stage, step.found) == (point, words)),
            len(steps),
        )
        ms = (_ms(seconds) or 0.0) + sum(step.ms or 0.0 for step in steps[again:])
        steps[again:] = [StageResult(stage=point, state="passed", ms=round(ms, 3), found=words)]
    return steps


def _insert(steps: list[StageResult], step: StageResult) -> None:
    """Puts a step behind the last one of an earlier stage."""
    at = CHECK_STAGES.index(step.stage)
    place = max(
        (i for i, other in enumerate(steps, 1) if CHECK_STAGES.index(other.stage) < at), default=0
    )
    steps.insert(place, step)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
