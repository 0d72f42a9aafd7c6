"""A proxy on loopback that delays each direction, and counts the round trips of what goes through.

A round trip is counted by cause, not by time: bytes of the client come after all that had reached
it before, bytes of the server after all that had reached that. So a slow machine counts the same,
and bytes for which nobody waits, such as the client's good-bye, count nothing.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Direction:
    """Bytes on their way from one side to the other, each piece with its time and its number.

    `arrived` is the highest number of what reached the other side.
    """

    source: socket.socket
    sink: socket.socket
    pieces: deque[tuple[float, bytes, int]] = field(default_factory=deque)
    arrived: int = 0
    ended: bool = False

    def deliver(self) -> None:
        """Passes on what is due."""
        while self.pieces and self.pieces[0][0] <= time.monotonic():
            _, data, number = self.pieces.popleft()
            self.arrived = max(self.arrived, number)
            with contextlib.suppress(OSError):
                self.sink.sendall(data)
                if not data:
                    self.sink.shutdown(socket.SHUT_WR)


@dataclass
class Delay:
    """A proxy for one connection at a time. `round_trips` are those of the last one, with the one
    of the TCP connection itself.
    """

    port: int
    round_trips: int = 0
    first_write: int = 0

    def carry(self, client: socket.socket, server: socket.socket, seconds: float) -> None:
        """Carries one connection to its end."""
        # The server greets as soon as it has the connection, which the client's first flight, the
        # ACK, makes: what it sends before anything of the client's is the answer to that.
        up, down = Direction(client, server, arrived=1), Direction(server, client)
        self.round_trips, self.first_write = 1, 0
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, up)
            selector.register(server, selectors.EVENT_READ, down)
            while not (up.ended and down.ended and not up.pieces and not down.pieces):
                due = [one.pieces[0][0] for one in (up, down) if one.pieces]
                wait = max(min(due, default=time.monotonic() + 10) - time.monotonic(), 0)
                for key, _ in selector.select(wait):
                    one: Direction = key.data
                    data = b""
                    with contextlib.suppress(OSError):
                        data = one.source.recv(1 << 20)
                    if not data:
                        one.ended = True
                        selector.unregister(one.source)
                    if one is up:
                        number = down.arrived + 1
                        self.first_write = self.first_write or len(data)
                    else:
                        number = up.arrived
                        if data:
                            self.round_trips = max(self.round_trips, number + 1)
                    one.pieces.append((time.monotonic() + seconds, data, number))
                up.deliver()
                down.deliver()


@contextlib.contextmanager
def delaying(port: int, seconds: float = 0.005) -> Iterator[Delay]:
    """Yields a proxy to a port of loopback; each direction takes `seconds`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Delay(listener.getsockname()[1])

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, socket.create_connection(("127.0.0.1", port)) as server:
                        for one in (client, server):
                            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        proxy.carry(client, server, seconds)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield proxy
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)
            assert not thread.is_alive()
