"""What a reply says of production: who resets, and how services answer. Pure.

Rules: a reply answers exactly what its plan asks. What was asked and is missing has a problem; what
was not asked is refused.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from fleetaudit.errors import ReplyError
from fleetaudit.model import HostPlan, ServiceCheck, ServiceResult, Watched

from .reply import ReplyBase

_ENDED = "the probe ended before that"
_MISSING = ServiceResult(
    name="", problem=_ENDED, hint="give the host more time, with --host-deadline"
)
_MISSING_NATIVE = ServiceResult(
    name="",
    problem="the native probe asks no services: that needs a Python on the host",
    hint="apt-get install python3-minimal",
)
WATCH_HINTS = frozenset(
    {
        "cat /proc/sys/kernel/perf_event_paranoid",
        "cat /sys/kernel/security/lockdown",
        "cat /sys/kernel/tracing/events/tcp/tcp_send_reset/format",
        "fleetaudit doctor",
        "free -m",
        "grep CapEff /proc/self/status",
        "ls -d /sys/kernel/tracing",
        "set become: true",
        "ulimit -u",
        "uname -r",
    }
)
"""What the probes say to do where a host cannot be watched."""
USUAL_HINT = "ss -ltnp"
HINTS = frozenset({USUAL_HINT, "ip address", _MISSING.hint, _MISSING_NATIVE.hint})
"""The next commands to type where a service could not be asked: those of the probe, and these."""
S = TypeVar("S", ServiceResult, ServiceCheck)


def watched_of(plan: HostPlan, reply: ReplyBase) -> Watched | UnsetType:
    """Returns what was seen while the host was watched, unset if the plan does not ask for it.

    Raises `ReplyError` if the reply has what was not asked for.
    """
    if plan.watch is None:
        _refuse(reply.watch is not None, "a watch that was")
        return UNSET
    watched = reply.watch or Watched(problem=_ENDED)
    # A hint is a command that somebody types, so none is taken from a host that the probes lack.
    return replace(watched, hint=watched.hint if watched.hint in WATCH_HINTS else "")


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
    missing = _MISSING_NATIVE if reply.probe == "native" else _MISSING
    results = [found.get(name) or replace(missing, name=name) for name in asked]
    targets = [service.target for service in plan.services]
    return tuple(map(_with_target, results, targets))


def _with_target(result: ServiceResult, target: str) -> ServiceResult:
    """Returns the result of a service with what was asked, as the plan has it.

    A hint is a command that somebody types: only those that the probe has are taken from a host.
    """
    checks = tuple(map(_with_known_hint, result.checks))
    return replace(_with_known_hint(result), target=target, checks=checks)


def _with_known_hint(seen: S) -> S:
    """Returns what was seen with a hint that is known; it has none without a problem."""
    hints = {True: seen.hint if seen.hint in HINTS else USUAL_HINT, False: ""}
    return replace(seen, hint=hints[bool(seen.problem)])


def _refuse(is_wrong: bool, what: str) -> None:
    """Raises `ReplyError` if the reply has what was not asked for."""
    if is_wrong:
        raise ReplyError(f"the reply has {what} not asked for", kind="reply not valid")
