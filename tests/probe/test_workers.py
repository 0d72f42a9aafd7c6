"""Scenarios that run in several processes at once: the reply is as from one process, and nothing of
the others is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.probe import protocol
from tests.support import probe_runs, timed_replies
from tests.support.probe_runs import DRAINED, UNREAD, kill, request, run, scenario, start
from tests.support.timing import BUSY_S

MARK = "FLEETAUDIT_TEST_MARK"
LONG = "wait 2 s; wait 2 s; wait 2 s; wait 2 s; peer sends 5 bytes; closer closes"
QUICK = [
    scenario(f"{name}-{number}", text) for number in range(15) for name, text in (UNREAD, DRAINED)
]
"""Enough to be worth a worker."""


def endings(reply: timed_replies.TimedReply) -> list[tuple[str, str, list[str]]]:
    """Returns what each observation shows, in the order of the reply."""
    return [
        (o.scenario, o.family, [n for t in o.trials for n in probe_runs.notable_segments(t)])
        for o in reply.observations
    ]


def expected() -> list[tuple[str, str, list[str]]]:
    """Returns the endings of QUICK, in the order of the call."""
    ends = {UNREAD[0]: ["closer R."], DRAINED[0]: ["closer F."]}
    return [
        (str(each["name"]), family, ends[str(each["name"]).rpartition("-")[0]])
        for each in QUICK
        for family in ("ipv4", "ipv6")
    ]


@contextmanager
def running(call: dict[str, Any], **how: Any) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """Runs a probe, which is killed at the end; yields it, and what returns its workers: children
    in a network namespace of their own.
    """
    name, value = MARK, f"{os.getpid()}-{id(call)}"
    process = start(call, env={**os.environ, name: value}, **how)

    def workers() -> list[int]:
        def network(pid: int) -> str:
            with contextlib.suppress(OSError):
                return str(Path(f"/proc/{pid}/ns/net").readlink())
            return ""

        here, own = network(os.getpid()), network(process.pid)
        if own in (here, ""):  # a child that tries to make a namespace may be in one
            return []
        pids = set(probe_runs.processes_with(f"{name}={value}")) - {process.pid}
        return [pid for pid in sorted(pids) if network(pid) not in (here, own, "")]

    try:
        yield process, workers
        assert probe_runs.comes_true(
            lambda: not set(probe_runs.processes_with(f"{name}={value}")) - {process.pid}
        )
    finally:
        kill(process)


@pytest.mark.parametrize("version", probe_runs.VERSIONS)
def test_the_reply_has_the_order_of_the_call_whoever_ran_a_scenario(version: str) -> None:
    reply = run(request(*QUICK), python=probe_runs.interpreter(version))
    assert endings(reply) == expected()
    assert not reply.notes


def test_workers_run_beside_it_in_namespaces_of_their_own_and_on_its_cpu() -> None:
    probe_runs.need_root()
    long = scenario("long", LONG, families=["ipv4"])
    with running(request(*QUICK, long, deadline=60)) as (process, workers):

        def are_on_its_cpu() -> bool:
            pids = workers()
            cpus = {frozenset(os.sched_getaffinity(pid)) for pid in (process.pid, *pids)}
            return bool(pids) and [len(each) for each in cpus] == [1]

        assert probe_runs.comes_true(are_on_its_cpu)


def test_a_worker_that_is_killed_costs_the_scenario_that_it_runs_and_no_other() -> None:
    probe_runs.need_root()
    # The two that last longest begin first: one of them in a worker.
    long = [scenario(f"long-{number}", LONG, families=["ipv4"]) for number in range(4)]
    with running(request(*QUICK, *long, deadline=100)) as (process, workers):
        assert probe_runs.comes_true(lambda: any(map(_is_connected, workers())))
        os.kill(workers()[0], signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=400)
    assert stderr == b""
    reply = timed_replies.parse_reply(stdout)
    lost = [o for o in reply.observations if o.not_run]
    assert [o.not_run for o in lost] == ["the process that ran it ended early (signal 9)"]
    assert lost[0].failed
    assert endings(reply)[: len(expected())] == expected()
    assert [o.scenario for o in reply.observations[-4:]] == [f"long-{n}" for n in range(4)]


def test_the_kernel_ends_the_workers_of_a_probe_that_is_killed() -> None:
    probe_runs.need_root()
    long = [scenario(f"long-{number}", LONG, families=["ipv4"]) for number in range(4)]
    with running(request(*QUICK, *long, deadline=100)) as (process, workers):
        assert probe_runs.comes_true(lambda: any(map(_is_connected, workers())))
        seen = workers()
        process.kill()
        process.wait()
        # Without that, they would go on for eight seconds.
        assert probe_runs.comes_true(lambda: not any(map(_is_alive, seen)), 3 + BUSY_S)


def _is_connected(pid: int) -> bool:
    """Returns whether an established connection is in the network namespace of a process."""
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[3] == "01" for line in lines[1:])


def _is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_the_alarm_ends_the_workers_and_keeps_what_they_observed() -> None:
    long = [scenario(f"long-{number}", LONG, families=["ipv4"]) for number in range(4)]
    reply = run(request(*long, *QUICK, deadline=5.0))
    assert {o.not_run for o in reply.observations[:4]} == {"the probe's time ran out"}
    assert any("alarm" in note for note in reply.notes)
    assert [(o.scenario, o.family) for o in reply.observations[4:]] == [
        (name, family) for name, family, _ in expected()
    ]
    assert reply.elapsed_s < 5 + BUSY_S


NO_FORK = "import os\nos.fork = None\n"
"""Lines before the program with which it can make no process."""


def test_on_the_hosts_own_loopback_one_process_runs_all() -> None:
    within = probe_runs.in_new_network()
    reply = run(request(*QUICK, isolation="host"), before=NO_FORK, within=within)
    assert endings(reply) == expected()


def test_a_few_scenarios_are_not_worth_a_worker() -> None:
    text = protocol.make_script(request(*QUICK[:5])).decode()
    old = "\tdef start(self, move):\n"
    assert text.count(old) == 1
    changed = text.replace(old, f"{old}\t\tos._exit(3)\n")
    reply = timed_replies.parse_reply(probe_runs.run_text(changed))
    assert endings(reply) == expected()[:10]


NO_WORKER = """import errno, os, sys
fork = os.fork
def fork_for_a_namespace():
    if sys._getframe(1).f_code.co_name == "__init__":
        raise OSError(errno.EAGAIN, "no process")
    return fork()
os.fork = fork_for_a_namespace
"""
"""Lines before the program with which it can make a namespace and no worker."""
FEW_FILES = ("bash", "-c", 'ulimit -n 48; exec "$0" "$@"')


@pytest.mark.parametrize(
    "how", [{"before": NO_WORKER}, {"within": FEW_FILES}], ids=["processes", "files"]
)
def test_where_no_worker_can_be_made_one_process_runs_all(how: dict[str, Any]) -> None:
    reply = run(request(*QUICK), python=probe_runs.public_python(), **how)
    assert reply.isolation == "namespace"
    assert endings(reply) == expected()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("another = Laboratory(True,", "raise OSError(28, 'no space')\n\t\tanother = Laboratory("),
        ("return another if another.abilities() ==", "return another if 1 =="),
        ("\tlab.close()\n\ttry:", "\tlab.close()\n\t1 / 0\n\ttry:"),
    ],
    ids=["no namespace", "other abilities", "a mistake in it"],
)
def test_a_worker_that_cannot_begin_takes_no_scenario(old: str, new: str) -> None:
    text = protocol.make_script(request(*QUICK)).decode()
    assert text.count(old) == 1
    reply = timed_replies.parse_reply(probe_runs.run_text(text.replace(old, new)))
    assert endings(reply) == expected()


def test_a_worker_that_fails_is_named_by_its_status() -> None:
    text = protocol.make_script(request(*QUICK)).decode()
    old = "data = marshal.dumps("
    assert text.count(old) == 1
    changed = text.replace(old, "data = marshal.nothing(")
    reply = timed_replies.parse_reply(probe_runs.run_text(changed))
    lost = {o.not_run for o in reply.observations if o.not_run}
    assert lost == {"the process that ran it ended early (status 1)"}
    assert sum(bool(o.not_run) for o in reply.observations) <= 3
