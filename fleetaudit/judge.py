"""Holds what was seen on one host beside what the playbook wants; where they differ there is a finding. Pure.

Rules:
- Nothing that was seen is rewritten: a verdict stands beside an observation, never in its place.
- Only what was told can meet an expectation. An ending that could not be told, trials that disagree and a scenario
  that the host was asked but did not report are findings of their own, a warning at most (info stays info: what could
  not be told is never graver than what would have been told). `not run` is none: the host lacks what the steps need.
- “sent, not delivered” is never as expected: what close() sent did not arrive, so the peer learned nothing.
- On a void host no ending proves anything: one finding says so in place of all its verdicts. Its sysctls still count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from .model import SEVERITIES, Audited, Ending, Finding, HostPlan, Observation, Scenario, Severity, Sysctl, SysctlRule

Relation = Literal["met", "not met", "untold", "not run"]
"""How an observation stands to an expectation."""


def judge(audited: Audited, plan: HostPlan) -> Audited:
    """Returns `audited` with the findings that `plan` gives rise to, gravest first, then by id; earlier ones go."""
    found = [_void(audited, plan)] if audited.void else list(_scenarios(audited, plan))
    found += _sysctls(audited.sysctls, plan.sysctls_expect)
    found.sort(key=lambda f: (-SEVERITIES.index(f.severity), f.id))
    return msgspec.structs.replace(audited, findings=tuple(found))


def relation(observation: Observation, expect: Iterable[Ending]) -> Relation:
    """Returns how `observation` stands to the endings that are all right."""
    wanted = set[str](expect)
    if observation.ending in ("not run", "inconclusive"):
        return "not run" if observation.ending == "not run" else "untold"
    if observation.ending not in wanted:
        return "not met"
    return "met" if wanted.issuperset(observation.endings) else "untold"


def endings_in_words(observation: Observation) -> str:
    """Returns what was seen, with its trials where they disagree: "RST", "FIN (2 of 3 trials), RST (1 of 3 trials)"."""
    if len(observation.endings) < 2:
        return observation.ending
    parts = (f"{e} ({n} of {observation.trials} trials)" for e, n in sorted(observation.endings.items()))
    return ", ".join(parts)


# ---- scenarios -----------------------------------------------------------------------------------------------------


def _scenarios(audited: Audited, plan: HostPlan) -> Iterator[Finding]:
    seen = {(o.scenario, o.family): o for o in audited.observations}
    for scenario in plan.scenarios:
        for family in scenario.families:
            observation = seen.get((scenario.name, family))
            if observation is None:
                yield _finding(scenario, family, "could not be told: the host reported nothing", told=False)
                continue
            how = relation(observation, scenario.expect)
            if how in ("met", "not run"):
                continue
            words = endings_in_words(observation)
            if how == "untold":
                words = f"could not be told: {words}"
            if observation.reason:
                words = f"{words}; {observation.reason}"
            yield _finding(scenario, family, words, told=how == "not met")


def _finding(scenario: Scenario, family: str, observed: str, *, told: bool) -> Finding:
    return Finding(
        id=f"scenario:{scenario.name}/{family}",
        severity=scenario.severity if told else _at_most_warning(scenario.severity),
        expected=" or ".join(scenario.expect),
        observed=observed,
        because=scenario.because,
    )


def _at_most_warning(severity: Severity) -> Severity:
    return "warning" if severity == "error" else severity


def _void(audited: Audited, plan: HostPlan) -> Finding:
    """The finding is named after the first control that failed, in the playbook's order, so that its id is stable."""
    twins = {s.control for s in plan.scenarios}
    controls = {s.name for s in plan.scenarios if s.control is None or s.name in twins}
    seen = {(o.scenario, o.family): o for o in audited.observations}
    for scenario in plan.scenarios:
        for family in scenario.families:
            observation = seen.get((scenario.name, family))
            if scenario.name not in controls or observation is None:
                continue
            if relation(observation, scenario.expect) in ("not met", "untold"):
                return Finding(
                    id=f"control:{scenario.name}/{family}",
                    severity="error",
                    expected=" or ".join(scenario.expect),
                    observed=f"{endings_in_words(observation)}; {audited.void}",
                    because="A control that fails makes every verdict of its host void.",
                )
    return Finding(id="control:run", severity="error", expected="controls that hold", observed=audited.void)


# ---- sysctls -------------------------------------------------------------------------------------------------------


def _sysctls(read: Mapping[str, Sysctl], rules: Mapping[str, SysctlRule]) -> Iterator[Finding]:
    for key, rule in rules.items():
        sysctl = read.get(key)
        if sysctl is None or sysctl.value is None:
            observed = (sysctl.state if sysctl else "") or "not read"
        else:
            observed = _one_space(sysctl.value)
            if _holds(observed, rule):
                continue
        yield Finding(
            id=f"sysctl:{key}",
            severity=rule.severity,
            expected=_rule_in_words(rule),
            observed=observed,
            because=rule.because,
            fix=rule.fix or ("" if rule.equals is None else f"sysctl -w {key}='{_one_space(rule.equals)}'"),
        )


def _holds(value: str, rule: SysctlRule) -> bool:
    if rule.equals is not None and value != _one_space(rule.equals):
        return False
    if rule.one_of is not None and value not in map(_one_space, rule.one_of):
        return False
    if rule.at_least is None and rule.at_most is None:
        return True
    try:
        number = int(value)
    except ValueError:  # "4096 131072 6291456" has no place on one axis: it cannot meet a bound
        return False
    return (rule.at_least is None or number >= rule.at_least) and (rule.at_most is None or number <= rule.at_most)


def _rule_in_words(rule: SysctlRule) -> str:
    words = list[str]()
    if rule.equals is not None:
        words.append(_one_space(rule.equals))
    if rule.one_of is not None:
        words.append("one of " + ", ".join(map(_one_space, rule.one_of)))
    if rule.at_least is not None:
        words.append(f"at least {rule.at_least}")
    if rule.at_most is not None:
        words.append(f"at most {rule.at_most}")
    return " and ".join(words)


def _one_space(text: str) -> str:
    return " ".join(text.split())
