"""The process with the servers of one case: python -m tests.hostile.faults.serve HOST_KEY

Each line of stdin has names of faults, with tabs. A server with each, and a good one, then listen,
and their ports are printed; those of the line before are closed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
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
    good, bad = Listener(scripts[RUNS_WELL.name], key), list[Listener]()
    for line in sys.stdin:
        for listener in bad:
            listener.close()
        bad = [Listener(scripts[name], key) for name in line.rstrip("\n").split("\t")]
        print(*(listener.port for listener in bad), good.port, flush=True)


@contextlib.contextmanager
def serving(key_file: Path, names: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Yields the ports of servers with these faults, in a process, and of a good one."""
    with process("serve", str(key_file)) as servers:
        yield tuple(map(int, ask(servers, "\t".join(names)).split()))


@contextlib.contextmanager
def process(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Yields a process of a module of this package, which ends with its stdin."""
    words = [sys.executable, "-m", f"tests.hostile.faults.{module}", *arguments]
    started = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def ask(server: subprocess.Popen[str], line: str) -> str:
    """Returns the line that a process answers a line with."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(line + "\n")
    server.stdin.flush()
    return server.stdout.readline()


if __name__ == "__main__":
    main(sys.argv[1])
