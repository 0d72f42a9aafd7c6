"""Decides the ending of one trial from three witnesses. Pure.

No two witnesses may contradict each other:

- The wire decides if it was captured: the closer's own FIN and RST (`wire.py`).
- The peer's socket shows what arrived (`peer_socket.py`). Without a capture it decides. If it shows
  less than the wire, the difference was sent and not delivered.
- The kernel's counters must fit (`counters.py`).
- Over AF_UNIX the peer's socket is the only witness.

An ending must be final. Whether more segments can follow is decided on the host, from the state of
the kernel (probe/remote, "When an ending is final"). If it cannot be decided there, the trial says
what is outstanding, and a FIN, or nothing, is "inconclusive: more may come". An ending is also
inconclusive if its witnesses disagree; the reason names the disagreement.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleetaudit.model import Ending, Family, PeerWitness, Step
from fleetaudit.text.phrases import surround

from .counters import Isolation, contradiction, others_contradiction, shows_dropped_reset
from .peer_socket import CLOSE, describe_peer, peer_ending, unix_ending
from .reply import RawTrial
from .step_effects import (
    connects_over_mptcp,
    forges_segments,
    loses_peer,
    makes_peer_reset,
    of_last_connection,
    only_tries_to_connect,
)
from .wire import capture_note, count_resets, whole_wire, wire_ending

Verdict = tuple[Ending, str]
"""The ending, and why if it is not simply what was observed."""

_LESS_THAN = {
    ("RST", "nothing"),
    ("FIN", "nothing"),
    ("FIN, then RST", "FIN"),
    ("FIN, then RST", "nothing"),
}
"""(ending on the wire, ending at the peer) if a segment was sent and did not arrive."""
_DROPPED_RESET = (
    "the kernel made an RST and could not send it (TCPAbortFailed); is there a firewall in OUTPUT?"
)
_RECEIVERS = {"closer": "peer", "peer": "closer"}
"""The receiver by the sender."""


def trial_verdict(
    trial: RawTrial, steps: Sequence[Step], family: Family, isolation: Isolation
) -> Verdict:
    """Returns the ending of one trial, and why if it is not simply what was observed.

    `steps`, those of the scenario, determine which witnesses are credible. `isolation`, where the
    trial ran, determines how strictly the counters must fit. A trial that failed, or whose
    witnesses disagree, is "inconclusive". If a segment was sent and did not arrive, the trial is
    "sent, not delivered".
    """
    if trial.error:
        return "inconclusive", _error_text(trial, steps)
    steps = of_last_connection(steps)
    if family == "unix":
        return _unix_verdict(trial.peer, steps)
    wire = wire_ending(trial, "peer" if only_tries_to_connect(steps) else "closer")
    peer = _credible_peer_ending(trial, steps, wire)
    endings: set[Ending | None] = {wire, peer} - {None}
    if not endings:
        return "inconclusive", _no_witness(trial)
    if shows_dropped_reset(trial, wire, peer, isolation):
        return "sent, not delivered", _DROPPED_RESET
    if len(endings) == 2:
        return _disagreement(trial, wire, peer, steps)
    return _agreement(trial, wire, peer, steps, isolation)


def _unix_verdict(peer: PeerWitness | None, steps: Sequence[Step]) -> Verdict:
    """Returns the verdict of a trial over AF_UNIX, where the peer's socket is the only witness.

    There are no segments to capture, and the kernel's counters of TCP do not move.
    """
    if peer is None:
        return "inconclusive", "no witness: AF_UNIX has no segments, and the peer was gone"
    ending = unix_ending(peer, steps)
    if ending is None:
        return "inconclusive", f"the peer's socket contradicts itself: {describe_peer(peer)}"
    return ending, ""


# ---- the peer as a witness


def _credible_peer_ending(
    trial: RawTrial, steps: Sequence[Step], wire: Ending | None
) -> Ending | None:
    """Returns the ending according to the peer's socket, None if unknown or not credible.

    `wire` is the ending on the wire, None if nothing was captured. Without it the socket is
    believed, unless the peer itself resets the connection. With it the socket is not believed where
    it cannot show what was sent; what it then shows is no contradiction.
    """
    if trial.peer is None or loses_peer(steps) or _peer_resets(trial, steps):
        return None
    peer = peer_ending(trial.peer, steps)
    if wire is None or peer is None:
        return peer
    if (wire, peer) == ("FIN, then RST", "FIN") and trial.peer.state == CLOSE:
        # Both FINs were acknowledged: a socket whose connection is over shows no RST.
        return None
    if "RST" in peer and "RST" not in wire:
        return peer
    if forges_segments(steps):
        # The peer's kernel drops what acknowledges segments that it never sent, so that its socket
        # shows less than was sent.
        return None
    return peer


def _peer_resets(trial: RawTrial, steps: Sequence[Step]) -> bool:
    """Returns whether the peer itself resets the connection: then the error at its socket says
    nothing of the closer.
    """
    wire = whole_wire(trial)
    if wire is None:
        return makes_peer_reset(steps)
    return count_resets(wire, "peer") > 0


# ---- what the witnesses say together


def _agreement(
    trial: RawTrial,
    wire: Ending | None,
    peer: Ending | None,
    steps: Sequence[Step],
    isolation: Isolation,
) -> Verdict:
    """Returns the verdict if wire and peer do not differ: is it final, and do the counters fit?

    Segments of MPTCP move other counters, which are not compared.
    """
    ending = wire or peer or "inconclusive"
    testimony = _testimony(wire, peer)
    if trial.outstanding and "RST" not in ending:
        return _more_may_come(trial, testimony)
    if connects_over_mptcp(steps):
        return ending, _window_left(trial, steps)
    problem = contradiction(trial, ending, isolation) or others_contradiction(trial, ending, steps)
    if problem:
        return "inconclusive", f"the witnesses disagree: {testimony}, but {problem}"
    return ending, _window_left(trial, steps)


def _disagreement(
    trial: RawTrial, wire: Ending | None, peer: Ending | None, steps: Sequence[Step]
) -> Verdict:
    """Returns the verdict if wire and peer differ: more may come, or something did not arrive.

    A difference that is none of `_LESS_THAN` is a contradiction: a socket cannot show what the
    closer did not send.
    """
    testimony = _testimony(wire, peer)
    if trial.outstanding and connects_over_mptcp(steps):
        return _more_may_come(trial, testimony)
    if (wire, peer) in _LESS_THAN:
        what = f"it left and did not arrive; {_likely_drop(trial)}"
        return "sent, not delivered", f"{testimony}: {what}"
    return "inconclusive", f"the witnesses disagree: {testimony} ({describe_peer(trial.peer)})"


def _more_may_come(trial: RawTrial, testimony: str) -> Verdict:
    """Returns the verdict on an ending that was not final when the probe stopped waiting."""
    return "inconclusive", f"more may come: {trial.outstanding} ({testimony})"


def _testimony(wire: Ending | None, peer: Ending | None) -> str:
    """Returns what wire and peer say, those that say something."""
    texts = (surround("the wire says ", wire), surround("the peer says ", peer))
    return " and ".join(filter(None, texts))


def _no_witness(trial: RawTrial) -> str:
    """Returns why neither wire nor peer shows an ending."""
    gone = "the peer was gone"
    if trial.peer is not None:
        gone = f"the peer's socket reported {describe_peer(trial.peer)}"
    return f"no witness: {gone}, and {capture_note(trial) or 'the wire was not read'}"


def _likely_drop(trial: RawTrial) -> str:
    """Returns what may have dropped a segment on its way."""
    wrong = trial.counter("InCsumErrors")
    if wrong:
        return f"{wrong} segments had a wrong checksum (InCsumErrors)"
    return "is a firewall in INPUT?"


def _error_text(trial: RawTrial, steps: Sequence[Step]) -> str:
    """Returns why a trial failed, after the step as the playbook has it.

    Without the index of the step, as from an older program, the error itself names the step.
    """
    at = trial.failed_step
    if at is None:
        return trial.error
    return f"step {at + 1} “{steps[at].text}”: {trial.error}"


def _window_left(trial: RawTrial, steps: Sequence[Step]) -> str:
    """Returns a sentence if a sender was blocked before the receiver's window was zero, else "".

    Only the first such sender is named; a window is in bytes.
    """
    for step in steps:
        if step.call[1] != "send-until-blocked":
            continue
        receiver = _RECEIVERS[step.actor]
        left = trial.queue.get(f"{receiver} window")
        if left:
            return (
                f"“{step.text}”: the window of the {receiver} did not reach zero, {left} bytes of"
                " it are left"
            )
    return ""
