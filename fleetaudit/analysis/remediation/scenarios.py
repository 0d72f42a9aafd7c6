"""Remedies for endings that are not as expected. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fleetaudit.model import Ending, Observation, Scenario

from .exposure import CLOSE_REMEDY, DROPPED_ON_THE_WAY_IN, DROPPED_ON_THE_WAY_OUT
from .kernel_fixes import (
    MPTCP_LINGER_FIX,
    MPTCP_UNREAD_FIX,
    UNIX_FIX,
    kernel_with,
    reread_remedy,
)

_RESETS: frozenset[Ending] = frozenset({"RST", "FIN, then RST"})


def scenario_remedy(scenario: Scenario, observation: Observation, release: str) -> str:
    """Returns the remedy if `scenario` did not end as expected on a host with this kernel release
    (uname -r), "" if none is known.

    Hosts of one series get the same text, so that they can be shown together.
    """
    if observation.ending == "sent, not delivered":
        return _remedy_of_dropped_segment(observation)
    if observation.ending in _RESETS and _RESETS.isdisjoint(scenario.expect):
        return _remedy_of_reset(scenario, observation, release)
    if observation.ending == "FIN" and "RST" in scenario.expect:
        return _remedy_of_missing_reset(scenario)
    return ""


def _remedy_of_dropped_segment(observation: Observation) -> str:
    """Returns the remedy if the closer sent a segment that did not arrive."""
    failed = _counter(observation, "TCPAbortFailed")
    return DROPPED_ON_THE_WAY_OUT if failed else DROPPED_ON_THE_WAY_IN


def _remedy_of_reset(scenario: Scenario, observation: Observation, release: str) -> str:
    """Returns the remedy of a reset that is not expected, "" if none is known.

    A reset after a resent FIN is a bug that kernels have fixed; so is one after an urgent byte over
    AF_UNIX. Otherwise the kernel itself must name the branch of unread data (TCPAbortOnClose).
    """
    verbs = _verbs(scenario)
    if "resend-fin" in verbs:
        return reread_remedy(release)
    if observation.family == "unix":
        since = "2025, and stable kernels since"
        return kernel_with(UNIX_FIX, since) if "read-urgent" in verbs else ""
    # The kernel itself names the branch: unread data.
    return CLOSE_REMEDY if _counter(observation, "TCPAbortOnClose") else ""


def _remedy_of_missing_reset(scenario: Scenario) -> str:
    """Returns the remedy if a reset is expected and does not come, known for MPTCP only.

    MPTCP sent no fastclose for zero linger, nor for unread data, before these fixes.
    """
    calls = [step.call for step in scenario.steps]
    if ("connect", "mptcp") not in {call[1:3] for call in calls}:
        return ""
    if _sets_linger(calls):
        return kernel_with(MPTCP_LINGER_FIX, "7.1, and stable kernels")
    return kernel_with(MPTCP_UNREAD_FIX, "6.1")


def _sets_linger(calls: Iterable[tuple[str | int, ...]]) -> bool:
    """Returns whether a step sets SO_LINGER."""
    return any(call[1] == "set" and "SO_LINGER" in call for call in calls)


def _verbs(scenario: Scenario) -> set[str | int]:
    """Returns what the steps of a scenario do."""
    return {step.call[1] for step in scenario.steps}


def _counter(observation: Observation, name: str) -> int:
    """Returns by how much a kernel counter grew during a trial, 0 if that is unknown."""
    return (observation.evidence.kernel or {}).get(name, 0)
