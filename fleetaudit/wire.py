"""The conversation with the probe: a request out of a host's plan, a typed reply out of its one line. Pure.

Rules: no I/O but reading the probe's own text out of the package. The command line is a constant, so that it can be a
forced command or one sudoers line. What comes back is hostile until `decode` returned: bounded in size and depth before
it is parsed, typed by msgspec, and never trusted by exit status. A reply that was cut never called, so it has no line.

What goes: `COMMAND` as the command; on stdin a comment with the Python to try first (empty as a rule), the program as a
string, its execution, and as the last line the call:

    # /opt/bin/python
    PROGRAM = r'''…the text of remote/probe.py…'''
    exec(compile(PROGRAM, "fleetaudit-probe", "exec"))
    main({'protocol': 1, …}, PROGRAM)

The call carries a digest of itself, and the reply brings it back: so a reply answers one call and no other.

What comes: anything, and among it first `fleetaudit-shell/1 UID NAME` of the shell that looks for an interpreter, which
only tells that, and as whom, the command itself runs; `fleetaudit-python/1 STATUS` where the Python to try first does
not work; and then exactly one line `fleetaudit-probe/1 {json of Reply}`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from . import __version__
from .errors import ReplyError
from .model import (
    DAMAGED,
    Audited,
    Ending,
    Evidence,
    Exposure,
    Family,
    Frozen,
    HostPlan,
    Interpreter,
    Kernel,
    LocalTarget,
    Marks,
    Moved,
    Observation,
    Os,
    PeerWitness,
    Places,
    Scenario,
    Seconds,
    Segment,
    Sentence,
    SshTarget,
    Step,
    Sysctl,
    Word,
    Word32,
)

PROTOCOL = 1
MARK = b"fleetaudit-probe/1 "
READY = "fleetaudit-shell/1 "
"""How the line begins that `COMMAND` says before anything else: then its user's number, a blank, the user's name."""
PYTHON = "fleetaudit-python/1 "
"""How the line begins that `COMMAND` prints where the Python to try first does not work: then how trying it ended."""
NO_PYTHON = 86
"""The exit status of `COMMAND` where no interpreter works."""

# The same line for every host: which Python to try first is read from stdin, whose first line is a comment to Python.
# Ansible 2.19 takes it as one path, older versions as words for a shell. By trying, not by `command -v`: shims exist
# that fail. `cd /`, -E and -s keep stray modules and PYTHON* variables out.
COMMAND = (
    f'/bin/sh -c \'cd /; echo "{READY}$(id -u) $(id -un)"; '
    'read -r m w; case "$w" in "~/"*) w="$HOME/${w#??}";; esac; '
    'run() { "$@" -E -s -c "" </dev/null >/dev/null 2>&1 && exec "$@" -E -s -; }; '
    f'test -z "$w" || run "$w" || {{ set -f; run $w; }} || echo "{PYTHON}$?"; set +f; '
    "for p in python3 /usr/bin/python3 /usr/bin/python3.[0-9]* /usr/local/bin/python3.[0-9]* "
    'python2.7 python2 python /usr/libexec/platform-python; do run "$p"; done; '
    f"exit {NO_PYTHON}'"
)

MAX_LINE = 6 * 1024 * 1024
MAX_DEPTH = 12


# ---- the reply, as the probe sends it ------------------------------------------------------------------------------


class RawTrial(Frozen, frozen=True, kw_only=True):
    """One trial, or `count` trials that were alike in everything but time.

    `wire`: each captured packet once, of this trial's connection only; null where it could not be read, and then
    `wire_note` says why. `wire_lost`: records that the packet socket dropped (PACKET_STATISTICS). `wire_omitted`:
    segments left out of the middle of a long trace, never one with SYN, FIN, RST or URG. `peer`: null where its socket
    was gone. `kernel`: the counters that moved, null where they could not be read. `steps`: [microseconds, index] when
    each step began. `queue`: just before the first ending step of the closer, what FIONREAD ("fionread") and
    /proc/net/tcp ("rx_queue", in a private namespace only) said of the closer's receive queue. `bytes`: "closer sent",
    "closer received", "peer sent", "peer received". `error`: why the trial could not be carried through ("step 3 “peer
    sends 5 bytes”: EPIPE").
    """

    count: Annotated[int, Meta(ge=1, le=1000)]
    wire: Annotated[tuple[Segment, ...], Meta(max_length=200)] | None
    wire_note: Sentence = ""
    wire_lost: Word32 = 0
    wire_omitted: Word32 = 0
    peer: PeerWitness | None
    kernel: Moved | None
    steps: Marks = ()
    queue: Moved = {}
    bytes: Moved = {}
    error: Sentence = ""


class RawObservation(Frozen, frozen=True, kw_only=True):
    """One scenario over one family. Without trials `not_run` says why: what the host lacks, or, where `failed`, what
    came in the way of the probe on a host that has it."""

    scenario: Word
    family: Family
    trials: Annotated[tuple[RawTrial, ...], Meta(max_length=100)] = ()
    not_run: Sentence = ""
    failed: bool = False


class Reply(Frozen, frozen=True, kw_only=True):
    """All that a probe says. `isolation_note` says why it is "host" although a namespace was allowed. `notes` are
    sentences about the whole run (settings that could not be copied into the namespace, the alarm that rang).
    `fleetaudit` and `digest` are the call's own, echoed: the version that made it, and what it asked."""

    protocol: Literal[1]
    fleetaudit: Word = ""
    digest: Word = ""
    kernel: Kernel
    os: Os
    python: Word
    interpreter: Word = ""
    machine_id: Word = ""
    isolation: Literal["namespace", "host"]
    isolation_note: Sentence = ""
    notes: Annotated[tuple[Sentence, ...], Meta(max_length=50)] = ()
    observations: Annotated[tuple[RawObservation, ...], Meta(max_length=2000)]
    sysctls: Annotated[dict[Word, Sysctl], Meta(max_length=5000)]
    sysctl_places: Annotated[dict[Word, Places], Meta(max_length=5000)] | None = None
    sysctls_writable: bool = True
    exposure: Exposure | None
    elapsed_s: Seconds
    cpu_s: Seconds = 0.0


# ---- out -----------------------------------------------------------------------------------------------------------


@functools.cache
def program() -> str:
    """Returns the probe's text, ASCII, as it is shipped."""
    return importlib.resources.files(__package__).joinpath("remote/probe.py").read_text("ascii")


def request(plan: HostPlan, *, deadline_s: float) -> bytes:
    """Returns what goes to the interpreter's stdin for one host; `deadline_s` is when the probe's own alarm rings."""
    asked = _asked(plan)
    echoed = {"fleetaudit": __version__, "digest": _digest(asked)}
    interpreter = _interpreter(plan)
    return script({**asked, **echoed, "deadline": round(deadline_s, 1)}, interpreter.value if interpreter else "")


def _interpreter(plan: HostPlan) -> Interpreter | None:
    return plan.target.interpreter if isinstance(plan.target, SshTarget | LocalTarget) else None


def digest_of(plan: HostPlan) -> str:
    """Returns the digest of the call of a host: of the program, the scenarios, the sysctls and the isolation.

    Names, groups and the deadline are not part of it, so hosts with the same plays share one digest.
    """
    return _digest(_asked(plan))


def _asked(plan: HostPlan) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
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


def _digest(asked: dict[str, Any]) -> str:
    return hashlib.sha256((_program_digest() + repr(asked)).encode("utf-8")).hexdigest()[:32]


@functools.cache
def _program_digest() -> str:
    return hashlib.sha256(program().encode("ascii")).hexdigest()


def script(call: dict[str, Any], interpreter: str = "") -> bytes:
    """Returns the program with `call` as its last line, after a line with the `interpreter` to try first.

    The call's strings are ASCII, so its repr reads alike in Python 2.7 and 3. The first line is for `COMMAND`'s shell.
    """
    text = program()
    if "'''" in text or text.endswith("\\"):
        raise ValueError("remote/probe.py must contain no ''' and not end in a backslash: it is sent inside r'''…'''")
    body = f"PROGRAM = r'''{text}'''\nexec(compile(PROGRAM, 'fleetaudit-probe', 'exec'))\nmain({call!r}, PROGRAM)\n"
    return f"# {interpreter}".rstrip().encode("utf-8", "surrogateescape") + b"\n" + body.encode("ascii")


# ---- back: bytes to a typed reply ----------------------------------------------------------------------------------

_decoder = msgspec.json.Decoder(Reply)


def decode(
    plan: HostPlan, stdout: bytes, stderr: bytes = b"", exit_status: int | None = None, cut: str = ""
) -> Audited:
    """Returns what a host's output says of it, with a verdict on every scenario that was asked; raises `ReplyError`.

    `cut` names the stream that was cut off at its limit. The line decides; `exit_status` and what else was printed
    only explain why there is none.
    """
    try:
        reply = reply_of(stdout)
    except ReplyError as e:
        not_used = _not_used(plan, stdout)
        tried = "" if not_used else tried_first(plan)
        raise _explained(e, stdout, stderr, exit_status, cut, not_used, tried) from e
    _refuse_another_call(plan, reply)
    host = audited(plan, reply)
    if problem := _not_used(plan, stdout):
        found = f"{problem}; {reply.interpreter or 'another Python'} was used instead"
        return msgspec.structs.replace(host, notes=(*host.notes, found))
    return host


def _not_used(plan: HostPlan, stdout: bytes) -> str:
    """Returns why the Python of the inventory was not used, "" if it was used or none is set."""
    interpreter = _interpreter(plan)
    if interpreter is None or not interpreter.origin:
        return ""
    if interpreter.problem:
        return interpreter.problem
    failed = re.search(rb"^" + re.escape(PYTHON.encode()) + rb"(\d{1,3})\r?$", stdout, re.MULTILINE)
    if not failed:
        return ""
    why = {b"126": "it is not executable", b"127": "there is no such program"}.get(
        failed[1], f"status {failed[1].decode()}"
    )
    return f"{_named(interpreter)} does not work: {why}"


def tried_first(plan: HostPlan) -> str:
    """Returns which Python of the inventory is tried first, as the end of a reason; "" if none is set.

    What takes the options of Python need not be one: /bin/true does, too.
    """
    interpreter = _interpreter(plan)
    if interpreter is None or not interpreter.origin or interpreter.problem:
        return ""
    return f"; {_named(interpreter)} is tried first, and may be no Python"


def _named(interpreter: Interpreter) -> str:
    return f"{interpreter.name} {interpreter.value} ({interpreter.origin})"


def _refuse_another_call(plan: HostPlan, reply: Reply) -> None:
    """Raises `ReplyError` if the reply answers another call than this plan's, such as an old reply sent again."""
    if reply.digest == digest_of(plan):
        return
    if not reply.digest:
        reason = "the reply has no digest of the call that it answers"
    elif reply.fleetaudit != __version__:
        made_by = f"fleetaudit {reply.fleetaudit[:40]}" if reply.fleetaudit else "an unknown version of fleetaudit"
        reason = f"the reply answers a call of {made_by}, and this is fleetaudit {__version__}"
    else:
        reason = (
            "the reply answers another call (other scenarios, sysctls, isolation or program text): "
            "was it made with other playbooks?"
        )
    raise ReplyError(reason, kind="reply to another call")


def reply_of(stdout: bytes) -> Reply:
    """Returns the reply in what a host printed; raises `ReplyError` saying why there is none."""
    lines = [line for line in re.split(rb"\r?\n", stdout) if line.startswith(MARK)]
    if len(lines) != 1:
        if not lines:
            raise ReplyError("no result line", kind="no reply")
        raise ReplyError(f"{len(lines)} result lines, expected exactly one")
    line = lines[0][len(MARK) :]
    if len(line) > MAX_LINE:
        raise ReplyError(f"the result line has {len(line)} bytes, more than the {MAX_LINE} allowed")
    if _depth(line) > MAX_DEPTH:
        raise ReplyError(f"the result line nests deeper than {MAX_DEPTH}")
    try:
        return _decoder.decode(line)
    except DAMAGED as e:
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
    error: ReplyError, stdout: bytes, stderr: bytes, exit_status: int | None, cut: str, not_used: str, tried: str
) -> ReplyError:
    """Returns `error` with a better explanation why there is no result line; `not_used` is from `_not_used`."""
    if error.reason != "no result line":
        return error
    if cut:
        return ReplyError(
            f"the host sent more on {cut} than is read, and no result line came before that{tried}", kind="no reply"
        )
    if exit_status == NO_PYTHON:
        return ReplyError(
            f"{not_used}; nor does any other Python from 2.7 on" if not_used else "no Python from 2.7 on that works",
            hint="install python3 (python3-minimal will do) on the host, then run again",
            stage="execute",
            kind="no python",
        )
    words = [f"{on}“{text}”" for on, text in (("", _last_words(stdout)), ("on stderr ", _last_words(stderr))) if text]
    said = f"; it printed {' and '.join(words)}" if words else ""
    if exit_status:
        reason = f"the command ended with status {exit_status} and no result line{said}{tried}"
        return ReplyError(reason, stage="execute", kind="command failed")
    return ReplyError(f"no result line{said}{tried}", kind="no reply")


def _last_words(printed: bytes) -> str:
    """Returns the end of the output without our own lines, as one line of printable text."""
    lines = printed[-4096:].decode("utf-8", "replace").splitlines()
    text = " ".join(" ".join(line for line in lines if not line.startswith((READY, PYTHON))).split())
    return "".join(c if c.isprintable() else "\ufffd" for c in text)[-400:]


# ---- back: a reply to verdicts -------------------------------------------------------------------------------------

NO_COUNTERS = "the kernel's counters could not be read: two witnesses at most speak for a verdict"


def audited(plan: HostPlan, reply: Reply) -> Audited:
    """Returns the host as audited: a verdict on each scenario asked, in the order asked; raises `ReplyError` where the
    reply answers what was not asked."""
    asked = {(s.name, family): s for s in plan.scenarios for family in s.families}
    given = dict[tuple[str, Family], RawObservation]()
    for raw in reply.observations:
        key = (raw.scenario, raw.family)
        if key not in asked or key in given:
            what = "two answers to" if key in given else "an answer to"
            raise ReplyError(f"the reply has {what} {raw.scenario} over {raw.family}; expected at most one")
        given[key] = raw
    seen = {
        key: _observation(key[1], s, given.get(key), s.trials or plan.trials, reply.isolation)
        for key, s in asked.items()
    }
    if asked and not any(o.trials for o in seen.values()):
        raise _ran_nothing(plan, reply, next(iter(seen.values())))
    seen, void, doubts = _beside_controls(plan, seen)
    deaf = any(t.kernel is None for o in reply.observations for t in o.trials if o.family != "unix" and not t.error)
    return Audited(
        name=plan.name,
        groups=plan.groups,
        kernel=reply.kernel,
        os=reply.os,
        python=reply.python,
        interpreter=reply.interpreter,
        machine_id=reply.machine_id,
        isolation=reply.isolation,
        notes=tuple(filter(None, (reply.isolation_note, *reply.notes, NO_COUNTERS if deaf else "", *doubts))),
        void=void,
        observations=tuple(seen.values()),
        sysctls=dict(sorted(reply.sysctls.items())),
        sysctl_places=_places(reply),
        sysctls_writable=reply.sysctls_writable,
        exposure=reply.exposure,
        elapsed_s=reply.elapsed_s,
    )


def _places(reply: Reply) -> dict[str, tuple[str, ...]] | None:
    """Returns where the sysctls of this reply are set; leaves out all other sysctls."""
    if reply.sysctl_places is None:
        return None
    return {key: places for key, places in sorted(reply.sysctl_places.items()) if key in reply.sysctls}


def _observation(
    family: Family, scenario: Scenario, raw: RawObservation | None, wanted: int, isolation: Literal["namespace", "host"]
) -> Observation:
    if raw is None or raw.not_run or not raw.trials:
        lacks = raw is not None and raw.not_run and not raw.failed
        return Observation(
            scenario=scenario.name,
            family=family,
            ending="not run" if lacks else "inconclusive",  # the host could, and yet nothing was told
            trials=0,
            reason=(raw.not_run if raw else "") or "the probe did not say why it was not run",
        )
    for trial in raw.trials:
        _check_steps(trial, scenario, family)
    verdicts = [verdict(trial, scenario.steps, family, isolation) for trial in raw.trials]
    endings = Counter[str]()
    for trial, (ending, _) in zip(raw.trials, verdicts, strict=True):
        endings[ending] += trial.count
    ran = sum(endings.values())
    if ran > wanted:
        raise ReplyError(f"the reply has {ran} trials of {scenario.name}, {wanted} were asked")
    shown, (ending, reason) = raw.trials[0], verdicts[0]
    if len(endings) > 1:  # show the trial that differs from the most
        usual = endings.most_common(1)[0][0]
        shown = next(t for t, (e, _) in zip(raw.trials, verdicts, strict=True) if e != usual)
        why = "; ".join(dict.fromkeys(r for _, r in verdicts if r))
        ending, reason = "inconclusive", f"trials disagree: {_counts(endings)}" + (f" ({why})" if why else "")
    elif ran < wanted:
        reason = "; ".join(filter(None, (reason, f"{ran} of {wanted} trials ran")))
    return Observation(
        scenario=scenario.name,
        family=family,
        ending=ending,
        trials=ran,
        endings=dict(sorted(endings.items())),
        evidence=_evidence(shown),
        reason=reason,
    )


def _check_steps(trial: RawTrial, scenario: Scenario, family: Family) -> None:
    """Raises `ReplyError` if a trial has steps that the scenario does not have, or in another order."""
    if [index for _, index in trial.steps] != [*range(min(len(trial.steps), len(scenario.steps)))]:
        raise ReplyError(
            f"the reply does not number the steps of {scenario.name} over {family} from 0 to {len(scenario.steps) - 1}"
        )


def _counts(endings: Counter[str]) -> str:
    return ", ".join(f"{ending} \u00d7{n}" for ending, n in sorted(endings.items(), key=lambda kv: (-kv[1], kv[0])))


def _evidence(trial: RawTrial) -> Evidence:
    lost = f"the capture is no witness: {trial.wire_lost} packets found no room in it" if trial.wire_lost else ""
    return Evidence(
        wire=trial.wire,
        wire_note="; ".join(filter(None, (lost, trial.wire_note)))[:4096],
        wire_omitted=trial.wire_omitted,
        peer=trial.peer,
        kernel=trial.kernel,
        steps=trial.steps,
        queue=trial.queue,
        bytes=trial.bytes,
    )


def verdict(
    trial: RawTrial, steps: Sequence[Step], family: Family, isolation: Literal["namespace", "host"]
) -> tuple[Ending, str]:
    """Returns the ending of one trial, and why where it is not simply what was seen.

    The wire decides where there is one, else the peer. The other witnesses must agree with it: an RST or a FIN that the
    peer never got is "sent, not delivered"; any other disagreement is "inconclusive", spelled out, never a guess.
    """
    if trial.error:
        return "inconclusive", trial.error
    wire = _wire_ending(trial)
    peer = _peer_ending(trial.peer, steps) if trial.peer else None
    if wire and peer == "nothing" and any(step.call[1] == "resend-fin" for step in steps):
        peer = None  # it never sent that FIN, so its kernel drops what acknowledges it: silence is no witness
    said = [f"the {name} says {ending}" for name, ending in (("wire", wire), ("peer", peer)) if ending is not None]
    if wire is None and peer is None:
        gone = "the peer was gone" if trial.peer is None else f"the peer's socket said {_words(trial.peer)}"
        return "inconclusive", f"no witness: {gone}, and {_evidence(trial).wire_note or 'the wire was not read'}"
    if _made_and_dropped(trial, wire, peer, isolation):
        return (
            "sent, not delivered",
            "the kernel made an RST and could not send it (TCPAbortFailed); is a firewall in OUTPUT?",
        )
    ending = wire or peer or "inconclusive"
    if wire and peer and wire != peer:
        arrived_less = (wire, peer) in {
            ("RST", "nothing"),
            ("FIN", "nothing"),
            ("FIN, then RST", "FIN"),
            ("FIN, then RST", "nothing"),
        }
        if arrived_less:
            return "sent, not delivered", f"{' and '.join(said)}: it left and did not arrive; is a firewall in INPUT?"
        return "inconclusive", f"the witnesses disagree: {' and '.join(said)} ({_words(trial.peer)})"
    disagreement = _kernel_disagrees(trial, steps, ending, family, isolation)
    if disagreement:
        return "inconclusive", f"the witnesses disagree: {' and '.join(said)}, but {disagreement}"
    return ending, ""


def _made_and_dropped(
    trial: RawTrial, wire: Ending | None, peer: Ending | None, isolation: Literal["namespace", "host"]
) -> bool:
    """Returns whether the counters tell of an RST that was made, and that nobody saw leave or arrive."""
    counters = trial.kernel or {}
    failed = counters.get("TCPAbortFailed", 0)
    if isolation == "namespace":
        return bool(failed) and {wire, peer} <= {None, "nothing", "FIN"}
    # In the host's namespace others' RSTs count too: only where nothing was heard, and the counters fit one of ours.
    aborts = sum(n for name, n in counters.items() if name.startswith("TCPAbortOn"))
    return failed == aborts == 1 and {wire, peer} <= {None, "nothing"}


def _wire_ending(trial: RawTrial) -> Ending | None:
    """Returns what the closer's own segments were, or None where the capture cannot tell."""
    if trial.wire is None or trial.wire_lost:
        return None
    closers = [segment for segment in trial.wire if segment.sender == "closer"]
    if not any("S" in s.flags for s in closers):
        return None  # a capture that missed the beginning may have missed the end
    # RFC 8684, 3.3.3: DATA_FIN is to an MPTCP connection what FIN is to TCP; a subflow's own may come much later.
    fin = next((i for i, s in enumerate(closers) if "F" in s.flags or "DATA_FIN" in s.options), None)
    rst = next((i for i, s in enumerate(closers) if "R" in s.flags), None)
    if rst is None:
        return "nothing" if fin is None else "FIN"
    return "RST" if fin is None or rst < fin else "FIN, then RST"


def _peer_ending(peer: PeerWitness, steps: Sequence[Step]) -> Ending | None:
    """Returns what the peer's socket shows, or None where it shows neither an end nor an open connection."""
    failed = {word.removeprefix("send: ") for word in (*peer.recv, peer.so_error) if word != "send: EPIPE"}
    shut = any(step.call[:2] == ("peer", "shutdown") and step.call[2] != "read" for step in steps)
    if "send: EPIPE" in peer.recv and not shut:  # where the peer shut writing itself, a send must fail so
        failed.add("EPIPE")
    if "ECONNRESET" in failed:
        return "RST"
    if "EPIPE" in failed:  # tcp_reset() in CLOSE_WAIT: the FIN had come first; recv says 0 and yet it was reset
        return "FIN, then RST"
    if "ERR" in peer.poll:
        return None
    if peer.state in _NO_FIN_CAME and not _over_mptcp(steps):
        return "nothing"  # an end of file that the peer made itself, by shutting reading
    if "0" in peer.recv:
        return "FIN"
    if "EAGAIN" in failed and not {"HUP", "RDHUP"} & set(peer.poll):
        return "nothing"
    return None


_NO_FIN_CAME = (1, 4, 5)
"""ESTABLISHED, FIN_WAIT1, FIN_WAIT2 (include/net/tcp_states.h): no FIN of the other side was taken in."""


def _over_mptcp(steps: Sequence[Step]) -> bool:
    return any(step.call[1:3] == ("connect", "mptcp") for step in steps)


def _words(peer: PeerWitness | None) -> str:
    if peer is None:
        return "the peer is gone"
    poll = "|".join(peer.poll) or "none"
    return f"state {peer.state}, poll {poll}, recv {', '.join(peer.recv)}, SO_ERROR {peer.so_error}"


def _kernel_disagrees(
    trial: RawTrial, steps: Sequence[Step], ending: Ending, family: Family, isolation: Literal["namespace", "host"]
) -> str:
    """Returns in words how the counters contradict `ending`, or "".

    In a namespace of its own the probe is alone, so counters must match; in the host's, other traffic moves them too,
    and a delta only has to be at least what the ending needs (kernel-behaviour: a delta is evidence only then).
    """
    if trial.kernel is None or family == "unix" or _over_mptcp(steps):  # MPTCP: other paths, other counters
        return ""
    resets = trial.kernel.get("OutRsts", 0)
    aborts = trial.kernel.get("TCPAbortOnClose", 0)
    if "RST" in ending and not resets:
        return "OutRsts did not move"
    if isolation == "host":
        return ""
    if "RST" not in ending and aborts:
        return f"TCPAbortOnClose moved by {aborts}"
    if trial.wire is not None and not trial.wire_lost:
        seen = sum("R" in segment.flags for segment in trial.wire)
        if resets != seen:
            return f"OutRsts moved by {resets} and {seen} RST segments were seen"
    return ""


# ---- back: the controls --------------------------------------------------------------------------------------------

Seen = Mapping[tuple[str, Family], Observation]


def _beside_controls(plan: HostPlan, seen: Seen) -> tuple[dict[tuple[str, Family], Observation], str, list[str]]:
    """Returns the observations after their controls are applied, why the host is void, and notes.

    A control counts for the scenarios that name it, over its own family only. The positive control counts for the whole
    host: if it fails, a RST would not have been seen. Over AF_UNIX it counts for AF_UNIX only.
    """
    asked = {s.name: s for s in plan.scenarios}
    positive = [key for key in seen if asked[key[0]].positive]
    failed = [key for key in positive if _failed(seen[key], asked[key[0]])]
    of_host = [key for key in failed if key[1] != "unix"]

    def believed(key: tuple[str, Family]) -> Observation:
        culprit = next(iter(of_host or (failed if key[1] == "unix" else ())), None)
        why = f"void: control {' over '.join(culprit)} failed" if culprit else _why_not_believed(key, asked, seen)
        return _doubted(seen[key], why) if why and seen[key].trials else seen[key]

    words = [_in_words(seen[key], asked[key[0]]) for key in of_host]
    void = "; ".join(words[:3] + ([f"and {len(words) - 3} more controls"] if words[3:] else []))
    notes = [note for key in positive if (note := _untold_note(key, seen))]
    return {key: believed(key) for key in seen}, void[:4096], notes


def _why_not_believed(key: tuple[str, Family], asked: Mapping[str, Scenario], seen: Seen) -> str:
    """Returns why the control of a scenario makes it inconclusive, "" if it does not or there is none."""
    control = seen.get((asked[key[0]].control or "", key[1]))
    if control is None:
        return ""
    must = asked[control.scenario]
    if _failed(control, must):
        return f"void: its {_in_words(control, must)}"
    return _not_told(f"its control {control.scenario}", control)


def _failed(control: Observation, must: Scenario) -> bool:
    """Returns whether a control ended in another way than it must. An inconclusive control has not failed."""
    return control.ending not in (*must.expect, "inconclusive", "not run")


def _not_told(name: str, control: Observation) -> str:
    """Returns why a control has no verdict, "" if it has one."""
    if control.ending not in ("inconclusive", "not run"):
        return ""
    what = "was inconclusive" if control.trials else "was not run"
    return f"{name} {what}: {control.reason[:300]}"


def _untold_note(key: tuple[str, Family], seen: Seen) -> str:
    """Returns a note if the positive control has no verdict over a family over which other scenarios ran."""
    if not any(o.trials for (_, family), o in seen.items() if family == key[1]):
        return ""
    told = _not_told(f"the positive control {' over '.join(key)}", seen[key])
    return told and f"nothing shows that a RST would have been seen: {told}"


def _in_words(observation: Observation, control: Scenario) -> str:
    why = f" ({observation.reason[:300]})" if observation.reason else ""
    return (
        f"control {observation.scenario} over {observation.family} ended {observation.ending} "
        f"where it must end {' or '.join(control.expect)}{why}"
    )


def _doubted(observation: Observation, why: str) -> Observation:
    """Returns the observation as inconclusive; `endings` keeps what was seen."""
    reason = "; ".join(filter(None, (why, observation.reason)))
    return msgspec.structs.replace(observation, ending="inconclusive", reason=reason)


def _ran_nothing(plan: HostPlan, reply: Reply, first: Observation) -> ReplyError:
    """Returns the error for a host on which not one scenario ran: it was reached, and not audited."""
    hint = "set become: true" if "namespace" in first.reason else ""
    if plan.isolation == "namespace" and reply.isolation == "host":
        hint = "set become: true, or isolation: auto in the playbook"
    return ReplyError(f"no scenario ran: {first.reason}", hint=hint, stage="execute", kind="no scenario ran")
