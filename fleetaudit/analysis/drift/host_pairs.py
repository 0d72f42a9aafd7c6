"""Which host of one run is which of the other: by name, by machine-id where that speaks against a
name. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fleetaudit.model import Audited, HostResult


@dataclass(frozen=True, slots=True)
class Pair:
    """One host in both runs."""

    before: HostResult
    after: HostResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Every host once: `both` are laid side by side, in the later run's order; `rebuilt` are not."""

    both: tuple[Pair, ...]
    rebuilt: tuple[Pair, ...]
    gone: tuple[HostResult, ...]
    new: tuple[HostResult, ...]


def pair_up(before: Sequence[HostResult], after: Sequence[HostResult]) -> Pairs:
    """Returns every host of either run once: paired, rebuilt, gone or new."""
    ids_before, ids_after = _machines(before), _machines(after)
    earlier = {host.name: host for host in before}
    names_after = {host.name for host in after}
    # Only a name that is gone can have become one that is new: two names that are in both runs
    # never swap.
    left = {
        ids_before[h.name]: h for h in before if h.name not in names_after and h.name in ids_before
    }
    both, rebuilt, new, renamed = list[Pair](), list[Pair](), list[HostResult](), set[str]()
    for host in after:
        machine = ids_after.get(host.name)
        if old := earlier.get(host.name):
            was = ids_before.get(host.name)
            (rebuilt if machine and was and machine != was else both).append(Pair(old, host))
        elif machine and machine in left:
            both.append(Pair(left[machine], host))
            renamed.add(left[machine].name)
        else:
            new.append(host)
    gone = tuple(h for h in before if h.name not in names_after and h.name not in renamed)
    return Pairs(both=tuple(both), rebuilt=tuple(rebuilt), gone=gone, new=tuple(new))


def _machines(hosts: Iterable[HostResult]) -> dict[str, str]:
    """The machine-id of each host that has one of its own, by name."""
    told = [(h.name, h.machine_id) for h in hosts if isinstance(h, Audited) and h.machine_id]
    counts = Counter(machine for _, machine in told)
    return {name: machine for name, machine in told if counts[machine] == 1}
