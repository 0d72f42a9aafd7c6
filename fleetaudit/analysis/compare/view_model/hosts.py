"""The view of hosts: verdicts by behaviour, one line per host, and production counters."""

from __future__ import annotations

from typing import Literal

import msgspec

from fleetaudit.model import ChangeKind, Effect, ProbeName, Severity
from fleetaudit.text.host_ranges import HostRanges

from .kernels import Build, Verdict
from .traces import Trace

HostFinding = tuple[Severity, str, str, str, str | None, str]
"""Severity, id, expected, observed, reason of the waiver, and the date first seen of a finding."""
HostChange = tuple[Effect, ChangeKind, str, str, str, str, int]
"""Effect, kind, subject, before, after, the date first seen, and the row of a change: its index in
`Changes.rows`, -1 if the row is not listed.
"""
SysctlRows = tuple[tuple[int, int], ...]
"""(index of a listed sysctl, row of its value) of one host, without those in the usual row.

The row after the last listed one stands for all other values, -1 for none.
"""


class VerdictRow(msgspec.Struct, frozen=True, kw_only=True):
    """The observation of one profile in one scenario, and its verdict in words.

    `trace` is the anchor of its packets; `trace_host` is the host that they are from if that is
    another one; both are "" if no packets are shown. `unanimous`: every kernel has this ending, and
    it is as expected.
    """

    scenario: str
    title: str
    anchor: str
    families: str
    observed: str
    expect: str
    verdict: Verdict
    verdict_text: str
    trials: int
    reason: str
    trace: str
    trace_host: str
    unanimous: bool


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts of a profile that also share system, groups, notes and findings; `hosts` names all."""

    hosts: HostRanges
    groups: tuple[str, ...]
    system: str
    probe: ProbeName
    python: str
    notes: tuple[str, ...]
    findings: tuple[HostFinding, ...]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A behaviour group: hosts of one build with the same observations, and their evidence once.

    `first` names one of the hosts. `tally` counts the verdicts worth noting, worst first; it is ()
    for void hosts. `endings` has the ending in each column, as cells count it: "void" for void
    hosts, "" if the host did not report the scenario. `not_run` are the reasons why scenarios were
    not run.
    """

    anchor: str
    build: Build
    first: str
    hosts: HostRanges
    on_host: bool
    void: str
    members: tuple[Member, ...]
    tally: tuple[tuple[Verdict, int], ...]
    endings: tuple[str, ...]
    not_run: tuple[str, ...]
    verdicts: tuple[VerdictRow, ...]
    traces: tuple[Trace, ...]


class Production(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one host since its boot; None if a counter could not be read.

    `partial`: more sockets hold unread data than could be counted.
    """

    host: str
    anchor: str
    connections: int | None
    aborts: int | None
    per_thousand: float | None
    uptime_days: float | None
    unread_sockets: int | None
    unread_bytes: int | None
    partial: bool

    @property
    def is_rated(self) -> bool:
        """Whether the aborts per 1,000 connections are known."""
        return self.per_thousand is not None


NOT_SELECTED = "not-selected"
"""The anchor of the hosts that no play matches."""
HostState = Literal[
    "error", "warning", "info", "unknown", "met", "void", "not audited", "not selected"
]
"""The state of a host in one word: the worst severity of its findings without a waiver, if any."""


class HostEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One selected host in one line.

    `anchor` is its profile, or the cause why it was not audited, or NOT_SELECTED. `build` is the
    index of its kernel among the builds. `hint_is_command` is true if `hint` is a command to type.
    `sysctls` is None if the host was not audited. `rows` are the rows of resets and services that
    have the host: indexes of `Comparison.labels`.
    """

    name: str
    state: HostState
    anchor: str
    groups: tuple[str, ...]
    build: int | None
    about: tuple[str, ...]
    findings: tuple[HostFinding, ...]
    changes: tuple[HostChange, ...]
    per_thousand: float | None
    unread_sockets: int | None
    hint: str
    hint_is_command: bool
    sysctls: SysctlRows | None
    rows: tuple[int, ...] = ()
