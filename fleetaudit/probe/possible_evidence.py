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
from typing import NamedTuple

from fleetaudit.model import Family, Scenario, Step

from .counters import Isolation
from .reply import RawSegment, RawTrial
from .step_effects import connects_over_mptcp, of_last_connection
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
_NO_HANDSHAKE = frozenset({"fill-queue", "backlog", "queue-up"})
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
    rules = _rules(of_last_connection(steps), family, isolation)
    seen = _Seen(trial, steps, rules.known)
    checks = rules.checks
    if rules.wire_checks and seen.wire:
        checks += rules.wire_checks
    problems = (check(seen) for check in checks)
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


def _known(steps: tuple[Step, ...]) -> _Known:
    """Returns what steps do."""
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
    known: _Known

    @cached_property
    def wire(self) -> Sequence[RawSegment]:
        """The trace if it is whole and begins with the connection, else ()."""
        wire = whole_wire(self.trial) or ()
        return wire if "closer" in _senders_of_syn(wire) else ()


def _senders_of_syn(wire: Sequence[RawSegment]) -> set[str]:
    """Returns the sides that sent a SYN."""
    return {segment.sender for segment in wire if "S" in segment.flags}


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


def _unless(fits: bool, problem: str, *values: object) -> str:
    """Returns a problem with values in place of each {}, "" if all fits, as nearly always."""
    return "" if fits else problem.format(*values)


def _steps_began(seen: _Seen) -> str:
    """A trial that came to its end began each of its steps."""
    began, planned = seen.trial.steps, len(seen.steps)
    return _unless(began == planned, "{} of {} steps began, and none failed", began, planned)


def _begins_with_syn(seen: _Seen) -> str:
    """A trace with the closer's SYN begins with a SYN."""
    first = seen.wire[0]
    problem = "the first segment is “{}” of the {}, before any SYN"
    return _unless("S" in first.flags, problem, first.flags, first.sender)


def _has_syn_of_peer(seen: _Seen) -> str:
    """Both sides of a connection send a SYN."""
    return _unless("peer" in _senders_of_syn(seen.wire), "the wire has no SYN of the peer")


def _has_data_of(seen: _Seen, side: str) -> str:
    """What a side sent while the connection was open is on the wire."""
    lengths = sum(segment.length for segment in segments_of(seen.wire, side))
    fits = bool(lengths or seen.trial.wire_omitted)
    problem = "the {} sent {} bytes, and the wire has none of them"
    return _unless(fits, problem, side, seen.known.sent[side])


def _counted_what_was_sent(seen: _Seen, side: str) -> str:
    """A step that sends fails unless all is sent."""
    least = seen.known.sent[side]
    counted = seen.trial.bytes.get(f"{side} sent", least)
    problem = "“{} sent” is {}, and the steps send {}"
    return _unless(counted >= least, problem, side, counted, least)


def _received_what_was_sent(seen: _Seen, side: str) -> str:
    """Nobody receives more than the other side sent."""
    other = _OTHER[side]
    received = seen.trial.bytes.get(f"{side} received", 0)
    sent = seen.trial.bytes.get(f"{other} sent", received)
    problem = "“{} received” is {}, and “{} sent” {}"
    return _unless(received <= sent, problem, side, received, other, sent)


def _queue_fits(seen: _Seen) -> str:
    """What was sent and not read is in the receive queue, as much of it as found room."""
    left = seen.known.unread
    queued = seen.trial.queue.get("fionread", left)
    problem = "the closer's receive queue has {} bytes, and the steps leave {}"
    return _unless(min(left, 1) <= queued <= left, problem, queued, left)


def _aborts_fit(seen: _Seen) -> str:
    """A trial has few connections; only in a namespace of its own is it alone."""
    moved, name = max((seen.trial.counter(name), name) for name in _OF_CONNECTIONS)
    problem = "{} moved by {}, and a trial has at most {} connections"
    return _unless(moved <= MAX_ABORTS, problem, name, moved, MAX_ABORTS)


def _abort_has_its_cause(seen: _Seen) -> str:
    """tcp_close() with unread data counts TCPAbortOnClose, and looks at memory only otherwise."""
    is_wrong = seen.trial.counter("TCPAbortOnMemory") and not seen.trial.counter("TCPAbortOnClose")
    fits = not (is_wrong and count_resets(seen.wire, "closer"))
    return _unless(fits, "TCPAbortOnMemory moved, and with unread data it would be TCPAbortOnClose")


# ---- which checks are made -----------------------------------------------------------------------


class _Rules(NamedTuple):
    """What the trials of a scenario must pass; `wire_checks` need a whole trace."""

    known: _Known
    checks: tuple[_Check, ...]
    wire_checks: tuple[_Check, ...]


@lru_cache(maxsize=1024)
def _rules(steps: tuple[Step, ...], family: Family, isolation: Isolation) -> _Rules:
    """Returns the checks for the trials of some steps.

    A run has few scenarios and many trials, so what depends on the steps alone is asked once.
    """
    known = _known(steps)
    is_over_tcp = family != "unix" and not known.is_mptcp
    is_alone = isolation == "namespace"  # nothing else moves the counters
    sending = [*compress(_OTHER, map(known.sent.get, _OTHER))]
    # The queue is that before the only ending, after steps that are known.
    ends_once = known.endings == 1 and known.is_plain
    checks: dict[_Check, bool] = {
        _steps_began: True,
        **{partial(_counted_what_was_sent, side=side): is_over_tcp for side in sending},
        **{partial(_received_what_was_sent, side=side): is_over_tcp for side in _OTHER},
        _queue_fits: is_over_tcp and ends_once,
        _aborts_fit: is_alone,
    }
    wire_checks: dict[_Check, bool] = {
        _begins_with_syn: is_over_tcp,
        _has_syn_of_peer: is_over_tcp and known.has_handshake,
        **{partial(_has_data_of, side=side): is_over_tcp for side in sending},
        _abort_has_its_cause: is_over_tcp and is_alone and known.unread > 0,
    }
    return _Rules(known, _chosen(checks), _chosen(wire_checks))


def _chosen(checks: Mapping[_Check, bool]) -> tuple[_Check, ...]:
    """Returns the checks that are made, in their order."""
    return tuple(compress(checks, checks.values()))
