"""What changed on each host from run to run: its kernel, its findings, its status. Pure.

Rules: a host whose state is the same in two runs in a row has one entry for both, and hosts that
changed in the same way share one timeline. So a rollout over thousands of hosts is a few dozen
timelines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from fleetaudit.store.outline import GroupOutline, RunOutline

from .model import HostState, HostTimeline

_ABSENT = HostState(status="absent")


def host_timelines(
    outlines: Sequence[RunOutline],
) -> tuple[tuple[HostState, ...], tuple[HostTimeline, ...]]:
    """Returns the states that hosts had, and the timelines that refer to them.

    `outlines` are those of a job, oldest first. Timelines are in the order in which their first
    hosts appear.
    """
    follower = _Follower()
    for index, outline in enumerate(outlines):
        follower.add(index, outline)
    return tuple(follower.states), tuple(follower.timelines())


class _Follower:
    """Follows hosts from run to run; the number of a state is its place in `states`."""

    def __init__(self) -> None:
        self.states = dict[HostState, int]()
        self._last = dict[str, int]()
        self._changes = dict[str, list[tuple[int, int]]]()

    def add(self, index: int, outline: RunOutline) -> None:
        """Adds the changes of the next run, which has this index."""
        ids = [expectation.id for expectation in outline.expectations]
        for group in outline.groups:
            self._change(index, group.hosts, _state(group, outline.releases, ids))
        present = set(chain.from_iterable(group.hosts for group in outline.groups))
        if len(present) < len(self._last):
            self._change(index, [name for name in self._last if name not in present], _ABSENT)

    def _change(self, index: int, hosts: Iterable[str], state: HostState) -> None:
        """Adds a change to each of some hosts that had another state before."""
        number = self.states.setdefault(state, len(self.states))
        changed = [name for name in hosts if self._last.get(name) != number]
        for name in changed:
            self._changes.setdefault(name, []).append((index, number))
        self._last.update(dict.fromkeys(changed, number))

    def timelines(self) -> Iterator[HostTimeline]:
        """Yields the timelines, each with all hosts that changed in that way."""
        hosts = dict[tuple[tuple[int, int], ...], list[str]]()
        for name, changes in self._changes.items():
            hosts.setdefault(tuple(changes), []).append(name)
        for shared, names in hosts.items():
            yield HostTimeline(hosts=tuple(names), changes=shared)


def _state(group: GroupOutline, releases: Sequence[str], ids: Sequence[str]) -> HostState:
    """Returns the state of the hosts of one group."""
    waived = set(group.waived)
    release = None if group.release is None else releases[group.release]
    return HostState(
        status="void" if group.void else group.status,
        release=release,
        findings=tuple(ids[finding] for finding in group.findings if finding not in waived),
    )
