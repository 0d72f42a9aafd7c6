"""Services that misbehave, on a port of 127.0.0.1, each connection in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket], None]
ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER with which close() sends a RST."""


@contextlib.contextmanager
def serving(behaviour: Behaviour, host: str = "127.0.0.1") -> Iterator[int]:
    """Runs `behaviour` for each connection, and closes it afterwards; gives the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen(64)
        threading.Thread(target=_accept, args=(listener, behaviour), daemon=True).start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, behaviour: Behaviour) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_serve, args=(sock, behaviour), daemon=True).start()


def _serve(sock: socket.socket, behaviour: Behaviour) -> None:
    with sock, contextlib.suppress(OSError):
        sock.settimeout(120)
        behaviour(sock)


def read_head(sock: socket.socket) -> bytes:
    """Reads up to the end of a request's head."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(1)
        if not data:
            break
        head += data
    return head


def answer(
    sock: socket.socket, data: bytes = b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"
) -> None:
    """Answers after the head of a request, and leaves the body unread."""
    read_head(sock)
    sock.sendall(data)


def discard(sock: socket.socket) -> None:
    """Reads all that comes, and answers nothing."""
    while sock.recv(65536):
        continue


def never_read(sock: socket.socket) -> None:
    """Neither reads nor answers."""
    time.sleep(60)


def reset_at_accept(sock: socket.socket) -> None:
    """Resets the connection before anything is read."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)


def garbage(sock: socket.socket) -> None:
    """Answers what is no HTTP."""
    answer(sock, b"\x00\xff\x1b[2J<script>" * 10)


def endless_head(sock: socket.socket) -> None:
    """Sends a header without an end."""
    answer(sock, b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        sock.sendall(b"x" * 65536)


def endless_body(sock: socket.socket) -> None:
    """Sends a body without an end."""
    answer(sock, b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        sock.sendall(b"x" * 65536)


def endless_interim(sock: socket.socket) -> None:
    """Sends interim answers without an end."""
    read_head(sock)
    while True:
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def slow_drip(sock: socket.socket) -> None:
    """Sends a byte of its answer every tenth of a second, without an end."""
    read_head(sock)
    for byte in b"HTTP/1.1 200 OK\r\n" + b"x" * 10000:
        sock.sendall(bytes([byte]))
        time.sleep(0.1)


class Redirect:
    """Redirects to another port, and counts nothing itself."""

    def __init__(self, port: int) -> None:
        self.answer = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/\r\n"

    def __call__(self, sock: socket.socket) -> None:
        answer(sock, self.answer.encode() + b"Content-Length: 0\r\n\r\n")


class Recorder:
    """Keeps the heads of the requests that it got, and answers 200."""

    def __init__(self) -> None:
        self.heads = list[bytes]()

    def __call__(self, sock: socket.socket) -> None:
        self.heads.append(read_head(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\nServer: kept\r\nContent-Length: 0\r\n\r\n")


class KeepAlive:
    """Answers each request, and closes a connection that is idle for so many seconds."""

    def __init__(self, seconds: float, *, abort: bool = False) -> None:
        self.seconds, self.abort = seconds, abort

    def __call__(self, sock: socket.socket) -> None:
        with contextlib.suppress(TimeoutError):
            while read_head(sock):
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                sock.settimeout(self.seconds)
        if self.abort:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
