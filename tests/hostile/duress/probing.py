"""Runs the probe in a world, and judges its answer, its time and what it left."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fleetaudit.errors import ReplyError
from fleetaudit.model import (
    Audited,
    HostPlan,
    Interpreter,
    Isolation,
    LocalTarget,
    ProbeChoice,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.probe import protocol, verdict
from fleetaudit.probe.offer import new_offer
from tests.support import probe_runs

from . import seccomp

MERCY_S = 5.0
"""From the probe's alarm to the one that the kernel ends it by (`remote/constants.py`)."""
START_S = 3.0
"""What a shell and an interpreter may take to start before the probe's own clock runs."""
NO_VERDICT = ("inconclusive", "not run")
_BROKEN = re.compile(
    r"the probe failed: (?!\w+: (\[Errno |\(\d))|Traceback(?!.*(Errno|MemoryError))"
)
NOBODY = 54321
"""A user without processes of its own, so that RLIMIT_NPROC counts those of the probe alone."""
LAUNCHER = Path(__file__).with_name("launcher.py")
Key = tuple[str, str]


@dataclass(frozen=True)
class World:
    """One world, and what the probe must still say in it.

    Attributes:
        scripts: Lines of shell that root runs in the world before the probe starts.
        files: Odd files by their path; the values are keys of `launcher.ODD`.
        rules: System calls that are refused or kill (`seccomp`).
        limits: Resource limits, by the name behind RLIMIT_.
        groups: Settings of control groups, by their name in version 2.
        events: Signals while the probe runs: `at`, `signal`, `to` command, all or one (by `seed`).
        share: Share of a CPU that SIGSTOP and SIGCONT leave it, 0 for all.
        stdin: How many bytes of the program are sent, None for all of them.
        closed: Standard streams that are closed before it starts.
        reads: "all" of its output is read, "nothing" of it, or the pipe is "closed".
        least: Minimum number of verdicts: a share of those that it has on this kernel.
        says: Words that one of its reasons or notes must have.
        slow_s: Seconds that this world itself adds to the bound.
        truth: Verdicts that are different here, because the world itself changes them.
        breaks: Whether Python itself may fail here, with a traceback.
        native: Whether the native probe is sent, by the same command.
    """

    name: str
    scripts: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[seccomp.Rule, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()
    share: float = 0.0
    uid: int = 0
    python: str = ""
    stdin: int | None = None
    closed: tuple[int, ...] = ()
    reads: str = "all"
    deadline: float = 40.0
    slow_s: float = 0.0
    least: float = 1.0
    says: str = ""
    isolation: Isolation = "auto"
    truth: Mapping[str, str] = field(default_factory=dict)
    breaks: bool = False
    native: bool = False

    @property
    def bound(self) -> float:
        """The longest that the probe may take in this world, in seconds."""
        return self.deadline + MERCY_S + START_S + self.slow_s


@dataclass(frozen=True)
class Outcome:
    """What a probe did in a world, as the launcher and the probe report it."""

    report: Mapping[str, Any]
    stdout: bytes
    stderr: bytes
    audited: Audited | None
    error: ReplyError | None
    wrong: tuple[str, ...] = ()
    right: int = 0

    @property
    def words(self) -> list[str]:
        """Every reason and note, the most frequent first."""
        if self.error:
            return [f"{self.error.stage}: {self.error.reason}"]
        assert self.audited is not None
        reasons = Counter(o.reason for o in self.audited.observations if o.ending in NO_VERDICT)
        void = [f"void: {self.audited.void}"] if self.audited.void else []
        return [*void, *(reason for reason, _ in reasons.most_common()), *self.audited.notes]


@functools.cache
def whole_plan() -> HostPlan:
    """Returns the shipped playbook, each scenario once."""
    names = [scenario.name for scenario in load_playbook(None).plays[0].scenarios]
    return probe_runs.plan_of(*names)


@functools.cache
def can_limit(setting: str) -> bool:
    """Returns whether a control group can have a setting (of version 2) on this machine."""
    command = [sys.executable, str(LAUNCHER), "--group", setting]
    return not subprocess.run(command, capture_output=True, check=False).returncode


@functools.cache
def usual_verdicts() -> dict[Key, str]:
    """Returns this kernel's verdicts in a world without any duress."""
    outcome = probe_in(World("usual"))
    assert outcome.audited is not None, (outcome.error, outcome.report, outcome.stderr)
    return verdicts_of(outcome.audited)


def verdicts_of(audited: Audited) -> dict[Key, str]:
    return {
        (o.scenario, o.family): o.ending for o in audited.observations if o.ending not in NO_VERDICT
    }


def plan_for(world: World) -> HostPlan:
    interpreter = None
    if world.python:
        interpreter = Interpreter(value=world.python, origin="this test")
    plan = replace(whole_plan(), isolation=world.isolation)
    probe: ProbeChoice = "native" if world.native else "auto"
    return replace(plan, target=LocalTarget(interpreter=interpreter, probe=probe))


def stdin_for(world: World, plan: HostPlan) -> bytes:
    """Returns what the command reads in a world: for the native probe its answer to the line by
    which the command asks for it, too.
    """
    if not world.native:
        return protocol.make_request(plan, deadline_s=world.deadline)
    offer = new_offer(plan, deadline_s=world.deadline)
    program = offer.native_for_shell(platform.machine())
    head = f"{protocol.ONLY_NATIVE}\n{offer.nonce} {len(program)}\n"
    return head.encode() + program.compressed()


def probe_in(world: World) -> Outcome:
    """Starts the probe in a world, waits for its end, and reads its output as a run does."""
    plan = plan_for(world)
    report, stdout, stderr = _launch(world, stdin_for(world, plan)[: world.stdin])
    status = report.get("status")
    try:
        # As all transports report a process that a signal ended.
        known = 128 - status if status is not None and status < 0 else status
        audited = verdict.result_from_output(plan, stdout, stderr, known)
    except ReplyError as e:
        return Outcome(report, stdout, stderr, None, e)
    return Outcome(report, stdout, stderr, audited, None)


def _launch(world: World, stdin: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    report, into = os.pipe()
    with tempfile.TemporaryDirectory(prefix="duress-") as folder:
        spec = _spec(world, folder, into)
        process = subprocess.Popen(
            [sys.executable, str(LAUNCHER), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(into,),
        )
        os.close(into)
        assert process.stdout is not None
        if world.reads == "closed":
            process.stdout.close()
            process.stdout = None
        try:
            if world.reads == "nothing":
                _write_only(process, stdin)
                process.wait(world.bound + 120)
            stdout, stderr = process.communicate(stdin, timeout=world.bound + 120)
        finally:
            process.kill()
            process.wait()
        with os.fdopen(report, "rb") as file:
            reported = json.loads(file.read() or b"{}")
    assert "status" in reported, (reported, stderr)
    return reported, stdout or b"", stderr


def _write_only(process: subprocess.Popen[bytes], stdin: bytes) -> None:
    """Sends the program, and makes the pipe of the output too small for a reply."""
    assert process.stdin is not None
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    process.stdin.write(stdin)
    process.stdin.close()
    process.stdin = None


def _spec(world: World, folder: str, report: int) -> dict[str, Any]:
    if world.rules and platform.machine() != "x86_64":
        raise RuntimeError("needs the numbers of the system calls of this machine")
    return {
        "folder": folder,
        "report": report,
        "groups": dict(world.groups),
        "command": protocol.COMMAND,
        "scripts": world.scripts,
        "files": dict(world.files),
        "filter": seccomp.assemble(world.rules).hex() if world.rules else "",
        "limits": dict(world.limits),
        "environment": dict(world.environment),
        "events": [dict(event) for event in world.events],
        "share": world.share,
        "uid": world.uid,
        "closed": world.closed,
        "most": world.bound + 30,
    }


_usual_lock = threading.Lock()


def left_over(world: World, report: Mapping[str, Any]) -> list[str]:
    """Returns what the probe left in a world, or changed. The times of a folder in which the native
    program had a name for a moment are no trace of it.
    """
    left = [*report["left"], *report["changed"]]
    return [each for each in left if not (world.native and each.endswith("/"))]


def judge(world: World, outcome: Outcome) -> tuple[list[str], dict[str, object]]:
    """Returns what is not as it must be, and the cells of the row."""
    with _usual_lock:
        usual = usual_verdicts()
    seen = verdicts_of(outcome.audited) if outcome.audited else {}
    false = {
        key: ending
        for key, ending in seen.items()
        if ending != world.truth.get(key[0], usual.get(key, ending))
    }
    right = len(seen) - len(false)
    message = "; ".join(outcome.words)
    report = outcome.report
    wrong = [
        f"{name} over {family} is {ending}, not {world.truth.get(name, usual[name, family])}"
        for (name, family), ending in false.items()
    ]
    wrong += [f"left: {each}" for each in left_over(world, report)]
    if report["status"] is None or report["seconds"] > world.bound:
        wrong.append(f"it took {report['seconds']:.1f} s")
    if right < world.least * len(usual):
        wrong.append(f"only {right} verdicts")
    if len(seen) < len(usual) and not message:
        wrong.append("it does not say why verdicts are missing")
    if world.says not in message:
        wrong.append(f"it does not say “{world.says}”")
    if _BROKEN.search(message) and not world.breaks:
        wrong.append("it failed for another reason than the world's")
    cells = {
        "seconds": f"{report['seconds']:.1f} of {world.bound:.0f}",
        "verdicts": f"{right} of {len(usual)}",
        "wrong": len(false),
        "left over": len(left_over(world, report)),
        "message": (message if len(seen) < len(usual) or world.says else "")[:150],
    }
    return wrong, cells
