"""SSH's transport layer (RFC 4253) as a client: greeting, key exchange, and then messages out and
in.

Rules: paramiko's protocol code is driven from the calling thread, message by message; its own
thread is never started. So a deadline ends everything, nothing can leak, and a connection costs a
third of the CPU. paramiko's internals are named in this file only. Whatever a hostile host makes
paramiko raise becomes `LinkError`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
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
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
    MSG_UNIMPLEMENTED,
)

from fleetaudit.model import SshConfig
from fleetaudit.text.sanitize import printable_line, quote_line

from .link import Link, LinkError
from .packet_stream import PacketStream

# Hosts can make paramiko log tracebacks; what a person needs to know is in the reason.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_LINE_MAX, _LINES_MAX = 1024, 200  # of what a host says before its greeting
_FIRST_KEX, _LAST_KEX = 30, 41  # message numbers that belong to the key exchange's own method
_BY_APPLICATION = 11  # SSH_DISCONNECT_BY_APPLICATION


class Session:
    """One connection. `stream.until` is the moment by which whatever is called next must be done."""

    def __init__(self, link: Link, config: SshConfig | None = None) -> None:
        self.stream = PacketStream(link, self._look)
        # Typed Any on purpose: these are paramiko's internals, and nobody types them.
        self._engine = cast(Any, paramiko.Transport)(
            _NoSocket(), packetizer_class=lambda _: self.stream
        )
        self._config = config or SshConfig()
        self._unanswered = 0
        self.beside: Callable[[], None] = nothing
        """Is called from time to time while the session waits: whatever runs inside of it has its
        turn.
        """
        self.signature_algorithms: tuple[str, ...] | None = None
        """What the host says that it accepts of a user's key (RFC 8308), None where it says
        nothing.
        """

    # -- greeting and keys
    # -----------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Exchanges the version lines; raises `LinkError`."""
        self.stream.write_all(f"{self._engine.local_version}\r\n".encode())
        said: list[str] = []
        try:
            for _ in range(_LINES_MAX):
                line = self.stream.read_line(_LINE_MAX)
                if line.startswith(b"SSH-"):
                    break
                said.append(printable_line(line, 100))
            else:
                raise LinkError("garbled", f"no SSH greeting in its first {_LINES_MAX} lines")
        except LinkError as e:
            said.append(printable_line(self.stream.said(), 100))
            raise LinkError(e.kind, e.text + quote_line(" ".join(said), "; it said ")) from e
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
            raise LinkError("garbled", f"it speaks another version of SSH: {quote_line(line)}")
        with _hostile():
            self._engine.remote_version = line.decode()

    def agree_on_keys(self, preferred: Sequence[str]) -> tuple[str, bytes]:
        """Returns the type and the raw blob of the host key that signed the exchange; raises
        `LinkError`.

        `preferred` are host key algorithms to ask for first; those that are not supported are
        passed over.
        """
        engine = self._engine
        self._restrict()
        ours = engine.get_security_options().key_types
        first = [a for a in preferred if a in ours]
        engine.get_security_options().key_types = (*first, *(a for a in ours if a not in first))
        with _hostile():
            engine._send_kex_init()
        engine._expect_packet(MSG_KEXINIT)
        while not engine.initial_kex_done:
            ptype, _ = self._next()
            if ptype is not None:
                raise LinkError("garbled", f"message {ptype} in the middle of the key exchange")
        key: paramiko.PKey = engine.host_key
        return key.get_name(), key.asbytes()

    @property
    def id(self) -> bytes:
        """Returns the session identifier, which a user's signature covers."""
        return bytes(self._engine.session_id)

    def _restrict(self) -> None:
        """Takes of the algorithms those that ssh_config lists, in its order; raises `LinkError` where
        none is left.
        """
        options, config = self._engine.get_security_options(), self._config
        for keyword, name, wanted in (
            ("Ciphers", "ciphers", config.ciphers),
            ("MACs", "digests", config.macs),
            ("KexAlgorithms", "kex", config.key_exchanges),
            ("HostKeyAlgorithms", "key_types", config.host_key_algorithms),
        ):
            if wanted is None:
                continue
            known = getattr(options, name)
            both = tuple(algorithm for algorithm in map(_spelled, wanted) if algorithm in known)
            if not both:
                lists = (
                    f"ssh_config says {printable_line(','.join(wanted))}, the built-in client knows"
                    f" {','.join(known)}"
                )
                raise LinkError("garbled", f"no algorithm in common for {keyword}: {lists}")
            setattr(options, name, tuple(dict.fromkeys(both)))

    @property
    def negotiating(self) -> bool:
        """Whether keys are being agreed on, when nothing else may be sent (RFC 4253, section 7.1)."""
        return bool(self._engine._expected_packet) or not self._engine.initial_kex_done

    def _look(self) -> None:
        """Asks a host that has been silent for a sign of life, as ServerAliveInterval says; raises
        `LinkError`.
        """
        interval, silent = self._config.alive_interval_s, time.monotonic() - self.stream.heard
        if interval and silent < interval:
            self._unanswered = 0
        elif interval and silent >= interval * (self._unanswered + 1) and not self.negotiating:
            if self._unanswered >= self._config.alive_count:
                raise LinkError(
                    "dropped",
                    f"silent for {silent:.0f} s, {self._unanswered} keepalives went unanswered",
                )
            self._unanswered += 1
            message = (
                Message().add_byte(bytes([MSG_GLOBAL_REQUEST])).add_string("keepalive@openssh.com")
            )
            self.send(message.add_boolean(True))
        self.beside()

    # -- messages
    # --------------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Puts a message on its way; it leaves with the next `receive`."""
        with _hostile():
            self.stream.send_message(message)

    def receive(self) -> tuple[int, Message]:
        """Returns the next message that is not the transport layer's own; raises `LinkError`.

        Where the host asks for new keys, that exchange is gone through to its end in here, so that
        no caller can send anything in its midst (RFC 4253, section 7.1).
        """
        while True:
            ptype, message = self._next()
            if ptype is not None:
                return ptype, message

    def disconnect(self) -> None:
        """Says good-bye, without waiting for anything."""
        bye = Message().add_byte(bytes([MSG_DISCONNECT])).add_int(_BY_APPLICATION)
        with contextlib.suppress(LinkError):
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
                raise LinkError("disconnected", printable_line(message.get_binary()))
            if engine._expected_packet:
                if ptype not in engine._expected_packet:
                    raise LinkError(
                        "garbled", f"message {ptype} where {engine._expected_packet} was due"
                    )
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
            elif ptype not in (MSG_UNIMPLEMENTED, MSG_REQUEST_SUCCESS, MSG_REQUEST_FAILURE):
                return ptype, message
        return None, message

    def _negotiate(self, message: Message) -> None:
        try:
            self._engine._negotiate_keys(message)
        except paramiko.ssh_exception.IncompatiblePeer as e:
            # Names alone tell a person what is missing: ssh-rsa only, group1 only, arcfour only.
            message.rewind()
            message.get_bytes(16)
            kex, keys = (printable_line(message.get_binary(), 200) for _ in range(2))
            raise LinkError(
                "garbled",
                f"{printable_line(str(e))}; it offers the key exchanges {kex} and the host keys {keys}",
            ) from e

    def _extensions(self, message: Message) -> None:
        count = message.get_int()
        # Not as many as it claims: as many as there are.
        while count and message.get_remainder():
            count -= 1
            name, value = message.get_binary(), message.get_binary()
            if name == b"server-sig-algs":
                self.signature_algorithms = tuple(value.decode("ascii", "replace").split(","))


class _NoSocket:
    """What paramiko is given in the place of a socket, and sets a timeout of."""

    def settimeout(self, seconds: float) -> None:
        """Does nothing: the link knows its deadline."""


def _spelled(algorithm: str) -> str:
    """Returns an algorithm by the name that paramiko has for it: one of them has two."""
    return "curve25519-sha256@libssh.org" if algorithm == "curve25519-sha256" else algorithm


def nothing() -> None:
    """Does nothing while a session waits."""


@contextlib.contextmanager
def _hostile() -> Iterator[None]:
    """Turns whatever paramiko raises over a host's bytes into `LinkError`: no two of its parsers raise
    the same.
    """
    try:
        yield
    except LinkError:
        raise
    except Exception as e:
        raise LinkError(
            "garbled", printable_line(f"{type(e).__name__}: {e}" if str(e) else type(e).__name__)
        ) from e
