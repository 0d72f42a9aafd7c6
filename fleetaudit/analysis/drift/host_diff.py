"""One audited host in two runs, and how a change of it is made: dated, with its finding's severity.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from fleetaudit.model import (
    Audited,
    AuditRun,
    Change,
    ChangeKind,
    Effect,
    Finding,
    ScenarioRow,
)


class RunContext(msgspec.Struct, frozen=True, kw_only=True):
    """What two runs have in common.

    `rows` are the later run's scenarios that the earlier one had too, `edited` the names of those
    with another expectation; `before` and `after` are the dates of the runs (RFC 3339).
    """

    rows: Mapping[str, ScenarioRow]
    edited: frozenset[str]
    before: str
    after: str

    @classmethod
    def of(cls, before: AuditRun, after: AuditRun) -> RunContext:
        """Returns the context of two runs."""
        earlier = before.scenarios_by_name()
        rows = {row.name: row for row in after.scenarios if row.name in earlier}
        return cls(
            rows=rows,
            edited=frozenset(n for n, row in rows.items() if row.expect != earlier[n].expect),
            before=before.run.started[:10],
            after=after.run.started[:10],
        )


class FindingPair(NamedTuple):
    """A finding of one host in two runs, None in a run that does not have it."""

    before: Finding | None
    after: Finding | None

    @property
    def has_appeared_or_gone(self) -> bool:
        """Whether exactly one of the runs has the finding.

        A finding that both runs have has neither appeared nor gone, even if its texts differ.
        """
        return (self.before is None) != (self.after is None)

    @property
    def effect(self) -> Effect:
        """What it means that the finding appeared ("regression") or is gone ("fix").

        It means something only if `has_appeared_or_gone`.
        """
        return "fix" if self.after is None else "regression"


class HostDiff(msgspec.Struct, frozen=True):
    """One audited host in two runs; its changes are those of the later host, dated."""

    before: Audited
    after: Audited
    context: RunContext
    findings_before: Mapping[str, Finding]
    findings_after: Mapping[str, Finding]

    @classmethod
    def of(cls, before: Audited, after: Audited, context: RunContext) -> HostDiff:
        """Returns the two hosts with their findings by id."""
        return cls(before, after, context, _by_id(before), _by_id(after))

    @property
    def has_void_host(self) -> bool:
        """Whether the positive control failed in one of the runs, so that its endings prove
        nothing.
        """
        return bool(self.before.void or self.after.void)

    def change(
        self, effect: Effect, kind: ChangeKind, what: str, before: str, after: str
    ) -> Change:
        """Returns a change, with the date, severity and waiver of its finding.

        `what` is the id of a finding ("sysctl:net.ipv4.tcp_rfc1337") or, for what has none, a name
        such as "kernel". `before` and `after` are the texts of the two runs, for a reader. A fix
        has the earlier run's finding, any other change that of the later run. Without a finding the
        date is that of the run, and the change has no severity.
        """
        finding, date = self.findings_after.get(what), self.context.after
        if effect == "fix":
            finding, date = self.findings_before.get(what), self.context.before
        change = Change(
            effect=effect,
            kind=kind,
            host=self.after.name,
            what=what,
            before=before,
            after=after,
            since=date,
        )
        return _with_finding(change, finding) if finding else change

    def knowledge_change(
        self, kind: ChangeKind, what: str, before: str, after: str, *, is_known: bool
    ) -> Change:
        """Returns the change of something that is known in one of the two runs only; `is_known`: in
        the later one. The other arguments are as in `change`.
        """
        effect: Effect = "told again" if is_known else "no longer told"
        return self.change(effect, kind, what, before, after)

    def expectation_change(self, what: str) -> Change:
        """Returns the change of an expectation.

        One run has a finding of it, the other did not expect it: "expected 1" and "no finding".
        """
        texts = map(_describe_expected, self.findings(what))
        return self.change("changed", "expectation", what, *texts)

    def findings(self, what: str) -> FindingPair:
        """Returns the findings of both runs with the id `what`."""
        return FindingPair(self.findings_before.get(what), self.findings_after.get(what))

    def is_expected_in_both(self, what: str) -> bool:
        """Returns whether both runs had an expectation of `what`, as far as is known: an old run
        does not list its expectations.
        """
        return _is_expected(what, self.before, self.findings_before) and _is_expected(
            what, self.after, self.findings_after
        )


def _with_finding(change: Change, finding: Finding) -> Change:
    """Returns a change with the date, severity and waiver of its finding."""
    return msgspec.structs.replace(
        change,
        since=finding.since or change.since,
        severity=finding.severity,
        waived=finding.waived,
    )


def _describe_expected(finding: Finding | None) -> str:
    """Returns the expectation of a finding for a reader."""
    if finding is None:
        return "no finding"
    return f"expected {finding.expected}"


def _is_expected(what: str, host: Audited, findings: Mapping[str, Finding]) -> bool:
    """Returns whether a host has an expectation of `what`, or does not list its expectations.

    A finding proves an expectation. Runs of earlier versions do not list theirs.
    """
    return what in findings or not host.expectations or what in host.expectations


def _by_id(host: Audited) -> dict[str, Finding]:
    """Returns the findings by id; of several with one id the first, which is the most severe."""
    return {finding.id: finding for finding in reversed(host.findings)}
