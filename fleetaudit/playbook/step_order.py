"""Checks that a probe can run the steps of a scenario in their order, and over which families.
Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

from fleetaudit.model import Family, Step

MAX_WAITS_MS = 5000
"""Longest wait of one trial, in milliseconds: a host's time is bounded."""
MAX_SEGMENT = 32 * 1024
"""Maximum number of bytes of a raw segment: it must fit into the MTU of `lo`."""

_SIDES = frozenset({"closer", "peer", "both"})
_GOES = frozenset({"close", "end", "destroy", "vanish"})
"""After one of these the actor is gone."""
_ENDS: frozenset[str | tuple[str | int, ...]] = _GOES | {
    *("close-other", "disconnect", "shutdown", "fill-queue"),
    *(("closer", "wait"), ("peer", "wait"), ("peer", "connect", "unanswered")),
}
"""The verbs, and the first words of other calls, with which a scenario may end."""
_CONNECTS_LATE = "every other step of closer and peer, and only once"
_PREPARES_LATE = "every step of closer and peer"
_FIRST: dict[tuple[str | int, ...], str] = {
    ("closer", "connect"): _CONNECTS_LATE,
    ("peer", "connect"): _CONNECTS_LATE,
    ("both", "sign"): _PREPARES_LATE,
    ("listener", "backlog"): _PREPARES_LATE,
    ("listener", "set"): _PREPARES_LATE,
}
"""Actor and verb of each step that comes before others, and before which."""
_RAW = frozenset({"resend", "resend-fin", "send-out-of-order"})
_OF_ONE_SOCKET = frozenset({"queue-up", "reconnect", "share", "vanish"})
_UNIX = frozenset({"unix", "seqpacket"})
_NOT_OVER_UNIX = _RAW | {
    *("accept", "destroy", "disconnect", "drop", "fill-queue", "ktls", "queue-up", "reconnect"),
    *("sign", "vanish"),
}
_URGENT = frozenset({"send-urgent", "read-urgent"})
_IP_FAMILIES = {"mapped": {"ipv6"}}
"""The families over which a kind of connection makes sense, if not over both."""
_FILL_QUEUE, _CLOSE_LISTENER = ("others", "fill-queue"), ("listener", "close")


def step_families(steps: Iterable[Step], offered: Sequence[Family]) -> tuple[Family, ...]:
    """Returns the families over which the steps make sense, of those that the play offers.

    AF_UNIX follows from the step that connects, whatever is offered. IPv4-mapped addresses are
    IPv6's. The result is empty if the play offers none that fits.
    """
    how = connection_kind(steps)
    if how in _UNIX:
        return ("unix",)
    accepted = _IP_FAMILIES.get(how, {"ipv4", "ipv6"})
    return tuple(family for family in offered if family in accepted)


def connection_kind(steps: Iterable[Step]) -> str:
    """Returns how closer and peer connect, the third word of a connect's call.

    "tcp" if no step connects: then the peer connects over TCP.
    """
    return next((str(step.call[2]) for step in steps if step.verb == "connect"), "tcp")


def order_problem(steps: Sequence[Step]) -> str:
    """Returns why no probe can run the steps in this order, "" if one can.

    The message begins with the text of the step, in “…”, if one step is to blame. Which families
    remain is another question: see `step_families`.
    """
    return _first(check(steps) for check in _CHECKS)


def _first(problems: Iterable[str]) -> str:
    """Returns the first problem, "" if there is none."""
    return next(filter(None, problems), "")


def _is_empty(steps: Sequence[Step]) -> str:
    """Returns a problem if there is no step, else ""."""
    if steps:
        return ""
    return "a scenario needs at least one step"


# ---- order


def _wrong_sequence(steps: Sequence[Step]) -> str:
    """Returns which step comes too late, "" if none does."""
    return _first(map(_Sequence().add, steps))


@dataclass
class _Sequence:
    """The steps so far.

    `acted` tells whether closer or peer did something, `gone` after which step an actor is gone.
    """

    acted: bool = False
    gone: dict[str, str] = field(default_factory=dict)

    def add(self, step: Step) -> str:
        """Adds the next step; returns why it comes too late, "" if it does not.

        Signing is no act: it prepares both sockets before they connect.
        """
        problem = self._too_late(step)
        if step.actor in _SIDES and step.verb != "sign":
            self.acted = True
        if step.verb in _GOES:
            self.gone[step.actor] = step.text
        if step.verb == "reconnect":
            self.gone.clear()
        return problem

    def _too_late(self, step: Step) -> str:
        """Returns what should have come after a step, "" if nothing should.

        One who is gone may still close another descriptor of the socket (“close-other”): the
        duplicate, the child's, the one passed.
        """
        before = _FIRST.get(step.call[:2])
        if step.verb == "reconnect":
            return self._cannot_reconnect(step)
        if self.acted and before:
            return f"“{step.text}” must come before {before}"
        if step.actor in self.gone and step.verb != "close-other":
            return f"“{step.text}”: {step.actor} is gone since “{self.gone[step.actor]}”"
        return ""

    def _cannot_reconnect(self, step: Step) -> str:
        """Returns why a side cannot connect again, "" if it can."""
        if self.gone.keys() >= {"closer", "peer"}:
            return ""
        return f"“{step.text}” must come after both sides have closed"


def _wrong_client(steps: Sequence[Step]) -> str:
    """Returns which side connects again that did not connect before, "" if none does."""
    client = next((step.actor for step in steps if step.verb == "connect"), "peer")
    others = (step for step in steps if step.verb == "reconnect" and step.actor != client)
    return _first(f"“{step.text}”: it was the {client} that connected" for step in others)


# ---- steps that exclude each other


def _closes_full_listener(steps: Sequence[Step]) -> str:
    """Returns a problem if the listener closes with a queue that strangers filled, else ""."""
    texts = {step.call: step.text for step in steps}
    if not {_FILL_QUEUE, _CLOSE_LISTENER} <= texts.keys():
        return ""
    return (
        f"“{texts[_CLOSE_LISTENER]}”: not after “{texts[_FILL_QUEUE]}”, the RST of each stranger"
        " would be counted, too"
    )


def _wrong_raw_segments(steps: Sequence[Step]) -> str:
    """Returns which raw segment cannot be sent, "" if all can.

    A connection that is signed drops what is not (RFC 2385), and a segment must fit into the MTU of
    `lo`.
    """
    signed = {step.verb: step.text for step in steps}.get("sign", "")
    return _first(_wrong_raw_segment(step, signed) for step in filter(_is_raw, steps))


def _wrong_raw_segment(step: Step, signed: str) -> str:
    """Returns why a raw segment cannot be sent, "" if it can; `signed` is the step that signs."""
    if signed:
        return f"“{step.text}”: not after “{signed}”, a raw segment is not signed"
    if int(step.call[2]) > MAX_SEGMENT:
        return f"“{step.text}”: a raw segment holds {MAX_SEGMENT} bytes at most"
    return ""


# ---- duration and end


def _too_long(steps: Sequence[Step]) -> str:
    """Returns how long the steps wait if that is too long, else ""."""
    waits_ms = sum(int(step.call[2]) for step in steps if step.verb == "wait")
    if waits_ms <= MAX_WAITS_MS:
        return ""
    return f"the steps wait {waits_ms} ms, a scenario may wait {MAX_WAITS_MS} ms"


def _without_end(steps: Sequence[Step]) -> str:
    """Returns a problem if no step ends anything, else ""."""
    if any(map(_is_end, steps)):
        return ""
    return "no step ends anything: a scenario needs a close, a half-close, an exit…"


def _is_end(step: Step) -> bool:
    """Returns whether a scenario may end with a step."""
    return not _ENDS.isdisjoint((step.verb, step.call[:2], step.call[:3]))


# ---- kinds of connections


@dataclass(frozen=True)
class _Exclusion:
    """Steps that make no sense over some kinds of connections, and why."""

    kinds: frozenset[str]
    includes: Callable[[Step], bool]
    why: str

    def problem(self, step: Step) -> str:
        """Returns why a step makes no sense, "" if it is none of these steps."""
        if not self.includes(step):
            return ""
        return f"“{step.text}”: {self.why}"


def _wrong_over_connection(steps: Sequence[Step]) -> str:
    """Returns which step makes no sense over the connection that the scenario makes, "" if none."""
    how = connection_kind(steps)
    exclusions = [exclusion for exclusion in _EXCLUSIONS if how in exclusion.kinds]
    return _first(exclusion.problem(step) for step, exclusion in product(steps, exclusions))


def _is_raw(step: Step) -> bool:
    """Returns whether a raw socket sends in the peer's name."""
    return step.verb in _RAW


def _is_of_one_socket(step: Step) -> bool:
    """Returns whether a step needs the socket that the segments are for."""
    return step.verb in _OF_ONE_SOCKET


def _is_urgent(step: Step) -> bool:
    """Returns whether a step sends or reads urgent data."""
    return step.verb in _URGENT


def _is_for_tcp(step: Step) -> bool:
    """Returns whether a step needs what only TCP has: segments, its options, an accept queue.

    No step of the listener has a meaning over AF_UNIX.
    """
    if step.actor == "listener" or step.verb in _NOT_OVER_UNIX:
        return True
    return step.verb == "set" and str(step.call[2]).startswith("TCP_")


_EXCLUSIONS = (
    _Exclusion(
        frozenset({"mptcp"}), _is_raw, "not over MPTCP, whose options a raw segment does not have"
    ),
    _Exclusion(
        frozenset({"mptcp"}),
        _is_of_one_socket,
        "not over MPTCP: each subflow has its own socket",
    ),
    _Exclusion(_UNIX, _is_for_tcp, "AF_UNIX has nothing of the kind"),
    _Exclusion(frozenset({"seqpacket"}), _is_urgent, "AF_UNIX SOCK_SEQPACKET has no urgent data"),
)
_CHECKS: tuple[Callable[[Sequence[Step]], str], ...] = (
    _is_empty,
    _wrong_sequence,
    _wrong_client,
    _closes_full_listener,
    _wrong_raw_segments,
    _too_long,
    _without_end,
    _wrong_over_connection,
)
