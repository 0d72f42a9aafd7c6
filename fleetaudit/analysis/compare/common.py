"""What every part of a comparison needs: its input, grouping in order of appearance, and words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from fleetaudit.analysis.judge import expectation_status
from fleetaudit.model import (
    Audited,
    Ending,
    Family,
    Finding,
    HostResult,
    Observation,
    ScenarioRow,
    Severity,
)
from fleetaudit.text.host_ranges import HostRanges, fold_hosts

from .view_model import Verdict

FAMILY_NAMES: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6", "unix": "AF_UNIX"}
MAIN_SCENARIO = "unread-close"
"""The scenario that the tool is about: a close while the receive queue has unread data."""

BuildKey = tuple[str, str, str]
"""Release, version and machine of a kernel build, as uname(2) reports them."""
BehaviourGroup = tuple[Audited, ...]
"""Hosts of one kernel build with the same isolation and the same observations; never empty."""
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
H = TypeVar("H", bound=HostResult)


def group_by(items: Iterable[V], key: Callable[[V], K]) -> dict[K, list[V]]:
    """Returns `items` by key; keys and items in order of appearance.

    No list is empty. Unlike `itertools.groupby`, items with one key need not be neighbours.
    """
    groups = dict[K, list[V]]()
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def valid_groups(groups: Iterable[BehaviourGroup]) -> Iterator[BehaviourGroup]:
    """Yields the groups whose observations prove something: those that are not void."""
    for group in groups:
        if not group[0].void:
            yield group


def each_observation(
    groups: Iterable[BehaviourGroup],
) -> Iterator[tuple[BehaviourGroup, Observation]]:
    """Yields every observation of every behaviour group, with the group.

    The observations are those of the first host, which all hosts of its group share.
    """
    for group in groups:
        for o in group[0].observations:
            yield group, o


def count_hosts(observations: Iterable[tuple[BehaviourGroup, Observation]]) -> int:
    """Returns the number of hosts of all observations, each host once per observation."""
    return sum(len(group) for group, _ in observations)


def each_finding(hosts: Iterable[H]) -> Iterator[tuple[H, Finding]]:
    """Yields every finding of every host, with the host."""
    for host in hosts:
        for finding in host.findings:
            yield host, finding


def open_severities(findings: Iterable[Finding]) -> list[Severity]:
    """Returns the severities of the findings that are not waived, in their order."""
    return [finding.severity for finding in findings if finding.is_open]


def fold_names(hosts: Iterable[HostResult]) -> HostRanges:
    """Returns the names of the hosts, folded: "web[1-3]"."""
    return fold_hosts(h.name for h in hosts)


def build_key(host: Audited) -> BuildKey:
    """Returns what identifies the kernel build of a host: uname -r, -v and -m."""
    return host.kernel.release, host.kernel.version, host.kernel.machine


def build_key_of(host: HostResult) -> BuildKey | None:
    """Returns the kernel build of a host, None if it was not audited."""
    return build_key(host) if isinstance(host, Audited) else None


def join_endings(endings: Iterable[Ending]) -> str:
    """Returns the endings that an expectation accepts, in words: "FIN or RST".

    It is "" if there is no expectation.
    """
    return " or ".join(endings)


def join_families(families: Iterable[Family]) -> str:
    """Returns the families in words, always in the same order: "IPv4 and IPv6"."""
    ran = set(families)
    return " and ".join(name for family, name in FAMILY_NAMES.items() if family in ran)


def system_name(host: Audited) -> str:
    """Returns the operating system of a host, "" if it has no os-release(5)."""
    if host.os.pretty_name:
        return host.os.pretty_name
    return " ".join(filter(None, (host.os.id, host.os.version_id)))


def verdict_of(observation: Observation, row: ScenarioRow) -> Verdict:
    """Returns the verdict on an observation of a host that is not void.

    `row` is the scenario of the observation. An ending that is not expected has the severity of the
    scenario as its verdict; one that nobody knows is "unknown". Trials that disagree are "unknown"
    as well, if the ending of the scenario is expected.
    """
    found = expectation_status(observation, row.expect)
    if found == "not met":
        return row.severity
    if found == "untold":
        return "unknown"
    return found
