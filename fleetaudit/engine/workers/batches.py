"""Divides the hosts of a plan: batches for workers, hosts that stay here, hosts that are not sent.

Rules: a target that is this machine, or that this machine boots, is audited here. A host with a
password is not sent. Hosts of different sites are in different batches, because a site is where
they can be reached from. A batch is large enough that its start costs little, and small enough that
every worker has some and a lost one costs little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fleetaudit.model import HostPlan, NoTarget, Target
from fleetaudit.transport.registry import transport_of

SMALLEST, LARGEST = 50, 200
"""The usual number of hosts in a batch."""
_BATCHES_PER_WORKER = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Hosts that one task audits: their indexes in the plan, and the site, "" for any worker."""

    site: str
    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Division:
    """The hosts of a plan, by index: `remote` by site, `local`, and `with_password`.

    Each host is in exactly one of them.
    """

    remote: dict[str, list[int]]
    local: list[int]
    with_password: list[int]


def divide_hosts(hosts: Sequence[HostPlan]) -> Division:
    """Returns where each host of a plan is audited."""
    division = Division({}, [], [])
    for index, host in enumerate(hosts):
        _indexes_of(division, host).append(index)
    return division


def _indexes_of(division: Division, host: HostPlan) -> list[int]:
    """Returns the part of the division that a host belongs to."""
    target = host.target
    if isinstance(target, NoTarget) or not transport_of(target).is_remote:
        return division.local
    if has_password(target):
        return division.with_password
    return division.remote.setdefault(target.site, [])


def has_password(target: Target) -> bool:
    """Returns whether a target has a password, to log in or to become another user."""
    return target.password is not None or (
        target.become is not None and target.become.password is not None
    )


def make_batches(remote: dict[str, list[int]], workers: int) -> list[Batch]:
    """Returns the batches of the hosts of each site, in the order of the sites and hosts.

    `workers` is how many workers share them, at least 1.
    """
    batches = list[Batch]()
    for site, indexes in remote.items():
        size = _batch_size(len(indexes), workers)
        batches += (Batch(site, part) for part in _parts(indexes, size))
    return batches


def _batch_size(hosts: int, workers: int) -> int:
    """Returns how many hosts one batch gets."""
    share = -(-hosts // (workers * _BATCHES_PER_WORKER))
    return min(LARGEST, max(SMALLEST, share))


def _parts(indexes: Sequence[int], size: int) -> Iterable[tuple[int, ...]]:
    """Yields the indexes in parts of `size`; the last may be smaller."""
    for start in range(0, len(indexes), size):
        yield tuple(indexes[start : start + size])
