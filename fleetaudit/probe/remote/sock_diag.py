"""Looks up a socket that this process no longer holds."""

import errno
import os
import select
import socket
import struct

from .constants import ERRORS, GONE, LISTEN, MAX_STATE, TIMER_TIME_WAIT
from .errors import NotHere, name_of, number_of
from .files import count_of, lines_of, read_or
from .waiting import awaited, now


def listed(near, far, seconds=0.2):
    """Returns (state, unsent or unacknowledged bytes, unread bytes) of the socket with these addresses from the tables
    of /proc/net; the state is GONE where it is in none, or only in TIME_WAIT. None where the time runs out; raises
    OSError, IndexError and ValueError. An address is (family, text, port)."""
    here, there = listed_address(near), listed_address(far)
    end = now() + seconds
    path = "/proc/net/tcp" if near[0] == socket.AF_INET else "/proc/net/tcp6"
    for number, line in enumerate(lines_of(path), 1):
        if number % 256 == 0 and now() > end:
            return None
        if here in line and there in line:
            fields = line.split(None, 5)
            if (fields[1], fields[2]) == (here, there):
                if count_of(fields[5][:2], 16) == TIMER_TIME_WAIT:
                    return GONE, 0, 0
                out, _, into = fields[4].partition(b":")
                return (
                    count_of(fields[3], 16, MAX_STATE),
                    count_of(out, 16, 0xFFFFFFFF),
                    count_of(into, 16, 0xFFFFFFFF),
                )
    return GONE, 0, 0


def listed_address(address):
    """Returns an address (family, text, port) as /proc/net/tcp writes it: words of 32 bits in the machine's order."""
    packed = socket.inet_pton(address[0], address[1])
    words = struct.unpack("=%dI" % (len(packed) // 4), packed)
    return ("".join(["%08X" % word for word in words]) + ":%04X" % address[2]).encode("ascii")


class Diagnosis(object):
    """sock_diag(7): asks the kernel about one socket, or has it destroyed. Listing /proc/net/tcp instead takes
    milliseconds on a machine with much memory, even where a namespace has one connection."""

    ASK, DESTROY = 20, 21

    def __init__(self):
        release = os.uname()[2]
        folder = "/lib/modules/" + release
        if not (
            os.path.exists("/sys/module/tcp_diag")
            or not os.path.exists(folder)
            or "tcp_diag.ko" in read_or(folder + "/modules.builtin", "", 1 << 20)
        ):
            raise NotHere("the kernel's tcp_diag module is not loaded, and the probe loads none")
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)  # NETLINK_SOCK_DIAG
        self.check()

    def check(self):
        """Raises NotHere unless the kernel knows a socket that is there: without tcp_diag it says ENOENT of all."""
        known = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            known.bind(("127.0.0.1", 0))
            known.listen(1)
            near = (socket.AF_INET,) + known.getsockname()
            self.request(self.ASK, near, (socket.AF_INET, "127.0.0.1", 1))
        except ERRORS as e:
            raise NotHere("the kernel does not answer for TCP (%s)" % name_of(e))
        finally:
            known.close()

    def request(self, kind, near, far):
        """Returns the kernel's answer about the TCP socket with these addresses, each (family, text, port); raises
        OSError with what it refuses with, ENOENT where there is no such socket."""
        ends = [(socket.inet_pton(a[0], a[1]), a[2]) for a in (near, far)]
        body = struct.pack("=BBBxI", near[0], socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
        body += struct.pack("!HH16s16s", ends[0][1], ends[1][1], ends[0][0], ends[1][0])
        body += struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
        flags = (
            5 if kind == self.DESTROY else 1
        )  # NLM_F_REQUEST, and NLM_F_ACK where there is no other answer
        self.sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        if not awaited(self.sock, select.POLLIN):
            raise OSError(errno.ETIMEDOUT, "netlink")
        answer = self.sock.recv(4096)
        if len(answer) < 20:
            raise OSError(errno.EBADMSG, "sock_diag")
        if struct.unpack_from("=H", answer, 4)[0] == 2:  # NLMSG_ERROR, 0 is the ACK
            number = -struct.unpack_from("=i", answer, 16)[0]
            if number:
                raise OSError(number, "sock_diag")
        return answer

    def look(self, near, far):
        """Returns what `listed` does, out of struct inet_diag_msg; raises OSError."""
        try:
            answer = self.request(self.ASK, near, far)
        except OSError as e:
            if number_of(e) == errno.ENOENT:
                return GONE, 0, 0
            raise
        if len(answer) < 80:
            raise OSError(errno.EBADMSG, "sock_diag")
        _, state, timer = struct.unpack_from("=BBB", answer, 16)
        unread, unsent = struct.unpack_from("=II", answer, 16 + 4 + 48 + 4)
        # A listener answers for a connection of its port that is in no table any more.
        return (
            (GONE, 0, 0) if timer == TIMER_TIME_WAIT or state == LISTEN else (state, unsent, unread)
        )
