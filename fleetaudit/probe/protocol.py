"""The conversation with the probe: a request from a host's plan, a typed reply from its one line.
Pure.

Rules: no I/O but reading the probe's own text from the package. What a host sends is hostile until
`decode_reply` returns: bounded in size before it is expanded and parsed, typed by msgspec, and
never trusted by its exit status. Nothing in Python loops over its bytes.

What is sent: `COMMAND` as the command; on stdin the program, see `request`.

What comes back: anything. The first line of the shell is `fleetaudit-shell/1 UID NAME`: it shows
that the command runs, and as which user. `fleetaudit-python/1 STATUS` follows if the Python to try
first does not work, and then exactly one line `fleetaudit-probe/1 {json of Reply}`. Where the
host's Python has zlib, it is `fleetaudit-probe/1 zlib:BASE64`: the same JSON, compressed (120 KB
become 16).

The reply separates what was seen (`observations`) from its times (`times`), which differ from host
to host. See `reply.py`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from fleetaudit import __version__
from fleetaudit.errors import ReplyError
from fleetaudit.model import DECODE_ERRORS, HostPlan, ShortText
from fleetaudit.text.phrases import surround
from fleetaudit.text.sanitize import printable_line

from .command import (
    COMMAND,
    CUT_SHORT,
    NATIVE_LINE,
    NO_PYTHON,
    ONLY_NATIVE,
    PYTHON_MARK,
    REPLY_MARK,
    SHELL_MARK,
)
from .native_request import native_digest
from .reply import PROTOCOL, RawObservation, RawTrial, Reply, SealedReply, Times
from .reply_errors import (
    ProbeOutput,
    describe_beginning,
    explain_missing_reply,
    invalid_reply,
    tried_first,
    unused_interpreter,
)
from .request import (
    Request,
    make_program,
    make_request,
    make_script,
    new_request,
    probe_text,
    request_digest,
    scenario_call,
)
from .result_line import MAX_LINE, find_result

__all__ = [
    "COMMAND",
    "CUT_SHORT",
    "MAX_LINE",
    "NATIVE_LINE",
    "NO_PYTHON",
    "ONLY_NATIVE",
    "PROTOCOL",
    "PYTHON_MARK",
    "REPLY_MARK",
    "SHELL_MARK",
    "RawObservation",
    "RawTrial",
    "Reply",
    "Request",
    "SealedReply",
    "Times",
    "decode_reply",
    "describe_beginning",
    "make_program",
    "make_request",
    "make_script",
    "new_request",
    "open_reply",
    "parse_reply",
    "probe_text",
    "request_digest",
    "scenario_call",
    "seal_reply",
    "tried_first",
    "unseal_reply",
]

_decoder = msgspec.json.Decoder(Reply)
_sealed_decoder = msgspec.json.Decoder(SealedReply)
_DIGESTS = {"python": request_digest, "native": native_digest}
"""The digest of a host's call, by the probe that answers it."""


def open_reply(
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
    nonce: str = "",
) -> SealedReply:
    """Returns the reply in a host's output, which must answer this plan's call. Its observations
    and sysctls are still JSON, which `unseal_reply` and `verdict_cache` decode.

    `nonce` is that of the request, which the reply must repeat; "" for a reply that was recorded,
    which repeats none. `cut` names the stream that was cut off at its limit ("stdout", "stderr", ""
    for none). Only the result line counts; `exit_status` and the rest of the output only explain
    why the result line is missing.

    Raises `ReplyError` if there is no such line, in the cases of `result_line.find_result`, if it
    is not a reply, or if it answers another call.
    """
    line = find_result(stdout)
    if line is None:
        raise explain_missing_reply(plan, ProbeOutput(stdout, stderr, exit_status, cut))
    reply = _open_line(line)
    _check_digest(plan, reply)
    _check_nonce(nonce, reply)
    if problem := unused_interpreter(plan, stdout):
        found = f"{problem}; {_used(reply)} was used instead"
        return msgspec.structs.replace(reply, notes=(*reply.notes, found))
    return reply


def _used(reply: SealedReply) -> str:
    """Returns what ran on a host instead of the Python of the inventory."""
    if reply.probe == "native":
        return "the native probe"
    return reply.interpreter or "another Python"


def decode_reply(
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
    nonce: str = "",
) -> Reply:
    """Returns the whole reply in a host's output, which must answer this plan's call; see
    `open_reply`.
    """
    return unseal_reply(open_reply(plan, stdout, stderr, exit_status, cut, nonce))


def parse_reply(stdout: bytes) -> Reply:
    """Returns the reply in what a host printed, whatever call it answers.

    Raises `ReplyError` in the cases of `decode_reply`, except for a reply to another call.
    """
    line = find_result(stdout)
    if line is None:
        raise ReplyError("no result line", kind="no reply")
    return unseal_reply(_open_line(line))


def seal_reply(reply: Reply) -> SealedReply:
    """Returns a reply with its observations and sysctls as JSON."""
    return _sealed_decoder.decode(msgspec.json.encode(reply))


def unseal_reply(reply: SealedReply) -> Reply:
    """Returns the whole reply; raises `ReplyError` if its observations or sysctls are not valid.

    The reason names the place in the reply, such as `$.observations[3].trials[0].count`.
    """
    try:
        return _decoder.decode(msgspec.json.encode(reply))
    except DECODE_ERRORS as e:
        raise invalid_reply(e) from e


def _open_line(line: bytes) -> SealedReply:
    """Returns the reply in the JSON of a result line; raises `ReplyError`.

    Types bound how deep it nests: what no type names is skipped, with a limit of its own
    (`RecursionError`).
    """
    try:
        return _sealed_decoder.decode(line)
    except DECODE_ERRORS as e:
        _refuse_other_protocol(line)
        raise invalid_reply(e) from e


class _Head(msgspec.Struct):
    """What a reply of any protocol has."""

    protocol: Annotated[int, Meta(ge=1, le=99)] = PROTOCOL
    fleetaudit: ShortText = ""


def _refuse_other_protocol(line: bytes) -> None:
    """Raises `ReplyError` if a line is a reply of another protocol, such as one that was fetched
    for an earlier version.
    """
    try:
        head = msgspec.json.decode(line, type=_Head)
    except DECODE_ERRORS:
        return
    if head.protocol != PROTOCOL:
        version = surround(" of fleetaudit ", printable_line(head.fleetaudit, 40))
        raise ReplyError(
            f"the reply has protocol {head.protocol}{version}, and fleetaudit {__version__} reads"
            f" protocol {PROTOCOL}: fetch it again with the program of this version",
            kind="reply to another call",
        )


def _check_digest(plan: HostPlan, reply: SealedReply) -> None:
    """Raises `ReplyError` if the reply answers another call than this plan's."""
    if reply.digest != _DIGESTS[reply.probe](plan):
        raise ReplyError(_why_another_call(reply), kind="reply to another call")


def _check_nonce(nonce: str, reply: SealedReply) -> None:
    """Raises `ReplyError` if the reply answers another request of the same call."""
    if nonce and reply.nonce != nonce:
        raise ReplyError(
            "the reply does not repeat the nonce of this request: it answers an earlier one",
            kind="reply to another call",
        )


def _why_another_call(reply: SealedReply) -> str:
    """Returns how the call that a reply answers differs from this program's."""
    if not reply.digest:
        return "the reply has no digest of the call that it answers"
    if reply.fleetaudit == __version__:
        return (
            "the reply answers another call (other scenarios, sysctls, isolation or program text): "
            "was it made with other playbooks?"
        )
    version = (
        surround("fleetaudit ", printable_line(reply.fleetaudit, 40))
        or "an unknown version of fleetaudit"
    )
    return f"the reply answers a call of {version}, and this is fleetaudit {__version__}"
