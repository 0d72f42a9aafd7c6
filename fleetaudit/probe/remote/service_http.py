"""Requests of HTTP/1.1, and what the beginning of an answer says."""

import re

from .service_target import Target

STATUS_LINE = re.compile(b"HTTP/1[.][01] ([0-9]{3})")
SERVER = re.compile(b"\r?\nserver:[ \t]*([^\r\n]{0,200})", re.IGNORECASE)
CLOSES = re.compile(b"\r?\nconnection:[ \t]*close", re.IGNORECASE)
END_OF_HEAD = re.compile(b"\r?\n\r?\n")
BEGINNING = b"HTTP/1."


def request_head(target, method, *lines):
    # type: (Target, str, *str) -> bytes
    """Returns the head of a request with these header lines besides the usual ones."""
    first = ["%s %s HTTP/1.1" % (method, target.path), "Host: " + target.host]
    usual = ["User-Agent: fleetaudit", "Accept: */*"]
    return ("\r\n".join(first + usual + list(lines)) + "\r\n\r\n").encode("ascii")


def final_head(received):
    # type: (bytes) -> bytes
    """Returns what was received from the first answer on that is not an interim one (1xx)."""
    rest = received
    while rest[9:10] == b"1" and STATUS_LINE.match(rest):
        parts = END_OF_HEAD.split(rest, 1)
        rest = parts[1] if len(parts) > 1 else b""
    return rest


def status_of(received):
    # type: (bytes) -> int
    """Returns the status of an answer, 0 as long as there is none."""
    line = STATUS_LINE.match(final_head(received))
    return int(line.group(1)) if line else 0


def is_garbage(received):
    # type: (bytes) -> bool
    """Returns whether what was received cannot become an answer of HTTP/1."""
    beginning = received[: len(BEGINNING)]
    is_long = len(received) > 12
    return not BEGINNING.startswith(beginning) or (is_long and not STATUS_LINE.match(received))


def header_lines(received):
    # type: (bytes) -> bytes
    """Returns the head of an answer."""
    return END_OF_HEAD.split(final_head(received), 1)[0]


def server_of(received):
    # type: (bytes) -> str
    """Returns what a server calls itself, "" if it does not."""
    found = SERVER.search(header_lines(received))
    return found.group(1).decode("utf-8", "replace").strip() if found else ""


def says_close(received):
    # type: (bytes) -> bool
    """Returns whether an answer announces that the server closes the connection."""
    return bool(CLOSES.search(header_lines(received)))
