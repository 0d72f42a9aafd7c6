"""The user's ssh-agent: the keys it has, and signatures by them, under a deadline.

Rules: keys are raw blobs, never parsed, so that hardware keys and certificates work as well. One
connection for each request; an agent that stalls costs at most its deadline. Protocol:
draft-miller-ssh-agent.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from fleetaudit.transport import Deadline, waiting

_IDENTITIES, _IDENTITIES_ANSWER, _SIGN, _SIGN_RESPONSE = 11, 12, 13, 14
_ANSWER_MAX = 256 * 1024  # bytes; OpenSSH's own bound
_QUEUE_FULL_S = 0.02  # until an agent with a full queue is asked again: nothing wakes us then
_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


class AgentError(Exception):
    """The agent cannot be reached, or refuses; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent behind one socket."""

    path: str

    @classmethod
    def of_user(cls) -> Agent | None:
        """Returns the agent that SSH_AUTH_SOCK names, or None."""
        path = os.environ.get("SSH_AUTH_SOCK", "")
        return cls(path) if path else None

    def keys(self, deadline: Deadline) -> list[tuple[bytes, str]]:
        """Returns (blob, comment) of each key, at most 4096; raises `AgentError`.

        What an answer that is cut short lacks reads as blobs and comments that are short or empty.
        """
        answer = self._request(bytes([_IDENTITIES]), _IDENTITIES_ANSWER, deadline)
        reader = Reader(answer)
        return [
            (reader.string(), reader.string().decode("utf-8", "replace"))
            for _ in range(min(reader.number(), 4096))
        ]

    def sign(self, blob: bytes, data: bytes, algorithm: str, deadline: Deadline) -> bytes:
        """Returns the signature in SSH's encoding; raises `AgentError`.

        `blob` is the key or the certificate. For an RSA key, `algorithm` chooses the hash:
        rsa-sha2-256 or rsa-sha2-512, with or without the ending of a certificate.
        """
        flags = _FLAGS.get(algorithm.removesuffix("-cert-v01@openssh.com"), 0)
        request = bytes([_SIGN]) + string(blob) + string(data) + flags.to_bytes(4, "big")
        return Reader(self._request(request, _SIGN_RESPONSE, deadline)).string()

    def _request(self, request: bytes, expected: int, deadline: Deadline) -> bytes:
        """Returns the answer to one request, without its type; raises `AgentError`."""
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.setblocking(False)
                _connect(sock, self.path, deadline)
                _send(sock, string(request), deadline)
                size = int.from_bytes(_exactly(sock, 4, deadline), "big")
                if not 0 < size <= _ANSWER_MAX:
                    raise AgentError(f"the agent at {self.path} answers with {size} bytes")
                answer = _exactly(sock, size, deadline)
        except TimeoutError as e:
            raise AgentError(f"the agent at {self.path} does not answer") from e
        except OSError as e:
            raise AgentError(
                f"the agent at {self.path} cannot be reached: {e.strerror or e}"
            ) from e
        if answer[0] != expected:
            raise AgentError(f"the agent at {self.path} refuses")
        return answer[1:]


def _connect(sock: socket.socket, path: str, deadline: Deadline) -> None:
    """Connects a socket to the agent, again while its queue is full; raises `OSError`."""
    while True:
        try:
            sock.connect(path)
            return
        except BlockingIOError:
            _check(deadline)
            waiting.sleep(deadline.within(_QUEUE_FULL_S))


def _send(sock: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Sends all of the data; raises `OSError`."""
    while data:
        _wait(sock, waiting.WRITE, deadline)
        data = data[sock.send(data) :]


def _wait(sock: socket.socket, events: int, deadline: Deadline) -> None:
    """Waits until a socket is ready; raises `TimeoutError` at the deadline."""
    while not waiting.wait_for({sock.fileno(): events}, deadline):
        _check(deadline)


def _check(deadline: Deadline) -> None:
    """Raises `TimeoutError` at the deadline."""
    if not deadline.remaining():
        raise TimeoutError


def _exactly(sock: socket.socket, n: int, deadline: Deadline) -> bytes:
    """Reads `n` bytes; raises `OSError`."""
    data = bytearray()
    while len(data) < n:
        _wait(sock, waiting.READ, deadline)
        part = sock.recv(n - len(data))
        if not part:
            raise OSError("it hung up")
        data += part
    return bytes(data)


def string(data: bytes) -> bytes:
    """Returns the bytes as an SSH string: after their number in four bytes, the highest first."""
    return len(data).to_bytes(4, "big") + data


class Reader:
    """Reads SSH's encoding; what is missing at the end reads as empty or 0."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        """Returns the next four bytes as a number."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Returns the next string."""
        return self.take(self.number())

    def take(self, n: int) -> bytes:
        """Returns the next `n` bytes, fewer at the end."""
        data = self._data[self._at : self._at + n]
        self._at += n
        return data
