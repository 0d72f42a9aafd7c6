"""The phrases of the step language. Pure.

Rules: this table is the language; the parser, the error messages and docs/scenarios.md are made
from it.
"""

from __future__ import annotations

import msgspec


class Phrase(msgspec.Struct, frozen=True):
    """A sentence of the language.

    In `pattern`, SIDE is closer or peer, N a number of bytes, TIME a number of milliseconds or
    seconds, BACKLOG and OTHERS a number of connections, OPTION a socket option with its values,
    SYSCTL a net.* name, VALUES one or several words. `call` is the tuple; "$1" is the first slot.
    `meaning` is for the documentation.
    """

    pattern: str
    call: tuple[str | int, ...]
    meaning: str


PHRASES: tuple[Phrase, ...] = (
    # How they connect: at most one, before every other step of closer and peer; the default is
    # "peer connects".
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
        "peer tries to connect",
        ("peer", "connect", "unanswered"),
        "one SYN, and whatever answers it at once: a SYN-ACK, a RST, or nothing",
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
        "OTHERS others wait in the accept queue",
        ("others", "queue-up", "$1"),
        "connections of strangers, with one byte each; whether each is reset is reported, too",
    ),
    Phrase(
        "second listener joins with SO_REUSEPORT",
        ("listener", "share"),
        "after the connect: another socket listens on the same port",
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
    Phrase("wait TIME", ("both", "wait", "$1"), "neither side does anything"),
    Phrase("SIDE waits TIME", ("both", "wait", "$2"), "the same"),
    Phrase(
        "SIDE sends nothing for TIME",
        ("$1", "wait", "$2"),
        "the same, and a scenario may end with it: what the kernels send meanwhile is the ending",
    ),
    Phrase(
        "peer vanishes",
        ("peer", "vanish"),
        "a filter on its socket drops every segment for it, as if its cable were cut",
    ),
    # Endings.
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
    # Raw segments, and settings of the probe's own namespace (undone after the scenario).
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
        "SIDE connects again from the same port",
        ("$1", "reconnect"),
        "once both sides have closed: a second connection, of which alone is reported from here on",
    ),
    Phrase(
        "namespace drops RST",
        ("namespace", "drop", "rst"),
        "an nftables rule at the input of a private namespace: tcp flags rst drop",
    ),
    Phrase(
        "namespace drops invalid",
        ("namespace", "drop", "invalid"),
        "the same with conntrack: ct state invalid drop",
    ),
    Phrase(
        "namespace sets SYSCTL VALUES",
        ("namespace", "sysctl", "$1", "$2"),
        "in a private namespace only",
    ),
)
