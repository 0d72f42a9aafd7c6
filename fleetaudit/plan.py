"""Which host is asked what: every selected host exactly once, however many plays match it. Pure.

Rules: a host is probed once, with the union of what its plays ask. Where two plays want different things of one host,
that is an error before anything is connected, never a choice made in silence. A selected host that no play matches
stays in the plan and says so. Hosts that are asked the same share one tuple, so ten thousand hosts cost little.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from .errors import InputError
from .model import (
    Host,
    HostPlan,
    Inventory,
    Isolation,
    KernelTarget,
    LocalTarget,
    NotAudited,
    Plan,
    Play,
    Playbook,
    Scenario,
    SshTarget,
    SysctlRule,
)
from .playbook import same_experiment


def make_plan(
    inventory: Inventory,
    playbooks: Sequence[Playbook],
    *,
    targets: Mapping[str, SshTarget | LocalTarget | KernelTarget | NotAudited],
    selected: Collection[str],
    select: Callable[[str], Collection[str]],
) -> Plan:
    """Returns what each of the `selected` hosts is asked, in inventory order.

    `targets` says how each selected host is reached; `select` gives the names that a play's pattern matches. Raises
    `InputError` where plays contradict each other on a host; what `select` raises passes through.
    """
    wanted = frozenset(selected)
    strangers = wanted - {host.name for host in inventory.hosts}
    if strangers:
        raise ValueError(f"selected and not in the inventory: {', '.join(sorted(strangers))}")
    plays = [_Placed(book.source, play, frozenset(select(play.hosts))) for book in playbooks for play in book.plays]
    asked = dict[tuple[int, ...], _Asked]()
    hosts = list[HostPlan]()
    for host in inventory.hosts:
        if host.name in wanted:
            matching = tuple(n for n, placed in enumerate(plays) if host.name in placed.hosts)
            if matching not in asked:
                asked[matching] = _union([plays[n] for n in matching], host.name)
            hosts.append(_host_plan(host, targets[host.name], asked[matching], playbooks, matched=bool(matching)))
    return Plan(playbooks=tuple(book.source for book in playbooks), hosts=tuple(hosts))


class _Placed(NamedTuple):
    source: str
    play: Play
    hosts: frozenset[str]


class _Asked(NamedTuple):
    scenarios: tuple[Scenario, ...] = ()
    trials: int = 1
    isolation: Isolation = "auto"
    sysctls_collect: tuple[str, ...] = ()
    sysctls_expect: Mapping[str, SysctlRule] = {}


def _host_plan(
    host: Host,
    target: SshTarget | LocalTarget | KernelTarget | NotAudited,
    asked: _Asked,
    playbooks: Sequence[Playbook],
    *,
    matched: bool,
) -> HostPlan:
    if not matched:
        target = NotAudited(
            name=host.name,
            groups=host.groups,
            stage="inventory",
            reason=f"no play of {', '.join(book.source for book in playbooks)} matches it",
            hint="name it in a play's “hosts:”, or leave it out with --limit",
        )
    return HostPlan(
        name=host.name,
        groups=host.groups,
        target=target,
        scenarios=asked.scenarios,
        trials=asked.trials,
        isolation=asked.isolation,
        sysctls_collect=asked.sysctls_collect,
        sysctls_expect={**asked.sysctls_expect},
    )


def _union(plays: Sequence[_Placed], host: str) -> _Asked:
    """Returns what the plays that match a host ask of it together."""
    if not plays:
        return _Asked()
    trials = max(placed.play.trials for placed in plays)
    return _Asked(
        scenarios=_scenarios(plays, trials, host),
        trials=trials,
        isolation=_isolation(plays, host),
        sysctls_collect=tuple(dict.fromkeys(glob for placed in plays for glob in placed.play.sysctls_collect)),
        sysctls_expect=_expectations(plays, host),
    )


def _scenarios(plays: Sequence[_Placed], trials: int, host: str) -> tuple[Scenario, ...]:
    union = dict[str, tuple[Scenario, _Placed]]()
    for placed in plays:
        for scenario in placed.play.scenarios:
            # Its own number, or its play's: another play that matches the host must not multiply it.
            here = msgspec.structs.replace(scenario, trials=scenario.trials or placed.play.trials)
            before, first = union.setdefault(scenario.name, (here, placed))
            if not same_experiment(before, here):
                raise _contradiction(first, placed, f"say different things by the scenario “{scenario.name}”", host)
            union[scenario.name] = (_both(before, here), first)
    return tuple(msgspec.structs.replace(s, trials=None if s.trials == trials else s.trials) for s, _ in union.values())


def _both(one: Scenario, other: Scenario) -> Scenario:
    return msgspec.structs.replace(
        one,
        families=tuple(dict.fromkeys((*one.families, *other.families))),
        trials=max(one.trials or 0, other.trials or 0),
    )


def _isolation(plays: Sequence[_Placed], host: str) -> Isolation:
    asked = [placed for placed in plays if placed.play.isolation != "auto"]
    for one, other in itertools.pairwise(asked):
        if one.play.isolation != other.play.isolation:
            raise _contradiction(one, other, "want different isolation", host)
    return asked[0].play.isolation if asked else "auto"


def _expectations(plays: Sequence[_Placed], host: str) -> dict[str, SysctlRule]:
    union = dict[str, tuple[SysctlRule, _Placed]]()
    for placed in plays:
        for key, rule in placed.play.sysctls_expect.items():
            before, first = union.setdefault(key, (rule, placed))
            if before != rule:
                raise _contradiction(first, placed, f"expect different things of {key}", host)
    return {key: rule for key, (rule, _) in union.items()}


def _contradiction(one: _Placed, other: _Placed, what: str, host: str) -> InputError:
    return InputError(
        f"the play “{other.play.name}” and the play “{one.play.name}” ({one.source}) {what}, and both match {host}",
        source=other.source,
        hint="make the two agree, or let their “hosts:” not overlap",
    )
