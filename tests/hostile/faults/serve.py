"""The process with the servers of one case: python -m tests.hostile.faults.serve HOST_KEY

Each line of stdin is the name of a fault. A server with it, and a good one, then listen, and their
ports are printed; those of the line before are closed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
from pathlib import Path

import paramiko

from .catalog import RUNS_WELL, faults
from .server import Script, Wire, serve


class Listener:
    """A port of loopback whose connections all get the same server."""

    def __init__(self, script: Script, key: paramiko.PKey) -> None:
        self._script, self._key = script, key
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self._open = set[socket.socket]()
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._socket.accept()
                self._open.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            serve(sock, self._script, self._key)
        finally:
            self._open.discard(sock)
            sock.close()

    def close(self) -> None:
        """Closes the port and every connection."""
        for sock in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def main(key_file: str) -> None:
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
    Wire.recordings = Path(key_file).parent.parent
    key = paramiko.Ed25519Key.from_private_key_file(key_file)
    scripts = {fault.name: fault.script for fault in (RUNS_WELL, *faults())}
    good = Listener(scripts[RUNS_WELL.name], key)
    bad = good
    for line in sys.stdin:
        if bad is not good:
            bad.close()
        bad = Listener(scripts[line.rstrip("\n")], key)
        print(bad.port, good.port, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
