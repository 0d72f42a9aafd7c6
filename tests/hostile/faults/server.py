"""A good SSH server, with hooks for one message and for how a command ends."""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import paramiko
from paramiko import Message, common
from paramiko.packet import Packetizer
from paramiko.server import InteractiveQuery

from .recording import FIRST_LINE, reply

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST
CHUNK = 64 * 1024
Field = bytes | int | str | bool

Raw = Callable[[socket.socket], None]
Do = Callable[["Wire", Message], None]
Command = Callable[["Exec"], None]


def message(number: int, *fields: Field) -> Message:
    """Returns a message with these fields: bytes and text are strings of SSH."""
    made = Message().add_byte(bytes([number]))
    for field in fields:
        if isinstance(field, bool):
            made.add_boolean(field)
        elif isinstance(field, int):
            made.add_int(field)
        else:
            made.add_string(field)
    return made


@dataclass(frozen=True)
class Script:
    """What a server does: what a good one does, except for what is set.

    `raw` replaces SSH altogether. `do` replaces the sending of message `number`, the `nth` of that
    number. `command` is how a command runs and ends. `proof` is the result of a login attempt by
    key, `asks` whether a login by keyboard-interactive asks without end. `sealed_by` are a cipher
    and a MAC.
    """

    raw: Raw | None = None
    number: int = 0
    nth: int = 1
    do: Do | None = None
    command: Command | None = None
    proof: int = common.AUTH_SUCCESSFUL
    methods: str = "publickey"
    asks: bool = False
    sealed_by: tuple[str, ...] = ()


class Wire(Packetizer):
    """The packets of one connection. `alter` changes the bytes of the next packet."""

    recordings = Path(tempfile.gettempdir())

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.sock, self.script = sock, Script()
        self.silent = self.gone = False
        self.sent = Counter[int]()
        self.alter: Callable[[bytes], bytes] | None = None

    def send_message(self, data: Message) -> None:
        """Sends a message of the good server, unless the script has another idea."""
        number = data.asbytes()[0]
        self.sent[number] += 1
        script = self.script
        if script.do and (number, self.sent[number]) == (script.number, script.nth):
            script.do(self, data)
        else:
            self.put(data)

    def put(self, data: Message) -> None:
        """Sends a message whatever the script says, unless the server fell silent."""
        if self.gone:
            raise EOFError
        if not self.silent:
            super().send_message(data)

    def write_all(self, out: Any) -> None:
        alter, self.alter = self.alter, None
        super().write_all(alter(bytes(out)) if alter else out)

    def hang_up(self) -> None:
        """Closes the connection with FIN."""
        self.gone = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Closes the connection with RST."""
        self.gone = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


class Exec:
    """A command that a client asked for."""

    def __init__(self, wire: Wire, channel: paramiko.Channel, command: bytes) -> None:
        self.wire, self.channel, self.command = wire, channel, command

    @property
    def number(self) -> int:
        """The client's number of the channel."""
        return int(cast(Any, self.channel).remote_chanid)

    def send(self, number: int, *fields: Field) -> None:
        """Sends any message about the channel."""
        self.wire.put(message(number, self.number, *fields))

    def out(self, data: bytes) -> None:
        """Sends output as the window allows."""
        self.channel.sendall(data)

    def status(self) -> None:
        self.send(common.MSG_CHANNEL_REQUEST, "exit-status", False, 0)

    def eof(self) -> None:
        self.send(common.MSG_CHANNEL_EOF)

    def close(self) -> None:
        self.send(common.MSG_CHANNEL_CLOSE)

    def start(self) -> bytes:
        """Sends the line of the shell, reads the request, and returns the rest of the output."""
        self.out(FIRST_LINE)
        request = bytearray()
        while data := self.channel.recv(CHUNK):
            request += data
        if not request:
            raise EOFError
        return reply(self.wire.recordings, self.command, bytes(request))


def run_well(run: Exec) -> None:
    """Runs the command as a good host does."""
    run.out(run.start())
    run.status()
    run.eof()
    run.close()


class _Interface(paramiko.ServerInterface):
    """Lets everybody in, and runs what is asked."""

    def __init__(self, wire: Wire, script: Script) -> None:
        self._wire, self._script = wire, script
        self.destinations: dict[int, tuple[str, int]] = {}

    def get_allowed_auths(self, username: str) -> str:
        return self._script.methods

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._script.proof

    def check_auth_password(self, username: str, password: str) -> int:
        return self._script.proof

    def check_auth_interactive(self, username: str, submethods: str) -> Any:
        if self._script.asks:
            return InteractiveQuery("", "wait")
        return InteractiveQuery("", "", ("Password: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> Any:
        if self._script.asks:
            return InteractiveQuery("", "wait")
        return self._script.proof

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return common.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self.destinations[chanid] = destination
        return common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        run = Exec(self._wire, channel, command)
        play = self._script.command or run_well
        threading.Thread(target=quietly, args=(play, run), daemon=True).start()
        return True


def quietly(play: Callable[..., None], *arguments: Any) -> None:
    """Plays to the end, or until the client is gone."""
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        play(*arguments)


def serve(sock: socket.socket, script: Script, key: paramiko.PKey) -> None:
    """Serves one connection by the script, until the client is gone."""
    if script.raw:
        with sock:
            quietly(script.raw, sock)
        return
    wires: list[Wire] = []

    def make_wire(connection: socket.socket) -> Wire:
        wires.append(Wire(connection))
        wires[0].script = script
        return wires[0]

    transport = paramiko.Transport(sock, packetizer_class=cast(Any, make_wire))
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = 600
    transport.add_server_key(key)
    if script.sealed_by:
        cipher, mac = script.sealed_by
        options = transport.get_security_options()
        options.ciphers, options.digests = (cipher,), (mac,)
    interface = _Interface(wires[0], script)
    try:
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
            transport.start_server(server=interface, event=threading.Event())
            while transport.is_alive():
                channel = transport.accept(0.5)
                if channel and channel.get_id() in interface.destinations:
                    forward(channel, interface.destinations[channel.get_id()])
    finally:
        transport.close()


def forward(channel: paramiko.Channel, destination: tuple[str, int]) -> None:
    """Connects a channel with a port, in threads."""
    there = socket.create_connection(destination)

    def copy(read: Callable[[int], bytes], write: Callable[[bytes], Any], end: Any) -> None:
        with contextlib.suppress(OSError, EOFError):
            while data := read(CHUNK):
                write(data)
        with contextlib.suppress(OSError, EOFError):
            end()

    ways = (
        (channel.recv, there.sendall, lambda: there.shutdown(socket.SHUT_WR)),
        (there.recv, channel.sendall, channel.close),
    )
    for way in ways:
        threading.Thread(target=copy, args=way, daemon=True).start()
