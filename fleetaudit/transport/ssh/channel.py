"""One command on one channel (RFC 4254): stdin goes, stdout and stderr come, both bounded, then the
exit status.

Rules: everything is driven by what arrives, so no stream can block another. A stream that passes
its limit ends the command. A host that has told the exit status gets a short while for each further
piece of output.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from paramiko import Message, common

from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.stdin_dialogue import StdinDialogue

from .link import LinkError
from .session import Session

WINDOW = 2 * 1024 * 1024
"""Bytes under way at most on one channel."""

PACKET = 32 * 1024
"""Bytes of one message, which every implementation takes (RFC 4253, section 6.1)."""

_OURS = 0  # our number of the only channel there is
_STDERR = 1  # SSH_EXTENDED_DATA_STDERR
_AFTERWARDS_S = 5.0  # for output that a child left behind still holds open


class CommandRefused(Exception):
    """The host refused to run the command; the text says what it said."""


@dataclass(slots=True)
class Channel:
    """One command. `stdout` and `stderr` hold what came so far, also after `LinkError`."""

    session: Session
    deadline: Deadline
    limits: Limits
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    exit_status: int | None = None
    cut: str = ""
    _peer: int = 0
    _window: int = 0
    _packet: int = 0
    _eof: bool = False
    _closed: bool = False
    _credit: int = 0
    _waiting: bytearray = field(default_factory=bytearray)
    _ended: bool = False

    def run(self, command: str, dialogue: StdinDialogue) -> Output:
        """Returns the command's output; raises `CommandRefused` or `LinkError`."""
        self._open()
        dialogue.begin()
        request = self._to_peer(common.MSG_CHANNEL_REQUEST).add_string("exec")
        self.session.send(request.add_boolean(True).add_string(command))
        while not (self._closed or self.cut or (self._eof and self.exit_status is not None)):
            self._feed(dialogue)
            if self.exit_status is None:
                self.session.stream.until = dialogue.read_deadline(self.deadline)
            try:
                self._take(*self.session.receive())
            except LinkError as e:
                if e.kind == "late" and self.exit_status is not None:
                    break
                raise
        return Output(
            stdout=bytes(self.stdout),
            stderr=bytes(self.stderr),
            exit_status=self.exit_status,
            cut=self.cut,
        )

    def _open(self) -> None:
        message = Message().add_byte(bytes([common.MSG_CHANNEL_OPEN])).add_string("session")
        self.session.send(message.add_int(_OURS).add_int(WINDOW).add_int(PACKET))
        while True:
            ptype, message = self.session.receive()
            if ptype == common.MSG_CHANNEL_OPEN_SUCCESS:
                message.get_int()
                self._peer, self._window, self._packet = (message.get_int() for _ in range(3))
                return
            if ptype == common.MSG_CHANNEL_OPEN_FAILURE:
                message.get_int()
                message.get_int()
                raise CommandRefused(
                    f"the host opens no session: “{printable_line(message.get_binary())}”"
                )

    def _feed(self, dialogue: StdinDialogue) -> None:
        """Sends as much of what is to be said as the host has room for, and the end of it once the
        talk is over.
        """
        self._waiting += dialogue.say(self.stdout, self.stderr)
        while self._waiting and self._window:
            size = min(self._window, max(self._packet, 1), PACKET, len(self._waiting))
            self.session.send(
                self._to_peer(common.MSG_CHANNEL_DATA).add_string(bytes(self._waiting[:size]))
            )
            self._window -= size
            del self._waiting[:size]
        if dialogue.over and not self._waiting and not self._ended:
            self.session.send(self._to_peer(common.MSG_CHANNEL_EOF))
            self._ended = True

    def _take(self, ptype: int, message: Message) -> None:
        message.get_int()  # our number of the channel, in every message about one
        if ptype == common.MSG_CHANNEL_DATA:
            self._store("stdout", message.get_binary())
        elif ptype == common.MSG_CHANNEL_EXTENDED_DATA:
            code, data = message.get_int(), message.get_binary()
            self._store("stderr" if code == _STDERR else "", data)
        elif ptype == common.MSG_CHANNEL_WINDOW_ADJUST:
            self._window += message.get_int()
        elif ptype == common.MSG_CHANNEL_REQUEST:
            self._request(message)
        elif ptype == common.MSG_CHANNEL_FAILURE:
            raise CommandRefused("the host refuses to run a command")
        elif ptype == common.MSG_CHANNEL_EOF:
            self._eof = True
        elif ptype == common.MSG_CHANNEL_CLOSE:
            self._closed = True
            self.session.send(self._to_peer(common.MSG_CHANNEL_CLOSE))
        elif ptype != common.MSG_CHANNEL_SUCCESS:
            raise LinkError("garbled", f"message {ptype} while the command runs")

    def _store(self, name: str, data: bytes) -> None:
        if self.exit_status is not None:
            self._wait_a_while()
        if name:
            kept: bytearray = self.stdout if name == "stdout" else self.stderr
            limit: int = getattr(self.limits, name)
            if len(kept) + len(data) > limit:
                self.cut = name
            kept += data[: limit - len(kept)]
        self._credit += len(data)
        if self._credit > WINDOW // 2:
            self.session.send(self._to_peer(common.MSG_CHANNEL_WINDOW_ADJUST).add_int(self._credit))
            self._credit = 0

    def _request(self, message: Message) -> None:
        kind, wants_reply = message.get_binary(), message.get_boolean()
        if kind == b"exit-status":
            self.exit_status = message.get_int()
        elif kind == b"exit-signal":
            # As a shell tells it: 128 and the signal's number.
            name = "SIG" + message.get_binary().decode("ascii", "replace")
            self.exit_status = 128 + signal.Signals.__members__.get(name, 0)
        elif wants_reply:
            self.session.send(self._to_peer(common.MSG_CHANNEL_FAILURE))
        if self.exit_status is not None:
            self._wait_a_while()

    def _wait_a_while(self) -> None:
        """Gives the rest of the output its time: anew with each piece, for a slow way may have much
        of it under way.
        """
        self.session.stream.until = self.deadline.within(_AFTERWARDS_S)

    def _to_peer(self, number: int) -> Message:
        return Message().add_byte(bytes([number])).add_int(self._peer)
