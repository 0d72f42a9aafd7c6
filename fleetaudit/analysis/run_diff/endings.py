"""Counts how the hosts of two runs ended each scenario, by kernel build before and after. Pure.

Rules: what a change means was decided by `analysis.drift`; here it is only counted. Every host that
some run audited is counted once in each scenario. Hosts with the same builds, endings and changes
are counted as one group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat, starmap
from operator import attrgetter
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from fleetaudit.analysis.compare.changes import effect_text
from fleetaudit.analysis.compare.columns import NOT_IN_PLAYBOOK
from fleetaudit.analysis.compare.common import BuildKey, build_key, group_by, verdict_of
from fleetaudit.analysis.compare.view_model import Verdict
from fleetaudit.analysis.drift.host_pairs import Pairs
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    Audited,
    Change,
    Family,
    HostResult,
    Observation,
    ScenarioRow,
)

from .view_model import EndingChange

MoveKey = tuple[BuildKey | None, BuildKey | None]
"""The kernel builds of a host before and after; None in a run that did not audit it."""
Subject = tuple[str, Family]
"""A scenario over one family."""
NOT_REPORTED = "not reported"
"""Stands for an ending that the run asked for and the host did not report."""

_IF_PLANNED = {NOT_IN_PLAYBOOK: NOT_REPORTED}
_Presence = Literal["no result", "void", "valid"]
"""What one run knows of a host: it did not audit it, its control failed, or its endings count."""
_MOST_EXAMPLES = 20
"""How many hosts of a group are kept, to find one with packets."""


class HostSides(NamedTuple):
    """One host in two runs; None in a run that did not audit it."""

    before: Audited | None
    after: Audited | None

    @property
    def name(self) -> str:
        """The name of the host; that of the later run, if it has changed."""
        return next(host.name for host in (self.after, self.before) if host)

    @property
    def move(self) -> MoveKey:
        """The kernel builds before and after."""
        return _build_of(self.before), _build_of(self.after)


class EndingCounts(msgspec.Struct, frozen=True):
    """How many hosts ended a scenario in which way, by scenario and by kernel move.

    `hosts` are by move, in order of appearance; `changed` are the moves with a change. `examples`
    has some hosts of each ending that changed.
    """

    hosts: dict[MoveKey, list[HostSides]]
    changed: set[MoveKey]
    counts: dict[Subject, dict[MoveKey, Counter[EndingChange]]]
    examples: dict[tuple[Subject, EndingChange], list[HostSides]]


def count_endings(
    pairs: Pairs, changes: Iterable[Change], rows: Mapping[str, ScenarioRow]
) -> EndingCounts:
    """Returns the endings of all hosts of two runs, which are paired in `pairs`.

    `changes` are those between the two runs, `rows` the scenarios that judge both, by name.
    """
    by_host = _changes_by_host(changes)
    endings_number = _number_endings()

    def shared_parts(sides: HostSides) -> Hashable:
        """Returns what hosts must share to be in one group."""
        observed = tuple(endings_number(_observations(host)) for host in sides)
        voids = tuple(bool(host and host.void) for host in sides)
        return sides.move, observed, voids, _change_keys(by_host.get(sides.name, {}))

    counts = EndingCounts({}, set(), defaultdict(lambda: defaultdict(Counter)), defaultdict(list))
    counter = _Counter(counts, rows)
    for group in group_by(_each_host(pairs), shared_parts).values():
        counter.add(group, by_host.get(group[0].name, {}))
    return counts


def _each_host(pairs: Pairs) -> Iterator[HostSides]:
    """Yields every host that some run audited; a rebuilt host is two machines."""
    earlier = chain(map(attrgetter("before"), pairs.rebuilt), pairs.gone)
    later = chain(map(attrgetter("after"), pairs.rebuilt), pairs.new)
    sides = chain(
        map(attrgetter("before", "after"), pairs.both),
        zip(earlier, repeat(None)),
        zip(repeat(None), later),
    )
    return filter(any, starmap(_audited_sides, sides))


def _audited_sides(before: HostResult | None, after: HostResult | None) -> HostSides:
    """Returns a host in the runs that audited it."""
    return HostSides(_audited(before), _audited(after))


def _audited(host: HostResult | None) -> Audited | None:
    """Returns the host if it was audited."""
    return host if isinstance(host, Audited) else None


def _build_of(host: Audited | None) -> BuildKey | None:
    """Returns the kernel build of a host."""
    return build_key(host) if host else None


def _observations(host: Audited | None) -> tuple[Observation, ...]:
    """Returns the observations of a host, () without one."""
    return host.observations if host else ()


def _changes_by_host(changes: Iterable[Change]) -> dict[str, dict[str, Change]]:
    """Returns the changes of endings by host and by id."""
    found = defaultdict[str, dict[str, Change]](dict)
    for change in changes:
        if change.kind == "scenario":
            found[change.host][change.what] = change
    return found


def _change_keys(changes: Mapping[str, Change]) -> Hashable:
    """Returns what the changes of two hosts must share to be counted together."""
    return tuple((what, c.effect, c.severity, c.waived is None) for what, c in changes.items())


def _number_endings() -> Callable[[tuple[Observation, ...]], int]:
    """Returns a function that gives observations with the same endings the same number."""
    numbers = dict[Hashable, int]()

    def number_one(o: Observation) -> int:
        return numbers.setdefault((o.scenario, o.family, _label_of(o)), len(numbers))

    once = once_per_object(number_one)

    def number_all(observations: tuple[Observation, ...]) -> int:
        return numbers.setdefault(tuple(map(once, observations)), len(numbers))

    return once_per_object(number_all)


def _label_of(observation: Observation) -> str:
    """Returns the ending; trials that disagree are "mixed"."""
    return "mixed" if observation.is_mixed else observation.ending


class _Counter:
    """Counts groups of hosts into `counts`; an ending that many hosts share is made once."""

    def __init__(self, counts: EndingCounts, rows: Mapping[str, ScenarioRow]) -> None:
        self._counts, self._rows = counts, rows
        self._endings = once_per_object(_compare_endings)

    def add(self, group: Sequence[HostSides], changes: Mapping[str, Change]) -> None:
        """Counts hosts that share all their endings; `changes` are those of each of them."""
        first, counts = group[0], self._counts
        move = first.move
        counts.hosts.setdefault(move, []).extend(group)
        before, after = map(_presence_of, first)
        earlier, later = map(_by_subject, first)
        for subject in later | earlier:
            row, observed = self._rows[subject[0]], (earlier.get(subject), later.get(subject))
            ending = self._endings(row, before, after, *observed)
            change = changes.get(f"scenario:{subject[0]}/{subject[1]}")
            if change:
                ending = _with_effect(ending, change)
                counts.changed.add(move)
                counts.examples[subject, ending].extend(group[:_MOST_EXAMPLES])
            counts.counts[subject][move][ending] += len(group)


def _presence_of(host: Audited | None) -> _Presence:
    """Returns what is known of a host in one run."""
    match host:
        case None:
            return "no result"
        case Audited(void=void) if void:
            return "void"
        case _:
            return "valid"


def _by_subject(host: Audited | None) -> dict[Subject, Observation]:
    """Returns the observations of a host by scenario and family."""
    return host.observations_by_scenario() if host else {}


def _compare_endings(
    row: ScenarioRow,
    before: _Presence,
    after: _Presence,
    earlier: Observation | None,
    later: Observation | None,
) -> EndingChange:
    """Returns how hosts ended the scenario `row` in each run, as if that were no change.

    `earlier` and `later` are None if the host reported nothing.
    """
    return EndingChange(
        before=_label(before, earlier),
        after=_label(after, later),
        verdict_before=_verdict(before, earlier, row),
        verdict_after=_verdict(after, later, row),
    )


def _label(presence: _Presence, observation: Observation | None) -> str:
    """Returns the ending, or why there is none."""
    match presence, observation:
        case "no result", _:
            return ""
        case "void", _:
            return "void"
        case _, None:
            return NOT_IN_PLAYBOOK
        case _, Observation():
            return _label_of(observation)


def _verdict(presence: _Presence, observation: Observation | None, row: ScenarioRow) -> Verdict:
    """Returns the verdict on the ending, by the present expectation."""
    match presence, observation:
        case "void", _:
            return "void"
        case _, Observation():
            return verdict_of(observation, row)
        case _:
            return "not run"


def _with_effect(ending: EndingChange, change: Change) -> EndingChange:
    """Returns an ending with what its change means; both runs asked for the scenario."""
    return replace(
        ending,
        before=_IF_PLANNED.get(ending.before, ending.before),
        after=_IF_PLANNED.get(ending.after, ending.after),
        effect=change.effect,
        effect_text=effect_text(change.effect),
        severity=change.severity,
        is_waived=change.waived is not None and change.effect != "fix",
    )


def observation_of(host: Audited | None, subject: Subject) -> Observation | None:
    """Returns the observation of a scenario over one family, None if the host has none."""
    matching = (o for o in _observations(host) if (o.scenario, o.family) == subject)
    return next(matching, None)
