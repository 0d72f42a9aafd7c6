"""Assembles and attaches the packet filter, in classic BPF (linux/filter.h)."""

import socket
import struct
from typing import Any, Iterable, List, Tuple

from .constants import SNAP, SO_ATTACH_FILTER
from .errors import Unsupported
from .optional import array

# Opcodes: load a byte, a half word, a word, a half word after the IP header; load the length of
# that header; mask; compare; return how many bytes pass.
LDB, LDH, LDW, LDH_X = 0x30, 0x28, 0x20, 0x48
LDX, AND, JEQ, RET = 0xB1, 0x54, 0x15, 0x06
PACKET_TYPE = 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PKTTYPE
OUTGOING = 4
REJECT_ALL = [("", RET, 0, "", "")]


def assemble(lines):
    # type: (List[Tuple[str, int, int, str, str]]) -> bytes
    """Returns a program. A line is: label or "", opcode, operand, and the labels to jump to if a
    comparison is true and if it is false, "" for the next line.
    """
    labels = {line[0]: number for number, line in enumerate(lines)}
    packed = []
    for number, (_, code, operand, if_true, if_false) in enumerate(lines, 1):
        labels[""] = number
        jumps = labels[if_true] - number, labels[if_false] - number
        packed.append(struct.pack("HBBI", code, jumps[0], jumps[1], operand))
    return b"".join(packed)


def loopback_filter(ports, ipv4=0x7F000001, ipv6=(0, 0, 0, 1)):
    # type: (Iterable[int], int, Tuple[int, ...]) -> bytes
    """Returns the filter that passes TCP from or to `ports` between an address and itself: that is
    127.0.0.1 and ::1, or others of this host in words of 32 bits. Each packet passes `lo` twice;
    the outgoing one is rejected.
    """
    is_port = [("", JEQ, port, "pass", "") for port in ports]
    lines = [
        ("", LDW, PACKET_TYPE, "", ""),
        ("", JEQ, OUTGOING, "reject", "version"),
        ("version", LDB, 0, "", ""),
        ("", AND, 0xF0, "", ""),
        ("", JEQ, 0x60, "IPv6", "IPv4?"),
        ("IPv4?", JEQ, 0x40, "IPv4", "reject"),
        ("IPv4", LDB, 9, "", ""),
        ("", JEQ, 6, "source", "reject"),
        ("source", LDW, 12, "", ""),
        ("", JEQ, ipv4, "target", "reject"),
        ("target", LDW, 16, "", ""),
        ("", JEQ, ipv4, "fragment?", "reject"),
        ("fragment?", LDH, 6, "", ""),
        ("", AND, 0x1FFF, "", ""),
        ("", JEQ, 0, "ports", "reject"),
        ("ports", LDX, 0, "", ""),
        ("", LDH_X, 0, "", ""),
    ]
    lines += is_port + [("", LDH_X, 2, "", "")] + is_port
    lines += [
        ("", RET, 0, "", ""),
        ("IPv6", LDB, 6, "", ""),
        ("", JEQ, 6, "word 0", "reject"),
    ]
    for i, word in enumerate(tuple(ipv6) * 2):  # both addresses
        lines.append(("word %d" % i, LDW, 8 + 4 * i, "", ""))
        lines.append(("", JEQ, word, "word %d" % (i + 1), "reject"))
    lines += [("word 8", LDH, 40, "", "")] + is_port
    lines += [("", LDH, 42, "", "")] + is_port
    lines += [("reject", RET, 0, "", ""), ("pass", RET, SNAP, "", "")]
    return assemble(lines)


def attach_filter(sock, program):
    # type: (Any, bytes) -> None
    """Attaches a program to a socket; raises Unsupported if Python gives no address of a buffer."""
    if not array:
        raise Unsupported("needs Python's array module")
    held = array.array("B", bytearray(program))
    address, length = held.buffer_info()
    value = struct.pack("HP", length // 8, address)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, value)
