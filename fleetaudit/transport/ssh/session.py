"""SSH's transport layer (RFC 4253) as a client: greeting, key exchange, and then messages in both
directions.

Rules: paramiko's protocol code is driven from the calling thread, message by message; its own
thread is never started. So a deadline ends everything, nothing can leak, and a connection costs a
third of the CPU. paramiko's internals are named in here and in `paramiko_transport` only. Whatever
a hostile host makes paramiko raise becomes `LinkError`.

What does not depend on an answer leaves without waiting for one: our version line with our
KEXINIT, and our NEWKEYS with the first messages of the login. So `agree_on_keys` returns as soon as
the host has shown its key. The host's NEWKEYS, and the extensions after it, usually came in the
same segment: `take_arrived`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

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

from fleetaudit.errors import TransportError
from fleetaudit.model import SshConfig
from fleetaudit.text.sanitize import printable_line, quote_line
from fleetaudit.transport.host_certificates import is_certificate

from .link import Link, LinkError, Meanwhile
from .message_errors import message_name, message_problem, packet_problem
from .packet_stream import PacketStream
from .paramiko_transport import OtherHostKeyError, ParamikoTransport, offer_for

# Hosts can make paramiko log tracebacks; what a person needs to know is in the reason.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_MAX_LINE, _MAX_LINES = 1024, 200  # before the greeting of a host
_FIRST_KEX, _LAST_KEX = 30, 41  # message numbers that belong to the key exchange's own method
_BY_APPLICATION = 11  # SSH_DISCONNECT_BY_APPLICATION
_MAX_EMPTY = 1000
"""How many messages without content a host may send: keepalives, room to send, answers."""
_EXCHANGE_COST = 32 * 1024
"""What a key exchange takes of the host's allowance, in bytes: it costs us milliseconds."""

_NO_REPLY = (MSG_UNIMPLEMENTED, MSG_REQUEST_SUCCESS, MSG_REQUEST_FAILURE)


class HostKey(NamedTuple):
    """The key that a host showed: its type and its raw blob, and its certificate, b"" for none."""

    key_type: str
    blob: bytes
    certificate: bytes


class Session:
    """One connection. Whatever is called next must be done by `stream.until`.

    `other_key` returns what is raised if the host shows another key when keys are agreed on again,
    given the first key and that one.
    """

    def __init__(
        self, link: Link, config: SshConfig, other_key: Callable[[bytes, bytes], TransportError]
    ) -> None:
        self.stream = PacketStream(link, self._while_waiting)
        self._paramiko = ParamikoTransport(self.stream)
        self._early: deque[tuple[int, Message]] = deque()  # messages that `receive` returns first
        self._config, self._other_key = config, other_key
        self._unanswered = 0
        self._empty_left = _MAX_EMPTY
        self._handlers: dict[int, Callable[[Message], None]] = {
            MSG_KEXINIT: self._negotiate,
            MSG_NEWKEYS: self._paramiko._parse_newkeys,
            MSG_EXT_INFO: self._read_extensions,
            MSG_GLOBAL_REQUEST: self._paramiko._parse_global_request,  # a client refuses them all
            MSG_CHANNEL_OPEN: self._paramiko._parse_channel_open,  # and these
        }
        self.inner_turn: Meanwhile = do_nothing
        """Is called before each wait of the session, for the connection inside it."""
        self.signature_algorithms: tuple[str, ...] | None = None
        """The signatures that the host accepts of a user's key (RFC 8308), None if it names none.
        """

    # -- greeting and keys

    def propose(self, preferred: Sequence[str]) -> None:
        """Sends our version line and our algorithms (RFC 4253, sections 4.2 and 7.1).

        `preferred` are host key algorithms to ask for first; those that are not supported are
        ignored. Raises `LinkError` if ssh_config allows no algorithm that the client has.
        """
        offer = offer_for(self._config, preferred)
        self.stream.write_all(f"{self._paramiko.local_version}\r\n".encode())
        self._paramiko.propose(offer)

    def greet(self) -> None:
        """Reads the host's version line.

        Raises `LinkError` if the connection ends, or the host speaks no SSH or another version.
        """
        line = self._read_greeting()
        if not line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
            raise LinkError("garbled", f"it speaks a different version of SSH: {quote_line(line)}")
        try:
            self._paramiko.remote_version = line.decode()
        except UnicodeDecodeError as e:
            raise LinkError("garbled", "its version line is not text") from e

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
            raise LinkError(e.kind, e.text + sent, transient=e.transient) from e

    def agree_on_keys(self) -> HostKey:
        """Returns the host key that signed the exchange.

        From now on messages are encrypted. Whether the key is trusted is for the caller to check,
        before anything is sent. Raises `LinkError`, also if there is no algorithm in common (RFC
        4253, section 7.1).
        """
        while self._paramiko.host_key is None:
            ptype, _ = self._next()
            if ptype is not None:
                raise _misplaced(ptype, "in the key exchange")
        key: paramiko.PKey = self._paramiko.host_key
        shown = self._paramiko.shown_key
        certificate = shown if is_certificate(shown) else b""
        return HostKey(key.get_name(), key.asbytes(), certificate)

    def take_arrived(self) -> None:
        """Takes the messages that have arrived; waits only for the rest of one that has begun.

        Raises `LinkError`.
        """
        while self.stream.has_unread:
            ptype, message = self._next()
            if ptype is not None:
                self._early.append((ptype, message))

    @property
    def id(self) -> bytes:
        """The session identifier, which a user's signature covers."""
        return bytes(self._paramiko.session_id)

    @property
    def negotiating(self) -> bool:
        """Whether keys are being agreed on.

        Nothing else may be sent then (RFC 4253, section 7.1).
        """
        return bool(self._paramiko._expected_packet) or not self._paramiko.initial_kex_done

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

        It names them in server-sig-algs (RFC 8308, section 3.1), right after its first NEWKEYS, if
        at all.
        """
        return self.signature_algorithms is None or algorithm in self.signature_algorithms

    # -- messages

    def send(self, message: Message) -> None:
        """Queues a message; it leaves with the next `receive`."""
        self.stream.send_message(message)

    def receive(self) -> tuple[int, Message]:
        """Returns the next message that is not the transport layer's own; raises `LinkError`.

        If the host asks for new keys, that exchange is completed in here, so that no caller can
        send anything during it (RFC 4253, section 7.1).
        """
        if self._early:
            return self._early.popleft()
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

    def count_content(self, size: int) -> None:
        """Notes how many bytes of content the last message brought.

        If it brought any, it is not counted: bytes have bounds of their own.
        """
        self._empty_left += min(size, 1)

    def _next(self) -> tuple[int | None, Message]:
        """Returns the next message, its type None if it was handled here."""
        ptype, message = self._read()
        self._empty_left -= 1
        if self._empty_left < 0:
            last = message_name(ptype)
            raise LinkError(
                "flood", f"more than {_MAX_EMPTY:,} messages without content, the last {last}"
            )
        try:
            is_for_caller = self._is_for_caller(ptype, message)
        except LinkError:
            raise
        except OtherHostKeyError as e:
            raise self._other_key(e.first, e.shown) from e
        except Exception as e:  # each of paramiko's parsers raises something else
            raise LinkError("garbled", message_problem(ptype, e)) from e
        return ptype if is_for_caller else None, message

    def _read(self) -> tuple[int, Message]:
        """Returns the next message as it came in."""
        try:
            return self.stream.read_message()
        except (LinkError, TransportError):  # the latter is about a jump host
            raise
        except Exception as e:  # paramiko's, or what a length of the host's leads to
            raise LinkError("garbled", packet_problem(e)) from e

    def _is_for_caller(self, ptype: int, message: Message) -> bool:
        """Handles a message of the transport layer's own; returns False for one."""
        if ptype in (MSG_IGNORE, MSG_DEBUG):
            self._paramiko._enforce_strict_kex(ptype)
        elif ptype == MSG_DISCONNECT:
            message.get_int()  # the code; the text repeats it
            raise LinkError("disconnected", printable_line(message.get_binary()))
        elif self._is_key_exchange(ptype):
            self._paramiko.parse_key_exchange(ptype, message)
        elif handler := self._handlers.get(ptype):
            handler(message)
        else:
            return ptype not in _NO_REPLY
        return False

    def _is_key_exchange(self, ptype: int) -> bool:
        """Returns whether a message belongs to the key exchange.

        Raises `LinkError` if another one is expected.
        """
        expected = self._paramiko._expected_packet
        if not expected:
            return False
        if ptype not in expected:
            due = " or ".join(map(message_name, expected))
            raise LinkError("garbled", f"{message_name(ptype)} came where {due} was due")
        self._paramiko._expected_packet = ()
        return _FIRST_KEX <= ptype <= _LAST_KEX

    def _negotiate(self, message: Message) -> None:
        """Answers the host's KEXINIT; raises `LinkError` with what the host offers."""
        self.stream.allowance -= _EXCHANGE_COST
        if self.stream.allowance < 0:
            raise LinkError("flood", "far more key exchanges than its data needs")
        try:
            self._paramiko._negotiate_keys(message)
        except paramiko.ssh_exception.IncompatiblePeer as e:
            # Only the names show a person what is missing: ssh-rsa only, group1 only, arcfour only.
            message.rewind()
            message.get_bytes(16)
            kex, keys = (printable_line(message.get_binary(), 200) for _ in range(2))
            reason = printable_line(str(e))
            raise LinkError(
                "incompatible",
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


def do_nothing() -> float:
    """Does nothing before a session waits, and need not be called again."""
    return math.inf


def _misplaced(ptype: int, when: str) -> LinkError:
    """Returns the error for a message that does not belong where it came."""
    return LinkError("garbled", f"{message_name(ptype)} came {when}")
