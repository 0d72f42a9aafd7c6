"""The conversation with the probe: a request out of a host's plan, a typed reply out of its one
line. Pure.

Rules: no I/O but reading the probe's own text out of the package. The command line is a constant,
so that it can be a forced command or one sudoers line. What comes back is hostile until `decode_reply`
returned: bounded in size and depth before it is parsed, typed by msgspec, and never trusted by exit
status. A reply that was cut never called, so it has no line.

What goes: `COMMAND` as the command; on stdin a comment with the Python to try first (empty as a
rule), the program as a string, its execution, and as the last line the call:

    # /opt/bin/python
    PROGRAM = r'''…the text that `probe_text` returns…'''
    exec(compile(PROGRAM, "fleetaudit-probe", "exec"))
    main({'protocol': 1, …}, PROGRAM)

The call carries a digest of itself, and the reply brings it back: so a reply answers one call and
no other.

What comes: anything, and among it first `fleetaudit-shell/1 UID NAME` of the shell that looks for
an interpreter, which only tells that, and as whom, the command itself runs; `fleetaudit-python/1
STATUS` where the Python to try first does not work; and then exactly one line `fleetaudit-probe/1
{json of Reply}`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fleetaudit import __version__
from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    DECODE_ERRORS,
    Connection,
    Exposure,
    Family,
    Frozen,
    HostPlan,
    Interpreter,
    Kernel,
    LocalTarget,
    LongText,
    NamedCounts,
    Os,
    PeerWitness,
    Scenario,
    Seconds,
    Segment,
    ShortText,
    SshTarget,
    StepTimes,
    Sysctl,
    SysctlLines,
    UInt32,
)
from fleetaudit.text.sanitize import printable_line

from .joiner import join

PROTOCOL = 1
REPLY_MARK = b"fleetaudit-probe/1 "
SHELL_MARK = "fleetaudit-shell/1 "
"""How the line begins that `COMMAND` says before anything else: then its user's number, a blank,
the user's name.
"""
PYTHON_MARK = "fleetaudit-python/1 "
"""How the line begins that `COMMAND` prints where the Python to try first does not work: then how
trying it ended.
"""
NO_PYTHON = 86
"""The exit status of `COMMAND` where no interpreter works."""

# The same line for every host: which Python to try first is read from stdin, whose first line is a
# comment to Python. Ansible 2.19 takes it as one path, older versions as words for a shell. By
# trying, not by `command -v`: shims exist that fail. `cd /`, -E and -s keep stray modules and
# PYTHON* variables out.
COMMAND = (
    f'/bin/sh -c \'cd /; echo "{SHELL_MARK}$(id -u) $(id -un)"; '
    'read -r m w; case "$w" in "~/"*) w="$HOME/${w#??}";; esac; '
    'run() { "$@" -E -s -c "" </dev/null >/dev/null 2>&1 && exec "$@" -E -s -; }; '
    f'test -z "$w" || run "$w" || {{ set -f; run $w; }} || echo "{PYTHON_MARK}$?"; set +f; '
    "for p in python3 /usr/bin/python3 /usr/bin/python3.[0-9]* /usr/local/bin/python3.[0-9]* "
    'python2.7 python2 python /usr/libexec/platform-python; do run "$p"; done; '
    f"exit {NO_PYTHON}'"
)

MAX_LINE = 6 * 1024 * 1024
MAX_DEPTH = 12


# ---- the reply, as the probe sends it
# ------------------------------------------------------------------------------


class RawTrial(Frozen, frozen=True, kw_only=True):
    """One trial, or `count` trials that were alike in everything but time.

    `wire`: each captured packet once, of this trial's connection only; null where it could not be
    read, and then `wire_note` says why. `wire_lost`: records that the packet socket dropped
    (PACKET_STATISTICS). `wire_omitted`: segments left out of the middle of a long trace, never one
    with SYN, FIN, RST or URG. `connection`: what the segments have in common, null without a SYN.
    `peer`: null where its socket was gone. `kernel`: the counters that moved, null where they could
    not be read. `steps`: [microseconds, index] when each step began. `queue`: just before the
    closer let go, what FIONREAD ("fionread") and /proc/net/tcp ("rx_queue", in a private namespace
    only) said of the closer's receive queue; and after "sends until blocked" the bytes that are
    left of the receiver's window ("closer window", "peer window"). `bytes`: "closer sent", "closer
    received", "peer sent", "peer received". `error`: why the trial could not be carried through
    ("Broken pipe (EPIPE)"). `failed_step`: the index of the step that failed, null if none did. The
    probe does not know the step's words; a program before this field named the step itself in
    `error`. `outstanding`: what may still come although the probe waited.
    """

    count: Annotated[int, Meta(ge=1, le=1000)]
    wire: Annotated[tuple[Segment, ...], Meta(max_length=200)] | None
    wire_note: LongText = ""
    connection: Connection | None = None
    wire_lost: UInt32 = 0
    wire_omitted: UInt32 = 0
    peer: PeerWitness | None
    kernel: NamedCounts | None
    steps: StepTimes = ()
    queue: NamedCounts = {}
    bytes: NamedCounts = {}
    error: LongText = ""
    outstanding: LongText = ""
    failed_step: Annotated[int, Meta(ge=0, le=63)] | None = None


class RawObservation(Frozen, frozen=True, kw_only=True):
    """One scenario over one family. Without trials `not_run` says why: what the host lacks, or,
    where `failed`, what came in the way of the probe on a host that has it.
    """

    scenario: ShortText
    family: Family
    trials: Annotated[tuple[RawTrial, ...], Meta(max_length=100)] = ()
    not_run: LongText = ""
    failed: bool = False


class Reply(Frozen, frozen=True, kw_only=True):
    """All that a probe says. `isolation_note` says why it is "host" although a namespace was
    allowed, `capture_note` why no packet is captured. `notes` are sentences about the whole run
    (settings that could not be copied into the namespace, trials that were repeated, the alarm that
    rang). `fleetaudit` and `digest` are the call's own, echoed: the version that made it, and what
    it asked.
    """

    protocol: Literal[1]
    fleetaudit: ShortText = ""
    digest: ShortText = ""
    kernel: Kernel
    os: Os
    python: ShortText
    interpreter: ShortText = ""
    machine_id: ShortText = ""
    isolation: Literal["namespace", "host"]
    isolation_note: LongText = ""
    capture_note: LongText = ""
    notes: Annotated[tuple[LongText, ...], Meta(max_length=50)] = ()
    observations: Annotated[tuple[RawObservation, ...], Meta(max_length=2000)]
    sysctls: Annotated[dict[ShortText, Sysctl], Meta(max_length=5000)]
    sysctl_places: Annotated[dict[ShortText, SysctlLines], Meta(max_length=5000)] | None = None
    sysctls_writable: bool = True
    exposure: Exposure | None
    elapsed_s: Seconds
    cpu_s: Seconds = 0.0


# ---- out
# -----------------------------------------------------------------------------------------------------------


@functools.cache
def probe_text() -> str:
    """Returns the probe's text, ASCII, as it is sent: the modules of `remote/`, joined."""
    folder = importlib.resources.files(__package__) / "remote"
    return join(lambda name: (folder / f"{name}.py").read_text("ascii"))


def make_request(plan: HostPlan, *, deadline_s: float) -> bytes:
    """Returns what goes to the interpreter's stdin for one host; `deadline_s` is when the probe's
    own alarm rings.

    What is expected is sent, so that the probe reports the captured headers of what deviates; as
    nothing is measured by it, it is no part of the digest: a reply can be judged by other
    expectations.
    """
    asked = _asked(plan)
    echoed = {"fleetaudit": __version__, "digest": _digest(asked)}
    scenarios = zip(asked["scenarios"], plan.scenarios, strict=True)
    asked["scenarios"] = [{**sent, "expect": list(scenario.expect)} for sent, scenario in scenarios]
    interpreter = _interpreter(plan)
    return make_script(
        {**asked, **echoed, "deadline": round(deadline_s, 1)},
        interpreter.value if interpreter else "",
    )


def _interpreter(plan: HostPlan) -> Interpreter | None:
    return plan.target.interpreter if isinstance(plan.target, SshTarget | LocalTarget) else None


def request_digest(plan: HostPlan) -> str:
    """Returns the digest of the call of a host: of the program, the scenarios, the sysctls and the
    isolation.

    Names, groups and the deadline are not part of it, so hosts with the same plays share one
    digest.
    """
    return _digest(_asked(plan))


def _asked(plan: HostPlan) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "isolation": plan.isolation,
        "sysctls": list(plan.sysctls_collect),
        "scenarios": [
            scenario_call(s, (s.trials or plan.trials) if plan.trials else 0)
            for s in plan.scenarios
        ],
    }


def scenario_call(scenario: Scenario, trials: int) -> dict[str, Any]:
    """Returns a scenario as the probe is sent it, without the expected endings."""
    return {
        "name": scenario.name,
        "steps": [step.call for step in scenario.steps],
        "families": list(scenario.families),
        "trials": trials,
    }


def _digest(asked: dict[str, Any]) -> str:
    return hashlib.sha256((_program_digest() + repr(asked)).encode("utf-8")).hexdigest()[:32]


@functools.cache
def _program_digest() -> str:
    return hashlib.sha256(probe_text().encode("ascii")).hexdigest()


def make_script(call: dict[str, Any], interpreter: str = "") -> bytes:
    """Returns the program with `call` as its last line, after a line with the `interpreter` to try
    first.

    The call's strings are ASCII, so its repr reads alike in Python 2.7 and 3. The first line is for
    `COMMAND`'s shell.
    """
    text = probe_text()
    if "'''" in text or text.endswith("\\"):
        raise ValueError(
            "the probe's text must contain no ''' and not end in a backslash: it is sent inside"
            " r'''…'''"
        )
    body = (
        f"PROGRAM = r'''{text}'''\nexec(compile(PROGRAM, 'fleetaudit-probe',"
        f" 'exec'))\nmain({call!r}, PROGRAM)\n"
    )
    return (
        f"# {interpreter}".rstrip().encode("utf-8", "surrogateescape")
        + b"\n"
        + body.encode("ascii")
    )


# ---- back: bytes to a typed reply
# ----------------------------------------------------------------------------------

_decoder = msgspec.json.Decoder(Reply)


def decode_reply(
    plan: HostPlan,
    stdout: bytes,
    stderr: bytes = b"",
    exit_status: int | None = None,
    cut: str = "",
) -> Reply:
    """Returns the reply in a host's output, checked to answer this plan's call; raises
    `ReplyError`.

    `cut` names the stream that was cut off at its limit. The line decides; `exit_status` and what
    else was printed only explain why there is none.
    """
    try:
        reply = parse_reply(stdout)
    except ReplyError as e:
        not_used = _not_used(plan, stdout)
        tried = "" if not_used else tried_first(plan)
        raise _explained(e, stdout, stderr, exit_status, cut, not_used, tried) from e
    _refuse_another_call(plan, reply)
    if problem := _not_used(plan, stdout):
        found = f"{problem}; {reply.interpreter or 'another Python'} was used instead"
        return msgspec.structs.replace(reply, notes=(*reply.notes, found))
    return reply


def _not_used(plan: HostPlan, stdout: bytes) -> str:
    """Returns why the Python of the inventory was not used, "" if it was used or none is set."""
    interpreter = _interpreter(plan)
    if interpreter is None or not interpreter.origin:
        return ""
    if interpreter.problem:
        return interpreter.problem
    failed = re.search(
        rb"^" + re.escape(PYTHON_MARK.encode()) + rb"(\d{1,3})\r?$", stdout, re.MULTILINE
    )
    if not failed:
        return ""
    why = {b"126": "it is not executable", b"127": "there is no such program"}.get(
        failed[1], f"status {failed[1].decode()}"
    )
    return f"{_named(interpreter)} does not work: {why}"


def tried_first(plan: HostPlan) -> str:
    """Returns which Python of the inventory is tried first, as the end of a reason; "" if none is
    set.

    What takes the options of Python need not be one: /bin/true does, too.
    """
    interpreter = _interpreter(plan)
    if interpreter is None or not interpreter.origin or interpreter.problem:
        return ""
    return f"; {_named(interpreter)} is tried first, and may be no Python"


def _named(interpreter: Interpreter) -> str:
    return f"{interpreter.name} {interpreter.value} ({interpreter.origin})"


def _refuse_another_call(plan: HostPlan, reply: Reply) -> None:
    """Raises `ReplyError` if the reply answers another call than this plan's, such as an old reply
    sent again.
    """
    if reply.digest == request_digest(plan):
        return
    if not reply.digest:
        reason = "the reply has no digest of the call that it answers"
    elif reply.fleetaudit != __version__:
        made_by = (
            f"fleetaudit {reply.fleetaudit[:40]}"
            if reply.fleetaudit
            else "an unknown version of fleetaudit"
        )
        reason = f"the reply answers a call of {made_by}, and this is fleetaudit {__version__}"
    else:
        reason = (
            "the reply answers another call (other scenarios, sysctls, isolation or program text): "
            "was it made with other playbooks?"
        )
    raise ReplyError(reason, kind="reply to another call")


def parse_reply(stdout: bytes) -> Reply:
    """Returns the reply in what a host printed; raises `ReplyError` saying why there is none."""
    lines = [line for line in re.split(rb"\r?\n", stdout) if line.startswith(REPLY_MARK)]
    if len(lines) != 1:
        if not lines:
            raise ReplyError("no result line", kind="no reply")
        raise ReplyError(f"{len(lines)} result lines, expected exactly one")
    line = lines[0][len(REPLY_MARK) :]
    if len(line) > MAX_LINE:
        raise ReplyError(f"the result line has {len(line)} bytes, more than the {MAX_LINE} allowed")
    if _depth(line) > MAX_DEPTH:
        raise ReplyError(f"the result line nests deeper than {MAX_DEPTH}")
    try:
        return _decoder.decode(line)
    except DECODE_ERRORS as e:
        raise ReplyError(f"the result line is not what the probe sends: {e}") from e


def _depth(line: bytes) -> int:
    deepest = depth = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', line):
        if token[0] in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in b"]}":
            depth -= 1
    return deepest


def _explained(
    error: ReplyError,
    stdout: bytes,
    stderr: bytes,
    exit_status: int | None,
    cut: str,
    not_used: str,
    tried: str,
) -> ReplyError:
    """Returns `error` with a better explanation why there is no result line; `not_used` is from
    `_not_used`.
    """
    if error.reason != "no result line":
        return error
    if cut:
        return ReplyError(
            f"the host sent more on {cut} than is read, and no result line came before that{tried}",
            kind="no reply",
        )
    if exit_status == NO_PYTHON:
        return ReplyError(
            (
                f"{not_used}; nor does any other Python from 2.7 on"
                if not_used
                else "no Python from 2.7 on that works"
            ),
            hint="install python3 (python3-minimal will do) on the host, then run again",
            stage="execute",
            kind="no python",
        )
    words = [
        f"{on}“{text}”"
        for on, text in (("", _last_words(stdout)), ("on stderr ", _last_words(stderr)))
        if text
    ]
    said = f"; it printed {' and '.join(words)}" if words else ""
    if exit_status:
        reason = f"the command ended with status {exit_status} and no result line{said}{tried}"
        return ReplyError(reason, stage="execute", kind="command failed")
    return ReplyError(f"no result line{said}{tried}", kind="no reply")


def _last_words(printed: bytes) -> str:
    """Returns the end of the output without our own lines, as one line of printable text."""
    lines = printed[-4096:].decode("utf-8", "replace").splitlines()
    text = " ".join(
        " ".join(line for line in lines if not line.startswith((SHELL_MARK, PYTHON_MARK))).split()
    )
    return printable_line(text, 4096)[-400:]
