"""Which host is asked what: every selected host exactly once, however many plays match it. Pure.

Rules: a host is probed once, with the union of what its plays ask. Where two plays want of one host
what cannot both be met, that is an error before anything is connected, never a choice made in
silence. A host that no play matches stays in the plan as `NotSelected`; where no play matches any
host, that is an error. Hosts that are asked the same share one tuple, so ten thousand hosts cost
little. Tags choose scenarios and rules as Ansible's choose tasks; the controls of a chosen scenario
are chosen with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    KernelTarget,
    LocalTarget,
    NotAudited,
    NotSelected,
    Plan,
    Play,
    Playbook,
    Scenario,
    SshTarget,
    SysctlExpectation,
)
from fleetaudit.text.host_ranges import fold_hosts

from . import find_contradiction, is_same_experiment
from .expectation_tests import is_selected_by_tags

R = TypeVar("R", bound=Expectation)


def make_plan(
    inventory: Inventory,
    playbooks: Sequence[Playbook],
    *,
    targets: Mapping[str, SshTarget | LocalTarget | KernelTarget | NotAudited],
    selected: Collection[str],
    select: Callable[[str], Collection[str]],
    tags: Collection[str] = (),
    skip_tags: Collection[str] = (),
) -> Plan:
    """Returns what each of the `selected` hosts is asked, in inventory order.

    `targets` says how each selected host is reached; `select` gives the names that a play's pattern
    matches. `tags` and `skip_tags` are those of the command line. Raises `InputError` where plays
    contradict each other on a host, `NothingToDoError` where the tags leave nothing or no play
    matches any selected host; what `select` raises passes through.
    """
    wanted = frozenset(selected)
    strangers = wanted - {host.name for host in inventory.hosts}
    if strangers:
        raise ValueError(f"selected and not in the inventory: {', '.join(sorted(strangers))}")
    kept = [
        (book.source, _tagged(play, tags, skip_tags)) for book in playbooks for play in book.plays
    ]
    if not any(map(_asks, (play for _, play in kept))):
        raise NothingToDoError(
            "no scenario and no rule has the tags that are asked for (--tags"
            f" {','.join(sorted(tags)) or 'all'}"
            + (f" --skip-tags {','.join(sorted(skip_tags))})" if skip_tags else ")")
        )
    # A play that the tags left empty still matches its hosts: they were not forgotten.
    plays = [_Placed(source, play, frozenset(select(play.hosts))) for source, play in kept]
    asked = dict[tuple[int, ...], _Asked]()
    hosts = list[HostPlan]()
    for host in inventory.hosts:
        if host.name in wanted:
            matching = tuple(n for n, placed in enumerate(plays) if host.name in placed.hosts)
            if matching not in asked:
                asked[matching] = _union([plays[n] for n in matching], host.name)
            target = (
                targets[host.name] if matching else NotSelected(name=host.name, groups=host.groups)
            )
            hosts.append(_host_plan(host, target, asked[matching]))
    if hosts and all(isinstance(host.target, NotSelected) for host in hosts):
        raise NothingToDoError(_nothing_matches(plays, hosts))
    lines = {
        id_: (book.source, line) for book in reversed(playbooks) for id_, line in book.lines.items()
    }
    return Plan(playbooks=tuple(book.source for book in playbooks), hosts=tuple(hosts), lines=lines)


class _Placed(NamedTuple):
    source: str
    play: Play
    hosts: frozenset[str]


class _Asked(NamedTuple):
    scenarios: tuple[Scenario, ...] = ()
    trials: int = 1
    isolation: Isolation = "auto"
    sysctls_collect: tuple[str, ...] = ()
    sysctls_expect: Mapping[str, tuple[SysctlExpectation, ...]] = {}
    exposure_expect: Mapping[str, tuple[ExposureExpectation, ...]] = {}
    kernels_expect: Mapping[str, tuple[Expectation, ...]] = {}


def _tagged(play: Play, only: Collection[str], skip: Collection[str]) -> Play:
    """Returns the play with what the tags choose; what is in it has its tags beside its own."""

    def takes(own: Collection[str]) -> bool:
        return is_selected_by_tags({*play.tags, *own}, only, skip)

    def those(rules: Mapping[str, tuple[R, ...]]) -> dict[str, tuple[R, ...]]:
        taken = {
            key: tuple(rule for rule in some if takes(rule.tags)) for key, some in rules.items()
        }
        return {key: some for key, some in taken.items() if some}

    names = {s.name for s in play.scenarios if takes(s.tags)}
    wanted = [s for s in play.scenarios if s.name in names]
    names |= {s.control for s in wanted if s.control is not None}
    if any("RST" in ending for s in wanted for ending in s.expect):
        names |= {s.name for s in play.scenarios if s.is_positive_control}
    sysctls = those(play.sysctls_expect)
    read = (
        key
        for key in play.sysctls_collect
        if key in sysctls or (takes(()) and key not in play.sysctls_expect)
    )
    return msgspec.structs.replace(
        play,
        scenarios=tuple(s for s in play.scenarios if s.name in names),
        sysctls_collect=tuple(read),
        sysctls_expect=sysctls,
        exposure_expect=those(play.exposure_expect),
        kernels_expect=those(play.kernels_expect),
    )


def _asks(play: Play) -> bool:
    asked = (
        play.scenarios,
        play.sysctls_collect,
        play.sysctls_expect,
        play.exposure_expect,
        play.kernels_expect,
    )
    return any(asked)


def _nothing_matches(plays: Sequence[_Placed], hosts: Sequence[HostPlan]) -> str:
    """Returns the message if no play matches any of the `hosts`: the patterns that were tried."""
    names = fold_hosts(host.name for host in hosts)
    more = f" and {names.more} more" if names.more else ""
    tried = dict.fromkeys(f"“hosts: {placed.play.hosts}” ({placed.source})" for placed in plays)
    return (
        f"no play matches any selected host ({', '.join(names.ranges)}{more})\n"
        f"  tried: {', '.join(tried)}\n"
        "  change “hosts:” in the playbook, or select other hosts with --limit"
    )


def _host_plan(
    host: Host,
    target: SshTarget | LocalTarget | KernelTarget | NotAudited | NotSelected,
    asked: _Asked,
) -> HostPlan:
    return HostPlan(
        name=host.name,
        groups=host.groups,
        target=target,
        scenarios=asked.scenarios,
        trials=asked.trials,
        isolation=asked.isolation,
        sysctls_collect=asked.sysctls_collect,
        sysctls_expect={**asked.sysctls_expect},
        exposure_expect={**asked.exposure_expect},
        kernels_expect={**asked.kernels_expect},
        origin=host.origin,
    )


def _union(plays: Sequence[_Placed], host: str) -> _Asked:
    """Returns what the plays that match a host ask of it together."""
    if not plays:
        return _Asked()
    for one, other in itertools.combinations(plays, 2):
        if what := find_contradiction(one.play, other.play):
            raise _contradiction(one, other, f"expect different things of {what}", host)
    trials = max(placed.play.trials for placed in plays)
    return _Asked(
        scenarios=_scenarios(plays, trials, host),
        trials=trials,
        isolation=_isolation(plays, host),
        sysctls_collect=tuple(
            dict.fromkeys(glob for placed in plays for glob in placed.play.sysctls_collect)
        ),
        sysctls_expect=_rules(placed.play.sysctls_expect for placed in plays),
        exposure_expect=_rules(placed.play.exposure_expect for placed in plays),
        kernels_expect=_rules(placed.play.kernels_expect for placed in plays),
    )


def _scenarios(plays: Sequence[_Placed], trials: int, host: str) -> tuple[Scenario, ...]:
    union = dict[str, tuple[Scenario, _Placed]]()
    for placed in plays:
        for scenario in placed.play.scenarios:
            # Its own number, or its play's: another play that matches the host must not multiply
            # it.
            here = msgspec.structs.replace(scenario, trials=scenario.trials or placed.play.trials)
            before, first = union.setdefault(scenario.name, (here, placed))
            if not is_same_experiment(before, here):
                raise _contradiction(
                    first, placed, f"say different things by the scenario “{scenario.name}”", host
                )
            union[scenario.name] = (_both(before, here), first)
    return tuple(
        msgspec.structs.replace(s, trials=None if s.trials == trials else s.trials)
        for s, _ in union.values()
    )


def _both(one: Scenario, other: Scenario) -> Scenario:
    return msgspec.structs.replace(
        one,
        families=tuple(dict.fromkeys((*one.families, *other.families))),
        trials=max(one.trials or 0, other.trials or 0),
        tags=tuple(dict.fromkeys((*one.tags, *other.tags))),
    )


def _isolation(plays: Sequence[_Placed], host: str) -> Isolation:
    asked = [placed for placed in plays if placed.play.isolation != "auto"]
    for one, other in itertools.pairwise(asked):
        if one.play.isolation != other.play.isolation:
            raise _contradiction(one, other, "want different isolation", host)
    return asked[0].play.isolation if asked else "auto"


def _rules(wanted: Iterable[Mapping[str, tuple[R, ...]]]) -> dict[str, tuple[R, ...]]:
    """Returns all that is wanted, by name; what several plays want alike counts once."""
    union = dict[str, tuple[R, ...]]()
    for rules in wanted:
        for key, some in rules.items():
            union[key] = tuple(dict.fromkeys((*union.get(key, ()), *some)))
    return union


def _contradiction(one: _Placed, other: _Placed, what: str, host: str) -> InputError:
    return InputError(
        f"the play “{other.play.name}” and the play “{one.play.name}” ({one.source}) {what}, and"
        f" both match {host}",
        source=other.source,
        hint="make the two agree, or let their “hosts:” not overlap",
    )
