"""Hosts that stall, lie, flood or vanish at every step: the deadline holds, and the reason says
where.

The servers here are a few lines of socket code, or sshd behind a relay that breaks the conversation
at a chosen byte.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from tests.support.sshd import Server, failure_of
from tests.support.timing import BUSY_S

GREETING = b"SSH-2.0-OpenSSH_9.2p1\r\n"
Play = Callable[[socket.socket], None]


def failure(target: SshTarget, seconds: float = 10) -> TransportError:
    """Returns how it failed, and holds the call to its deadline and to plain words."""
    began = time.monotonic()
    e = failure_of(lambda: Transports().run(target, "true", b"", Deadline.after(seconds), Limits()))
    assert time.monotonic() - began < seconds + BUSY_S
    assert len(e.reason) < 2000
    return e


def on(port: int, connect_timeout_s: float = 10) -> SshTarget:
    return SshTarget(
        address="127.0.0.1",
        port=port,
        user="u",
        use_agent=False,
        connect_timeout_s=connect_timeout_s,
    )


@contextlib.contextmanager
def playing(play: Play) -> Iterator[int]:
    """Yields the port of a server that does `play` with its first connection, until that one is
    gone.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    play(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # ends an accept that nobody came for
            thread.join(10)
            assert not thread.is_alive()


def until_gone(connection: socket.socket) -> None:
    """Reads until the other side is gone."""
    while connection.recv(65536):
        pass


def saying(*parts: bytes) -> Play:
    """Returns what says the parts and then waits."""

    def play(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        until_gone(connection)

    return play


def packet(payload: bytes) -> bytes:
    """Returns an unencrypted SSH packet."""
    padding = 4 + -(len(payload) + 9) % 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def kexinit(kex: bytes = b"curve25519-sha256@libssh.org", key: bytes = b"ssh-ed25519") -> bytes:
    lists = [kex, key, *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2, *[b"none"] * 2, b"", b""]
    return packet(
        b"\x14" + os.urandom(16) + b"".join(struct.pack(">I", len(x)) + x for x in lists) + bytes(5)
    )


# ---- before the greeting


def test_a_host_that_never_accepts_fails_after_the_connect_timeout() -> None:
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Its queue holds one connection; from then on the kernel drops every SYN, as a firewall
        # would.
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        began = time.monotonic()
        e = failure(on(full.getsockname()[1], connect_timeout_s=1))
        assert time.monotonic() - began < 4 + BUSY_S
    assert (e.stage, e.transient) == ("connect", False)
    assert "no answer within 1 s" in e.reason


def test_a_host_that_accepts_and_is_silent_fails_after_the_connect_timeout() -> None:
    with playing(until_gone) as port:
        began = time.monotonic()
        e = failure(on(port, connect_timeout_s=1))
        assert time.monotonic() - began < 4 + BUSY_S
    assert e.stage == "connect"
    assert "no SSH greeting came within 1 s" in e.reason


def test_the_deadline_of_the_host_comes_before_a_longer_connect_timeout() -> None:
    with playing(until_gone) as port:
        assert failure(on(port), seconds=0.5).stage == "connect"


def trickle(connection: socket.socket) -> None:
    # One byte at a time, for as long as somebody listens; the wait is for the other side to go.
    connection.settimeout(0.05)
    while True:
        connection.sendall(b"x")
        with contextlib.suppress(TimeoutError):
            if not connection.recv(1):
                return


def test_a_host_that_trickles_bytes_fails_at_the_connect_timeout() -> None:
    with playing(trickle) as port:
        e = failure(on(port, connect_timeout_s=1))
    assert e.stage == "connect"
    assert "it sent “xxx" in e.reason


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("said", [b"", b"SSH-2.0-Open", b"Exceeded MaxStartups\r\n"])
def test_a_host_that_hangs_up_before_its_greeting_is_a_transient_failure(
    said: bytes, reset: bool
) -> None:
    def play(connection: socket.socket) -> None:
        connection.recv(1)  # ours comes first, so that the reset cannot overtake the connection
        connection.sendall(said)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with playing(play) as port:
        e = failure(on(port))
    assert (e.stage, e.transient) == ("connect", True)
    assert "hung up before its SSH greeting" in e.reason
    if said and not reset:
        assert said.decode().strip() in e.reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 300, "does not speak SSH"),
        (b"x" * 100_000, "does not speak SSH"),
        (b"\n" * 100_000, "does not speak SSH"),
        (b"SSH-1.5-ancient\r\n", "a different version of SSH: “SSH-1.5-ancient”"),
        (b"SSH-2.0-" + b"x" * 100_000, "does not speak SSH"),
        (b"SSH-2.0-\xff\xfe\r\n", "does not speak SSH"),
        (b"SSH-\r\n", "a different version of SSH"),
        (b"\033[2J\033[1;31m\007" * 200, "does not speak SSH"),
        (os.urandom(5000).replace(b"\n", b"") + b"\n", "does not speak SSH"),
    ],
    ids=[
        "http",
        "no newline",
        "newlines",
        "version 1",
        "huge version",
        "not ASCII",
        "empty",
        "escapes",
        "noise",
    ],
)
def test_a_server_that_does_not_speak_ssh_is_reported_as_such(said: bytes, reason: str) -> None:
    with playing(saying(said)) as port:
        e = failure(on(port))
    assert (e.stage, e.transient) == ("connect", False)
    assert reason in e.reason


# ---- in the key exchange


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((), "stalled in the key exchange"),
        ((b"\xff" * 64,), ""),
        ((b"\x7f\xff\xff\xfc" + bytes(64),), "a packet of"),
        ((b"\0\0\0\x00" + bytes(64),), ""),
        ((b"\0\0\0\x04\xff\x14\0\0",), ""),
        ((os.urandom(4096),), ""),
        ((packet(b"\x14"),), ""),
        ((packet(b"\x14" + bytes(16) + b"\xff\xff\xff\xff"),), ""),
        ((packet(b"\x14" + bytes(16) + b"\0\0\0\4\xff\xff\xff\xff"),), ""),
        ((kexinit(kex=b"diffie-hellman-group1-sha1"),), "diffie-hellman-group1-sha1"),
        ((kexinit(key=b"ssh-dss"),), "ssh-dss"),
        ((kexinit(key=b"\033[31m" + b"x" * 10_000),), "no acceptable host key"),
        ((kexinit(), kexinit()), ""),
        ((kexinit(), packet(b"\x15")), ""),
        ((packet(b"\x15"),), ""),
        ((kexinit(), packet(b"\x1f")), ""),
        (
            (
                kexinit(),
                packet(
                    b"\x1f" + struct.pack(">I", 51) + b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)
                ),
            ),
            "",
        ),
        (
            (kexinit(), packet(b"\x1f" + bytes(4) + struct.pack(">I", 32) + bytes(32) + bytes(4))),
            "",
        ),
        ((packet(b"\x33" + bytes(8)),), ""),
        ((packet(b"\x34"),), ""),
        ((packet(b"\x5a\0\0\0\x07session"),), ""),
        ((packet(b"\x01\0\0\0\x02\0\0\0\x0cgo \033[31maway"),), "“go \ufffd[31maway”"),
        ((packet(b"\x07\xff\xff\xff\xff"),), ""),
    ],
)
def test_an_invalid_key_exchange_is_reported_at_the_stage_connect(
    parts: tuple[bytes, ...], reason: str
) -> None:
    with playing(saying(GREETING, *parts)) as port:
        e = failure(on(port, connect_timeout_s=1))
    assert e.stage == "connect"
    assert reason in e.reason
    assert not e.transient


def test_a_host_that_sends_only_ignored_messages_counts_as_a_flood() -> None:
    ignored = packet(b"\x02" + struct.pack(">I", 30_000) + bytes(30_000)) * 10

    def play(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        while True:
            connection.sendall(ignored)

    with playing(play) as port:
        e = failure(on(port))
    assert "far more bytes than were asked for" in e.reason


def test_a_host_that_hangs_up_in_the_key_exchange_is_a_transient_failure() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(GREETING + kexinit())
        connection.recv(1)

    with playing(play) as port:
        e = failure(on(port))
    assert (e.stage, e.transient) == ("connect", True)


# ---- sshd behind a relay that breaks


@contextlib.contextmanager
def relaying(server: Server, after: int, then: str) -> Iterator[tuple[int, list[int]]]:
    """Yields the port of a relay to the server, and where it counts what the server sent; after so
    many bytes from the server it closes, resets, stalls, or flips one bit of all that follows.
    """
    forwarded = [0]

    def play(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as inner:

            def up() -> None:
                with contextlib.suppress(OSError):
                    while data := connection.recv(65536):
                        inner.sendall(data)
                    inner.shutdown(socket.SHUT_WR)

            thread = threading.Thread(target=up)
            thread.start()
            with contextlib.suppress(OSError):
                while data := inner.recv(65536):
                    left = max(after - forwarded[0], 0)
                    forwarded[0] += len(data)
                    if len(data) > left and then != "relay":
                        connection.sendall(data[:left])
                        if then == "stall":
                            break
                        if then == "flip":
                            connection.sendall(bytes(b ^ 1 for b in data[left:]))
                            continue
                        if then == "reset":
                            connection.setsockopt(
                                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                            )
                        connection.shutdown(socket.SHUT_RD)
                        connection.close()
                        break
                    connection.sendall(data)
            with contextlib.suppress(OSError):
                inner.shutdown(socket.SHUT_RDWR)
            if then in ("stall", "flip"):
                thread.join(10)
            else:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join(10)

    with playing(play) as port:
        yield port, forwarded


def whole(server: Server) -> int:
    """Returns how many bytes the server sends in a conversation that nothing disturbs."""
    with relaying(server, 0, "relay") as (port, forwarded):
        target = server.target(port=port, host_key_policy="off")
        assert (
            Transports().run(target, "echo hello", b"", Deadline.after(20), Limits()).stdout
            == b"hello\n"
        )
    return forwarded[0]


def outcome(target: SshTarget) -> TransportError | Output:
    """Returns what came, or how it failed."""
    try:
        return Transports().run(target, "echo hello", b"", Deadline.after(1), Limits())
    except TransportError as e:
        return e


@pytest.mark.parametrize("then", ["close", "reset", "stall", "flip"])
def test_a_connection_that_breaks_at_any_byte_ends_in_time_with_a_reason(
    sshd: Server, then: str
) -> None:
    total = whole(sshd)
    assert total > 1500
    stages = set[str]()
    for after in range(0, total - 100, 149 if then != "stall" else 300):
        with relaying(sshd, after, then) as (port, _):
            target = sshd.target(port=port, host_key_policy="off", connect_timeout_s=1)
            began = time.monotonic()
            end = outcome(target)
            assert time.monotonic() - began < 5 + BUSY_S
        if isinstance(end, TransportError):
            stages.add(end.stage)
            assert end.reason.isprintable()
            assert not (end.transient and end.stage == "authenticate")
        else:  # past the exit status only the good-bye was missing
            assert end.stdout == b"hello\n"
    assert stages >= {"connect", "authenticate"}


def test_broken_connections_leave_no_thread_and_no_descriptor() -> None:
    def count() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    with playing(until_gone) as port:
        failure(on(port, connect_timeout_s=0.05))
    before = count()
    for n in range(200):
        play = (saying(b"garbage\n" * 300), saying(GREETING, os.urandom(64)), lambda c: None)[n % 3]
        with playing(play) as port:
            failure(on(port, connect_timeout_s=0.2))
    assert count() == before
