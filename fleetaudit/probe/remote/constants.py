"""Bounds, and constants of Linux (include/uapi/linux) that Python, or Python 2.7, does not have."""

import errno
import os
import select
import socket
import struct

MARK = "fleetaudit-probe/1 "
COMPRESSED = "zlib:"  # before a reply that is compressed, in base64
SIDES = ("closer", "peer")
ERRORS = (OSError, IOError, socket.error, select.error)  # one class in Python 3, four in Python 2
ABSENT = (errno.ENOENT, errno.ENOTDIR)
NO_PORT = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)  # of bind(2) to any port, and of connect(2)
SCARCE = NO_PORT + (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
REFUSED = (errno.EPERM, errno.EACCES)

# Seconds.
MERCY = 5.0  # between the soft alarm and the hard one
PATIENCE = 1.0  # how long a step waits for what must come, at least: see AdaptiveTimeout
NOTICE = 0.05  # how long the peer may take to see an end that may not come, at least
STALL = 0.01  # delay in a trial that shows a stalled host; an idle host delays by 0.0001

# The largest amounts.
MAX_REPEATS = 2  # trials of one scenario and family that are repeated because the host stalled
MAX_BULK = 16 * 1024 * 1024  # bytes that one step sends
MAX_STRANGERS = 18  # connections that fill an accept queue
MAX_TRACE = 200  # segments of one trial that are reported
MAX_HEADERS = 32768  # characters of captured headers in one reply
MAX_SYSCTLS = 4000
SNAP = 160  # bytes of a packet that are captured: every header, and little of the data
MAX_WORD = 0xFFFFFFFF
MAX_COUNT = (1 << 63) - 1  # this and the next two: what a reply may hold
MAX_SECONDS = 3.2e9
MAX_MICROS = 10**12

# What is sent: the byte at offset n of a stream is the hex digit of n modulo 16.
PATTERN = b"0123456789abcdef" * 4112

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
SIOCGSTAMPNS, F_SETPIPE_SZ = 0x8907, 1031
IOCTLS_OF_POWER = {"ppc": (0x4004667F, 0x40047473)}  # arch/powerpc/include/uapi/asm/ioctls.h
FIONREAD, SIOCOUTQ = IOCTLS_OF_POWER.get(os.uname()[4][:3], (0x541B, 0x5411))
ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS = 3, 263, 6
SO_REUSEPORT, SO_ATTACH_FILTER, SO_RCVBUFFORCE = 15, 26, 33
TCP_INFO, TCP_QUICKACK, TCP_MD5SIG, TCP_ULP, SOL_TLS = 11, 12, 14, 31, 282
MSG_FASTOPEN, MSG_TRUNC, IPPROTO_MPTCP = 0x20000000, 0x20, 262
MSG_DONTWAIT, MSG_NOSIGNAL, MSG_EOR = 0x40, 0x4000, 0x80
QUIET = MSG_DONTWAIT | MSG_NOSIGNAL
POLLRDHUP = 0x2000
POLL_END = POLLRDHUP | select.POLLHUP | select.POLLERR

# Bits of the TCP header (RFC 9293, section 3.1).
FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

# States of a TCP socket (include/net/tcp_states.h).
FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE = 4, 5, 6, 7
CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = 8, 9, 10, 11
MAX_STATE = 13
GONE = 0  # the socket does not exist any more, or only as TIME_WAIT
IS_ESTABLISHED = struct.pack("B", 1)
IS_RESET = struct.pack("B", CLOSE)  # tcpi_state, the first byte of struct tcp_info
HAS_FIN = [struct.pack("B", state) for state in (TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING)]
TIMER_TIME_WAIT = 3  # idiag_timer


def other(side):
    # type: (str) -> str
    return {"peer": "closer"}.get(side, "peer")
