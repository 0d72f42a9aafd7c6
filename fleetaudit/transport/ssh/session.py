"""SSH's transport layer (RFC 4253) as a client: greeting, key exchange, and then messages in both
directions.

Rules: paramiko's protocol code is driven from the calling thread, message by message; its own
thread is never started. So a deadline ends everything, nothing can leak, and a connection costs a
third of the CPU. paramiko's internals are named in this file only. Whatever a hostile host makes
paramiko raise becomes `LinkError`.
"""

from __future__ import annotations

import contextlib
import logging
import math
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

from .link import Link, LinkError, Meanwhile
from .packet_stream import PacketStream

# Hosts can make paramiko log tracebacks; what a person needs to know is in the reason.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_MAX_LINE, _MAX_LINES = 1024, 200  # before the greeting of a host
_FIRST_KEX, _LAST_KEX = 30, 41  # message numbers that belong to the key exchange's own method
_BY_APPLICATION = 11  # SSH_DISCONNECT_BY_APPLICATION
_PARAMIKO_NAMES = {"curve25519-sha256": "curve25519-sha256@libssh.org"}  # RFC 8731, section 1
_NO_REPLY = (MSG_UNIMPLEMENTED, MSG_REQUEST_SUCCESS, MSG_REQUEST_FAILURE)


class Session:
    """One connection. Whatever is called next must be done by `stream.until`."""

    def __init__(self, link: Link, config: SshConfig) -> None:
        self.stream = PacketStream(link, self._while_waiting)
        # Typed Any on purpose: these are paramiko's internals, and nobody types them.
        self._engine = cast(Any, paramiko.Transport)(
            _NoSocket(), packetizer_class=lambda _: self.stream
        )
        self._config = config
        self._unanswered = 0
        self._handlers: dict[int, Callable[[Message], None]] = {
            MSG_KEXINIT: self._negotiate,
            MSG_NEWKEYS: self._engine._parse_newkeys,
            MSG_EXT_INFO: self._read_extensions,
            MSG_GLOBAL_REQUEST: self._engine._parse_global_request,  # a client refuses them all
            MSG_CHANNEL_OPEN: self._engine._parse_channel_open,  # and these
        }
        self.inner_turn: Meanwhile = do_nothing
        """Is called before each wait of the session, for the connection inside it."""
        self.signature_algorithms: tuple[str, ...] | None = None
        """The signatures that the host accepts of a user's key (RFC 8308), None if it names none.
        """

    # -- greeting and keys

    def greet(self) -> None:
        """Exchanges the version lines (RFC 4253, section 4.2).

        Raises `LinkError` if the connection ends, or the host speaks no SSH or another version.
        """
        self.stream.write_all(f"{self._engine.local_version}\r\n".encode())
        line = self._read_greeting()
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
            raise LinkError("garbled", f"it speaks a different version of SSH: {quote_line(line)}")
        with _hostile():
            self._engine.remote_version = line.decode()

    def _read_greeting(self) -> bytes:
        """Returns the version line; a host may send other lines before it."""
        before: list[str] = []
        try:
            for _ in range(_MAX_LINES):
                line = self.stream.read_line(_MAX_LINE)
                if line.startswith(b"SSH-"):
                    return line
                before.append(printable_line(line, 100))
            raise LinkError("garbled", f"no SSH greeting in its first {_MAX_LINES} lines")
        except LinkError as e:
            before.append(printable_line(self.stream.unread(), 100))
            sent = quote_line(" ".join(before), "; it sent ")
            raise LinkError(e.kind, e.text + sent) from e

    def agree_on_keys(self, preferred: Sequence[str]) -> tuple[str, bytes]:
        """Returns the type and the raw blob of the host key that signed the exchange.

        `preferred` are host key algorithms to ask for first; those that are not supported are
        ignored. Whether the key is trusted is for the caller to check. Raises `LinkError`, also if
        there is no algorithm in common (RFC 4253, section 7.1).
        """
        engine = self._engine
        self._restrict_algorithms()
        ours = engine.get_security_options().key_types
        first = [a for a in preferred if a in ours]
        engine.get_security_options().key_types = (*first, *(a for a in ours if a not in first))
        with _hostile():
            engine._send_kex_init()
        engine._expect_packet(MSG_KEXINIT)
        while not engine.initial_kex_done:
            ptype, _ = self._next()
            if ptype is not None:
                raise LinkError("garbled", f"message {ptype} during the key exchange")
        key: paramiko.PKey = engine.host_key
        return key.get_name(), key.asbytes()

    @property
    def id(self) -> bytes:
        """The session identifier, which a user's signature covers."""
        return bytes(self._engine.session_id)

    def _restrict_algorithms(self) -> None:
        """Keeps the algorithms that ssh_config lists, in its order; raises `LinkError` for none."""
        config = self._config
        for keyword, name, listed in (
            ("Ciphers", "ciphers", config.ciphers),
            ("MACs", "digests", config.macs),
            ("KexAlgorithms", "kex", config.key_exchanges),
            ("HostKeyAlgorithms", "key_types", config.host_key_algorithms),
        ):
            if listed is not None:
                self._restrict(keyword, name, listed)

    def _restrict(self, keyword: str, name: str, listed: tuple[str, ...]) -> None:
        """Restricts one kind of algorithms; raises `LinkError`."""
        options = self._engine.get_security_options()
        known = getattr(options, name)
        common = [algorithm for algorithm in map(_paramiko_name, listed) if algorithm in known]
        if not common:
            raise LinkError(
                "garbled",
                f"no algorithm in common for {keyword}: ssh_config has"
                f" {printable_line(','.join(listed))}, the built-in client knows {','.join(known)}",
            )
        setattr(options, name, tuple(dict.fromkeys(common)))

    @property
    def negotiating(self) -> bool:
        """Whether keys are being agreed on.

        Nothing else may be sent then (RFC 4253, section 7.1).
        """
        return bool(self._engine._expected_packet) or not self._engine.initial_kex_done

    def _while_waiting(self) -> float:
        """Keeps the connection, and the one inside it, alive; returns when to do that again."""
        return min(self._keep_alive(), self.inner_turn())

    def _keep_alive(self) -> float:
        """Asks a silent host for an answer, as ServerAliveInterval says; raises `LinkError`.

        Returns in how many seconds it is to be asked again.
        """
        interval = self._config.alive_interval_s
        if not interval:
            return math.inf
        silent = time.monotonic() - self.stream.last_read
        if silent < interval:
            self._unanswered = 0
        due = interval * (self._unanswered + 1)
        if silent < due:
            return due - silent
        if not self.negotiating:
            self._ask_if_alive(silent)
        return float(interval)

    def _ask_if_alive(self, silent: float) -> None:
        """Sends a keepalive; raises `LinkError` if too many of them went unanswered."""
        if self._unanswered >= self._config.alive_count:
            raise LinkError(
                "dropped",
                f"silent for {silent:.0f} s, {self._unanswered} keepalives went unanswered",
            )
        self._unanswered += 1
        request = Message().add_byte(bytes([MSG_GLOBAL_REQUEST]))
        self.send(request.add_string("keepalive@openssh.com").add_boolean(True))

    def accepts_signature(self, algorithm: str) -> bool:
        """Returns whether the host accepts a signature, as far as it names any.

        It names them in server-sig-algs (RFC 8308, section 3.1), after its first NEWKEYS.
        """
        return self.signature_algorithms is None or algorithm in self.signature_algorithms

    # -- messages

    def send(self, message: Message) -> None:
        """Queues a message; it leaves with the next `receive`. Raises `LinkError`."""
        with _hostile():
            self.stream.send_message(message)

    def receive(self) -> tuple[int, Message]:
        """Returns the next message that is not the transport layer's own; raises `LinkError`.

        If the host asks for new keys, that exchange is completed in here, so that no caller can
        send anything during it (RFC 4253, section 7.1).
        """
        while True:
            ptype, message = self._next()
            if ptype is not None:
                return ptype, message

    def disconnect(self) -> None:
        """Sends a disconnect message, without waiting for anything; raises nothing.

        The reason code is SSH_DISCONNECT_BY_APPLICATION (RFC 4253, section 11.1).
        """
        bye = Message().add_byte(bytes([MSG_DISCONNECT])).add_int(_BY_APPLICATION)
        with contextlib.suppress(LinkError):
            self.send(bye.add_string("done").add_string(""))
        self.stream.flush()

    def _next(self) -> tuple[int | None, Message]:
        """Returns the next message, its type None if it was handled here."""
        with _hostile():
            ptype, message = self.stream.read_message()
            if ptype in (MSG_IGNORE, MSG_DEBUG):
                self._engine._enforce_strict_kex(ptype)
                return None, message
            if ptype == MSG_DISCONNECT:
                message.get_int()  # the code; the text repeats it
                raise LinkError("disconnected", printable_line(message.get_binary()))
            if self._is_key_exchange(ptype):
                self._engine.kex_engine.parse_next(ptype, message)
            elif handler := self._handlers.get(ptype):
                handler(message)
            elif ptype not in _NO_REPLY:
                return ptype, message
        return None, message

    def _is_key_exchange(self, ptype: int) -> bool:
        """Returns whether a message belongs to the key exchange.

        Raises `LinkError` if another one is expected.
        """
        expected = self._engine._expected_packet
        if not expected:
            return False
        if ptype not in expected:
            raise LinkError("garbled", f"message {ptype} where {expected} was due")
        self._engine._expected_packet = ()
        return _FIRST_KEX <= ptype <= _LAST_KEX

    def _negotiate(self, message: Message) -> None:
        """Answers the host's KEXINIT; raises `LinkError` with what the host offers."""
        try:
            self._engine._negotiate_keys(message)
        except paramiko.ssh_exception.IncompatiblePeer as e:
            # Only the names show a person what is missing: ssh-rsa only, group1 only, arcfour only.
            message.rewind()
            message.get_bytes(16)
            kex, keys = (printable_line(message.get_binary(), 200) for _ in range(2))
            reason = printable_line(str(e))
            raise LinkError(
                "garbled",
                f"{reason}; it offers the key exchanges {kex} and the host keys {keys}",
            ) from e

    def _read_extensions(self, message: Message) -> None:
        """Reads the host's extensions (RFC 8308)."""
        count = message.get_int()
        # Not as many as the message claims: as many as there are.
        while count and message.get_remainder():
            count -= 1
            name, value = message.get_binary(), message.get_binary()
            if name == b"server-sig-algs":
                self.signature_algorithms = tuple(value.decode("ascii", "replace").split(","))


class _NoSocket:
    """Takes the place of paramiko's socket, which only gets a timeout."""

    def settimeout(self, seconds: float) -> None:
        """Does nothing: the link has its deadline."""


def _paramiko_name(algorithm: str) -> str:
    """Returns paramiko's name of an algorithm: one of them has two."""
    return _PARAMIKO_NAMES.get(algorithm, algorithm)


def do_nothing() -> float:
    """Does nothing before a session waits, and need not be called again."""
    return math.inf


@contextlib.contextmanager
def _hostile() -> Iterator[None]:
    """Turns whatever paramiko raises over a host's bytes into `LinkError`.

    Each of its parsers raises something else.
    """
    try:
        yield
    except LinkError:
        raise
    except Exception as e:
        parts = (type(e).__name__, str(e))
        raise LinkError("garbled", printable_line(": ".join(filter(None, parts)))) from e
