"""Checks the evidence of a trial against the steps that made it: what no kernel and no probe of
ours can have seen is not believed. Pure.

Rules: each check holds for every kernel from 2.6.32 on, and each is made only where the steps leave
no doubt; so no true reply is touched. What a host leaves out contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial, reduce
from itertools import compress, count

from fleetaudit.model import Family, Scenario, Step

from .counters import Isolation
from .reply import RawSegment, RawTrial
from .step_effects import connects_over_mptcp
from .wire import count_resets, segments_of, whole_wire

MAX_ABORTS = 64
"""How many connections one trial can end: its own, and at most 18 of strangers, each twice."""
_OF_CONNECTIONS = (
    "EstabResets",
    "TCPAbortFailed",
    "TCPAbortOnClose",
    "TCPAbortOnData",
    "TCPAbortOnLinger",
    "TCPAbortOnMemory",
    "TCPAbortOnTimeout",
)
"""Counters that move once for a connection."""
_OTHER = {"closer": "peer", "peer": "closer"}
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
    is_peer_open = not _ended_by(scenario.steps, "peer")
    return is_peer_open and _are_plain(scenario.steps, _NEEDS_NOTHING)


def _are_plain(steps: Sequence[Step], verbs: frozenset[str]) -> bool:
    """Returns whether all steps are of these verbs, and change no rules."""
    has_known_verbs = verbs.issuperset(step.verb for step in steps)
    return has_known_verbs and all(map(_is_plain_step, steps))


def why_impossible(
    trial: RawTrial, steps: tuple[Step, ...], family: Family, isolation: Isolation
) -> str:
    """Returns why a trial cannot have been seen like this, "" if it can.

    A trial that failed proves nothing, so nothing is checked.
    """
    if trial.error:
        return ""
    seen = _Seen(trial, steps, family, isolation, _known(steps))
    problems = (check(seen) for check in _CHECKS)
    return next(filter(None, problems), "")


def _ended_by(steps: Sequence[Step], *actors: str) -> list[int]:
    """Returns the indexes of the ending steps of some actors."""
    ending = [step.actor in actors and step.verb in _ENDINGS for step in steps]
    return [*compress(count(), ending)]


def _is_plain_step(step: Step) -> bool:
    """Returns whether a step has no option, and no kind of connection, that changes the rules."""
    if step.verb == "set":
        return step.call[2] in _PLAIN_OPTIONS
    return step.verb != "connect" or step.call[2] in _PLAIN_CONNECTIONS


@dataclass(frozen=True, slots=True)
class _Known:
    """What steps are known to do, whoever runs them.

    `endings` counts the closer's ending steps. `sent` has the bytes that each side sent before the
    first, and `unread` those that the closer has not read then, if `is_plain`: if the steps before
    it are known exactly.
    """

    endings: int
    is_plain: bool
    sent: Mapping[str, int]
    unread: int
    has_handshake: bool
    is_mptcp: bool


@lru_cache(maxsize=1024)
def _known(steps: tuple[Step, ...]) -> _Known:
    """Returns what steps do; a run has few scenarios and many trials."""
    endings = _ended_by(steps, "closer", "listener")
    before = steps[: min(endings, default=0)]
    is_plain = bool(before) and _are_plain(before, _PLAIN)
    if not is_plain:
        before = ()
    return _Known(
        endings=len(endings),
        is_plain=is_plain,
        sent={side: _sent_by(before, side) for side in _OTHER},
        unread=reduce(_left_after, before, 0),
        has_handshake=_NO_HANDSHAKE.isdisjoint(step.verb for step in steps),
        is_mptcp=connects_over_mptcp(steps),
    )


def _sent_by(steps: Sequence[Step], side: str) -> int:
    """Returns how many bytes a side sends in steps of a known size."""
    is_send = [step.call[:2] == (side, "send") for step in steps]
    return sum(map(_size, compress(steps, is_send)))


@dataclass(frozen=True)
class _Seen:
    """A trial, and what its steps are known to do."""

    trial: RawTrial
    steps: tuple[Step, ...]
    family: Family
    isolation: Isolation
    known: _Known

    @cached_property
    def wire(self) -> Sequence[RawSegment]:
        """The trace if it is whole and begins with the connection, else ()."""
        wire = whole_wire(self.trial) or ()
        return wire if _has_syn(wire, "closer") else ()


def _has_syn(wire: Sequence[RawSegment], side: str) -> bool:
    """Returns whether a side sent a SYN."""
    return any("S" in segment.flags for segment in segments_of(wire, side))


def _size(step: Step) -> int:
    """Returns the number of bytes of a step that sends or reads."""
    return int(step.call[2])


def _left_after(left: int, step: Step) -> int:
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

_Check = Callable[[_Seen], str]


def _unless(fits: bool, problem: str) -> str:
    """Returns a problem, "" if all fits."""
    return "" if fits else problem


def _steps_began(seen: _Seen) -> str:
    """A trial that came to its end began each of its steps."""
    began, planned = seen.trial.steps, len(seen.steps)
    return _unless(began == planned, f"{began} of {planned} steps began, and none failed")


def _begins_with_syn(seen: _Seen) -> str:
    """A trace with the closer's SYN begins with a SYN."""
    first = seen.wire[0]
    problem = f"the first segment is “{first.flags}” of the {first.sender}, before any SYN"
    return _unless("S" in first.flags, problem)


def _has_syn_of_peer(seen: _Seen) -> str:
    """Both sides of a connection send a SYN."""
    fits = _has_syn(seen.wire, "peer") or not seen.known.has_handshake
    return _unless(fits, "the wire has no SYN of the peer")


def _has_data_of(seen: _Seen, side: str) -> str:
    """What a side sent while the connection was open is on the wire."""
    sent = seen.known.sent[side]
    lengths = (segment.length for segment in segments_of(seen.wire, side))
    fits = any((not sent, seen.trial.wire_omitted, *lengths))
    return _unless(fits, f"the {side} sent {sent} bytes, and the wire has none of them")


def _counted_what_was_sent(seen: _Seen, side: str) -> str:
    """A step that sends fails unless all is sent."""
    least = seen.known.sent[side]
    counted = seen.trial.bytes.get(f"{side} sent", least)
    return _unless(counted >= least, f"“{side} sent” is {counted}, and the steps send {least}")


def _received_what_was_sent(seen: _Seen, side: str) -> str:
    """Nobody receives more than the other side sent."""
    other = _OTHER[side]
    received = seen.trial.bytes.get(f"{side} received", 0)
    sent = seen.trial.bytes.get(f"{other} sent", received)
    problem = f"“{side} received” is {received}, and “{other} sent” {sent}"
    return _unless(received <= sent, problem)


def _queue_fits(seen: _Seen) -> str:
    """What was sent and not read is in the receive queue, as much of it as found room."""
    left = seen.known.unread
    queued = seen.trial.queue.get("fionread", left)
    problem = f"the closer's receive queue has {queued} bytes, and the steps leave {left}"
    return _unless(min(left, 1) <= queued <= left, problem)


def _aborts_fit(seen: _Seen) -> str:
    """A trial has few connections; only in a namespace of its own is it alone."""
    moved, name = max((seen.trial.counter(name), name) for name in _OF_CONNECTIONS)
    problem = f"{name} moved by {moved}, and a trial has at most {MAX_ABORTS} connections"
    return _unless(moved <= MAX_ABORTS, problem)


def _abort_has_its_cause(seen: _Seen) -> str:
    """tcp_close() with unread data counts TCPAbortOnClose, and looks at memory only otherwise."""
    resets = count_resets(seen.wire, "closer")
    must_be_counted = all((resets, seen.known.unread, seen.trial.counter("TCPAbortOnMemory")))
    fits = not must_be_counted or seen.trial.counter("TCPAbortOnClose") > 0
    return _unless(fits, "TCPAbortOnMemory moved, and with unread data it would be TCPAbortOnClose")


def _is_over_tcp(seen: _Seen) -> bool:
    """Returns whether the trial is over plain TCP."""
    return seen.family != "unix" and not seen.known.is_mptcp


def _is_alone(seen: _Seen) -> bool:
    """Returns whether nothing else moves the counters."""
    return seen.isolation == "namespace"


def _has_wire(seen: _Seen) -> bool:
    """Returns whether the whole connection was captured."""
    return _is_over_tcp(seen) and bool(seen.wire)


def _ends_once(seen: _Seen) -> bool:
    """Returns whether the queue is that before the only ending, after steps that are known."""
    return _is_over_tcp(seen) and seen.known.endings == 1 and seen.known.is_plain


def _if(condition: Callable[[_Seen], bool], check: _Check) -> _Check:
    """Returns a check that is made only under a condition."""
    return lambda seen: check(seen) if condition(seen) else ""


_CHECKS: tuple[_Check, ...] = (
    _steps_began,
    _if(_has_wire, _begins_with_syn),
    _if(_has_wire, _has_syn_of_peer),
    _if(_has_wire, partial(_has_data_of, side="peer")),
    _if(_has_wire, partial(_has_data_of, side="closer")),
    _if(_is_over_tcp, partial(_counted_what_was_sent, side="peer")),
    _if(_is_over_tcp, partial(_counted_what_was_sent, side="closer")),
    _if(_is_over_tcp, partial(_received_what_was_sent, side="peer")),
    _if(_is_over_tcp, partial(_received_what_was_sent, side="closer")),
    _if(_ends_once, _queue_fits),
    _if(_is_alone, _aborts_fit),
    _if(_is_alone, _if(_has_wire, _abort_has_its_cause)),
)
