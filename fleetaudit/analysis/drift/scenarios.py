"""How the endings of one host changed: regressions, fixes, and what is unknown now. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.analysis.judge import (
    ExpectationStatus,
    describe_endings,
    expectation_status,
)
from fleetaudit.model import (
    Audited,
    Change,
    Effect,
    Ending,
    Family,
    Finding,
    Observation,
    ScenarioRow,
)

from .host_diff import HostDiff

_IS_MET: dict[ExpectationStatus, bool] = {"met": True, "not met": False}
_Key = tuple[str, Family]


def scenario_changes(diff: HostDiff) -> Iterator[Change]:
    """Yields the changes of all scenarios that both runs planned for this host, over each family.

    The endings of a void host prove nothing, which is a change of the controls already.
    """
    if diff.before.void or diff.after.void:
        return
    before, after = _by_scenario(diff.before), _by_scenario(diff.after)
    for key in dict.fromkeys([*after, *before]):
        yield from _scenario_change(diff, key, before.get(key), after.get(key))


def _by_scenario(host: Audited) -> dict[_Key, Observation]:
    """Returns the observations of a host by scenario and family."""
    return {(o.scenario, o.family): o for o in host.observations}


def _scenario_change(
    diff: HostDiff, key: _Key, old: Observation | None, new: Observation | None
) -> Iterator[Change]:
    """Yields the change of one scenario over one family, if it changed.

    It did not change if both runs saw the same endings. Only scenarios that both runs planned for
    this host are compared.
    """
    row = diff.context.rows.get(key[0])
    if row is None or _endings(old) == _endings(new):
        return
    what = f"scenario:{key[0]}/{key[1]}"
    old_finding, new_finding = diff.findings_before.get(what), diff.findings_after.get(what)
    if _is_planned(old, old_finding) and _is_planned(new, new_finding):
        effect = _effect(old, new, _expected_here(diff, what, row, old, new))
        yield diff.change(effect, "scenario", what, _describe(old), _describe(new))


def _is_planned(observation: Observation | None, finding: Finding | None) -> bool:
    """Returns whether a run planned a scenario for this host.

    If it was not planned, there is no finding; if it was planned and not reported, there is one.
    """
    return observation is not None or finding is not None


def _expected_here(
    diff: HostDiff, what: str, row: ScenarioRow, old: Observation | None, new: Observation | None
) -> tuple[Ending, ...]:
    """Returns the expected endings on this host, none if the expectation does not apply to it.

    It does not apply if an ending that does not meet it has no finding. An expectation that was
    edited since then is another reason why the earlier run has none.
    """
    is_edited = row.name in diff.context.edited
    if not is_edited and _has_no_finding(old, row, diff.findings_before.get(what)):
        return ()
    if _has_no_finding(new, row, diff.findings_after.get(what)):
        return ()
    return row.expect


def _has_no_finding(
    observation: Observation | None, row: ScenarioRow, finding: Finding | None
) -> bool:
    """Returns whether an ending does not meet the expectation and yet has no finding."""
    return finding is None and _is_met(observation, row.expect) is False


def _effect(old: Observation | None, new: Observation | None, expect: tuple[Ending, ...]) -> Effect:
    """Returns the effect of two different endings.

    It is a regression or a fix only if it is known of both whether they are expected.
    """
    before, after = _is_met(old, expect), _is_met(new, expect)
    if before == after:
        return "changed"
    if before is None:
        return "told again"
    if after is None:
        return "no longer told"
    return "regression" if before else "fix"


def _is_met(observation: Observation | None, expect: tuple[Ending, ...]) -> bool | None:
    """Returns whether the expectation is met, None if that is unknown.

    It is unknown for an ending that is inconclusive or was not run, and if trials disagree. If no
    ending is expected, every known ending is met.
    """
    if observation is None:
        return None
    return _IS_MET.get(expectation_status(observation, expect or (observation.ending,)))


def _endings(observation: Observation | None) -> tuple[str, ...]:
    """Returns which endings were observed.

    How many trials ended in which way differs from run to run and does not count.
    """
    return () if observation is None else (observation.ending, *sorted(observation.endings))


def _describe(observation: Observation | None) -> str:
    """Returns what was observed, for a reader: "RST", "inconclusive: no witness spoke", "not
    reported".
    """
    if observation is None:
        return "not reported"
    endings = describe_endings(observation)
    if observation.reason and observation.ending in ("not run", "inconclusive"):
        return f"{endings}: {observation.reason}"
    return endings
