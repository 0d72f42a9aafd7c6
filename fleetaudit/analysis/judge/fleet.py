"""Checks that all hosts of one kernel build end each scenario in the same way. Pure.

Rules: a build is a kernel release, version and machine. Only known endings, on hosts that are not
void, are compared. The hosts that do not end as most of their build have the finding; if no ending
is that of most hosts, all have it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from fleetaudit.model import (
    Audited,
    Ending,
    Expectation,
    Finding,
    HostResult,
    Kernel,
    Plan,
    conclusive_hosts,
)

from .findings import applying, join_fixes, join_reasons, most_severe, severity_order

SAME_ENDING = "same_ending_within_build"
FLEET_PREFIX = "kernel:"
"""The beginning of the ids of findings that only all hosts together show."""
_NOT_COMPARED: frozenset[Ending] = frozenset({"not run", "inconclusive", "sent, not delivered"})


class _Place(NamedTuple):
    """Where endings are compared: a kernel build, a scenario and a family."""

    kernel: Kernel
    scenario: str
    family: str

    @property
    def finding_id(self) -> str:
        """The id of its finding."""
        return f"{FLEET_PREFIX}same-ending:{self.scenario}/{self.family}"


_Counts = Mapping[_Place, Counter[Ending]]


def is_of_fleet(id_: str) -> bool:
    """Returns whether the id of a finding is of those that only all hosts together show.

    Such an id is "kernel:same-ending:unread-close/ipv4".
    """
    return id_.startswith(FLEET_PREFIX)


def is_finding_of_fleet(finding: Finding) -> bool:
    """Returns whether a finding is of those that only all hosts together show."""
    return is_of_fleet(finding.id)


def judge_fleet(results: Iterable[HostResult], plan: Plan) -> tuple[HostResult, ...]:
    """Returns the hosts of a run, in their order, with the findings that only all together show.

    It comes after `judge_host`; findings of an earlier call are replaced. `plan` has the
    expectations of the fleet's kernels, by host. Without such an expectation the hosts are returned
    as they are. A host that is void or was not audited is neither counted nor judged.
    """
    hosts = tuple(results)
    expectations = _expectations_by_host(hosts, plan)
    counts = _count_endings(filter(lambda host: expectations.get(host.name), hosts))
    return tuple(_judge(host, expectations.get(host.name, ()), counts) for host in hosts)


def _expectations_by_host(
    hosts: Iterable[HostResult], plan: Plan
) -> dict[str, Sequence[Expectation]]:
    """Returns the expectations of the fleet that apply to each host whose endings count."""
    planned = {host.name: host.kernels_expect.get(SAME_ENDING, ()) for host in plan.hosts}
    return {
        host.name: applying(planned.get(host.name, ()), host) for host in conclusive_hosts(hosts)
    }


def _count_endings(hosts: Iterable[HostResult]) -> _Counts:
    """Returns how many hosts end how, by place."""
    counts = dict[_Place, Counter[Ending]]()
    for host in hosts:
        for place, ending in _endings(host):
            counts.setdefault(place, Counter())[ending] += 1
    return counts


def _endings(host: HostResult) -> Iterator[tuple[_Place, Ending]]:
    """Yields the known endings of a host by place."""
    if not isinstance(host, Audited):
        return
    for o in host.observations:
        if o.ending not in _NOT_COMPARED:
            yield _Place(host.kernel, o.scenario, o.family), o.ending


def _judge(host: HostResult, expectations: Sequence[Expectation], counts: _Counts) -> HostResult:
    """Returns a host with its findings of the fleet, and the ids of the expectations.

    Without expectations its earlier findings of the fleet are removed. A host that does not change
    is returned as it is, so that hosts keep sharing memory.
    """
    if not isinstance(host, Audited):
        return host
    findings = [*itertools.filterfalse(is_finding_of_fleet, host.findings)]
    ids = [*itertools.filterfalse(is_of_fleet, host.expectations)]
    if expectations:
        ids += (place.finding_id for place, _ in _endings(host))
        findings += _fleet_findings(host, expectations, counts)
    if len(findings) == len(host.findings) and tuple(ids) == host.expectations:
        return host
    findings.sort(key=severity_order)
    return msgspec.structs.replace(host, findings=tuple(findings), expectations=tuple(ids))


def _fleet_findings(
    host: Audited, expectations: Sequence[Expectation], counts: _Counts
) -> Iterator[Finding]:
    """Yields a finding for each scenario that the host does not end as most of its build."""
    for place, ending in _endings(host):
        if not _is_usual(ending, counts[place]):
            yield _make_finding(place, ending, counts[place], expectations)


def _is_usual(ending: Ending, counts: Counter[Ending]) -> bool:
    """Returns whether an ending is more frequent than every other one of its build.

    Of two endings that are equally frequent, neither is usual.
    """
    return all(counts[ending] > count for other, count in counts.items() if other != ending)


def _make_finding(
    place: _Place,
    ending: Ending,
    counts: Counter[Ending],
    expectations: Sequence[Expectation],
) -> Finding:
    """Returns the finding of a host that does not end as most of its build."""
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    distribution = ", ".join(f"{other} on {number}" for other, number in most_first)
    return Finding(
        id=place.finding_id,
        severity=most_severe(each.severity for each in expectations),
        expected="one ending on all hosts of a kernel build",
        observed=f"{ending}; of {counts.total()} hosts of this build: {distribution}",
        because=join_reasons(expectations),
        fix=join_fixes(expectations),
    )
