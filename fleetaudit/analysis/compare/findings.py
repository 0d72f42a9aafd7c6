"""Groups findings by expectation, the most severe first. Pure.

Rules: findings are the judge's; nothing is judged again here. A waived finding is shown and counted
apart. The families of a scenario share a group if the same hosts have the same observations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

from fleetaudit.analysis.causes import is_command
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
    ComparisonInput,
    K,
    build_key,
    each_finding,
    fold_names,
    group_by,
    open_severities,
)
from .view_model import (
    Build,
    FindingGroup,
    FindingRow,
    Remedy,
)

KINDS = ("host-key", "control", "scenario", "kernel", "sysctl", "exposure")
"""The prefixes of the ids of findings, in the order of the report."""
SAME_ENDING = "same-ending:"
_FAMILY_NAMES = {str(family): name for family, name in FAMILY_NAMES.items()}

Pair = tuple[HostResult, Finding]
SortKey = tuple[int, int, int, str, str]


def group_findings(source: ComparisonInput, sysctls: Mapping[str, str]) -> tuple[FindingGroup, ...]:
    """Returns one group per expectation: most severe first, then by kind, then in order.

    Scenarios are in the order of the playbook, everything else by name. `sysctls` are the anchors
    of the sysctls that are shown, by key. The anchors of the groups are "finding-1" and so on, in
    the order of the result.
    """
    hosts: tuple[HostResult, ...] = (*source.audited, *source.not_audited)
    by_expectation = group_by(each_finding(hosts), _expectation).values()
    places = {name: place for place, name in enumerate(source.scenarios)}
    together = sorted(
        group_by(by_expectation, _group_key).values(), key=lambda same: _sort_key(same, places)
    )
    return tuple(
        _group(f"finding-{i}", same, source, sysctls) for i, same in enumerate(together, 1)
    )


def count_unmet_hosts(audited: Iterable[Audited]) -> tuple[tuple[Severity, int], ...]:
    """Returns (severity, hosts): each host with a finding that is not waived, by the worst of them.

    The most severe comes first.
    """
    worst = Counter(map(worst_open_severity, audited))
    return tuple(
        (severity, worst[severity]) for severity in reversed(SEVERITIES) if severity in worst
    )


def worst_open_severity(host: HostResult) -> Severity | None:
    """Returns the worst severity of the findings that are not waived, None without any."""
    return max(open_severities(host), key=SEVERITIES.index, default=None)


def parse_finding_id(id_: str) -> tuple[str, str, str]:
    """Returns kind, subject and family of the id of a finding.

    "scenario:unread-close/ipv4" is ("scenario", "unread-close", "ipv4"); an id without a family has
    "". The key of a sysctl may contain a slash. The subject of a finding about a whole kernel is
    its scenario. So "kernel:same-ending:unread-close/ipv4" is ("kernel", "unread-close", "ipv4"),
    and "exposure:listen_overflows" is ("exposure", "listen_overflows", "").
    """
    kind, _, subject = id_.partition(":")
    if kind == "host-key":
        return kind, f"{subject} host key", ""
    if kind == "sysctl":
        return kind, subject, ""
    name, _, family = subject.rpartition("/")
    if kind == "kernel":
        name = name.removeprefix(SAME_ENDING)
    return (kind, name, family) if name else (kind, subject, "")


def join_family_ids(families: Iterable[str]) -> str:
    """Returns the families of the ids of findings in words, in their order."""
    return " and ".join(_FAMILY_NAMES.get(family, family) for family in families)


def _expectation(pair: Pair) -> Hashable:
    """Returns what findings about one expectation share."""
    finding = pair[1]
    return finding.id, finding.severity, finding.expected


def _group_key(pairs: Sequence[Pair]) -> Hashable:
    """Returns what the families of a scenario must share to be in one group."""
    first = pairs[0][1]
    observed = tuple((host.name, finding.observed, finding.waived) for host, finding in pairs)
    return parse_finding_id(first.id)[:2], first.severity, first.expected, observed


def _sort_key(same: Sequence[Sequence[Pair]], places: Mapping[str, int]) -> SortKey:
    """Returns the key that sorts the groups: severity, kind, place in the playbook, id.

    Findings about sysctls and production have no place in the playbook and are sorted by id. A
    subject or kind that is not in the list comes last.
    """
    first = same[0][0][1]
    kind, subject, _ = parse_finding_id(first.id)
    in_playbook = kind not in ("sysctl", "exposure")
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
    source: ComparisonInput,
    sysctls: Mapping[str, str],
) -> FindingGroup:
    """Returns the group of one expectation; each element of `same` has the findings of a family."""
    members = same[0]
    first = members[0][1]
    ids = tuple(pairs[0][1].id for pairs in same)
    kind, subject, _ = parse_finding_id(first.id)
    families = [parse_finding_id(id_)[2] for id_ in ids]
    links = sysctls if kind == "sysctl" else source.anchors
    open_ = sum(finding.is_open for _, finding in members)
    return FindingGroup(
        anchor=anchor,
        ids=ids,
        kind=kind,
        subject=subject,
        detail=join_family_ids(filter(None, families)),
        link=links.get(subject, ""),
        severity=first.severity,
        expected=first.expected,
        because=first.because,
        remedies=_remedies(members),
        hosts=open_,
        waived=len(members) - open_,
        rows=_rows(members, source.builds),
    )


def _remedies(members: Sequence[Pair]) -> tuple[Remedy, ...]:
    """Returns the remedies, those of most hosts first.

    They differ by kernel series, or by the file that sets a sysctl.
    """
    with_remedy = [pair for pair in members if pair[1].fix]
    by_fix = group_by(with_remedy, lambda pair: pair[1].fix)
    return tuple(
        Remedy(text=fix, is_command=is_command(fix), hosts=fold_names(map(_host, pairs)))
        for fix, pairs in _largest_first(by_fix)
    )


def _rows(members: Sequence[Pair], builds: Mapping[BuildKey, Build]) -> tuple[FindingRow, ...]:
    """Returns a row per observation and waiver, that of most hosts first."""
    by_observation = group_by(members, lambda pair: (pair[1].observed, pair[1].waived))
    return tuple(
        FindingRow(
            observed=observed,
            waived=waived,
            since=_first_seen(pairs),
            builds=_builds_of(pairs, builds),
            hosts=fold_names(map(_host, pairs)),
        )
        for (observed, waived), pairs in _largest_first(by_observation)
    )


def _largest_first(groups: Mapping[K, list[Pair]]) -> list[tuple[K, list[Pair]]]:
    """Returns the groups, those with most findings first."""
    return sorted(groups.items(), key=lambda item: -len(item[1]))


def _host(pair: Pair) -> HostResult:
    """Returns the host of a finding."""
    return pair[0]


def _first_seen(pairs: Iterable[Pair]) -> str:
    """Returns the earliest date on which one of the findings was seen, "" if unknown."""
    return min(filter(None, (finding.since for _, finding in pairs)), default="")


def _builds_of(pairs: Iterable[Pair], builds: Mapping[BuildKey, Build]) -> tuple[Build, ...]:
    """Returns the kernel builds of the audited hosts, in order of appearance."""
    keys = [build_key(host) for host, _ in pairs if isinstance(host, Audited)]
    return tuple(builds[key] for key in dict.fromkeys(keys))
