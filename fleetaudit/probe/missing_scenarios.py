"""Checks the scenarios that a host says it could not run: one that needs nothing special can run
wherever another one ran over the same family. Pure.

No verdict is no pass: so no host passes by running its controls only, or nothing over TCP.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from fleetaudit.model import Family, Observation, Scenario

from .controls import Key
from .possible_evidence import needs_nothing

Observations = Mapping[Key, Observation]


def doubt_missing(planned: Mapping[Key, Scenario], observations: Observations) -> dict[Key, str]:
    """Returns why a scenario that was not run has to be inconclusive, by its key.

    Where nothing ran over TCP, that is each control over TCP that every host can run.
    """
    ran = {family: name for (name, family), each in observations.items() if each.trials}
    missing = [key for key, each in observations.items() if each.ending == "not run"]
    doubts = {key: _why(key, ran, planned[key]) for key in missing}
    return {key: why for key, why in doubts.items() if why}


def _why(key: Key, ran: Mapping[Family, str], scenario: Scenario) -> str:
    """Returns why a scenario cannot be missing, "" if it can; `ran` has what ran over a family."""
    family = key[1]
    if not needs_nothing(scenario):
        return ""
    if family in ran:
        return f"the host ran {ran[family]} over {family}, and this scenario needs nothing more"
    if family != "unix" and scenario.control is None and ran.keys() <= {"unix"}:
        return "nothing ran over TCP"
    return ""


def with_doubts(observations: Observations, doubts: Mapping[Key, str]) -> dict[Key, Observation]:
    """Returns the observations, inconclusive where there are doubts."""
    doubted = {key: _doubted(observations[key], why) for key, why in doubts.items()}
    return {**observations, **doubted}


def _doubted(observation: Observation, why: str) -> Observation:
    """Returns an observation as inconclusive; the reason of the host comes first."""
    reason = f"{observation.reason}; but {why}"
    return replace(observation, ending="inconclusive", reason=reason)
