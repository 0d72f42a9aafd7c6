"""A link through a jump host: a direct-tcpip channel (RFC 4254, section 7.2) of the session with
it.

Rules: it is driven by what arrives on the outer session, in the same thread. If the outer
connection fails, this one does, with a reason that names the jump host.
"""

from __future__ import annotations

from collections.abc import Callable

from paramiko import Message, common

from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Deadline

from .channel import PACKET, WINDOW
from .link import LinkError
from .session import Session, do_nothing

_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED
# The numbers of the messages about one channel.
_FIRST_MESSAGE, _LAST_MESSAGE = common.MSG_CHANNEL_OPEN_SUCCESS, 100


class ForwardRefused(Exception):
    """The jump host does not open the connection; the text is the reason."""


class TunnelLink:
    """One channel through the session with a jump host. `number` is ours, another one for each."""

    def __init__(self, outer: Session, number: int, jump: str) -> None:
        self._outer, self._ours, self._jump = outer, number, jump
        self._peer, self._window, self._packet, self._consumed = 0, 0, 0, 0
        self._in = bytearray()
        self._ended = False

    def open(self, host: str, port: int, until: Deadline) -> None:
        """Opens the channel to a host as the jump host sees it.

        Raises `ForwardRefused` or `LinkError`.
        """
        self._outer.stream.until = until
        message = Message().add_byte(bytes([common.MSG_CHANNEL_OPEN])).add_string("direct-tcpip")
        message.add_int(self._ours).add_int(WINDOW).add_int(PACKET)
        self._outer.send(message.add_string(host).add_int(port).add_string("127.0.0.1").add_int(0))
        while True:
            ptype, answer = self._outer.receive()
            if not _is_about_a_channel(ptype) or answer.get_int() != self._ours:
                continue
            if ptype == common.MSG_CHANNEL_OPEN_SUCCESS:
                self._peer, self._window, self._packet = (answer.get_int() for _ in range(3))
                return
            if ptype == common.MSG_CHANNEL_OPEN_FAILURE:
                prohibited = answer.get_int() == _PROHIBITED
                does = "refuses to forward to" if prohibited else "cannot reach"
                reason = printable_line(answer.get_binary())
                raise ForwardRefused(f"it {does} {host} port {port}: “{reason}”")

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Callable[[], None]) -> bytes:
        """Returns what came in, see `Link`."""

        def turn() -> None:
            meanwhile()
            self._send(out)

        self._outer.stream.until, self._outer.inner_turn = until, turn
        while not self._in:
            if self._ended:
                raise LinkError("dropped", "closed by the host")
            self._send(out)
            try:
                self._take(*self._outer.receive())
            except LinkError as e:
                raise self._outer_failed(e) from e
        data = bytes(self._in)
        self._in.clear()
        return data

    def _outer_failed(self, error: LinkError) -> LinkError:
        """Returns the failure of the outer session as one of this link."""
        if error.kind == "late":
            return error
        text = f"jump host {self._jump}: {error.text or 'it hung up'}"
        return LinkError("dropped" if error.kind in ("dropped", "proxy") else "disconnected", text)

    def flush(self, out: bytearray) -> None:
        """Sends what can be sent at once."""
        self._send(out)
        out.clear()
        self._outer.stream.flush()

    def close(self) -> None:
        """Closes the channel; the session with the jump host is closed by whoever opened it."""
        if self._packet > 0 and not (self._ended or self._outer.negotiating):
            self._outer.send(self._message(common.MSG_CHANNEL_CLOSE))
        self._outer.inner_turn = do_nothing

    def _send(self, out: bytearray) -> None:
        """Sends as much as the jump host has room for."""
        while out and self._window and not (self._ended or self._outer.negotiating):
            size = min(self._window, max(self._packet, 1), PACKET, len(out))
            data = self._message(common.MSG_CHANNEL_DATA).add_string(bytes(out[:size]))
            self._outer.send(data)
            self._window -= size
            del out[:size]

    def _take(self, ptype: int, message: Message) -> None:
        """Handles one message of the outer session; raises `LinkError`."""
        if not _is_about_a_channel(ptype):
            raise LinkError("garbled", f"message {ptype} while it forwards")
        if message.get_int() != self._ours:
            return  # of an earlier try
        match ptype:
            case common.MSG_CHANNEL_DATA:
                data = message.get_binary()
                self._in += data
                self._consume(len(data))
            case common.MSG_CHANNEL_EXTENDED_DATA:
                message.get_int()  # its kind: a tunnel has none
                self._consume(len(message.get_binary()))
            case common.MSG_CHANNEL_WINDOW_ADJUST:
                self._window += message.get_int()
            case common.MSG_CHANNEL_EOF | common.MSG_CHANNEL_CLOSE:
                self._ended = True
            case common.MSG_CHANNEL_REQUEST:
                message.get_binary()
                if message.get_boolean():
                    self._outer.send(self._message(common.MSG_CHANNEL_FAILURE))

    def _consume(self, size: int) -> None:
        """Lets the jump host send more, once half of the window is used up."""
        self._consumed += size
        if self._consumed > WINDOW // 2:
            adjust = self._message(common.MSG_CHANNEL_WINDOW_ADJUST)
            self._outer.send(adjust.add_int(self._consumed))
            self._consumed = 0

    def _message(self, number: int) -> Message:
        """Returns the beginning of a message to the jump host about this channel."""
        return Message().add_byte(bytes([number])).add_int(self._peer)


def _is_about_a_channel(ptype: int) -> bool:
    """Returns whether a message is about one channel."""
    return _FIRST_MESSAGE <= ptype <= _LAST_MESSAGE
