"""A relay that cuts conversations: python -m tests.hostile.faults.cutting_relay PORT HOW FIRST STEP

Prints its own port. Connection n is cut after FIRST + n * STEP bytes from the server, with a FIN or
a RST, as HOW says.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import threading

from .server import CHUNK, RESET


def relay(client: socket.socket, port: int, limit: int, how: str) -> None:
    """Copies both ways, up to `limit` bytes to the client, and then cuts."""
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        up = threading.Thread(target=_copy_up, args=(client, server), daemon=True)
        up.start()
        with contextlib.suppress(OSError):
            while limit > 0 and (data := server.recv(min(CHUNK, limit))):
                client.sendall(data)
                limit -= len(data)
            if how == "RST" and limit == 0:  # a RST after the end might overtake the last data
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                # The other thread has the socket open as long as it reads: close() sends nothing.
                client.shutdown(socket.SHUT_RD)
                up.join()
            else:
                client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _copy_up(client: socket.socket, server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := client.recv(CHUNK):
            server.sendall(data)


def main(port: int, how: str, first: int, step: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        for limit in itertools.count(first, step):
            client, _ = listener.accept()
            relay(client, port, limit, how)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
