"""The floor: SSH by hand over `cryptography`, as little of it as a conversation with sshd needs.

One algorithm of each kind (curve25519, ssh-ed25519, aes128-gcm), no rekeying, no error messages:
not a client to use, but the cost that no client in Python gets below.
"""

from __future__ import annotations

import hashlib
import os
import struct
from base64 import b64decode
from collections.abc import Generator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import Job, Replies, host_keys, job, poll

VERSION = b"SSH-2.0-floor"
RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw
WINDOW, PACKET = 0x7FFFFFFF, 32_768
DISCONNECT = b"\x01" + struct.pack(">I", 11) + bytes(8)
TAG = 16
Payload = Generator[None, None, bytes]


def string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def strings(data: bytes, count: int) -> list[bytes]:
    """Returns the first strings of a message."""
    found, at = [], 0
    for _ in range(count):
        (length,) = struct.unpack_from(">I", data, at)
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def kexinit() -> bytes:
    names = (
        b"curve25519-sha256",
        b"ssh-ed25519",
        *(b"aes128-gcm@openssh.com",) * 2,
        *(b"hmac-sha2-256",) * 2,
        *(b"none",) * 2,
        b"",
        b"",
    )
    return b"\x14" + os.urandom(16) + b"".join(map(string, names)) + bytes(5)


class Packets:
    """SSH's packets (RFC 4253, section 6; RFC 5647), plain at first and AES-GCM after `encrypt`."""

    def __init__(self, wire: poll.Wire) -> None:
        self.wire = wire
        self.ciphers: tuple[AESGCM, AESGCM] | None = None
        self.nonces = [b"", b""]
        self.counters = [0, 0]

    def encrypt(self, keys: list[bytes], nonces: list[bytes]) -> None:
        self.ciphers = AESGCM(keys[0]), AESGCM(keys[1])
        self.nonces = [nonce[:4] for nonce in nonces]
        self.counters = [int.from_bytes(nonce[4:], "big") for nonce in nonces]

    def _nonce(self, direction: int) -> bytes:
        nonce = self.nonces[direction] + self.counters[direction].to_bytes(8, "big")
        self.counters[direction] += 1
        return nonce

    def send(self, payload: bytes) -> None:
        block, ahead = (16, 1) if self.ciphers else (8, 5)
        padding = block - (len(payload) + ahead) % block
        padding += block if padding < 4 else 0
        length = struct.pack(">I", len(payload) + padding + 1)
        body = bytes([padding]) + payload + bytes(padding)
        if self.ciphers:
            body = self.ciphers[0].encrypt(self._nonce(0), body, length)
        self.wire.out += length
        self.wire.out += body

    def receive(self) -> Payload:
        """Returns the payload of the next packet."""
        came = self.wire.came
        tag = TAG if self.ciphers else 0
        while len(came) < 4 or len(came) < int.from_bytes(came[:4], "big") + 4 + tag:
            yield
        end = int.from_bytes(came[:4], "big") + 4 + tag
        body = bytes(came[4:end])
        length = bytes(came[:4])
        del came[:end]
        if self.ciphers:
            body = self.ciphers[1].decrypt(self._nonce(1), body, length)
        return body[1 : len(body) - body[0]]

    def expect(self, kind: int) -> Payload:
        """Returns the next message of one kind, and drops others (banners, extensions, windows)."""
        while True:
            payload = yield from self.receive()
            if payload[0] == kind:
                return payload
            if payload[0] in {1, 51, 101}:
                raise ValueError(f"message {payload[0]} where {kind} was due")


class Floor:
    """What is equal for all hosts, and the conversation with one."""

    def __init__(self, found: Job) -> None:
        self.job = found
        self.replies = Replies(found)
        self.known = {a: b64decode(key.split()[1]) for a, key in host_keys(found).items()}
        key = serialization.load_ssh_private_key(Path(found.key).read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self.key = key
        self.public = string(b"ssh-ed25519") + string(key.public_key().public_bytes(*RAW))
        stdin, self.stdin = found.stdin, list[bytes]()
        for at in range(0, len(stdin), PACKET):
            head = b"\x5e" + struct.pack(">I", 0)
            self.stdin.append(head + string(stdin[at : at + PACKET]))

    def converse(self, wire: poll.Wire) -> poll.Conversation:
        packets = Packets(wire)
        session = yield from self.exchange_keys(wire, packets)
        signed = b"\x32" + b"".join(
            map(string, (self.job.user.encode(), b"ssh-connection", b"publickey"))
        )
        signed += b"\x01" + string(b"ssh-ed25519") + string(self.public)
        signature = string(b"ssh-ed25519") + string(self.key.sign(string(session) + signed))
        packets.send(b"\x05" + string(b"ssh-userauth"))
        packets.send(signed + string(signature))
        yield from packets.expect(52)
        packets.send(b"\x5a" + string(b"session") + struct.pack(">III", 0, WINDOW, PACKET))
        yield from packets.expect(91)
        command = string(b"exec") + b"\x00" + string(self.job.command.encode())
        packets.send(b"\x62" + struct.pack(">I", 0) + command)
        # The server's window is announced now; it is far larger than the request.
        yield from packets.expect(93)
        for each in self.stdin:
            packets.send(each)
        packets.send(b"\x60" + struct.pack(">I", 0))
        reply = bytearray()
        while (payload := (yield from packets.receive()))[0] != 97:
            if payload[0] == 94:
                reply += memoryview(payload)[9:]
        packets.send(DISCONNECT)
        self.replies.add(wire.address, bytes(reply))

    def exchange_keys(self, wire: poll.Wire, packets: Packets) -> Payload:
        """Returns the session identifier; the packets are encrypted then."""
        ours = kexinit()
        private = X25519PrivateKey.generate()
        public = private.public_key().public_bytes(*RAW)
        wire.out += VERSION + b"\r\n"
        packets.send(ours)
        packets.send(b"\x1e" + string(public))  # a guess at its algorithm, which cannot be wrong
        while (end := wire.came.find(b"\n")) < 0:
            yield
        version = bytes(wire.came[:end]).rstrip(b"\r")
        del wire.came[: end + 1]
        theirs = yield from packets.receive()
        answer = yield from packets.expect(31)
        host_key, host_public, signature = strings(answer[1:], 3)
        if host_key != self.known[wire.address]:
            raise ValueError("unknown host key")
        shared = private.exchange(X25519PublicKey.from_public_bytes(host_public)).lstrip(b"\0")
        secret = string((b"\0" if shared[0] & 0x80 else b"") + shared)
        parts = VERSION, version, ours, theirs, host_key, public, host_public
        digest = hashlib.sha256(b"".join(map(string, parts)) + secret).digest()
        verifier = Ed25519PublicKey.from_public_bytes(strings(host_key, 2)[1])
        verifier.verify(strings(signature, 2)[1], digest)
        packets.send(b"\x15")
        yield from packets.expect(21)

        def derive(letter: bytes, size: int) -> bytes:
            return hashlib.sha256(secret + digest + letter + digest).digest()[:size]

        packets.encrypt([derive(b"C", 16), derive(b"D", 16)], [derive(b"A", 12), derive(b"B", 12)])
        return digest


def main() -> None:
    found = job()
    floor = Floor(found)
    poll.run(found.addresses, found.port, found.forks, floor.converse)
    floor.replies.write()


if __name__ == "__main__":
    main()
