"""The conversation with the probe: a request from a host's plan, a typed reply from its one line.
Pure.

Rules: no I/O but reading the probe's own text from the package. What a host sends is hostile until
`decode_reply` returns: bounded in size and depth before it is parsed, typed by msgspec, and never
trusted by its exit status.

What is sent: `COMMAND` as the command; on stdin the program, see `request`.

What comes back: anything. The first line of the shell is `fleetaudit-shell/1 UID NAME`: it shows
that the command runs, and as which user. `fleetaudit-python/1 STATUS` follows if the Python to try
first does not work, and then exactly one line `fleetaudit-probe/1 {json of Reply}`.
"""

from __future__ import annotations

import re

import msgspec

from fleetaudit import __version__
from fleetaudit.errors import ReplyError
from fleetaudit.model import DECODE_ERRORS, HostPlan
from fleetaudit.text.phrases import surround

from .command import COMMAND, NO_PYTHON, PYTHON_MARK, REPLY_MARK, SHELL_MARK
from .reply import RawObservation, RawTrial, Reply
from .reply_errors import (
    ProbeOutput,
    explain_missing_reply,
    tried_first,
    unused_interpreter,
)
from .request import (
    PROTOCOL,
    make_program,
    make_request,
    make_script,
    probe_text,
    request_digest,
    scenario_call,
)

__all__ = [
    "COMMAND",
    "MAX_DEPTH",
    "MAX_LINE",
    "NO_PYTHON",
    "PROTOCOL",
    "PYTHON_MARK",
    "REPLY_MARK",
    "SHELL_MARK",
    "RawObservation",
    "RawTrial",
    "Reply",
    "decode_reply",
    "make_program",
    "make_request",
    "make_script",
    "parse_reply",
    "probe_text",
    "request_digest",
    "scenario_call",
    "tried_first",
]

MAX_LINE = 6 * 1024 * 1024
"""Maximum number of bytes of a reply."""
MAX_DEPTH = 12
"""Maximum depth to which the arrays and objects of a reply nest."""

_decoder = msgspec.json.Decoder(Reply)
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_OPEN, _CLOSE = b"[{", b"]}"
_PARENTHESES = bytes.maketrans(_OPEN + _CLOSE, b"(())")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _OPEN + _CLOSE)


# ---- the reply


def decode_reply(
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
) -> Reply:
    """Returns the reply in a host's output, which must answer this plan's call.

    `cut` names the stream that was cut off at its limit ("stdout", "stderr", "" for none). Only the
    result line counts; `exit_status` and the rest of the output only explain why there is none.
    Raises `ReplyError` if there is no such line, if there are several, if it is larger than
    `MAX_LINE`, nests deeper than `MAX_DEPTH` or is not a `Reply`, or if it answers another call.
    """
    line = _result_line(stdout)
    if line is None:
        raise explain_missing_reply(plan, ProbeOutput(stdout, stderr, exit_status, cut))
    reply = _parse_line(line)
    _check_digest(plan, reply)
    if problem := unused_interpreter(plan, stdout):
        found = f"{problem}; {reply.interpreter or 'another Python'} was used instead"
        return msgspec.structs.replace(reply, notes=(*reply.notes, found))
    return reply


def parse_reply(stdout: bytes) -> Reply:
    """Returns the reply in what a host printed, whatever call it answers.

    Raises `ReplyError` in the cases of `decode_reply`, except for a reply to another call.
    """
    line = _result_line(stdout)
    if line is None:
        raise ReplyError("no result line", kind="no reply")
    return _parse_line(line)


def _result_line(stdout: bytes) -> bytes | None:
    """Returns the JSON of the result line, None if there is no such line; raises `ReplyError` for
    several.
    """
    lines = [line for line in re.split(rb"\r?\n", stdout) if line.startswith(REPLY_MARK)]
    if not lines:
        return None
    if len(lines) > 1:
        raise ReplyError(f"{len(lines)} result lines, expected exactly one")
    return lines[0][len(REPLY_MARK) :]


def _parse_line(line: bytes) -> Reply:
    """Returns the reply in the JSON of a result line; raises `ReplyError`."""
    if len(line) > MAX_LINE:
        raise ReplyError(f"the result line has {len(line)} bytes, more than the {MAX_LINE} allowed")
    if _nests_too_deep(line):
        raise ReplyError(f"the result line nests deeper than {MAX_DEPTH}")
    try:
        return _decoder.decode(line)
    except DECODE_ERRORS as e:
        raise ReplyError(f"the result line is not what the probe sends: {e}") from e


def _nests_too_deep(line: bytes) -> bool:
    """Returns whether the arrays and objects of a JSON text nest deeper than `MAX_DEPTH`.

    Nothing in Python loops over the bytes: without escapes, every second part between quotation
    marks is outside of strings. There the brackets become parentheses, and each round removes the
    innermost pairs. The decoder refuses a text that is not JSON, whatever this returns.
    """
    outside = b"".join(_ESCAPE.sub(b"", line).split(b'"')[::2])
    brackets = outside.translate(_PARENTHESES, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"()", b"")
    return b"()" in brackets or brackets.count(b"(") > MAX_DEPTH


def _check_digest(plan: HostPlan, reply: Reply) -> None:
    """Raises `ReplyError` if the reply answers another call than this plan's, such as an old reply
    that was sent again.
    """
    if reply.digest != request_digest(plan):
        raise ReplyError(_why_another_call(reply), kind="reply to another call")


def _why_another_call(reply: Reply) -> str:
    """Returns how the call that a reply answers differs from this program's."""
    if not reply.digest:
        return "the reply has no digest of the call that it answers"
    if reply.fleetaudit == __version__:
        return (
            "the reply answers another call (other scenarios, sysctls, isolation or program text): "
            "was it made with other playbooks?"
        )
    version = surround("fleetaudit ", reply.fleetaudit[:40]) or "an unknown version of fleetaudit"
    return f"the reply answers a call of {version}, and this is fleetaudit {__version__}"
