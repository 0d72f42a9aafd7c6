"""Groups findings by expectation, the most severe first. Pure.

Rules: findings are the judge's; nothing is judged again here. A waived finding is shown and counted
apart. The families of a scenario share a group if the same hosts have the same observations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, count, repeat

import msgspec

from fleetaudit.analysis.causes import is_command
from fleetaudit.caching.shared_parts import once_per_object
from fleetaudit.model import (
    SEVERITIES,
    Audited,
    Finding,
    HostResult,
    Severity,
)

from .common import (
    FAMILY_NAMES,
    BuildKey,
    K,
    group_by,
    open_severities,
)
from .comparison_input import ComparisonInput
from .host_sets import HostSets
from .view_model import (
    Build,
    FindingGroup,
    FindingRow,
    Remedy,
)

KINDS = (
    "host-key",
    "control",
    "scenario",
    "kernel",
    "sysctl",
    "exposure",
    "service",
    "not-watched",
    "watch",
    "resets",
)
"""The prefixes of the ids of findings, in the order of the report."""
_IN_PLAYBOOK = ("host-key", "control", "scenario", "kernel")
"""The kinds whose subjects have a place in the playbook, if any has."""
SAME_ENDING = "same-ending:"
_FAMILY_NAMES = {str(family): name for family, name in FAMILY_NAMES.items()}

Pair = tuple[int, Finding]
"""The number of a set of hosts that share their findings, and one of these findings."""
SortKey = tuple[int, int, int, str, str]


class _Links(msgspec.Struct, frozen=True, kw_only=True):
    """Where a finding links to.

    `scenarios` and `sysctls` are anchors by name; `ids` counts the expectations of each id.
    """

    scenarios: Mapping[str, str]
    sysctls: Mapping[str, str]
    ids: Mapping[str, int]

    def anchor(self, kind: str, subject: str) -> str:
        """Returns the anchor of what a finding is about, "" without one."""
        anchors = self.sysctls if kind == "sysctl" else self.scenarios
        return anchors.get(subject, "")

    def filters(self, name: str, finding: Finding) -> dict[str, str]:
        """Returns the filters of the hosts with the expectation of a finding.

        `name` is "finding" or "waived". Severity and expectation are named if plays differ in them.
        """
        filters = {name: finding.id}
        if self.ids[finding.id] > 1:
            filters |= {"severity": finding.severity, "expected": finding.expected}
        return filters

    def row_filters(self, finding: Finding) -> dict[str, str]:
        """Returns the filters of the hosts with the same observation and waiver."""
        observed = {"observed": finding.observed}
        if finding.waived is None:
            return self.filters("finding", finding) | observed
        return self.filters("waived", finding) | observed | {"waiver": finding.waived}


def group_findings(source: ComparisonInput, sysctls: Mapping[str, str]) -> tuple[FindingGroup, ...]:
    """Returns one group per expectation: most severe first, then by kind, then in order.

    Scenarios are in the order of the playbook, everything else by name. `sysctls` are the anchors
    of the sysctls that are shown, by key. The anchors of the groups are "finding-1" and so on, in
    the order of the result.
    """
    hosts = HostSets[HostResult](
        (*source.audited, *source.not_audited), lambda host: (host.findings,)
    )
    pairs = chain.from_iterable(map(_pairs, count(), hosts.firsts))
    by_expectation = group_by(pairs, _expectation).values()
    ids = Counter(pairs[0][1].id for pairs in by_expectation)
    places = {name: place for place, name in enumerate(source.scenarios)}
    together = sorted(
        group_by(by_expectation, _group_key).values(), key=lambda same: _sort_key(same, places)
    )
    links = _Links(scenarios=source.anchors, sysctls=sysctls, ids=ids)
    return tuple(
        _group(f"finding-{i}", same, links, source.builds, hosts)
        for i, same in enumerate(together, 1)
    )


def count_unmet_hosts(audited: Iterable[Audited]) -> tuple[tuple[Severity, int], ...]:
    """Returns (severity, hosts): each host with a finding that is not waived, by the worst of them.

    The most severe comes first.
    """
    worst_of = once_per_object(worst_open)
    worst = Counter(worst_of(host.findings) for host in audited)
    return tuple(
        (severity, worst[severity]) for severity in reversed(SEVERITIES) if severity in worst
    )


def worst_open(findings: Sequence[Finding]) -> Severity | None:
    """Returns the worst severity of the findings that are not waived, None without any."""
    return max(open_severities(findings), key=SEVERITIES.index, default=None)


def parse_finding_id(id_: str) -> tuple[str, str, str]:
    """Returns kind, subject and family of the id of a finding.

    "scenario:unread-close/ipv4" is ("scenario", "unread-close", "ipv4"); an id without a family has
    "". The key of a sysctl may contain a slash. The subject of a finding about a whole kernel is
    its scenario. So "kernel:same-ending:unread-close/ipv4" is ("kernel", "unread-close", "ipv4"),
    and "exposure:listen_overflows" is ("exposure", "listen_overflows", ""). The name of a program
    may contain a slash as well: "resets:haproxy:8443" is ("resets", "haproxy:8443", ""). A check of
    a service stands in the place of the family: "service:upload/idle" is ("service", "upload",
    "idle").
    """
    kind, _, subject = id_.partition(":")
    if kind == "host-key":
        return kind, f"{subject} host key", ""
    if kind == "not-watched":
        return kind, "watch", ""
    if kind in ("sysctl", "resets"):
        return kind, subject, ""
    name, _, family = subject.rpartition("/")
    if kind == "kernel":
        name = name.removeprefix(SAME_ENDING)
    return (kind, name, family) if name else (kind, subject, "")


def join_family_ids(families: Iterable[str]) -> str:
    """Returns the families, or checks, of the ids of findings in words, in their order."""
    return " and ".join(_FAMILY_NAMES.get(family, family) for family in families)


def _pairs(number: int, host: HostResult) -> Iterator[Pair]:
    """Returns the findings of one set of hosts, each with the number of the set."""
    return zip(repeat(number), host.findings)


def _expectation(pair: Pair) -> Hashable:
    """Returns what findings about one expectation share."""
    finding = pair[1]
    return finding.id, finding.severity, finding.expected


def _group_key(pairs: Sequence[Pair]) -> Hashable:
    """Returns what the families of a scenario must share to be in one group."""
    first = pairs[0][1]
    observed = tuple((number, finding.observed, finding.waived) for number, finding in pairs)
    return parse_finding_id(first.id)[:2], first.severity, first.expected, observed


def _sort_key(same: Sequence[Sequence[Pair]], places: Mapping[str, int]) -> SortKey:
    """Returns the key that sorts the groups: severity, kind, place in the playbook, id.

    Findings about sysctls, production and programs have no place in the playbook and are sorted by
    id. A subject or kind that is not in the list comes last.
    """
    first = same[0][0][1]
    kind, subject, _ = parse_finding_id(first.id)
    in_playbook = kind in _IN_PLAYBOOK
    return (
        -SEVERITIES.index(first.severity),
        (*KINDS, kind).index(kind),
        places.get(subject, len(places)) if in_playbook else 0,
        first.id,
        first.expected,
    )


def _group(
    anchor: str,
    same: Sequence[Sequence[Pair]],
    links: _Links,
    builds: Mapping[BuildKey, Build],
    hosts: HostSets[HostResult],
) -> FindingGroup:
    """Returns the group of one expectation; each element of `same` has the findings of a family."""
    members = same[0]
    first = members[0][1]
    ids = tuple(pairs[0][1].id for pairs in same)
    kind, subject, _ = parse_finding_id(first.id)
    families = [parse_finding_id(id_)[2] for id_ in ids]
    open_ = hosts.count(number for number, finding in members if finding.is_open)
    return FindingGroup(
        anchor=anchor,
        ids=ids,
        kind=kind,
        subject=subject,
        detail=join_family_ids(filter(None, families)),
        link=links.anchor(kind, subject),
        severity=first.severity,
        expected=first.expected,
        because=first.because,
        remedies=_remedies(members, hosts),
        hosts=open_,
        waived=hosts.count(_numbers(members)) - open_,
        rows=_rows(members, links, builds, hosts),
        open_filters=links.filters("finding", first),
        waived_filters=links.filters("waived", first),
    )


def _remedies(members: Sequence[Pair], hosts: HostSets[HostResult]) -> tuple[Remedy, ...]:
    """Returns the remedies, those of most hosts first.

    They differ by kernel series, or by the file that sets a sysctl.
    """
    with_remedy = [pair for pair in members if pair[1].fix]
    by_fix = group_by(with_remedy, lambda pair: pair[1].fix)
    return tuple(
        Remedy(text=fix, is_command=is_command(fix), hosts=hosts.names(_numbers(pairs)))
        for fix, pairs in _largest_first(by_fix, hosts)
    )


def _rows(
    members: Sequence[Pair],
    links: _Links,
    builds: Mapping[BuildKey, Build],
    hosts: HostSets[HostResult],
) -> tuple[FindingRow, ...]:
    """Returns a row per observation and waiver, that of most hosts first."""
    by_observation = group_by(members, lambda pair: (pair[1].observed, pair[1].waived))
    return tuple(
        FindingRow(
            observed=observed,
            waived=waived,
            since=_first_seen(pairs),
            builds=tuple(map(builds.__getitem__, hosts.builds(_numbers(pairs)))),
            hosts=hosts.names(_numbers(pairs)),
            filters=links.row_filters(pairs[0][1]),
        )
        for (observed, waived), pairs in _largest_first(by_observation, hosts)
    )


def _largest_first(
    groups: Mapping[K, list[Pair]], hosts: HostSets[HostResult]
) -> list[tuple[K, list[Pair]]]:
    """Returns the groups, those with the findings of most hosts first."""
    return sorted(groups.items(), key=lambda item: -hosts.count(_numbers(item[1])))


def _numbers(pairs: Iterable[Pair]) -> tuple[int, ...]:
    """Returns the numbers of the sets of hosts of some findings."""
    return tuple(number for number, _ in pairs)


def _first_seen(pairs: Iterable[Pair]) -> str:
    """Returns the earliest date on which one of the findings was seen, "" if unknown."""
    return min(filter(None, (finding.since for _, finding in pairs)), default="")
