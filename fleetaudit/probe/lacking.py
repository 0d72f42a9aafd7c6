"""Checks what a host says that it lacks: a scenario that needs nothing can run wherever another one
ran over the same family. Pure.
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

    So no host can pass by running its controls only.
    """
    ran: dict[Family, str] = {}
    for (name, family), observation in observations.items():
        if observation.trials:
            ran.setdefault(family, name)
    missing = (key for key, each in observations.items() if each.ending == "not run")
    return {
        key: f"the host ran {ran[key[1]]} over {key[1]}, and this scenario needs nothing more"
        for key in missing
        if key[1] in ran and needs_nothing(planned[key])
    }


def with_doubts(observations: Observations, doubts: Mapping[Key, str]) -> dict[Key, Observation]:
    """Returns the observations, inconclusive where there are doubts."""
    doubted = {key: _doubted(observations[key], why) for key, why in doubts.items()}
    return {**observations, **doubted}


def _doubted(observation: Observation, why: str) -> Observation:
    """Returns an observation as inconclusive; the reason of the host comes first."""
    reason = f"{observation.reason}; but {why}"
    return replace(observation, ending="inconclusive", reason=reason)


def first_missing_tcp(
    planned: Mapping[Key, Scenario], observations: Observations
) -> Observation | None:
    """Returns the first scenario over TCP that needs nothing, if none over TCP ran; else None."""
    over_tcp = {key: each for key, each in observations.items() if key[1] != "unix"}
    if any(each.trials for each in over_tcp.values()):
        return None
    return next((each for key, each in over_tcp.items() if needs_nothing(planned[key])), None)
