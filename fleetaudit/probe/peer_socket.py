"""Decides the ending that the peer's socket shows, over TCP and over AF_UNIX. Pure.

tcp_reset() (net/ipv4/tcp_input.c) sets ECONNRESET, in SYN_SENT ECONNREFUSED, and in CLOSE_WAIT
EPIPE: then a FIN had come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, takewhile

from fleetaudit.model import Ending, PeerWitness, Step

from .step_effects import connects_over_mptcp, shuts_peer

_NO_FIN_CAME = (1, 4, 5)
"""ESTABLISHED, FIN_WAIT1, FIN_WAIT2 (include/net/tcp_states.h): no FIN of the other side was
accepted.
"""
_OPEN = (*_NO_FIN_CAME, 8)
"""The same and CLOSE_WAIT: the connection was not reset."""
CLOSE = 7
"""TCP_CLOSE, which also stands for TIME_WAIT: without an error the connection ended with both FINs.
"""
_RESET_ERRORS = frozenset({"ECONNREFUSED", "ECONNRESET", "EPIPE"})
"""What tcp_reset() sets sk_err to."""
_HANG_UPS = frozenset({"HUP", "RDHUP"})
"""Events of poll(2) that show an end of file: RDHUP that the other side ended, HUP that both did.
"""
_ENDED = frozenset({"ERR", "HUP"})
"""Events of poll(2) of which a reset raises at least one."""


def describe_peer(peer: PeerWitness | None) -> str:
    """Returns what the peer's socket reported, as text for the reason of a verdict.

    "state 8, poll IN|RDHUP, recv 0, SO_ERROR 0" is a socket that read a FIN. None is a peer that
    was gone. The names are those of poll(2), recv(2) and errno(3).
    """
    if peer is None:
        return "the peer is gone"
    poll = "|".join(peer.poll) or "none"
    return f"state {peer.state}, poll {poll}, recv {', '.join(peer.recv)}, SO_ERROR {peer.so_error}"


def peer_ending(peer: PeerWitness, steps: Sequence[Step]) -> Ending | None:
    """Returns the ending that the peer's TCP socket shows, None if it shows neither an end nor an
    open connection.

    The errors of a reset decide first, whatever else the socket shows. `steps` tell which of its
    results the peer itself caused, and whether it is an MPTCP socket, whose state says less. The
    first line of `_TCP_ENDINGS` that fits decides.
    """
    socket = _TcpSocket(peer, steps)
    return next((ending for shows, ending in _TCP_ENDINGS if shows(socket)), None)


class _TcpSocket:
    """What the peer's TCP socket reported, and the errors in it.

    `errors` are the results of recv, of the steps' sends and SO_ERROR, of which some are errors.
    """

    __slots__ = ("errors", "peer", "steps")

    def __init__(self, peer: PeerWitness, steps: Sequence[Step]) -> None:
        results = {*peer.recv, peer.so_error}
        # A peer that shut writing itself cannot send: its EPIPE says nothing of the closer.
        if "send: EPIPE" in results and shuts_peer(steps, "write"):
            results.discard("send: EPIPE")
        self.peer, self.steps, self.errors = peer, steps, _without_call(results)

    def was_reset_after_poll(self) -> bool:
        """Returns whether a reset came after poll: it answers to the window that recv opened."""
        if self.errors.isdisjoint(_RESET_ERRORS):
            return False
        return self.peer.state in _OPEN and _ENDED.isdisjoint(self.peer.poll)

    def was_reset_after_end_of_file(self) -> bool:
        """Returns whether recv met the end of file, and SO_ERROR alone has the reset.

        tcp_fin() set SOCK_DONE, for which recv returns end of file before an error.
        """
        if self.peer.so_error != "ECONNRESET":
            return False
        return "0" in self.peer.recv and "ECONNRESET" not in self.peer.recv

    def was_reset(self) -> bool:
        """Returns whether there is the error of a reset before any FIN."""
        return not self.errors.isdisjoint(("ECONNRESET", "ECONNREFUSED"))

    def was_reset_in_close_wait(self) -> bool:
        """Returns whether there is the error of a reset in CLOSE_WAIT.

        tcp_reset() sets EPIPE there: the FIN had come first. recv returns 0, and yet it was reset.
        """
        return "EPIPE" in self.errors

    def has_unknown_error(self) -> bool:
        """Returns whether poll shows an error that neither recv nor SO_ERROR names."""
        return "ERR" in self.peer.poll

    def received_no_fin(self) -> bool:
        """Returns whether the state shows that no FIN came: an end of file would be the peer's own,
        by shutting reading.

        The state of an MPTCP socket does not show it.
        """
        return self.peer.state in _NO_FIN_CAME and not connects_over_mptcp(self.steps)

    def read_end_of_file(self) -> bool:
        """Returns whether recv returned 0."""
        return "0" in self.peer.recv

    def is_open(self) -> bool:
        """Returns whether recv would wait for more, and poll shows no end."""
        return "EAGAIN" in self.errors and _HANG_UPS.isdisjoint(self.peer.poll)


_TCP_ENDINGS: tuple[tuple[Callable[[_TcpSocket], bool], Ending | None], ...] = (
    (_TcpSocket.was_reset_after_poll, None),
    (_TcpSocket.was_reset_after_end_of_file, "FIN, then RST"),
    (_TcpSocket.was_reset, "RST"),
    (_TcpSocket.was_reset_in_close_wait, "FIN, then RST"),
    (_TcpSocket.has_unknown_error, None),
    (_TcpSocket.received_no_fin, "nothing"),
    (_TcpSocket.read_end_of_file, "FIN"),
    (_TcpSocket.is_open, "nothing"),
)
"""The ending by what the socket shows; the first line that fits counts."""


def _without_call(results: Iterable[str]) -> set[str]:
    """Returns results without the call that had them: EPIPE for "send: EPIPE"."""
    return {result.removeprefix("send: ") for result in results}


def unix_ending(peer: PeerWitness, steps: Sequence[Step]) -> Ending | None:
    """Returns what the closer's steps changed at the peer's AF_UNIX socket, None if its answers
    contradict each other.

    net/unix/af_unix.c: unix_release_sock() shuts the peer's socket both ways, and sets ECONNRESET
    if the closer's receive queue is not empty. unix_shutdown() shuts the peer's reading if the
    closer shuts its writing (RDHUP), and the peer's writing if the closer shuts its reading: alone
    that is not an end of what the peer reads. A failed send is no evidence: EPIPE only repeats what
    is shut. docs/scenarios.md has the table.
    """
    reset = "ECONNRESET" in _without_call((*peer.recv, peer.so_error))
    changes = _poll_changes(peer, steps)
    fin = _shows_end_of_file(peer, steps, changes)
    if not reset and "ERR" in chain(peer.poll, *changes):
        return None
    ending = _UNIX_ENDINGS[fin, reset]
    if ending != "nothing" and peer.recv[-1:] == ("EAGAIN",):
        return None
    return ending


_UNIX_ENDINGS: dict[tuple[bool, bool], Ending] = {
    (False, False): "nothing",
    (True, False): "FIN",
    (False, True): "RST",
    (True, True): "FIN, then RST",
}
"""The ending by whether the peer's socket shows an end of file, and whether a reset."""


def _poll_changes(peer: PeerWitness, steps: Sequence[Step]) -> list[tuple[str, ...]]:
    """Returns the events that each ending step of the closer added, except for shutting reading."""
    return [
        events for index, events in peer.poll_added if steps[index].call[1:] != ("shutdown", "read")
    ]


def _shows_end_of_file(
    peer: PeerWitness, steps: Sequence[Step], changes: Sequence[tuple[str, ...]]
) -> bool:
    """Returns whether poll or recv shows an end of file before any error."""
    if any(map(_is_hang_up, changes)):
        return True
    if shuts_peer(steps, "read"):
        return False  # it reads end of file whatever the closer does
    before_reset = takewhile(lambda result: not result.endswith("ECONNRESET"), peer.recv)
    return "0" in before_reset


def _is_hang_up(events: tuple[str, ...]) -> bool:
    """Returns whether a step added an end of file to the events of poll, without an error."""
    return "ERR" not in events and not _HANG_UPS.isdisjoint(events)
