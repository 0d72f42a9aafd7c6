"""Applies the controls of a host: a verdict counts only if its control ended as it must. Pure.

A control counts for the scenarios that name it, over its own family only. The positive control
counts for the whole host: if it fails, an RST would not have been seen. Over AF_UNIX it counts for
AF_UNIX only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from fleetaudit.model import Family, HostPlan, Observation, Scenario, by_name
from fleetaudit.text.phrases import surround

Key = tuple[str, Family]
"""A scenario's name and a family."""
Observations = Mapping[Key, Observation]
Doubt = Callable[[Observation, str], Observation]
"""Returns an observation as inconclusive, with the reason why."""
MAX_NAMED = 3
"""Maximum number of failed controls that the reason of a void host names."""
_NO_VERDICT = frozenset({"inconclusive", "not run"})
"""Verdicts that are not endings."""


class Controlled(NamedTuple):
    """The observations after their controls, why the host is void ("" if it is not), and notes."""

    observations: dict[Key, Observation]
    void: str
    notes: list[str]


def apply_controls(
    plan: HostPlan, observations: Observations, doubt: Doubt | None = None
) -> Controlled:
    """Returns the observations of a host, inconclusive where their control failed.

    A failed positive control over TCP makes the verdicts of all families void: an RST would not
    have been seen. One over AF_UNIX counts for AF_UNIX only. `doubt` is what makes an observation
    inconclusive, if it is not the function of this name.
    """
    scenarios = by_name(plan.scenarios)
    controls = _Controls(scenarios, observations, doubt or make_inconclusive)
    names = [scenario.name for scenario in plan.scenarios if scenario.is_positive_control]
    positive = controls.observed(names)
    failed = [key for key in positive if controls.has_failed(key)]
    failed_over_tcp = [key for key in failed if key[1] != "unix"]
    over_tcp = _positive_reason(failed_over_tcp)
    reasons = defaultdict[Family, str](lambda: over_tcp)
    reasons["unix"] = over_tcp or _positive_reason(failed)
    doubts = controls.doubts()
    controlled = {**observations}
    # On most hosts few controls prove nothing, so that few scenarios are looked at.
    for key in observations if failed else controls.naming(doubts):
        why = reasons[key[1]] or doubts.get(controls.control_of(key), "")
        controlled[key] = controls.apply(key, why)
    return Controlled(
        controlled,
        controls.void_reason(failed_over_tcp),
        [*filter(None, map(controls.missing_verdict_note, positive))],
    )


def _positive_reason(failed: Sequence[Key]) -> str:
    """Returns why a failed positive control makes observations void, "" if none failed.

    Of several the first is named: "void: control zero-linger-close over ipv4 failed".
    """
    if not failed:
        return ""
    return f"void: control {' over '.join(failed[0])} failed"


def has_failed(observation: Observation, control: Scenario) -> bool:
    """Returns whether a control ended in another way than it must.

    A control without an expectation cannot fail, and an inconclusive one, or one that was not run,
    has not failed: it has no verdict.
    """
    if not control.expect or observation.ending in _NO_VERDICT:
        return False
    return observation.ending not in control.expect


@dataclass(frozen=True)
class _Controls:
    """The scenarios by name, and what was observed."""

    scenarios: Mapping[str, Scenario]
    observations: Observations
    doubt: Doubt

    def has_failed(self, key: Key) -> bool:
        """Returns whether the control that was observed as `key` failed."""
        return has_failed(self.observations[key], self.scenarios[key[0]])

    def observed(self, names: Iterable[str]) -> list[Key]:
        """Returns the observations of the scenarios with these names, over each family."""
        keys = [(name, family) for name in names for family in self.scenarios[name].families]
        return [key for key in keys if key in self.observations]

    def control_of(self, key: Key) -> Key:
        """Returns the control that a scenario names over its family; no name if it names none."""
        return self.scenarios[key[0]].control or "", key[1]

    def naming(self, controls: Collection[Key]) -> list[Key]:
        """Returns the observations whose scenarios name one of these controls."""
        names = {name for name, _ in controls}
        naming = [each.name for each in self.scenarios.values() if each.control in names]
        return [key for key in self.observed(naming) if self.control_of(key) in controls]

    def apply(self, key: Key, why: str) -> Observation:
        """Returns an observation, inconclusive if `why` says so and it has trials."""
        observation = self.observations[key]
        if not observation.trials or not why:
            return observation
        return self.doubt(observation, why)

    def doubts(self) -> dict[Key, str]:
        """Returns why each control that proves nothing makes the scenarios that name it
        inconclusive.
        """
        names = dict.fromkeys(each.control or "" for each in self.scenarios.values())
        known = self.observed(name for name in names if name in self.scenarios)
        return {key: reason for key in known if (reason := self._failed_control(key))}

    def void_reason(self, failed: Sequence[Key]) -> str:
        """Returns why all verdicts of the host prove nothing, "" if no positive control failed.

        Names `MAX_NAMED` controls at most, in at most 4,096 characters.
        """
        named = [*map(self._describe, failed[:MAX_NAMED])]
        more = len(failed) - MAX_NAMED
        if more > 0:
            named.append(f"and {more} more controls")
        return "; ".join(named)[:4096]

    def missing_verdict_note(self, key: Key) -> str:
        """Returns a note if the positive control has no verdict over a family that other scenarios
        ran over, else "".
        """
        over_family = (each for (_, family), each in self.observations.items() if family == key[1])
        if not any(each.trials for each in over_family):
            return ""
        name = f"the positive control {' over '.join(key)}"
        missing = _missing_verdict(name, self.observations[key])
        return surround("nothing shows that a RST would have been seen: ", missing)

    def _failed_control(self, control: Key) -> str:
        """Returns why a control makes a scenario that names it inconclusive, "" if it does not."""
        if self.has_failed(control):
            return f"void: its {self._describe(control)}"
        return _missing_verdict(f"its control {control[0]}", self.observations[control])

    def _describe(self, key: Key) -> str:
        """Returns how a control ended, and how it must end."""
        observation = self.observations[key]
        expected = " or ".join(self.scenarios[key[0]].expect)
        return (
            f"control {' over '.join(key)} ended {observation.ending} "
            f"where it must end {expected}{surround(' (', observation.reason[:300], ')')}"
        )


def _missing_verdict(name: str, control: Observation) -> str:
    """Returns why a control has no verdict, "" if it has one, also if the control failed."""
    if control.ending not in _NO_VERDICT:
        return ""
    what = "was inconclusive" if control.trials else "was not run"
    return f"{name} {what}: {control.reason[:300]}"


def make_inconclusive(observation: Observation, why: str) -> Observation:
    """Returns the observation as inconclusive; `endings` keeps what was observed.

    `why` comes before a reason that the observation has already.
    """
    reason = "; ".join(filter(None, (why, observation.reason)))
    return msgspec.structs.replace(observation, ending="inconclusive", reason=reason)
