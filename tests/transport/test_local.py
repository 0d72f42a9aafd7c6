"""This machine as a target: streams, bounds, deadlines, and nothing left behind."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import LocalTarget
from fleetaudit.transport import (
    Deadline,
    Limits,
    Output,
    child,
    waiting,
)
from fleetaudit.transport.registry import Transports
from tests.support.sshd import wait_for
from tests.support.timing import BUSY_S, patience


def run(
    command: str, stdin: bytes = b"", seconds: float = 300, limits: Limits | None = None
) -> Output:
    return Transports().run(
        LocalTarget(), command, stdin, Deadline.after(seconds), limits or Limits()
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_all_three_streams_and_the_exit_status_come_through() -> None:
    output = run("cat; echo problem >&2; exit 3", b"input\n")
    assert output == Output(stdout=b"input\n", stderr=b"problem\n", exit_status=3)


def test_streams_larger_than_any_pipe_do_not_block_one_another() -> None:
    data = os.urandom(3_000_000)
    output = run("tee /dev/stderr", data, limits=Limits(stdout=4_000_000, stderr=4_000_000))
    assert output.stdout == data
    assert output.stderr == data


def test_a_command_that_reads_nothing_of_a_large_stdin_just_ends() -> None:
    assert run("exit 7", b"x" * 3_000_000).exit_status == 7


def test_a_signal_gives_the_exit_status_of_a_shell() -> None:
    assert run("kill -TERM $$").exit_status == 128 + 15


@pytest.mark.parametrize(
    ("stream", "command"), [("stdout", "cat /dev/zero"), ("stderr", "cat /dev/zero >&2")]
)
def test_a_flood_is_cut_at_its_limit(stream: str, command: str) -> None:
    output = run(command, limits=Limits(stdout=100_000, stderr=100_000))
    assert output.cut == stream
    assert len(getattr(output, stream)) == 100_000
    assert output.exit_status is None


def test_output_of_exactly_the_limit_is_not_cut() -> None:
    output = run("head -c 100000 /dev/zero", limits=Limits(stdout=100_000))
    assert (len(output.stdout), output.cut, output.exit_status) == (100_000, "", 0)


def test_the_deadline_kills_the_whole_group_and_only_it(tmp_path: Path) -> None:
    bystander = threading.Thread(
        target=run,
        args=(f"echo $$ > {tmp_path}/other; until test -e {tmp_path}/stop; do sleep 0.05; done",),
    )
    bystander.start()
    wait_for(
        lambda: (tmp_path / "other").exists() and (tmp_path / "other").read_text().endswith("\n"),
        "bystander",
    )
    began = time.monotonic()
    with pytest.raises(TransportError) as e:
        run(
            f"trap '' TERM HUP; sleep 500 & echo $! > {tmp_path}/child; echo hello; echo oops >&2;"
            " sleep 400",
            seconds=patience(lambda: run("sleep 0 & wait")),
        )
    assert time.monotonic() - began < 3 + BUSY_S
    assert e.value.stage == "execute"
    assert "did not end in time" in e.value.reason
    assert "“oops”" in e.value.reason
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not alive(child), "the grandchild to be gone")
    assert alive(int((tmp_path / "other").read_text()))
    (tmp_path / "stop").touch()
    bystander.join()


def test_a_background_process_that_holds_the_pipes_is_killed_after_a_short_wait(
    tmp_path: Path,
) -> None:
    began = time.monotonic()
    output = run(f"sleep 600 & echo $! > {tmp_path}/child; echo done")
    assert output == Output(stdout=b"done\n", stderr=b"", exit_status=0)
    assert time.monotonic() - began < 10 + BUSY_S
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not alive(child), "the child left behind to be gone")


def test_nothing_is_left_behind() -> None:
    run("true")
    before = (len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), children())
    for command in ("true", "exit 1", "sleep 600 >/dev/null 2>&1 &", "cat /dev/zero", "kill -9 $$"):
        run(command, limits=Limits(stdout=1000))
    for _ in range(3):
        with pytest.raises(TransportError):
            run("sleep 600", seconds=0.05)
    assert (
        len(list(Path("/proc/self/fd").iterdir())),
        threading.active_count(),
        children(),
    ) == before


def test_a_short_command_is_not_waited_for_longer_than_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "_DRAIN_S", 600.0)
    began = time.monotonic()
    run("true")
    assert time.monotonic() - began < BUSY_S


def test_there_is_no_terminal_to_prompt_on() -> None:
    assert run("test -t 0 || (: < /dev/tty) 2>/dev/null || echo none").stdout == b"none\n"


def test_commands_of_one_loop_run_at_the_same_time_and_none_is_looked_at_while_it_waits(
    tmp_path: Path,
) -> None:
    """Each command ends only when all have started; the loop sleeps until they print or end."""
    loop, outputs = waiting.Loop(), list[bytes]()
    command = (
        f"cd {tmp_path}; : > $$.started; while [ $(ls *.started | wc -l) -lt 4 ]; do sleep 0.1;"
        " done; sleep 2; echo done"
    )
    tasks = [loop.start(lambda: outputs.append(run(command, seconds=300).stdout)) for _ in range(4)]
    turns = 0
    while not all(task.dead for task in tasks):
        loop.turn(time.monotonic() + 300)
        turns += 1
    loop.close()
    assert outputs == [b"done\n"] * 4
    assert turns < 4 * 8  # its start, its output, its end; ten looks a second would be 80 at least


def test_a_command_that_is_abandoned_is_killed_with_its_group(tmp_path: Path) -> None:
    loop = waiting.Loop()
    command = f"cd {tmp_path}; sleep 600 & echo $! > child.new; mv child.new child; wait"
    task = loop.start(lambda: print(run(command, seconds=300)))
    until = time.monotonic() + 120
    while not (tmp_path / "child").exists():
        assert time.monotonic() < until
        loop.turn(time.monotonic() + 0.05)
    loop.abandon(task)
    loop.close()
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not alive(child), "the child to be gone")


def test_a_kernel_without_descriptors_of_processes_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    began = time.monotonic()
    assert run("sleep 0.3 >/dev/null 2>&1; exit 3").exit_status == 3
    # The pipes are closed long before the end, which no descriptor reports.
    assert run("exec >/dev/null 2>&1; sleep 0.3; exit 4").exit_status == 4
    assert time.monotonic() - began < BUSY_S
