"""Makes the result of a host from the probe's reply: a verdict on every scenario. Pure.

`trial_verdict.py` decides the ending of each trial, and `controls.py` what the controls make of the
verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    NO_CAPTURE,
    Audited,
    Evidence,
    Family,
    HostPlan,
    Observation,
    Scenario,
)

from .controls import Key, Observations, apply_controls
from .counters import Isolation
from .protocol import decode_reply
from .reply import RawObservation, RawTrial, Reply
from .trial_verdict import Verdict, trial_verdict
from .wire import capture_note

__all__ = ["NO_COUNTERS", "result_from_output", "result_from_reply", "trial_verdict"]

NO_COUNTERS = "the kernel's counters could not be read: two witnesses at most speak for a verdict"


def result_from_output(
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
) -> Audited:
    """Returns the result of a host from its output; raises `ReplyError`.

    The arguments are those of `protocol.decode_reply`.
    """
    return result_from_reply(plan, decode_reply(plan, stdout, stderr, exit_status, cut))


def result_from_reply(plan: HostPlan, reply: Reply) -> Audited:
    """Returns the result of a host: a verdict on each planned scenario, in the order of the plan.

    Raises `ReplyError` if the reply has observations that were not asked for, or if not one
    scenario ran.
    """
    planned = {(s.name, family): s for s in plan.scenarios for family in s.families}
    raw = _raw_observations(reply, planned)
    if not plan.trials:
        return _result(plan, reply, {key: _could_run(key, raw.get(key)) for key in planned})
    observations = {
        key: _observe(key[1], scenario, raw.get(key), plan.trials, reply.isolation)
        for key, scenario in planned.items()
    }
    if planned and not any(each.trials for each in observations.values()):
        raise _nothing_ran(plan, reply, next(iter(observations.values())))
    controlled = apply_controls(plan, observations)
    notes = (NO_COUNTERS if _lacks_counters(reply) else "", *controlled.notes)
    return _result(plan, reply, controlled.observations, controlled.void, notes)


def _raw_observations(reply: Reply, planned: Mapping[Key, Scenario]) -> dict[Key, RawObservation]:
    """Returns the reply's observations by scenario and family; raises `ReplyError`."""
    found = dict[Key, RawObservation]()
    for raw in reply.observations:
        key = (raw.scenario, raw.family)
        if key not in planned or key in found:
            what = "two answers to" if key in found else "an answer to"
            raise ReplyError(
                f"the reply has {what} {raw.scenario} over {raw.family}; expected at most one"
            )
        found[key] = raw
    return found


def _lacks_counters(reply: Reply) -> bool:
    """Returns whether a trial over TCP has no counters although it did not fail."""
    over_tcp = (each for each in reply.observations if each.family != "unix")
    trials = (trial for each in over_tcp for trial in each.trials)
    return any(trial.kernel is None and not trial.error for trial in trials)


def _could_run(key: Key, raw: RawObservation | None) -> Observation:
    """Returns a scenario of which no trial was planned: its reason says why it would not run, "" if
    it would.
    """
    reason = raw.not_run if raw else "the probe did not say whether it would run"
    return Observation(scenario=key[0], family=key[1], ending="not run", trials=0, reason=reason)


def _nothing_ran(plan: HostPlan, reply: Reply, first: Observation) -> ReplyError:
    """Returns the error for a host on which not one scenario ran: it was reached, and not
    audited.
    """
    hint = "set become: true" if "namespace" in first.reason else ""
    if plan.isolation == "namespace" and reply.isolation == "host":
        hint = "set become: true, or isolation: auto in the playbook"
    return ReplyError(
        f"no scenario ran: {first.reason}", hint=hint, stage="execute", kind="no scenario ran"
    )


def _result(
    plan: HostPlan,
    reply: Reply,
    observations: Observations,
    void: str = "",
    notes: Sequence[str] = (),
) -> Audited:
    """Returns the host as audited."""
    no_capture = reply.capture_note and f"{NO_CAPTURE}: {reply.capture_note}"[:4096]
    return Audited(
        name=plan.name,
        groups=plan.groups,
        kernel=reply.kernel,
        os=reply.os,
        python=reply.python,
        interpreter=reply.interpreter,
        machine_id=reply.machine_id,
        isolation=reply.isolation,
        notes=tuple(filter(None, (reply.isolation_note, no_capture, *reply.notes, *notes))),
        void=void,
        observations=tuple(observations.values()),
        sysctls=dict(sorted(reply.sysctls.items())),
        sysctl_places=_sysctl_lines(reply),
        sysctls_writable=reply.sysctls_writable,
        exposure=reply.exposure,
        elapsed_s=reply.elapsed_s,
    )


def _sysctl_lines(reply: Reply) -> dict[str, tuple[str, ...]] | None:
    """Returns where the sysctls of this reply are set; leaves out all other sysctls."""
    if reply.sysctl_places is None:
        return None
    places = sorted(reply.sysctl_places.items())
    return {key: lines for key, lines in places if key in reply.sysctls}


# ---- one scenario


def _observe(
    family: Family,
    scenario: Scenario,
    raw: RawObservation | None,
    usual_trials: int,
    isolation: Isolation,
) -> Observation:
    """Returns the verdict on one scenario over one family; raises `ReplyError`."""
    if raw is None or raw.not_run or not raw.trials:
        return _without_trials(family, scenario, raw)
    for trial in raw.trials:
        _check_steps(trial, scenario, family)
    verdicts = [trial_verdict(trial, scenario.steps, family, isolation) for trial in raw.trials]
    endings = Counter[str]()
    for trial, (ending, _) in zip(raw.trials, verdicts, strict=True):
        endings[ending] += trial.count
    planned, ran = scenario.trials or usual_trials, endings.total()
    if ran > planned:
        raise ReplyError(f"the reply has {ran} trials of {scenario.name}, {planned} were asked")
    shown, (ending, reason) = _verdict_on_all(raw.trials, verdicts, endings)
    if ran < planned and len(endings) == 1:
        reason = "; ".join(filter(None, (reason, f"{ran} of {planned} trials ran")))
    return Observation(
        scenario=scenario.name,
        family=family,
        ending=ending,
        trials=ran,
        endings=dict(sorted(endings.items())),
        evidence=_evidence(shown),
        reason=reason,
    )


def _without_trials(family: Family, scenario: Scenario, raw: RawObservation | None) -> Observation:
    """Returns a scenario of which no trial ran: not run if the host lacks something, else
    inconclusive.
    """
    reason = raw.not_run if raw else ""
    lacks_something = bool(reason) and raw is not None and not raw.failed
    return Observation(
        scenario=scenario.name,
        family=family,
        ending="not run" if lacks_something else "inconclusive",
        trials=0,
        reason=reason or "the probe did not say why it was not run",
    )


def _verdict_on_all(
    trials: Sequence[RawTrial], verdicts: Sequence[Verdict], endings: Counter[str]
) -> tuple[RawTrial, Verdict]:
    """Returns the trial to show, and the verdict on all trials together.

    If trials disagree, that is the first one that differs from most.
    """
    if len(endings) == 1:
        index = next((i for i, (_, why) in enumerate(verdicts) if why), 0)
        return trials[index], verdicts[index]
    usual = endings.most_common(1)[0][0]
    index = next(i for i, (ending, _) in enumerate(verdicts) if ending != usual)
    reasons = "; ".join(dict.fromkeys(why for _, why in verdicts if why))
    reason = f"trials disagree: {_counts_text(endings)}"
    return trials[index], ("inconclusive", f"{reason} ({reasons})" if reasons else reason)


def _check_steps(trial: RawTrial, scenario: Scenario, family: Family) -> None:
    """Raises `ReplyError` if a trial has steps that the scenario does not have, or in another
    order.
    """
    count = len(scenario.steps)
    if trial.peer and any(index >= count for index, _ in trial.peer.poll_added):
        raise ReplyError(
            f"the reply tells of a step that {scenario.name} does not have, over {family}"
        )
    began = [index for _, index in trial.steps]
    in_order = began == [*range(min(len(began), count))]
    if not in_order or (trial.failed_step or 0) >= count:
        raise ReplyError(
            f"the reply does not number the steps of {scenario.name} over {family} from 0 to"
            f" {count - 1}"
        )


def _counts_text(endings: Counter[str]) -> str:
    """Returns the endings with their counts, the most frequent first."""
    ordered = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{ending} \u00d7{count}" for ending, count in ordered)


def _evidence(trial: RawTrial) -> Evidence:
    """Returns the evidence of a trial."""
    return Evidence(
        wire=trial.wire,
        connection=trial.connection,
        wire_note=capture_note(trial),
        wire_omitted=trial.wire_omitted,
        peer=trial.peer,
        kernel=trial.kernel,
        steps=trial.steps,
        queue=trial.queue,
        bytes=trial.bytes,
    )
