"""Groups hosts by what they observed in one scenario: in a fleet in which no two hosts are equal,
most are equal in most scenarios. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec

from fleetaudit.model import Audited, Observation

from .common import BehaviourGroup, BuildKey, build_key, group_by


class ScenarioGroup(msgspec.Struct, kw_only=True):
    """Hosts of one build, with the same isolation, that share their observations of one scenario.

    `observations` are in the order of the host's, and `hosts` is the number of hosts.
    """

    build: BuildKey
    is_void: bool
    on_host: bool
    observations: Sequence[Observation]
    hosts: int = 0


ScenarioGroups = Mapping[str, Sequence[ScenarioGroup]]


def group_by_scenario(groups: Iterable[BehaviourGroup]) -> ScenarioGroups:
    """Returns the groups of each scenario, all in order of appearance."""
    found = defaultdict[str, dict[Hashable, ScenarioGroup]](dict)
    for group in groups:
        first = group[0]
        build, is_void, on_host = build_key(first), bool(first.void), first.isolation == "host"
        for name, observations in observations_by_name(first).items():
            same = found[name].setdefault(
                (build, is_void, on_host, *map(id, observations)),
                ScenarioGroup(
                    build=build, is_void=is_void, on_host=on_host, observations=observations
                ),
            )
            same.hosts += len(group)
    return {name: list(of_scenario.values()) for name, of_scenario in found.items()}


def observations_by_name(host: Audited) -> dict[str, list[Observation]]:
    """Returns the observations of a host by scenario, both in their order."""
    return group_by(host.observations, attrgetter("scenario"))
