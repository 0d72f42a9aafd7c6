"""One connection to a service, and what its client sees of it."""

import errno
import select
import socket
from typing import Any, Callable, Dict, Iterator

from .constants import ERRORS, IS_RESET, TCP_INFO
from .errors import call_or, errno_of, would_block
from .service_capture import ServiceCapture
from .service_http import is_garbage, status_of
from .service_target import CannotAsk, Target, client_error
from .system import close_quietly
from .waiting import now, poll_events

MAX_ANSWER = 1 << 20  # bytes of an answer that are read
MAX_HEAD = 65536  # and that are kept
LEAST_S = 1.0  # what a try must have
LATE_S = 0.01  # poll(2) may return a little too early
CONNECT_S = 5.0  # how long connecting may take, with the handshake of TLS
MEANWHILE_S = 0.02  # between two looks at other connections
QUIET_S = 0.5  # how long an answer may pause before it counts as complete
RECV_SIZE = 65536
BLOCKED = {"SSLWantReadError": select.POLLIN, "SSLWantWriteError": select.POLLOUT}
RESETS = (errno.ECONNRESET, errno.EPIPE)
WAITS = (errno.EINPROGRESS, errno.EALREADY)


class ServiceClient(object):
    """A connection to a service, for a number of seconds.

    `head` is the beginning of what was received, `received` its length. `error` is the first error,
    `ending` how the connection ended: "FIN", "RST", "open", "" as long as it goes on. `last` is
    when the last byte came.
    """

    def __init__(self, target, seconds, capture):
        # type: (Target, float, ServiceCapture) -> None
        """Connects; raises CannotAsk if that is impossible."""
        self.target, self.capture = target, capture
        self.end = now() + min(seconds, CONNECT_S)
        self.head, self.received = b"", 0
        self.error = self.ending = ""
        self.has_shut, self.last = False, now()  # type: bool, float
        self.sock = socket.socket(target.family, socket.SOCK_STREAM)  # type: Any
        try:
            self.connect()
        except BaseException:
            close_quietly(self.sock)
            raise
        self.end, self.last = now() + seconds, now()

    def connect(self):
        # type: () -> None
        """Connects, with TLS where the URL says so; raises CannotAsk."""
        where = self.target.where()
        try:
            self.open_connection()
        except ERRORS as e:
            if errno_of(e) == errno.ECONNREFUSED:
                raise CannotAsk("nothing listens on " + where, "ss -ltnp")
            what = "%s %s failed: %s" % (self.target.connecting, where, client_error(e))
            raise CannotAsk(what, "ss -ltnp")

    def open_connection(self):
        # type: () -> None
        """Connects, and does the handshake of TLS; raises OSError."""
        self.sock.setblocking(False)
        self.capture.begin(self.sock, self.target.address)
        failed = self.sock.connect_ex((self.target.address, self.target.port))
        if failed in WAITS:
            failed = self.connect_result()
        if failed == errno.ECONNRESET:  # it was there, and is already over
            self.fail("connect", socket.error(failed, "connect"))
        elif failed:
            raise socket.error(failed, "connect")
        if self.target.tls:
            self.sock = self.target.tls(self.sock)
            self.shake_hands()

    def connect_result(self):
        # type: () -> int
        """Returns the errno of a connect that was begun, 0 for none."""
        if not self.wait(select.POLLOUT):
            return errno.ETIMEDOUT
        return int(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def shake_hands(self):
        # type: () -> None
        """Does the handshake of TLS; raises OSError."""
        while self.attempt(select.POLLIN, self.sock.do_handshake) is False and self.remaining():
            continue
        if not self.remaining():
            raise socket.error(errno.ETIMEDOUT, "handshake")

    def remaining(self):
        # type: () -> float
        """Returns the seconds that are left of this connection's time."""
        return max(0.0, self.end - now())

    def wait(self, mask, seconds=3600.0):
        # type: (int, float) -> int
        """Returns the events of the socket, 0 if none comes in time."""
        left = min(seconds, self.remaining())
        while self.target.meanwhile and left > MEANWHILE_S:
            self.target.meanwhile()
            events = poll_events(self.sock, mask, MEANWHILE_S)
            if events:
                return events
            left -= MEANWHILE_S
        return poll_events(self.sock, mask, min(left, self.remaining()))

    def attempt(self, mask, call, *arguments):
        # type: (int, Any, *Any) -> Any
        """Returns what a call of the socket returns, False after a wait if it would have blocked;
        `mask` says for what. Raises OSError.
        """
        try:
            return call(*arguments)
        except ERRORS as e:
            event = self.would_wait(e, mask)
            if not event:
                raise
        self.wait(event)
        return False

    def send(self, data):
        # type: (bytes) -> int
        """Returns how many bytes could be sent, 0 if none can be after all: after an error, or when
        the time is over.
        """
        sent = False  # type: Any
        try:
            while sent is False and self.remaining():
                sent = self.attempt(select.POLLOUT, self.sock.send, data)
        except ERRORS as e:
            self.fail("send", e)
        if sent is False:
            self.keep_error("send: the service reads no more")
        return int(sent)

    def send_all(self, data):
        # type: (bytes) -> bool
        """Sends data; returns whether all of it could be sent."""
        sent = 1
        while data and sent:
            sent = self.send(data)
            data = data[sent:]
        return not data

    def shut(self):
        # type: () -> None
        """Closes the sending side of the connection, below TLS, which has no such thing."""
        self.has_shut = True
        below = socket.fromfd(self.sock.fileno(), self.target.family, socket.SOCK_STREAM)
        call_or(None, below.shutdown, socket.SHUT_WR)
        below.close()

    def receive(self):
        # type: () -> bool
        """Reads once; returns whether bytes came. False: nothing is there, or the end."""
        try:
            data = self.sock.recv(RECV_SIZE)
        except ERRORS as e:
            if not self.would_wait(e):
                self.fail("recv", e)
            return False
        if not data:
            self.end_by("FIN")
            return False
        self.head += data[: MAX_HEAD - len(self.head)]
        self.received, self.last = self.received + len(data), now()
        return True

    def receive_all(self, most):
        # type: (int) -> None
        """Reads what has arrived, up to so many bytes of the whole connection."""
        while self.received < most and self.receive():
            continue

    def would_wait(self, error, mask=select.POLLIN):
        # type: (BaseException, int) -> int
        """Returns the event that a call which raised this has to wait for, 0 for an error."""
        plain = mask if would_block(error) else 0
        return BLOCKED.get(type(error).__name__, plain)

    def fail(self, call, error):
        # type: (str, BaseException) -> None
        """Keeps the first error, and that the connection was reset."""
        self.keep_error("%s: %s" % (call, client_error(error)))
        if errno_of(error) in RESETS:
            self.ending = "RST"
        self.end_by("RST")

    def keep_error(self, error):
        # type: (str) -> None
        """Keeps the first error."""
        self.error = self.error or error

    def end_by(self, ending):
        # type: (str) -> None
        """Keeps the first ending."""
        self.ending = self.ending or ending

    def status(self):
        # type: () -> int
        """Returns the status of the answer, 0 as long as there is none."""
        return status_of(self.head)

    def read_answer(self):
        # type: () -> None
        """Reads until the connection ends, or the answer pauses, or there is none in time. After an
        error of send the rest that has arrived is read.
        """
        is_open = True
        while is_open and self.received < MAX_ANSWER:
            silence = QUIET_S if self.has_answer() else self.remaining()
            is_open = bool(self.wait(select.POLLIN, silence))
            self.receive_all(MAX_ANSWER)
            is_open = is_open and not self.ending
        self.judge_end()

    def has_answer(self):
        # type: () -> bool
        """Returns whether enough was received to tell what it is."""
        return bool(self.status() if self.target.is_http else self.head)

    def judge_end(self):
        # type: () -> None
        """Decides how the connection ended. A FIN may be followed by a RST, which recv does not
        tell.
        """
        info = call_or(b"", self.sock.getsockopt, socket.IPPROTO_TCP, TCP_INFO, 1)
        if (self.ending, info, self.sends_on_its_own()) == ("FIN", IS_RESET, False):
            self.ending = "RST"
        self.end_by("open")
        if self.target.is_http and not self.status():
            self.judge_answer()

    def sends_on_its_own(self):
        # type: () -> bool
        """Returns whether the server may have reset what this client sent after the server's FIN:
        its own FIN, or the alert with which TLS ends.
        """
        return self.has_shut or bool(self.target.tls)

    def judge_answer(self):
        # type: () -> None
        """Says why there is no answer of HTTP/1."""
        if self.head and is_garbage(self.head):
            self.error = "the answer is not HTTP/1"
        missing = {"open": "no answer came in time"}
        self.keep_error(missing.get(self.ending, "the connection ended without an answer"))

    def seen(self, writing, sent):
        # type: (str, int) -> Dict[str, Any]
        """Returns what this client saw, as one try; "head" and "is_late", whether it took all of
        its time, are for the caller."""
        return {
            "writing": writing,
            "status": self.status(),
            "unread_status": 0,
            "ending": self.ending,
            "sent": sent,
            "error": self.error,
            "head": self.head,
            "is_late": self.remaining() < LATE_S,
        }

    def close(self):
        # type: () -> None
        """Closes the connection."""
        self.capture.drain()
        close_quietly(self.sock)


def repeated(tries, make, seconds, end):
    # type: (int, Callable[[float], Dict[str, Any]], float, float) -> Iterator[Dict[str, Any]]
    """Yields what each try saw: `make` does one in at most so many seconds. One that takes all of
    its time is the last, and none begins that could not end by `end`.
    """
    is_late = False
    while tries and not is_late and now() + LEAST_S <= end:
        seen = make(min(seconds, end - now()))
        is_late, tries = seen["is_late"], tries - 1
        yield seen
