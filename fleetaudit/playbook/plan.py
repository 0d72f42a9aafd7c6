"""Plans what each host runs: every selected host exactly once, however many plays match it. Pure.

Rules: a host is probed once, with everything that its plays ask. If two plays expect of one host
what cannot both be met, that is an error before anything is connected, never a silent choice. A
host that no play matches stays in the plan as `NotSelected`; if no play matches any host, that is
an error. Hosts with the same plays share one tuple of scenarios, so that ten thousand hosts cost
little. Tags select scenarios and expectations as Ansible's select tasks; the controls of a selected
scenario are selected with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import msgspec

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import (
    Expectation,
    ExposureExpectation,
    Host,
    HostPlan,
    Inventory,
    Isolation,
    NotAudited,
    NotSelected,
    Plan,
    Play,
    Playbook,
    Scenario,
    Service,
    SysctlExpectation,
    Target,
    Watch,
)
from fleetaudit.text.host_ranges import fold_hosts
from fleetaudit.text.phrases import surround

from . import find_contradiction, is_empty, is_same_experiment
from .controls import names_with_controls
from .tags import is_selected_by_tags

T = TypeVar("T")
E = TypeVar("E", bound=Expectation)


class PlacedPlay(NamedTuple):
    """A play, the playbook that it is in, and the names of the hosts that it matches."""

    source: str
    play: Play
    hosts: frozenset[str]


class _Work(NamedTuple):
    """What the plays that match a host ask of it together."""

    scenarios: tuple[Scenario, ...] = ()
    trials: int = 1
    isolation: Isolation = "auto"
    sysctls_collect: tuple[str, ...] = ()
    sysctls_expect: dict[str, tuple[SysctlExpectation, ...]] = {}
    exposure_expect: dict[str, tuple[ExposureExpectation, ...]] = {}
    kernels_expect: dict[str, tuple[Expectation, ...]] = {}
    watch: Watch | None = None
    watch_expect: dict[str, tuple[ExposureExpectation, ...]] = {}
    services: tuple[Service, ...] = ()


def make_plan(
    inventory: Inventory,
    playbooks: Sequence[Playbook],
    *,
    targets: Mapping[str, Target | NotAudited],
    selected: Collection[str],
    select: Callable[[str], Collection[str]],
    tags: Collection[str] = (),
    skip_tags: Collection[str] = (),
) -> Plan:
    """Returns the plan of the `selected` hosts, in inventory order.

    `targets` says how each selected host is reached; `select` returns the names that a play's
    pattern matches. `tags` and `skip_tags` are those of the command line. Raises `InputError` if
    plays contradict each other on a host or have an invalid pattern, `NothingToDoError` if the tags
    select nothing or no play matches any selected host, `ValueError` if a selected host is not in
    the inventory. Other exceptions of `select` pass through.
    """
    plays = _place_plays(playbooks, select, tags, skip_tags)
    planner = _Planner(plays, targets)
    hosts = tuple(map(planner.plan, _selected_hosts(inventory, frozenset(selected))))
    if hosts and all(isinstance(host.target, NotSelected) for host in hosts):
        raise NothingToDoError(_no_match_message(plays, hosts))
    return Plan(
        playbooks=tuple(book.source for book in playbooks if book.source),
        hosts=hosts,
        lines=_lines(playbooks),
    )


def without_services(playbooks: Sequence[Playbook]) -> tuple[Playbook, ...]:
    """Returns the playbooks without their services, which only `fleetaudit services` asks."""
    return tuple(map(_without_services, playbooks))


def _without_services(book: Playbook) -> Playbook:
    """Returns a playbook without its services."""
    plays = tuple(msgspec.structs.replace(play, services=()) for play in book.plays)
    return msgspec.structs.replace(book, plays=plays)


def _selected_hosts(inventory: Inventory, names: frozenset[str]) -> list[Host]:
    """Returns the hosts with these names, in inventory order; raises `ValueError` if one has no
    host.
    """
    hosts = [host for host in inventory.hosts if host.name in names]
    unknown = names.difference(host.name for host in hosts)
    if unknown:
        raise ValueError(f"selected and not in the inventory: {', '.join(sorted(unknown))}")
    return hosts


def _place_plays(
    playbooks: Sequence[Playbook],
    select: Callable[[str], Collection[str]],
    tags: Collection[str],
    skip_tags: Collection[str],
) -> list[PlacedPlay]:
    """Returns the plays with what the tags select; raises `NothingToDoError` if that is nothing.

    A play that the tags left empty still matches its hosts: they were not forgotten.
    """
    plays = list[tuple[str, Play]]()
    for book in playbooks:
        plays += [(book.source, _select_by_tags(play, tags, skip_tags)) for play in book.plays]
    if all(is_empty(play) for _, play in plays):
        named = surround(" --tags ", _tags_text(tags))
        skipped = surround(" --skip-tags ", _tags_text(skip_tags))
        options = surround(" with the tags of", f"{named}{skipped}")
        raise NothingToDoError(f"the playbook has nothing to run{options}")
    return [PlacedPlay(source, play, _hosts_of(source, play, select)) for source, play in plays]


def _hosts_of(source: str, play: Play, select: Callable[[str], Collection[str]]) -> frozenset[str]:
    """Returns the hosts of a play; raises `InputError` at its `hosts:` for an invalid pattern."""
    try:
        return frozenset(select(play.hosts))
    except InputError as e:
        raise InputError(e.message, source=source, line=play.hosts_line, hint=e.hint) from e


def _tags_text(tags: Collection[str]) -> str:
    """Returns tags as an option has them: "a,b", sorted; "" if there are none."""
    return ",".join(sorted(tags))


def _lines(playbooks: Sequence[Playbook]) -> dict[str, tuple[str, int]]:
    """Returns the playbook and the line of each expectation, by the id of its findings.

    If several playbooks have an expectation with one id, the first playbook counts.
    """
    lines = dict[str, tuple[str, int]]()
    for book in playbooks:
        for id_, line in book.lines.items():
            lines.setdefault(id_, (book.source, line))
    return lines


class _Planner:
    """Makes the plans of hosts; hosts that the same plays match share their work."""

    def __init__(
        self, plays: Sequence[PlacedPlay], targets: Mapping[str, Target | NotAudited]
    ) -> None:
        self._plays, self._targets = plays, targets
        self._work = dict[tuple[int, ...], _Work]()

    def plan(self, host: Host) -> HostPlan:
        """Returns the plan of one host; raises `InputError` if its plays contradict each other."""
        matching = tuple(n for n, each in enumerate(self._plays) if host.name in each.hosts)
        work = self._work_of(matching, host)
        return HostPlan(
            name=host.name,
            groups=host.groups,
            target=self._targets[host.name] if matching else _not_selected(host),
            scenarios=work.scenarios,
            trials=work.trials,
            isolation=work.isolation,
            sysctls_collect=work.sysctls_collect,
            sysctls_expect=work.sysctls_expect,
            exposure_expect=work.exposure_expect,
            kernels_expect=work.kernels_expect,
            watch=work.watch,
            watch_expect=work.watch_expect,
            services=work.services,
            origin=host.origin,
        )

    def _work_of(self, matching: tuple[int, ...], host: Host) -> _Work:
        """Returns the work of the plays with these indexes; hosts that they match share it.

        `host` is named if they contradict each other.
        """
        if matching not in self._work:
            self._work[matching] = _combine([self._plays[n] for n in matching], host.name)
        return self._work[matching]


def _not_selected(host: Host) -> NotSelected:
    """Returns the result of a host that no play matches."""
    return NotSelected(name=host.name, groups=host.groups)


def _no_match_message(plays: Sequence[PlacedPlay], hosts: Sequence[HostPlan]) -> str:
    """Returns the message if no play matches any of the `hosts`: the patterns that were tried."""
    names = fold_hosts(host.name for host in hosts)
    tried = dict.fromkeys(f"“hosts: {each.play.hosts}” ({each.source})" for each in plays)
    return (
        f"no play matches any selected host ({', '.join(names.ranges)}"
        f"{surround(' and ', names.more, ' more')})\n"
        f"  tried: {', '.join(tried)}\n"
        "  change “hosts:” in the playbook, or select other hosts with --limit"
    )


# ---- tags


def _select_by_tags(play: Play, only: Collection[str], skip: Collection[str]) -> Play:
    """Returns the play with what the tags select; the play's tags count for everything in it.

    The controls that a selected scenario needs stay, whatever their own tags are.
    """
    selection = _TagSelection(play.tags, only, skip)
    tagged = [scenario for scenario in play.scenarios if selection.has(scenario.tags)]
    names = names_with_controls(tagged, play.scenarios)
    sysctls = selection.expectations(play.sysctls_expect)
    watch_expect = selection.expectations(play.watch_expect)
    return msgspec.structs.replace(
        play,
        scenarios=tuple(s for s in play.scenarios if s.name in names),
        sysctls_collect=selection.collected(play, sysctls.keys()),
        sysctls_expect=sysctls,
        exposure_expect=selection.expectations(play.exposure_expect),
        kernels_expect=selection.expectations(play.kernels_expect),
        watch=play.watch if watch_expect or selection.has(()) else None,
        watch_expect=watch_expect,
        services=tuple(each for each in play.services if selection.has(each.tags)),
    )


@dataclass(frozen=True)
class _TagSelection:
    """The tags of a play, and those of --tags and --skip-tags."""

    of_play: tuple[str, ...]
    only: Collection[str]
    skip: Collection[str]

    def has(self, tags: Collection[str]) -> bool:
        """Returns whether what has these tags, and those of its play, is selected."""
        return is_selected_by_tags({*self.of_play, *tags}, self.only, self.skip)

    def expectations(self, by_name: Mapping[str, tuple[E, ...]]) -> dict[str, tuple[E, ...]]:
        """Returns the expectations that are selected, without names that have none."""
        selected = dict[str, tuple[E, ...]]()
        for name, expectations in by_name.items():
            kept = tuple(each for each in expectations if self.has(each.tags))
            if kept:
                selected[name] = kept
        return selected

    def collected(self, play: Play, expected: Set[str]) -> tuple[str, ...]:
        """Returns the sysctls that the play reads; those `expected` have a selected expectation.

        What the play reads and expects nothing of has the play's tags.
        """
        if not self.has(()):
            return tuple(key for key in play.sysctls_collect if key in expected)
        dropped = play.sysctls_expect.keys() - expected
        return tuple(key for key in play.sysctls_collect if key not in dropped)


# ---- several plays on one host


def _combine(plays: Sequence[PlacedPlay], host: str) -> _Work:
    """Returns what the plays that match a host ask of it together; raises `InputError`."""
    if not plays:
        return _Work()
    _check_agreement(plays, host)
    trials = max(each.play.trials for each in plays)
    return _Work(
        scenarios=_combine_scenarios(plays, trials, host),
        trials=trials,
        isolation=_combine_isolation(plays, host),
        sysctls_collect=_unique(*(each.play.sysctls_collect for each in plays)),
        sysctls_expect=_combine_expectations(each.play.sysctls_expect for each in plays),
        exposure_expect=_combine_expectations(each.play.exposure_expect for each in plays),
        kernels_expect=_combine_expectations(each.play.kernels_expect for each in plays),
        watch=_combine_watches(each.play.watch for each in plays),
        watch_expect=_combine_expectations(each.play.watch_expect for each in plays),
        services=_combine_services(plays, host),
    )


def _check_agreement(plays: Sequence[PlacedPlay], host: str) -> None:
    """Raises `InputError` if two plays expect of a host what no value can meet."""
    for one, other in itertools.combinations(plays, 2):
        if name := find_contradiction(one.play, other.play):
            raise _contradiction(one, other, f"expect different things of {name}", host)


def _unique(*several: Iterable[T]) -> tuple[T, ...]:
    """Returns the items of all arguments, each once, where it was first."""
    return tuple(dict.fromkeys(itertools.chain(*several)))


def _combine_scenarios(plays: Sequence[PlacedPlay], trials: int, host: str) -> tuple[Scenario, ...]:
    """Returns each scenario of the plays once; raises `InputError` if two differ and share a
    name.
    """
    combined = dict[str, tuple[Scenario, PlacedPlay]]()
    for placed, here in _scenarios_of(plays):
        before, first = combined.setdefault(here.name, (here, placed))
        if not is_same_experiment(before, here):
            what = f"define the scenario “{here.name}” differently"
            raise _contradiction(first, placed, what, host)
        combined[here.name] = (_merge_scenarios(before, here), first)
    return tuple(_without_usual_trials(scenario, trials) for scenario, _ in combined.values())


def _scenarios_of(plays: Iterable[PlacedPlay]) -> Iterator[tuple[PlacedPlay, Scenario]]:
    """Yields every scenario with its play, and with its own number of trials or its play's: another
    play of the host must not raise it.
    """
    for placed in plays:
        for scenario in placed.play.scenarios:
            trials = scenario.trials or placed.play.trials
            yield placed, msgspec.structs.replace(scenario, trials=trials)


def _without_usual_trials(scenario: Scenario, trials: int) -> Scenario:
    """Returns a scenario with its number of trials only if that is not `trials`, the host's.

    So hosts whose plays say the same in different ways have the same plan.
    """
    if scenario.trials != trials:
        return scenario
    return msgspec.structs.replace(scenario, trials=None)


def _merge_scenarios(one: Scenario, other: Scenario) -> Scenario:
    """Returns a scenario with the families, tags and trials of both; both have trials."""
    return msgspec.structs.replace(
        one,
        families=_unique(one.families, other.families),
        trials=max(filter(None, (one.trials, other.trials))),
        tags=_unique(one.tags, other.tags),
    )


def _combine_isolation(plays: Sequence[PlacedPlay], host: str) -> Isolation:
    """Returns the isolation that the plays ask for; raises `InputError` if two ask for different
    ones.

    A play with "auto" asks for none.
    """
    asking = [each for each in plays if each.play.isolation != "auto"]
    if not asking:
        return "auto"
    for one, other in itertools.pairwise(asking):
        if one.play.isolation != other.play.isolation:
            raise _contradiction(one, other, "ask for different isolation", host)
    return asking[0].play.isolation


def _combine_watches(watches: Iterable[Watch | None]) -> Watch | None:
    """Returns the longest watch of the plays, with peers if one asks for them."""
    asked = [watch for watch in watches if watch is not None]
    if not asked:
        return None
    peers = any(watch.peers for watch in asked)
    return Watch(seconds=max(watch.seconds for watch in asked), peers=peers)


def _combine_services(plays: Sequence[PlacedPlay], host: str) -> tuple[Service, ...]:
    """Returns each service of the plays once; raises `InputError` if two differ and share a
    name.
    """
    combined = dict[str, tuple[Service, PlacedPlay]]()
    for placed in plays:
        for service in placed.play.services:
            before, first = combined.setdefault(service.name, (service, placed))
            if before != service:
                what = f"define the service “{service.name}” differently"
                raise _contradiction(first, placed, what, host)
    return tuple(service for service, _ in combined.values())


def _combine_expectations(
    several: Iterable[Mapping[str, tuple[E, ...]]],
) -> dict[str, tuple[E, ...]]:
    """Returns all expectations by name; equal ones of several plays count once."""
    combined = dict[str, tuple[E, ...]]()
    for expectations in several:
        for key, some in expectations.items():
            combined[key] = _unique(combined.get(key, ()), some)
    return combined


def _contradiction(one: PlacedPlay, other: PlacedPlay, what: str, host: str) -> InputError:
    """Returns the error about two plays that cannot run on one host."""
    return InputError(
        f"the play “{other.play.name}” and the play “{one.play.name}” ({one.source}) {what}, and"
        f" both match {host}",
        source=other.source,
        hint="make the two agree, or let their “hosts:” not overlap",
    )
