"""Applies the controls of a host: a verdict counts only if its control ended as it must. Pure.

A control counts for the scenarios that name it, over its own family only. The positive control
counts for the whole host: if it fails, an RST would not have been seen. Over AF_UNIX it counts for
AF_UNIX only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from fleetaudit.model import Family, HostPlan, Observation, Scenario

Key = tuple[str, Family]
"""A scenario's name and a family."""
Observations = Mapping[Key, Observation]
MAX_NAMED = 3
"""Maximum number of failed controls that the reason of a void host names."""


class Controlled(NamedTuple):
    """The observations after their controls, why the host is void ("" if it is not), and notes."""

    observations: dict[Key, Observation]
    void: str
    notes: list[str]


def apply_controls(plan: HostPlan, observations: Observations) -> Controlled:
    """Returns the observations of a host, inconclusive where their control failed."""
    scenarios = {scenario.name: scenario for scenario in plan.scenarios}
    controls = _Controls(scenarios, observations)
    positive = [key for key in observations if scenarios[key[0]].is_positive_control]
    failed = [key for key in positive if has_failed(observations[key], scenarios[key[0]])]
    failed_over_tcp = [key for key in failed if key[1] != "unix"]
    over_tcp = _positive_reason(failed_over_tcp)
    over_unix = over_tcp or _positive_reason(failed)
    applied = dict[Key, Observation]()
    for key in observations:
        applied[key] = controls.apply(key, over_unix if key[1] == "unix" else over_tcp)
    notes = (_missing_verdict_note(key, observations) for key in positive)
    return Controlled(applied, controls.void_reason(failed_over_tcp), list(filter(None, notes)))


def _positive_reason(failed: Sequence[Key]) -> str:
    """Returns why a failed positive control makes observations void, "" if none failed."""
    return f"void: control {' over '.join(failed[0])} failed" if failed else ""


def has_failed(observation: Observation, control: Scenario) -> bool:
    """Returns whether a control ended in another way than it must.

    A control without an expectation cannot fail, and an inconclusive one has not failed.
    """
    accepted = (*control.expect, "inconclusive", "not run")
    return bool(control.expect) and observation.ending not in accepted


@dataclass(frozen=True)
class _Controls:
    """The scenarios by name, and what was observed."""

    scenarios: Mapping[str, Scenario]
    observations: Observations

    def apply(self, key: Key, void: str) -> Observation:
        """Returns an observation, inconclusive if it is void or its own control proves nothing.

        `void` is the reason if a positive control failed.
        """
        observation = self.observations[key]
        if not observation.trials:
            return observation
        reason = void or self._failed_control(key)
        return _doubt(observation, reason) if reason else observation

    def void_reason(self, failed: Sequence[Key]) -> str:
        """Returns why all verdicts of the host prove nothing, "" if no positive control failed."""
        texts = [self._describe(key) for key in failed]
        named, more = texts[:MAX_NAMED], len(texts) - MAX_NAMED
        if more > 0:
            named.append(f"and {more} more controls")
        return "; ".join(named)[:4096]

    def _failed_control(self, key: Key) -> str:
        """Returns why the control that a scenario names makes it inconclusive, "" if it does
        not.
        """
        name = self.scenarios[key[0]].control or ""
        control = self.observations.get((name, key[1]))
        if control is None:
            return ""
        if has_failed(control, self.scenarios[name]):
            return f"void: its {self._describe((name, key[1]))}"
        return _missing_verdict(f"its control {name}", control)

    def _describe(self, key: Key) -> str:
        """Returns how a control ended, and how it must end."""
        observation = self.observations[key]
        expected = " or ".join(self.scenarios[key[0]].expect)
        why = f" ({observation.reason[:300]})" if observation.reason else ""
        return (
            f"control {' over '.join(key)} ended {observation.ending} "
            f"where it must end {expected}{why}"
        )


def _missing_verdict(name: str, control: Observation) -> str:
    """Returns why a control has no verdict, "" if it has one."""
    if control.ending not in ("inconclusive", "not run"):
        return ""
    what = "was inconclusive" if control.trials else "was not run"
    return f"{name} {what}: {control.reason[:300]}"


def _missing_verdict_note(key: Key, observations: Observations) -> str:
    """Returns a note if the positive control has no verdict over a family that other scenarios ran
    over.
    """
    over_family = (each for (_, family), each in observations.items() if family == key[1])
    if not any(each.trials for each in over_family):
        return ""
    missing = _missing_verdict(f"the positive control {' over '.join(key)}", observations[key])
    return missing and f"nothing shows that a RST would have been seen: {missing}"


def _doubt(observation: Observation, why: str) -> Observation:
    """Returns the observation as inconclusive; `endings` keeps what was observed."""
    reason = "; ".join(filter(None, (why, observation.reason)))
    return msgspec.structs.replace(observation, ending="inconclusive", reason=reason)
