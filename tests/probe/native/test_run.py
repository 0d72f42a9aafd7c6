"""How a run of the native probe begins and ends: its request, its alarm, its second process, and
what is left of it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleetaudit.model import HostPlan, Scenario
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.steps import parse_step
from fleetaudit.probe import protocol
from fleetaudit.probe.native_request import native_digest, native_request
from fleetaudit.probe.reply import Reply
from tests.support import probe_runs
from tests.support.probe_runs import DRAINED, UNREAD
from tests.support.timing import BUSY_S
from tests.support.two_probes import native_program, plan_of

pytestmark = pytest.mark.probe
MARK = "FLEETAUDIT_TEST_MARK"
LONG = "; ".join(["wait 2 s"] * 4) + "; peer sends 5 bytes; closer closes"
NOT_WHOLE = b"the request is not whole\n"


def scenario(name: str, text: str) -> Scenario:
    """Returns a scenario over IPv4."""
    steps = tuple(parse_step(line) for line in text.split(";"))
    return Scenario(
        name=name, title=name, steps=steps, expect=("RST",), because="", families=("ipv4",)
    )


QUICK = [
    scenario(f"{name}-{number}", text) for number in range(30) for name, text in (UNREAD, DRAINED)
]
"""Enough to be worth a second process."""
MANY_LONG = [scenario(f"long-{number}", LONG) for number in range(4)]
"""They last longest, so they begin first: one of them in the second process."""


def sent(plan: HostPlan, deadline: float = 60.0, nonce: str = "") -> bytes:
    """Returns the request of a plan."""
    return bytes(native_request(plan, deadline_s=deadline, nonce=nonce))


def small() -> HostPlan:
    """Returns a plan of two scenarios."""
    return plan_of(QUICK[:2], trials=1)


def ended(argv: Sequence[str | Path], text: bytes) -> tuple[int, bytes, bytes]:
    """Returns the status, stdout and stderr of a program."""
    done = subprocess.run(argv, input=text, capture_output=True, check=False, timeout=300)
    return done.returncode, done.stdout, done.stderr


def answers(stdout: bytes, plan: HostPlan) -> Reply:
    """Returns the reply, which must answer the plan and have run all of it."""
    reply = protocol.parse_reply(stdout)
    assert reply.digest == native_digest(plan)
    assert [each.scenario for each in reply.observations] == [s.name for s in plan.scenarios]
    assert all(each.trials for each in reply.observations)
    return reply


# The request.


def test_a_request_that_was_cut_anywhere_runs_nothing() -> None:
    text = sent(small())
    cuts = [*random.Random(1).sample(range(len(text)), 20), 0, len(text) - 1, len(text) - 2]
    for cut in cuts:
        assert ended([native_program()], text[:cut]) == (2, b"", NOT_WHOLE)


def test_what_follows_the_request_on_stdin_is_not_read_and_stdin_may_stay_open() -> None:
    process = subprocess.Popen(
        [native_program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(sent(small()) + b"fleetaudit-request/1\nno request\n")
        process.stdin.flush()
        stdout = process.stdout.read()  # ends although stdin does not
        assert answers(stdout, small()).python == ""
        process.stdin.close()
    assert process.returncode == 0


def one_file(folder: Path, text: bytes) -> Path:
    """Returns the program with a text at its end."""
    path = folder / "probe"
    path.write_bytes(native_program().read_bytes() + text)
    path.chmod(0o755)
    return path


def test_a_file_with_its_request_at_its_end_is_complete(tmp_path: Path) -> None:
    path = one_file(tmp_path, sent(small(), nonce="0123456789abcdef"))
    status, stdout, stderr = ended([path], b"")
    assert (status, stderr) == (0, b"")
    assert answers(stdout, small()).nonce == "0123456789abcdef"
    other = sent(plan_of(QUICK[:1]))
    assert answers(ended([path], other)[1], small())  # stdin is not read


def test_a_file_whose_request_has_a_wrong_length_runs_nothing(tmp_path: Path) -> None:
    text = sent(small())
    number = int(text[-9:])
    for wrong in (number - 1, number + 1, 99_999_999, 0, 13):
        path = one_file(tmp_path, text[:-9] + b"%08d\n" % wrong)
        assert ended([path], text) == (2, b"", NOT_WHOLE)


@pytest.mark.parametrize(
    "line",
    [
        "scenario\tx",
        "scenario\tx\t101\tipv4",
        "scenario\tx\t-1\tipv4",
        "scenario\tx\t1\tipv5",
        "scenario\tx\t1\tipv4\tipv6\tunix\tipv4",
        "scenario\tx\t1\tipv4\nstep\tpeer\tdance",
        "scenario\tx\t1\tipv4\nstep\tnobody\tclose",
        "scenario\tx\t1\tipv4\n" + "step\tcloser\tclose\n" * 64 + "step\tcloser\tclose",
        "scenario\tx\t1\tipv4\nexpect\tRST\tFIN",
        "isolation\tnone",
        "deadline\tsoon",
        "deadline\t0",
        "deadline\t1e9",
        "dance\tx",
        "",
    ],
)
def test_a_line_that_is_not_understood_runs_nothing(line: str) -> None:
    before, _, after = sent(small()).partition(b"deadline")
    text = before + line.encode() + b"\ndeadline" + after[:-9]
    status, stdout, stderr = ended([native_program()], text + b"%08d\n" % (len(text) + 9))
    assert (status, stdout) == (2, b"")
    assert stderr.startswith(b"line ")
    assert stderr.endswith(b" of the request is not understood\n")


# The alarm.


def test_the_alarm_keeps_what_was_observed_in_the_words_of_the_python_probe() -> None:
    plan = plan_of([MANY_LONG[0], *QUICK], trials=1)
    began = time.monotonic()
    stdout = ended([native_program()], sent(plan, deadline=6.0))[1]
    assert time.monotonic() - began < 6 + BUSY_S
    native = protocol.parse_reply(stdout)
    text = protocol.make_request(plan, deadline_s=6.0)
    python = protocol.parse_reply(ended([sys.executable, "-"], text)[1])
    assert native.notes == python.notes
    for reply in (native, python):
        lost, *others = reply.observations
        assert (lost.not_run, lost.failed) == ("the probe's time ran out", True)
        assert all(each.trials for each in others)


def test_a_step_that_blocks_ends_with_the_alarm() -> None:
    blocked = scenario(
        "blocked", "closer sets SO_LINGER 1 60; closer sends until blocked; closer closes"
    )
    began = time.monotonic()
    stdout = ended([native_program()], sent(plan_of([blocked], trials=3), deadline=3.0))[1]
    assert time.monotonic() - began < 3 + BUSY_S
    reply = protocol.parse_reply(stdout)
    assert [each.not_run for each in reply.observations] == ["the probe's time ran out"]


# The second process, and what is left.


@contextmanager
def running(plan: HostPlan) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the native probe, which is killed at the end if it is still there; nothing of it may be
    left then.
    """
    value = f"{os.getpid()}-{time.monotonic_ns()}"
    process = subprocess.Popen(
        [native_program()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, MARK: value},
    )
    assert process.stdin is not None
    process.stdin.write(sent(plan))
    process.stdin.close()
    process.stdin = None
    try:
        yield process
    finally:
        probe_runs.kill(process)
    assert probe_runs.comes_true(lambda: not probe_runs.processes_with(f"{MARK}={value}"), BUSY_S)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """Returns the children of a process in another network namespace than its own."""
    task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [pid for pid in map(int, task.read_text().split()) if _is_elsewhere(pid, process.pid)]


def _is_elsewhere(pid: int, parent: int) -> bool:
    """Returns whether two processes are in different network namespaces, and a connection is in the
    first one's.
    """
    try:
        own, other = (Path(f"/proc/{each}/ns/net").readlink() for each in (pid, parent))
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()
    except OSError:
        return False
    here = Path("/proc/self/ns/net").readlink()
    is_connected = any(line.split()[3] == "01" for line in lines[1:])
    return len({own, other, here}) == 3 and is_connected


def test_a_second_process_that_is_killed_costs_the_scenario_that_it_runs_and_no_other() -> None:
    probe_runs.need_root()
    with running(plan_of([*QUICK, *MANY_LONG], trials=1)) as process:
        assert probe_runs.comes_true(lambda: bool(children(process)))
        os.kill(children(process)[0], signal.SIGKILL)
        stdout, stderr = process.communicate(timeout=400)
    assert stderr == b""
    reply = protocol.parse_reply(stdout)
    (lost,) = [each for each in reply.observations if each.not_run]
    assert lost.scenario.startswith("long-")
    assert lost.not_run == "the process that ran it ended early (signal 9)"
    assert lost.failed


def test_the_kernel_ends_the_second_process_of_a_probe_that_is_killed() -> None:
    probe_runs.need_root()
    with running(plan_of([*QUICK, *MANY_LONG], trials=1)) as process:
        assert probe_runs.comes_true(lambda: bool(children(process)))
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_signal_ends_it_at_once(number: int) -> None:
    with running(plan_of([*QUICK, *MANY_LONG], trials=1)) as process:
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(timeout=BUSY_S) == -number


def test_it_ends_soon_after_the_reader_of_its_output_is_gone() -> None:
    with running(plan_of(QUICK, trials=100)) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(timeout=BUSY_S) == 1


def test_killed_at_any_moment_it_leaves_nothing() -> None:
    plan = plan_of(load_playbook(None).plays[0].scenarios, trials=1)
    chance = random.Random(7)
    for _ in range(20):
        with running(plan) as process:
            time.sleep(chance.random() * 0.6)
            process.kill()
