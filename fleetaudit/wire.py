"""The conversation with the probe: a request out of a host's plan, a typed reply out of its one line. Pure.

Rules: no I/O but reading the probe's own text out of the package. The command line is a constant, so that it can be a
forced command or one sudoers line. What comes back is hostile until `decode` returned: bounded in size and depth before
it is parsed, typed by msgspec, and never trusted by exit status. A reply that was cut never called, so it has no line.

What goes: `COMMAND` as the command; on stdin the program as a string, its execution, and as the last line the call:

    PROGRAM = r'''…the text of remote/probe.py…'''
    exec(compile(PROGRAM, "fleetaudit-probe", "exec"))
    main({'protocol': 1, …}, PROGRAM)

What comes: anything, and among it exactly one line `fleetaudit-probe/1 {json of Reply}`.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .errors import ReplyError
from .model import Exposure, Family, Frozen, HostPlan, Kernel, Os, Sentence, Sysctl, Word

PROTOCOL = 1
MARK = b"fleetaudit-probe/1 "
NO_PYTHON = 86
"""The exit status of `COMMAND` where no interpreter works."""

# By trying, not by `command -v`: shims exist that fail. `cd /`, -E and -s keep stray modules out.
COMMAND = (
    "/bin/sh -c 'cd /; for p in python3 /usr/bin/python3 /usr/bin/python3.[0-9]* /usr/local/bin/python3.[0-9]* "
    "python2.7 python2 python /usr/libexec/platform-python; do "
    '"$p" -c "" </dev/null >/dev/null 2>&1 && exec "$p" -E -s -; done; '
    f"exit {NO_PYTHON}'"
)

MAX_LINE = 6 * 1024 * 1024
MAX_DEPTH = 12


# ---- the reply, as the probe sends it ------------------------------------------------------------------------------


class RawPeer(Frozen, frozen=True, kw_only=True):
    """What the peer's socket said after the ending, in the order asked: tcpi_state (null over AF_UNIX), poll's event
    names ("IN", "OUT", "ERR", "HUP", "RDHUP", "PRI"), up to three recv results ("0", "5", "ECONNRESET", "EAGAIN"),
    then SO_ERROR ("0", "EPIPE", …)."""

    state: int | None
    poll: tuple[Word, ...]
    recv: Annotated[tuple[Word, ...], Meta(max_length=8)]
    so_error: Word


class RawTrial(Frozen, frozen=True, kw_only=True):
    """One trial, or `count` trials that were alike in everything but time.

    `wire`: [microseconds since the trial began, "closer" | "peer" (who sent it), flags as tcpdump writes them, relative
    seq, relative ack, payload length, urgent pointer, options], each packet once, of this trial's connection only;
    null where it could not be read, and then `wire_note` says why. `wire_lost`: records that the packet socket dropped
    (PACKET_STATISTICS). `wire_omitted`: segments left out of the middle of a long trace, never one with SYN, FIN, RST
    or URG. `peer` null: its socket was gone. `kernel`: the counters (COUNTERS in the probe) that moved, null
    where they could not be read. `steps`: [microseconds, index] when each step began. `queue`: just before the
    first ending step of the closer, what FIONREAD ("fionread") and /proc/net/tcp ("rx_queue", in a private namespace
    only) said of the closer's receive queue. `bytes`: "closer sent", "closer received", "peer sent", "peer received".
    `error`: why the trial could not be carried through ("step 3 “peer sends 5 bytes”: EPIPE").
    """

    count: Annotated[int, Meta(ge=1, le=1000)]
    wire: (
        Annotated[
            tuple[
                tuple[int, Literal["closer", "peer"], Annotated[str, Meta(max_length=12)], int, int, int, int, Word],
                ...,
            ],
            Meta(max_length=200),
        ]
        | None
    )
    wire_note: Sentence = ""
    wire_lost: int = 0
    wire_omitted: int = 0
    peer: RawPeer | None
    kernel: dict[Word, int] | None
    steps: Annotated[tuple[tuple[int, int], ...], Meta(max_length=64)] = ()
    queue: dict[Word, int] = {}
    bytes: dict[Word, int] = {}
    error: Sentence = ""


class RawObservation(Frozen, frozen=True, kw_only=True):
    """One scenario over one family. `not_run` says what the host lacks; then there are no trials."""

    scenario: Word
    family: Family
    trials: Annotated[tuple[RawTrial, ...], Meta(max_length=100)] = ()
    not_run: Sentence = ""


class Reply(Frozen, frozen=True, kw_only=True):
    """All that a probe says. `isolation_note` says why it is "host" although a namespace was allowed. `notes` are
    sentences about the whole run (settings that could not be copied into the namespace, the alarm that rang)."""

    protocol: Literal[1]
    kernel: Kernel
    os: Os
    python: Word
    machine_id: Word = ""
    isolation: Literal["namespace", "host"]
    isolation_note: Sentence = ""
    notes: Annotated[tuple[Sentence, ...], Meta(max_length=50)] = ()
    observations: Annotated[tuple[RawObservation, ...], Meta(max_length=2000)]
    sysctls: Annotated[dict[Word, Sysctl], Meta(max_length=5000)]
    exposure: Exposure | None
    elapsed_s: float
    cpu_s: float = 0.0


# ---- out -----------------------------------------------------------------------------------------------------------


@functools.cache
def program() -> str:
    """Returns the probe's text, ASCII, as it is shipped."""
    return importlib.resources.files(__package__).joinpath("remote/probe.py").read_text("ascii")


def request(plan: HostPlan, *, deadline_s: float) -> bytes:
    """Returns what goes to the interpreter's stdin for one host; `deadline_s` is when the probe's own alarm rings."""
    call: dict[str, Any] = {
        "protocol": PROTOCOL,
        "deadline": round(deadline_s, 1),
        "isolation": plan.isolation,
        "sysctls": list(plan.sysctls_collect),
        "scenarios": [
            {
                "name": s.name,
                "steps": [s_.call for s_ in s.steps],
                "families": list(s.families),
                "trials": s.trials or plan.trials,
            }
            for s in plan.scenarios
        ],
    }
    return script(call)


def script(call: dict[str, Any]) -> bytes:
    """Returns the program with `call` as its last line. The call's strings are ASCII, so its repr reads alike in
    Python 2.7 and 3."""
    text = program()
    if "'''" in text or text.endswith("\\"):
        raise ValueError("remote/probe.py must contain no ''' and not end in a backslash: it is sent inside r'''…'''")
    body = f"PROGRAM = r'''{text}'''\nexec(compile(PROGRAM, 'fleetaudit-probe', 'exec'))\nmain({call!r}, PROGRAM)\n"
    return body.encode("ascii")


# ---- back ----------------------------------------------------------------------------------------------------------

_decoder = msgspec.json.Decoder(Reply)


def reply_of(stdout: bytes) -> Reply:
    """Returns the reply in what a host printed; raises `ReplyError` saying why there is none."""
    lines = [line for line in re.split(rb"\r?\n", stdout) if line.startswith(MARK)]
    if len(lines) != 1:
        raise ReplyError("no result line" if not lines else f"{len(lines)} result lines where there must be one")
    line = lines[0][len(MARK) :]
    if len(line) > MAX_LINE:
        raise ReplyError(f"the result line has {len(line)} bytes, more than the {MAX_LINE} allowed")
    if _depth(line) > MAX_DEPTH:
        raise ReplyError(f"the result line nests deeper than {MAX_DEPTH}")
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError as e:  # ValidationError is a child of it
        raise ReplyError(f"the result line is not what the probe sends: {e}") from e


def _depth(line: bytes) -> int:
    deepest = depth = 0
    for bracket in re.findall(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', line):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in b"]}":
            depth -= 1
    return deepest
