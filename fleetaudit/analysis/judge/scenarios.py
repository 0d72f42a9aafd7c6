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

import itertools
from collections.abc import Iterable, Iterator
from typing import Literal

from fleetaudit.analysis.remediation import scenario_remedy
from fleetaudit.caching.recent import Recent
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

    `expect` are the endings that are correct. It is "untold" also if the verdict is expected but a
    trial ended in another way, and "no expectation" if `expect` is empty. A scenario that did not
    run is "not run" whatever is expected.
    """
    if status := _WITHOUT_VERDICT.get(observation.ending):
        return status
    expected = set[str](expect)
    if not expected:
        return "no expectation"
    if observation.ending not in expected:
        return "not met"
    if not expected.issuperset(observation.endings):
        return "untold"
    return "met"


def describe_endings(observation: Observation) -> str:
    """Returns what was observed, with the trials if they disagree: "RST", "FIN (2 of 3 trials), RST
    (1 of 3 trials)".
    """
    if len(observation.endings) < 2:
        return observation.ending
    counts = sorted(observation.endings.items())
    return ", ".join(f"{ending} ({n} of {observation.trials} trials)" for ending, n in counts)


_HostKey = tuple[int, frozenset[str], str]
"""The identity of a plan's scenarios, and of a host the groups that their conditions name and the
kernel release.
"""
_ObservationKey = tuple[int, int, Family, str]
"""The identities of an observation and its scenario, a family, a kernel release."""


class ScenarioFindings:
    """The findings of the scenarios of one run: those of equal objects are made once.

    Each value keeps the objects whose identity is in its key.
    """

    def __init__(self) -> None:
        self._whole = Recent[
            tuple[int, str, _HostKey], tuple[tuple[Observation, ...], tuple[Finding, ...]]
        ](256)
        self._groups = Recent[int, tuple[tuple[Scenario, ...], frozenset[str]]](256)
        self._expected = Recent[_HostKey, tuple[HostPlan, list[tuple[Scenario, Family]]]](256)
        self._single = Recent[_ObservationKey, tuple[Observation, Scenario, tuple[Finding, ...]]](
            4096
        )

    def find(self, audited: Audited, plan: HostPlan) -> tuple[Finding, ...]:
        """Returns what `judge_scenarios` yields."""
        groups = self._groups_of_conditions(plan.scenarios).intersection(audited.groups)
        host = (id(plan.scenarios), groups, audited.kernel.release)
        key = (id(audited.observations), audited.void, host)
        known = self._whole.get(key)
        if known is None:
            expected = self._expected.get(host)
            if expected is None:
                verdicts = [*_expected_verdicts(audited, plan)]
                expected = self._expected.put(host, (plan, verdicts))
            found = tuple(self._find(audited, plan, expected[1]))
            known = self._whole.put(key, (audited.observations, found))
        return known[1]

    def _groups_of_conditions(self, scenarios: tuple[Scenario, ...]) -> frozenset[str]:
        """Returns the groups that decide which scenarios are expected: most playbooks name none."""
        known = self._groups.get(id(scenarios))
        if known is None:
            named = frozenset(itertools.chain.from_iterable(s.when.groups for s in scenarios))
            known = self._groups.put(id(scenarios), (scenarios, named))
        return known[1]

    def _find(
        self, audited: Audited, plan: HostPlan, expected: Iterable[tuple[Scenario, Family]]
    ) -> Iterator[Finding]:
        """Yields the findings of a host whose observations are a new object."""
        if audited.void:
            yield from judge_scenarios(audited, plan)
            return
        observations = audited.observations_by_scenario()
        for scenario, family in expected:
            observation = observations.get((scenario.name, family))
            yield from self._find_one(scenario, family, observation, audited.kernel.release)

    def _find_one(
        self, scenario: Scenario, family: Family, observation: Observation | None, release: str
    ) -> tuple[Finding, ...]:
        """Returns the finding of one scenario over one family, if there is one."""
        if observation is None:
            return tuple(_judge(scenario, family, observation, release))
        key = (id(observation), id(scenario), family, release)
        known = self._single.get(key)
        if known is not None:
            return known[2]
        found = tuple(_judge(scenario, family, observation, release))
        if not observation.has_long_trace:
            self._single.put(key, (observation, scenario, found))
        return found


def judge_scenarios(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    """Yields a finding for every scenario and family that does not end as expected, or whose ending
    is unknown.

    Its id is such as "scenario:unread-close/ipv4". Scenarios without an expectation, or with one
    that does not apply to the host, have none. A void host has one finding instead, named after the
    positive control that failed: "control:unread-close/ipv4".
    """
    observations = audited.observations_by_scenario()
    if audited.void:
        yield _void_finding(audited, plan, observations)
        return
    for scenario, family in _expected_verdicts(audited, plan):
        observation = observations.get((scenario.name, family))
        yield from _judge(scenario, family, observation, audited.kernel.release)


def _expected_verdicts(audited: Audited, plan: HostPlan) -> Iterator[tuple[Scenario, Family]]:
    """Yields each scenario whose ending is expected on this host, with each of its families."""
    for scenario in plan.scenarios:
        if scenario.expect and applies(scenario.when, audited):
            yield from ((scenario, family) for family in scenario.families)


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
    status = expectation_status(observation, scenario.expect)
    if status == "not met":
        remedy = scenario_remedy(scenario, observation, release)
        yield _not_met(scenario, family, _describe(observation), remedy)
    elif status == "untold":
        yield _unknown(scenario, family, _describe(observation))


def _describe(observation: Observation) -> str:
    """Returns what was observed, with the reason if there is one.

    Such as "RST", "inconclusive; no witness reported".
    """
    endings = describe_endings(observation)
    if not observation.reason:
        return endings
    return f"{endings}; {observation.reason}"


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


# ---- a void host -------------------------------------------------------------------------------


def _void_finding(audited: Audited, plan: HostPlan, observations: _Observations) -> Finding:
    """Returns the one finding of a void host.

    It is named after the first positive control that failed, in the playbook's order, so that its
    id is stable.
    """
    failed = next(_failed_controls(plan, observations), None)
    if failed is None:
        return Finding(
            id="control:run",
            severity="error",
            expected="a positive control that holds",
            observed=audited.void,
        )
    scenario, family = failed
    return Finding(
        id=f"control:{scenario.name}/{family}",
        severity="error",
        expected=_describe_expected(scenario),
        observed=audited.void,
        because=(
            "If the positive control fails, a RST would not be seen: no verdict of the host counts."
        ),
    )


def _failed_controls(
    plan: HostPlan, observations: _Observations
) -> Iterator[tuple[Scenario, Family]]:
    """Yields each positive control with a trial that did not end as expected, in the plan's order.

    On a void host the verdict of every scenario has become inconclusive, so the trials count. An
    inconclusive trial is no proof.
    """
    for scenario in plan.scenarios:
        if scenario.is_positive_control:
            for family in scenario.families:
                if _ended_otherwise(scenario, observations.get((scenario.name, family))):
                    yield scenario, family


def _ended_otherwise(scenario: Scenario, observation: Observation | None) -> bool:
    """Returns whether a trial had a known ending that is not expected."""
    if observation is None:
        return False
    return bool(observation.endings.keys() - {*scenario.expect, "inconclusive"})
