"""Decides the ending of one trial from three witnesses. Pure.

No two witnesses may contradict each other:

- The wire decides if it was captured: the closer's own FIN and RST (over MPTCP DATA_FIN for FIN,
  RFC 8684, section 3.3.3).
- The peer's socket shows what arrived (`peer_socket.py`). Without a capture it decides. What it
  shows less than the wire was sent and not delivered.
- The counters count for both sides: tcp_send_active_reset() and tcp_v4_send_reset() each count
  OutRsts, tcp_close() TCPAbortOnClose. In a namespace of their own they must equal what both sides
  sent on the wire.
- Over AF_UNIX the peer's socket is the only witness.

An ending must be final: whether something can follow is decided on the host, where the kernel can
be asked (probe/remote/finality.py). If it cannot be decided there, the trial says
what is outstanding, and a FIN, or nothing, is "inconclusive: more may come". So is every ending
whose witnesses disagree; the reason names the disagreement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from fleetaudit.model import Ending, Family, PeerWitness, Segment, Step

from .peer_socket import (
    CLOSE,
    connects_over_mptcp,
    describe_peer,
    peer_ending,
    unix_ending,
)
from .reply import RawTrial

Isolation = Literal["namespace", "host"]
Verdict = tuple[Ending, str]
"""The ending, and why if it is not simply what was observed."""

_LESS_THAN = {
    ("RST", "nothing"),
    ("FIN", "nothing"),
    ("FIN, then RST", "FIN"),
    ("FIN, then RST", "nothing"),
}
"""What the wire and the peer show if something was sent and did not arrive."""


def trial_verdict(
    trial: RawTrial, steps: Sequence[Step], family: Family, isolation: Isolation
) -> Verdict:
    """Returns the ending of one trial, and why if it is not simply what was observed."""
    if trial.error:
        return "inconclusive", _error_text(trial, steps)
    if family == "unix":
        return _unix_verdict(trial.peer, steps)
    wire = _wire_ending(trial)
    peer = _credible_peer_ending(trial, steps, wire)
    if wire is None and peer is None:
        return "inconclusive", _no_witness(trial)
    if _was_made_and_dropped(trial, wire, peer, isolation):
        return (
            "sent, not delivered",
            "the kernel made an RST and could not send it (TCPAbortFailed); is a firewall in"
            " OUTPUT?",
        )
    if wire is not None and peer is not None and wire != peer:
        return _disagreement(trial, wire, peer, steps)
    return _agreement(trial, wire, peer, steps, isolation)


def capture_note(trial: RawTrial) -> str:
    """Returns why the capture is incomplete or missing, "" if it is neither."""
    lost = ""
    if trial.wire_lost:
        lost = f"the capture is no witness: {trial.wire_lost} packets found no room in it"
    return "; ".join(filter(None, (lost, trial.wire_note)))[:4096]


# ---- what each witness shows


def _whole_wire(trial: RawTrial) -> tuple[Segment, ...] | None:
    """Returns the trace if the capture saw every segment, else None."""
    return None if trial.wire_lost else trial.wire


def _wire_ending(trial: RawTrial) -> Ending | None:
    """Returns the ending by the closer's own segments, None if the capture does not show it."""
    sent = [segment for segment in _whole_wire(trial) or () if segment.sender == "closer"]
    if not any("S" in segment.flags for segment in sent):
        return None  # a capture that missed the beginning may have missed the end
    # RFC 8684, 3.3.3: DATA_FIN is to an MPTCP connection what FIN is to TCP; a subflow's own FIN
    # may come much later.
    fin = next((i for i, s in enumerate(sent) if "F" in s.flags or "DATA_FIN" in s.options), None)
    rst = next((i for i, s in enumerate(sent) if "R" in s.flags), None)
    if rst is None:
        return "nothing" if fin is None else "FIN"
    return "RST" if fin is None or rst < fin else "FIN, then RST"


def _credible_peer_ending(
    trial: RawTrial, steps: Sequence[Step], wire: Ending | None
) -> Ending | None:
    """Returns the ending by the peer's socket, None if it shows none or cannot be believed."""
    if trial.peer is None or _peer_resets(trial, steps):
        return None
    peer = peer_ending(trial.peer, steps)
    if wire is None or peer is None:
        return peer
    if _is_forged(steps) and ("RST" in wire or "RST" not in peer):
        # The peer's kernel drops what acknowledges segments that it never sent, so its socket
        # shows less than was sent.
        return None
    if (wire, peer) == ("FIN, then RST", "FIN") and trial.peer.state == CLOSE:
        # Both FINs were acknowledged: a socket whose connection is over shows no RST.
        return None
    return peer


def _peer_resets(trial: RawTrial, steps: Sequence[Step]) -> bool:
    """Returns whether the peer itself resets the connection: then the error at its socket says
    nothing of the closer.

    It does so with data that arrives after it shut both ways (tcp_rcv_state_process(), FIN_WAIT1
    and FIN_WAIT2).
    """
    wire = _whole_wire(trial)
    if wire is not None:
        return any(segment.sender == "peer" and "R" in segment.flags for segment in wire)
    shut = set[str | int]()
    for step in steps:
        actor, verb, *arguments = step.call
        if actor == "peer" and verb == "shutdown":
            shut |= {"read", "write"} if arguments[0] == "both" else {arguments[0]}
        if actor == "closer" and str(verb).startswith("send") and shut == {"read", "write"}:
            return True
    return False


def _is_forged(steps: Sequence[Step]) -> bool:
    """Returns whether a raw socket sent in the peer's name what its kernel never sent: a FIN, or
    data after a gap.

    Data that is sent again is not such a case: its acknowledgement acknowledges nothing new.
    """
    return any(step.call[1] in ("resend-fin", "send-out-of-order") for step in steps)


def _unix_verdict(peer: PeerWitness | None, steps: Sequence[Step]) -> Verdict:
    """Returns the verdict of a trial over AF_UNIX, where the peer's socket is the only witness."""
    if peer is None:
        return "inconclusive", "no witness: AF_UNIX has no segments, and the peer was gone"
    ending = unix_ending(peer, steps)
    if ending is None:
        return "inconclusive", f"the peer's socket contradicts itself: {describe_peer(peer)}"
    return ending, ""


# ---- what the witnesses say together


def _agreement(
    trial: RawTrial,
    wire: Ending | None,
    peer: Ending | None,
    steps: Sequence[Step],
    isolation: Isolation,
) -> Verdict:
    """Returns the verdict if no two of wire and peer differ: is it final, and do the counters
    fit?
    """
    ending = wire or peer or "inconclusive"
    testimony = _testimony(wire, peer)
    if trial.outstanding and "RST" not in ending:
        return "inconclusive", f"more may come: {trial.outstanding} ({testimony})"
    if contradiction := _counters_contradict(trial, steps, ending, isolation):
        return "inconclusive", f"the witnesses disagree: {testimony}, but {contradiction}"
    return ending, _window_left(trial, steps)


def _disagreement(trial: RawTrial, wire: Ending, peer: Ending, steps: Sequence[Step]) -> Verdict:
    """Returns the verdict if wire and peer differ: more may come, or something was not
    delivered.
    """
    testimony = _testimony(wire, peer)
    if trial.outstanding and connects_over_mptcp(steps):
        return "inconclusive", f"more may come: {trial.outstanding} ({testimony})"
    if (wire, peer) in _LESS_THAN:
        what = f"it left and did not arrive; {_likely_drop(trial)}"
        return "sent, not delivered", f"{testimony}: {what}"
    return "inconclusive", f"the witnesses disagree: {testimony} ({describe_peer(trial.peer)})"


def _testimony(wire: Ending | None, peer: Ending | None) -> str:
    """Returns what wire and peer say, those that say something."""
    pairs = (("wire", wire), ("peer", peer))
    return " and ".join(f"the {name} says {ending}" for name, ending in pairs if ending)


def _no_witness(trial: RawTrial) -> str:
    """Returns why neither wire nor peer shows an ending."""
    gone = "the peer was gone"
    if trial.peer is not None:
        gone = f"the peer's socket said {describe_peer(trial.peer)}"
    return f"no witness: {gone}, and {capture_note(trial) or 'the wire was not read'}"


def _likely_drop(trial: RawTrial) -> str:
    """Returns what may have dropped a segment on its way."""
    wrong = (trial.kernel or {}).get("InCsumErrors", 0)
    if wrong:
        return f"{wrong} segments had a wrong checksum (InCsumErrors)"
    return "is a firewall in INPUT?"


def _error_text(trial: RawTrial, steps: Sequence[Step]) -> str:
    """Returns why a trial failed, after the step as the playbook has it."""
    at = trial.failed_step
    return trial.error if at is None else f"step {at + 1} “{steps[at].text}”: {trial.error}"


def _window_left(trial: RawTrial, steps: Sequence[Step]) -> str:
    """Returns a sentence if a sender was blocked before the receiver's window was zero, else ""."""
    for step in steps:
        receiver = "peer" if step.call[0] == "closer" else "closer"
        left = trial.queue.get(f"{receiver} window")
        if step.call[1] == "send-until-blocked" and left:
            return (
                f"“{step.text}”: the window of the {receiver} did not reach zero, {left} bytes of"
                " it are left"
            )
    return ""


# ---- the counters


def _was_made_and_dropped(
    trial: RawTrial, wire: Ending | None, peer: Ending | None, isolation: Isolation
) -> bool:
    """Returns whether the counters show an RST that was made, and that neither left nor arrived."""
    counters = trial.kernel or {}
    failed = counters.get("TCPAbortFailed", 0)
    if isolation == "namespace":
        return bool(failed) and {wire, peer} <= {None, "nothing", "FIN"}
    # In the host's namespace other processes' RSTs count, too: only if nothing was observed, and
    # the counters fit one RST of this trial.
    aborts = sum(n for name, n in counters.items() if name.startswith("TCPAbortOn"))
    return failed == aborts == 1 and {wire, peer} <= {None, "nothing"}


def _counters_contradict(
    trial: RawTrial, steps: Sequence[Step], ending: Ending, isolation: Isolation
) -> str:
    """Returns how the counters contradict `ending`, "" if they do not.

    They count for both sides. In a namespace of its own the probe is alone, so they must match. In
    the host's namespace other traffic counts, too: a counter must only grow by at least what the
    ending needs. MPTCP has other code paths and other counters.
    """
    counters = trial.kernel
    if counters is None or connects_over_mptcp(steps):
        return ""
    if "RST" in ending and not counters.get("OutRsts", 0):
        return "OutRsts did not move"
    if isolation == "host":
        return ""
    wire = _whole_wire(trial)
    if wire is not None:
        return _counters_contradict_wire(counters, wire)
    # The peer's socket showed the ending, so it is open: only the closer closed one.
    aborts = counters.get("TCPAbortOnClose", 0)
    return f"TCPAbortOnClose moved by {aborts}" if aborts and "RST" not in ending else ""


def _counters_contradict_wire(counters: Mapping[str, int], wire: Sequence[Segment]) -> str:
    """Returns which counter is not what both sides sent, "" if they fit."""
    resets, aborts = counters.get("OutRsts", 0), counters.get("TCPAbortOnClose", 0)
    closers, peers = _count_resets(wire, "closer"), _count_resets(wire, "peer")
    seen = f"the wire has {closers} RST of the closer and {peers} of the peer"
    if resets != closers + peers:
        return f"OutRsts moved by {resets}, and {seen}"
    # Each count of tcp_close() is one RST, or one that could not be made.
    if aborts > closers + peers + counters.get("TCPAbortFailed", 0):
        return f"TCPAbortOnClose moved by {aborts}, and {seen}"
    return ""


def _count_resets(wire: Sequence[Segment], sender: str) -> int:
    """Returns how many RSTs a side sent."""
    return sum(segment.sender == sender and "R" in segment.flags for segment in wire)
