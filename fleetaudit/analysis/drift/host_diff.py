"""Two runs of one host side by side, and how a change of it is made: dated, with its finding's
severity. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleetaudit.model import (
    Audited,
    AuditRun,
    Change,
    ChangeKind,
    Effect,
    Finding,
    ScenarioRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """What both runs know: the later run's scenarios that the earlier one asked too, those of which
    another ending was expected, and the two runs' dates.
    """

    rows: Mapping[str, ScenarioRow]
    edited: frozenset[str]
    before: str
    after: str

    @classmethod
    def of(cls, before: AuditRun, after: AuditRun) -> RunContext:
        asked = {row.name: row.expect for row in before.scenarios}
        return cls(
            rows={row.name: row for row in after.scenarios if row.name in asked},
            edited=frozenset(
                row.name for row in after.scenarios if asked.get(row.name) != row.expect
            ),
            before=before.run.started[:10],
            after=after.run.started[:10],
        )


@dataclass(frozen=True, slots=True)
class HostDiff:
    """Two audited hosts side by side; `change` makes a change of the later one, dated."""

    before: Audited
    after: Audited
    ground: RunContext
    findings_before: Mapping[str, Finding]
    findings_after: Mapping[str, Finding]

    def change(
        self, effect: Effect, kind: ChangeKind, what: str, before: str, after: str
    ) -> Change:
        old, new = self.findings_before.get(what), self.findings_after.get(what)
        finding, date = (old, self.ground.before) if effect == "fix" else (new, self.ground.after)
        return Change(
            effect=effect,
            kind=kind,
            host=self.after.name,
            what=what,
            before=before,
            after=after,
            since=finding.since if finding and finding.since else date,
            severity=finding.severity if finding else None,
            waived=finding.waived if finding else None,
        )

    def wanted_in_both(self, what: str) -> bool:
        """Whether both runs wanted something of `what`, as far as they say; a run of old says
        nothing.
        """
        sides = ((self.before, self.findings_before), (self.after, self.findings_after))
        return all(
            what in found or not host.expectations or what in host.expectations
            for host, found in sides
        )


def expectation(laid: HostDiff, what: str) -> Change:
    """Returns the change of what is wanted: a finding on one side, for what the other run did not
    want so.
    """
    before, after = laid.findings_before.get(what), laid.findings_after.get(what)
    words = (
        f"wanted {finding.expected}" if finding else "no finding" for finding in (before, after)
    )
    return laid.change("changed", "expectation", what, *words)


def untold(finding: Finding | None) -> bool:
    """Returns whether a finding says that something could not be told, in the judge's words."""
    return finding is not None and finding.observed.startswith("could not be told")


def by_id(host: Audited) -> dict[str, Finding]:
    """Returns the findings by id; of several with one id the first, which is the gravest."""
    return {f.id: f for f in reversed(host.findings)}
