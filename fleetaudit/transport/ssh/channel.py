"""One command on one channel (RFC 4254): stdin goes out, stdout and stderr come in, both bounded,
then the exit status.

Rules: everything is driven by what arrives, so no stream can block another. A stream that exceeds
its limit ends the command. After the exit status, the host has a short time for each further piece
of output.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from paramiko import Message, common

from fleetaudit.errors import FailureKind
from fleetaudit.transport import Deadline, Limits, Output, unanswered
from fleetaudit.transport.stdin_dialogue import StdinDialogue
from fleetaudit.transport.unanswered import NOT_ANSWERED

from .channel_end import ChannelEnd, OpenFailed
from .link import LinkError
from .message_errors import message_name
from .session import Session

_NUMBER = 0  # our number of the only channel
_STDERR = 1  # SSH_EXTENDED_DATA_STDERR
_DRAIN_S = 5.0  # for output of a process that the command left behind


class CommandRefused(Exception):
    """The host refused to run the command; the text is the reason."""


class Channel:
    """One command. `stdout` and `stderr` are the output so far, also after a `LinkError`."""

    def __init__(self, session: Session, deadline: Deadline, limits: Limits) -> None:
        self.stdout, self.stderr, self.cut = bytearray(), bytearray(), ""
        self.exit_status: int | None = None
        self._session, self._deadline, self._limits = session, deadline, limits
        self._end = ChannelEnd(session, _NUMBER)
        self._to_send = bytearray()
        self._eof_sent = self._eof = self._closed = self._answered = False
        self._handlers: dict[int, Callable[[Message], None]] = {
            common.MSG_CHANNEL_DATA: self._take_stdout,
            common.MSG_CHANNEL_EXTENDED_DATA: self._take_extended,
            common.MSG_CHANNEL_WINDOW_ADJUST: self._end.adjust_window,
            common.MSG_CHANNEL_REQUEST: self._take_request,
            common.MSG_CHANNEL_SUCCESS: self._take_success,
            common.MSG_CHANNEL_FAILURE: self._take_failure,
            common.MSG_CHANNEL_EOF: self._take_eof,
            common.MSG_CHANNEL_CLOSE: self._take_close,
        }

    def run(self, command: str, dialogue: StdinDialogue) -> Output:
        """Returns the command's output; raises `CommandRefused` or `LinkError`."""
        self._open()
        dialogue.start()
        request = self._end.message(common.MSG_CHANNEL_REQUEST).add_string("exec")
        self._session.send(request.add_boolean(True).add_string(command))
        while not self._is_complete():
            self._continue_dialogue(dialogue)
            if self.exit_status is None:
                self._session.stream.until = dialogue.read_deadline(self._deadline)
            try:
                self._take(*self._session.receive())
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

    def why_late(self) -> tuple[FailureKind, str]:
        """Returns the kind and the reason if the deadline came: which message the host owes us, if
        it does not just run the command.
        """
        owed = {
            unanswered.KEYS: self._session.negotiating,
            unanswered.SESSION: not self._end.is_open,
            unanswered.COMMAND: not self._answered,
            unanswered.ROOM: self._end.lacks_room_for(self._to_send),
            unanswered.END: self._eof,
        }
        if reason := unanswered.first_owed(owed):
            return NOT_ANSWERED, reason
        so_far = f"after {len(self.stdout)} bytes of output"
        return "timed out", f"the command did not end in time, {so_far}"

    def _is_complete(self) -> bool:
        """Returns whether nothing more is to be read."""
        all_output = self._eof and self.exit_status is not None
        return self._closed or bool(self.cut) or all_output

    def _open(self) -> None:
        """Opens the channel; raises `CommandRefused` or `LinkError`."""
        try:
            self._end.open("session")
        except OpenFailed as e:
            raise CommandRefused(f"the host opens no session: “{e.reason}”") from e

    def _continue_dialogue(self, dialogue: StdinDialogue) -> None:
        """Sends as much of the input as the host has room for, and EOF after the last of it."""
        self._to_send += dialogue.next_input(self.stdout, self.stderr)
        self._end.send_data(self._to_send)
        if dialogue.finished and not self._to_send and not self._eof_sent:
            self._end.send(common.MSG_CHANNEL_EOF)
            self._eof_sent = True

    def _take(self, ptype: int, message: Message) -> None:
        """Handles one message; raises `CommandRefused` or `LinkError`."""
        handler = self._handlers.get(ptype)
        if handler is None:
            raise LinkError("garbled", f"{message_name(ptype)} came while the command runs")
        message.get_int()  # our number of the channel
        self._answered |= ptype != common.MSG_CHANNEL_WINDOW_ADJUST
        handler(message)

    def _take_stdout(self, message: Message) -> None:
        """Takes data of stdout."""
        self._store("stdout", self.stdout, self._limits.stdout, message.get_binary())

    def _take_extended(self, message: Message) -> None:
        """Takes data of stderr, and drops that of other streams."""
        code, data = message.get_int(), message.get_binary()
        if code == _STDERR:
            self._store("stderr", self.stderr, self._limits.stderr, data)
        else:
            self._store("", bytearray(), len(data), data)

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
            self._end.send(common.MSG_CHANNEL_FAILURE)
        self._extend_deadline()

    def _take_success(self, _: Message) -> None:
        """Does nothing: the output shows that the command runs."""

    def _take_failure(self, _: Message) -> None:
        """Raises `CommandRefused`."""
        raise CommandRefused("the host refuses to run a command")

    def _take_eof(self, _: Message) -> None:
        """Takes the end of both streams."""
        self._eof = True

    def _take_close(self, _: Message) -> None:
        """Answers the host's close."""
        self._closed = True
        self._end.send(common.MSG_CHANNEL_CLOSE)

    def _store(self, name: str, kept: bytearray, limit: int, data: bytes) -> None:
        """Keeps data up to the limit of its stream, and lets the host send more."""
        self._extend_deadline()
        if len(kept) + len(data) > limit:
            self.cut = name
        kept += data[: limit - len(kept)]
        self._end.consume(len(data))

    def _extend_deadline(self) -> None:
        """Gives the output after the exit status its time, again for each piece.

        A slow connection may have much of it in flight.
        """
        if self.exit_status is not None:
            self._session.stream.until = self._deadline.within(_DRAIN_S)
