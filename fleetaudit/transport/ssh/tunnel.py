"""A link through a jump host: a direct-tcpip channel (RFC 4254, section 7.2) of the session with
it.

Rules: it is driven by what arrives on the outer session, in the same thread. What the outer
connection suffers, this one does, in words that name the jump host.
"""

from __future__ import annotations

from collections.abc import Callable

from paramiko import Message, common

from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport import Deadline

from .channel import PACKET, WINDOW
from .link import LinkError
from .session import Session, nothing

_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED


class ForwardRefused(Exception):
    """The jump host opens no way; the text says what it said."""


class TunnelLink:
    """One channel through the session with a jump host. `number` is ours for it, another one for
    each.
    """

    def __init__(self, outer: Session, number: int, jump: str) -> None:
        self._outer, self._ours, self._jump = outer, number, jump
        self._peer, self._window, self._packet, self._credit = 0, 0, 0, 0
        self._in = bytearray()
        self._ended = False

    def open(self, host: str, port: int, until: Deadline) -> None:
        """Opens the channel to a host as the jump host sees it; raises `ForwardRefused` or `LinkError`."""
        self._outer.stream.until = until
        message = Message().add_byte(bytes([common.MSG_CHANNEL_OPEN])).add_string("direct-tcpip")
        message.add_int(self._ours).add_int(WINDOW).add_int(PACKET)
        self._outer.send(message.add_string(host).add_int(port).add_string("127.0.0.1").add_int(0))
        while True:
            ptype, answer = self._outer.receive()
            if not _MINE[0] <= ptype <= _MINE[1] or answer.get_int() != self._ours:
                continue
            if ptype == common.MSG_CHANNEL_OPEN_SUCCESS:
                self._peer, self._window, self._packet = (answer.get_int() for _ in range(3))
                return
            if ptype == common.MSG_CHANNEL_OPEN_FAILURE:
                refused = answer.get_int() == _PROHIBITED
                does = "refuses to forward to" if refused else "cannot reach"
                raise ForwardRefused(
                    f"it {does} {host} port {port}: “{printable_line(answer.get_binary())}”"
                )

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Callable[[], None]) -> bytes:
        """Returns what came in, see `Link`."""

        def beside() -> None:
            meanwhile()
            self._give(out)

        self._outer.stream.until, self._outer.beside = until, beside
        while not self._in:
            if self._ended:
                raise LinkError("dropped", "closed by the host")
            self._give(out)
            try:
                self._take(*self._outer.receive())
            except LinkError as e:
                if e.kind == "late":
                    raise
                text = f"jump host {self._jump}: {e.text or 'it hung up'}"
                raise LinkError(
                    "dropped" if e.kind in ("dropped", "proxy") else "disconnected", text
                ) from e
        data = bytes(self._in)
        self._in.clear()
        return data

    def part(self, out: bytearray) -> None:
        """Sends what can be sent at once."""
        self._give(out)
        out.clear()
        self._outer.stream.part()

    def close(self) -> None:
        """Tells the jump host that nothing more is sent; the session with it is closed by whoever
        made it.
        """
        if self._packet > 0 and not (self._ended or self._outer.negotiating):
            self._outer.send(self._to_peer(common.MSG_CHANNEL_CLOSE))
        self._outer.beside = nothing

    def _give(self, out: bytearray) -> None:
        while out and self._window and not (self._ended or self._outer.negotiating):
            size = min(self._window, max(self._packet, 1), PACKET, len(out))
            self._outer.send(self._to_peer(common.MSG_CHANNEL_DATA).add_string(bytes(out[:size])))
            self._window -= size
            del out[:size]

    def _take(self, ptype: int, message: Message) -> None:
        if not _MINE[0] <= ptype <= _MINE[1]:
            raise LinkError("garbled", f"message {ptype} while it forwards")
        if message.get_int() != self._ours:
            return  # what is left of an earlier try
        if ptype in (common.MSG_CHANNEL_DATA, common.MSG_CHANNEL_EXTENDED_DATA):
            if ptype == common.MSG_CHANNEL_EXTENDED_DATA:
                message.get_int()  # of what kind: a tunnel has none
            data = message.get_binary()
            if ptype == common.MSG_CHANNEL_DATA:
                self._in += data
            self._credit += len(data)
            if self._credit > WINDOW // 2:
                self._outer.send(
                    self._to_peer(common.MSG_CHANNEL_WINDOW_ADJUST).add_int(self._credit)
                )
                self._credit = 0
        elif ptype == common.MSG_CHANNEL_WINDOW_ADJUST:
            self._window += message.get_int()
        elif ptype in (common.MSG_CHANNEL_EOF, common.MSG_CHANNEL_CLOSE):
            self._ended = True
        elif ptype == common.MSG_CHANNEL_REQUEST:
            message.get_binary()
            if message.get_boolean():
                self._outer.send(self._to_peer(common.MSG_CHANNEL_FAILURE))

    def _to_peer(self, number: int) -> Message:
        return Message().add_byte(bytes([number])).add_int(self._peer)


_MINE = (common.MSG_CHANNEL_OPEN_SUCCESS, 100)  # the messages about one channel
