"""Compares endings with expectations; a host whose positive control failed has one finding. Pure.

Rules:
- An unknown ending, trials that disagree and a planned scenario that the host did not report are
  findings of their own, a warning at most (info stays info: what is unknown is never more severe
  than what would be known). `not run` is no finding: the host lacks what the steps need.
- A scenario without an expectation is only observed: it is never a finding, however it ends.
- “sent, not delivered” is never as expected: what close() sent did not arrive, so the peer learned
  nothing.
- On a void host no ending proves anything: one finding replaces all its verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from fleetaudit.analysis.remediation import scenario_remedy
from fleetaudit.model import (
    Audited,
    Ending,
    Family,
    Finding,
    HostPlan,
    Observation,
    Scenario,
)
from fleetaudit.playbook.conditions import applies

from .findings import UNKNOWN, at_most_warning

ExpectationStatus = Literal["met", "not met", "untold", "not run", "no expectation"]
"""Whether an observation meets an expectation; "untold" is unknown."""
_WITHOUT_VERDICT: dict[Ending, ExpectationStatus] = {"not run": "not run", "inconclusive": "untold"}

_Observations = dict[tuple[str, Family], Observation]


def expectation_status(observation: Observation, expect: Iterable[Ending]) -> ExpectationStatus:
    """Returns whether `observation` has one of the expected endings.

    It is "untold" also if the verdict is expected but a trial ended in another way, and "no
    expectation" if `expect` is empty.
    """
    if status := _WITHOUT_VERDICT.get(observation.ending):
        return status
    expected = set[str](expect)
    if not expected:
        return "no expectation"
    if observation.ending not in expected:
        return "not met"
    return "met" if expected.issuperset(observation.endings) else "untold"


def describe_endings(observation: Observation) -> str:
    """Returns what was observed, with the trials if they disagree: "RST", "FIN (2 of 3 trials), RST
    (1 of 3 trials)".
    """
    if len(observation.endings) < 2:
        return observation.ending
    counts = sorted(observation.endings.items())
    return ", ".join(f"{ending} ({n} of {observation.trials} trials)" for ending, n in counts)


def judge_scenarios(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for every scenario and family that does not end as expected, or whose ending
    is unknown.

    Scenarios without an expectation, or with one that does not apply to the host, have none. It is
    for hosts that are not void.
    """
    observations = _by_scenario(audited)
    for scenario in plan.scenarios:
        if scenario.expect and applies(scenario.when, audited):
            for family in scenario.families:
                observation = observations.get((scenario.name, family))
                yield from _judge(scenario, family, observation, audited.kernel.release)


def _by_scenario(audited: Audited) -> _Observations:
    """Returns the observations of a host by scenario and family."""
    return {(o.scenario, o.family): o for o in audited.observations}


def _judge(
    scenario: Scenario, family: Family, observation: Observation | None, release: str
) -> Iterator[Finding]:
    """Yields the finding of one scenario over one family, if there is one.

    `observation` is None if the host did not report the scenario. `release` is the kernel release
    of the host, on which the remedy depends.
    """
    if observation is None:
        yield _unknown(scenario, family, "the host reported nothing")
        return
    match expectation_status(observation, scenario.expect):
        case "not met":
            remedy = scenario_remedy(scenario, observation, release)
            yield _not_met(scenario, family, _describe(observation), remedy)
        case "untold":
            yield _unknown(scenario, family, _describe(observation))


def _describe(observation: Observation) -> str:
    """Returns what was observed, with the reason if there is one."""
    endings = describe_endings(observation)
    return f"{endings}; {observation.reason}" if observation.reason else endings


def _not_met(scenario: Scenario, family: Family, observed: str, remedy: str) -> Finding:
    """Returns the finding of a scenario that does not end as expected."""
    return Finding(
        id=f"scenario:{scenario.name}/{family}",
        severity=scenario.severity,
        expected=_describe_expected(scenario),
        observed=observed,
        because=scenario.because,
        fix=scenario.fix or remedy,
    )


def _unknown(scenario: Scenario, family: Family, observed: str) -> Finding:
    """Returns the finding of a scenario whose ending is unknown."""
    return Finding(
        id=f"scenario:{scenario.name}/{family}",
        severity=at_most_warning(scenario.severity),
        expected=_describe_expected(scenario),
        observed=UNKNOWN + observed,
        because=scenario.because,
        fix=scenario.fix,
    )


def _describe_expected(scenario: Scenario) -> str:
    """Returns the expected endings: "FIN or RST"."""
    return " or ".join(scenario.expect)


def void_finding(audited: Audited, plan: HostPlan) -> Finding:
    """Returns the one finding of a void host.

    It is named after the first positive control that failed, in the playbook's order, so that its
    id is stable.
    """
    observations = _by_scenario(audited)
    for scenario in plan.scenarios:
        for family in scenario.families if scenario.is_positive_control else ():
            if _control_failed(scenario, observations.get((scenario.name, family))):
                return Finding(
                    id=f"control:{scenario.name}/{family}",
                    severity="error",
                    expected=_describe_expected(scenario),
                    observed=audited.void,
                    because=(
                        "If the positive control fails, a RST would not be seen: no verdict of the"
                        " host counts."
                    ),
                )
    return Finding(
        id="control:run",
        severity="error",
        expected="a positive control that holds",
        observed=audited.void,
    )


def _control_failed(scenario: Scenario, observation: Observation | None) -> bool:
    """Returns whether a trial of a positive control ended in another way than expected.

    On a void host the verdict of every scenario has become inconclusive, so the trials count. An
    inconclusive trial is no proof.
    """
    if observation is None:
        return False
    return bool(observation.endings.keys() - {*scenario.expect, "inconclusive"})
