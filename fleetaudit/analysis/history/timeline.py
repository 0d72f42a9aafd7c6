"""Follows the findings of every host from run to run. Pure.

Rules:
- A host that was audited and meets an expectation closes its finding. A host that was not audited,
  or has no verdict, keeps it: what it would show is unknown.
- A host that is no longer in the run, or is not selected by any play, has no findings any more. Nor
  has a host on which nothing checks for the finding: the finding is gone, not closed.
- A finding of a job is closed when no host has it or may have it, and the last run has a host that
  closed it; it is gone if no host closed it.
- What a host had and has is computed once for all hosts with the same two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import filterfalse, repeat
from operator import attrgetter
from typing import NamedTuple

import msgspec

from fleetaudit.store.outline import GroupOutline, RunOutline

Ids = frozenset[str]
_NONE: Ids = frozenset()
_AUDITED_KINDS: Ids = frozenset({"host-key"})
_VALID_KINDS: Ids = frozenset({"host-key", "control"})
"""The kinds of findings that no expectation has: an audited host has no changed host key, and no
control failed on one that is not void.
"""


class Outcome(NamedTuple):
    """What hosts of one group show in one run, as ids of expectations.

    `met_kinds` are the kinds of findings that the hosts cannot have. `unknown` are the expectations
    without a verdict, None for all of them.
    """

    findings: Ids
    waived: Ids
    met: Ids
    met_kinds: Ids
    unknown: Ids | None

    def is_met(self, id_: str) -> bool:
        """Returns whether the hosts, which do not have a finding, show that they do not."""
        return id_ in self.met or kind_of(id_) in self.met_kinds


class Step(msgspec.Struct, frozen=True, eq=False):
    """What is known of the findings of a host after a run, and what the run changed.

    `seen` are the findings of this run, `possible` those of an earlier run that it may still have;
    `waived` are those of both with a waiver. Steps are compared by identity, which is quick.
    """

    seen: Ids
    possible: Ids
    waived: Ids
    closed: Ids
    gone: Ids

    def alive(self) -> Ids:
        """Returns the findings that the host has or may have."""
        return self.seen | self.possible

    def open(self) -> Ids:
        """Returns those of them without a waiver."""
        return self.alive() - self.waived


_START = Step(_NONE, _NONE, _NONE, _NONE, _NONE)
"""What is known of a host before its first run."""


class RunFindings(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of one run: hosts with each, and what the run changed.

    `possible` are those that some host may still have, `open` those that some host has, or may
    have, without a waiver. `met` and `met_kinds` are what some host shows not to have. `added` and
    `removed` are the names of hosts, in the order of the inventory.
    """

    hosts: Mapping[str, int]
    waived: Mapping[str, int]
    possible: Ids
    open: Ids
    met: Collection[str]
    met_kinds: Collection[str]
    opened: tuple[str, ...]
    closed: tuple[str, ...]
    gone: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def count(self, id_: str) -> int | None:
        """Returns how many hosts have a finding, None if the run cannot say."""
        hosts = self.hosts.get(id_, 0)
        if hosts or (id_ not in self.possible and self._is_met(id_)):
            return hosts
        return None

    def count_waived(self, id_: str) -> int:
        """Returns how many hosts have a finding with a waiver."""
        return self.waived.get(id_, 0)

    def _is_met(self, id_: str) -> bool:
        """Returns whether some host shows that it does not have a finding."""
        return id_ in self.met or kind_of(id_) in self.met_kinds


def kind_of(id_: str) -> str:
    """Returns the kind of a finding: "scenario" of "scenario:unread-close/ipv4"."""
    return id_.partition(":")[0]


class Timeline:
    """The findings of a job after the runs so far, which come in the order of time."""

    def __init__(self) -> None:
        self._steps = dict[str, Step]()
        self._alive = _NONE
        self._known = dict[tuple[Ids, ...], Step]()

    def add(self, outline: RunOutline) -> RunFindings:
        """Returns the findings of the next run."""
        outcomes = _outcomes(outline)
        steps, tally = dict[str, Step](), Counter[Step]()
        for group, outcome in zip(outline.groups, outcomes, strict=True):
            befores = [*map(self._steps.get, group.hosts, repeat(_START))]
            after = {before: self._advance(before, outcome) for before in set(befores)}
            of_group = [*map(after.__getitem__, befores)]
            steps.update(zip(group.hosts, of_group, strict=True))
            tally.update(of_group)
        found = self._run_findings(steps, tally, outcomes)
        self._steps, self._alive = steps, _union(map(Step.alive, tally))
        return found

    def _advance(self, before: Step, outcome: Outcome) -> Step:
        """Returns what is known of a host after a run with this outcome."""
        lost = before.alive() - outcome.findings
        closed = frozenset(filter(outcome.is_met, lost))
        left = lost - closed
        possible = left if outcome.unknown is None else left & outcome.unknown
        waived = outcome.waived | (before.waived & possible)
        key = (outcome.findings, possible, waived, closed, left - possible)
        return self._known.setdefault(key, Step(*key))

    def _run_findings(
        self, steps: Mapping[str, Step], tally: Counter[Step], outcomes: Collection[Outcome]
    ) -> RunFindings:
        """Returns the findings of a run, and what it changed since the run before."""
        hosts, waived = Counter[str](), Counter[str]()
        for step, number in tally.items():
            hosts.update(dict.fromkeys(step.seen, number))
            waived.update(dict.fromkeys(step.seen & step.waived, number))
        alive = _union(map(Step.alive, tally))
        left = self._alive - alive
        closed = left & _union(map(attrgetter("closed"), tally))
        return RunFindings(
            hosts=hosts,
            waived=waived,
            possible=_union(map(attrgetter("possible"), tally)),
            open=_union(map(Step.open, tally)),
            met=_union(map(attrgetter("met"), outcomes)),
            met_kinds=_union(map(attrgetter("met_kinds"), outcomes)),
            opened=tuple(sorted(alive - self._alive)),
            closed=tuple(sorted(closed)),
            gone=tuple(sorted(left - closed)),
            added=_missing(steps, self._steps),
            removed=_missing(self._steps, steps),
        )


def _union(sets: Iterable[Ids]) -> Ids:
    """Returns what is in any of some sets."""
    return _NONE.union(*sets)


def _missing(names: Mapping[str, Step], others: Mapping[str, Step]) -> tuple[str, ...]:
    """Returns the names that are not among the others, in their order."""
    return tuple(filterfalse(others.__contains__, names))


def _outcomes(outline: RunOutline) -> list[Outcome]:
    """Returns the outcome of each group of a run."""
    ids = [*map(attrgetter("id"), outline.expectations)]
    checks = [(_ids(check.met, ids), _ids(check.unknown, ids)) for check in outline.checks]
    return [_outcome(group, ids, checks) for group in outline.groups]


def _outcome(group: GroupOutline, ids: Sequence[str], checks: Sequence[tuple[Ids, Ids]]) -> Outcome:
    """Returns the outcome of one group; `checks` are what is met and what is unknown, by index."""
    findings, waived = _ids(group.findings, ids), _ids(group.waived, ids)
    if group.check is None:
        unknown = None if group.status == "not audited" else _NONE
        return Outcome(findings, waived, _NONE, _NONE, unknown)
    met, unknown = checks[group.check]
    met_kinds = _AUDITED_KINDS if group.void else _VALID_KINDS
    return Outcome(findings, waived, met, met_kinds, unknown)


def _ids(indexes: Iterable[int], ids: Sequence[str]) -> Ids:
    """Returns the ids of expectations by their indexes."""
    return frozenset(map(ids.__getitem__, indexes))
