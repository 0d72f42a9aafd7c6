"""SSH's transport layer (RFC 4253) as a client: greeting, key exchange, and then messages out and in.

Rules: paramiko's protocol code is driven from the calling thread, message by message; its own thread is never started.
So a deadline ends everything, nothing can leak, and a connection costs a third of the CPU. paramiko's internals are
named in this file only. Whatever a hostile host makes paramiko raise becomes `Broken`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any, cast

import paramiko
from paramiko import Message
from paramiko.common import (
    MSG_CHANNEL_OPEN,
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_EXT_INFO,
    MSG_GLOBAL_REQUEST,
    MSG_IGNORE,
    MSG_KEXINIT,
    MSG_NEWKEYS,
    MSG_UNIMPLEMENTED,
)

from ..words import clean, quoted
from .stream import Broken, Stream

# Hosts can make paramiko log tracebacks; what a person needs to know is in the reason.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_LINE_MAX, _LINES_MAX = 1024, 200  # of what a host says before its greeting
_FIRST_KEX, _LAST_KEX = 30, 41  # message numbers that belong to the key exchange's own method
_BY_APPLICATION = 11  # SSH_DISCONNECT_BY_APPLICATION


class Session:
    """One connection. `stream.until` is the moment by which whatever is called next must be done."""

    def __init__(self, sock: socket.socket) -> None:
        # Typed Any on purpose: these are paramiko's internals, and nobody types them.
        self._engine = cast(Any, paramiko.Transport(sock, packetizer_class=Stream))
        sock.setblocking(False)  # paramiko gives its socket a timeout
        self.stream: Stream = self._engine.packetizer
        self.signature_algorithms: tuple[str, ...] | None = None
        """What the host says that it accepts of a user's key (RFC 8308), None where it says nothing."""

    # -- greeting and keys -----------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Exchanges the version lines; raises `Broken`."""
        self.stream.write_all(f"{self._engine.local_version}\r\n".encode())
        said: list[str] = []
        try:
            for _ in range(_LINES_MAX):
                line = self.stream.read_line(_LINE_MAX)
                if line.startswith(b"SSH-"):
                    break
                said.append(clean(line, 100))
            else:
                raise Broken("garbled", f"no SSH greeting in its first {_LINES_MAX} lines")
        except Broken as e:
            said.append(clean(self.stream.said(), 100))
            raise Broken(e.kind, e.text + quoted(" ".join(said), "; it said ")) from e
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
            raise Broken("garbled", f"it speaks another version of SSH: {quoted(line)}")
        with _hostile():
            self._engine.remote_version = line.decode()

    def agree_on_keys(self, preferred: Sequence[str]) -> tuple[str, bytes]:
        """Returns the type and the raw blob of the host key that signed the exchange; raises `Broken`.

        `preferred` are host key algorithms to ask for first; those that are not supported are passed over.
        """
        engine = self._engine
        ours = engine.get_security_options().key_types
        first = [a for a in preferred if a in ours]
        engine.get_security_options().key_types = (*first, *(a for a in ours if a not in first))
        with _hostile():
            engine._send_kex_init()
        engine._expect_packet(MSG_KEXINIT)
        while not engine.initial_kex_done:
            ptype, _ = self._next()
            if ptype is not None:
                raise Broken("garbled", f"message {ptype} in the middle of the key exchange")
        key: paramiko.PKey = engine.host_key
        return key.get_name(), key.asbytes()

    @property
    def id(self) -> bytes:
        """Returns the session identifier, which a user's signature covers."""
        return bytes(self._engine.session_id)

    # -- messages --------------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Puts a message on its way; it leaves with the next `receive`."""
        with _hostile():
            self.stream.send_message(message)

    def receive(self) -> tuple[int, Message]:
        """Returns the next message that is not the transport layer's own; raises `Broken`.

        Where the host asks for new keys, that exchange is gone through to its end in here, so that no caller can send
        anything in its midst (RFC 4253, section 7.1).
        """
        while True:
            ptype, message = self._next()
            if ptype is not None:
                return ptype, message

    def disconnect(self) -> None:
        """Says good-bye, without waiting for anything."""
        bye = Message().add_byte(bytes([MSG_DISCONNECT])).add_int(_BY_APPLICATION)
        with contextlib.suppress(Broken):
            self.send(bye.add_string("done").add_string(""))
        self.stream.part()

    def _next(self) -> tuple[int | None, Message]:
        """Returns the next message, its type None where it was dealt with here."""
        engine = self._engine
        with _hostile():
            ptype, message = self.stream.read_message()
            if ptype in (MSG_IGNORE, MSG_DEBUG):
                engine._enforce_strict_kex(ptype)
                return None, message
            if ptype == MSG_DISCONNECT:
                message.get_int()  # the code; hosts put it in words, too
                raise Broken("disconnected", clean(message.get_binary()))
            if engine._expected_packet:
                if ptype not in engine._expected_packet:
                    raise Broken("garbled", f"message {ptype} where {engine._expected_packet} was due")
                engine._expected_packet = ()
                if _FIRST_KEX <= ptype <= _LAST_KEX:
                    engine.kex_engine.parse_next(ptype, message)
                    return None, message
            if ptype == MSG_KEXINIT:
                self._negotiate(message)
            elif ptype == MSG_NEWKEYS:
                engine._parse_newkeys(message)
            elif ptype == MSG_EXT_INFO:
                self._extensions(message)
            elif ptype == MSG_GLOBAL_REQUEST:
                engine._parse_global_request(message)  # a client refuses them all
            elif ptype == MSG_CHANNEL_OPEN:
                engine._parse_channel_open(message)  # and these
            elif ptype != MSG_UNIMPLEMENTED:
                return ptype, message
        return None, message

    def _negotiate(self, message: Message) -> None:
        try:
            self._engine._negotiate_keys(message)
        except paramiko.ssh_exception.IncompatiblePeer as e:
            # Names alone tell a person what is missing: ssh-rsa only, group1 only, arcfour only.
            message.rewind()
            message.get_bytes(16)
            kex, keys = (clean(message.get_binary(), 200) for _ in range(2))
            raise Broken(
                "garbled", f"{clean(str(e))}; it offers the key exchanges {kex} and the host keys {keys}"
            ) from e

    def _extensions(self, message: Message) -> None:
        count = message.get_int()
        # Not as many as it claims: as many as there are.
        while count and message.get_remainder():
            count -= 1
            name, value = message.get_binary(), message.get_binary()
            if name == b"server-sig-algs":
                self.signature_algorithms = tuple(value.decode("ascii", "replace").split(","))


@contextlib.contextmanager
def _hostile() -> Iterator[None]:
    """Turns whatever paramiko raises over a host's bytes into `Broken`: no two of its parsers raise the same."""
    try:
        yield
    except Broken:
        raise
    except Exception as e:
        raise Broken("garbled", clean(f"{type(e).__name__}: {e}" if str(e) else type(e).__name__)) from e
