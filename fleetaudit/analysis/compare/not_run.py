"""Groups the verdicts that were not run by the reason that the hosts report. Pure.

Rules: void hosts do not count. Hosts choose the text of a reason, so only the most frequent ones
are named, and the others are counted as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, starmap

from fleetaudit.model import Observation
from fleetaudit.text.host_ranges import MAX_RANGES

from .common import (
    BehaviourGroup,
    count_hosts,
    each_observation,
    fold_names,
    group_by,
    valid_groups,
)
from .view_model import NotRun

MOST_REASONS = 20
"""How many reasons are named."""
OTHER_REASONS = "other reasons"

_GroupObservation = tuple[BehaviourGroup, Observation]


def group_not_run(groups: Iterable[BehaviourGroup]) -> tuple[NotRun, ...]:
    """Returns the verdicts that were not run, by reason, most verdicts first.

    A verdict is one scenario over one family on one host. Reasons after the first `MOST_REASONS`
    are one entry, `OTHER_REASONS`, which comes last.
    """
    by_reason = group_by(_not_run(groups), lambda pair: pair[1].reason)
    ordered = sorted(by_reason.items(), key=lambda item: -count_hosts(item[1]))
    rest = ordered[MOST_REASONS:]
    if rest:
        others = list(chain.from_iterable(pairs for _, pairs in rest))
        ordered[MOST_REASONS:] = [(OTHER_REASONS, others)]
    return tuple(starmap(_view, ordered))


def _not_run(groups: Iterable[BehaviourGroup]) -> Iterator[_GroupObservation]:
    """Yields the observations that were not run, each with its hosts."""
    for group, observation in each_observation(valid_groups(groups)):
        if observation.ending == "not run":
            yield group, observation


def _view(reason: str, pairs: list[_GroupObservation]) -> NotRun:
    """Returns the verdicts of one reason."""
    groups = {group[0].name: group for group, _ in pairs}
    names = dict.fromkeys(observation.scenario for _, observation in pairs)
    return NotRun(
        reason=reason,
        verdicts=count_hosts(pairs),
        scenarios=tuple(names)[:MAX_RANGES],
        more_scenarios=max(0, len(names) - MAX_RANGES),
        hosts=fold_names(chain.from_iterable(groups.values())),
    )
