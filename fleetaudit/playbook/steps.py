"""The step language: one English line to one small tuple, checked here so that the probe needs only
a table of verbs.

Rules: pure. `PHRASES` is the language; the parser, the error messages and the documentation are
read off it. What the report prints is the line as it was written, and the probe runs the tuple that
this line became.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fleetaudit.model import Family, Step

SOCKET_OPTIONS: dict[str, int] = {  # name: how many values it takes
    "SO_KEEPALIVE": 1,
    "SO_LINGER": 2,
    "SO_OOBINLINE": 1,
    "SO_RCVBUF": 1,
    "SO_RCVLOWAT": 1,
    "SO_SNDBUF": 1,
    "TCP_CORK": 1,
    "TCP_DEFER_ACCEPT": 1,
    "TCP_FASTOPEN": 1,
    "TCP_LINGER2": 1,
    "TCP_MAXSEG": 1,
    "TCP_NODELAY": 1,
    "TCP_QUICKACK": 1,
    "TCP_REPAIR": 1,
    "TCP_USER_TIMEOUT": 1,
    "TCP_WINDOW_CLAMP": 1,
}
MAX_BYTES = 16 * 1024 * 1024
"""The most that one step may send; the probe's footprint on a production host is bounded."""
MAX_WAIT_MS, MAX_WAITS_MS = 2000, 5000
"""Longest wait of one step, and of one trial of a scenario, in milliseconds: a host's time is
bounded too.
"""
MAX_SEGMENT = 32 * 1024
"""The most bytes of a raw segment: it must fit into the MTU of `lo`."""
MIN_BACKLOG, MAX_BACKLOG = 2, 1024
"""Below 2 some kernels take two connections for a SYN flood, and log it
(inet_csk_reqsk_queue_is_full()).
"""
MAX_VALUES = 8
"""The most numbers that one sysctl takes."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence of the language. In `words`, SIDE is closer or peer, N a number of bytes, TIME a
    number of milliseconds or seconds, BACKLOG a number of connections, OPTION a socket option with
    its values, SYSCTL a net.* name, VALUES one word or several. `call` is the tuple; "$1" is the
    first slot.
    """

    words: str
    call: tuple[str | int, ...]
    does: str


PHRASES: tuple[Phrase, ...] = (
    # How they meet: at most one, first among the steps of closer and peer; left out it is "peer
    # connects".
    Phrase("SIDE connects", ("$1", "connect", "tcp"), "the other side listens and accepts"),
    Phrase("SIDE connects over MPTCP", ("$1", "connect", "mptcp"), "both ends are MPTCP sockets"),
    Phrase(
        "SIDE connects over AF_UNIX",
        ("$1", "connect", "unix"),
        "a stream socket of this machine, no segments",
    ),
    Phrase(
        "SIDE connects over AF_UNIX SOCK_SEQPACKET",
        ("$1", "connect", "seqpacket"),
        "the same with messages: each send is one, each recv takes one whole",
    ),
    Phrase(
        "SIDE connects over IPv4-mapped IPv6",
        ("$1", "connect", "mapped"),
        "::ffff:127.0.0.1 on both ends",
    ),
    Phrase(
        "peer connects with N bytes in the SYN",
        ("peer", "connect", "fastopen", "$1"),
        "TCP Fast Open",
    ),
    Phrase(
        "peer connects without being accepted",
        ("peer", "connect", "unaccepted"),
        "it waits in the accept queue",
    ),
    Phrase(
        "closer accepts", ("closer", "accept"), "takes a waiting connection from the accept queue"
    ),
    Phrase(
        "listener sets OPTION",
        ("listener", "set", "$1"),
        "setsockopt on the listening socket, before the connect",
    ),
    Phrase(
        "listener has a backlog of BACKLOG",
        ("listener", "backlog", "$1"),
        "listen(2), before the connect",
    ),
    Phrase(
        "others fill the accept queue",
        ("others", "fill-queue"),
        "connections of strangers: one more than the backlog, at most 17",
    ),
    Phrase(
        "both sign with TCP_MD5SIG",
        ("both", "sign"),
        "before the connect: every segment is signed, and one that is not is dropped (RFC 2385)",
    ),
    Phrase("listener closes", ("listener", "close"), "with whatever was never accepted"),
    # Bytes.
    Phrase(
        "SIDE sends N bytes",
        ("$1", "send", "$2"),
        "and waits until they are in the other receive queue",
    ),
    Phrase(
        "SIDE sends N urgent bytes",
        ("$1", "send-urgent", "$2"),
        "one send with MSG_OOB: the last byte is urgent",
    ),
    Phrase(
        "SIDE sends until blocked",
        ("$1", "send-until-blocked"),
        "until the other window is zero and the send queue full",
    ),
    Phrase("SIDE reads N bytes", ("$1", "read", "$2"), "recv, as often as that takes"),
    Phrase(
        "SIDE reads N bytes with MSG_WAITALL",
        ("$1", "read-waitall", "$2"),
        "one recv that waits for all of them; an urgent mark or the end of file ends it early",
    ),
    Phrase(
        "SIDE reads all",
        ("$1", "read-all"),
        "recv until the queue is empty, not waiting for the end",
    ),
    Phrase("SIDE reads to the end", ("$1", "read-to-end"), "recv until end of file or an error"),
    Phrase(
        "SIDE tries to read", ("$1", "try-read"), "one recv that does not wait, whatever it gives"
    ),
    Phrase("SIDE reads the urgent byte", ("$1", "read-urgent"), "recv(1, MSG_OOB)"),
    Phrase("SIDE peeks at N bytes", ("$1", "peek", "$2"), "recv with MSG_PEEK"),
    Phrase("SIDE discards N bytes", ("$1", "discard", "$2"), "recv with MSG_TRUNC"),
    Phrase("SIDE splices N bytes", ("$1", "splice", "$2"), "splice(2) into a pipe"),
    Phrase("SIDE sets OPTION", ("$1", "set", "$2"), "setsockopt"),
    Phrase(
        "both enable kTLS",
        ("both", "ktls"),
        "TLS 1.2 AES-128-GCM in the kernel, a key of the test's own",
    ),
    Phrase("wait TIME", ("both", "wait", "$1"), "nobody does anything"),
    Phrase("SIDE waits TIME", ("both", "wait", "$2"), "the same"),
    # The ways to an end.
    Phrase("SIDE half-closes", ("$1", "shutdown", "write"), "shutdown(SHUT_WR)"),
    Phrase("SIDE shuts reading", ("$1", "shutdown", "read"), "shutdown(SHUT_RD)"),
    Phrase(
        "SIDE shuts both ways",
        ("$1", "shutdown", "both"),
        "shutdown(SHUT_RDWR), and does not close",
    ),
    Phrase("SIDE closes", ("$1", "close"), "close(2) of its own reference"),
    Phrase(
        "SIDE exits", ("$1", "end", "exit"), "the only process that holds the socket calls _exit"
    ),
    Phrase(
        "SIDE is killed",
        ("$1", "end", "kill"),
        "the only process that holds the socket gets SIGKILL",
    ),
    Phrase(
        "SIDE is terminated",
        ("$1", "end", "term"),
        "the only process that holds the socket gets SIGTERM",
    ),
    Phrase("SIDE execs", ("$1", "end", "exec"), "execve, the socket marked close-on-exec"),
    Phrase("closer disconnects", ("closer", "disconnect"), "connect(AF_UNSPEC)"),
    Phrase(
        "closer is destroyed", ("closer", "destroy"), "SOCK_DESTROY over netlink, what `ss -K` does"
    ),
    # Several references to one socket.
    Phrase("closer duplicates its socket", ("closer", "reference", "dup"), "dup(2)"),
    Phrase(
        "closer shares its socket with a child",
        ("closer", "reference", "fork"),
        "fork(2); the child holds it",
    ),
    Phrase(
        "closer passes its socket on",
        ("closer", "reference", "pass"),
        "SCM_RIGHTS; it stays in flight",
    ),
    Phrase(
        "closer closes the other reference",
        ("closer", "close-other"),
        "the duplicate, the child's, the one passed",
    ),
    # What no socket call can do, and settings of the probe's own namespace (undone after the
    # scenario).
    Phrase(
        "peer resends N bytes with FIN",
        ("peer", "resend-fin", "$1"),
        "a raw segment: the last N bytes once more",
    ),
    Phrase(
        "peer resends N urgent bytes with FIN",
        ("peer", "resend-fin", "$1", "urgent"),
        "the same, with URG",
    ),
    Phrase(
        "peer resends N bytes", ("peer", "resend", "$1"), "the same without FIN: nothing new in it"
    ),
    Phrase("peer resends N urgent bytes", ("peer", "resend", "$1", "urgent"), "the same, with URG"),
    Phrase(
        "peer sends N bytes out of order",
        ("peer", "send-out-of-order", "$1"),
        "a raw segment that leaves out the byte before it; the peer's next byte fills the gap",
    ),
    Phrase(
        "namespace sets SYSCTL VALUES",
        ("namespace", "sysctl", "$1", "$2"),
        "in a private namespace only",
    ),
)

_TIMES = {"ms": 1, "millisecond": 1, "milliseconds": 1, "s": 1000, "second": 1000, "seconds": 1000}
_SLOTS = {  # what fits, and the words for it
    "SIDE": (r"closer|peer", ("closer", "peer")),
    "N": (r"[0-9]{1,8}", ("a number of bytes",)),
    "BACKLOG": (r"[0-9]{1,4}", (f"a number from {MIN_BACKLOG} to {MAX_BACKLOG}",)),
    "INT": (r"-?[0-9]{1,10}", ("an integer",)),
    "OPTION": ("|".join(SOCKET_OPTIONS), tuple(SOCKET_OPTIONS)),
    "SYSCTL": (r"net(\.[a-z0-9_]+)+", ("net.ipv4.…",)),
    "VALUE": (r"[0-9A-Za-z_.-]{1,64}", ("a value",)),
}
_LEAST = {"BACKLOG": MIN_BACKLOG}
_MOST = {"N": MAX_BYTES, "BACKLOG": MAX_BACKLOG}
_SAME = {"byte": "bytes"}
_ENDS = ("close", "close-other", "end", "disconnect", "destroy", "shutdown", "fill-queue")
_BEFORE_CONNECT = (("both", "sign"), ("listener", "backlog"), ("listener", "set"))
_RAW = ("resend", "resend-fin", "send-out-of-order")


class StepError(ValueError):
    """A step that is none; `word` is the one that does not fit, `wanted` what would do in its
    place.
    """

    def __init__(self, text: str, word: str, wanted: Sequence[str], near: str = "") -> None:
        self.text, self.word, self.wanted = text, word, tuple(wanted)
        found = (
            f"“{word}” does not fit in the step “{text}”"
            if word
            else f"the step “{text}” ends too early"
        )
        would = f"; here would do: {', '.join(wanted)}" if wanted else ""
        super().__init__(found + would + (f" (did you mean “{near}”?)" if near else ""))


def parse_step(text: str) -> Step:
    """Returns the step that `text` says; raises `StepError` naming the word that does not fit and
    what would.
    """
    words = text.split()
    furthest, wanted = -1, list[str]()
    for phrase in PHRASES:
        try:
            return Step(text=" ".join(words), call=_match(phrase, words))
        except _Misfit as misfit:
            if misfit.at > furthest:
                furthest, wanted = misfit.at, []
            if misfit.at == furthest:
                wanted += [w for w in misfit.wanted if w not in wanted]
    word = words[furthest] if furthest < len(words) else ""
    near = difflib.get_close_matches(word, wanted, 1)
    raise StepError(text, word, sorted(wanted), near[0] if near else "")


class _Misfit(Exception):
    """A word that does not fit: where it stands, and what would do in its place."""

    def __init__(self, at: int, wanted: Sequence[str]) -> None:
        self.at, self.wanted = at, list(wanted)


def _match(phrase: Phrase, words: Sequence[str]) -> tuple[str | int, ...]:
    """Returns the call; raises `_Misfit`."""
    slots = list[tuple[str | int, ...]]()
    at = 0
    for pattern in phrase.words.split():
        if pattern in _TAKERS:
            values, at = _TAKERS[pattern](words, at)
            slots.append(values)
        elif pattern in _SLOTS:
            slots.append((_one(pattern, words, at),))
            at += 1
        elif _SAME.get(_word(words, at), _word(words, at)) != _SAME.get(pattern, pattern):
            raise _Misfit(at, [pattern])
        else:
            at += 1
    if at < len(words):
        raise _Misfit(at, ["nothing more"])
    call = list[str | int]()
    for part in phrase.call:
        call += (
            slots[int(part[1:]) - 1] if isinstance(part, str) and part.startswith("$") else (part,)
        )
    return tuple(call)


def _word(words: Sequence[str], at: int) -> str:
    return words[at] if at < len(words) else ""


def _one(slot: str, words: Sequence[str], at: int) -> str | int:
    """Returns what stands in a slot of one word; raises `_Misfit`."""
    pattern, would_do = _SLOTS[slot]
    word = _word(words, at)
    if not re.fullmatch(pattern, word):
        raise _Misfit(at, would_do)
    if slot not in ("INT", *_MOST):
        return word
    if not _LEAST.get(slot, int(word)) <= int(word) <= _MOST.get(slot, int(word)):
        raise _Misfit(at, would_do)
    return int(word)


def _option(words: Sequence[str], at: int) -> tuple[tuple[str | int, ...], int]:
    """Returns an option with its values, and the index after them; raises `_Misfit`."""
    name = str(_one("OPTION", words, at))
    end = at + 1 + SOCKET_OPTIONS[name]
    return (name, *(_one("INT", words, i) for i in range(at + 1, end))), end


def _time(words: Sequence[str], at: int) -> tuple[tuple[str | int, ...], int]:
    """Returns a time in milliseconds, and the index after it; raises `_Misfit`.

    "50 ms", "50ms", "50 milliseconds", "1 second" and "0.5 s" are times.
    """
    found = re.fullmatch(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)([a-z]*)", _word(words, at))
    if found is None:
        raise _Misfit(at, [_A_TIME])
    end = at + 1 if found[2] else at + 2
    unit = found[2] or _word(words, at + 1)
    if unit not in _TIMES:
        raise _Misfit(end - 1, [_A_TIME] if found[2] else ["ms", "seconds"])
    time_ms = round(float(found[1]) * _TIMES[unit], 3)
    if not (time_ms.is_integer() and 1 <= time_ms <= MAX_WAIT_MS):
        raise _Misfit(at, [_A_TIME])
    return (int(time_ms),), end


_A_TIME = f"a time from 1 to {MAX_WAIT_MS} ms"


def _values(words: Sequence[str], at: int) -> tuple[tuple[str | int, ...], int]:
    """Returns the values of a sysctl as one text, and the index after them; raises `_Misfit`."""
    end = max(at + 1, min(len(words), at + MAX_VALUES))
    return (" ".join(str(_one("VALUE", words, i)) for i in range(at, end)),), end


_TAKERS = {"OPTION": _option, "TIME": _time, "VALUES": _values}  # slots that may be several words


_UNIX = ("unix", "seqpacket")
_NOT_OVER_UNIX = (*_RAW, "accept", "destroy", "disconnect", "fill-queue", "ktls", "sign")


def _how(steps: Iterable[Step]) -> str:
    """Returns how closer and peer meet, the third word of a connect's call."""
    return next((str(step.call[2]) for step in steps if step.call[1] == "connect"), "tcp")


def step_families(steps: Iterable[Step], offered: Sequence[Family]) -> tuple[Family, ...]:
    """Returns the families that these steps make sense over, of those the play offers; AF_UNIX
    follows from a step.
    """
    how = _how(steps)
    if how in _UNIX:
        return ("unix",)
    return tuple(f for f in offered if f != "unix" and (how != "mapped" or f == "ipv6"))


def order_problem(steps: Sequence[Step]) -> str:
    """Returns what is wrong with the order of the steps, in words, or "" where a probe can run
    them.
    """
    if not steps:
        return "a scenario needs at least one step"
    gone = dict[str, str]()
    acted = False
    for step in steps:
        actor, verb = str(step.call[0]), str(step.call[1])
        if verb == "connect" and acted:
            return (
                f"“{step.text}” must come before every other step of closer and peer, and only once"
            )
        if (actor, verb) in _BEFORE_CONNECT and acted:
            return f"“{step.text}” must come before every step of closer and peer"
        if actor in gone and verb != "close-other":
            return f"“{step.text}”: {actor} is gone since “{gone[actor]}”"
        acted = acted or (actor in ("closer", "peer", "both") and verb != "sign")
        if verb in ("close", "end", "destroy"):
            gone[actor] = step.text
    if wrong := _wrong_together(steps):
        return wrong
    if (waits := sum(int(s.call[2]) for s in steps if s.call[1] == "wait")) > MAX_WAITS_MS:
        return f"the steps wait {waits} ms, a scenario may wait {MAX_WAITS_MS} ms"
    if not any(s.call[1] in _ENDS for s in steps):
        return "no step ends anything: a scenario needs a close, a half-close, an exit…"
    return next(filter(None, (_wrong_over_unix(step, _how(steps)) for step in steps)), "")


def _wrong_over_unix(step: Step, how: str) -> str:
    """Returns why a step makes no sense where the sides met in this way; "" if it does, or if that
    is not AF_UNIX.
    """
    if how not in _UNIX:
        return ""
    actor, verb = str(step.call[0]), str(step.call[1])
    of_tcp = verb == "set" and str(step.call[2]).startswith("TCP_")
    if actor == "listener" or verb in _NOT_OVER_UNIX or of_tcp:
        return f"“{step.text}”: AF_UNIX has nothing of the kind"
    if how == "seqpacket" and verb in ("send-urgent", "read-urgent"):
        return f"“{step.text}”: AF_UNIX SOCK_SEQPACKET has no urgent data"
    return ""


def _wrong_together(steps: Sequence[Step]) -> str:
    """Returns which step no probe can carry out beside the others, in words, or ""."""
    full = next((s for s in steps if s.call[1] == "fill-queue"), None)
    signed = next((s for s in steps if s.call[1] == "sign"), None)
    for step in steps:
        raw = step.call[1] in _RAW
        if full and step.call == ("listener", "close"):
            return (
                f"“{step.text}”: not after “{full.text}”, the RST of each stranger would be"
                " counted, too"
            )
        if raw and signed:
            return f"“{step.text}”: not after “{signed.text}”, a raw segment is not signed"
        if raw and _how(steps) == "mptcp":
            return f"“{step.text}”: not over MPTCP, whose options a raw segment lacks"
        if raw and int(step.call[2]) > MAX_SEGMENT:
            return f"“{step.text}”: a raw segment holds {MAX_SEGMENT} bytes at most"
    return ""
