"""The steps that read."""

import os
import select
import socket
import struct

from .constants import ERRORS, MSG_TRUNC, POLLRDHUP
from .errors import Failed, TimedOut, name_of, words_of, would_block
from .sysctls import read_sysctl
from .system import libc
from .waiting import TIMEOUT, Wait, awaited, now, wait_until


def read_some(t, actor, size):
    t.gather(actor, size)


def read_waitall(t, actor, size):
    """Receives in one call that waits for `size` bytes: a timeout of the socket ends it."""
    sock, began, seconds = t.sock(actor), now(), TIMEOUT.seconds()
    before = sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16
    )  # its length is that of struct timeval here
    timeout = struct.pack(
        "=qq" if len(before) == 16 else "=ii", *divmod(int(seconds * 1000000), 1000000)
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    try:
        count = len(sock.recv(size, socket.MSG_WAITALL))
    except ERRORS as e:
        if would_block(e):
            raise TimedOut("none of %d bytes came" % size)
        t.took(actor, name_of(e))
        raise Failed("%s, none of %d bytes came" % (words_of(e), size))
    finally:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, before)
    t.took(actor, count)
    if count < size and now() - began >= seconds:
        raise TimedOut("%d of %d bytes within %.1f s" % (count, size, seconds))


def read_all(t, actor):
    try:
        while t.recv(actor, 65536):
            pass
    except ERRORS as e:
        if not would_block(e) and not (t.ended and actor == "peer"):
            raise


def read_to_end(t, actor):
    wait = Wait()
    while True:
        try:
            if not t.recv(actor, 65536, 0, True):
                return
            wait.restart()
        except ERRORS as e:
            if not would_block(e):
                return
            if wait.is_over():
                raise TimedOut("no end of file and no error within %.1f s" % (now() - wait.began))


def try_read(t, actor):
    try:
        t.recv(actor, 65536)
    except ERRORS as e:
        if would_block(e):
            t.took(actor, name_of(e))


def read_urgent(t, actor):
    try:
        data = t.recv(actor, 1, socket.MSG_OOB)
    except ERRORS as e:
        # RFC 1122's reading of the pointer: the byte is ordinary data, and that is what there is to see.
        if would_block(e) and read_sysctl("net.ipv4.tcp_stdurg")[0] == "1":
            return
        raise
    if len(data) != 1:
        raise Failed("no urgent byte")


def peek(t, actor, size):
    def peeked():
        try:
            return len(t.recv(actor, size, socket.MSG_PEEK)) >= size
        except ERRORS as e:
            if would_block(e):
                return False
            raise

    if not wait_until(peeked):
        raise TimedOut("fewer than %d bytes to peek at" % size)


def discard(t, actor, size):
    t.gather(actor, size, MSG_TRUNC)


def splice(t, actor, size):
    sock = t.sock(actor)
    if not hasattr(os, "splice"):
        ctypes, library = libc()
    out, into = os.pipe()
    try:
        left = size
        while left > 0 and awaited(sock, select.POLLIN | POLLRDHUP):
            some = min(left, 32768)
            if hasattr(os, "splice"):
                done = os.splice(sock.fileno(), into, some)
            else:
                library.splice.restype = ctypes.c_ssize_t
                done = library.splice(sock.fileno(), None, into, None, ctypes.c_size_t(some), 0)
                if done < 0:
                    raise OSError(ctypes.get_errno(), "splice")
            if done == 0:
                raise Failed("end of file after %d of %d bytes" % (size - left, size))
            os.read(out, done)
            t.took(actor, done)
            left -= done
        if left:
            raise TimedOut("only %d of %d bytes were spliced" % (size - left, size))
    finally:
        os.close(out)
        os.close(into)
