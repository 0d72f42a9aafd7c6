"""Expectations that hosts fall short of, one group each, gravest first. Pure.

Rules: findings are the judge's; nothing is judged again here. A waived finding is shown and counted
apart. Findings of a scenario's families are one group where the same hosts saw the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

from fleetaudit.model import (
    SEVERITIES,
    Audited,
    Finding,
    HostResult,
    Severity,
)

from .common import (
    FAMILY_WORDS,
    Ground,
    build_key,
    grouped,
    names_of,
)
from .view_model import FindingGroup, FindingRow, Remedy

KINDS = ("host-key", "control", "scenario", "kernel", "sysctl", "exposure")
"""What the ids of findings begin with, in the order that they are shown in."""
SAME_ENDING = "same-ending:"
_FAMILIES = {str(family): words for family, words in FAMILY_WORDS.items()}

Pairs = Sequence[tuple[HostResult, Finding]]


def findings_of(ground: Ground, sysctls: Mapping[str, str]) -> tuple[FindingGroup, ...]:
    """Returns a group an expectation, gravest first, then by kind: scenarios as declared, the rest
    by name.

    `sysctls` are the anchors of those that are shown, by key.
    """
    hosts: tuple[HostResult, ...] = (*ground.audited, *ground.missing)
    pairs = [(host, f) for host in hosts for f in host.findings]
    by_id = grouped(pairs, lambda pair: (pair[1].id, pair[1].severity, pair[1].expected)).values()
    places = {name: i for i, name in enumerate(ground.rows)}

    def place(alike: Sequence[Pairs]) -> tuple[int, int, int, str, str]:
        first = alike[0][0][1]
        kind, name, _ = parts_of(first.id)
        at = 0 if kind in ("sysctl", "exposure") else places.get(name, len(places))
        return (
            -SEVERITIES.index(first.severity),
            (*KINDS, kind).index(kind),
            at,
            first.id,
            first.expected,
        )

    together = sorted(grouped(by_id, _seen).values(), key=place)
    return tuple(
        _group(f"finding-{i}", alike, ground, sysctls) for i, alike in enumerate(together, 1)
    )


def short_of(audited: Iterable[Audited]) -> tuple[tuple[Severity, int], ...]:
    """Returns how many hosts fall short, each counted once by its gravest finding that is not
    waived, gravest first.
    """
    open_ = [[f.severity for f in host.findings if f.waived is None] for host in audited]
    counts = Counter(max(severities, key=SEVERITIES.index) for severities in open_ if severities)
    return tuple(
        (severity, counts[severity]) for severity in reversed(SEVERITIES) if severity in counts
    )


def parts_of(id_: str) -> tuple[str, str, str]:
    """Returns kind, subject and family of a finding's id; a sysctl's key may have a slash of its
    own.

    The subject of what only the fleet shows is its scenario.
    """
    kind, _, subject = id_.partition(":")
    if kind == "host-key":
        return kind, f"{subject} host key", ""
    name, _, family = (subject, "", "") if kind == "sysctl" else subject.rpartition("/")
    if kind == "kernel":
        name = name.removeprefix(SAME_ENDING)
    return kind, name or subject, family if name else ""


def family_words(families: Iterable[str]) -> str:
    """Returns the families of findings' ids in words, in their order."""
    return " and ".join(_FAMILIES.get(family, family) for family in families)


def _seen(pairs: Pairs) -> Hashable:
    first = pairs[0][1]
    rows = tuple((host.name, f.observed, f.waived) for host, f in pairs)
    return parts_of(first.id)[:2], first.severity, first.expected, rows


def _group(
    anchor: str, alike: Sequence[Pairs], ground: Ground, sysctls: Mapping[str, str]
) -> FindingGroup:
    members = alike[0]
    first = members[0][1]
    kind, name, _ = parts_of(first.id)
    families = [family for pairs in alike if (family := parts_of(pairs[0][1].id)[2])]
    waived = sum(1 for _, f in members if f.waived is not None)
    return FindingGroup(
        anchor=anchor,
        ids=tuple(pairs[0][1].id for pairs in alike),
        kind=kind,
        subject=name,
        detail=family_words(families),
        link=sysctls.get(name, "") if kind == "sysctl" else ground.anchors.get(name, ""),
        severity=first.severity,
        expected=first.expected,
        because=first.because,
        remedies=_remedies(members),
        hosts=len(members) - waived,
        waived=waived,
        rows=_rows(members, ground),
    )


def is_command(fix: str) -> bool:
    """Returns whether the remedy of a finding is a command to type rather than a sentence."""
    return fix[:1].islower() and not fix.endswith(".")


def _remedies(members: Pairs) -> tuple[Remedy, ...]:
    """Returns the remedies, each with its hosts; they may differ by kernel series or by the file
    that sets a sysctl.
    """
    by_fix = grouped(members, lambda pair: pair[1].fix)
    return tuple(
        Remedy(
            text=fix,
            typed=is_command(fix),
            hosts=names_of(host for host, _ in pairs),
        )
        for fix, pairs in sorted(by_fix.items(), key=lambda item: -len(item[1]))
        if fix
    )


def _rows(members: Pairs, ground: Ground) -> tuple[FindingRow, ...]:
    rows = grouped(members, lambda pair: (pair[1].observed, pair[1].waived))
    return tuple(
        FindingRow(
            observed=observed,
            waived=waived,
            since=min((f.since for _, f in pairs if f.since), default=""),
            builds=tuple(
                ground.builds[key]
                for key in dict.fromkeys(
                    build_key(host) for host, _ in pairs if isinstance(host, Audited)
                )
            ),
            hosts=names_of(host for host, _ in pairs),
        )
        for (observed, waived), pairs in sorted(rows.items(), key=lambda item: -len(item[1]))
    )
