"""What a server does at one message, instead of sending it."""

from __future__ import annotations

import os
from collections.abc import Callable

from paramiko import Message

from .server import Do, Wire


def stall(wire: Wire, _: Message) -> None:
    """Sends nothing any more, and stays."""
    wire.silent = True


def hang_up(wire: Wire, _: Message) -> None:
    """Closes the connection."""
    wire.hang_up()


def reset(wire: Wire, _: Message) -> None:
    """Resets the connection."""
    wire.reset()


def drop(_: Wire, __: Message) -> None:
    """Forgets this one message."""


def instead(*others: Message) -> Do:
    """Returns what sends other messages."""

    def do(wire: Wire, _: Message) -> None:
        for other in others:
            wire.put(other)

    return do


def changed(change: Callable[[bytes], bytes]) -> Do:
    """Returns what sends the message with its bytes changed."""

    def do(wire: Wire, data: Message) -> None:
        wire.put(Message(change(data.asbytes())))

    return do


def damaged(alter: Callable[[bytes], bytes]) -> Do:
    """Returns what sends the packet with its bytes changed after it was sealed."""

    def do(wire: Wire, data: Message) -> None:
        wire.alter = alter
        wire.put(data)
        wire.silent = True

    return do


def flood(other: Message, count: int = 0) -> Do:
    """Returns what sends a message without end, or `count` times before the right one."""

    def do(wire: Wire, data: Message) -> None:
        sent = 0
        while not count or sent < count:
            wire.put(other)
            sent += 1
        wire.put(data)

    return do


def last_byte(packet: bytes) -> bytes:
    """Changes the last byte: of the MAC, if there is one."""
    return packet[:-1] + bytes([packet[-1] ^ 1])


def middle(packet: bytes) -> bytes:
    """Changes a byte in the middle."""
    half = len(packet) // 2
    return packet[:half] + bytes([packet[half] ^ 0x40]) + packet[half + 1 :]


def longest(packet: bytes) -> bytes:
    """Announces the longest packet that there can be."""
    return b"\xff\xff\xff\xff" + packet[4:]


def long_packet(packet: bytes) -> bytes:
    """Announces a packet that is longer than what comes, within the bounds."""
    return b"\0\0\x80\0" + packet[4:]


def nothing(packet: bytes) -> bytes:
    """Announces a packet of no bytes."""
    return bytes(4) + packet[4:]


def noise(_: bytes) -> bytes:
    """Sends random bytes."""
    return os.urandom(4096)
