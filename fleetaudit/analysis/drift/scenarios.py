"""How the endings of one host changed: regressions, fixes, and what nobody can tell any more. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fleetaudit.analysis.judge import describe_endings, expectation_status
from fleetaudit.model import (
    Change,
    Effect,
    Ending,
    Observation,
    ScenarioRow,
)

from .host_diff import HostDiff


def scenarios(laid: HostDiff) -> Iterator[Change]:
    """Yields the changes of all scenarios that both runs asked of this host, over each family."""
    if (
        laid.before.void or laid.after.void
    ):  # said once, above: what a void host shows proves nothing
        return
    before, after = (
        {(o.scenario, o.family): o for o in h.observations} for h in (laid.before, laid.after)
    )
    for key in dict.fromkeys([*after, *before]):
        row = laid.ground.rows.get(key[0])
        what = f"scenario:{key[0]}/{key[1]}"
        # A host that was not asked has no finding; one that was, and did not answer, has.
        asked_before = key in before or what in laid.findings_before
        asked_after = key in after or what in laid.findings_after
        if row is None or not (asked_before and asked_after):
            continue
        old, new = before.get(key), after.get(key)
        if _kind_of_ending(old) != _kind_of_ending(new):
            effect = _effect(old, new, _wanted_here(laid, what, row, old, new))
            yield laid.change(effect, "scenario", what, _ended(old), _ended(new))


def _wanted_here(
    laid: HostDiff, what: str, row: ScenarioRow, old: Observation | None, new: Observation | None
) -> tuple[Ending, ...]:
    """The endings that are wanted on this host, none where the expectation does not apply: the
    judge was silent about an ending that does not meet it. What has another expectation now was
    silent for that reason.
    """
    edited = row.name in laid.ground.edited
    silent_before = (
        _told(old, row.expect) is False and what not in laid.findings_before and not edited
    )
    silent_after = _told(new, row.expect) is False and what not in laid.findings_after
    return () if silent_before or silent_after else row.expect


def _effect(old: Observation | None, new: Observation | None, expect: tuple[Ending, ...]) -> Effect:
    was, is_ = _told(old, expect), _told(new, expect)
    if was is not None and is_ is not None and was != is_:
        return "regression" if was else "fix"
    if (was is None) != (is_ is None):
        return "told again" if was is None else "no longer told"
    return "changed"


def _told(observation: Observation | None, expect: tuple[Ending, ...]) -> bool | None:
    """Whether the expectation is met, None where that was not told; where nothing is expected, all
    that is seen is.
    """
    if observation is None:
        return None
    return {"met": True, "not met": False}.get(
        expectation_status(observation, expect or (observation.ending,))
    )


def _kind_of_ending(observation: Observation | None) -> tuple[str, ...]:
    # How many trials ended which way differs from run to run; which ways there are is what was
    # observed.
    return () if observation is None else (observation.ending, *sorted(observation.endings))


def _ended(observation: Observation | None) -> str:
    if observation is None:
        return "not reported"
    untold = observation.ending in ("not run", "inconclusive") and observation.reason
    return describe_endings(observation) + (f": {observation.reason}" if untold else "")
