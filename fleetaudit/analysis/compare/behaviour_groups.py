"""Groups hosts with the same behaviour, in one pass over all observations. Pure.

Rules: this is the only place that looks at the observations of every host, at those that hosts
share only once. Everything that follows
from the behaviour of a host is computed once for its group.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from operator import attrgetter

from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import Audited, Observation

from .common import BehaviourGroup, build_key, group_by

_outcome_fields = attrgetter("ending", "trials", "reason")
_observation_fields = attrgetter("scenario", "family", "ending", "trials", "reason")


def group_by_behaviour(audited: Iterable[Audited]) -> tuple[BehaviourGroup, ...]:
    """Returns the hosts by their behaviour, both in order of appearance.

    Evidence and findings do not count as behaviour.
    """
    # Small numbers instead of tuples: a fleet has a million observations, and if no two hosts
    # behave the same, all keys are kept.
    numbers = dict[Hashable, int]()

    def number(key: Hashable) -> int:
        return numbers.setdefault(key, len(numbers))

    def number_observation(o: Observation) -> int:
        return number((_observation_fields(o), _sorted_counts(o.endings)))

    number_one = once_per_object(number_observation)

    def number_observations(observations: tuple[Observation, ...]) -> int:
        return number(tuple(map(number_one, observations)))

    number_all = once_per_object(number_observations)

    def behaviour(host: Audited) -> Hashable:
        """Returns what hosts must share to be in one group."""
        return build_key(host), host.isolation, host.void, number_all(host.observations)

    return tuple(map(tuple, group_by(audited, behaviour).values()))


def outcome_key(observation: Observation) -> Hashable:
    """Returns what the families of one scenario must share to be shown in one row."""
    return _outcome_fields(observation), _sorted_counts(observation.endings)


def _sorted_counts(endings: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Returns (ending, trials) in one order; nearly always there is one ending."""
    if len(endings) < 2:
        return (*endings.items(),)
    return (*sorted(endings.items()),)
