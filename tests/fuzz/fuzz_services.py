"""What services answer to the probe, URLs from a playbook, and cgroups of programs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from fleetaudit.probe.remote.owners import parse_cgroup
    from fleetaudit.probe.remote.service_capture import ServiceCapture
    from fleetaudit.probe.remote.service_client import ServiceClient
    from fleetaudit.probe.remote.service_http import says_close, server_of
    from fleetaudit.probe.remote.service_target import CannotAsk, Target

LISTENER = socket.create_server(("127.0.0.1", 0))
SERVICE = {"address": "127.0.0.1", "port": LISTENER.getsockname()[1], "method": "POST"}
URL = f"http://127.0.0.1:{SERVICE['port']}/"
ID = "0123456789abcdef" * 4
WORDS = (
    "HTTP/1.1 ", "HTTP/1.1 100 Continue\r\n\r\n", " 413", "\r\n", "Server: ", "Connection: close",
    "http://", "https://", "/system.slice/", ".service", ".scope", "docker-", "kubepods", ID,
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Answers a client of the probe with the bytes, and reads them as a URL and as a cgroup."""
    text = data.decode("utf-8", "replace")
    assert len(parse_cgroup(text)) <= 256
    with contextlib.suppress(CannotAsk):
        target = Target({**SERVICE, "url": text.replace("https", "http")})
        assert target.path.startswith("/") is target.is_http
        assert target.path.isascii()
        assert not set(target.path + target.host) & set("\r\n ")
    _answer(data[:60_000])


def _answer(data: bytes) -> None:
    """Sends bytes to a client, and holds what it saw against what a reply may have."""
    client = ServiceClient(Target({**SERVICE, "url": URL}), 5.0, ServiceCapture(""))
    with LISTENER.accept()[0] as server:
        server.sendall(data)
    client.read_answer()
    seen = client.seen("", 0)
    client.close()
    assert client.received == len(data)
    assert (seen["ending"], 0 <= seen["status"] <= 999) == ("FIN", True)
    assert bool(seen["status"]) != bool(seen["error"])
    assert len(server_of(client.head)) <= 200
    assert says_close(client.head) in (True, False)


def seeds() -> Iterable[bytes]:
    """Yields answers, a URL and cgroups."""
    yield b"HTTP/1.1 413 No\r\nServer: nginx\r\nConnection: close\r\n\r\nno"
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\n\n"
    yield b"SSH-2.0-OpenSSH\r\n"
    yield b""
    yield b"http://www.example.org:8080/a?b=1"
    yield b"0::/system.slice/nginx.service\n"
    yield f"12:cpu:/kubepods/besteffort/pod1/{ID}\n1:name=systemd:/docker/{ID}\n".encode()
    yield b"0::/lxc.payload.web/init.scope\n"


if __name__ == "__main__":
    fuzz(TestOneInput)
