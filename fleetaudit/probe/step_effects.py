"""How the steps of a scenario affect the witnesses. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fleetaudit.model import Step

_CLOSES_LISTENER = ("listener", "close")
_FORGING = frozenset({"resend-fin", "send-out-of-order"})
_LOSING = frozenset({"drop", "vanish"})
_BOTH = frozenset({"read", "write"})


def connects_over_mptcp(steps: Sequence[Step]) -> bool:
    """Returns whether closer and peer are MPTCP sockets: other code paths, and other counters."""
    return any(step.call[1:3] == ("connect", "mptcp") for step in steps)


def forges_segments(steps: Sequence[Step]) -> bool:
    """Returns whether a raw socket sends in the peer's name what its kernel never sent: a FIN, or
    data after a gap.

    Data that is sent again is not such a case: its acknowledgement acknowledges nothing new.
    """
    return not _FORGING.isdisjoint(step.verb for step in steps)


def only_tries_to_connect(steps: Sequence[Step]) -> bool:
    """Returns whether the closer may leave the peer's SYN without an answer."""
    return any(step.call[1:3] == ("connect", "unanswered") for step in steps)


def loses_peer(steps: Sequence[Step]) -> bool:
    """Returns whether segments do not arrive at the peer from some step on.

    Its socket then shows less than was sent, and that is what the steps do.
    """
    return not _LOSING.isdisjoint(step.verb for step in steps)


def of_last_connection(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Returns the steps of the connection that a trial reports: those after the last that connects
    again from the same port, all if none does.
    """
    again = [number for number, step in enumerate(steps, 1) if step.verb == "reconnect"]
    return tuple(steps[max(again, default=0) :])


def resets_waiting(steps: Sequence[Step]) -> bool:
    """Returns whether the listener closes while nobody has accepted the peer: then all who wait in
    the accept queue are reset, or none is.
    """
    verbs = {step.verb for step in steps if step.actor != "listener"}
    accepts = {step.call[2] for step in steps if step.verb == "connect"} - {"unaccepted"}
    return not (accepts or "accept" in verbs) and _CLOSES_LISTENER in {s.call for s in steps}


def shuts_peer(steps: Sequence[Step], direction: str) -> bool:
    """Returns whether a step shuts a direction of the peer's socket, "read" or "write".

    shutdown(SHUT_RDWR), "both" in a step, shuts the two of them.
    """
    return any(direction in _shut_of_peer(step) for step in steps)


def _shut_of_peer(step: Step) -> Collection[str]:
    """Returns the directions that a step shuts of the peer's socket; most steps shut none.

    ("peer", "shutdown", "both") shuts "read" and "write".
    """
    if step.call[:2] != ("peer", "shutdown"):
        return ()
    direction = str(step.call[2])
    if direction == "both":
        return _BOTH
    return (direction,)


def makes_peer_reset(steps: Sequence[Step]) -> bool:
    """Returns whether the closer sends data after the peer shut both ways.

    Then the peer resets the connection itself (tcp_rcv_state_process(), FIN_WAIT1 and FIN_WAIT2),
    and the RST at the closer says nothing of the closer's ending.
    """
    shut = set[str]()
    for step in steps:
        shut.update(_shut_of_peer(step))
        if shut == _BOTH and _sends_from_closer(step):
            return True
    return False


def _sends_from_closer(step: Step) -> bool:
    """Returns whether the closer sends in a step, in any manner ("send", "send-urgent"…)."""
    return step.actor == "closer" and step.verb.startswith("send")
