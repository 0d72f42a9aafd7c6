"""Checks that a probe can run the steps of a scenario in their order, and over which families.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fleetaudit.model import Family, Step

MAX_WAITS_MS = 5000
"""Longest wait of one trial, in milliseconds: a host's time is bounded."""
MAX_SEGMENT = 32 * 1024
"""Maximum number of bytes of a raw segment: it must fit into the MTU of `lo`."""

_ENDS = ("close", "close-other", "end", "disconnect", "destroy", "shutdown", "fill-queue")
_BEFORE_CONNECT = (("both", "sign"), ("listener", "backlog"), ("listener", "set"))
_RAW = ("resend", "resend-fin", "send-out-of-order")
_UNIX = ("unix", "seqpacket")
_NOT_OVER_UNIX = (*_RAW, "accept", "destroy", "disconnect", "fill-queue", "ktls", "sign")


def step_families(steps: Iterable[Step], offered: Sequence[Family]) -> tuple[Family, ...]:
    """Returns the families over which the steps make sense, of those that the play offers; AF_UNIX
    follows from a step.
    """
    how = _connection_kind(steps)
    if how in _UNIX:
        return ("unix",)
    if how == "mapped":
        return tuple(family for family in offered if family == "ipv6")
    return tuple(family for family in offered if family != "unix")


def _connection_kind(steps: Iterable[Step]) -> str:
    """Returns how closer and peer connect, the third word of a connect's call."""
    return next((str(step.call[2]) for step in steps if step.call[1] == "connect"), "tcp")


def order_problem(steps: Sequence[Step]) -> str:
    """Returns why no probe can run the steps in this order, "" if one can."""
    if not steps:
        return "a scenario needs at least one step"
    return next(filter(None, (check(steps) for check in _CHECKS)), "")


def _wrong_sequence(steps: Sequence[Step]) -> str:
    """Returns which step comes too late, "" if none does."""
    gone = dict[str, str]()
    acted = False
    for step in steps:
        if problem := _too_late(step, acted, gone):
            return problem
        actor, verb = step.call[:2]
        acted = acted or (actor in ("closer", "peer", "both") and verb != "sign")
        if verb in ("close", "end", "destroy"):
            gone[str(actor)] = step.text
    return ""


def _too_late(step: Step, acted: bool, gone: dict[str, str]) -> str:
    """Returns why a step comes too late, "" if it does not.

    `acted` tells whether closer or peer did something before, `gone` by which step an actor ended.
    """
    actor, verb = str(step.call[0]), str(step.call[1])
    if verb == "connect" and acted:
        return f"“{step.text}” must come before every other step of closer and peer, and only once"
    if (actor, verb) in _BEFORE_CONNECT and acted:
        return f"“{step.text}” must come before every step of closer and peer"
    if actor in gone and verb != "close-other":
        return f"“{step.text}”: {actor} is gone since “{gone[actor]}”"
    return ""


def _wrong_combination(steps: Sequence[Step]) -> str:
    """Returns which step no probe can carry out together with the others, "" if there is none."""
    texts = {step.call[1]: step.text for step in reversed(steps)}
    if "fill-queue" in texts:
        for step in steps:
            if step.call == ("listener", "close"):
                return (
                    f"“{step.text}”: not after “{texts['fill-queue']}”, the RST of each stranger"
                    " would be counted, too"
                )
    raw = (step for step in steps if step.call[1] in _RAW)
    problems = (_wrong_raw_segment(s, texts.get("sign", ""), _connection_kind(steps)) for s in raw)
    return next(filter(None, problems), "")


def _wrong_raw_segment(step: Step, signed: str, how: str) -> str:
    """Returns why a raw segment cannot be sent, "" if it can; `signed` is the step that signs."""
    if signed:
        return f"“{step.text}”: not after “{signed}”, a raw segment is not signed"
    if how == "mptcp":
        return f"“{step.text}”: not over MPTCP, whose options a raw segment does not have"
    if int(step.call[2]) > MAX_SEGMENT:
        return f"“{step.text}”: a raw segment holds {MAX_SEGMENT} bytes at most"
    return ""


def _too_long(steps: Sequence[Step]) -> str:
    """Returns by how much the steps wait too long, "" if they do not."""
    waits_ms = sum(int(step.call[2]) for step in steps if step.call[1] == "wait")
    if waits_ms <= MAX_WAITS_MS:
        return ""
    return f"the steps wait {waits_ms} ms, a scenario may wait {MAX_WAITS_MS} ms"


def _without_end(steps: Sequence[Step]) -> str:
    """Returns a problem if no step ends anything, else ""."""
    if any(step.call[1] in _ENDS for step in steps):
        return ""
    return "no step ends anything: a scenario needs a close, a half-close, an exit…"


def _wrong_over_unix(steps: Sequence[Step]) -> str:
    """Returns which step makes no sense over AF_UNIX, "" if none or if it is not used."""
    how = _connection_kind(steps)
    if how not in _UNIX:
        return ""
    return next(filter(None, (_wrong_unix_step(step, how) for step in steps)), "")


def _wrong_unix_step(step: Step, how: str) -> str:
    """Returns why a step makes no sense over AF_UNIX, "" if it does."""
    actor, verb = str(step.call[0]), str(step.call[1])
    is_tcp_option = verb == "set" and str(step.call[2]).startswith("TCP_")
    if actor == "listener" or verb in _NOT_OVER_UNIX or is_tcp_option:
        return f"“{step.text}”: AF_UNIX has nothing of the kind"
    if how == "seqpacket" and verb in ("send-urgent", "read-urgent"):
        return f"“{step.text}”: AF_UNIX SOCK_SEQPACKET has no urgent data"
    return ""


_CHECKS: tuple[Callable[[Sequence[Step]], str], ...] = (
    _wrong_sequence,
    _wrong_combination,
    _too_long,
    _without_end,
    _wrong_over_unix,
)
