"""AF_UNIX: a model of net/unix/af_unix.c whose functions it names, and the combinations whose
endings it predicts.

It knows nothing of `verdict`. It holds the sockets' own state (sk_shutdown, sk_err, the receive
queues), and an ending is what the closer's calls changed at the peer. Two rules are ours:
ECONNRESET is RST, and a change that poll(2) shows is FIN where the call ended what the closer
writes. docs/scenarios.md has the same as a table.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from fleetaudit.model import Ending, Step
from fleetaudit.playbook.steps import parse_step

# ---- the model: net/unix/af_unix.c

RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK = 1, 2, 3
EAGAIN, EPIPE, ECONNRESET = "EAGAIN", "EPIPE", "ECONNRESET"
Type = Literal["stream", "seqpacket"]
Result = int | str
"""What a call returns: a number of bytes, or an errno."""


@dataclass(eq=False)
class Skb:
    length: int


@dataclass(eq=False)
class Sock:
    sk_type: Type
    oob_is_skipped: bool
    """Whether this kernel has 2a5a4841846b."""
    queue: list[Skb] = field(default_factory=list)
    sk_shutdown: int = 0
    sk_err: str = ""
    dead: bool = False
    urginline: bool = False
    oob_skb: Skb | None = None

    @functools.cached_property
    def peer(self) -> Sock:
        """The other end; the one that is asked first makes it."""
        other = Sock(self.sk_type, self.oob_is_skipped)
        other.__dict__["peer"] = self
        return other


def sock_error(sk: Sock) -> str:
    error, sk.sk_err = sk.sk_err, ""
    return error


def unix_release_sock(sk: Sock) -> None:
    sk.dead, sk.sk_shutdown = True, SHUTDOWN_MASK
    unread = sk.queue[:]
    if unread and not unread[0].length and sk.oob_is_skipped:
        del unread[0]
    sk.peer.sk_shutdown = SHUTDOWN_MASK
    if unread:
        sk.peer.sk_err = ECONNRESET


def unix_shutdown(sk: Sock, mode: int) -> None:
    sk.sk_shutdown |= mode
    if mode & RCV_SHUTDOWN:
        sk.peer.sk_shutdown |= SEND_SHUTDOWN
    if mode & SEND_SHUTDOWN:
        sk.peer.sk_shutdown |= RCV_SHUTDOWN


def unix_stream_sendmsg(sk: Sock, size: int, *, oob: bool = False) -> Result:
    if sk.sk_shutdown & SEND_SHUTDOWN or sk.peer.dead or sk.peer.sk_shutdown & RCV_SHUTDOWN:
        return EPIPE
    parts = [Skb(size - 1), Skb(1)] if oob else [Skb(size)]
    sk.peer.queue += [skb for skb in parts if skb.length]
    if oob:
        sk.peer.oob_skb = sk.peer.queue[-1]
    return size


def unix_seqpacket_sendmsg(sk: Sock, size: int) -> Result:
    return sock_error(sk) or unix_stream_sendmsg(sk, size)  # unix_dgram_sendmsg() asks for the same


def unix_stream_recv_urg(sk: Sock) -> Result:
    assert sk.oob_skb is not None
    sk.oob_skb.length, sk.oob_skb = 0, None  # it stays in the queue
    return 1


def first(queue: Sequence[Skb]) -> Skb | None:
    """skb_peek()."""
    return queue[0] if queue else None


def manage_oob(sk: Sock, skb: Skb, copied: int) -> Skb | None:
    """Returns what is read in place of `skb`: an urgent byte ends what one recv reads, and the next
    steps over it.
    """
    if skb.length and skb is not sk.oob_skb:
        return skb
    if not skb.length:
        if copied and skb is sk.oob_skb:
            return None
        sk.queue.remove(skb)
        if not (following := first(sk.queue)):
            return None
        skb = following
    if skb is not sk.oob_skb:
        return skb
    if copied:
        return None
    sk.oob_skb = None
    if sk.urginline:
        return skb
    sk.queue.remove(skb)
    return first(sk.queue)


def unix_stream_read_generic(sk: Sock, size: int) -> Result:
    copied = 0
    while copied < size and (skb := first(sk.queue)) and (skb := manage_oob(sk, skb, copied)):
        chunk = min(skb.length, size - copied)
        copied += chunk
        skb.length -= chunk
        if not skb.length:
            sk.queue.remove(skb)
    return copied or sock_error(sk) or (0 if sk.sk_shutdown & RCV_SHUTDOWN else EAGAIN)


def unix_seqpacket_recvmsg(sk: Sock, size: int, *, trunc: bool = False) -> Result:
    if error := sock_error(sk):  # __skb_try_recv_datagram() asks before it looks at the queue
        return error
    if not sk.queue:
        return 0 if sk.sk_shutdown & RCV_SHUTDOWN else EAGAIN
    skb = sk.queue.pop(0)
    return skb.length if trunc else min(size, skb.length)


def unix_poll(sk: Sock) -> set[str]:
    """Returns the events; POLLOUT is always there, since nobody here fills a buffer."""
    events = {"OUT"}
    if sk.sk_err:
        events.add("ERR")
    if sk.sk_shutdown == SHUTDOWN_MASK:
        events.add("HUP")
    if sk.sk_shutdown & RCV_SHUTDOWN:
        events |= {"RDHUP", "IN"}
    if sk.queue:
        events.add("IN")
    if sk.oob_skb:
        events.add("PRI")
    return events


# ---- an experiment on the model: the steps, and what the probe reports of the peer

MODES: dict[str | int, int] = {"read": RCV_SHUTDOWN, "write": SEND_SHUTDOWN, "both": SHUTDOWN_MASK}
ENDS = ("shutdown", "close", "end", "close-other")


@dataclass(frozen=True)
class Predicted:
    ending: Ending
    poll: set[str]
    recv: tuple[str, ...]
    so_error: str


class Experiment:
    """The two sockets, who refers to the closer's, and what its calls changed at the peer."""

    def __init__(self, sk_type: Type, oob_is_skipped: bool) -> None:
        self.closer = Sock(sk_type, oob_is_skipped)
        self.peer = self.closer.peer
        self.references = 1
        self.ended = False
        self.changes = list[str]()
        self.recv_words = list[str]()

    def run(self, steps: Sequence[Step]) -> Predicted:
        for step in steps:
            actor, verb, *rest = step.call
            self.step(self.closer if actor == "closer" else self.peer, str(verb), *rest)
        poll = unix_poll(self.peer)
        self.ended = True
        for _ in range(3):  # data, an error, the end of file
            if self.try_read(self.peer, 65536) in (0, EAGAIN):
                break
        return Predicted(self.ending(), poll, tuple(self.recv_words), sock_error(self.peer) or "0")

    def ending(self) -> Ending:
        if "RST" in self.changes:  # nothing comes after it
            return "FIN, then RST" if "FIN" in self.changes else "RST"
        return "FIN" if self.changes else "nothing"

    def step(self, sk: Sock, verb: str, *rest: str | int) -> None:
        if sk is self.closer and verb in ENDS:
            self.end(verb, *rest)
        elif verb == "shutdown":
            unix_shutdown(sk, MODES[rest[0]])
        elif verb == "reference":
            self.references += 1
        elif verb == "set":
            sk.urginline = True
        elif verb in ("send", "send-urgent"):
            self.send(sk, int(rest[0]), oob=verb == "send-urgent")
        elif verb == "read-urgent":
            unix_stream_recv_urg(sk)
        elif verb != "connect":
            self.read(sk, verb, int(rest[0]) if rest else 65536)

    def end(self, verb: str, how: str | int = "") -> None:
        """Carries out a step that ends something of the closer's, and notes what that changes at
        the peer.
        """
        self.ended = True
        before, error = unix_poll(self.peer), self.peer.sk_err
        if verb == "shutdown":
            unix_shutdown(self.closer, MODES[how])
        else:
            self.references -= 1
            if not self.references:
                unix_release_sock(self.closer)
        if self.peer.sk_err != error:
            self.changes.append("RST")
        elif {"RDHUP", "HUP"} & (unix_poll(self.peer) - before) and how != "read":
            self.changes.append("FIN")

    def send(self, sk: Sock, size: int, *, oob: bool) -> None:
        if sk.sk_type == "seqpacket":
            result = unix_seqpacket_sendmsg(sk, size)
        else:
            result = unix_stream_sendmsg(sk, size, oob=oob)
        if isinstance(result, str):
            assert sk is self.peer, "no send of the closer may fail here"
            assert self.ended, "no send may fail before the end"
            self.recv_words.append(f"send: {result}")

    def read(self, sk: Sock, verb: str, size: int) -> None:
        """recv once, or until there is nothing more."""
        if verb == "peek":
            return  # it removes nothing
        if verb == "try-read":
            self.try_read(sk, size)
            return
        result = self.recv(sk, size, trunc=verb == "discard")
        while verb == "read-all" and isinstance(result, int) and result:
            result = self.recv(sk, size)

    def try_read(self, sk: Sock, size: int) -> Result:
        result = self.recv(sk, size)
        if result == EAGAIN and sk is self.peer and self.ended:
            self.note(EAGAIN)
        return result

    def recv(self, sk: Sock, size: int, *, trunc: bool = False) -> Result:
        if sk.sk_type == "seqpacket":
            result = unix_seqpacket_recvmsg(sk, size, trunc=trunc)
        else:
            result = unix_stream_read_generic(sk, size)
        if sk is self.peer and self.ended and result != EAGAIN:
            self.note(str(result))
        return result

    def note(self, word: str) -> None:
        """Adds what a recv gave; numbers in a row are one, and so are equal words."""
        last = self.recv_words[-1] if self.recv_words else ""
        if word.isdigit() and word != "0" and last.isdigit() and last != "0":
            self.recv_words[-1] = str(int(last) + int(word))
        elif word != last:
            self.recv_words.append(word)


# ---- the product

QUEUES = {  # the closer's receive queue when it ends
    "idle": "",
    "drained": "peer sends 5 bytes; closer reads all",
    "unread": "peer sends 5 bytes",
    "partly read": "peer sends 10 bytes; closer reads 4 bytes",
    "one of two read": "peer sends 5 bytes; peer sends 5 bytes; closer reads 5 bytes",
    "peeked": "peer sends 5 bytes; closer peeks at 5 bytes",
    "discarded": "peer sends 5 bytes; closer discards 5 bytes",
    "spliced": "peer sends 5 bytes; closer splices 5 bytes",
}
URGENT = {
    "urgent unread": "peer sends 3 urgent bytes",
    "urgent read": "peer sends 1 urgent byte; closer reads the urgent byte",
    "urgent read, then a recv": (
        "peer sends 1 urgent byte; closer reads the urgent byte; closer tries to read"
    ),
    "urgent stepped over": "peer sends 1 urgent byte; closer tries to read",
    "urgent read, more unread": (
        "peer sends 1 urgent byte; closer reads the urgent byte; peer sends 5 bytes"
    ),
    "urgent in line, read": (
        "closer sets SO_OOBINLINE 1; peer sends 1 urgent byte; closer reads all"
    ),
}
BEFORE = (
    "",
    "peer half-closes",
    "peer shuts reading",
    "peer shuts both ways",
    "closer sends 7 bytes",
    "closer sends 7 bytes; peer shuts reading",
)
BEFORE_URGENT = ("closer sends 3 urgent bytes", "closer sends 3 urgent bytes; closer sends 7 bytes")
ENDINGS = (
    "closer closes",
    "closer half-closes",
    "closer shuts reading",
    "closer shuts both ways",
    "closer half-closes; closer closes",
    "closer shuts reading; closer closes",
    "closer shuts both ways; closer closes",
    "closer half-closes; closer shuts reading; closer closes",
    "closer half-closes; peer tries to read; closer closes",
    "closer half-closes; peer half-closes; closer closes",
    "closer half-closes; peer shuts both ways; closer closes",
    "closer shuts reading; peer sends 5 bytes; closer closes",
    "closer duplicates its socket; closer closes",
    "closer duplicates its socket; closer closes; closer closes the other reference",
    (
        "closer duplicates its socket; closer half-closes; closer closes; closer closes the other"
        " reference"
    ),
    "closer shares its socket with a child; closer closes",
    "closer shares its socket with a child; closer closes; closer closes the other reference",
    "closer passes its socket on; closer closes",
    "closer passes its socket on; closer closes; closer closes the other reference",
    "closer exits",
    "closer is killed",
    "closer is terminated",
    "closer execs",
    "closer half-closes; closer is killed",
)
AFTER = (
    "",
    "peer tries to read",
    "peer sends 5 bytes",
    "peer sends 5 bytes; peer reads all; peer sends 5 bytes",
    "peer tries to read; peer sends 5 bytes; peer shuts both ways",
)
CONNECT: dict[Type, str] = {
    "stream": "peer connects over AF_UNIX",
    "seqpacket": "peer connects over AF_UNIX SOCK_SEQPACKET",
}


def combinations(sk_type: Type, ending: str, *, urgent: bool = True) -> list[str]:
    """Returns every combination with this ending, each as the text of its steps; `urgent`: also
    with urgent bytes.
    """
    urgent = urgent and sk_type == "stream"
    queues, before = (QUEUES | URGENT, BEFORE + BEFORE_URGENT) if urgent else (QUEUES, BEFORE)
    parts = itertools.product(queues.values(), before, AFTER)
    texts = [
        "; ".join(filter(None, (CONNECT[sk_type], q, b, ending, after))) for q, b, after in parts
    ]
    return list(dict.fromkeys(texts))


def parsed(text: str) -> list[Step]:
    return [parse_step(line) for line in text.split(";")]


def predict(steps: Sequence[Step], *, oob_is_skipped: bool) -> Predicted:
    """Returns what these steps come to on a kernel with 2a5a4841846b, or on one without."""
    how = next(step.call[2] for step in steps if step.call[1] == "connect")
    return Experiment("seqpacket" if how == "seqpacket" else "stream", oob_is_skipped).run(steps)
