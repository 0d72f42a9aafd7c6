"""What changed between two runs."""

from __future__ import annotations

from typing import Literal

from .base import Frozen
from .playbook import Severity

Effect = Literal[
    "regression",
    "fix",
    "no longer told",
    "told again",
    "changed",
    "newly not audited",
    "audited again",
    "no longer selected",
    "newly selected",
    "rebuilt",
    "renamed",
    "gone",
    "new host",
]
"""What a change means.

`regression`: an expectation was met before and is not met now; `fix`: the reverse. `no longer
told`: the ending was known before and is unknown now; `told again`: the reverse. `rebuilt`: another
machine under the same name; `renamed`: the same machine under another name. `no longer selected`:
a play matched the host before, and none does now. The values are keys of JSON and keep their names;
people see "no longer known" and "now known".
"""

ChangeKind = Literal[
    "scenario",
    "sysctl",
    "expectation",
    "waiver",
    "controls",
    "kernel",
    "system",
    "isolation",
    "host",
    "finding",
    "resets",
    "service",
]


class Change(Frozen, frozen=True, kw_only=True):
    """One difference of one host between two runs; `before` and `after` are texts for a reader.

    `what` is a finding's id for scenarios, sysctls, findings, services and programs that reset.
    `host` is the later run's name. `since` is the date (RFC 3339) when it was first seen; for a
    fix, since when it had not been met. `severity` and `waived` are those of its finding.
    """

    effect: Effect
    kind: ChangeKind
    host: str
    what: str
    before: str
    after: str
    since: str = ""
    severity: Severity | None = None
    waived: str | None = None


class ResetRate(Frozen, frozen=True, kw_only=True):
    """Resets of one host between two runs: growth of its counters, and TCPAbortOnClose per 1,000
    connections.

    `seconds` is the time between the starts of the two runs. `before_per_thousand` is the earlier
    run's rate since that boot. If the rate is unknown, `reason` says why and the numbers are null.
    """

    host: str
    seconds: float
    connections: int | None = None
    aborts: int | None = None
    per_thousand: float | None = None
    before_per_thousand: float | None = None
    reason: str = ""


class Drift(Frozen, frozen=True, kw_only=True):
    """What changed between two runs, regressions first.

    `before` and `after` are the runs' ids, `since` and `until` the times when they began. `refused`
    says why the two cannot be compared, "" if they can. `hosts` counts the hosts that were
    compared. `notes` qualify the comparison. Rates differ at every run, so they are not changes.
    """

    format: Literal["fleetaudit-drift/1"] = "fleetaudit-drift/1"
    before: str
    after: str
    since: str
    until: str
    refused: str = ""
    hosts: int = 0
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    rates: tuple[ResetRate, ...] = ()

    @property
    def is_unchanged(self) -> bool:
        """Whether the two runs were compared and nothing changed; false for a refused
        comparison.
        """
        return not self.refused and not self.changes
