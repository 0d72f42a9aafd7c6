"""An SSH server that shows any bytes as its host key, and other ones at a rekey.

paramiko's server on a real socket; each connection gets its own thread and ends with the client.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
from paramiko import Message

from fleetaudit.transport.ssh_fields import string_of

SUFFIX = b"-cert-v01@openssh.com"
FOREVER = 2**64 - 1


class Shown(paramiko.PKey):
    """A key that shows `blob` and signs with `key`."""

    def __init__(self, key: paramiko.PKey, blob: bytes, name: str) -> None:
        self._key, self._blob, self._name = key, blob, name

    def get_name(self) -> str:
        return self._name

    def asbytes(self) -> bytes:
        return self._blob

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Message:
        return self._key.sign_ssh_data(data)


def load(path: Path) -> paramiko.Ed25519Key:
    """Returns the key in a file."""
    return paramiko.Ed25519Key.from_private_key_file(str(path))


def certificate(key: paramiko.PKey, signer: paramiko.PKey, **changes: Any) -> bytes:
    """Returns a certificate of an Ed25519 key, right except for the changes to its fields."""
    fields: dict[str, Any] = {
        "principals": (b"127.0.0.1",),
        "kind": 2,
        "critical": b"",
        "authority": signer.asbytes(),
        "after": b"",
        **changes,
    }
    signed = Message()
    signed.add_string(b"ssh-ed25519" + SUFFIX).add_string(b"a nonce")
    signed.add_string(key.asbytes()[-32:]).add_int64(1).add_int(fields["kind"])
    signed.add_string(b"web1").add_string(b"".join(map(string_of, fields["principals"])))
    signed.add_int64(0).add_int64(FOREVER)
    for text in (fields["critical"], b"", b"", fields["authority"]):
        signed.add_string(text)
    body = signed.asbytes()
    signature = signer.sign_ssh_data(body)
    return body + string_of(signature.asbytes()) + bytes(fields["after"])


def plain(key: paramiko.PKey) -> Shown:
    """Returns what shows the key itself."""
    return Shown(key, key.asbytes(), "ssh-ed25519")


def certified(key: paramiko.PKey, blob: bytes) -> Shown:
    """Returns what shows a certificate, and signs with the key."""
    return Shown(key, blob, (b"ssh-ed25519" + SUFFIX).decode())


def _pump(receive: Callable[[int], bytes], send: Callable[[bytes], None]) -> None:
    """Sends what comes in, up to the end."""
    with contextlib.suppress(OSError):
        while data := receive(65536):
            send(data)


class _Login(paramiko.ServerInterface):
    """Lets everybody in, and prints "in" after a rekey with the second key, if there is one."""

    def __init__(self, transport: paramiko.Transport, rekey: Shown | None) -> None:
        self._transport, self._rekey = transport, rekey

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        """Opens a connection to a host behind, and agrees on keys again in its midst."""
        threading.Thread(target=self._forward, args=(destination,), daemon=True).start()
        return paramiko.common.OPEN_SUCCEEDED

    def _forward(self, destination: tuple[str, int]) -> None:
        channel = self._transport.accept()
        assert channel
        with socket.create_connection(destination) as behind, contextlib.suppress(OSError):
            back = threading.Thread(target=_pump, args=(channel.recv, behind.sendall), daemon=True)
            back.start()
            channel.sendall(behind.recv(65536))  # its greeting, and more
            self._rekey_now()
            _pump(behind.recv, channel.sendall)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._answer, args=(channel,), daemon=True).start()
        return True

    def _rekey_now(self) -> None:
        if not self._rekey:
            return
        time.sleep(0.3)  # the answer to the request must be out
        self._transport.server_key_dict = {self._rekey.get_name(): self._rekey}
        with contextlib.suppress(Exception):  # a client that refuses ends the connection
            self._transport.renegotiate_keys()

    def _answer(self, channel: paramiko.Channel) -> None:
        self._rekey_now()
        with contextlib.suppress(Exception):  # a client that refused has ended the connection
            channel.sendall(b"in\n")
            channel.send_exit_status(0)
            channel.close()


@contextlib.contextmanager
def odd_server(key: Shown, rekey: Shown | None = None) -> Iterator[int]:
    """Yields the port of a server that shows `key`, and `rekey` at a rekey."""
    connections: list[paramiko.Transport] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    transport = paramiko.Transport(connection)
                    transport.server_key_dict = {key.get_name(): key}
                    connections.append(transport)
                    with contextlib.suppress(Exception):  # the client refused the key
                        transport.start_server(server=_Login(transport, rekey))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)
            for transport in connections:
                transport.close()
