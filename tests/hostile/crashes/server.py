"""A process that has imported fleetaudit, and forks one process for each command.

    python -m tests.hostile.crashes.server    started by `Server`, with the library preloaded

Starting Python costs ten times what the command itself does, and there are thousands of moments to
try. Each command is a real process: it can be killed, limited and forked from.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import ROOT

from . import library

PLAYBOOK = """
- name: Two endings
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios: [unread-close/drained-close, unread-close/unread-close]
  sysctls:
    collect: [net.ipv4.tcp_fin_timeout]
"""
EPOCH = 1_800_000_000
"""The time of day of the commands: 2027-01-15T080000Z."""
WAIT_S = 60.0
"""How long one command may take: it takes 0.2 s on an idle machine."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens at the `at`-th call (from 1) on a path in a world that begins with "reports"; at
    none if `at` is 0.

    `action` is an errno, or one of KILL, SHORT, JUMP and STOP. `sticky`: every later call fails,
    too.
    `shift` moves the clock, in seconds: from the beginning, or with JUMP from that call on.
    `calls`: only calls of these names are counted.
    """

    at: int = 0
    action: int = library.KILL
    sticky: bool = False
    shift: int = 0
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended: its exit status, minus the number of a signal, or None if it hung.

    `contacted` is whether a host was contacted; `calls` are those that counted, if `logs` was set.
    """

    status: int | None
    out: str
    err: str
    contacted: bool
    calls: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Command:
    """A command in a world, under way."""

    server: Server
    world: Path
    pid: int
    files: Mapping[str, Path] = field(repr=False)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal, unless the command has ended already."""
        if self.server.ask({"alive": self.pid}):
            os.kill(self.pid, number)

    def wait_until_stopped(self) -> bool:
        """Waits until the command has stopped itself; returns whether it has, and not ended."""
        while self.server.ask({"alive": self.pid}):
            if Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                return True
            time.sleep(0.002)
        return False

    def wait(self, seconds: float = WAIT_S) -> Done:
        """Waits for the end; a command that takes longer is killed and has the status None."""
        status = self.server.ask({"wait": self.pid, "seconds": seconds})
        text = {
            name: path.read_text(errors="replace") if path.exists() else ""
            for name, path in self.files.items()
        }
        done = Done(
            status=status,
            out=text["out"],
            err=text["err"],
            contacted=bool(text["contacted"]),
            calls=tuple(text["calls"].splitlines()),
        )
        for path in self.files.values():
            path.unlink(missing_ok=True)
        return done


class Server:
    """The process that forks the commands; a context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.library = library.build()
        self._folder = Path(tempfile.mkdtemp(prefix="crash-server-"))

    def __enter__(self) -> Server:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("FLEETAUDIT_", "XDG_"))}
        env |= {"LD_PRELOAD": str(self.library), "HOME": str(self._folder), "NO_COLOR": "1"}
        env |= {"COLUMNS": "100", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(self.library), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            cwd=ROOT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)
        shutil.rmtree(self._folder)

    def ask(self, request: Mapping[str, object]) -> Any:
        """Returns the answer of the server to one request."""
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def start(
        self,
        world: Path,
        *arguments: str,
        fault: Fault | None = None,
        logs: bool = False,
        limits: Mapping[int, int] | None = None,
        order: int = 0,
        epoch: int | None = EPOCH,
    ) -> Command:
        """Starts a command in a folder.

        `logs`: the calls that count are returned with the end. `limits` are those of setrlimit(2).
        `order` decides in which order the hosts answer. `epoch` fixes the time of day.
        """
        names = ("out", "err", "contacted", "calls")
        handle, stem = tempfile.mkstemp(dir=self._folder)
        os.close(handle)
        Path(stem).unlink()
        files = {name: Path(f"{stem}.{name}") for name in names}
        pid = self.ask(
            {
                "start": arguments,
                "world": str(world),
                "files": {name: str(path) for name, path in files.items()},
                "fault": dataclasses.asdict(fault or Fault()),
                "logs": logs,
                "limits": {str(number): value for number, value in (limits or {}).items()},
                "order": order,
                "epoch": epoch,
            }
        )
        return Command(server=self, world=world, pid=pid, files=files)

    def run(self, world: Path, *arguments: str, **options: Any) -> Done:
        """Runs a command to its end; see `start`."""
        return self.start(world, *arguments, **options).wait()


# ---- within the server ---------------------------------------------------------------------------


def _serve(library_: str, folder: str) -> None:
    """Answers requests until standard input ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _redirect(0, os.devnull)
    _redirect(1, os.devnull)
    faults = ctypes.CDLL(library_)
    _import_everything()
    reply = _recorded_reply(Path(folder))
    for line in requests:
        request = json.loads(line)
        answer: object
        if "start" in request:
            answer = os.fork()
            if answer == 0:
                requests.close()
                answers.close()
                _become_command(request, faults, reply)
        elif "alive" in request:
            answer = os.waitid(os.P_PID, request["alive"], os.WEXITED | os.WNOHANG | os.WNOWAIT)
            answer = answer is None
        else:
            answer = _wait(request["wait"], request["seconds"])
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _wait(pid: int, seconds: float) -> int | None:
    """Returns the status of a process, None for one that had to be killed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _import_everything() -> None:
    """Imports the modules of the commands."""
    import pkgutil
    from importlib import import_module

    import fleetaudit

    programs = re.compile(r"\.(remote|unpacking|native|kernel|__main__)\b")  # they run elsewhere
    for module in pkgutil.walk_packages(fleetaudit.__path__, "fleetaudit."):
        if not programs.search(module.name):
            import_module(module.name)


def _recorded_reply(folder: Path) -> Any:
    """Returns what the probe answers on this machine, without what binds it to its call."""
    from fleetaudit.probe.command import REPLY_MARK
    from fleetaudit.probe.result_line import find_result
    from fleetaudit.transport import registry

    (folder / "two.yml").write_text(PLAYBOOK)
    file, honest = folder / "reply", registry.Transports.run

    def record(self: Any, *arguments: Any, **options: Any) -> Any:
        output = honest(self, *arguments, **options)
        line = re.sub(rb'"(digest|nonce)":"[^"]*"', rb'"\1":""', find_result(output.stdout) or b"")
        stdout = REPLY_MARK + line + b"\n"
        file.write_bytes(pickle.dumps(dataclasses.replace(output, stdout=stdout, nonce=None)))
        return output

    if (pid := os.fork()) == 0:
        _redirect(1, folder / "out")
        registry.Transports.run = record  # type: ignore[method-assign]
        _main(["run", "localhost,", "-p", str(folder / "two.yml"), "-o", str(folder / "reports")])
    _wait(pid, 300)
    return pickle.loads(file.read_bytes())


def _redirect(fd: int, path: str | Path) -> None:
    """Makes a file one of the standard streams."""
    flags = os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
    new = os.open(path, flags, 0o600)
    os.dup2(new, fd)
    os.close(new)


def _become_command(request: Mapping[str, Any], faults: Any, reply: Any) -> None:
    """Runs the command of a request and ends the process."""
    files = request["files"]
    _redirect(1, files["out"])
    _redirect(2, files["err"])
    _answer_with(reply, os.open(files["contacted"], os.O_WRONLY | os.O_CREAT), request["order"])
    calls = os.open(files["calls"], os.O_WRONLY | os.O_CREAT)
    os.chdir(request["world"])
    os.environ.pop("SOURCE_DATE_EPOCH", None)
    if request["epoch"] is not None:
        os.environ["SOURCE_DATE_EPOCH"] = str(request["epoch"])
    for number, value in request["limits"].items():
        resource.setrlimit(int(number), (value, value))
    fault = request["fault"]
    faults.faults_arm(
        (request["world"] + "/reports").encode(),
        ctypes.c_long(fault["at"]),
        "".join(f" {name} " for name in fault["calls"]).encode(),
        fault["action"],
        int(fault["sticky"]),
        ctypes.c_long(fault["shift"]),
        calls if request["logs"] else -1,
    )
    _main(request["start"])


def _answer_with(reply: Any, contacted: int, order: int) -> None:
    """Makes every host answer with a reply: of three kernels, within milliseconds, in an order that
    `order` decides; the last host cannot be reached.
    """
    from fleetaudit.errors import TransportError
    from fleetaudit.transport import Deadline, registry, waiting
    from tests.unit.engine.test_scheduler import to_call

    chance = random.Random(order)

    def run(self: Any, target: Any, command: str, stdin: Any, *_: Any, **__: Any) -> Any:
        os.write(contacted, b".")
        waiting.sleep(Deadline.after(chance.uniform(0.0, 0.02)))
        number = int(target.address.removeprefix("web"))
        if number == 12:
            raise TransportError("connect", "no answer", hint="nc -vz web12 22", kind="timed out")
        kernel = b'"release":"6.%d.0"' % (number % 3)
        stdout = re.sub(rb'"release":"[^"]*"', kernel, reply.stdout, count=1)
        return to_call(stdin, dataclasses.replace(reply, stdout=stdout))

    registry.Transports.run = run  # type: ignore[method-assign]


def _main(arguments: list[str]) -> None:
    """Runs a command line, and ends the process with its exit status."""
    from fleetaudit.cli import main

    status: object = 1
    try:
        main(arguments)
    except SystemExit as e:
        status = e.code
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 120  # as Python itself ends
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
