"""Calls of the operating system that several modules need."""

import os
import socket
import struct

from .constants import ERRORS
from .errors import NotHere
from .files import read


def safe_close(sock, abort=False):
    """Closes a socket (an RST instead of a TIME_WAIT where `abort`), whatever state it is in."""
    try:
        if abort and hasattr(sock, "setsockopt"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except ERRORS:
        pass
    try:
        sock.close()
    except ERRORS:
        pass


def libc():
    """Returns the C library through ctypes; raises NotHere where this Python has none."""
    try:
        import ctypes

        return ctypes, ctypes.CDLL(None, use_errno=True)
    except Exception:
        raise NotHere("needs Python's ctypes, which this host's Python lacks")


def stay_on_this_cpu():
    """Keeps this process on the CPU that it runs on, where it can: loopback delivers in order on each CPU, but not
    between two, and an ACK that comes late to a socket that is gone is answered with an RST of its own."""
    try:
        cpu = int(read("/proc/self/stat").rpartition(")")[2].split()[36])
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, [cpu])
        else:  # Python 2
            ctypes, library = libc()
            width = 8 * ctypes.sizeof(ctypes.c_ulong)
            mask = (ctypes.c_ulong * (cpu // width + 1))()
            mask[cpu // width] = 1 << cpu % width
            library.sched_setaffinity(0, ctypes.sizeof(mask), mask)
    except (NotHere, ValueError, IndexError) + ERRORS:
        pass
