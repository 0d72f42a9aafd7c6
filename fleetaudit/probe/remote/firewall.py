"""The steps that drop segments: nftables rules of the private namespace, by nfnetlink."""

import errno
import os
import select
import socket
import struct
from typing import Any, List, Sequence, Tuple

from .connection import Connection
from .constants import ERRORS
from .errors import Unsupported, call_or, unsupported
from .files import read_file
from .lab import Laboratory
from .namespace import namespace_id
from .needs import add_needs, need_capture
from .sock_diag import NLMSG_ERROR
from .verbs import add_verbs
from .waiting import wait_for_events

# include/uapi/linux/netlink.h and netfilter/nfnetlink.h, nf_tables.h.
NETLINK_NETFILTER, NLM_F_NESTED = 12, 0x8000
REQUEST, REQUEST_ACK_CREATE = 1, 1 | 4 | 0x400
BATCH_BEGIN, BATCH_END, NFTABLES = 0x10, 0x11, 10
NEW_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE = 0, 2, 3, 6
FAMILY_INET, LOCAL_IN, ACCEPT, DROP = 1, 1, 1, 0
L4_PROTOCOL, TRANSPORT_HEADER, FLAGS_OFFSET, CT_STATE = 16, 2, 13, 0
VERDICT_REGISTER, REGISTER, EQUAL, NOT_EQUAL = 0, 1, 0, 1
RST_FLAG, TCP = b"\x04", b"\x06"
CT_INVALID = struct.pack("=I", 1)  # NF_CT_STATE_INVALID_BIT, in the host's order
TABLE, CHAIN = b"fleetaudit\0", b"input\0"

# Functions that a kernel has in memory only if no module must be loaded for a rule.
OF_TABLES = ("nf_tables_newtable", "nft_do_chain_inet", "nft_meta_get_eval")
OF_CONNTRACK = ("nft_ct_get_eval", "ipv4_conntrack_in", "ipv6_conntrack_in")
FUNCTIONS = {"rst": OF_TABLES, "invalid": OF_TABLES + OF_CONNTRACK}
MAX_SYMBOLS = 64 * 1024 * 1024  # bytes of /proc/kallsyms


def attribute(kind, value):
    # type: (int, bytes) -> bytes
    """Returns a netlink attribute, padded to four bytes."""
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + b"\0" * (-size % 4)


def nested(kind, *attributes):
    # type: (int, *bytes) -> bytes
    return attribute(NLM_F_NESTED | kind, b"".join(attributes))


def number(kind, value):
    # type: (int, int) -> bytes
    return attribute(kind, struct.pack("!I", value))


def expression(name, *attributes):
    # type: (bytes, *bytes) -> bytes
    return nested(1, attribute(1, name + b"\0"), nested(2, *attributes))


def compare(operation, value):
    # type: (int, bytes) -> bytes
    return expression(
        b"cmp", number(1, REGISTER), number(2, operation), nested(3, attribute(1, value))
    )


def has_bits(mask):
    # type: (bytes) -> bytes
    """Returns the expressions that are true if the register has one of the bits of `mask`."""
    nothing = b"\0" * len(mask)
    bits = expression(
        b"bitwise",
        number(1, REGISTER),
        number(2, REGISTER),
        number(3, len(mask)),
        nested(4, attribute(1, mask)),
        nested(5, attribute(1, nothing)),
    )
    return bits + compare(NOT_EQUAL, nothing)


def expressions_of(what):
    # type: (str) -> bytes
    """Returns the expressions of a rule: `tcp flags rst drop`, or `ct state invalid drop`."""
    if what == "invalid":
        test = expression(b"ct", number(1, REGISTER), number(2, CT_STATE)) + has_bits(CT_INVALID)
    else:
        test = expression(b"meta", number(1, REGISTER), number(2, L4_PROTOCOL))
        test += compare(EQUAL, TCP)
        test += expression(
            b"payload",
            number(1, REGISTER),
            number(2, TRANSPORT_HEADER),
            number(3, FLAGS_OFFSET),
            number(4, 1),
        )
        test += has_bits(RST_FLAG)
    verdict = nested(2, nested(2, number(1, DROP)))
    return test + expression(b"immediate", number(1, VERDICT_REGISTER), verdict)


def message(kind, flags, sequence, family, subsystem, body):
    # type: (int, int, int, int, int, bytes) -> bytes
    head = struct.pack("=IHHII", 20 + len(body), kind, flags, sequence, 0)
    return head + struct.pack("=BB", family, 0) + struct.pack("!H", subsystem) + body


def batch(changes):
    # type: (Sequence[Tuple[int, bytes]]) -> bytes
    """Returns the messages of one transaction; change number n of them is acknowledged as n."""
    parts = [message(BATCH_BEGIN, REQUEST, 0, 0, NFTABLES, b"")]
    for sequence, (kind, body) in enumerate(changes, 1):
        kind |= NFTABLES << 8
        parts.append(message(kind, REQUEST_ACK_CREATE, sequence, FAMILY_INET, 0, body))
    parts.append(message(BATCH_END, REQUEST, 0, 0, NFTABLES, b""))
    return b"".join(parts)


def rule_of(what):
    # type: (str) -> List[Tuple[int, bytes]]
    """Returns the changes that make a table with a chain at the input, and a rule in it."""
    hook = nested(4, number(1, LOCAL_IN), number(2, 0))
    chain = attribute(1, TABLE) + attribute(3, CHAIN) + hook
    chain += number(5, ACCEPT) + attribute(7, b"filter\0")
    rule = attribute(1, TABLE) + attribute(2, CHAIN) + nested(4, expressions_of(what))
    return [(NEW_TABLE, attribute(1, TABLE)), (NEW_CHAIN, chain), (NEW_RULE, rule)]


def change_rules(changes):
    # type: (Sequence[Tuple[int, bytes]]) -> None
    """Sends one transaction; raises OSError with the first error of the kernel."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    try:
        sock.send(batch(changes))
        for _ in changes:
            refused = receive_error(sock)
            if refused:
                raise OSError(refused, os.strerror(refused))
    finally:
        sock.close()


def receive_error(sock):
    # type: (Any) -> int
    """Returns the errno of the next answer, 0 if it is an acknowledgment."""
    if not wait_for_events(sock, select.POLLIN):
        return errno.ETIMEDOUT
    answer = sock.recv(4096)
    if len(answer) < 20 or struct.unpack_from("=H", answer, 4)[0] != NLMSG_ERROR:
        return errno.EBADMSG
    return -int(struct.unpack_from("=i", answer, 16)[0])


def drop(c, actor, what):
    # type: (Connection, str, str) -> None
    try:
        change_rules(rule_of(what))
    except ERRORS as e:
        raise unsupported("this kernel refuses the nftables rule", e)
    c.drops_invalid = c.drops_invalid or what == "invalid"
    table = [(DELETE_TABLE, attribute(1, TABLE))]
    c.cleanups.append(lambda: call_or(None, change_rules, table))


def need_rules(lab, family, what):
    # type: (Laboratory, str, str) -> None
    """Checks that a rule concerns nobody else, and that the kernel loads no module for it."""
    if not lab.private or namespace_id() is None:
        raise Unsupported(
            "needs a private network namespace: the probe changes no rule of the host"
        )
    missing = missing_functions(lab, FUNCTIONS[what])
    if missing:
        problem = (
            "needs nftables%s in the kernel, which is not loaded, and the probe loads none (no %s)"
        )
        raise Unsupported(problem % ({"invalid": " and conntrack"}.get(what, ""), missing[0]))
    need_capture(lab)


def missing_functions(lab, names):
    # type: (Laboratory, Sequence[str]) -> List[str]
    """Returns those of some functions that the kernel does not have in memory, or hides."""
    if not lab.symbols:
        text = call_or("", read_file, "/proc/kallsyms", MAX_SYMBOLS)
        lab.symbols = text.replace("\t", "\n")  # before the name of a module
    return [name for name in names if " %s\n" % name not in lab.symbols]


FIREWALL_VERBS = add_verbs({"drop": drop})
FIREWALL_NEEDS = add_needs({"drop": need_rules})
