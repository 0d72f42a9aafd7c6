"""Checks that all hosts of one kernel build end each scenario in the same way. Pure.

Rules: a build is a kernel release, version and machine. Only known endings, on hosts that are not
void, are compared. The hosts that do not end as most of their build have the finding; if no ending
is that of most hosts, all have it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    Audited,
    Ending,
    Expectation,
    Finding,
    HostResult,
    Kernel,
    Observation,
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
    judge = _FleetJudge(host for host in conclusive_hosts(hosts) if expectations.get(host.name))
    return tuple(judge.judge(host, expectations.get(host.name, ())) for host in hosts)


def _expectations_by_host(
    hosts: Iterable[HostResult], plan: Plan
) -> dict[str, Sequence[Expectation]]:
    """Returns the expectations of the fleet that apply to each host whose endings count."""
    planned = {host.name: host.kernels_expect.get(SAME_ENDING, ()) for host in plan.hosts}
    return {
        host.name: applying(planned.get(host.name, ()), host) for host in conclusive_hosts(hosts)
    }


class _FleetJudge:
    """The endings of the hosts that are compared; hosts that share their parts are judged once."""

    def __init__(self, hosts: Iterable[Audited]) -> None:
        self._judged = once_per_object(self._judge)
        self._counts = dict[_Place, Counter[Ending]]()
        sets = dict[tuple[int, int], list[Audited]]()
        for host in hosts:
            sets.setdefault((id(host.kernel), id(host.observations)), []).append(host)
        for same in sets.values():
            for place, ending in _endings(same[0].kernel, same[0].observations):
                self._counts.setdefault(place, Counter())[ending] += len(same)

    def judge(self, host: HostResult, expectations: Sequence[Expectation]) -> HostResult:
        """Returns a host with its findings of the fleet, and the ids of the expectations.

        Without expectations its earlier findings of the fleet are removed. A host that does not
        change is returned as it is, so that hosts keep sharing memory.
        """
        if not isinstance(host, Audited):
            return host
        findings, ids = self._judged(
            host.kernel, host.observations, host.findings, host.expectations, *expectations
        )
        if findings is host.findings and ids is host.expectations:
            return host
        return msgspec.structs.replace(host, findings=findings, expectations=ids)

    def _judge(
        self,
        kernel: Kernel,
        observations: tuple[Observation, ...],
        earlier: tuple[Finding, ...],
        earlier_ids: tuple[str, ...],
        *expectations: Expectation,
    ) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
        """Returns the findings and the ids of expectations; `earlier` ones if nothing changes."""
        findings = [*itertools.filterfalse(is_finding_of_fleet, earlier)]
        ids = [*itertools.filterfalse(is_of_fleet, earlier_ids)]
        if expectations:
            endings = list(_endings(kernel, observations))
            ids += (place.finding_id for place, _ in endings)
            findings += self._fleet_findings(endings, expectations)
        if len(findings) == len(earlier) and tuple(ids) == earlier_ids:
            return earlier, earlier_ids
        findings.sort(key=severity_order)
        return tuple(findings), tuple(ids)

    def _fleet_findings(
        self, endings: Iterable[tuple[_Place, Ending]], expectations: Sequence[Expectation]
    ) -> Iterator[Finding]:
        """Yields a finding for each scenario that a host does not end as most of its build."""
        for place, ending in endings:
            counts = self._counts[place]
            if not _is_usual(ending, counts):
                yield _make_finding(place, ending, counts, expectations)


def _endings(
    kernel: Kernel, observations: Iterable[Observation]
) -> Iterator[tuple[_Place, Ending]]:
    """Yields the known endings of a host by place."""
    for o in observations:
        if o.ending not in _NOT_COMPARED:
            yield _Place(kernel, o.scenario, o.family), o.ending


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
