"""A link through a jump host: a direct-tcpip channel (RFC 4254, section 7.2) of the session with
it.

Rules: it is driven by what arrives on the outer session, in the same thread. If the outer
connection fails, this one does, with a reason that names the jump host.
"""

from __future__ import annotations

from paramiko import Message, common

from fleetaudit.errors import TransportError
from fleetaudit.text.phrases import surround
from fleetaudit.transport import Deadline, unanswered

from .channel_end import ChannelEnd, OpenFailed, is_about_a_channel
from .link import LinkError, LinkErrorKind, Meanwhile
from .message_errors import message_name
from .session import Session, do_nothing

_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED


class ForwardRefused(Exception):
    """The jump host does not open the connection; the text is the reason."""


class TunnelLink:
    """One channel through the session with a jump host. `number` is ours, different for each."""

    def __init__(self, outer: Session, number: int, jump: str) -> None:
        self._outer, self._jump = outer, jump
        self._end = ChannelEnd(outer, number)
        self._in = bytearray()
        self._ended = False

    def open(self, host: str, port: int, until: Deadline) -> None:
        """Opens the channel to a host as the jump host sees it.

        Raises `ForwardRefused` or `LinkError`.
        """
        self._outer.stream.until = until
        fields = Message().add_string(host).add_int(port).add_string("127.0.0.1").add_int(0)
        try:
            self._end.open("direct-tcpip", fields.asbytes())
        except OpenFailed as e:
            does = "refuses to forward to" if e.code == _PROHIBITED else "cannot reach"
            raise ForwardRefused(f"it {does} {host} port {port}: “{e.reason}”") from e

    def exchange(self, out: bytearray, until: Deadline, meanwhile: Meanwhile) -> bytes:
        """Returns what came in, see `Link`."""

        def turn() -> float:
            pause_s = meanwhile()
            self._send(out)
            return pause_s

        self._outer.stream.until, self._outer.inner_turn = until, turn
        while not self._in:
            if self._ended:
                raise LinkError("dropped", "closed by the host")
            self._send(out)
            try:
                self._take(*self._outer.receive())
            except LinkError as e:
                raise self._outer_failed(e, out) from e
            except TransportError as e:  # the jump host shows another key
                raise e.attributed_to(f"jump host {self._jump}") from e
        data = bytes(self._in)
        self._in.clear()
        return data

    def _outer_failed(self, error: LinkError, out: bytearray) -> LinkError:
        """Returns the failure of the outer session as one of this link; `out` was not sent."""
        if error.kind == "late":
            return LinkError("late", self._why_late(out))
        jump = f"jump host {self._jump}"
        hung_up = f"{jump}: {error.text or 'it hung up'}"
        texts = {
            "garbled": f"{jump} sent what is not valid SSH: {error.text}",
            "flood": f"{jump} sent {error.text}",
        }
        kinds: dict[LinkErrorKind, LinkErrorKind] = {
            "dropped": "dropped",
            "proxy": "dropped",
            "disconnected": "disconnected",
        }
        return LinkError(kinds.get(error.kind, "jump"), texts.get(error.kind, hung_up))

    def _why_late(self, out: bytearray) -> str:
        """Returns what the jump host has not answered, as the end of a reason; "" if nothing."""
        owed = {
            unanswered.KEYS: self._outer.negotiating,
            unanswered.ROOM: self._end.lacks_room_for(out),
        }
        return surround(f"; jump host {self._jump}: ", unanswered.first_owed(owed))

    def flush(self, out: bytearray) -> None:
        """Sends what can be sent at once."""
        self._send(out)
        out.clear()
        self._outer.stream.flush()

    def close(self) -> None:
        """Closes the channel; the session with the jump host is closed where it was opened."""
        if self._end.is_open and self._may_send():
            self._end.send(common.MSG_CHANNEL_CLOSE)
        self._outer.inner_turn = do_nothing

    def _may_send(self) -> bool:
        """Returns whether the channel is open and no keys are being agreed on."""
        return not self._ended and not self._outer.negotiating

    def _send(self, out: bytearray) -> None:
        """Sends as much as the jump host has room for."""
        if self._may_send():
            self._end.send_data(out)

    def _take(self, ptype: int, message: Message) -> None:
        """Handles one message of the outer session; raises `LinkError`."""
        if not is_about_a_channel(ptype):
            raise LinkError("garbled", f"{message_name(ptype)} came while it forwards")
        if not self._end.is_addressed_by(ptype, message):
            return  # of an earlier try
        match ptype:
            case common.MSG_CHANNEL_DATA:
                data = message.get_binary()
                self._in += data
                self._end.consume(len(data))
            case common.MSG_CHANNEL_EXTENDED_DATA:
                message.get_int()  # its kind: a tunnel has none
                self._end.consume(len(message.get_binary()))
            case common.MSG_CHANNEL_WINDOW_ADJUST:
                self._end.adjust_window(message)
            case common.MSG_CHANNEL_EOF | common.MSG_CHANNEL_CLOSE:
                self._ended = True
            case common.MSG_CHANNEL_REQUEST:
                message.get_binary()
                if message.get_boolean():
                    self._end.send(common.MSG_CHANNEL_FAILURE)
