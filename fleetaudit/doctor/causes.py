"""Why hosts are not ready, each cause once with all of its hosts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..folding import Folded, fold
from .nouns import JUMP, POINTS, Visit

HOST = "‹host›"
"""What stands for a host's name or address in a reason that several hosts share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Hosts that stopped at one stage for one reason; `hint` is what to type next, for the host `first`."""

    stage: str
    reason: str
    hosts: Folded
    first: str
    hint: str


def causes_of(visits: Iterable[Visit]) -> tuple[Cause, ...]:
    """Returns why hosts are not ready, by stage and then as they come; a reason that names its host is the same."""
    groups = dict[tuple[str, str], list[Visit]]()
    for visit in visits:
        if not visit.ready:
            groups.setdefault((visit.stage or "", _anonymous(visit)), []).append(visit)
    order = (*POINTS, "interrupted", "")
    return tuple(_cause(*key, groups[key]) for key in sorted(groups, key=lambda key: order.index(key[0])))


def _cause(stage: str, reason: str, visits: Sequence[Visit]) -> Cause:
    first = visits[0]
    told = first.reason if len({visit.reason for visit in visits}) == 1 else reason
    hosts = fold(visit.name for visit in visits)
    return Cause(stage=stage, reason=told, hosts=hosts, first=first.name, hint=first.hint)


def _anonymous(visit: Visit) -> str:
    """Returns the reason with a mark where the host is named."""
    found = (step.found for step in visit.steps if step.stage == "resolve" and not step.found.startswith(JUMP))
    names = {visit.name, visit.address, *(address for text in found for address in text.split(", "))} - {""}
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w.:-])(?:{longest_first})(?![\w-]|[.:]\w)", HOST, visit.reason)
