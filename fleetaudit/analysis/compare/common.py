"""What every part of a comparison needs: grouping in order of appearance, and the words for a
family or a system.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fleetaudit.analysis.judge import ExpectationStatus, expectation_status
from fleetaudit.model import (
    Audited,
    Ending,
    Family,
    HostResult,
    NotAudited,
    Observation,
    ScenarioRow,
)
from fleetaudit.text.host_ranges import HostRanges, fold_hosts

from .view_model import Build, Tone

FAMILY_WORDS: dict[Family, str] = {"ipv4": "IPv4", "ipv6": "IPv6", "unix": "AF_UNIX"}

BuildKey = tuple[str, str, str]
Alike = tuple[Audited, ...]
"""Hosts of one kernel build that were measured in one way and saw the same; never empty."""
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the parts of a comparison stand on: the hosts, those that were audited also by their
    behaviour (`alike`), scenarios by name, their anchors, builds by key.
    """

    audited: tuple[Audited, ...]
    missing: tuple[NotAudited, ...]
    alike: tuple[Alike, ...]
    rows: Mapping[str, ScenarioRow]
    anchors: Mapping[str, str]
    builds: Mapping[BuildKey, Build]


def grouped(items: Iterable[V], key: Callable[[V], K]) -> dict[K, list[V]]:
    """Returns `items` by key; keys and items in order of appearance."""
    groups = dict[K, list[V]]()
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def names_of(hosts: Iterable[HostResult]) -> HostRanges:
    """Returns the hosts' names, folded."""
    return fold_hosts(h.name for h in hosts)


def build_key(host: Audited) -> BuildKey:
    """Returns what makes a kernel build: uname's release, version and machine."""
    return host.kernel.release, host.kernel.version, host.kernel.machine


def expect_words(expect: Iterable[Ending]) -> str:
    """Returns the endings that are all right, in words."""
    return " or ".join(expect)


def families_words(families: Iterable[Family]) -> str:
    """Returns the families in words, always in the same order."""
    ran = set(families)
    return " and ".join(words for family, words in FAMILY_WORDS.items() if family in ran)


def system_of(host: Audited) -> str:
    """Returns what the host says its operating system is, "" where it has no os-release(5)."""
    return host.os.pretty_name or " ".join(filter(None, (host.os.id, host.os.version_id)))


def tone_of(observation: Observation, row: ScenarioRow) -> Tone:
    """Returns what an observation means to a reader, on a host that is not void."""
    how: ExpectationStatus = expectation_status(observation, row.expect)
    match how:
        case "not met":
            return row.severity
        case "not run":
            return "silent"
        case "no expectation":
            return "observed"
        case _:
            return how
