"""Numbers and names that several modules share: bounds, and Linux constants that Python lacks."""

import errno
import select
import socket
import struct

MARK = "fleetaudit-probe/1 "
NEEDS_RAW = "needs CAP_NET_RAW or user namespaces; set become: true"
OUT_OF_TIME = "the probe's time ran out"
MERCY = 5.0  # seconds between the soft alarm and the hard one
PATIENCE = 1.0  # seconds that a step waits for what must come, at least: see AdaptiveTimeout
HEARING = 0.05  # seconds that the peer is given to hear of an end that may not come, at least
STALL = 0.01  # seconds of delay in a trial that make it one of a host that stalled; an idle one is late by 0.0001
MAX_REPEATS = (
    2  # trials of one scenario over one family that are run again because the host stalled
)
MAX_BULK = 16 * 1024 * 1024  # bytes that one step sends at most
MAX_STRANGERS = 18  # connections that fill an accept queue at most
MAX_TRACE = 200  # segments of one trial that are reported
MAX_HEADERS = 32768  # characters of captured headers in one reply
MAX_SYSCTLS = 4000
SNAP = 160  # bytes of a packet that are captured: every header, never more of the data than fits beside it
PATTERN = (
    b"0123456789abcdef" * 4112
)  # what is sent: the byte at offset n of a stream is the hex digit of n modulo 16
SIDES = ("closer", "peer")
ERRORS = (OSError, IOError, socket.error, select.error)  # one class in Python 3, four in Python 2
# Where Python has no name for a Linux constant (include/uapi/linux), or had none in 2.7.
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SIOCGSTAMPNS, FIONREAD, SIOCOUTQ, F_SETPIPE_SZ = 0x8907, 0x541B, 0x5411, 1031
ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS = 3, 263, 6
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
TCP_INFO, TCP_QUICKACK, TCP_MD5SIG, TCP_ULP, SOL_TLS = 11, 12, 14, 31, 282
MSG_FASTOPEN, MSG_TRUNC, IPPROTO_MPTCP = 0x20000000, 0x20, 262
POLLRDHUP = 0x2000
MD5_KEY = b"fleetaudit probe"  # it protects nothing
QUIET, MSG_NOSIGNAL, MSG_EOR = 0x4040, 0x4000, 0x80  # QUIET: MSG_DONTWAIT and MSG_NOSIGNAL
FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = (
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
)
MAX_STATE = 13
GONE = 0  # where there is no socket any more, or only a TIME_WAIT
RESET = struct.pack("B", CLOSE)
TOOK_FIN = [struct.pack("B", state) for state in (TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING)]
TIMER_TIME_WAIT = 3  # idiag_timer
MAX_COUNT, MAX_SECONDS, MAX_MICROS = (
    (1 << 63) - 1,
    3.2e9,
    10**12,
)  # the largest numbers that a reply may hold
ABSENT = (errno.ENOENT, errno.ENOTDIR)
SCARCE = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOBUFS,
)  # and EAGAIN of fork(2), see Child


def micros(seconds):
    """Returns whole microseconds, bounded: somebody may set the clock during a trial."""
    return max(-MAX_MICROS, min(MAX_MICROS, int(seconds * 1e6)))


def other(side):
    """Returns the other side."""
    return "peer" if side == "closer" else "closer"
