"""Which programs reset their peers: real ones, on the kernel of this machine."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.model import Watched
from tests.support import probe_runs
from tests.support.resetting import (
    PREFIX,
    check_a_replaced_program,
    check_programs,
    is_watching,
    start_program,
    watch_programs,
    watched_by,
    watching_call,
)

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("turn_to_watch")]


@pytest.fixture(autouse=True)
def root() -> None:
    probe_runs.need_root()


@pytest.mark.parametrize("version", ["", "2.7", "3.6", "3.13"])
def test_programs_are_named_with_port_and_reason_by_perf_events(
    tmp_path: Path, version: str
) -> None:
    python = probe_runs.interpreter(version) if version else ""
    watched, programs = watch_programs(tmp_path, python=python)
    check_programs(watched, programs)
    assert watched.method == "perf_event_open"
    assert watched.notes == ()
    of_programs = [row for row in watched.resets if PREFIX in row.owner.executable]
    assert [row.peers for row in of_programs] == [{"127.0.0.0/24": r.count} for r in of_programs]


def test_programs_are_named_by_a_tracing_instance_where_python_has_no_ctypes(
    tmp_path: Path,
) -> None:
    watched, programs = watch_programs(tmp_path, before=probe_runs.NO_CTYPES)
    assert watched.method == "tracefs"
    (note,) = watched.notes
    assert "ctypes" in note
    check_programs(watched, programs)


def test_programs_are_named_by_a_tracing_instance_where_perf_events_are_refused(
    tmp_path: Path,
) -> None:
    numbers = {"x86_64": 298, "aarch64": 241}
    if os.uname().machine not in numbers:
        pytest.skip(f"needs the number of perf_event_open(2) on {os.uname().machine}")
    refusing = probe_runs.refusing_a_call(numbers, 48, 8)  # its flags
    within = [probe_runs.public_python(), "-c", refusing]
    watched, programs = watch_programs(tmp_path, within=within)
    assert watched.method == "tracefs"
    assert watched.notes == ("tracefs was used: perf_event_open is refused (EPERM)",)
    check_programs(watched, programs)


def test_a_program_that_becomes_another_one_is_named_by_what_it_was(tmp_path: Path) -> None:
    check_a_replaced_program(tmp_path)


def watch(seconds: float = 0.5, **how: Any) -> Watched:
    """Returns what a probe sees in so many seconds."""
    probe = probe_runs.start(watching_call(seconds), **how)
    try:
        return watched_by(probe)
    finally:
        probe_runs.kill(probe)


def test_programs_in_other_namespaces_are_reported_with_it(tmp_path: Path) -> None:
    with probe_runs.network() as inside:
        program = start_program(tmp_path / "fleet-other", "unread", 5, inside)
        probe = probe_runs.start(watching_call(6))
        try:
            assert probe_runs.comes_true(lambda: is_watching(probe.pid))
            program.go()
            namespace = str(Path(f"/proc/{program.process.pid}/ns/net").readlink())
            watched = watched_by(probe)
        finally:
            probe_runs.kill(probe)
            probe_runs.kill(program.process)
    (row,) = [r for r in watched.resets if r.owner.executable == str(program.executable)]
    assert (row.owner.namespace, row.port, row.count) == (namespace, program.port, 5)
    assert row.peers == {}


def test_sockets_with_unread_data_have_an_owner_also_before_they_are_accepted(
    tmp_path: Path,
) -> None:
    with probe_runs.network() as inside:
        program = start_program(tmp_path / "fleet-holding", "holding", 2, inside)
        try:
            program.go()
            watched = watch(within=inside)
        finally:
            probe_runs.kill(program.process)
    assert watched.unread is not None
    (row,) = watched.unread
    assert row.owner.executable == str(program.executable)
    assert (row.port, row.sockets, row.bytes) == (program.port, 3, 3 * len("request"))


def steered(*commands: str) -> list[str]:
    """Returns a command that runs what follows in a mount namespace of the test's own, after
    `commands`.
    """
    probe_runs.need_program("unshare")
    script = "; ".join([*commands, 'exec "$@"'])
    return ["unshare", "--mount", "--", "sh", "-ec", script, "sh"]


CANNOT: dict[str, tuple[Callable[[], list[str]], str, str]] = {
    "no root": (
        probe_runs.as_nobody,
        "watching needs root",
        "set become: true",
    ),
    "no capability": (
        lambda: ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"],
        "tracefs cannot be used: Operation not permitted; it needs CAP_SYS_ADMIN outside a"
        " container",
        "grep CapEff /proc/self/status",
    ),
    "no tracefs": (
        lambda: steered("mount -t tmpfs tmpfs /sys/kernel"),
        "this kernel has no tracefs: there is no folder /sys/kernel/tracing",
        "ls -d /sys/kernel/tracing",
    ),
    "lockdown": (
        lambda: steered(
            "mount -t tmpfs tmpfs /sys/kernel",
            "mkdir /sys/kernel/security",
            "echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown",
        ),
        "the kernel's lockdown keeps tracefs closed",
        "cat /sys/kernel/security/lockdown",
    ),
    "no tracepoint": (
        lambda: steered(
            "mount -t tmpfs tmpfs /sys/kernel/tracing", "mkdir /sys/kernel/tracing/events"
        ),
        "this kernel has no tracepoint tcp:tcp_send_reset; it came with Linux 4.15",
        "uname -r",
    ),
    "another format": (
        lambda: steered(
            "mount -t tmpfs tmpfs /sys/kernel/tracing",
            "mkdir -p /sys/kernel/tracing/events/tcp/tcp_send_reset",
            "echo 7 > /sys/kernel/tracing/events/tcp/tcp_send_reset/id",
            "yes field: | head -c 9999999 > /sys/kernel/tracing/events/tcp/tcp_send_reset/format",
        ),
        "watching failed: the format of tcp:tcp_send_reset has other fields than expected",
        "fleetaudit doctor",
    ),
}
"""What a host lacks, how a host is made to lack it, and what is reported."""


@pytest.mark.parametrize("lacks", CANNOT)
def test_a_host_that_cannot_be_watched_says_why_and_what_to_do(lacks: str) -> None:
    within, problem, hint = CANNOT[lacks]
    watched = watch(within=within(), python=probe_runs.public_python())
    assert (watched.problem, watched.hint) == (problem, hint)
    assert watched.resets == ()


def test_without_ctypes_and_unshare_a_host_says_what_it_lacks() -> None:
    lines = probe_runs.NO_CTYPES + "os.environ['PATH'] = '/nowhere'\n"
    watched = watch(before=lines)
    assert watched.problem.startswith(
        "tracefs cannot be used: this host has neither Python's ctypes nor the program unshare"
    )


def test_a_watch_ends_with_the_time_of_the_probe() -> None:
    call = {**watching_call(60), "deadline": 5.0}
    probe = probe_runs.start(call)
    try:
        watched = watched_by(probe)
    finally:
        probe_runs.kill(probe)
    assert watched.seconds < 5
    (note,) = watched.notes
    assert "of 60.0 s: the probe's time was over" in note


@contextlib.contextmanager
def tracing_instances() -> Iterator[Path]:
    """Gives the folder of tracing instances, seen from a mount namespace of the test's own."""
    mount = "mount -t tracefs tracefs /sys/kernel/tracing"
    argv = [*steered(mount), "sh", "-c", "echo ready; read -r _"]
    holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield Path(f"/proc/{holder.pid}/root/sys/kernel/tracing/instances")
        assert holder.stdin is not None
        holder.stdin.close()


def children_of(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_probe_that_is_killed_leaves_no_tracing_instance(number: int) -> None:
    with tracing_instances() as folder:
        probe = probe_runs.start(watching_call(60), before=probe_runs.NO_CTYPES)
        assert probe_runs.comes_true(lambda: is_watching(probe.pid))
        instance = folder / f"fleetaudit-{probe.pid}"
        assert instance.is_dir()
        probe_runs.kill(probe, number)
        assert probe_runs.comes_true(lambda: not instance.exists())


def test_killed_at_any_moment_with_its_children_it_leaves_nothing_after_the_next_run() -> None:
    chance, pids = random.Random(20251), list[int]()
    with tracing_instances() as folder:
        left = 0
        for _ in range(15):
            probe = probe_runs.start(watching_call(60), before=probe_runs.NO_CTYPES)
            time.sleep(chance.uniform(0.05, 1.2))
            for pid in [*children_of(probe.pid), probe.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            probe_runs.kill(probe)
            pids.append(probe.pid)
            left += (folder / f"fleetaudit-{probe.pid}").exists()
        assert left  # else the moments were not in its life
        assert not watch().problem
        assert not [pid for pid in pids if (folder / f"fleetaudit-{pid}").exists()]


def test_a_watch_mounts_nothing_on_the_host() -> None:
    before = Path("/proc/self/mountinfo").read_text()
    probe = probe_runs.start(watching_call(2), before=probe_runs.NO_CTYPES)
    try:
        assert probe_runs.comes_true(lambda: is_watching(probe.pid))
        assert Path("/proc/self/mountinfo").read_text() == before
        assert watched_by(probe).method == "tracefs"
    finally:
        probe_runs.kill(probe)
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.storm
@pytest.mark.parametrize("before", ["", probe_runs.NO_CTYPES], ids=["perf", "tracefs"])
def test_a_storm_of_resets_is_bounded_and_counted(tmp_path: Path, before: str) -> None:
    seconds, each = 60.0, 100_000
    with probe_runs.network() as inside, contextlib.ExitStack() as stack:
        programs = [
            start_program(tmp_path / f"fleet-storm{n}", "storm", each, inside) for n in range(2)
        ]
        for program in programs:
            stack.callback(probe_runs.kill, program.process)
            assert program.process.stdin is not None
        probe = probe_runs.start(watching_call(seconds), within=inside, before=before)
        stack.callback(probe_runs.kill, probe)
        assert probe_runs.comes_true(lambda: is_watching(probe.pid))
        for program in programs:
            assert program.process.stdin is not None
            program.process.stdin.write(b"go\n")
            program.process.stdin.flush()
        for program in programs:
            assert program.process.stdout is not None
            assert program.process.stdout.readline() == b"done\n"
        status = Path(f"/proc/{probe.pid}/status").read_text()
        assert probe.poll() is None, "the storm took longer than the watch"
        watched = watched_by(probe)
    memory_kb = int(status.partition("VmHWM:")[2].split()[0])
    assert memory_kb < 64 * 1024
    assert watched.events >= 2 * each
    assert watched.sampled or watched.lost > each
    assert 1000 < watched.named <= 110_000
    assert watched.cpu_s < 0.1 * seconds + 4
    assert any("too many resets" in n or "no room" in n for n in watched.notes)
    named = {Path(row.owner.executable).name for row in watched.resets}
    assert named >= {"fleet-storm0", "fleet-storm1"}
