"""Groups hosts by what they observed in one scenario: in a fleet in which no two hosts are equal,
most are equal in most scenarios. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from operator import attrgetter

import msgspec

from fleetaudit.model import Audited, Observation

from .common import BehaviourGroup, BuildKey, build_key, group_by


class ScenarioGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts of one build, with the same isolation, that share their observations of one scenario.

    `observations` are in the order of the host's, and `hosts` is the number of hosts.
    """

    build: BuildKey
    is_void: bool
    on_host: bool
    observations: Sequence[Observation]
    hosts: int


ScenarioGroups = Mapping[str, list[ScenarioGroup]]


_Key = tuple[BuildKey, bool, bool, tuple[int, ...]]
"""Build, whether void, whether in the host's namespace, and the ids of the observations."""


def group_by_scenario(groups: Iterable[BehaviourGroup]) -> ScenarioGroups:
    """Returns the groups of each scenario, all in order of appearance."""
    found = defaultdict[str, dict[_Key, _Members]](dict)
    for group in groups:
        first = group[0]
        build, is_void, on_host = build_key(first), bool(first.void), first.isolation == "host"
        for name, observations in observations_by_name(first).items():
            key = build, is_void, on_host, tuple(map(id, observations))
            members = found[name].setdefault(key, _Members(observations))
            members.hosts += len(group)
    return {
        name: list(starmap(_scenario_group, of_scenario.items()))
        for name, of_scenario in found.items()
    }


def observations_by_name(host: Audited) -> dict[str, list[Observation]]:
    """Returns the observations of a host by scenario, both in their order."""
    return group_by(host.observations, attrgetter("scenario"))


class _Members(msgspec.Struct):
    """The observations that hosts share, and how many hosts these are."""

    observations: list[Observation]
    hosts: int = 0


def _scenario_group(key: _Key, members: _Members) -> ScenarioGroup:
    """Returns a group whose hosts are counted."""
    build, is_void, on_host, _ = key
    return ScenarioGroup(
        build=build,
        is_void=is_void,
        on_host=on_host,
        observations=members.observations,
        hosts=members.hosts,
    )
