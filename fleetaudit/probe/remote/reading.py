"""The steps that read."""

import os
import select
import socket
import struct
from typing import Any, Callable

from .connection import Connection
from .constants import ERRORS, MSG_TRUNC, POLLRDHUP
from .errors import StepFailed, TimedOut, error_name, reason_of, would_block
from .receiving import is_evidence, receive, receive_exactly, record_received, record_result
from .sysctls import sysctl_value
from .system import load_libc
from .waiting import TIMEOUT, Wait, now, wait_for_events, wait_until


def read_some(c, actor, size):
    # type: (Connection, str, int) -> None
    receive_exactly(c, actor, size)


def discard(c, actor, size):
    # type: (Connection, str, int) -> None
    receive_exactly(c, actor, size, MSG_TRUNC)


def read_waitall(c, actor, size):
    # type: (Connection, str, int) -> None
    """Receives by one call that waits for `size` bytes; a timeout of the socket ends it."""
    sock, began, seconds = c.sock(actor), now(), TIMEOUT.seconds()
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    layout = {16: "=qq"}.get(len(before), "=ii")  # of struct timeval here
    timeout = struct.pack(layout, *divmod(int(seconds * 1000000), 1000000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    try:
        count = len(sock.recv(size, socket.MSG_WAITALL))
    except ERRORS as e:
        if would_block(e):
            raise TimedOut("none of %d bytes came" % size)
        record_result(c, actor, error_name(e))
        raise StepFailed("%s, none of %d bytes came" % (reason_of(e), size))
    finally:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, before)
    record_received(c, actor, count)
    if count < size and now() - began >= seconds:
        raise TimedOut("%d of %d bytes within %.1f s" % (count, size, seconds))


def read_all(c, actor):
    # type: (Connection, str) -> None
    try:
        while receive(c, actor, 65536):
            pass
    except ERRORS as e:
        if not (would_block(e) or is_evidence(c, actor)):
            raise


def read_to_end(c, actor):
    # type: (Connection, str) -> None
    wait = Wait()
    while True:
        try:
            if not receive(c, actor, 65536, 0, True):
                return
            wait.restart()
        except ERRORS as e:
            if not would_block(e):
                return
            if wait.is_over():
                seconds = now() - wait.began
                raise TimedOut("no end of file and no error within %.1f s" % seconds)


def try_read(c, actor):
    # type: (Connection, str) -> None
    try:
        receive(c, actor, 65536)
    except ERRORS as e:
        if would_block(e):
            record_result(c, actor, error_name(e))


def read_urgent(c, actor):
    # type: (Connection, str) -> None
    try:
        data = receive(c, actor, 1, socket.MSG_OOB)
    except ERRORS as e:
        # By RFC 1122's meaning of the pointer the byte is ordinary data: nothing else can be seen.
        if would_block(e) and sysctl_value("net.ipv4.tcp_stdurg") == "1":
            return
        raise
    if len(data) != 1:
        raise StepFailed("no urgent byte")


def peek(c, actor, size):
    # type: (Connection, str, int) -> None
    def is_there():
        # type: () -> bool
        try:
            return len(receive(c, actor, size, socket.MSG_PEEK)) >= size
        except ERRORS as e:
            if would_block(e):
                return False
            raise

    if not wait_until(is_there):
        raise TimedOut("fewer than %d bytes to peek at" % size)


def splice(c, actor, size):
    # type: (Connection, str, int) -> None
    sock, call = c.sock(actor), find_splice()
    out, into = os.pipe()
    try:
        missing = size
        while missing > 0 and wait_for_events(sock, select.POLLIN | POLLRDHUP):
            count = call(sock.fileno(), into, min(missing, 32768))
            if count == 0:
                raise StepFailed("end of file after %d of %d bytes" % (size - missing, size))
            os.read(out, count)
            record_received(c, actor, count)
            missing -= count
        if missing:
            raise TimedOut("only %d of %d bytes were spliced" % (size - missing, size))
    finally:
        os.close(out)
        os.close(into)


def find_splice():
    # type: () -> Callable[[int, int, int], int]
    """Returns splice(source, target, size): os.splice, since Python 3.10, or the C library's."""
    if hasattr(os, "splice"):
        return os.splice
    ctypes, library = load_libc()
    library.splice.restype = ctypes.c_ssize_t

    def call(source, target, size):
        # type: (int, int, int) -> Any
        count = library.splice(source, None, target, None, ctypes.c_size_t(size), 0)
        if count < 0:
            raise OSError(ctypes.get_errno(), "splice")
        return count

    return call
