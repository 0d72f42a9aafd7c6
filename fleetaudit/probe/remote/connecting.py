"""The steps that connect the two sides."""

import errno
import socket
import struct

from .constants import (
    ERRORS,
    IPPROTO_MPTCP,
    MAX_STRANGERS,
    MD5_KEY,
    MSG_FASTOPEN,
    MSG_NOSIGNAL,
    PATTERN,
    TCP_MD5SIG,
    other,
)
from .errors import Failed, NotHere, name_of, number_of
from .files import write
from .listeners import address_of, address_of_socket, new_listener
from .options import set_on
from .sysctls import path_of, read_sysctl
from .system import safe_close
from .waiting import TIMEOUT


def connect(t, actor, how, size=0):
    lab, server = t.lab, other(actor)
    t.client_side = actor
    if how in ("unix", "seqpacket"):
        t.kind, t.messages = "unix", how == "seqpacket"
        t.socks[actor], t.socks[server] = unix_pair(t.messages)
        return
    t.kind = kind = how if how in ("mptcp", "mapped") else "tcp"
    put_off = how == "unaccepted"
    # A listener hands on the sysctls of when it was made (tcp_rmem), so a trial that sets one has its own.
    if (
        t.listener_options
        or t.backlog is not None
        or t.restore
        or t.signed
        or how in ("fastopen", "unaccepted")
        or any(step[1] == "fill-queue" for step in t.steps)
    ):
        t.listener, t.own_listener = (
            new_listener(t.family, kind, 16 if t.backlog is None else t.backlog),
            True,
        )
        names = [option[0] for option in t.listener_options]
        for option in t.listener_options:
            set_on(t.listener, *option)
        if how == "fastopen" and "TCP_FASTOPEN" not in names:
            set_on(t.listener, "TCP_FASTOPEN", 16)
        put_off = put_off or "TCP_DEFER_ACCEPT" in names
    else:
        t.listener = lab.listener(t.family, kind)
    client = socket.socket(
        t.listener.family, socket.SOCK_STREAM, IPPROTO_MPTCP if kind == "mptcp" else 0
    )
    t.socks[actor] = client
    if kind == "mapped":
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    client.bind((address_of(t.family, kind), 0))
    t.client = client.getsockname()[1]
    t.address = {actor: address_of_socket(client), server: address_of_socket(t.listener)}
    if t.signed:
        for sock in (client, t.listener):
            expect_signature(sock, address_of(t.family, kind))
    if t.own_listener:
        lab.watch(
            [t.client]
        )  # not the listener's port: that may be somebody else's before the trial is over
    client.settimeout(TIMEOUT.seconds())
    if how == "fastopen":
        connect_with_data(t, actor, client, size)
    else:
        client.connect(t.listener.getsockname()[:2])
    client.settimeout(None)
    t.waiting = True
    if not put_off:
        t.accept()
        if how == "fastopen":
            t.arrive(actor)


def unix_pair(messages):
    """Returns two connected AF_UNIX sockets: SOCK_SEQPACKET where `messages`, else SOCK_STREAM."""
    try:
        return socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET if messages else socket.SOCK_STREAM
        )
    except ERRORS as e:
        if number_of(e) in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPROTOTYPE):
            kind = "SOCK_SEQPACKET over AF_UNIX" if messages else "AF_UNIX"
            raise NotHere("this kernel has no %s (%s)" % (kind, name_of(e)))
        raise


def expect_signature(sock, address):
    """Has a socket sign what it sends to an address, and drop what comes from there unsigned (RFC 2385). No module is
    loaded: CONFIG_TCP_MD5SIG has CONFIG_CRYPTO_MD5 built in."""
    packed = socket.inet_pton(sock.family, address)
    end = struct.pack("=HH", sock.family, 0) + (
        packed if sock.family == socket.AF_INET else b"\0" * 4 + packed
    )
    value = struct.pack("=128sBBHI80s", end, 0, 0, len(MD5_KEY), 0, MD5_KEY)  # struct tcp_md5sig
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, value)
    except ERRORS as e:
        raise NotHere("this kernel refuses TCP_MD5SIG on a socket (%s)" % name_of(e))


def connect_with_data(t, actor, client, size):
    """Connects by TCP Fast Open; the bits that it needs without a cookie are 1 and 4 here, 2 and 512 at the server."""
    value = read_sysctl("net.ipv4.tcp_fastopen")[0]
    if value is None or not value.isdigit() or int(value) & 0x207 != 0x207:
        raise NotHere("needs net.ipv4.tcp_fastopen 519; it is %s" % value)
    client.sendto(PATTERN[:size], MSG_FASTOPEN | MSG_NOSIGNAL, t.listener.getsockname()[:2])
    t.sent[actor] += size
    info = t.info(actor)
    if len(info) > 5 and not ord(info[5:6]) & 32:  # TCPI_OPT_SYN_DATA
        raise Failed("the data in the SYN was not taken")


def accept(t, actor):
    if not t.waiting:
        raise Failed("nothing waits to be accepted")
    t.accept()


def set_backlog(t, actor, size):
    t.backlog = size


def fill_queue(t, actor):
    """Connects strangers, which send a byte for TCP_DEFER_ACCEPT, until the accept queue is full: tcpi_unacked of a
    listener is its length, tcpi_sacked the backlog (sk_acceptq_is_full())."""
    for _ in range(MAX_STRANGERS):
        waiting, backlog = struct.unpack_from("II", t.info_of(t.listener), 24)
        if waiting > backlog:
            t.queue_is_full = t.ended = True
            return
        sock = socket.socket(t.listener.family, socket.SOCK_STREAM)
        t.cleanups.append(lambda sock=sock: safe_close(sock, abort=True))
        sock.settimeout(TIMEOUT.seconds())
        sock.connect(t.listener.getsockname()[:2])
        sock.send(b".")
        t.lab.settle()
    raise Failed("%d connections do not fill the accept queue" % MAX_STRANGERS)


def set_option(t, actor, name, *values):
    if actor == "listener":
        t.listener_options.append((name,) + values)
    else:
        set_on(t.sock(actor), name, *values)


def sign(t, actor):
    t.signed = True


def set_sysctl(t, actor, key, value):
    old = read_sysctl(key)[0]
    try:
        write(path_of(key), value)
    except ERRORS as e:
        raise NotHere("%s cannot be set in a network namespace (%s)" % (key, name_of(e)))
    t.restore.append((key, old))
    if read_sysctl(key)[0] != value:
        raise Failed("%s is %s after that" % (key, read_sysctl(key)[0]))
