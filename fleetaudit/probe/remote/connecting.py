"""The steps that connect the two sides, and those that prepare it."""

import errno
import os
import socket
import struct
from typing import Any, Tuple

from .connection import Connection
from .constants import (
    ERRORS,
    IS_ESTABLISHED,
    MAX_STRANGERS,
    MSG_FASTOPEN,
    MSG_NOSIGNAL,
    PATTERN,
    TCP_MD5SIG,
    other,
)
from .errors import StepFailed, Unsupported, unsupported, unsupported_if
from .files import write_file
from .listeners import local_address, loopback_address, new_socket, open_listener
from .options import set_socket_option
from .receiving import wait_for_arrival
from .sysctls import read_sysctl, sysctl_path, sysctl_value
from .system import close_quietly
from .waiting import TIMEOUT

MD5_KEY = b"fleetaudit probe"  # it protects nothing
TRY = "unanswered"
KINDS = {"unix": "unix", "seqpacket": "unix", "mptcp": "mptcp", "mapped": "mapped"}
UNIX_SOCKETS = {
    False: ("AF_UNIX", socket.SOCK_STREAM),
    True: ("SOCK_SEQPACKET over AF_UNIX", socket.SOCK_SEQPACKET),
}
NO_UNIX = (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPROTOTYPE)

# net.ipv4.tcp_fastopen without a cookie: 1 and 4 for the client, 2 and 512 for the server.
FASTOPEN_BITS = 0x207
SHARES = ("listener", "share")
USES_UP_LISTENER = (
    ("others", "fill-queue"),
    ("others", "queue-up"),
    ("listener", "close"),
    SHARES,
)
TCPI_OPTIONS, TCPI_OPT_SYN_DATA = 5, 32


def connect(c, actor, how, size=0):
    # type: (Connection, str, str, int) -> None
    c.client_side = actor
    c.kind = KINDS.get(how, "tcp")
    if c.kind == "unix":
        c.messages = how == "seqpacket"
        c.sockets[actor], c.sockets[other(actor)] = unix_pair(c.messages)
        return
    if how != TRY or not c.listener_address:
        prepare_listener(c, how)
    client = make_client(c)
    if how == TRY:
        c.waiting = try_to_connect(c, client)
        return
    connect_to_listener(c, client, how, size)


def connect_to_listener(c, client, how, size):
    # type: (Connection, socket.socket, str, int) -> None
    """Connects the client's socket in time, and accepts it unless that is put off."""
    actor = c.client_side
    client.settimeout(TIMEOUT.seconds())
    try:
        if how == "fastopen":
            connect_with_data(c, actor, client, size)
        else:
            client.connect(c.listener_address[1:])
    finally:
        client.settimeout(None)  # a recv of what failed would wait, too
    c.waiting = True
    if how != "unaccepted" and not sets_on_listener(c, "TCP_DEFER_ACCEPT"):
        c.accept()
        if how == "fastopen":
            wait_for_arrival(c, actor)


def try_to_connect(c, client):
    # type: (Connection, socket.socket) -> bool
    """Sends a SYN; returns whether it was accepted once loopback has delivered its answer."""
    client.setblocking(False)
    number = client.connect_ex(c.listener_address[1:])
    if number not in (0, errno.EINPROGRESS):
        raise OSError(number, os.strerror(number))
    c.lab.fence.settle()
    c.lab.fence.settle()
    client.setblocking(True)
    return c.tcp_info_of(client)[0:1] == IS_ESTABLISHED


def prepare_listener(c, how):
    # type: (Connection, str) -> None
    """Chooses the listener, and notes its address."""
    choose_listener(c, how)
    c.listener_address = local_address(c.listener)


def choose_listener(c, how):
    # type: (Connection, str) -> None
    """Makes a new listener if this trial changes it, since a listener hands on the sysctls
    (tcp_rmem) that it was made with; else takes the one that trials share.
    """
    changes = (
        how in ("fastopen", "unaccepted", TRY),
        c.signed,
        c.backlog is not None,
        c.listener_options,
        c.changed_sysctls,
        any(tuple(step[:2]) in USES_UP_LISTENER for step in c.steps),
    )
    if not any(changes):
        c.listener = c.lab.listener(c.family, c.kind)
        return
    backlog = 16 if c.backlog is None else c.backlog
    port = 0 if has_step(c, *SHARES) else None
    c.listener, c.own_listener = open_listener(c.family, c.kind, backlog, port), True
    for option in c.listener_options:
        set_socket_option(c.listener, *option)
    if how == "fastopen" and not sets_on_listener(c, "TCP_FASTOPEN"):
        set_socket_option(c.listener, "TCP_FASTOPEN", 16)


def sets_on_listener(c, name):
    # type: (Connection, str) -> bool
    return any(option[0] == name for option in c.listener_options)


def has_step(c, actor, verb):
    # type: (Connection, str, str) -> bool
    return any(tuple(step[:2]) == (actor, verb) for step in c.steps)


def make_client(c):
    # type: (Connection) -> socket.socket
    """Returns the client's socket, bound to a port that is captured: the same as before if this is
    not its first connection.
    """
    actor, address = c.client_side, loopback_address(c.family, c.kind)
    client = new_socket(c.listener_address[0], c.kind)
    c.sockets[actor] = client
    if c.kind == "mapped":
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if has_step(c, actor, "reconnect"):  # else a TIME_WAIT would keep the port
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind((address, c.client_port))
    c.client_port = client.getsockname()[1]
    c.addresses = {actor: local_address(client), other(actor): c.listener_address}
    if c.signed:
        for sock in filter(None, (client, c.listener)):
            require_signature(sock, address)
    if c.own_listener:  # not its port: another program may have that before the trial is over
        c.lab.watch_ports([c.client_port])
    return client


def unix_pair(messages):
    # type: (bool) -> Tuple[socket.socket, socket.socket]
    """Returns two connected AF_UNIX sockets, SOCK_SEQPACKET for `messages`, else SOCK_STREAM."""
    name, kind = UNIX_SOCKETS[messages]
    try:
        return socket.socketpair(socket.AF_UNIX, kind)
    except ERRORS as e:
        raise unsupported_if(e, NO_UNIX, "this kernel has no " + name)


def require_signature(sock, address):
    # type: (Any, str) -> None
    """Has a socket sign what it sends to an address, and drop what is not signed (RFC 2385). No
    module is loaded: CONFIG_TCP_MD5SIG has CONFIG_CRYPTO_MD5 built in.
    """
    packed = socket.inet_pton(sock.family, address)
    if sock.family == socket.AF_INET6:
        packed = b"\0" * 4 + packed  # sin6_flowinfo
    end = struct.pack("=HH", sock.family, 0) + packed
    value = struct.pack("=128sBBHI80s", end, 0, 0, len(MD5_KEY), 0, MD5_KEY)  # struct tcp_md5sig
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, value)
    except ERRORS as e:
        raise unsupported("this kernel refuses TCP_MD5SIG on a socket", e)


def connect_with_data(c, actor, client, size):
    # type: (Connection, str, socket.socket, int) -> None
    """Connects by TCP Fast Open."""
    value, state = read_sysctl("net.ipv4.tcp_fastopen")
    if value is None or not value.isdigit() or int(value) & FASTOPEN_BITS != FASTOPEN_BITS:
        raise Unsupported("needs net.ipv4.tcp_fastopen 519; it is %s" % (value or state))
    client.sendto(PATTERN[:size], MSG_FASTOPEN | MSG_NOSIGNAL, c.listener_address[1:])
    c.sent[actor] += size
    options = bytearray(c.tcp_info(actor)[TCPI_OPTIONS : TCPI_OPTIONS + 1])
    if options and not options[0] & TCPI_OPT_SYN_DATA:
        raise StepFailed("the data in the SYN was not accepted")


def accept(c, actor):
    # type: (Connection, str) -> None
    if not c.waiting:
        raise StepFailed("no connection waits to be accepted")
    c.accept()


def set_backlog(c, actor, size):
    # type: (Connection, str, int) -> None
    c.backlog = size


def fill_queue(c, actor):
    # type: (Connection, str) -> None
    """Connects strangers, each of which sends a byte for TCP_DEFER_ACCEPT, until the accept queue
    is full: tcpi_unacked of a listener is its length, tcpi_sacked the backlog
    (sk_acceptq_is_full()).
    """
    for _ in range(MAX_STRANGERS):
        info = c.tcp_info_of(c.listener)
        if len(info) < 32:
            raise StepFailed("this host does not tell how long an accept queue is")
        length, backlog = struct.unpack_from("II", info, 24)
        if length > backlog:
            c.accept_queue_full = c.ending = True
            return
        connect_stranger(c)
        c.lab.fence.settle()
    raise StepFailed("%d connections do not fill the accept queue" % MAX_STRANGERS)


def connect_stranger(c):
    # type: (Connection) -> socket.socket
    sock = socket.socket(c.listener.family, socket.SOCK_STREAM)
    c.cleanups.append(lambda: close_quietly(sock, abort=True))
    sock.settimeout(TIMEOUT.seconds())
    sock.connect(c.listener.getsockname()[:2])
    sock.send(b".")
    return sock


def set_option(c, actor, name, *values):
    # type: (Connection, str, str, *int) -> None
    if actor == "listener":
        c.listener_options.append((name,) + values)
    else:
        set_socket_option(c.sock(actor), name, *values)


def sign(c, actor):
    # type: (Connection, str) -> None
    c.signed = True


def set_sysctl(c, actor, key, value):
    # type: (Connection, str, str, str) -> None
    before = sysctl_value(key) or ""
    try:
        write_file(sysctl_path(key), value)
    except ERRORS as e:
        raise unsupported(key + " cannot be set in a network namespace", e)
    c.changed_sysctls.append((key, before))
    found = sysctl_value(key)
    if found != value:
        raise StepFailed("%s is %s after that" % (key, found))
