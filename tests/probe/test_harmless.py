"""What the probe leaves behind: nothing, however it ends."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.probe import protocol
from tests.support import probe_runs, timed_replies
from tests.support.probe_runs import (
    DRAINED,
    REREAD,
    UNREAD,
    in_new_network,
    kill,
    request,
    run,
    scenario,
    start,
    trial_of,
)
from tests.support.timing import BUSY_S

MARK = "FLEETAUDIT_TEST_MARK"

MANY = (
    scenario(*UNREAD),
    scenario(*DRAINED),
    scenario(*REREAD),
    scenario("killed", "peer sends 5 bytes; closer is killed"),
    scenario(
        "child",
        "peer sends 5 bytes; closer shares its socket with a child; closer closes",
        trials=2,
    ),
    scenario(
        "children",
        "closer shares its socket with a child; closer shares its socket with a child;"
        " closer closes",
    ),
    scenario(
        "setting",
        "namespace sets net.ipv4.tcp_fin_timeout 7; peer sends until blocked; closer closes",
    ),
    scenario("exec", "peer sends 5 bytes; closer execs"),
    scenario(
        "peer killed",
        "wait 20 ms; peer sends 5 bytes; closer reads 4 bytes with MSG_WAITALL; peer is killed; "
        "closer closes",
    ),
    scenario("signed", "both sign with TCP_MD5SIG; peer sends 5 bytes; closer closes"),
    scenario(
        "settings",
        "namespace sets net.ipv4.tcp_rmem 4096 8192 16384; listener has a backlog of 2; "
        "closer closes",
    ),
    scenario(
        "strangers",
        "listener has a backlog of 2; others fill the accept queue; closer accepts; closer closes",
    ),
    scenario("out of order", "peer sends 5 bytes out of order; peer sends 1 byte; closer closes"),
    scenario("resent", "peer sends 5 bytes; closer reads all; peer resends 5 bytes; closer closes"),
)


def settings() -> dict[str, str]:
    """Returns every net.ipv4.tcp_* of this network namespace."""
    found = {}
    for path in sorted(Path("/proc/sys/net/ipv4").glob("tcp_*")):
        try:
            found[path.name] = path.read_text()
        except OSError:
            continue
    return found


def namespaces() -> set[str]:
    """Returns the network namespaces that some process is in."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue
    return found


def killed_after(delay: float, mark: str, many: Any = MANY, **how: Any) -> bool:
    """Kills a probe of `many` scenarios after `delay` seconds; returns whether it had ended before,
    and holds that no process is left.
    """
    name, value = mark.split("=")
    process = start(request(*many), env={**os.environ, name: value}, **how)
    try:
        process.wait(delay)  # nothing is read: the reply waits in the pipe
        ended = True
    except subprocess.TimeoutExpired:
        ended = False
    kill(process)
    assert probe_runs.comes_true(lambda: not probe_runs.processes_with(mark)), (
        probe_runs.processes_with(mark)
    )
    return ended


def test_killed_at_any_moment_it_leaves_no_process_no_namespace_and_no_setting() -> None:
    chance, before = random.Random(20160101), settings()
    with ThreadPoolExecutor(4) as pool:  # most of the time goes into waiting
        turns = [
            pool.submit(
                killed_after,
                chance.uniform(0.0, 0.6),
                f"{MARK}={os.getpid()}-{turn}-",
                MANY * (1 + turn % 2 * 2),  # the more have workers
                **({"before": probe_runs.NO_CTYPES} if turn % 4 == 3 else {}),
            )
            for turn in range(200)
        ]
    assert sum(turn.result() for turn in turns) < 150  # else the moments were not in its life
    assert settings() == before


@pytest.mark.parametrize("version", ["", "2.7"])
def test_the_trials_run_on_one_cpu_which_is_one_of_those_that_it_may_run_on(version: str) -> None:
    if len(allowed := os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    python = probe_runs.interpreter(version) if version else ""
    name, value = f"{MARK}={os.getpid()}-cpu{version}".split("=")
    many = [scenario(f"unread-{n}", UNREAD[1], trials=20) for n in range(50)]
    process = start(request(*many), python=python, env={**os.environ, name: value})
    seen = list[set[int]]()

    def told() -> bool:
        for pid in probe_runs.processes_with(f"{name}={value}"):
            with contextlib.suppress(ProcessLookupError):
                seen.append(os.sched_getaffinity(pid))
        return any(len(cpus) == 1 and cpus < allowed for cpus in seen)

    try:
        assert probe_runs.comes_true(told), seen
    finally:
        kill(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_signal_ends_it_at_once_with_everything_it_started(number: int) -> None:
    mark = f"{MARK}={os.getpid()}-polite-{int(number)}"
    name, value = mark.split("=")
    process = start(request(*MANY * 20), env={**os.environ, name: value})
    assert probe_runs.comes_true(lambda: len(probe_runs.processes_with(mark)) > 1)
    began = time.monotonic()
    kill(process, number)
    assert time.monotonic() - began < 1 + BUSY_S
    assert process.returncode == -number
    assert probe_runs.comes_true(lambda: not probe_runs.processes_with(mark))


def test_it_ends_soon_after_the_reader_of_its_output_is_gone() -> None:
    blocked = scenario(
        "nothing", "closer duplicates its socket; wait 50 ms; closer closes", trials=20
    )
    process = start(request(*[blocked] * 20))
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(300) == 1
    kill(process)


def test_the_namespace_is_gone_when_it_is() -> None:
    probe_runs.need_root()
    before = namespaces()
    process = start(request(*MANY * 5))  # long enough to be seen on a busy machine
    link = Path(f"/proc/{process.pid}/ns/net")
    assert probe_runs.comes_true(lambda: str(link.readlink()) not in before)
    inside = str(link.readlink())
    process.communicate(timeout=300)
    assert inside not in namespaces()


def test_a_hosts_own_counters_stay_clean() -> None:
    names = ["TCPAbortOnClose", "TCPAbortOnData", "EstabResets", "OutRsts", "ActiveOpens"]
    within = in_new_network()
    within[-2] = within[-2].replace(
        'exec "$@"', '"$@"; "$@" </dev/null; cat /proc/net/netstat /proc/net/snmp'
    )
    process = start(request(*MANY), within=within)
    stdout, _ = process.communicate(timeout=300)
    assert trial_of(timed_replies.parse_reply(stdout), "unread-close").kernel
    lines = [
        line.split()
        for line in stdout.decode().splitlines()
        if line.startswith(("TcpExt:", "Tcp:"))
    ]
    counted = dict(zip(lines[0] + lines[2], lines[1] + lines[3], strict=True))
    assert {name: counted[name] for name in names} == dict.fromkeys(names, "0")


def test_no_kernel_takes_its_connections_for_a_syn_flood_and_logs_that() -> None:
    names = ["TCPReqQFullDoCookies", "TCPReqQFullDrop", "SyncookiesSent"]
    within = in_new_network()
    within[-2] = within[-2].replace('exec "$@"', '"$@"; cat /proc/net/netstat')
    queue = (
        "listener has a backlog of 2; listener sets TCP_DEFER_ACCEPT 5; peer connects without being"
        " accepted; "
    )
    full = scenario("full", queue + "others fill the accept queue; peer sends 5 bytes")
    process = start(request(*MANY, full, isolation="host"), within=within)
    stdout, _ = process.communicate(timeout=300)
    assert trial_of(timed_replies.parse_reply(stdout), "full").peer is not None
    heading, values = [
        line.split() for line in stdout.decode().splitlines() if line.startswith("TcpExt:")
    ]
    counted = dict(zip(heading, values, strict=True))
    assert {name: counted[name] for name in names} == dict.fromkeys(names, "0")


def test_a_hosts_own_settings_are_never_written() -> None:
    before = settings()
    for isolation in ("auto", "host"):
        run(request(*MANY, isolation=isolation))
    assert settings() == before


def test_in_the_hosts_namespace_no_time_wait_is_left() -> None:
    within = in_new_network()
    within[-2] = within[-2].replace(
        'exec "$@"', '"$@"; sed "s/^/left/" /proc/net/tcp /proc/net/tcp6'
    )
    some = [s for s in MANY if s["name"] not in ("setting", "settings", "out of order", "resent")]
    process = start(request(*some, isolation="host"), within=within)
    stdout, _ = process.communicate(timeout=300)
    assert trial_of(timed_replies.parse_reply(stdout), "drained-close").peer is not None
    left = [line.split() for line in stdout.decode().splitlines() if line.startswith("left")]
    assert len([row for row in left if "sl" in row]) == 2
    assert [row for row in left if "sl" not in row] == []


def test_it_needs_no_place_to_write_to() -> None:
    probe_runs.need_root()
    probe_runs.need_program("unshare", "mount")
    within = [
        "unshare",
        "--mount",
        "--",
        "sh",
        "-ec",
        "for m in / /tmp /dev /dev/shm; do"
        " mount --rbind $m $m 2>/dev/null && mount -o remount,bind,ro $m; done; "
        'if (echo > /tmp/x) 2>/dev/null; then exit 9; fi; exec "$@"',
        "sh",
    ]
    reply = run(request(*MANY), within=within)
    assert all(o.trials and not o.trials[0].error for o in reply.observations)


def test_the_shipped_playbook_leaves_room_in_the_reply_and_bounds_every_trace() -> None:
    playbook = pytest.importorskip("fleetaudit.playbook")
    scenarios = [
        protocol.scenario_call(s, s.trials or play.trials)
        for play in playbook.load_playbook(None).plays
        for s in play.scenarios
    ]
    reply = run(request(*scenarios, deadline=60.0), python=probe_runs.public_python())
    assert len(reply.observations) > 100
    assert all(len(t.wire or ()) <= 200 for o in reply.observations for t in o.trials)
    assert len(msgspec.json.encode(reply)) < protocol.MAX_LINE / 4
