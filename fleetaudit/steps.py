"""The step language: one English line to one small tuple, checked here so that the probe needs only a table of verbs.

Rules: pure. `PHRASES` is the language; the parser, the error messages and the documentation are read off it. What the
report prints is the line as it was written, and the probe runs the tuple that this line became.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .model import Family, Step

OPTIONS: dict[str, int] = {  # name: how many values it takes
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


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence of the language. In `words`, SIDE is closer or peer, N a number of bytes, INT any integer, OPTION a
    socket option with its values, SYSCTL a net.* name, VALUE one word. `call` is the tuple; "$1" is the first slot."""

    words: str
    call: tuple[str | int, ...]
    does: str


PHRASES: tuple[Phrase, ...] = (
    # How they meet: at most one, first among the steps of closer and peer; left out it is "peer connects".
    Phrase("SIDE connects", ("$1", "connect", "tcp"), "the other side listens and accepts"),
    Phrase("SIDE connects over MPTCP", ("$1", "connect", "mptcp"), "both ends are MPTCP sockets"),
    Phrase("SIDE connects over AF_UNIX", ("$1", "connect", "unix"), "a stream socket of this machine, no segments"),
    Phrase("SIDE connects over IPv4-mapped IPv6", ("$1", "connect", "mapped"), "::ffff:127.0.0.1 on both ends"),
    Phrase("peer connects with N bytes in the SYN", ("peer", "connect", "fastopen", "$1"), "TCP Fast Open"),
    Phrase("peer connects without being accepted", ("peer", "connect", "unaccepted"), "it waits in the accept queue"),
    Phrase("closer accepts", ("closer", "accept"), "takes a waiting connection from the accept queue"),
    Phrase("listener sets OPTION", ("listener", "set", "$1"), "setsockopt on the listening socket, before the connect"),
    Phrase("listener closes", ("listener", "close"), "with whatever was never accepted"),
    # Bytes.
    Phrase("SIDE sends N bytes", ("$1", "send", "$2"), "and waits until they are in the other receive queue"),
    Phrase("SIDE sends N urgent bytes", ("$1", "send-urgent", "$2"), "one send with MSG_OOB: the last byte is urgent"),
    Phrase("SIDE sends until blocked", ("$1", "send-until-blocked"), "until window and send queue are full"),
    Phrase("SIDE reads N bytes", ("$1", "read", "$2"), "recv"),
    Phrase("SIDE reads all", ("$1", "read-all"), "recv until the queue is empty, not waiting for the end"),
    Phrase("SIDE reads to the end", ("$1", "read-to-end"), "recv until end of file or an error"),
    Phrase("SIDE tries to read", ("$1", "try-read"), "one recv that does not wait, whatever it gives"),
    Phrase("SIDE reads the urgent byte", ("$1", "read-urgent"), "recv(1, MSG_OOB)"),
    Phrase("SIDE peeks at N bytes", ("$1", "peek", "$2"), "recv with MSG_PEEK"),
    Phrase("SIDE discards N bytes", ("$1", "discard", "$2"), "recv with MSG_TRUNC"),
    Phrase("SIDE splices N bytes", ("$1", "splice", "$2"), "splice(2) into a pipe"),
    Phrase("SIDE sets OPTION", ("$1", "set", "$2"), "setsockopt"),
    Phrase("both enable kTLS", ("both", "ktls"), "TLS 1.2 AES-128-GCM in the kernel, a key of the test's own"),
    # The ways to an end.
    Phrase("SIDE half-closes", ("$1", "shutdown", "write"), "shutdown(SHUT_WR)"),
    Phrase("SIDE shuts reading", ("$1", "shutdown", "read"), "shutdown(SHUT_RD)"),
    Phrase("SIDE shuts both ways", ("$1", "shutdown", "both"), "shutdown(SHUT_RDWR), and does not close"),
    Phrase("SIDE closes", ("$1", "close"), "close(2) of its own reference"),
    Phrase("closer exits", ("closer", "end", "exit"), "the only process that holds the socket calls _exit"),
    Phrase("closer is killed", ("closer", "end", "kill"), "the only process that holds the socket gets SIGKILL"),
    Phrase("closer is terminated", ("closer", "end", "term"), "the only process that holds the socket gets SIGTERM"),
    Phrase("closer execs", ("closer", "end", "exec"), "execve, the socket marked close-on-exec"),
    Phrase("closer disconnects", ("closer", "disconnect"), "connect(AF_UNSPEC)"),
    Phrase("closer is destroyed", ("closer", "destroy"), "SOCK_DESTROY over netlink, what `ss -K` does"),
    # Several references to one socket.
    Phrase("closer duplicates its socket", ("closer", "reference", "dup"), "dup(2)"),
    Phrase("closer shares its socket with a child", ("closer", "reference", "fork"), "fork(2); the child holds it"),
    Phrase("closer passes its socket on", ("closer", "reference", "pass"), "SCM_RIGHTS; it stays in flight"),
    Phrase(
        "closer closes the other reference", ("closer", "close-other"), "the duplicate, the child's, the one passed"
    ),
    # What no socket call can do, and settings of the probe's own namespace (undone after the scenario).
    Phrase("peer resends N bytes with FIN", ("peer", "resend-fin", "$1"), "a raw segment: the last N bytes once more"),
    Phrase("peer resends N urgent bytes with FIN", ("peer", "resend-fin", "$1", "urgent"), "the same, with URG"),
    Phrase("namespace sets SYSCTL VALUE", ("namespace", "sysctl", "$1", "$2"), "in a private namespace only"),
)

_SLOTS = {
    "SIDE": r"closer|peer",
    "N": r"[0-9]{1,8}",
    "INT": r"-?[0-9]{1,10}",
    "OPTION": "|".join(OPTIONS),
    "SYSCTL": r"net(\.[a-z0-9_]+)+",
    "VALUE": r"[0-9A-Za-z_.-]{1,64}",
}
_SLOT_WORDS = {"SIDE": "closer", "N": "a number of bytes", "SYSCTL": "net.ipv4.…", "VALUE": "a value"}
_SAME = {"byte": "bytes"}


class StepError(ValueError):
    """A step that is none; `word` is the one that does not fit, `wanted` what would do in its place."""

    def __init__(self, text: str, word: str, wanted: Sequence[str], near: str = "") -> None:
        self.text, self.word, self.wanted = text, word, tuple(wanted)
        found = f"“{word}” does not fit in the step “{text}”" if word else f"the step “{text}” ends too early"
        would = f"; here would do: {', '.join(wanted)}" if wanted else ""
        super().__init__(found + would + (f" (did you mean “{near}”?)" if near else ""))


def parse_step(text: str) -> Step:
    """Returns the step that `text` says; raises `StepError` naming the word that does not fit and what would."""
    words = text.split()
    furthest, wanted = -1, list[str]()
    for phrase in PHRASES:
        call, reached, want = _match(phrase, words)
        if call is not None:
            return Step(text=" ".join(words), call=call)
        if reached > furthest:
            furthest, wanted = reached, []
        if reached == furthest:
            wanted += [w for w in want if w not in wanted]
    word = words[furthest] if furthest < len(words) else ""
    near = difflib.get_close_matches(word, wanted, 1)
    raise StepError(text, word, sorted(wanted), near[0] if near else "")


def _match(phrase: Phrase, words: Sequence[str]) -> tuple[tuple[str | int, ...] | None, int, list[str]]:
    """Returns the call, or None with the index of the first word that does not fit and the words that would."""
    slots = list[tuple[str | int, ...]]()
    at = 0
    for pattern in phrase.words.split():
        word = _SAME.get(words[at], words[at]) if at < len(words) else ""
        if pattern in _SLOTS:
            if not re.fullmatch(_SLOTS[pattern], word) or (pattern == "N" and int(word) > MAX_BYTES):
                return None, at, _would_do(pattern)
            values: tuple[str | int, ...] = (int(word) if pattern == "N" else word,)
            if pattern == "OPTION":
                for _ in range(OPTIONS[word]):
                    at += 1
                    value = words[at] if at < len(words) else ""
                    if not re.fullmatch(_SLOTS["INT"], value):
                        return None, at, ["an integer"]
                    values += (int(value),)
            slots.append(values)
        elif word != _SAME.get(pattern, pattern):
            return None, at, [pattern]
        at += 1
    if at < len(words):
        return None, at, ["nothing more"]
    call = list[str | int]()
    for part in phrase.call:
        call += slots[int(part[1:]) - 1] if isinstance(part, str) and part.startswith("$") else (part,)
    return tuple(call), at, []


def _would_do(slot: str) -> list[str]:
    if slot == "SIDE":
        return ["closer", "peer"]
    return list(OPTIONS) if slot == "OPTION" else [_SLOT_WORDS[slot]]


def families_of(steps: Iterable[Step], offered: Sequence[Family]) -> tuple[Family, ...]:
    """Returns the families that these steps make sense over, of those the play offers; AF_UNIX follows from a step."""
    how = next((step.call[2] for step in steps if step.call[1] == "connect"), "tcp")
    if how == "unix":
        return ("unix",)
    return tuple(f for f in offered if f != "unix" and (how != "mapped" or f == "ipv6"))


def check_order(steps: Sequence[Step]) -> str:
    """Returns what is wrong with the order of the steps, in words, or "" where a probe can run them."""
    if not steps:
        return "a scenario needs at least one step"
    gone = dict[str, str]()
    acted = False
    for step in steps:
        actor, verb = str(step.call[0]), str(step.call[1])
        if verb == "connect" and acted:
            return f"“{step.text}” must come before every other step of closer and peer, and only once"
        if actor in gone and verb != "close-other":
            return f"“{step.text}”: {actor} is gone since “{gone[actor]}”"
        acted = acted or actor in ("closer", "peer", "both")
        if verb in ("close", "end", "destroy"):
            gone[actor] = step.text
    if not any(s.call[1] in ("close", "close-other", "end", "disconnect", "destroy", "shutdown") for s in steps):
        return "no step ends anything: a scenario needs a close, a half-close, an exit…"
    return ""
