"""Which hosts were seen to behave alike, found in one pass over all that was seen. Pure.

Rules: this is the only place that looks at every observation of every host. Whatever follows from a
host's behaviour is told once for all that share it, with their number.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from operator import attrgetter

from fleetaudit.model import Audited, Observation

from .common import Alike, build_key, grouped

_words = attrgetter("ending", "trials", "reason")
_all_words = attrgetter("scenario", "family", "ending", "trials", "reason")


def alike_of(audited: Iterable[Audited]) -> tuple[Alike, ...]:
    """Returns the hosts by their behaviour, evidence and findings apart; both in order of
    appearance.
    """
    # Numbers, because a fleet has a million observations and where no two hosts are alike all of
    # them are kept.
    numbers = dict[Hashable, int]()

    def behaviour(host: Audited) -> Hashable:
        seen = [
            numbers.setdefault((_all_words(o), _counts(o.endings)), len(numbers))
            for o in host.observations
        ]
        return build_key(host), host.isolation, host.void, tuple(seen)

    return tuple(map(tuple, grouped(audited, behaviour).values()))


def outcome(o: Observation) -> Hashable:
    """Returns what families of one scenario must have in common to share a line."""
    return _words(o), _counts(o.endings)


def _counts(endings: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """What the trials saw, in one order; nearly always one ending."""
    return (*endings.items(),) if len(endings) < 2 else (*sorted(endings.items()),)
