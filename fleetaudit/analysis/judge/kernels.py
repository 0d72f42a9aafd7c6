"""What only all hosts together show: whether those of one kernel build end a scenario alike. Pure.

Rules: a build is a kernel release, version and machine. Only endings that were told, on hosts that
are not void, are compared. The hosts that end otherwise than most of their build have the finding;
where no ending has most, all do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from fleetaudit.model import (
    SEVERITIES,
    Audited,
    Ending,
    Expectation,
    Finding,
    HostResult,
    Kernel,
    Plan,
)
from fleetaudit.playbook.conditions import applies

SAME_ENDING = "same_ending_within_build"
KIND = "kernel:"
"""How the ids of what only the fleet shows begin."""
_UNTOLD: frozenset[Ending] = frozenset({"not run", "inconclusive", "sent, not delivered"})


class _Place(NamedTuple):
    """Where endings are compared."""

    kernel: Kernel
    scenario: str
    family: str


def judge_fleet(results: Iterable[HostResult], plan: Plan) -> tuple[HostResult, ...]:
    """Returns the hosts of a run, in their order, with the findings that only all of them together
    give rise to.

    It is for after `judge`; findings that an earlier call left are replaced. Without such an
    expectation the hosts are returned as they are.
    """
    hosts = tuple(results)
    rules = {host.name: host.kernels_expect.get(SAME_ENDING, ()) for host in plan.hosts}
    judged = {
        host.name: some
        for host in hosts
        if isinstance(host, Audited)
        and not host.void
        and (some := [rule for rule in rules.get(host.name, ()) if applies(rule.when, host)])
    }
    counts = dict[_Place, Counter[Ending]]()
    for host in hosts:
        if host.name in judged and isinstance(host, Audited):
            for place, ending in _endings(host):
                counts.setdefault(place, Counter())[ending] += 1
    return tuple(
        _beside(host, judged.get(host.name, ()), counts) if isinstance(host, Audited) else host
        for host in hosts
    )


def _endings(host: Audited) -> Iterable[tuple[_Place, Ending]]:
    for o in host.observations:
        if o.ending not in _UNTOLD:
            yield _Place(host.kernel, o.scenario, o.family), o.ending


def _beside(
    host: Audited, rules: Sequence[Expectation], counts: Mapping[_Place, Counter[Ending]]
) -> Audited:
    found = [finding for finding in host.findings if not finding.id.startswith(KIND)]
    wanted = [id_ for id_ in host.expectations if not id_.startswith(KIND)]
    for place, ending in _endings(host) if rules else ():
        id_ = f"{KIND}same-ending:{place.scenario}/{place.family}"
        wanted.append(id_)
        if not _usual(ending, counts[place]):
            found.append(_finding(id_, ending, counts[place], rules))
    if len(found) == len(host.findings) and tuple(wanted) == host.expectations:
        return host
    found.sort(key=lambda finding: (-SEVERITIES.index(finding.severity), finding.id))
    return msgspec.structs.replace(host, findings=tuple(found), expectations=tuple(wanted))


def _usual(ending: Ending, counted: Counter[Ending]) -> bool:
    """Returns whether most hosts of the build end so; of two endings that are as frequent neither
    is usual.
    """
    return all(counted[ending] > count for other, count in counted.items() if other != ending)


def _finding(
    id_: str, ending: Ending, counted: Counter[Ending], rules: Sequence[Expectation]
) -> Finding:
    most = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    words = ", ".join(f"{other} on {n}" for other, n in most)
    return Finding(
        id=id_,
        severity=max((rule.severity for rule in rules), key=SEVERITIES.index),
        expected="one ending on all hosts of a kernel build",
        observed=f"{ending}; of {counted.total()} hosts of this build: {words}",
        because=" ".join(dict.fromkeys(rule.because for rule in rules if rule.because)),
        fix="; ".join(dict.fromkeys(rule.fix for rule in rules if rule.fix)),
    )
