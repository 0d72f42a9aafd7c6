"""Makes the verdict on one scenario over one family from its trials, without their times. Pure.

`trial_verdict.py` decides the ending of each trial.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from fleetaudit.errors import ReplyError
from fleetaudit.model import Ending, Family, Observation, Scenario
from fleetaudit.text.phrases import surround

from .controls import Key
from .counters import Isolation
from .known_names import check_names
from .possible_evidence import why_impossible
from .reply import RawObservation, RawTrial
from .times import Size, add_sizes, evidence_without_times
from .trial_verdict import Verdict, trial_verdict


class JudgedScenario(NamedTuple):
    """The verdict on one scenario over one family.

    The `observation` has no times (0 in their place). `size` is that of all its reported trials,
    and `before_shown` that of those before the one whose evidence it has.
    """

    key: Key
    observation: Observation
    size: Size = Size()
    before_shown: Size = Size()
    lacks_counters: bool = False


def judge_scenario(
    scenario: Scenario, raw: RawObservation, usual_trials: int, isolation: Isolation
) -> JudgedScenario:
    """Returns the verdict on one scenario over the family of `raw`; raises `ReplyError`.

    `usual_trials` is how many trials were planned if the scenario has no number of its own. Fewer
    are noted in the reason if all agree; more are an error. If none was planned, the observation
    only says whether the scenario could run.
    """
    key, sizes = (raw.scenario, raw.family), [*map(Size.of, raw.trials)]
    size = add_sizes(sizes)
    if not usual_trials:
        return JudgedScenario(key, _could_run(key, raw.not_run), size)
    if not raw.has_run:
        return JudgedScenario(key, _without_trials(raw.family, scenario, raw), size)
    judged = list[_JudgedTrial]()
    for index, trial in enumerate(raw.trials):
        _check_steps(trial, scenario, raw.family)
        check_names(trial)
        verdict = _verdict(trial, scenario, raw.family, isolation)
        judged.append(_JudgedTrial(index, trial, *verdict))
    shown = _verdict_on_all(judged)
    over_tcp = raw.family != "unix"
    return JudgedScenario(
        key,
        _observation(scenario, raw.family, judged, usual_trials),
        size,
        add_sizes(sizes[: shown.place]),
        over_tcp and any(trial.lacks_counters for trial in raw.trials),
    )


def unanswered(key: Key, scenario: Scenario, usual_trials: int) -> JudgedScenario:
    """Returns the verdict on a scenario that the reply does not mention."""
    if not usual_trials:
        return JudgedScenario(key, _could_run(key, "the probe did not say whether it would run"))
    raw = RawObservation(scenario=key[0], family=key[1], failed=True)
    return JudgedScenario(key, _without_trials(key[1], scenario, raw))


def _could_run(key: Key, reason: str) -> Observation:
    """Returns a scenario of which no trial was planned: its reason says why it would not run, "" if
    it would.
    """
    return Observation(scenario=key[0], family=key[1], ending="not run", trials=0, reason=reason)


class _JudgedTrial(NamedTuple):
    """A trial with its ending, and why if that is not simply what was observed."""

    place: int
    trial: RawTrial
    ending: Ending
    reason: str


def _verdict(trial: RawTrial, scenario: Scenario, family: Family, isolation: Isolation) -> Verdict:
    """Returns the verdict on one trial, "inconclusive" if its evidence is impossible."""
    problem = why_impossible(trial, scenario.steps, family, isolation)
    if problem:
        return "inconclusive", f"impossible evidence: {problem}"
    return trial_verdict(trial, scenario.steps, family, isolation)


def _observation(
    scenario: Scenario, family: Family, judged: Sequence[_JudgedTrial], usual_trials: int
) -> Observation:
    """Returns the verdict on all trials together; raises `ReplyError` if they are too many."""
    endings = _count_endings(judged)
    planned, ran = scenario.trials or usual_trials, endings.total()
    if ran > planned:
        raise ReplyError(f"the reply has {ran} trials of {scenario.name}, {planned} were asked")
    shown = _verdict_on_all(judged)
    reason = shown.reason
    if ran < planned and len(endings) == 1:
        reason = "; ".join(filter(None, (reason, f"{ran} of {planned} trials ran")))
    return Observation(
        scenario=scenario.name,
        family=family,
        ending=shown.ending,
        trials=ran,
        endings=dict(sorted(endings.items())),
        evidence=evidence_without_times(shown.trial),
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


def _verdict_on_all(judged: Sequence[_JudgedTrial]) -> _JudgedTrial:
    """Returns the trial to show, with the verdict on all trials together.

    If trials agree, that is the first one with a reason, or else the first one; if they disagree,
    the first one that differs from most. Of equally frequent endings the one that occurred first
    counts as that of most.
    """
    endings = _count_endings(judged)
    if len(endings) == 1:
        return next((each for each in judged if each.reason), judged[0])
    usual = endings.most_common(1)[0][0]
    shown = next(each for each in judged if each.ending != usual)
    reasons = "; ".join(dict.fromkeys(each.reason for each in judged if each.reason))
    reason = f"trials disagree: {_counts_text(endings)}{surround(' (', reasons, ')')}"
    return shown._replace(ending="inconclusive", reason=reason)


def _check_steps(trial: RawTrial, scenario: Scenario, family: Family) -> None:
    """Raises `ReplyError` if a trial has steps that the scenario does not have.

    A trial that failed has only the steps that began.
    """
    count = len(scenario.steps)
    if trial.peer and any(index >= count for index, _ in trial.peer.poll_added):
        raise ReplyError(
            f"the reply tells of a step that {scenario.name} does not have, over {family}"
        )
    if trial.steps > count or (trial.failed_step or 0) >= count:
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
