"""Compares endings with expectations; a host whose positive control failed has one finding. Pure.

Rules:
- An ending that could not be told, trials that disagree and a scenario that the host was asked but
  did not report are findings of their own, a warning at most (info stays info: what could not be
  told is never graver than what would have been told). `not run` is none: the host lacks what the
  steps need.
- A scenario without an expectation is observed: it is never a finding, however it ends.
- “sent, not delivered” is never as expected: what close() sent did not arrive, so the peer learned
  nothing.
- On a void host no ending proves anything: one finding says so in place of all its verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from fleetaudit.analysis.remediation import scenario_remedy
from fleetaudit.model import (
    Audited,
    Ending,
    Finding,
    HostPlan,
    Observation,
    Scenario,
    Severity,
)
from fleetaudit.playbook.conditions import applies

ExpectationStatus = Literal["met", "not met", "untold", "not run", "no expectation"]
"""How an observation stands to an expectation."""


def expectation_status(observation: Observation, expect: Iterable[Ending]) -> ExpectationStatus:
    """Returns how `observation` stands to the endings that are all right; without any there is no
    expectation.
    """
    wanted = set[str](expect)
    if observation.ending in ("not run", "inconclusive"):
        return "not run" if observation.ending == "not run" else "untold"
    if not wanted:
        return "no expectation"
    if observation.ending not in wanted:
        return "not met"
    return "met" if wanted.issuperset(observation.endings) else "untold"


def describe_endings(observation: Observation) -> str:
    """Returns what was seen, with its trials where they disagree: "RST", "FIN (2 of 3 trials), RST
    (1 of 3 trials)".
    """
    if len(observation.endings) < 2:
        return observation.ending
    parts = (
        f"{e} ({n} of {observation.trials} trials)" for e, n in sorted(observation.endings.items())
    )
    return ", ".join(parts)


def judged(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for every scenario and family that did not end as expected, or could not be
    told.
    """
    seen = {(o.scenario, o.family): o for o in audited.observations}
    for scenario in plan.scenarios:
        if not scenario.expect or not applies(scenario.when, audited):
            continue
        for family in scenario.families:
            observation = seen.get((scenario.name, family))
            if observation is None:
                yield _finding(
                    scenario, family, "could not be told: the host reported nothing", told=False
                )
                continue
            how = expectation_status(observation, scenario.expect)
            if how in ("met", "not run"):
                continue
            words = describe_endings(observation)
            if how == "untold":
                words = f"could not be told: {words}"
            if observation.reason:
                words = f"{words}; {observation.reason}"
            cure = (
                scenario_remedy(scenario, observation, audited.kernel.release)
                if how == "not met"
                else ""
            )
            yield _finding(scenario, family, words, told=how == "not met", cure=cure)


def _finding(
    scenario: Scenario, family: str, observed: str, *, told: bool, cure: str = ""
) -> Finding:
    return Finding(
        id=f"scenario:{scenario.name}/{family}",
        severity=scenario.severity if told else at_most_warning(scenario.severity),
        expected=" or ".join(scenario.expect),
        observed=observed,
        because=scenario.because,
        fix=scenario.fix or cure,
    )


def at_most_warning(severity: Severity) -> Severity:
    """Returns the severity of what could not be told."""
    return "warning" if severity == "error" else severity


def void(audited: Audited, plan: HostPlan) -> Finding:
    """Returns the one finding of a void host, named after the first positive control that failed,
    in the playbook's order, so that its id is stable.
    """
    seen = {(o.scenario, o.family): o for o in audited.observations}
    for scenario in (s for s in plan.scenarios if s.is_positive_control):
        for family in scenario.families:
            observation = seen.get((scenario.name, family))
            # By what its trials saw: on a void host every ending has become inconclusive.
            if observation and observation.endings.keys() - {*scenario.expect, "inconclusive"}:
                return Finding(
                    id=f"control:{scenario.name}/{family}",
                    severity="error",
                    expected=" or ".join(scenario.expect),
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
