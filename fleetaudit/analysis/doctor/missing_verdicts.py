"""The verdicts that a run would not have on a host that is ready, and the commands that help. Pure.

Rules: the probe itself reports what it could not run, by the rule that a run uses (it is sent no
trials). The scenarios whose control is among them follow from the plan. A value that a host
reported enters no command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from fleetaudit.model import NOT_READ, Audited, Family, HostPlan, NoTarget, Scenario

from .model import MissingVerdicts

BECOME = "set become: true"
"""What the probe writes into a reason if a user with more rights would see more."""
USER_NAMESPACES = {
    "user.max_user_namespaces": ("0", "15000"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
}
"""The sysctls that keep ordinary users from user namespaces: the value that does (RHEL 7 and
containers, Debian, Ubuntu 24.04), and one that does not."""

_Reasons = dict[tuple[str, Family], str]
_Lost = tuple[Literal["not run", "inconclusive"], str, str]
"""The ending, the reason and the scenario of a verdict that a run would not have."""


def find_missing_verdicts(host: HostPlan, audited: Audited) -> tuple[MissingVerdicts, ...]:
    """Returns the verdicts that a run would not have, grouped by reason, in the plan's order.

    `host` is its plan, with the scenarios that a run would have, and `audited` its result of the
    check. The observations of the check have no trials: a reason says that the scenario would not
    run.
    """
    reasons = {(o.scenario, o.family): o.reason for o in audited.observations if o.reason}
    lost: list[_Lost] = [("not run", reason, name) for (name, _), reason in reasons.items()]
    for scenario in host.scenarios:
        lost += _without_control(scenario, reasons)
    return tuple(_group(lost))


def _without_control(scenario: Scenario, reasons: _Reasons) -> Iterator[_Lost]:
    """Yields the verdicts of a scenario that would run although its control would not.

    A run reports them as inconclusive, over each family that its control lacks.
    """
    control = scenario.control or ""
    for family in scenario.families:
        if (control, family) in reasons and (scenario.name, family) not in reasons:
            yield "inconclusive", f"its control {control} would not run", scenario.name


def _group(lost: Iterable[_Lost]) -> Iterator[MissingVerdicts]:
    """Yields missing verdicts by ending and reason."""
    groups = dict[tuple[Literal["not run", "inconclusive"], str], list[str]]()
    for ending, reason, name in lost:
        groups.setdefault((ending, reason), []).append(name)
    for (ending, reason), names in groups.items():
        scenarios = tuple(dict.fromkeys(names))
        yield MissingVerdicts(
            ending=ending, reason=reason, verdicts=len(names), scenarios=scenarios
        )


def find_fixes(
    host: HostPlan,
    audited: Audited,
    missing: Iterable[MissingVerdicts],
    check_again: Callable[[str], str],
) -> tuple[str, ...]:
    """Returns the commands that bring missing verdicts back: become root, allow user namespaces.

    `check_again` returns the command that checks this host again, with one more option. It is left
    out if the host's user becomes another user already.
    """
    if not any(BECOME in each.reason for each in missing):
        return ()
    fixes = [] if _becomes_another_user(host) else [check_again("--become")]
    if settings := _better_settings(audited):
        fixes.append(f"sysctl -w {' '.join(settings)} # as root, on the host")
    return tuple(fixes)


def _becomes_another_user(host: HostPlan) -> bool:
    """Returns whether the probe does not run as the login user of a host."""
    return not isinstance(host.target, NoTarget) and host.target.become is not None


def _better_settings(audited: Audited) -> list[str]:
    """Returns KEY=VALUE of each sysctl that keeps users of the host from user namespaces.

    Such as "kernel.unprivileged_userns_clone=1". The value is one of USER_NAMESPACES, never the
    host's.
    """
    settings = list[str]()
    for key, (bad, better) in USER_NAMESPACES.items():
        if audited.sysctls.get(key, NOT_READ).value == bad:
            settings.append(f"{key}={better}")
    return settings
