"""What the probe's tests share: scenarios in the step language, interpreters, and a run of the real
program.

Rules: the program runs as it runs on a host, from stdin, by a real interpreter; nothing in it is
replaced but where a test says so in a line of its own before it.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fleetaudit.model import Family, HostPlan, LocalTarget
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.step_order import step_families
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol
from tests.support.timed_replies import TimedReply, TimedTrial, parse_reply

VERSIONS = ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
NO_CTYPES = "import os, sys\nsys.modules['ctypes'] = None\nvars(os).pop('unshare', None)\n"
"""Lines before the program that make any Python as poor as python3-minimal before 3.12."""
STAY_IN_NAMESPACE = """import itertools, os
NET, count, readlink = "/proc/self/ns/net", itertools.count(), os.readlink
os.unshare = lambda flags: None
os.readlink = lambda path, **how: "net:%d" % next(count) if path == NET else readlink(path, **how)
"""
"""Lines before the program with which it takes the network namespace that a test made for one of
its own.
"""
AS_NOBODY = """import ctypes, os
os.setgroups([]); os.setgid(65534); os.setuid(65534); ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""
"""Lines before the program that make its process an ordinary user's. A login ends in an exec, which
makes a process its user's own again; here PR_SET_DUMPABLE (4) stands for it.
"""

UNREAD = ("unread-close", "peer sends 5 bytes; closer closes")
DRAINED = ("drained-close", "peer sends 5 bytes; closer reads all; closer closes")
REREAD = (
    "reread-fin-close",
    "peer sends 10 bytes; closer reads all; peer resends 10 bytes with FIN; closer closes",
)


def scenario(
    name: str,
    text: str,
    *,
    families: Sequence[Family] = ("ipv4", "ipv6"),
    trials: int = 1,
    expect: Sequence[str] = (),
) -> dict[str, object]:
    """Returns one scenario of a request; `text` has its steps, separated by semicolons."""
    steps = [parse_step(line) for line in text.split(";")]
    return {
        "name": name,
        "steps": [step.call for step in steps],
        "families": list(step_families(steps, families)),
        "trials": trials,
        "expect": list(expect),
    }


def request(
    *scenarios: Mapping[str, object],
    isolation: str = "auto",
    sysctls: Sequence[str] = (),
    deadline: float = 30.0,
) -> dict[str, Any]:
    """Returns a call of the probe."""
    return {
        "protocol": protocol.PROTOCOL,
        "deadline": deadline,
        "isolation": isolation,
        "sysctls": list(sysctls),
        "scenarios": list(scenarios),
    }


def plan_of(*names: str, trials: int = 1) -> HostPlan:
    """Returns a plan of this machine with scenarios of the shipped playbook."""
    chosen = {s.name: s for s in load_playbook(None).plays[0].scenarios}
    return HostPlan(
        name="here",
        groups=(),
        target=LocalTarget(),
        scenarios=tuple(chosen[name] for name in names),
        trials=trials,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )


def start(
    call: dict[str, Any] | str,
    *,
    python: str = "",
    before: str = "",
    within: Sequence[str] = (),
    **popen: Any,
) -> subprocess.Popen[bytes]:
    """Starts the probe and hands it its program; `within` is a command that the interpreter's is
    appended to, and a `call` that is text is sent as it stands.
    """
    process = subprocess.Popen(
        [*within, python or sys.executable, "-B", "-E", "-s", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        **popen,
    )
    assert process.stdin is not None
    process.stdin.write(
        before.encode("ascii")
        + (call.encode("ascii") if isinstance(call, str) else protocol.make_script(call))
    )
    process.stdin.close()
    process.stdin = None
    return process


def run_text(text: str, *, seconds: float = 300, **how: Any) -> bytes:
    """Returns what a program on stdin prints; see `start` for `how`."""
    process = start(text, **how)
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert stderr == b"", stderr.decode(errors="replace")
    return stdout


def run(call: dict[str, Any], **how: Any) -> TimedReply:
    """Returns what the probe answers; see `start` for `how`."""
    process = start(call, **how)
    try:
        stdout, stderr = process.communicate(timeout=call["deadline"] + 300)
    finally:
        process.kill()
    assert stderr == b"", stderr.decode(errors="replace")
    return parse_reply(stdout)


def trial_of(reply: TimedReply, name: str, family: Family = "ipv4") -> TimedTrial:
    """Returns the one trial that stands for all trials of a scenario; where they differ, that is a
    failure.
    """
    (found,) = [o for o in reply.observations if (o.scenario, o.family) == (name, family)]
    assert found.not_run == ""
    (trial,) = found.trials
    assert trial.error == ""
    return trial


def notable_segments(trial: TimedTrial) -> list[str]:
    """Returns "sender flags" of the segments that are more than data and acknowledgments, without
    the SYNs.

    A busy machine sends some of them again: each counts once.
    """
    assert trial.wire is not None
    of_interest = [s for s in trial.wire if set("FRU") & set(s.flags) or "FIN" in s.options]
    return [
        f"{s.sender} {s.flags}"
        for s in {(s.sender, s.flags, s.seq, s.length): s for s in of_interest}.values()
    ]


def need_root() -> None:
    """Skips where the tests do not run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def need_program(*names: str) -> None:
    """Skips where one of these programs is missing."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"needs the program {name}")


def in_new_network(*commands: str) -> list[str]:
    """Returns a command that runs what follows in a network namespace of the test's own, `lo` up,
    after `commands`.
    """
    need_root()
    need_program("unshare", "ip")
    return [
        "unshare",
        "--net",
        "--",
        "sh",
        "-ec",
        "; ".join(["ip link set lo up", *commands, 'exec "$@"']),
        "sh",
    ]


class Captured(NamedTuple):
    """One TCP segment as tcpdump wrote it down: `at` in seconds since 1970, `options` and `headers`
    (IP and TCP) as bytes, `seq` and `ack` absolute.
    """

    at: float
    source: int
    target: int
    seq: int
    ack: int
    bits: int
    window: int
    urgent: int
    length: int
    options: bytes
    headers: bytes


class TcpdumpRun(NamedTuple):
    """What the probe answered, and every TCP segment that tcpdump saw meanwhile, each once, in
    order. `lines` are the segments in tcpdump's own words, one each.
    """

    reply: TimedReply
    packets: tuple[Captured, ...]
    lines: tuple[str, ...]

    def of(self, trial: TimedTrial) -> tuple[Captured, ...]:
        """Returns all segments of a trial's connection, with those that came after the probe had
        stopped to look and those of its cleaning up. Those before: `at` up to that of the last row
        of the trial's own trace.
        """
        assert trial.connection is not None, trial.error
        ports, began = set(trial.connection.ports), trial.connection.began
        own = [p for p in self.packets if {p.source, p.target} == ports and p.at > began - 0.001]
        again = (
            i for i, p in enumerate(own) if p.bits == SYN and p.seq != own[0].seq
        )  # the ports' next connection
        return tuple(own[: next(again, len(own))])


SYN = 0x02


def run_with_tcpdump(
    call: dict[str, Any],
    *,
    commands: Sequence[str] = (),
    probe: Callable[..., TimedReply] = run,
    **how: Any,
) -> TcpdumpRun:
    """Returns what the probe answers in a network namespace of the test's own, and what tcpdump
    captures on its `lo`.

    The call's isolation must be "host", or `before` must be `STAY_IN_NAMESPACE`, so that the probe
    stays where tcpdump is. `commands` prepare the namespace; `probe` runs the call, and see
    `start` for `how`.
    """
    assert call["isolation"] == "host" or how.get("before") == STAY_IN_NAMESPACE
    need_program("tcpdump", "nsenter")
    with tempfile.TemporaryDirectory() as folder, network(*commands) as inside:
        path = Path(folder) / "lo.pcap"
        with _tcpdump(path, inside):
            reply = probe(call, within=inside, **how)
        return TcpdumpRun(reply, tuple(_packets_of(path.read_bytes())), tuple(tcpdump_reads(path)))


def tcpdump_reads(path: Path) -> list[str]:
    """Returns the TCP segments of a capture file as tcpdump prints them: numbers, not names, and
    absolute.
    """
    need_program("tcpdump")
    argv = ["tcpdump", "-nn", "-S", "-tt", "-r", str(path), "tcp"]
    return subprocess.run(
        argv, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()


@contextmanager
def network(*commands: str) -> Iterator[list[str]]:
    """Makes a network namespace, and gives the command that enters it."""
    holder = subprocess.Popen(
        [*in_new_network(*commands), "sh", "-c", "echo ready; read -r _"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "--"]
        assert holder.stdin is not None
        holder.stdin.close()  # it reads the end of the file, and ends


FENCE = b"the last packet of this test"


@contextmanager
def _tcpdump(path: Path, inside: Sequence[str]) -> Iterator[None]:
    """Captures what passes `lo` during the `with` block: all of it, and nothing that a full buffer
    dropped.

    -Q in: each packet passes `lo` twice, on its way out and in.
    """
    argv = [
        *inside,
        "tcpdump",
        "-i",
        "lo",
        "-Q",
        "in",
        "-U",
        "--immediate-mode",
        "-s",
        "160",
        "-B",
        "65536",
    ]
    tcpdump = subprocess.Popen(
        [*argv, "-n", "-Z", "root", "-w", path, "tcp or udp port 9"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tcpdump.stderr is not None
    try:
        assert any("listening on" in line for line in tcpdump.stderr), "tcpdump did not start"
        yield
        last = f"import socket; socket.socket(2, 2).sendto({FENCE!r}, ('127.0.0.1', 9))"
        subprocess.run([*inside, sys.executable, "-c", last], check=True)
        assert comes_true(lambda: FENCE in path.read_bytes()[-200:])
    finally:
        tcpdump.terminate()
        said = tcpdump.stderr.read()
        tcpdump.wait()
        tcpdump.stderr.close()
    assert "\n0 packets dropped by kernel" in said, said


def _packets_of(data: bytes) -> Iterator[Captured]:
    """Yields the TCP segments in a pcap file of an Ethernet device, of IPv4 without fragments and
    of IPv6 without extension headers, which is what loopback has.
    """
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}[data[:4]]
    assert struct.unpack_from(f"{order}I", data, 20)[0] == 1  # LINKTYPE_ETHERNET
    place = 24
    while place < len(data):
        seconds, micros, size, _ = struct.unpack_from(f"{order}IIII", data, place)
        frame, place = data[place + 16 : place + 16 + size], place + 16 + size
        packet = frame[14:]
        v4 = packet[0] >> 4 == 4
        start = (packet[0] & 15) * 4 if v4 else 40
        end = struct.unpack_from("!H", packet, 2 if v4 else 4)[0] + (0 if v4 else 40)
        if packet[9 if v4 else 6] != 6:
            continue
        source, target, seq, ack, offset, bits, window, _, urgent = struct.unpack_from(
            "!HHIIBBHHH", packet, start
        )
        data_at = start + (offset >> 4) * 4
        yield Captured(
            at=seconds + micros / 1e6,
            source=source,
            target=target,
            seq=seq,
            ack=ack,
            bits=bits,
            window=window,
            urgent=urgent,
            length=end - data_at,
            options=packet[start + 20 : data_at],
            headers=packet[:data_at],
        )


def as_nobody() -> list[str]:
    """Returns a command that runs what follows as an unprivileged user."""
    need_root()
    need_program("setpriv")
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


def without_user_namespaces() -> list[str]:
    """Returns a command that runs what follows as an unprivileged user who can make no namespace at
    all.

    The limit is set in a user namespace of the test's own, so that it holds there alone; the
    network namespace is the test's own, too, so that the counters move for nobody else.
    """
    need_program("setpriv")
    limit = "echo 0 > /proc/sys/user/max_user_namespaces"
    drop = "setpriv --ambient-caps=-all --inh-caps=-all"
    return [
        *in_new_network(),
        *as_nobody(),
        *("unshare", "--user", "--map-current-user", "--keep-caps", "--"),
        *("sh", "-ec", f'{limit}; exec {drop} -- "$@"', "sh"),
    ]


HOST_WITHOUT_USER_NAMESPACES = """
import ctypes, os, sys
ready, say_ready = os.pipe()
process = os.getpid()
if os.fork() == 0:
    os.read(ready, 1)
    for name in "uid", "gid":
        with open(f"/proc/{process}/{name}_map", "w") as file:
            file.write("0 0 65536")
    os._exit(0)
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):  # CLONE_NEWUSER
    sys.exit(f"no user namespace: errno {ctypes.get_errno()}")
os.write(say_ready, b".")
if os.wait()[1]:
    sys.exit("the users could not be mapped")
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("0")
os.execvp(sys.argv[1], sys.argv[1:])
"""


def host_without_user_namespaces() -> list[str]:
    """Returns a command that runs what follows where nobody may make a user namespace, with every
    user in place.

    The limit (user_namespaces(7)) is that of a user namespace of the test's own, in which root is
    no root of the machine's network: nothing of the machine's is changed.
    """
    need_root()
    return [public_python(), "-c", HOST_WITHOUT_USER_NAMESPACES]


REFUSES_A_CALL = """
import ctypes, os, struct, sys
number, at, value = NUMBERS[os.uname().machine], AT, VALUE
# Classic BPF on struct seccomp_data: nr, arch, instruction pointer, args.
lines = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, at), (0x15, 0, 1, value),
         (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
program = b"".join(struct.pack("HBBI", *line) for line in lines)
held = ctypes.create_string_buffer(program)
library = ctypes.CDLL(None, use_errno=True)
filter = ctypes.create_string_buffer(struct.pack("HP", len(lines), ctypes.addressof(held)))
if library.prctl(22, 2, filter, 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    sys.exit(f"no seccomp: errno {ctypes.get_errno()}")
os.execvp(sys.argv[1], sys.argv[1:])
"""


def refusing_a_call(numbers: dict[str, int], at: int, value: int) -> str:
    """Returns Python that runs a command for which a system call with one value of an argument
    fails with EPERM.

    `numbers` are the call's by machine, `at` is the argument's place in struct seccomp_data.
    """
    constants = f"NUMBERS, AT, VALUE = {numbers!r}, {at}, {value}"
    return constants + REFUSES_A_CALL


# ioctl(2) with SIOCSIFFLAGS
HOST_WITHOUT_CAPABILITIES = refusing_a_call({"x86_64": 16, "aarch64": 29}, 24, 0x8914)


def host_without_capabilities() -> list[str]:
    """Returns a command that runs what follows as Ubuntu 24.04's AppArmor lets ordinary users:
    unshare(2) succeeds, and what the capabilities of the new namespace are for is denied (here by
    seccomp: `lo` cannot be brought up).
    """
    need_root()
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip(f"needs the number of ioctl(2) on {os.uname().machine}")
    return [public_python(), "-c", HOST_WITHOUT_CAPABILITIES]


def public_python() -> str:
    """Returns an interpreter that an unprivileged user may run."""
    path = "/usr/bin/python3"
    if not Path(path).exists():
        pytest.skip(f"needs {path}")
    return path


def interpreter(version: str) -> str:
    """Returns a working interpreter of a version ("3.9"), skipping the test where there is none.

    Looked for on PATH, in pyenv's folder, and in the folders of FLEETAUDIT_TEST_PYTHONS (each with
    python3.9 or 3.9.x/bin/python in it).
    """
    candidates = [path] if (path := shutil.which(f"python{version}")) else []
    folders = [
        Path(p) for p in os.environ.get("FLEETAUDIT_TEST_PYTHONS", "").split(os.pathsep) if p
    ]
    for folder in [Path.home() / ".pyenv" / "versions", *folders]:
        candidates += map(str, sorted(folder.glob(f"{version}.*/bin/python")))
        candidates += map(str, sorted(folder.glob(f"python{version}")))
    for candidate in candidates:
        told = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            check=False,
        )
        if told.stdout.strip().decode() == version:
            return candidate
    pytest.skip(f"needs Python {version}")


def kill(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    """Ends a process that the test started, with everything that it has open here."""
    process.send_signal(number)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def processes_with(mark: str) -> list[int]:
    """Returns the processes whose environment carries a mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def comes_true(test: Any, seconds: float = 120.0) -> bool:
    """Returns whether `test()` comes true within `seconds`."""
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
