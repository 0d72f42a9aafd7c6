"""Which programs reset their peers, by the native probe on the kernel of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.model import Watched
from fleetaudit.probe import protocol
from tests.probe.native.test_foreign import EMULATORS
from tests.support import native, probe_runs
from tests.support.native import request_text
from tests.support.resetting import (
    Program,
    check_a_replaced_program,
    check_programs,
    is_watching,
    watch_programs,
    watched_by,
    watching_call,
)
from tests.support.two_probes import native_program

pytestmark = [
    pytest.mark.probe,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("turn_to_watch"),
]

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
IN_TRACEFS = "mount --make-rprivate / && mount -t tracefs tracefs /sys/kernel/tracing && "


@pytest.fixture(autouse=True)
def root() -> None:
    probe_runs.need_root()


def start(
    call: dict[str, Any], *, within: Sequence[str] = (), program: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Starts the native probe, or another `program`; `within` is a command that its own is appended
    to.
    """
    process = subprocess.Popen(
        [*within, *(program or [str(native_program())])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(request_text(call))
    process.stdin.close()
    process.stdin = None
    return process


def refusing_perf() -> list[str]:
    """Returns a command that runs what follows where perf_event_open(2) fails."""
    if os.uname().machine not in PERF_EVENT_OPEN:
        pytest.skip(f"needs the number of perf_event_open(2) on {os.uname().machine}")
    # PERF_FLAG_FD_CLOEXEC is the fifth argument.
    program = probe_runs.refusing_a_call(PERF_EVENT_OPEN, 16 + 4 * 8, 8)
    return [probe_runs.public_python(), "-c", program]


def watched(seconds: float = 1.0, *, within: Sequence[str] = ()) -> Watched:
    """Returns what the probe saw of this machine."""
    return watched_by(start(watching_call(seconds), within=within))


def test_a_program_that_becomes_another_one_is_named_by_what_it_was(tmp_path: Path) -> None:
    check_a_replaced_program(tmp_path, start)


def in_tracefs(command: str) -> str:
    """Returns the output of a command in the folder of instances, mounted for it alone."""
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            f"{IN_TRACEFS} cd /sys/kernel/tracing/instances && {command}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def instance_of(pid: int) -> str:
    return f"fleetaudit-{pid}"


def test_programs_are_named_with_port_and_reason_by_perf_events(tmp_path: Path) -> None:
    seen, programs = watch_programs(tmp_path, start)
    check_programs(seen, programs)
    assert seen.method == "perf_event_open"
    assert seen.notes == ()
    assert seen.cpu_s < 2
    own = [row for row in seen.resets if not row.owner.namespace]
    assert all(row.peers == {"127.0.0.0/24": row.count} for row in own)


def test_programs_are_named_by_a_tracing_instance_where_perf_events_are_refused(
    tmp_path: Path,
) -> None:
    seen, programs = watch_programs(tmp_path, start, within=refusing_perf())
    check_programs(seen, programs)
    assert seen.method == "tracefs"
    assert seen.notes == ("tracefs was used: perf_event_open is refused (EPERM)",)


@pytest.mark.parametrize("method", ["perf_event_open", "tracefs"])
def test_both_probes_report_the_same_at_the_same_time(tmp_path: Path, method: str) -> None:
    other = list[subprocess.Popen[bytes]]()

    native_program()  # building it takes longer than the watch

    def start_both(call: dict[str, Any], *, within: Sequence[str]) -> subprocess.Popen[bytes]:
        before = probe_runs.NO_CTYPES if method == "tracefs" else ""
        other.append(probe_runs.start(call, within=within, before=before))
        assert probe_runs.comes_true(lambda: is_watching(other[0].pid))
        refusing = refusing_perf() if method == "tracefs" else []
        return start(call, within=[*within, *refusing])

    native_seen, programs = watch_programs(tmp_path, start_both)
    python_seen = watched_by(other[0])
    for seen in (native_seen, python_seen):
        check_programs(seen, programs)
        assert (seen.method, seen.told_by) == (method, native_seen.told_by)
    assert native_seen.aborts_on_close == python_seen.aborts_on_close
    assert rows_of(native_seen, programs) == rows_of(python_seen, programs)


def rows_of(seen: Watched, programs: Sequence[Program]) -> set[bytes]:
    """Returns the rows of programs, as JSON."""
    ports = {program.port for program in programs}
    return {msgspec.json.encode(row) for row in seen.resets if row.port in ports}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", EMULATORS)
def test_the_programs_for_other_architectures_name_them_too(
    tmp_path: Path, architecture: str
) -> None:
    """QEMU's emulation of a processor has no perf_event_open(2)."""
    emulator, processor = EMULATORS[architecture]
    probe_runs.need_program(emulator)
    program = tmp_path / "probe"
    program.write_bytes(native.built(architecture))
    program.chmod(0o755)

    def emulated(call: dict[str, Any], within: Sequence[str]) -> subprocess.Popen[bytes]:
        return start(call, program=(emulator, "-cpu", processor, str(program)), within=within)

    seen, programs = watch_programs(tmp_path, emulated, seconds=15.0)
    check_programs(seen, programs, is_slow=True)
    assert seen.method == "tracefs"


def test_peers_are_not_reported_unless_they_are_asked_for(tmp_path: Path) -> None:
    def without_peers(call: dict[str, Any], **how: Any) -> subprocess.Popen[bytes]:
        return start({**call, "watch": {**call["watch"], "peers": False}}, **how)

    seen, programs = watch_programs(tmp_path, without_peers)
    check_programs(seen, programs)
    assert not any(row.peers for row in seen.resets)


def test_watching_needs_root_and_says_so() -> None:
    seen = watched(within=probe_runs.as_nobody())
    assert (seen.problem, seen.hint) == ("watching needs root", "set become: true")


def test_root_without_capabilities_learns_what_is_missing() -> None:
    probe_runs.need_program("setpriv")
    if Path("/sys/kernel/tracing/events").exists():
        pytest.skip("needs a machine where tracefs is not mounted")
    seen = watched(within=["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
    problem = "tracefs cannot be used: Operation not permitted; it needs CAP_SYS_ADMIN outside a"
    assert seen.problem == f"{problem} container"
    assert seen.hint == "grep CapEff /proc/self/status"


def test_nothing_is_mounted_on_the_host_and_no_instance_is_left() -> None:
    before = Path("/proc/self/mountinfo").read_text()
    for within in ([], refusing_perf()):
        process = start(watching_call(1.0), within=within)
        assert not watched_by(process).problem
        assert instance_of(process.pid) not in in_tracefs("ls")
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGALRM])
def test_a_probe_that_is_killed_leaves_no_instance(number: int) -> None:
    process = start(watching_call(30.0), within=refusing_perf())
    try:
        assert probe_runs.comes_true(lambda: is_watching(process.pid))
        assert instance_of(process.pid) in in_tracefs("ls")
    finally:
        probe_runs.kill(process, number)
    assert probe_runs.comes_true(lambda: instance_of(process.pid) not in in_tracefs("ls"), 30)


def test_an_instance_that_was_left_is_removed_by_the_next_watch() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    used = instance_of(os.getpid())
    in_tracefs(f"mkdir {instance_of(gone.pid)} {used} fleetaudit-x")
    try:
        assert not watched(0.5).problem
        left = in_tracefs("ls").split()
        assert instance_of(gone.pid) not in left
        assert {used, "fleetaudit-x"} <= {*left}
    finally:
        in_tracefs(f"rmdir {used} fleetaudit-x")


STORM = r"""
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **word) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(8001)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), client, server;
    char byte = 'x';
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (count < 2 || bind(listener, (void *)&here, sizeof here) || listen(listener, 64)) {
        return 1;
    }
    for (long i = atol(word[1]); i > 0; i--) {
        client = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client, (void *)&here, sizeof here) || send(client, &byte, 1, 0) != 1) {
            return 1;
        }
        server = accept(listener, NULL, NULL);
        recv(server, &byte, 1, MSG_PEEK);
        close(server);
        close(client);
    }
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.storm
@pytest.mark.parametrize("method", ["perf_event_open", "tracefs"])
def test_a_storm_is_bounded_and_its_program_named(tmp_path: Path, method: str) -> None:
    """200,000 RSTs: as many are read as the bounds allow, the others are counted."""
    (tmp_path / "storm.c").write_text(STORM)
    probe_runs.need_program("gcc")
    program = tmp_path / "fleet-storm"
    subprocess.run(["gcc", "-O2", tmp_path / "storm.c", "-o", program], check=True)
    with probe_runs.network() as inside:
        within = [*inside, *(refusing_perf() if method == "tracefs" else ())]
        probe = start(watching_call(60.0), within=within)
        assert probe_runs.comes_true(lambda: is_watching(probe.pid))
        storm = subprocess.Popen([*inside, program, "200000"])
        seen = watched_by(probe)
        probe_runs.kill(storm)
    assert seen.method == method
    assert seen.named <= 100_000
    assert seen.cpu_s < 0.5 + 0.1 * 60 + 1
    named, *_ = (row for row in seen.resets if not row.owner.namespace)
    assert (named.owner.executable, named.port, named.reason) == (str(program), 8001, "unread data")
    assert seen.aborts_on_close is not None
    assert seen.aborts_on_close > 10_000
    if method == "perf_event_open":  # its count is the kernel's own
        assert seen.events >= seen.aborts_on_close  # others on this machine may reset, too
    if seen.named + seen.lost < seen.events - 1000:
        assert seen.sampled
        assert any("too many resets to read them all" in note for note in seen.notes)


def test_the_alarm_ends_a_watch_and_its_result_is_kept() -> None:
    call = {**watching_call(60.0), "deadline": 5.0}
    began = time.monotonic()
    process = start(call)
    stdout, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    reply = protocol.parse_reply(stdout)
    assert reply.watch is not None
    assert 1 < reply.watch.seconds < 4
    assert any(note.startswith("watched for ") for note in reply.watch.notes)
