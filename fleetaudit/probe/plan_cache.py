"""What is made once for hosts with an equal plan. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from fleetaudit.model import HostPlan

T = TypeVar("T")

MAX_PLANS = 64
"""Maximum number of plans that are kept; then all are forgotten."""


class PlanCache(Generic[T]):
    """What `make` returns for a plan, made once for the objects in it that a call is made of.

    Hosts that the same plays match share these objects, so they are looked up by identity. Each
    entry keeps its plan, so that no other object takes the place of one of them.
    """

    def __init__(self, make: Callable[[HostPlan], T]) -> None:
        self._make = make
        self._known = dict[tuple[object, ...], tuple[HostPlan, T]]()

    def __call__(self, plan: HostPlan) -> T:
        """Returns what belongs to a plan."""
        shared = (plan.scenarios, plan.sysctls_collect, plan.watch, plan.services)
        key = (*map(id, shared), plan.trials, plan.isolation)
        if key not in self._known:
            if len(self._known) >= MAX_PLANS:
                self._known.clear()
            self._known[key] = plan, self._make(plan)
        return self._known[key][1]

    def __len__(self) -> int:
        """Returns the number of plans that are kept."""
        return len(self._known)
