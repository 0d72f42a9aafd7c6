"""Calls of the operating system that several modules need."""

import os
import socket
import struct
from typing import Any, Tuple

from .constants import ERRORS
from .errors import Unsupported, call_or
from .files import read_file


def close_quietly(sock, abort=False):
    # type: (Any, bool) -> None
    """Closes a socket in any state; with `abort` by a RST instead of a TIME_WAIT."""
    if abort and hasattr(sock, "setsockopt"):
        linger = struct.pack("ii", 1, 0)
        call_or(None, sock.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, linger)
    call_or(None, sock.close)


def load_libc():
    # type: () -> Tuple[Any, Any]
    """Returns ctypes and the C library; raises Unsupported if this Python has no ctypes."""
    try:
        import ctypes

        return ctypes, ctypes.CDLL(None, use_errno=True)
    except Exception:
        raise Unsupported("needs Python's ctypes, which this host's Python lacks")


def pin_to_cpu(cpu):
    # type: (int) -> None
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [cpu])
        return
    ctypes, library = load_libc()  # Python 2
    width = 8 * ctypes.sizeof(ctypes.c_ulong)
    mask = (ctypes.c_ulong * (cpu // width + 1))()
    mask[cpu // width] = 1 << cpu % width
    library.sched_setaffinity(0, ctypes.sizeof(mask), mask)


def stay_on_this_cpu():
    # type: () -> None
    """Keeps this process on its CPU if possible: loopback does not deliver in order between two,
    and an ACK that comes late for a closed socket is answered by a RST of its own.
    """
    try:
        pin_to_cpu(int(read_file("/proc/self/stat").rpartition(")")[2].split()[36]))
    except (Unsupported, ValueError, IndexError) + ERRORS:
        pass
