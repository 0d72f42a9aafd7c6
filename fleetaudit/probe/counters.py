"""Checks an ending against the kernel's counters, which the host reported. Pure.

They count for both sides: tcp_send_active_reset() and tcp_v4_send_reset() each count OutRsts,
tcp_close() TCPAbortOnClose. In a namespace of its own the probe is alone, so they must equal what
both sides sent on the wire. In the host's namespace other traffic counts, too: a counter must only
grow by at least what the ending needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fleetaudit.model import Ending, Step

from .reply import RawSegment, RawTrial
from .step_effects import resets_waiting
from .wire import count_resets, whole_wire

Isolation = Literal["namespace", "host"]

_NOT_RESET = {None, "nothing"}


def shows_dropped_reset(
    trial: RawTrial, wire: Ending | None, peer: Ending | None, isolation: Isolation
) -> bool:
    """Returns whether the counters show an RST that was made, and that neither left nor arrived.

    `wire` and `peer` are the endings that these witnesses show, None for no ending. In the host's
    namespace other processes' RSTs count, too: there it is only true if nothing was observed, and
    the counters fit one RST of this trial. TCPAbortFailed: tcp_send_active_reset().
    """
    failed = trial.counter("TCPAbortFailed")
    if not failed:
        return False
    if isolation == "namespace":
        return {wire, peer} <= {*_NOT_RESET, "FIN"}
    return failed == _aborts(trial) == 1 and {wire, peer} <= _NOT_RESET


def _aborts(trial: RawTrial) -> int:
    """Returns how many connections were aborted, the sum of all counters TCPAbortOn….

    TCPAbortFailed is none of them.
    """
    counters = trial.kernel or {}
    return sum(n for name, n in counters.items() if name.startswith("TCPAbortOn"))


def contradiction(trial: RawTrial, ending: Ending, isolation: Isolation) -> str:
    """Returns how the counters contradict `ending`, "" if they do not or could not be read.

    In the host's namespace only a counter that did not move at all contradicts an ending. In a
    private one they must equal what was captured or, without a capture, fit what arrived.
    """
    if trial.kernel is None:
        return ""
    if "RST" in ending and not trial.counter("OutRsts"):
        return "OutRsts did not move"
    if isolation == "host":
        return ""
    wire = whole_wire(trial)
    if wire is None:
        return _contradicts_peer(trial, ending)
    return _contradicts_wire(trial, wire)


def others_contradiction(trial: RawTrial, ending: Ending, steps: Sequence[Step]) -> str:
    """Returns how those who waited in the accept queue contradict an ending, "" if they do not.

    Their segments are not captured: their own sockets tell whether they were reset.
    """
    waiting = trial.queue.get("others waiting", 0)
    reset = trial.queue.get("others reset", 0)
    are_reset = "RST" in ending and resets_waiting(steps)
    if reset == waiting * are_reset:
        return ""
    return f"of {waiting} others in the accept queue {reset} were reset"


def _contradicts_peer(trial: RawTrial, ending: Ending) -> str:
    """Returns how the counters contradict an ending that only the peer's socket shows.

    The socket answered, so it is open: only the closer closed one.
    """
    aborts = trial.counter("TCPAbortOnClose")
    if "RST" in ending or not aborts:
        return ""
    return f"TCPAbortOnClose moved by {aborts}"


def _contradicts_wire(trial: RawTrial, wire: Sequence[RawSegment]) -> str:
    """Returns which counter does not equal what both sides sent, "" if they fit."""
    resets = trial.counter("OutRsts")
    aborts = trial.counter("TCPAbortOnClose")
    closers = count_resets(wire, "closer")
    peers = count_resets(wire, "peer")
    seen = f"the wire has {closers} RST of the closer and {peers} of the peer"
    others = trial.queue.get("others reset", 0)
    if resets != closers + peers + others:
        return f"OutRsts moved by {resets}, and {seen}"
    # Each count of tcp_close() is one RST, or one that could not be made.
    if aborts > closers + peers + trial.counter("TCPAbortFailed"):
        return f"TCPAbortOnClose moved by {aborts}, and {seen}"
    return ""
