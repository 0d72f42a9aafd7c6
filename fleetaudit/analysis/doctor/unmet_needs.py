"""What a run would lack on a host that is ready: verdicts by reason, and the commands that would
bring them back. Pure.

Rules: the probe itself says what it could not run, by the rule that a run uses (it is asked for no
trials). The scenarios whose control is among them follow from the plan. A value that a host
reported enters no command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from fleetaudit.model import (
    Audited,
    HostPlan,
    LocalTarget,
    SshTarget,
)

from .model import MissingVerdicts

BECOME = "set become: true"
"""How the probe says, in a reason, that a user with more rights would see more."""
USER_NAMESPACES = {
    "user.max_user_namespaces": ("0", "15000"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}
"""The settings that keep ordinary users from user namespaces: the value that does (RHEL 7 and
containers, Debian, Ubuntu 24.04), and one that does not."""

_Lost = tuple[Literal["not run", "inconclusive"], str, str]
"""The ending, the reason and the scenario of a verdict that a run would not have."""


def missing_of(host: HostPlan, audited: Audited) -> tuple[MissingVerdicts, ...]:
    """Returns the verdicts that a run would not have, grouped by reason, in the order asked."""
    reasons = {(o.scenario, o.family): o.reason for o in audited.observations if o.reason}
    lost: list[_Lost] = [("not run", reason, name) for (name, _), reason in reasons.items()]
    for scenario in host.scenarios:
        for family in scenario.families:
            control = scenario.control or ""
            if (control, family) in reasons and (scenario.name, family) not in reasons:
                lost.append(("inconclusive", f"its control {control} would not run", scenario.name))
    return tuple(_grouped(lost))


def _grouped(lost: Iterable[_Lost]) -> Iterator[MissingVerdicts]:
    found = dict[tuple[Literal["not run", "inconclusive"], str], list[str]]()
    for ending, reason, name in lost:
        found.setdefault((ending, reason), []).append(name)
    for (ending, reason), names in found.items():
        scenarios = tuple(dict.fromkeys(names))
        yield MissingVerdicts(
            ending=ending, reason=reason, verdicts=len(names), scenarios=scenarios
        )


def fixes_of(
    host: HostPlan,
    audited: Audited,
    missing: Iterable[MissingVerdicts],
    again: Callable[[str], str],
) -> tuple[str, ...]:
    """Returns the commands that would bring missing verdicts back: to become root, or to allow user
    namespaces.

    `again` returns the command that checks this host again, with one more option. It is left out
    where the host's user becomes another user already.
    """
    if not any(BECOME in lack.reason for lack in missing):
        return ()
    values = {key: entry.value for key, entry in audited.sysctls.items()}
    settings = [
        f"{key}={better}"
        for key, (bad, better) in USER_NAMESPACES.items()
        if values.get(key) == bad
    ]
    on_host = (f"sysctl -w {' '.join(settings)} # as root, on the host",) if settings else ()
    becomes = isinstance(host.target, SshTarget | LocalTarget) and host.target.become is not None
    return on_host if becomes else (again("--become"), *on_host)
