"""The model of how Linux ends a connection says what was measured, and the generator gives
scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fleetaudit.model import Ending, PeerWitness
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe.protocol import RawTrial
from tests.truth.agreement import disagreements
from tests.truth.model import Prediction, Refused, predict

BASE = {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 2}
"""What an RST of an unread close moves where both ends live in one namespace (ESTABLISHED at both).
"""

# Measured on Linux 5.10 to 7.3: the steps, the ending, and the counters of both sides together.
MEASURED: tuple[tuple[str, Ending, Mapping[str, int]], ...] = (
    ("peer sends 5 bytes; closer closes", "RST", BASE),
    ("peer sends 10 bytes; closer reads 4 bytes; closer closes", "RST", BASE),
    ("peer sends 5 bytes; closer peeks at 5 bytes; closer closes", "RST", BASE),
    ("closer sets SO_RCVLOWAT 100; peer sends 5 bytes; closer closes", "RST", BASE),
    ("peer sends until blocked; closer closes", "RST", BASE),
    ("peer sends 5 bytes; closer shuts reading; closer closes", "RST", BASE),
    ("peer connects over IPv4-mapped IPv6; peer sends 5 bytes; closer closes", "RST", BASE),
    (
        (
            "listener sets TCP_DEFER_ACCEPT 5; peer connects without being accepted; "
            "peer sends 5 bytes; closer accepts; closer closes"
        ),
        "RST",
        BASE,
    ),
    ("peer sends 5 bytes; closer exits", "RST", BASE),
    ("peer sends 5 bytes; closer is killed", "RST", BASE),
    ("peer sends 5 bytes; closer execs", "RST", BASE),
    ("peer sends 5 bytes; closer duplicates its socket; closer closes", "nothing", {}),
    (
        (
            "peer sends 5 bytes; closer duplicates its socket; closer closes; closer closes the"
            " other reference"
        ),
        "RST",
        BASE,
    ),
    ("peer sends 5 bytes; closer reads all; closer closes", "FIN", {}),
    ("closer closes", "FIN", {}),
    ("peer sends 5 bytes; peer half-closes; closer reads 5 bytes; closer closes", "FIN", {}),
    ("peer sends 5 bytes; closer discards 5 bytes; closer closes", "FIN", {}),
    ("closer is killed", "FIN", {}),
    # Urgent data.
    ("peer sends 1 urgent byte; closer closes", "RST", BASE),
    ("peer sends 1 urgent byte; closer reads the urgent byte; closer closes", "RST", BASE),
    ("closer sets SO_OOBINLINE 1; peer sends 1 urgent byte; closer closes", "RST", BASE),
    ("peer sends 1 urgent byte; closer tries to read; closer closes", "FIN", {}),
    (
        (
            "peer sends 1 urgent byte; closer reads the urgent byte; closer tries to read; closer"
            " closes"
        ),
        "FIN",
        {},
    ),
    (
        "closer sets SO_OOBINLINE 1; peer sends 1 urgent byte; closer reads all; closer closes",
        "FIN",
        {},
    ),
    # Half-closes.
    (
        "peer sends 5 bytes; closer half-closes; closer closes",
        "FIN, then RST",
        {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 1},
    ),
    ("peer sends 5 bytes; closer shuts both ways", "FIN", {}),
    (
        "closer shuts both ways; peer sends 5 bytes",
        "FIN, then RST",
        {"TCPAbortOnData": 1, "OutRsts": 1, "EstabResets": 1},
    ),
    (
        "peer sends 5 bytes; peer closes; closer closes",
        "RST",
        {"TCPAbortOnClose": 1, "OutRsts": 1, "EstabResets": 1},
    ),
    ("peer sends 5 bytes; peer half-closes; closer half-closes; closer closes", "FIN", {}),
    ("peer sends 5 bytes; closer half-closes; peer half-closes; closer closes", "FIN", {}),
    # After the close.
    ("closer closes; peer sends 5 bytes", "FIN, then RST", {"OutRsts": 1, "EstabResets": 1}),
    (
        "closer sets TCP_LINGER2 120; closer closes; peer sends 5 bytes",
        "FIN, then RST",
        {"OutRsts": 1, "EstabResets": 1, "TCPAbortOnData": 1},
    ),
    (
        "namespace sets net.ipv4.tcp_fin_timeout 61; closer closes; peer sends 5 bytes",
        "FIN, then RST",
        {"OutRsts": 1, "EstabResets": 1, "TCPAbortOnData": 1},
    ),
    ("closer closes; peer half-closes", "FIN", {}),
    # Linger.
    (
        "closer sets SO_LINGER 1 0; closer closes",
        "RST",
        {"TCPAbortOnData": 1, "OutRsts": 1, "EstabResets": 2},
    ),
    ("peer sends 5 bytes; closer sets SO_LINGER 1 0; closer closes", "RST", BASE),
    ("peer sends 5 bytes; closer sets SO_LINGER 1 5; closer closes", "RST", BASE),
    ("closer sets SO_LINGER 1 5; closer closes", "FIN", {}),
    ("closer sends until blocked; closer sets SO_LINGER 1 1; closer closes", "nothing", {}),
    (
        "closer sets TCP_LINGER2 -1; closer half-closes; closer closes",
        "FIN, then RST",
        {"TCPAbortOnLinger": 1, "OutRsts": 1, "EstabResets": 1},
    ),
    (
        "closer sets TCP_LINGER2 -1; closer closes",
        "FIN, then RST",
        {"TCPAbortOnData": 1, "OutRsts": 1, "EstabResets": 1},
    ),
    # Other ways to let go.
    ("peer sends 5 bytes; closer sets TCP_REPAIR 1; closer closes", "nothing", {"EstabResets": 1}),
    ("closer disconnects", "RST", {"OutRsts": 1, "EstabResets": 2}),
    ("peer sends 5 bytes; closer is destroyed", "RST", {"OutRsts": 1, "EstabResets": 2}),
    (
        "peer connects without being accepted; listener closes",
        "RST",
        {"OutRsts": 1, "EstabResets": 2},
    ),
    (
        (
            "listener sets TCP_DEFER_ACCEPT 5; peer connects without being accepted; listener"
            " closes; peer sends 5 bytes"
        ),
        "RST",
        {"OutRsts": 1, "EstabResets": 1},
    ),
    (
        "listener sets TCP_DEFER_ACCEPT 5; peer connects without being accepted; listener closes",
        "nothing",
        {},
    ),
    # An answer before the whole request was read, and the cure.
    ("peer sends 100 bytes; closer sends 11 bytes; closer closes", "RST", BASE),
    (
        "peer sends 100 bytes; closer sends until blocked; closer closes; peer reads to the end",
        "RST",
        BASE,
    ),
    (
        (
            "peer sends 100 bytes; closer sends until blocked; closer half-closes; peer reads to"
            " the end; peer half-closes; closer reads to the end; closer closes"
        ),
        "FIN",
        {},
    ),
    # The peer's own end: nothing of the closer's is left to send.
    (
        "peer sets SO_LINGER 1 0; peer closes; closer closes",
        "nothing",
        {"TCPAbortOnData": 1, "OutRsts": 1, "EstabResets": 2},
    ),
)


def told(text: str, *, fix: bool = True) -> Prediction:
    return predict([parse_step(line) for line in text.split(";")], fix=fix)


def together(prediction: Prediction) -> dict[str, int]:
    closer, peer = prediction.counters["closer"], prediction.counters["peer"]
    return {name: closer.get(name, 0) + peer.get(name, 0) for name in {*closer, *peer}}


@pytest.mark.parametrize(("text", "ending", "counters"), MEASURED, ids=[row[0] for row in MEASURED])
def test_the_model_predicts_what_was_measured(
    text: str, ending: Ending, counters: Mapping[str, int]
) -> None:
    for fix in (True, False):
        prediction = told(text, fix=fix)
        assert (prediction.ending, together(prediction)) == (ending, counters)


@pytest.mark.parametrize(
    "text",
    [
        "peer sends 10 bytes; closer reads all; peer resends 10 bytes with FIN; closer closes",
        (
            "peer sends 1 urgent byte; closer tries to read; peer resends 1 urgent byte with FIN;"
            " closer closes"
        ),
    ],
)
def test_the_fix_of_2025_turns_the_reread_fin_from_rst_to_fin(text: str) -> None:
    assert told(text, fix=False).ending == "RST"
    assert told(text, fix=True).ending == "FIN"


def test_a_resent_fin_after_a_half_close_shows_the_peer_rst_and_the_wire_both() -> None:
    text = (
        "peer sends 5 bytes; closer reads all; peer resends 5 bytes with FIN; closer half-closes;"
        " closer closes"
    )
    prediction = told(text, fix=False)
    assert prediction.ending == "FIN, then RST"
    assert prediction.peer is not None
    assert prediction.peer.recv[0] == "ECONNRESET"
    assert prediction.wire == ("peer F.", "closer F.", "closer R.", "closer R")


@pytest.mark.parametrize(
    ("text", "state", "recv", "so_error"),
    [
        ("peer sends 5 bytes; closer closes", 7, ("ECONNRESET", "0"), "0"),
        ("closer closes", 8, ("0",), "0"),
        ("peer sends 5 bytes; closer half-closes; closer closes", 7, ("0",), "EPIPE"),
        (
            "peer sends 100 bytes; closer sends 11 bytes; closer closes",
            7,
            ("11", "ECONNRESET", "0"),
            "0",
        ),
        (
            "peer sends 100 bytes; closer sends 11 bytes; closer closes; peer sends 5 bytes",
            7,
            ("send: ECONNRESET", "11", "0"),
            "0",
        ),
        ("peer sends 5 bytes; closer sets TCP_REPAIR 1; closer closes", 1, ("EAGAIN",), "0"),
    ],
)
def test_the_model_predicts_what_the_peer_shows(
    text: str, state: int, recv: tuple[str, ...], so_error: str
) -> None:
    peer = told(text).peer
    assert peer is not None
    assert (peer.state, peer.recv, peer.so_error) == (state, recv, so_error)


def test_a_step_that_cannot_be_completed_is_refused() -> None:
    with pytest.raises(Refused, match="ENOTCONN"):
        told("peer sets SO_LINGER 1 0; peer closes; closer half-closes")


def test_a_reset_from_a_whole_socket_in_fin_wait2_is_explained_and_any_other_counter_is_not() -> (
    None
):
    prediction = told("closer closes; peer sends 5 bytes")
    peer = PeerWitness(
        state=7, poll=("IN", "OUT", "ERR", "HUP", "RDHUP"), recv=("0",), so_error="EPIPE"
    )
    for times, agrees in ((0, True), (1, True), (2, False)):
        moved = {"OutRsts": 1, "EstabResets": 1, "TCPAbortOnData": times}
        trial = RawTrial(count=1, wire=None, peer=peer, kernel=moved)
        assert (not [*disagreements(prediction, trial, "FIN, then RST")]) is agrees
