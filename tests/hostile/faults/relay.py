"""A ProxyCommand: python relay.py ADDRESS PORT. Like netcat it ends with status 0."""

import contextlib
import os
import socket
import sys
import threading


def main(address: str, port: str) -> None:
    there = socket.create_connection((address, int(port)))

    def up() -> None:
        while data := os.read(0, 65536):
            there.sendall(data)
        there.shutdown(socket.SHUT_WR)

    threading.Thread(target=up, daemon=True).start()
    with contextlib.suppress(OSError):
        while data := there.recv(65536):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
