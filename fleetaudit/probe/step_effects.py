"""What the steps of a scenario do to the witnesses. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from fleetaudit.model import Step

_FORGING = frozenset({"resend-fin", "send-out-of-order"})
_BOTH = frozenset({"read", "write"})


def connects_over_mptcp(steps: Sequence[Step]) -> bool:
    """Returns whether closer and peer are MPTCP sockets: other code paths, and other counters."""
    return any(step.call[1:3] == ("connect", "mptcp") for step in steps)


def forges_segments(steps: Sequence[Step]) -> bool:
    """Returns whether a raw socket sends in the peer's name what its kernel never sent: a FIN, or
    data after a gap.

    Data that is sent again is not such a case: its acknowledgement acknowledges nothing new.
    """
    return any(step.call[1] in _FORGING for step in steps)


def shuts_peer(steps: Sequence[Step], direction: str) -> bool:
    """Returns whether a step shuts a direction of the peer's socket, "read" or "write"."""
    return any(direction in shut for shut in _peer_shutdowns(steps))


def _peer_shutdowns(steps: Sequence[Step]) -> Iterator[Collection[str]]:
    """Yields the directions that each step shuts of the peer's socket; most steps shut none."""
    for step in steps:
        if step.call[:2] == ("peer", "shutdown"):
            direction = str(step.call[2])
            yield _BOTH if direction == "both" else {direction}
        else:
            yield ()


def makes_peer_reset(steps: Sequence[Step]) -> bool:
    """Returns whether the closer sends data after the peer shut both ways.

    Then the peer resets the connection itself (tcp_rcv_state_process(), FIN_WAIT1 and FIN_WAIT2).
    """
    shut = set[str]()
    for step, directions in zip(steps, _peer_shutdowns(steps), strict=True):
        shut.update(directions)
        if shut == _BOTH and step.actor == "closer" and step.verb.startswith("send"):
            return True
    return False
