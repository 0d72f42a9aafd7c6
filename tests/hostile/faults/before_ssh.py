"""Servers that do not come as far as SSH."""

from __future__ import annotations

import os
import socket
import time

from .server import RESET, Raw

GREETING = b"SSH-2.0-OpenSSH_9.2p1\r\n"
MEGABYTE = 1024 * 1024


def until_gone(sock: socket.socket) -> None:
    """Reads until the other side is gone."""
    while sock.recv(65536):
        pass


def says(*parts: bytes) -> Raw:
    """Returns what says the parts, and then waits."""

    def play(sock: socket.socket) -> None:
        for part in parts:
            sock.sendall(part)
        until_gone(sock)

    return play


def repeats(part: bytes, *before: bytes) -> Raw:
    """Returns what says the part again and again, for as long as somebody reads."""

    def play(sock: socket.socket) -> None:
        sock.sendall(b"".join(before))
        while True:
            sock.sendall(part)

    return play


def trickles(data: bytes, pause_s: float) -> Raw:
    """Returns what says one byte after the other, again and again."""

    def play(sock: socket.socket) -> None:
        while True:
            for n in range(len(data)):
                sock.sendall(data[n : n + 1])
                time.sleep(pause_s)

    return play


def leaves(data: bytes = b"", *, reset: bool = False) -> Raw:
    """Returns what says something and hangs up."""

    def play(sock: socket.socket) -> None:
        sock.recv(1)  # ours comes first, so that a reset cannot overtake the connection
        sock.sendall(data)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    return play


NOISE = os.urandom(5000).replace(b"\n", b"") + b"\n"
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>no</html>\r\n"
