"""What a reply says of production: who resets, and how services answer. Pure.

Rules: a reply answers exactly what its plan asks. What was asked and is missing has a problem; what
was not asked is refused.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from fleetaudit.errors import ReplyError
from fleetaudit.model import HostPlan, ServiceResult, Watched

from .reply import ReplyBase

_ENDED = "the probe ended before that"
_NATIVE = "the native probe asks no services: that needs a Python on the host"


def watched_of(plan: HostPlan, reply: ReplyBase) -> Watched | UnsetType:
    """Returns what was seen while the host was watched, unset if the plan does not ask for it.

    Raises `ReplyError` if the reply has what was not asked for.
    """
    if plan.watch is None:
        _refuse(reply.watch is not None, "a watch that was")
        return UNSET
    return reply.watch or Watched(problem=_ENDED)


def services_of(plan: HostPlan, reply: ReplyBase) -> tuple[ServiceResult, ...] | UnsetType:
    """Returns the result of each service of the plan, in its order; unset if it has none.

    Raises `ReplyError` if the reply has a service that was not asked for, or one twice.
    """
    found = {result.name: result for result in reply.services}
    asked = [service.name for service in plan.services]
    _refuse(len(found) < len(reply.services), "a service twice, which was")
    _refuse(not found.keys() <= {*asked}, "services that were")
    if not asked:
        return UNSET
    missing = _NATIVE if reply.probe == "native" else _ENDED
    return tuple(found.get(name) or ServiceResult(name=name, problem=missing) for name in asked)


def _refuse(is_wrong: bool, what: str) -> None:
    """Raises `ReplyError` if the reply has what was not asked for."""
    if is_wrong:
        raise ReplyError(f"the reply has {what} not asked for", kind="reply not valid")
