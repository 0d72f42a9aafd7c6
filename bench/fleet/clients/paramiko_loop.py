"""A prototype: paramiko's protocol objects, whose threads are never started, in one epoll loop.

With AES-GCM the length of a packet is readable, so a message is read once it is there as a whole.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Generator
from typing import Any, cast

import paramiko
from paramiko.message import Message
from paramiko.packet import Packetizer

from . import Job, Replies, host_keys, job, poll

WINDOW, PACKET = 0x7FFFFFFF, 32_768
Received = Generator[None, None, tuple[int, Message]]


class Stream(Packetizer):
    """paramiko's packet layer over the bytes of the loop."""

    def __init__(self, wire: poll.Wire) -> None:
        super().__init__(cast(Any, wire.socket))
        self.wire = wire

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        data = bytes(self.wire.came[:n])
        del self.wire.came[:n]
        return data

    def write_all(self, out: Any) -> None:
        self.wire.out += out


class NoSocket:
    def settimeout(self, seconds: float) -> None:
        pass


class Client:
    """What is equal for all hosts, and the conversation with one."""

    def __init__(self, found: Job) -> None:
        self.job = found
        self.replies = Replies(found)
        self.known = {a: b64decode(key.split()[1]) for a, key in host_keys(found).items()}
        self.key = paramiko.Ed25519Key.from_private_key_file(found.key)

    def converse(self, wire: poll.Wire) -> poll.Conversation:
        stream = Stream(wire)
        engine = cast(Any, paramiko.Transport)(NoSocket(), packetizer_class=lambda _: stream)
        options = engine.get_security_options()
        options.kex = ("curve25519-sha256@libssh.org",)
        options.ciphers = ("aes128-gcm@openssh.com",)
        options.key_types = ("ssh-ed25519",)
        wire.out += f"{engine.local_version}\r\n".encode()
        while (end := wire.came.find(b"\n")) < 0:
            yield
        engine.remote_version = bytes(wire.came[:end]).decode().rstrip("\r")
        del wire.came[: end + 1]
        engine._send_kex_init()
        engine._expect_packet(20)
        while not engine.initial_kex_done:
            yield from self.receive(engine, stream, handled=True)
        if engine.host_key.asbytes() != self.known[wire.address]:
            raise ValueError("unknown host key")
        yield from self.log_in(engine, stream)
        reply = yield from self.run(engine, stream)
        stream.send_message(Message(b"\x01" + struct.pack(">I", 11) + bytes(8)))
        self.replies.add(wire.address, reply)

    def receive(self, engine: Any, stream: Stream, *, handled: bool = False) -> Received:
        """Returns the next message that is not the transport layer's own; with `handled` any."""
        came = stream.wire.came
        while True:
            tag = 16 if engine.initial_kex_done else 0
            while len(came) < 4 or len(came) < int.from_bytes(came[:4], "big") + 4 + tag:
                yield
            kind, message = stream.read_message()
            if engine._expected_packet and 30 <= kind <= 41:
                engine._expected_packet = ()
                engine.kex_engine.parse_next(kind, message)
            elif kind == 20:
                engine._negotiate_keys(message)
            elif kind == 21:
                engine._parse_newkeys(message)
            elif kind not in {2, 4, 7, 53, 80}:
                return kind, message
            if handled:
                return kind, message

    def expect(self, engine: Any, stream: Stream, kind: int) -> Received:
        while True:
            found, message = yield from self.receive(engine, stream)
            if found == kind:
                return found, message
            if found in {1, 51, 92}:
                raise ValueError(f"message {found} where {kind} was due")

    def log_in(self, engine: Any, stream: Stream) -> poll.Conversation:
        service = Message().add_byte(b"\x05").add_string("ssh-userauth")
        stream.send_message(service)
        request = Message().add_byte(b"\x32").add_string(self.job.user)
        request.add_string("ssh-connection").add_string("publickey").add_boolean(True)
        request.add_string("ssh-ed25519").add_string(self.key.asbytes())
        signed = Message().add_string(engine.session_id).asbytes() + request.asbytes()
        request.add_string(self.key.sign_ssh_data(signed).asbytes())
        stream.send_message(request)
        yield from self.expect(engine, stream, 52)
        engine._auth_trigger()

    def run(self, engine: Any, stream: Stream) -> Generator[None, None, bytes]:
        """Returns all that the command prints."""
        opening = Message().add_byte(b"\x5a").add_string("session")
        stream.send_message(opening.add_int(0).add_int(WINDOW).add_int(PACKET))
        yield from self.expect(engine, stream, 91)
        command = Message().add_byte(b"\x62").add_int(0).add_string("exec").add_boolean(False)
        stream.send_message(command.add_string(self.job.command))
        yield from self.expect(engine, stream, 93)
        for at in range(0, len(self.job.stdin), PACKET):
            data = Message().add_byte(b"\x5e").add_int(0)
            stream.send_message(data.add_string(self.job.stdin[at : at + PACKET]))
        stream.send_message(Message().add_byte(b"\x60").add_int(0))
        reply = bytearray()
        while (found := (yield from self.receive(engine, stream)))[0] != 97:
            if found[0] == 94:
                found[1].get_int()
                reply += found[1].get_binary()
        return bytes(reply)


def main() -> None:
    found = job()
    client = Client(found)
    poll.run(found.addresses, found.port, found.forks, client.converse)
    client.replies.write()


if __name__ == "__main__":
    main()
