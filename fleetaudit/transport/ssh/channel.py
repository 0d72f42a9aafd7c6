"""One command on one channel (RFC 4254): stdin goes out, stdout and stderr come in, both bounded,
then the exit status.

Rules: everything is driven by what arrives, so no stream can block another. A stream that exceeds
its limit ends the command. After the exit status, the host has a short time for each further piece
of output.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from paramiko import Message, common

from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.stdin_dialogue import StdinDialogue

from .link import LinkError
from .session import Session

WINDOW = 2 * 1024 * 1024
"""Maximum number of bytes in flight on one channel."""

PACKET = 32 * 1024
"""Bytes of one message, which every implementation accepts (RFC 4253, section 6.1)."""

_OURS = 0  # our number of the only channel
_STDERR = 1  # SSH_EXTENDED_DATA_STDERR
_DRAIN_S = 5.0  # for output of a process that the command left behind


class CommandRefused(Exception):
    """The host refused to run the command; the text is the reason."""


@dataclass(slots=True)
class Channel:
    """One command. `stdout` and `stderr` are the output so far, also after a `LinkError`."""

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
    _consumed: int = 0
    _to_send: bytearray = field(default_factory=bytearray)
    _eof_sent: bool = False

    def run(self, command: str, dialogue: StdinDialogue) -> Output:
        """Returns the command's output; raises `CommandRefused` or `LinkError`."""
        self._open()
        dialogue.start()
        request = self._message(common.MSG_CHANNEL_REQUEST).add_string("exec")
        self.session.send(request.add_boolean(True).add_string(command))
        while not self._is_complete():
            self._continue_dialogue(dialogue)
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

    def _is_complete(self) -> bool:
        """Returns whether nothing more is to be read."""
        all_output = self._eof and self.exit_status is not None
        return self._closed or bool(self.cut) or all_output

    def _open(self) -> None:
        """Opens the channel; raises `CommandRefused` or `LinkError`."""
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
                reason = printable_line(message.get_binary())
                raise CommandRefused(f"the host opens no session: “{reason}”")

    def _continue_dialogue(self, dialogue: StdinDialogue) -> None:
        """Sends as much of the input as the host has room for, and EOF after the last of it."""
        self._to_send += dialogue.next_input(self.stdout, self.stderr)
        while self._to_send and self._window:
            size = min(self._window, max(self._packet, 1), PACKET, len(self._to_send))
            data = bytes(self._to_send[:size])
            self.session.send(self._message(common.MSG_CHANNEL_DATA).add_string(data))
            self._window -= size
            del self._to_send[:size]
        if dialogue.finished and not self._to_send and not self._eof_sent:
            self.session.send(self._message(common.MSG_CHANNEL_EOF))
            self._eof_sent = True

    def _take(self, ptype: int, message: Message) -> None:
        """Handles one message; raises `CommandRefused` or `LinkError`."""
        handler = _HANDLERS.get(ptype)
        if handler is None:
            raise LinkError("garbled", f"message {ptype} while the command runs")
        message.get_int()  # our number of the channel, in every message about one
        handler(self, message)

    def _take_stdout(self, message: Message) -> None:
        """Takes data of stdout."""
        self._store("stdout", message.get_binary())

    def _take_extended(self, message: Message) -> None:
        """Takes data of stderr, and drops that of other streams."""
        code, data = message.get_int(), message.get_binary()
        self._store("stderr" if code == _STDERR else "", data)

    def _adjust_window(self, message: Message) -> None:
        """Takes room for more input."""
        self._window += message.get_int()

    def _take_eof(self, _: Message) -> None:
        """Takes the end of both streams."""
        self._eof = True

    def _take_close(self, _: Message) -> None:
        """Answers the host's close."""
        self._closed = True
        self.session.send(self._message(common.MSG_CHANNEL_CLOSE))

    def _take_success(self, _: Message) -> None:
        """Does nothing: the output shows that the command runs."""

    def _take_failure(self, _: Message) -> None:
        """Raises `CommandRefused`."""
        raise CommandRefused("the host refuses to run a command")

    def _take_request(self, message: Message) -> None:
        """Takes the exit status, and refuses other requests."""
        kind, wants_reply = message.get_binary(), message.get_boolean()
        if kind == b"exit-status":
            self.exit_status = message.get_int()
        elif kind == b"exit-signal":
            # As in a shell: 128 plus the signal's number.
            name = "SIG" + message.get_binary().decode("ascii", "replace")
            self.exit_status = 128 + signal.Signals.__members__.get(name, 0)
        elif wants_reply:
            self.session.send(self._message(common.MSG_CHANNEL_FAILURE))
        if self.exit_status is not None:
            self._extend_deadline()

    def _store(self, name: str, data: bytes) -> None:
        """Keeps data up to the limit of its stream, and asks for more."""
        if self.exit_status is not None:
            self._extend_deadline()
        if name:
            kept: bytearray = self.stdout if name == "stdout" else self.stderr
            limit: int = getattr(self.limits, name)
            if len(kept) + len(data) > limit:
                self.cut = name
            kept += data[: limit - len(kept)]
        self._consumed += len(data)
        if self._consumed > WINDOW // 2:
            adjust = self._message(common.MSG_CHANNEL_WINDOW_ADJUST)
            self.session.send(adjust.add_int(self._consumed))
            self._consumed = 0

    def _extend_deadline(self) -> None:
        """Gives the rest of the output its time, again for each piece: a slow connection may have
        much of it in flight.
        """
        self.session.stream.until = self.deadline.within(_DRAIN_S)

    def _message(self, number: int) -> Message:
        """Returns the beginning of a message to the host about this channel."""
        return Message().add_byte(bytes([number])).add_int(self._peer)


_HANDLERS: dict[int, Callable[[Channel, Message], None]] = {
    common.MSG_CHANNEL_DATA: Channel._take_stdout,
    common.MSG_CHANNEL_EXTENDED_DATA: Channel._take_extended,
    common.MSG_CHANNEL_WINDOW_ADJUST: Channel._adjust_window,
    common.MSG_CHANNEL_REQUEST: Channel._take_request,
    common.MSG_CHANNEL_SUCCESS: Channel._take_success,
    common.MSG_CHANNEL_FAILURE: Channel._take_failure,
    common.MSG_CHANNEL_EOF: Channel._take_eof,
    common.MSG_CHANNEL_CLOSE: Channel._take_close,
}
