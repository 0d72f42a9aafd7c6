"""Assembles the packet filter (classic BPF)."""

import socket
import struct

from .constants import SNAP, SO_ATTACH_FILTER
from .errors import NotHere
from .optional import array


def program_of(lines):
    """Returns a classic BPF program as bytes. A line: label or "", code, operand, labels to go to if true and false."""
    at = {line[0]: i for i, line in enumerate(lines) if line[0]}
    packed = []
    for i, (_, code, operand, yes, no) in enumerate(lines):
        packed.append(
            struct.pack(
                "HBBI", code, at[yes] - i - 1 if yes else 0, at[no] - i - 1 if no else 0, operand
            )
        )
    return b"".join(packed)


def filter_for(ports):
    """Returns the filter that passes TCP between 127.0.0.1 and itself, or ::1 and itself, from or to `ports`.

    Each packet on `lo` comes by twice; the one on its way out (pkttype 4) is left out. Without ports nothing passes.
    """
    byte, half, word, indexed, header, mask, equals, give = (
        0x30,
        0x28,
        0x20,
        0x48,
        0xB1,
        0x54,
        0x15,
        0x06,
    )
    lines = [
        ("", word, 0xFFFFF004, "", ""),  # SKF_AD_OFF + SKF_AD_PKTTYPE
        ("", equals, 4, "no", "version"),
        ("version", byte, 0, "", ""),
        ("", mask, 0xF0, "", ""),
        ("", equals, 0x60, "v6", "v4?"),
        ("v4?", equals, 0x40, "v4", "no"),
        ("v4", byte, 9, "", ""),
        ("", equals, 6, "source4", "no"),
        ("source4", word, 12, "", ""),
        ("", equals, 0x7F000001, "target4", "no"),
        ("target4", word, 16, "", ""),
        ("", equals, 0x7F000001, "whole", "no"),
        ("whole", half, 6, "", ""),
        ("", mask, 0x1FFF, "", ""),
        ("", equals, 0, "ports4", "no"),
        ("ports4", header, 0, "", ""),
        ("", indexed, 0, "", ""),
    ]
    lines += [("", equals, port, "yes", "") for port in ports]
    lines += [("", indexed, 2, "", "")]
    lines += [("", equals, port, "yes", "") for port in ports]
    lines += [("", give, 0, "", ""), ("v6", byte, 6, "", ""), ("", equals, 6, "word0", "no")]
    for i, wanted in enumerate((0, 0, 0, 1, 0, 0, 0, 1)):
        lines += [
            ("word%d" % i, word, 8 + 4 * i, "", ""),
            ("", equals, wanted, "word%d" % (i + 1), "no"),
        ]
    lines += [("word8", half, 40, "", "")]
    lines += [("", equals, port, "yes", "") for port in ports]
    lines += [("", half, 42, "", "")]
    lines += [("", equals, port, "yes", "") for port in ports]
    lines += [("no", give, 0, "", ""), ("yes", give, SNAP, "", "")]
    return program_of(lines)


def attach(sock, program):
    """Attaches a classic BPF program to a socket; raises NotHere where Python cannot tell a buffer's address."""
    if not array:
        raise NotHere("needs Python's array module")
    held = array.array("B", bytearray(program))
    address, length = held.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", length // 8, address))
