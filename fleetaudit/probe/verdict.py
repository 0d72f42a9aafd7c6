"""Makes the result of a host from the probe's reply: a verdict on every scenario. Pure.

`trial_verdict.py` decides the ending of each trial, and `controls.py` what the controls make of the
verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    NO_CAPTURE,
    Audited,
    Ending,
    Evidence,
    Family,
    HostPlan,
    Observation,
    Scenario,
)
from fleetaudit.text.phrases import surround

from .controls import Key, Observations, apply_controls
from .counters import Isolation
from .protocol import decode_reply
from .reply import RawObservation, RawTrial, Reply
from .trial_verdict import trial_verdict
from .wire import capture_note

__all__ = ["NO_COUNTERS", "result_from_output", "result_from_reply", "trial_verdict"]

NO_COUNTERS = "the kernel's counters could not be read: two witnesses at most speak for a verdict"
_NOT_ANSWERED = RawObservation(scenario="", family="ipv4", failed=True)
"""Stands for a scenario that the reply does not mention."""


def result_from_output(
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
) -> Audited:
    """Returns the result of a host from its output.

    The arguments are those of `protocol.decode_reply`. Raises `ReplyError` if there is no reply to
    this plan in the output, and in the cases of `result_from_reply`.
    """
    return result_from_reply(plan, decode_reply(plan, stdout, stderr, exit_status, cut))


def result_from_reply(plan: HostPlan, reply: Reply) -> Audited:
    """Returns the result of a host: a verdict on each planned scenario, in the order of the plan.

    A plan of 0 trials gives observations that only say whether a scenario could run. Raises
    `ReplyError` if the reply has observations that were not asked for, more trials or other steps
    than planned, or if not one scenario ran.
    """
    planned = {(s.name, family): s for s in plan.scenarios for family in s.families}
    raw = _raw_observations(reply, planned)
    if not plan.trials:
        return _result(plan, reply, {key: _could_run(key, raw.get(key)) for key in planned})
    observations = dict[Key, Observation]()
    for key, scenario in planned.items():
        one = raw.get(key, _NOT_ANSWERED)
        observations[key] = _observe(key[1], scenario, one, plan.trials, reply.isolation)
    if planned and not any(each.trials for each in observations.values()):
        raise _nothing_ran(plan, reply, next(iter(observations.values())))
    controlled = apply_controls(plan, observations)
    notes = (NO_COUNTERS if _lacks_counters(reply) else "", *controlled.notes)
    return _result(plan, reply, controlled.observations, controlled.void, notes)


def _raw_observations(reply: Reply, planned: Mapping[Key, Scenario]) -> dict[Key, RawObservation]:
    """Returns the reply's observations by scenario and family.

    Raises `ReplyError` for two of one scenario over one family, and for one that is not planned.
    """
    found = dict[Key, RawObservation]()
    for raw in reply.observations:
        key = (raw.scenario, raw.family)
        if key in found:
            raise _unexpected("two answers to", key)
        if key not in planned:
            raise _unexpected("an answer to", key)
        found[key] = raw
    return found


def _unexpected(what: str, key: Key) -> ReplyError:
    """Returns the error for an observation that was not asked for; `what` is "an answer to"."""
    return ReplyError(f"the reply has {what} {key[0]} over {key[1]}; expected at most one")


def _lacks_counters(reply: Reply) -> bool:
    """Returns whether a trial over TCP has no counters although it did not fail."""
    over_tcp = (each.trials for each in reply.observations if each.family != "unix")
    return any(trial.lacks_counters for trial in chain.from_iterable(over_tcp))


def _could_run(key: Key, raw: RawObservation | None) -> Observation:
    """Returns a scenario of which no trial was planned: its reason says why it would not run, "" if
    it would.
    """
    reason = "the probe did not say whether it would run"
    if raw is not None:
        reason = raw.not_run
    return Observation(scenario=key[0], family=key[1], ending="not run", trials=0, reason=reason)


def _nothing_ran(plan: HostPlan, reply: Reply, first: Observation) -> ReplyError:
    """Returns the error for a host on which not one scenario ran: it was reached, and not
    audited.

    The reason of the `first` scenario stands for all. Without the right to make a network namespace
    the remedy is to become root, or to allow the host's own namespace.
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
    """Returns the host as audited.

    `void` is why none of its verdicts counts, "" if they do. `notes` follow those of the reply;
    empty ones are left out.
    """
    no_capture = surround(f"{NO_CAPTURE}: ", reply.capture_note)[:4096]
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
    """Returns where the sysctls of this reply are set; leaves out all other sysctls.

    None if the host did not tell: its program was older, or its files could not be read.
    """
    if reply.sysctl_places is None:
        return None
    places = sorted(reply.sysctl_places.items())
    return {key: lines for key, lines in places if key in reply.sysctls}


# ---- one scenario


class _JudgedTrial(NamedTuple):
    """A trial with its ending, and why if that is not simply what was observed."""

    trial: RawTrial
    ending: Ending
    reason: str


def _observe(
    family: Family,
    scenario: Scenario,
    raw: RawObservation,
    usual_trials: int,
    isolation: Isolation,
) -> Observation:
    """Returns the verdict on one scenario over one family; raises `ReplyError`.

    `usual_trials` is how many trials were planned if the scenario has no number of its own. Fewer
    are noted in the reason if all agree; more are an error.
    """
    if not raw.has_run:
        return _without_trials(family, scenario, raw)
    judged = list[_JudgedTrial]()
    for trial in raw.trials:
        _check_steps(trial, scenario, family)
        judged.append(_JudgedTrial(trial, *trial_verdict(trial, scenario.steps, family, isolation)))
    endings = _count_endings(judged)
    planned, ran = scenario.trials or usual_trials, endings.total()
    if ran > planned:
        raise ReplyError(f"the reply has {ran} trials of {scenario.name}, {planned} were asked")
    shown = _verdict_on_all(judged, endings)
    reason = shown.reason
    if ran < planned and len(endings) == 1:
        reason = "; ".join(filter(None, (reason, f"{ran} of {planned} trials ran")))
    return Observation(
        scenario=scenario.name,
        family=family,
        ending=shown.ending,
        trials=ran,
        endings=dict(sorted(endings.items())),
        evidence=_evidence(shown.trial),
        reason=reason,
    )


def _count_endings(judged: Sequence[_JudgedTrial]) -> Counter[str]:
    """Returns how often each ending occurred: one reported trial may stand for several."""
    endings = Counter[str]()
    for each in judged:
        endings[each.ending] += each.trial.count
    return endings


def _without_trials(family: Family, scenario: Scenario, raw: RawObservation) -> Observation:
    """Returns a scenario of which no trial ran: not run if the host lacks something, else
    inconclusive.
    """
    ending: Ending = "not run" if raw.is_impossible else "inconclusive"
    return Observation(
        scenario=scenario.name,
        family=family,
        ending=ending,
        trials=0,
        reason=raw.not_run or "the probe did not say why it was not run",
    )


def _verdict_on_all(judged: Sequence[_JudgedTrial], endings: Counter[str]) -> _JudgedTrial:
    """Returns the trial to show, with the verdict on all trials together.

    If trials agree, that is the first one with a reason, or else the first one; if they disagree,
    the first one that differs from most. Of equally frequent endings the one that occurred first
    counts as that of most.
    """
    if len(endings) == 1:
        return next((each for each in judged if each.reason), judged[0])
    usual = endings.most_common(1)[0][0]
    shown = next(each for each in judged if each.ending != usual)
    reasons = "; ".join(dict.fromkeys(each.reason for each in judged if each.reason))
    reason = f"trials disagree: {_counts_text(endings)}{surround(' (', reasons, ')')}"
    return shown._replace(ending="inconclusive", reason=reason)


def _check_steps(trial: RawTrial, scenario: Scenario, family: Family) -> None:
    """Raises `ReplyError` if a trial has steps that the scenario does not have, or in another
    order.

    A trial that failed has only the steps that began.
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
    """Returns the endings with their counts, the most frequent first: "FIN ×3, RST ×1".

    Equally frequent ones are in alphabetical order.
    """
    ordered = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{ending} \u00d7{count}" for ending, count in ordered)


def _evidence(trial: RawTrial) -> Evidence:
    """Returns the evidence of a trial, as the report shows it."""
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
