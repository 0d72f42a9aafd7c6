"""One epoll loop that many conversations share. A conversation is a generator, which yields until
more bytes have come.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Generator, Iterable

Conversation = Generator[None, None, None]


class Wire:
    """One connection: bytes that came in, and bytes that are to go out."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.came = bytearray()
        self.out = bytearray()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connected = False

    def flush(self) -> None:
        if self.out:
            with contextlib.suppress(BlockingIOError):
                sent = self.socket.send(self.out)
                del self.out[:sent]


def run(
    addresses: Iterable[str], port: int, forks: int, converse: Callable[[Wire], Conversation]
) -> None:
    """Holds a conversation with every address, `forks` at once. One that fails is only ended."""
    poll = select.epoll()
    waiting = iter(addresses)
    open_wires: dict[int, tuple[Wire, Conversation]] = {}

    def start() -> None:
        for address in waiting:
            wire = Wire(address)
            wire.socket.connect_ex((address, port))
            open_wires[wire.socket.fileno()] = wire, converse(wire)
            poll.register(wire.socket, select.EPOLLIN | select.EPOLLOUT)
            return

    for _ in range(forks):
        start()
    while open_wires:
        for number, event in poll.poll():
            wire, conversation = open_wires[number]
            if not _go_on(poll, wire, conversation, event):
                del open_wires[number]
                wire.socket.close()
                start()


def _go_on(poll: select.epoll, wire: Wire, conversation: Conversation, event: int) -> bool:
    """Continues one conversation; returns whether it has not ended."""
    try:
        if event & select.EPOLLIN:
            if not (data := wire.socket.recv(262_144)):
                return False
            wire.came += data
        elif event & (select.EPOLLERR | select.EPOLLHUP):
            return False
        if event & select.EPOLLIN or not wire.connected:
            wire.connected = True
            next(conversation)
        had = bool(event & select.EPOLLOUT)
        wire.flush()
        if bool(wire.out) or had:
            poll.modify(wire.socket, select.EPOLLIN | (select.EPOLLOUT if wire.out else 0))
    except StopIteration:
        wire.flush()
        return False
    except (OSError, ValueError) as e:
        print(f"{wire.address}: {e!r}")
        return False
    return True
