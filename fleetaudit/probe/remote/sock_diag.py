"""Reads the state of one socket through sock_diag(7), or destroys it."""

import errno
import os
import select
import socket
import struct
from typing import Tuple

from .constants import ERRORS, LISTEN, MAX_WORD, TIMER_TIME_WAIT
from .errors import Unsupported, call_or, errno_of, unsupported
from .files import read_file
from .proc_net import NO_SOCKET
from .waiting import wait_for_events

NETLINK_SOCK_DIAG, NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR = 4, 1, 4, 2
SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
QUEUES = 16 + 4 + 48 + 4  # where idiag_rqueue and idiag_wqueue are in a message


class SockDiag(object):
    """A netlink socket. Listing /proc/net/tcp takes milliseconds on a machine with much memory,
    even if a namespace has one connection.
    """

    def __init__(self):
        # type: () -> None
        folder = "/lib/modules/" + os.uname()[2]
        is_loaded = os.path.exists("/sys/module/tcp_diag") or not os.path.exists(folder)
        built_in = call_or("", read_file, folder + "/modules.builtin", 1 << 20)
        if not (is_loaded or "tcp_diag.ko" in built_in):
            raise Unsupported(
                "the kernel's tcp_diag module is not loaded, and the probe loads none"
            )
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
        self.check()

    def check(self):
        # type: () -> None
        """Raises Unsupported unless the kernel finds an existing socket: without tcp_diag it
        answers ENOENT.
        """
        known = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            known.bind(("127.0.0.1", 0))
            known.listen(1)
            near = (socket.AF_INET, "127.0.0.1", known.getsockname()[1])
            self.request(SOCK_DIAG_BY_FAMILY, near, (socket.AF_INET, "127.0.0.1", 1))
        except ERRORS as e:
            raise unsupported("the kernel does not answer for TCP", e)
        finally:
            known.close()

    def request(self, kind, near, far):
        # type: (int, Tuple[int, str, int], Tuple[int, str, int]) -> bytes
        """Returns the answer about the TCP socket with these addresses; raises OSError, ENOENT if
        there is no such socket.
        """
        flags = NLM_F_REQUEST  # and NLM_F_ACK if there is no other answer
        if kind == SOCK_DESTROY:
            flags |= NLM_F_ACK
        body = diag_request(near, far)
        self.sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        if not wait_for_events(self.sock, select.POLLIN):
            raise OSError(errno.ETIMEDOUT, "netlink")
        answer = self.sock.recv(4096)
        if len(answer) < 20:
            raise OSError(errno.EBADMSG, "sock_diag")
        refused = -struct.unpack_from("=i", answer, 16)[0]  # 0 is the ACK
        if struct.unpack_from("=H", answer, 4)[0] == NLMSG_ERROR and refused:
            raise OSError(refused, "sock_diag")
        return answer

    def find(self, near, far):
        # type: (Tuple[int, str, int], Tuple[int, str, int]) -> Tuple[int, int, int]
        """Returns what `find_listed` does; raises OSError."""
        try:
            answer = self.request(SOCK_DIAG_BY_FAMILY, near, far)
        except OSError as e:
            if errno_of(e) == errno.ENOENT:
                return NO_SOCKET
            raise
        return parse_answer(answer)

    def destroy(self, near, far):
        # type: (Tuple[int, str, int], Tuple[int, str, int]) -> None
        """Destroys a socket as `ss -K` does; raises OSError."""
        if self.find(near, far) != NO_SOCKET:  # else the listener would be destroyed
            self.request(SOCK_DESTROY, near, far)


def diag_request(near, far):
    # type: (Tuple[int, str, int], Tuple[int, str, int]) -> bytes
    body = struct.pack("=BBBxI", near[0], socket.IPPROTO_TCP, 0, MAX_WORD)
    addresses = [socket.inet_pton(end[0], end[1]) for end in (near, far)]
    body += struct.pack("!HH16s16s", near[2], far[2], addresses[0], addresses[1])
    return body + struct.pack("=III", 0, MAX_WORD, MAX_WORD)


def parse_answer(answer):
    # type: (bytes) -> Tuple[int, int, int]
    """Returns what `find_listed` does; raises OSError."""
    if len(answer) < QUEUES + 8:
        raise OSError(errno.EBADMSG, "sock_diag")
    _, state, timer = struct.unpack_from("=BBB", answer, 16)
    unread, unsent = struct.unpack_from("=II", answer, QUEUES)
    # A listener answers for a connection of its port that is in no table any more.
    if timer == TIMER_TIME_WAIT or state == LISTEN:
        return NO_SOCKET
    return state, unsent, unread
