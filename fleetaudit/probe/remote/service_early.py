"""Early answers: does a client that writes a large body get the status of its refusal?

A plain client (Python's http.client, for one) that cannot send stops there: the answer is lost to
it, even if it has arrived. What it could still have read is told apart.
"""

import select
from typing import Any, Dict, Iterator

from .constants import PATTERN
from .service_capture import ServiceCapture
from .service_client import ServiceClient, repeated
from .service_http import request_head
from .service_target import Target
from .waiting import now

TYPE = ("Content-Type: application/octet-stream",)
TRY_S = 8.0  # of one try: one of each way of writing fits into the time of a service
CONTINUE_S = 1.0  # how long curl waits for the 100
PIECE = 16384
FRAME = b"4000\r\n" + PATTERN[:PIECE] + b"\r\n"  # a chunk of PIECE bytes (RFC 9112, section 7.1)
DRAIN_EVERY = 32  # pieces after which the capture is drained


class Body(object):
    """A large body as it is sent: one part that repeats, and an end. It is never whole."""

    def __init__(self, size, is_chunked):
        # type: (int, bool) -> None
        self.part, self.repeated, self.last = PATTERN[:PIECE], size, b""
        self.header = "Content-Length: %d" % size
        if is_chunked:
            rest = b"x" * (size % PIECE)
            frame = ("%x\r\n" % len(rest)).encode("ascii") + rest + b"\r\n" if rest else b""
            self.part, self.repeated = FRAME, size // PIECE * len(FRAME)
            self.header, self.last = "Transfer-Encoding: chunked", frame + b"0\r\n\r\n"

    def piece(self, at):
        # type: (int) -> bytes
        """Returns some of the bytes from position `at` on, b"" at the end."""
        if at >= self.repeated:
            return self.last[at - self.repeated :]
        start = at % len(self.part)
        return self.part[start : start + self.repeated - at]


class Writing(object):
    """A way of writing: `lines` are header lines of its own. With `is_attentive` the client reads
    while it sends, and stops at the first answer.
    """

    def __init__(self, *lines, **traits):
        # type: (*str, **bool) -> None
        self.lines = lines
        self.is_chunked = traits.get("is_chunked", False)
        self.is_attentive = traits.get("is_attentive", False)
        self.shuts = traits.get("shuts", False)


KINDS_OF_WRITING = {
    "send all, then read": Writing(),
    "read while sending": Writing(is_attentive=True),
    "Expect: 100-continue": Writing("Expect: 100-continue", is_attentive=True),
    "chunked": Writing(is_chunked=True),
    "half-close": Writing(shuts=True),
}


def early_answers(service, target, capture, end):
    # type: (Dict[str, Any], Target, ServiceCapture, float) -> Iterator[Dict[str, Any]]
    """Yields what each try saw, with its segments where it lost its answer or was reset. A way of
    writing that takes its whole time is tried once. `end` is when no other try begins.
    """
    names = list(service["writings"])
    for number, name in enumerate(names):
        stop = now() + (end - now()) / (len(names) - number)
        make = lambda seconds: try_writing(name, service["body"], target, capture, seconds)  # noqa: E731
        for seen in repeated(service["tries"], make, TRY_S, stop):
            yield seen


def try_writing(name, size, target, capture, seconds):
    # type: (str, int, Target, ServiceCapture, float) -> Dict[str, Any]
    """Returns what one try saw; raises CannotAsk."""
    writing = KINDS_OF_WRITING[name]
    body = Body(size, writing.is_chunked)
    client = ServiceClient(target, seconds, capture)
    try:
        sent = write_request(client, writing, body)
        was_stopped = client.error.startswith("send")
        client.read_answer()
        seen = client.seen(name, min(size, sent))
        if was_stopped and not writing.is_attentive:
            seen.update({"status": 0, "unread_status": client.status()})
        if not seen["status"] or client.ending == "RST":
            seen["evidence"] = capture.evidence(target.port)
    finally:
        client.close()
    return seen


def write_request(client, writing, body):
    # type: (ServiceClient, Writing, Body) -> int
    """Sends the request as `writing` does; returns how many bytes of the body were sent."""
    head = request_head(client.target, client.target.method, body.header, *writing.lines + TYPE)
    if not client.send_all(head):
        return 0
    if "Expect: 100-continue" in writing.lines and client.wait(select.POLLIN, CONTINUE_S):
        client.receive()
    sent = write_body(client, writing.is_attentive, body)
    if writing.shuts and not client.error:
        client.shut()
    return sent


def write_body(client, is_attentive, body):
    # type: (ServiceClient, bool, Body) -> int
    """Sends a body; returns how many bytes of it could be sent before the end or an answer."""
    sent, number, piece = 0, 0, body.piece(0)
    may_send = may_send_attentively if is_attentive else may_send_blindly
    while piece and may_send(client):
        count = client.send(piece)
        sent, number = sent + count, number + 1
        piece = body.piece(sent)
        if number % DRAIN_EVERY == 0:
            client.capture.drain()
    return sent


def may_send_blindly(client):
    # type: (ServiceClient) -> bool
    """Returns whether a client goes on that looks at nothing but the errors of send."""
    return not client.error


def may_send_attentively(client):
    # type: (ServiceClient) -> bool
    """Waits until there is room to send, and reads meanwhile; returns whether there is no answer
    yet, and no end.
    """
    events = 0
    while not events & select.POLLOUT and not is_answered(client):
        events = client.wait(select.POLLIN | select.POLLOUT)
    return not is_answered(client)


def is_answered(client):
    # type: (ServiceClient) -> bool
    """Reads what has arrived; returns whether that is an answer, or the end, or no time is left."""
    if client.wait(select.POLLIN, 0.0):
        client.receive()
    return any([client.status(), client.ending, client.error, not client.remaining()])
