"""A small HTTP server that refuses large bodies: one loses the answer, the other one does not."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator

IDLE_S = 1.5


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Refuses each POST before its body is read, and closes at once."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    drains = False

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        self._answer(413)
        self.close_connection = True

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Logs nothing."""

    def finish(self) -> None:
        super().finish()
        if self.drains:
            self._drain()

    def _drain(self) -> None:
        """Closes in stages (RFC 9112, section 9.6)."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self.connection.recv(1 << 20):
                pass


class _Draining(_Refusing):
    drains = True


@contextlib.contextmanager
def refusing_server(*, drains: bool, port: int = 0) -> Iterator[int]:
    """Runs a server that refuses large bodies, and yields its port; without `drains` its clients
    lose the answer.
    """
    handler = _Draining if drains else _Refusing
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
