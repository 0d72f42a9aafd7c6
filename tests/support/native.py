"""The native probe as `make native` has built it, for tests that run it."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.probe.native_program import architecture_of, has_native, native_binary
from fleetaudit.probe.native_request import FIRST_LINE
from tests.support.timed_replies import TimedReply, parse_reply


def built(architecture: str = "x86_64") -> bytes:
    """Returns the program for an architecture; skips the test without it, and fails it in CI, where
    `make test` builds all of them.
    """
    if not has_native(architecture) and not os.environ.get("CI"):
        pytest.skip(f"needs the native probe for {architecture}: make native")
    return native_binary(architecture)


@functools.cache
def installed() -> Path:
    """Returns the program for this machine as a file that every user may run."""
    machine = os.uname().machine
    program = built(architecture_of(machine) or machine)
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    path = folder / "fleetaudit-probe"
    path.write_bytes(program)
    path.chmod(0o755)
    return path


def request_text(call: dict[str, Any]) -> bytes:
    """Returns a call of the Python probe (`probe_runs.request`) as the native probe's request."""
    lines: list[Sequence[object]] = [
        (FIRST_LINE,),
        ("isolation", call["isolation"]),
        *(("sysctl", pattern) for pattern in call["sysctls"]),
    ]
    if watch := call.get("watch"):
        lines.append(("watch", watch["seconds"], "peers" if watch["peers"] else "no peers"))
    for scenario in call["scenarios"]:
        lines.append(("scenario", scenario["name"], scenario["trials"], *scenario["families"]))
        lines += [("expect", ending) for ending in scenario["expect"]]
        lines += [("step", *step) for step in scenario["steps"]]
    lines.append(("deadline", call["deadline"]))
    text = "".join("\t".join(map(str, line)) + "\n" for line in lines).encode("ascii")
    return text + b"end %08d\n" % (len(text) + len("end 00000000\n"))


def run(call: dict[str, Any], *, within: Sequence[str] = ()) -> TimedReply:
    """Returns what the native probe answers to a call; `within` is a command that the program's is
    appended to.
    """
    done = subprocess.run(
        [*within, installed()],
        input=request_text(call),
        capture_output=True,
        cwd="/",
        timeout=call["deadline"] + 300,
        check=False,
    )
    assert done.stderr == b"", done.stderr.decode(errors="replace")
    return parse_reply(done.stdout)
