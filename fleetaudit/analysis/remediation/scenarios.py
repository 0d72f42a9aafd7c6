"""Remedies for endings that are not as expected. Pure."""

from __future__ import annotations

from fleetaudit.model import Ending, Observation, Scenario, Step

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

    A remedy is one or more sentences: a kernel that has a fix, a change of the application, or what
    drops segments. Hosts of one series get the same text, so that they can be shown together.
    """
    if observation.ending == "sent, not delivered":
        return _remedy_of_dropped_segment(observation)
    if _is_unexpected_reset(scenario, observation.ending):
        return _remedy_of_reset(scenario, observation, release)
    if _is_missing_reset(scenario, observation.ending):
        return _remedy_of_missing_reset(scenario)
    return ""


def _is_unexpected_reset(scenario: Scenario, ending: Ending) -> bool:
    """Returns whether a connection was reset and no reset is expected.

    If either of the two resets is expected, the other is not unexpected here: it has no remedy.
    """
    return ending in _RESETS and _RESETS.isdisjoint(scenario.expect)


def _is_missing_reset(scenario: Scenario, ending: Ending) -> bool:
    """Returns whether a connection ended in FIN and may be expected to end in RST.

    An expectation of "FIN, then RST" alone does not count.
    """
    return ending == "FIN" and "RST" in scenario.expect


def _remedy_of_dropped_segment(observation: Observation) -> str:
    """Returns the remedy if the closer sent a segment that did not arrive.

    A RST that is dropped in OUTPUT moves TCPAbortFailed; without that, the segment was dropped on
    its way in.
    """
    if _counter(observation, "TCPAbortFailed"):
        return DROPPED_ON_THE_WAY_OUT
    return DROPPED_ON_THE_WAY_IN


def _remedy_of_reset(scenario: Scenario, observation: Observation, release: str) -> str:
    """Returns the remedy of a reset that is not expected, "" if none is known.

    A reset after a resent FIN is a bug that kernels have fixed; so is one after an urgent byte over
    AF_UNIX. Otherwise the kernel itself must name the branch of unread data (TCPAbortOnClose).
    """
    verbs = _verbs(scenario)
    if "resend-fin" in verbs:
        return reread_remedy(release)
    if observation.family == "unix" and "read-urgent" in verbs:
        return kernel_with(UNIX_FIX, "2025, and stable kernels since")
    if observation.family != "unix" and _counter(observation, "TCPAbortOnClose"):
        return CLOSE_REMEDY
    return ""


def _remedy_of_missing_reset(scenario: Scenario) -> str:
    """Returns the remedy if a reset is expected and does not come, known for MPTCP only.

    MPTCP sent no fastclose for zero linger, nor for unread data, before these fixes.
    """
    if not any(step.call[1:3] == ("connect", "mptcp") for step in scenario.steps):
        return ""
    if any(map(_sets_linger, scenario.steps)):
        return kernel_with(MPTCP_LINGER_FIX, "7.1, and stable kernels")
    return kernel_with(MPTCP_UNREAD_FIX, "6.1")


def _sets_linger(step: Step) -> bool:
    """Returns whether a step sets SO_LINGER."""
    return step.verb == "set" and "SO_LINGER" in step.call


def _verbs(scenario: Scenario) -> set[str]:
    """Returns what the steps of a scenario do."""
    return {step.verb for step in scenario.steps}


def _counter(observation: Observation, name: str) -> int:
    """Returns by how much a kernel counter grew during a trial, 0 if that is unknown."""
    return (observation.evidence.kernel or {}).get(name, 0)
