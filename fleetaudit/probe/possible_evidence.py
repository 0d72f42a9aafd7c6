"""Checks the evidence of a trial against the steps that made it: what no kernel and no probe of
ours can have seen is not believed. Pure.

Rules: each check holds for every kernel from 2.6.32 on, and each is made only where the steps leave
no doubt; so no true reply is touched. What a host leaves out contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from fleetaudit.model import Family, Scenario, Step

from .counters import Isolation
from .reply import RawSegment, RawTrial
from .step_effects import connects_over_mptcp
from .wire import count_resets, segments_of, whole_wire

MAX_ABORTS = 64
"""How many connections one trial can end: its own, and at most 18 of strangers, each twice."""
_ENDINGS = frozenset({"close", "close-other", "destroy", "disconnect", "end", "shutdown"})
_PLAIN = frozenset({"connect", "peek", "read", "read-all", "send", "set", "wait"})
"""Verbs before an ending of which is known what they leave in the closer's receive queue."""
_PLAIN_OPTIONS = frozenset({"SO_KEEPALIVE", "SO_LINGER", "TCP_NODELAY"})
_PLAIN_CONNECTIONS = frozenset({"mapped", "tcp", "unix"})
_NO_HANDSHAKE = frozenset({"fill-queue", "backlog"})
_NEEDS_NOTHING = _PLAIN | {
    "close",
    "discard",
    "read-to-end",
    "read-waitall",
    "shutdown",
    "try-read",
}


def needs_nothing(scenario: Scenario) -> bool:
    """Returns whether every host that can make a connection can run a scenario.

    Its steps are those that each kernel and each Python has, and the peer stays open.
    """
    if not all(step.verb in _NEEDS_NOTHING and _is_plain_step(step) for step in scenario.steps):
        return False
    return not any(step.actor == "peer" and step.verb in _ENDINGS for step in scenario.steps)


def why_impossible(
    trial: RawTrial, steps: Sequence[Step], family: Family, isolation: Isolation
) -> str:
    """Returns why a trial cannot have been seen like this, "" if it can.

    A trial that failed proves nothing, so nothing is checked.
    """
    if trial.error:
        return ""
    seen = _Seen(trial, steps, family, isolation)
    return next(filter(None, (check(seen) for check in _CHECKS)), "")


def _is_plain_step(step: Step) -> bool:
    """Returns whether a step has no option, and no kind of connection, that changes the rules."""
    if step.verb == "set":
        return step.call[2] in _PLAIN_OPTIONS
    return step.verb != "connect" or step.call[2] in _PLAIN_CONNECTIONS


@dataclass(frozen=True)
class _Seen:
    """A trial, and what its steps are known to do."""

    trial: RawTrial
    steps: Sequence[Step]
    family: Family
    isolation: Isolation

    @cached_property
    def endings(self) -> list[int]:
        """The indexes of the closer's ending steps."""
        ending = [step.actor != "peer" and step.verb in _ENDINGS for step in self.steps]
        return [index for index, is_ending in enumerate(ending) if is_ending]

    @cached_property
    def before(self) -> Sequence[Step]:
        """The steps before the first ending, () if what they do is not known exactly."""
        before = self.steps[: min(self.endings, default=0)]
        if all(step.verb in _PLAIN and _is_plain_step(step) for step in before):
            return before
        return ()

    @cached_property
    def wire(self) -> Sequence[RawSegment]:
        """The trace if it is whole and begins with the connection, else ()."""
        wire = whole_wire(self.trial) or ()
        if not any("S" in segment.flags for segment in segments_of(wire, "closer")):
            return ()
        return wire

    def sent_before(self, side: str) -> int:
        """Returns how many bytes a side sent before the first ending."""
        return sum(_size(step) for step in self.before if _is_send(step, side))

    @cached_property
    def unread(self) -> int:
        """How many bytes the closer has not read when it ends."""
        left = 0
        for step in self.before:
            left = _left_after(step, left)
        return left


def _is_send(step: Step, side: str) -> bool:
    """Returns whether a side sends a known number of bytes in a step."""
    return step.call[:2] == (side, "send")


def _size(step: Step) -> int:
    """Returns the number of bytes of a step that sends or reads."""
    return int(step.call[2])


def _left_after(step: Step, left: int) -> int:
    """Returns how much is in the closer's queue after a step, if `left` was before."""
    match step.call[:2]:
        case ("peer", "send"):
            return left + _size(step)
        case ("closer", "read"):
            return max(0, left - _size(step))
        case ("closer", "read-all"):
            return 0
    return left


# ---- the checks: each returns what cannot be, "" if nothing --------------------------------------


def _steps_began(seen: _Seen) -> str:
    """A trial that came to its end began each of its steps."""
    began, count = seen.trial.steps, len(seen.steps)
    if began == count:
        return ""
    return f"{began} of {count} steps began, and none failed"


def _begins_with_syn(seen: _Seen) -> str:
    """A trace with the closer's SYN begins with a SYN."""
    if not seen.wire or "S" in seen.wire[0].flags:
        return ""
    first = seen.wire[0]
    return f"the first segment is “{first.flags}” of the {first.sender}, before any SYN"


def _has_two_syns(seen: _Seen) -> str:
    """Both sides of a connection send a SYN."""
    if not seen.wire or any(step.verb in _NO_HANDSHAKE for step in seen.steps):
        return ""
    if any("S" in segment.flags for segment in segments_of(seen.wire, "peer")):
        return ""
    return "the wire has no SYN of the peer"


def _has_data(seen: _Seen) -> str:
    """What a side sent while the connection was open is on the wire."""
    if not seen.wire or seen.trial.wire_omitted:
        return ""
    for side in ("peer", "closer"):
        sent = seen.sent_before(side)
        if sent and not any(segment.length for segment in segments_of(seen.wire, side)):
            return f"the {side} sent {sent} bytes, and the wire has none of them"
    return ""


def _sent_all(seen: _Seen) -> str:
    """A step that sends fails unless all is sent, and no step sends more than it says."""
    for side in ("peer", "closer"):
        counted = seen.trial.bytes.get(f"{side} sent")
        least = seen.sent_before(side)
        if counted is not None and counted < least:
            return f"“{side} sent” is {counted}, and the steps send {least}"
    return ""


def _received_what_was_sent(seen: _Seen) -> str:
    """Nobody receives more than the other side sent."""
    counted = seen.trial.bytes
    for side, other in (("peer", "closer"), ("closer", "peer")):
        received, sent = counted.get(f"{side} received"), counted.get(f"{other} sent")
        if received is not None and sent is not None and received > sent:
            return f"“{side} received” is {received}, and “{other} sent” {sent}"
    return ""


def _queue_fits(seen: _Seen) -> str:
    """What was sent and not read is in the receive queue; nothing else is."""
    queued = seen.trial.queue.get("fionread")
    if queued is None or not seen.before or len(seen.endings) != 1:
        return ""
    if queued > seen.unread or (seen.unread and not queued):
        return f"the closer's receive queue has {queued} bytes, and the steps leave {seen.unread}"
    return ""


def _aborts_fit(seen: _Seen) -> str:
    """A trial has few connections; only in a namespace of its own is it alone."""
    for name, count in (seen.trial.kernel or {}).items():
        if name.startswith(("TCPAbort", "EstabResets")) and count > MAX_ABORTS:
            return f"{name} moved by {count}, and a trial has at most {MAX_ABORTS} connections"
    return ""


def _abort_has_its_cause(seen: _Seen) -> str:
    """tcp_close() with unread data counts TCPAbortOnClose, and looks at memory only otherwise."""
    if not seen.unread or not count_resets(seen.wire, "closer"):
        return ""
    if seen.trial.counter("TCPAbortOnMemory") and not seen.trial.counter("TCPAbortOnClose"):
        return "TCPAbortOnMemory moved, and with unread data it would be TCPAbortOnClose"
    return ""


def _over_tcp(check: Callable[[_Seen], str]) -> Callable[[_Seen], str]:
    """Returns a check that is made over plain TCP only."""

    def checked(seen: _Seen) -> str:
        if seen.family == "unix" or connects_over_mptcp(seen.steps):
            return ""
        return check(seen)

    return checked


def _alone(check: Callable[[_Seen], str]) -> Callable[[_Seen], str]:
    """Returns a check that is made in a private network namespace only."""
    return lambda seen: check(seen) if seen.isolation == "namespace" else ""


_CHECKS: tuple[Callable[[_Seen], str], ...] = (
    _steps_began,
    _over_tcp(_begins_with_syn),
    _over_tcp(_has_two_syns),
    _over_tcp(_has_data),
    _over_tcp(_sent_all),
    _over_tcp(_received_what_was_sent),
    _over_tcp(_queue_fits),
    _alone(_aborts_fit),
    _over_tcp(_alone(_abort_has_its_cause)),
)
