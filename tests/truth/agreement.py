"""Holds one trial of the probe against the model: the wire, the peer's socket, the counters, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fleetaudit.model import Ending, PeerWitness
from fleetaudit.wire import RawTrial
from tests.probing import marked

from .model import Prediction, Witness

COUNTERS = ("TCPAbortOnClose", "TCPAbortOnData", "TCPAbortOnLinger", "OutRsts", "EstabResets")


def disagreements(prediction: Prediction, trial: RawTrial, verdict: Ending) -> Iterator[str]:
    """Yields in words where a trial in a private namespace is not what the model predicts."""
    if trial.error:
        yield f"the probe failed: {trial.error}"
        return
    if trial.wire is not None and not trial.wire_lost:
        seen = [w for w in without_push(marked(trial)) if set("FR") & set(w.split()[1])]
        if seen != [*prediction.wire]:
            yield f"the wire has {seen}, the model {[*prediction.wire]}"
    if shown(trial.peer) != prediction.peer:
        yield f"the peer shows {trial.peer}, the model {prediction.peer}"
    moved = {name: (trial.kernel or {}).get(name, 0) for name in COUNTERS}
    if moved != together(prediction):
        yield f"the counters moved by {moved}, in the model by {together(prediction)}"
    if verdict != prediction.ending:
        yield f"the verdict is {verdict}, the model's {prediction.ending}"


def together(prediction: Prediction) -> dict[str, int]:
    """Returns by how much the counters of a namespace with both sides in it must move."""
    both = Counter[str]()
    for moved in prediction.counters.values():
        both.update(moved)
    return {name: both[name] for name in COUNTERS}


def without_push(segments: list[str]) -> list[str]:
    """Returns "sender flags" without PSH and URG, which say nothing of an end."""
    return [f"{s.split()[0]} {s.split()[1].replace('P', '').replace('U', '')}" for s in segments]


def shown(peer: PeerWitness | None) -> Witness | None:
    """Returns what the probe says of the peer's socket in the model's words."""
    if peer is None:
        return None
    return Witness(peer.state or 0, tuple(peer.poll), tuple(peer.recv), peer.so_error)
