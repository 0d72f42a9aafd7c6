"""How the endings of one host changed: regressions, fixes, and what is unknown now. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fleetaudit.analysis.judge import (
    ExpectationStatus,
    describe_endings,
    expectation_status,
)
from fleetaudit.model import (
    Change,
    Effect,
    Ending,
    Finding,
    Observation,
    ScenarioRow,
)

from .host_diff import HostDiff

_IS_MET: dict[ExpectationStatus, bool] = {"met": True, "not met": False}
_WITHOUT_VERDICT: frozenset[Ending] = frozenset({"not run", "inconclusive"})


class _Outcome(NamedTuple):
    """Observation and finding of one scenario over one family on this host in one run, or None."""

    observation: Observation | None
    finding: Finding | None

    @property
    def is_planned(self) -> bool:
        """Whether the run planned the scenario for this host.

        If it was not planned, there is no finding; if it was planned and not reported, there is
        one.
        """
        return self != (None, None)

    @property
    def endings(self) -> tuple[str, ...]:
        """Which endings were observed.

        The number of trials per ending differs from run to run, so it is not compared. The ending
        of the scenario comes first, then those of its trials: ("FIN", "FIN", "RST"). It is () if
        the host reported none.
        """
        if self.observation is None:
            return ()
        return (self.observation.ending, *sorted(self.observation.endings))

    def is_met(self, expect: tuple[Ending, ...]) -> bool | None:
        """Returns whether the expectation is met, None if that is unknown.

        It is unknown for an ending that is inconclusive or was not run, and if trials disagree. If
        no ending is expected, every known ending is met.
        """
        if self.observation is None:
            return None
        expected = expect or (self.observation.ending,)
        return _IS_MET.get(expectation_status(self.observation, expected))

    def lacks_finding(self, expect: tuple[Ending, ...]) -> bool:
        """Returns whether the ending does not meet the expectation and yet has no finding."""
        return self.finding is None and self.is_met(expect) is False

    def __str__(self) -> str:
        """Returns what was observed, for a reader.

        Such as "RST", "inconclusive: no witness reported", "not reported".
        """
        if self.observation is None:
            return "not reported"
        endings = describe_endings(self.observation)
        if self.observation.reason and self.observation.ending in _WITHOUT_VERDICT:
            return f"{endings}: {self.observation.reason}"
        return endings


def scenario_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields the changes of all scenarios that both runs planned for this host, over each family.

    The id of such a change is "scenario:unread-close/ipv4". The endings of a void host prove
    nothing; the failed controls are reported as a change of their own.
    """
    if diff.has_void_host:
        return
    before, after = diff.before.observations_by_scenario(), diff.after.observations_by_scenario()
    for key in dict.fromkeys([*after, *before]):
        if _ends_are_equal(before.get(key), after.get(key)):
            continue
        scenario, family = key
        what = f"scenario:{scenario}/{family}"
        findings = diff.findings(what)
        old = _Outcome(before.get(key), findings.before)
        new = _Outcome(after.get(key), findings.after)
        yield from _scenario_change(diff, what, diff.context.rows.get(scenario), old, new)


def _ends_are_equal(before: Observation | None, after: Observation | None) -> bool:
    """Returns whether both runs observed a scenario and saw the same endings, as nearly always."""
    if before is None or after is None:
        return False
    if before is after:
        return True
    return before.ending == after.ending and before.endings.keys() == after.endings.keys()


def _scenario_change(
    diff: HostDiff, what: str, row: ScenarioRow | None, old: _Outcome, new: _Outcome
) -> Iterator[Change]:
    """Yields the change of one scenario over one family, if it changed.

    It did not change if both runs saw the same endings. Only scenarios that both runs planned for
    this host are compared; `row` is None if one of the runs does not have the scenario at all.
    """
    if row is None or old.endings == new.endings:
        return
    if old.is_planned and new.is_planned:
        is_edited = row.name in diff.context.edited
        expect = _expected_here(row, old, new, is_edited=is_edited)
        yield diff.change(_effect(old, new, expect), "scenario", what, str(old), str(new))


def _expected_here(
    row: ScenarioRow, old: _Outcome, new: _Outcome, *, is_edited: bool
) -> tuple[Ending, ...]:
    """Returns the expected endings on this host, none if the expectation does not apply to it.

    It does not apply if an ending that does not meet it has no finding. An expectation that was
    edited since then is another reason why the earlier run has none.
    """
    if old.lacks_finding(row.expect) and not is_edited:
        return ()
    if new.lacks_finding(row.expect):
        return ()
    return row.expect


def _effect(old: _Outcome, new: _Outcome, expect: tuple[Ending, ...]) -> Effect:
    """Returns the effect of two different endings.

    It is a regression or a fix only if it is known of both whether they are expected. It is
    "changed" if both endings are expected, if none of them is, or if that is unknown of both.
    """
    before, after = old.is_met(expect), new.is_met(expect)
    if before == after:
        return "changed"
    if before is None:
        return "told again"
    if after is None:
        return "no longer told"
    return "regression" if before else "fix"
