"""Holds one trial of the probe against the model: the wire, the peer's socket, the counters, and
the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fleetaudit.model import Ending, PeerWitness
from fleetaudit.probe.protocol import RawTrial
from fleetaudit.probe.reply import RawSegment

from .model import Prediction, Witness

COUNTERS = ("TCPAbortOnClose", "TCPAbortOnData", "TCPAbortOnLinger", "OutRsts", "EstabResets")
FIN_WAIT1, FIN_WAIT2 = 4, 5


@dataclass(frozen=True, slots=True)
class Explained:
    """What may be seen instead of a prediction, None where that is none of these cases, and why it
    is right, too.
    """

    instead: Callable[[Prediction], Prediction | None]
    why: str


def _fin_wait1(prediction: Prediction) -> Prediction | None:
    peer = prediction.peer
    if peer is None or peer.state != FIN_WAIT2:
        return None
    return replace(prediction, peer=replace(peer, state=FIN_WAIT1))


def _reset_from_fin_wait1(prediction: Prediction) -> Prediction | None:
    counters = prediction.counters
    if prediction.peer is not None or "peer R" not in prediction.wire:
        return None
    return replace(
        prediction, counters={**counters, "peer": {**counters["peer"], "TCPAbortOnData": 1}}
    )


def _reset_from_fin_wait2(prediction: Prediction) -> Prediction | None:
    counters = prediction.counters
    sent = [segment for segment in prediction.wire if segment.startswith("closer ")]
    if sent[:2] != ["closer F.", "closer R"] or counters["closer"].get("TCPAbortOnData"):
        return None
    return replace(
        prediction, counters={**counters, "closer": {**counters["closer"], "TCPAbortOnData": 1}}
    )


EXPLAINED = (
    Explained(
        _fin_wait1,
        "The closer may put the ACK of the peer's FIN off by 40 ms. After the last step nobody"
        " waits for it, since it changes nothing that the closer sent: the peer shows FIN_WAIT1.",
    ),
    Explained(
        _reset_from_fin_wait1,
        "The same, and the closer sends before that ACK: a socket that nobody accepted cannot be"
        " asked whether it acknowledged anything. The peer resets either way; from FIN_WAIT1"
        " TCPAbortOnData counts it (tcp_rcv_state_process()), from what FIN_WAIT2 leaves it does"
        " not (tcp_timewait_state_process()).",
    ),
    Explained(
        _reset_from_fin_wait2,
        "The ACK of the closer's FIN comes while close() still owns the socket:"
        " tcp_rcv_state_process() then keeps the whole socket in FIN_WAIT2 instead of a small entry"
        " (sock_owned_by_user(), “Bad case. We could lose such FIN otherwise.”). What the peer"
        " sends is reset either way, and TCPAbortOnData counts it. Two in 130,000 trials.",
    ),
)


def disagreements(
    prediction: Prediction,
    trial: RawTrial,
    verdict: Ending,
    isolation: Literal["namespace", "host"] = "namespace",
) -> Iterator[str]:
    """Yields in words where a trial is not what the model predicts. In the host's own namespace the
    counters have others' resets in them, too, and need only have moved far enough.
    """
    if trial.error:
        yield f"the probe failed: {trial.error}"
        return
    predictions = [prediction, *([prediction.other] if prediction.other else [])]
    predictions += [p for e in EXPLAINED for known in predictions if (p := e.instead(known))]
    found = [[*_disagreements(p, trial, verdict, isolation)] for p in predictions]
    if all(found):
        yield from found[0]


def _disagreements(
    prediction: Prediction, trial: RawTrial, verdict: Ending, isolation: str
) -> Iterator[str]:
    if trial.wire is not None and not trial.wire_lost:
        seen = ends(trial.wire)
        if seen != prediction.wire:
            yield f"the wire has {seen}, the model {prediction.wire}"
    if not witnesses_match(witness_of(trial.peer), prediction.peer):
        yield f"the peer shows {trial.peer}, the model {prediction.peer}"
    if trial.kernel is not None:
        moved = {name: trial.kernel.get(name, 0) for name in COUNTERS}
        must = counters_of_both_sides(prediction)
        if (
            moved != must
            if isolation == "namespace"
            else any(moved[name] < must[name] for name in COUNTERS)
        ):
            yield f"the counters moved by {moved}, in the model by {must}"
    if verdict != prediction.ending:
        yield f"the verdict is {verdict}, the model's {prediction.ending}"


def counters_of_both_sides(prediction: Prediction) -> dict[str, int]:
    """Returns by how much the counters of a namespace with both sides in it must move."""
    both = Counter[str]()
    for moved in prediction.counters.values():
        both.update(moved)
    return {name: both[name] for name in COUNTERS}


def ends(wire: Sequence[RawSegment]) -> tuple[str, ...]:
    """Returns "sender flags" of the segments with FIN or RST. A FIN that was sent again counts
    once; no RST ever is.
    """
    found, fins = list[str](), set[tuple[str, int, int]]()
    for s in wire:
        fin = (s.sender, s.seq, s.length)
        if "R" in s.flags or ("F" in s.flags and fin not in fins):
            found.append(f"{s.sender} {''.join(c for c in s.flags if c in 'FR.')}")
        if "F" in s.flags:
            fins.add(fin)
    return tuple(found)


def witness_of(peer: PeerWitness | None) -> Witness | None:
    """Returns what the probe says of the peer's socket in the model's words."""
    if peer is None:
        return None
    return Witness(peer.state or 0, tuple(peer.poll), tuple(peer.recv), peer.so_error)


def witnesses_match(one: Witness | None, other: Witness | None) -> bool:
    """Returns whether two witnesses are the same except when end of file was read (the probe reads
    it early, so that the ACK of a FIN goes at once), and how many bytes a full queue holds.
    """
    return _rounded(one) == _rounded(other)


def _rounded(peer: Witness | None) -> Witness | None:
    if peer is None:
        return None
    many = any(word.isdigit() and int(word) >= MANY for word in peer.recv)
    words = ["many" if word.isdigit() and int(word) >= MANY else word for word in peer.recv]
    without = (
        {"0", "EAGAIN"} if many else {"0"}
    )  # what a blocked sender still has may come in time, or not
    return replace(
        peer, recv=(*(word for word in words if word not in without), *["0"][: "0" in words])
    )


MANY = 1024
"""Bytes: more than steps of these scenarios send, except those that send until they are blocked.
"""
