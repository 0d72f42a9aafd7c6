"""Programs that reset their peers, each in its own way and under its own name, and a probe that
watches them.

Rules: a program is a copy of a real interpreter, so that its executable is its own; all of them and
the probe stand in one network namespace of the test's own, where the kernel's counter moves for
nobody else.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fleetaudit.model import Watched
from fleetaudit.probe import protocol
from tests.support import probe_runs

PROGRAM = """
import os, socket, struct, sys, time
way, times = sys.argv[1], int(sys.argv[2])
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
port = listener.getsockname()[1]
os.write(1, b"%d\\n" % port)
sys.stdin.readline()

def accepted(sent):
    client = socket.create_connection(("127.0.0.1", port))
    if sent:
        client.sendall(sent)
    server = listener.accept()[0]
    if sent:
        server.recv(1, socket.MSG_PEEK)
    return client, server

def unread():
    client, server = accepted(b"request")
    server.close()
    client.close()

def linger():
    client, server = accepted(b"")
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    client.close()

def orderly():
    client, server = accepted(b"request")
    server.recv(100)
    server.close()
    client.close()

def exiting():
    if os.fork() == 0:
        ends = accepted(b"request")
        os._exit(0)
    os.wait()

def waiting():
    clients = []
    for _ in range(times):
        clients.append(socket.create_connection(("127.0.0.1", port)))
    time.sleep(0.1)
    listener.close()

def holding():
    global held
    held = [accepted(b"request") for _ in range(times)]
    held.append(socket.create_connection(("127.0.0.1", port)))
    held[-1].sendall(b"request")
    time.sleep(0.1)

def storm():
    for _ in range(times // 500):
        with socket.socket() as crowded:
            crowded.bind(("127.0.0.1", 0))
            crowded.listen(1000)
            clients = []
            for _ in range(500):
                clients.append(socket.create_connection(crowded.getsockname()))
        for client in clients:
            client.close()

def replaced():
    for _ in range(times):
        unread()
    os.write(1, b"done\\n")
    os.execv("/bin/sleep", ["sleep", "60"])

if way in ("waiting", "holding", "storm", "replaced"):
    globals()[way]()
else:
    for _ in range(times):
        globals()[way]()
os.write(1, b"done\\n")
sys.stdin.readline()
"""
"""Makes connections to itself once it reads a line, and ends them in one way: with
unread data, with a zero linger, orderly, by the end of a process with unread data, or by closing
the listener of connections that nobody accepted. "holding" ends none, "storm" ends many at once as
"waiting" does, and "replaced" becomes another program at once. It prints its port, and "done".
"""

PREFIX = "fleet-"
REASONS = {
    "unread": "unread data",
    "linger": "linger 0",
    "exiting": "unread data",
    "waiting": "exit of a child socket",
}
"""What is reported for each way; "orderly" resets nobody."""

RESETS = {"unread": 7, "linger": 5, "exiting": 4, "waiting": 3, "orderly": 6}
"""How often each of the programs ends a connection."""


class Program(NamedTuple):
    """A running program: its executable, the way it ends connections, and its port."""

    process: subprocess.Popen[bytes]
    executable: Path
    way: str
    port: int

    def go(self) -> None:
        """Lets it make and end its connections, and waits until it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"done\n"


@contextmanager
def resetting(folder: Path, inside: Sequence[str] = ()) -> Iterator[list[Program]]:
    """Starts one program for each of `RESETS`, under a name of its own, in the namespace that the
    command `inside` enters.
    """
    programs = list[Program]()
    try:
        for way, times in RESETS.items():
            programs.append(start_program(folder / f"{PREFIX}{way}", way, times, inside))
        yield programs
    finally:
        for program in programs:
            probe_runs.kill(program.process)


def start_program(executable: Path, way: str, times: int, inside: Sequence[str] = ()) -> Program:
    """Starts a program as a copy of the system's interpreter."""
    shutil.copy(Path(probe_runs.public_python()).resolve(), executable)
    process = subprocess.Popen(
        [*inside, executable, "-I", "-c", PROGRAM, way, str(times)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    return Program(process, executable, way, int(process.stdout.readline()))


def watching_call(seconds: float, *, peers: bool = False) -> dict[str, Any]:
    """Returns a call that only watches."""
    watch = {"seconds": seconds, "peers": peers}
    return {**probe_runs.request(deadline=seconds + 60), "watch": watch}


def watched_by(process: subprocess.Popen[bytes]) -> Watched:
    """Returns what a probe saw, once it has ended."""
    stdout, stderr = process.communicate(timeout=300)
    assert stderr == b"", stderr.decode(errors="replace")
    watched = protocol.parse_reply(stdout).watch
    assert watched is not None
    return watched


def is_watching(pid: int) -> bool:
    """Returns whether a process has what it watches with, and sleeps between two looks."""
    try:
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    if not any("perf_event" in link or "trace_pipe" in link for link in links):
        return False
    states = Counter[str]()
    for _ in range(5):
        time.sleep(0.02)
        states[Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]] += 1
    return states["S"] >= 4


def watch_programs(
    folder: Path,
    start: Callable[..., subprocess.Popen[bytes]] = probe_runs.start,
    *,
    seconds: float = 8.0,
    **how: Any,
) -> tuple[Watched, list[Program]]:
    """Returns what a probe saw of the programs, and these; `start` starts it in a namespace that
    it is given as `within`, and gets `how`.
    """
    with probe_runs.network() as inside, resetting(folder, inside) as programs:
        within = [*inside, *how.pop("within", ())]
        probe = start(watching_call(seconds, peers=True), within=within, **how)
        try:
            assert probe_runs.comes_true(lambda: is_watching(probe.pid)), probe.poll()
            for program in programs:
                program.go()
            time.sleep(0.2)
            assert probe.poll() is None, "the programs took longer than the watch"
            return watched_by(probe), programs
        finally:
            probe_runs.kill(probe)


def check_a_replaced_program(
    folder: Path, start: Callable[..., subprocess.Popen[bytes]] = probe_runs.start
) -> None:
    """Holds that resets have the name of the program that made them, which has become another one
    before anybody looked; `start` starts the probe.
    """
    with probe_runs.network() as inside:
        program = start_program(folder / f"{PREFIX}replaced", "replaced", 3, inside)
        probe = start(watching_call(4), within=inside)
        try:
            assert probe_runs.comes_true(lambda: is_watching(probe.pid)), probe.poll()
            program.go()
            watched = watched_by(probe)
        finally:
            probe_runs.kill(probe)
            probe_runs.kill(program.process)
    (row,) = [row for row in watched.resets if row.port == program.port]
    assert row.owner.executable == str(program.executable)
    assert (row.owner.command, row.count) == (program.executable.name, 3)


def check_programs(watched: Watched, programs: Sequence[Program], *, is_slow: bool = False) -> None:
    """Holds that every reset of the programs was reported, for its reason, and none of others. A
    process that ended may be known by its name alone; a probe that `is_slow`, as in emulation on a
    busy machine, may find nothing of it.
    """
    assert not watched.problem
    assert watched.notes == () or watched.method == "tracefs", watched.notes
    found = Counter[tuple[str, int, str]]()
    # Other tests reset in other namespaces, and a process that ended may be in any.
    here, ports = ("", "unknown"), {program.port for program in programs}
    for row in watched.resets:
        name = Path(row.owner.executable).name or row.owner.command
        if name.startswith(PREFIX) and row.port in ports and row.owner.namespace in here:
            found[name, row.port, row.reason] += row.count
    expected = {
        (program.executable.name, program.port, REASONS[program.way]): RESETS[program.way]
        for program in programs
        if program.way in REASONS
    }
    unread = sum(n for (*_, reason), n in expected.items() if reason == "unread data")
    assert watched.aborts_on_close == unread
    ended = {program.port for program in programs if program.way == "exiting" and is_slow}
    rows = {key: count for key, count in found.items() if key[1] not in ended}
    assert rows == {key: n for key, n in expected.items() if key[1] not in ended}, watched
    assert watched.named <= watched.events
    assert watched.lost == 0
    assert not watched.sampled


IN_A_GUEST = """
import ctypes, os, sys, time

def start_way(way, times):
    if os.fork():
        return
    ctypes.CDLL(None).prctl(15, b"{prefix}" + way.encode(), 0, 0, 0)
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)
    sys.argv = ["", way, str(times)]
    sys.stdin = Waiting({wait})
    exec(compile({program!r}, way, "exec"), {{"__name__": way}})
    os._exit(0)

class Waiting:
    def __init__(self, seconds):
        self.seconds = seconds

    def readline(self):
        time.sleep(self.seconds)
        self.seconds = 1.0

for way, times in {resets!r}.items():
    start_way(way, times)
"""


def programs_in_a_guest(wait: float) -> str:
    """Returns lines before the program of a probe that start `RESETS` as processes of a guest: each
    has its name and does its resets after `wait` seconds.
    """
    return IN_A_GUEST.format(prefix=PREFIX, wait=wait, program=PROGRAM, resets=RESETS)


def resets_by_command(watched: Watched) -> Counter[tuple[str, str]]:
    """Returns the resets of the programs by the names of their processes and the reasons."""
    found = Counter[tuple[str, str]]()
    for row in watched.resets:
        if row.owner.command.startswith(PREFIX):
            found[row.owner.command, row.reason] += row.count
    return found
