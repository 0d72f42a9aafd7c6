"""Our end of one channel (RFC 4254, section 5): opening it, its flow control and the messages about
it.
"""

from __future__ import annotations

from paramiko import Message, common

from fleetaudit.text.sanitize import printable_line

from .link import LinkError
from .session import Session

WINDOW = 2 * 1024 * 1024
"""Maximum number of bytes in flight on one channel."""

PACKET = 32 * 1024
"""Bytes of one message, which every implementation accepts (RFC 4253, section 6.1)."""

_LEAST_PACKET = 256  # a host that takes less makes each byte cost a message
# The numbers of the messages about one channel.
_FIRST_MESSAGE, _LAST_MESSAGE = common.MSG_CHANNEL_OPEN_SUCCESS, 100


class OpenFailed(Exception):
    """The host does not open the channel.

    `code` is of RFC 4254, section 5.1; `reason` is sanitized.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


class ChannelEnd:
    """Our end of a channel through `session`. `number` is ours, different for each channel."""

    def __init__(self, session: Session, number: int) -> None:
        self._session, self._number = session, number
        self._host_number, self._window, self._packet = 0, 0, 0
        self._consumed = 0
        self.is_open = False

    def open(self, kind: str, fields: bytes = b"") -> None:
        """Opens the channel.

        `fields` follow those that every kind has. Raises `OpenFailed` or `LinkError`.
        """
        request = Message().add_byte(bytes([common.MSG_CHANNEL_OPEN])).add_string(kind)
        request.add_int(self._number).add_int(WINDOW).add_int(PACKET)
        self._session.send(request.add_bytes(fields))
        while True:
            ptype, answer = self._session.receive()
            if not self.is_addressed_by(ptype, answer):
                continue
            if ptype == common.MSG_CHANNEL_OPEN_SUCCESS:
                self._host_number, self._window = answer.get_int(), answer.get_int()
                self._packet = answer.get_int()
                if self._packet < _LEAST_PACKET:
                    text = f"it takes at most {self._packet} bytes in a message of a channel"
                    raise LinkError("garbled", text)
                self.is_open = True
                return
            if ptype == common.MSG_CHANNEL_OPEN_FAILURE:
                raise OpenFailed(answer.get_int(), printable_line(answer.get_binary()))

    def is_addressed_by(self, ptype: int, message: Message) -> bool:
        """Returns whether a message is about this channel; reads our number if it is about any."""
        return is_about_a_channel(ptype) and message.get_int() == self._number

    def message(self, number: int) -> Message:
        """Returns the beginning of a message to the host about this channel."""
        return Message().add_byte(bytes([number])).add_int(self._host_number)

    def send(self, number: int) -> None:
        """Sends a message without fields."""
        self._session.send(self.message(number))

    def send_data(self, data: bytearray) -> None:
        """Sends as much of the data as the host has room for, and removes it."""
        while data and self._window:
            size = min(self._window, self._packet, PACKET, len(data))
            piece = bytes(data[:size])
            self._session.send(self.message(common.MSG_CHANNEL_DATA).add_string(piece))
            self._window -= size
            del data[:size]

    def lacks_room_for(self, data: bytearray) -> bool:
        """Returns whether the host takes nothing of this data now."""
        return bool(data) and not self._window

    def adjust_window(self, message: Message) -> None:
        """Takes the host's room for more data."""
        self._window += message.get_int()

    def consume(self, size: int) -> None:
        """Lets the host send more, once half of the window is used up."""
        self._session.count_content(size)
        self._consumed += size
        if self._consumed > WINDOW // 2:
            adjust = self.message(common.MSG_CHANNEL_WINDOW_ADJUST)
            self._session.send(adjust.add_int(self._consumed))
            self._consumed = 0


def is_about_a_channel(ptype: int) -> bool:
    """Returns whether a message is about one channel."""
    return _FIRST_MESSAGE <= ptype <= _LAST_MESSAGE
