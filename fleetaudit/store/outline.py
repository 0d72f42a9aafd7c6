"""Reads and writes outline.json: what the history of a job needs of one run, in a small file.

    {"format":"fleetaudit-outline/1","run":…,"expectations":[["sysctl:a","warning","2026-01-31"],…],
     "checks":[[[0],[]]],"releases":["6.1.0-18-amd64"],"groups":[{"hosts":["web1","web2"],…}],…}

Rules: the file is a copy of what the store has, in a form that is quick to read, and is never
trusted more than the store. A file that is missing, cut, of another version or of another run is
not used: `read_outline` returns None, and the run is read from its store. Names are written once;
groups of equal hosts refer to them by index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain, compress, count
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fleetaudit.errors import FleetauditError
from fleetaudit.model import DECODE_ERRORS, Frozen, RunInfo, Severity
from fleetaudit.text.json_schema import encode_json

from .disk import read_bounded
from .names import OUTLINE_FILE
from .run_head import FindingCounts, HostCounts, count_statuses

MAX_BYTES = 256 * 1024 * 1024
"""The largest outline that is read, in bytes; a larger one is not used."""
Index = Annotated[int, Meta(ge=0, le=1 << 32)]
Number = Annotated[int, Meta(ge=0)]
HostStatus = Literal["audited", "not audited", "not selected"]


class ExpectationOutline(Frozen, frozen=True, array_like=True):
    """What findings of one id have in common: the worst severity, null if no host has a finding,
    and the first date on which one was seen, "" if unknown.
    """

    id: str
    severity: Severity | None = None
    since: str = ""


class CheckOutline(Frozen, frozen=True, array_like=True):
    """The indexes of the expectations that a host meets, and of those without a verdict."""

    met: tuple[Index, ...] = ()
    unknown: tuple[Index, ...] = ()

    def lists(self) -> tuple[tuple[int, ...], ...]:
        """Returns both lists of indexes."""
        return self.met, self.unknown


class GroupOutline(Frozen, frozen=True, kw_only=True, omit_defaults=True):
    """Hosts with the same outcome, in inventory order; every number is an index.

    `ending` is that of the main scenario in words, `release` that of the kernel. Both are of
    audited hosts only; null for others, as is `check`. `waived` are those of `findings` with a
    waiver.
    """

    hosts: tuple[str, ...]
    status: HostStatus = "audited"
    void: bool = False
    ending: str | None = None
    release: Index | None = None
    check: Index | None = None
    findings: tuple[Index, ...] = ()
    waived: tuple[Index, ...] = ()

    def is_consistent(self) -> bool:
        """Returns whether there are hosts, and whether audited ones, and no others, have a release,
        an ending and a check.
        """
        of_audited = {self.release is None, self.check is None, self.ending is None}
        return (
            bool(self.hosts)
            and of_audited == {self.status != "audited"}
            and set(self.waived) <= set(self.findings)
        )


class ResetsOutline(Frozen, frozen=True, kw_only=True):
    """Growth of the counters of `hosts` hosts since the run `since`: connections, and those of them
    that were closed with unread data.
    """

    since: str
    hosts: Number
    connections: Number
    aborts: Number

    @property
    def per_thousand(self) -> float | None:
        """Connections that were closed with unread data per 1,000, None without connections."""
        return 1000 * self.aborts / self.connections if self.connections else None


NO_RESETS = ResetsOutline(since="", hosts=0, connections=0, aborts=0)


class RunOutline(Frozen, frozen=True, kw_only=True):
    """One run as the history of its job needs it; every host of the run is in one group.

    `scenario` is the main scenario, "" if the run has no scenario. `resets` is null without an
    earlier run to compare with.
    """

    format: Literal["fleetaudit-outline/1"] = "fleetaudit-outline/1"
    run: RunInfo
    hosts: HostCounts
    findings: FindingCounts
    scenario: str
    expectations: tuple[ExpectationOutline, ...]
    checks: tuple[CheckOutline, ...]
    releases: tuple[str, ...]
    groups: tuple[GroupOutline, ...]
    resets: ResetsOutline | None = None


_decoder = msgspec.json.Decoder(RunOutline)


def encode_outline(outline: RunOutline) -> bytes:
    """Returns the bytes of outline.json, with a line feed at the end."""
    return encode_json(outline) + b"\n"


def read_outline(folder: Path, info: RunInfo) -> RunOutline | None:
    """Returns the outline of the run in a folder, None if it has none that can be used.

    `info` is that of the store. An outline with another one is of another run, or of this run
    before it was resumed. Raises nothing.
    """
    try:
        data = read_bounded(folder / OUTLINE_FILE, MAX_BYTES)
        outline = _decoder.decode(data)
    except (FleetauditError, *DECODE_ERRORS):
        return None
    return outline if outline.run == info and _is_consistent(outline) else None


def count_hosts(groups: Iterable[GroupOutline]) -> HostCounts:
    """Returns how many hosts the groups have, by status."""
    statuses = Counter[str]()
    for group in groups:
        statuses[group.status] += len(group.hosts)
    return count_statuses(statuses)


def _is_consistent(outline: RunOutline) -> bool:
    """Returns whether the counts add up, every host is there once, and every index is valid."""
    names = set(chain.from_iterable(map(attrgetter("hosts"), outline.groups)))
    return (
        count_hosts(outline.groups) == outline.hosts
        and len(names) == outline.hosts.selected
        and all(map(GroupOutline.is_consistent, outline.groups))
        and _has_valid_indexes(outline)
    )


def _has_valid_indexes(outline: RunOutline) -> bool:
    """Returns whether every index is one of the list that it refers to, and whether those
    expectations have a severity of which some host has a finding.
    """
    groups = outline.groups
    severities = map(attrgetter("severity"), outline.expectations)
    with_finding = set(compress(count(), severities))
    met = set(chain.from_iterable(chain.from_iterable(map(CheckOutline.lists, outline.checks))))
    return (
        with_finding == set(chain.from_iterable(map(attrgetter("findings"), groups)))
        and _are_below(met, len(outline.expectations))
        and _are_below(map(attrgetter("release"), groups), len(outline.releases))
        and _are_below(map(attrgetter("check"), groups), len(outline.checks))
    )


def _are_below(indexes: Iterable[int | None], count: int) -> bool:
    """Returns whether every index, except None, is one of a list of `count` items."""
    return set(indexes) <= {None, *range(count)}
