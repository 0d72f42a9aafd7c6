"""Hosts that wait: in a loop nothing polls, nothing blocks the others, and nothing stays behind."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetaudit.engine.control import start_host_deadline
from fleetaudit.transport import Deadline, waiting
from fleetaudit.transport.ssh.agent import Agent, AgentError
from tests.support.timing import BUSY_S


@pytest.fixture
def loop() -> Iterator[waiting.Loop]:
    loop = waiting.Loop()
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def run(loop: waiting.Loop, *hosts: Callable[[], None]) -> None:
    """Runs hosts until all have ended."""
    tasks = [loop.start(host) for host in hosts]
    until = time.monotonic() + BUSY_S + 60
    while not all(task.dead for task in tasks):
        assert time.monotonic() < until
        loop.turn(until)


def wait_until_readable(sock: socket.socket, until: Deadline) -> waiting.Events:
    while True:
        events = waiting.wait_for({sock.fileno(): waiting.READ}, until)
        if events or not until.remaining():
            return events


def test_hosts_give_way_to_one_another_where_they_wait(
    loop: waiting.Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    order = list[str]()

    def reads() -> None:
        order.append("reads")
        assert wait_until_readable(pair[0], Deadline.after(600))
        order.append("has read")

    def writes() -> None:
        order.append("writes")
        pair[1].send(b"x")
        waiting.sleep(Deadline.after(0.01))
        order.append("has slept")

    run(loop, reads, writes)
    assert order[:2] == ["reads", "writes"]
    assert sorted(order[2:]) == ["has read", "has slept"]


def test_a_host_that_waits_costs_nothing(
    loop: waiting.Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Without data and without a stop it is woken once: at its deadline."""
    switches = list[int]()

    def waits() -> None:
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        assert not wait_until_readable(pair[0], Deadline.after(2.0))
        switches.append(resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before)

    run(loop, waits)
    assert switches[0] <= 3  # 2 s of polling every 0.25 s are 8


def test_what_came_in_time_counts_however_busy_another_host_kept_the_thread(
    loop: waiting.Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    came, deadline = list[waiting.Events](), Deadline.after(0.2)

    def reads() -> None:
        came.append(wait_until_readable(pair[0], deadline))

    def is_busy() -> None:
        pair[1].send(b"in time")
        while deadline.remaining():
            pass

    run(loop, reads, is_busy)
    assert came == [[(pair[0].fileno(), waiting.READ)]]


def test_a_stop_wakes_every_host_at_once(
    loop: waiting.Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    closing, ended = threading.Event(), list[str]()

    def reads() -> None:
        assert not wait_until_readable(pair[0], start_host_deadline(600, closing))
        ended.append("reads")

    def sleeps() -> None:
        waiting.sleep(start_host_deadline(600, closing).within(500))
        ended.append("sleeps")

    def calls() -> None:
        with pytest.raises(TimeoutError):
            waiting.call(threading.Event().wait, start_host_deadline(600, closing), "stuck")
        ended.append("calls")

    for host in (reads, sleeps, calls):
        loop.start(host)
    loop.turn(0.0)
    timer = threading.Timer(0.1, loop.ring)
    timer.start()
    loop.turn(time.monotonic() + 600)  # ends when it rings
    timer.join()
    closing.set()
    loop.wake_all()
    loop.turn(0.0)
    assert sorted(ended) == ["calls", "reads", "sleeps"]
    assert len(loop.left_behind) == 1


def test_a_call_that_blocks_costs_its_host_only_and_is_counted_until_it_ends(
    loop: waiting.Loop,
) -> None:
    release, came = threading.Event(), list[object]()

    def is_stuck() -> None:
        with pytest.raises(TimeoutError):
            waiting.call(release.wait, Deadline.after(0.1), "stuck")

    def asks() -> None:
        came.append(waiting.call(lambda: 7, Deadline.after(600), "answers"))
        with pytest.raises(ZeroDivisionError):
            waiting.call(lambda: 1 / 0, Deadline.after(600), "fails")

    run(loop, is_stuck, asks)
    assert came == [7]
    assert len(loop.left_behind) == 1
    release.set()
    until = time.monotonic() + BUSY_S + 60
    while loop.left_behind:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_an_abandoned_host_opened_is_closed(loop: waiting.Loop) -> None:
    closed, reported = list[str](), list[str]()

    def is_abandoned() -> None:
        try:
            waiting.sleep(waiting.NEVER)
            reported.append("it went on")
        finally:
            waiting.sleep(Deadline.after(0.01))  # such as for a child process to end
            closed.append("closed")

    task = loop.start(is_abandoned)
    loop.turn(0.0)
    loop.abandon(task)
    loop.close()
    assert (closed, reported) == (["closed"], [])


def test_a_closed_loop_leaves_no_descriptor_and_may_be_rung() -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    loop = waiting.Loop()
    loop.start(lambda: waiting.sleep(waiting.NEVER))
    loop.turn(0.0)
    loop.close()
    loop.ring()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_timers_ring_in_order_and_a_later_deadline_replaces_an_earlier_one(
    loop: waiting.Loop,
) -> None:
    order = list[str]()

    def sleeps(name: str, *seconds: float) -> Callable[[], None]:
        def host() -> None:
            for pause in seconds:
                waiting.wait_for({}, Deadline.after(600), pause)
                order.append(name)

        return host

    # b waits long, then short, then long: its first timer must not wake it, nor be waited for.
    run(loop, sleeps("a", 0.2), sleeps("b", 0.1, 0.3), sleeps("c", 0.3))
    assert order == ["b", "a", "c", "b"]


def test_an_agent_that_stalls_costs_its_host_only(loop: waiting.Loop, tmp_path: Path) -> None:
    """Such as one that asks a person to confirm each use of a key."""
    ended = list[str]()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()

        def asks_the_agent() -> None:
            with pytest.raises(AgentError, match="does not answer"):
                Agent(str(tmp_path / "agent")).keys(Deadline.after(1.0))
            ended.append("agent")

        def sleeps() -> None:
            waiting.sleep(Deadline.after(0.01))
            ended.append("sleeps")

        run(loop, asks_the_agent, sleeps)
    assert ended == ["sleeps", "agent"]


def test_an_agent_with_a_full_queue_is_asked_again_until_the_deadline(
    loop: waiting.Loop, tmp_path: Path
) -> None:
    path = str(tmp_path / "agent")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)  # the queue is full

        def asks_the_agent() -> None:
            with pytest.raises(AgentError, match="does not answer"):
                Agent(path).keys(Deadline.after(0.2))

        run(loop, asks_the_agent)
    with pytest.raises(AgentError, match="cannot be reached"):
        Agent(path).keys(Deadline.after(0.2))  # nobody listens any more


def test_outside_of_a_loop_the_same_functions_wait_by_themselves(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    began = time.monotonic()
    assert not wait_until_readable(pair[0], Deadline.after(0.3))
    assert time.monotonic() - began >= 0.3
    pair[1].send(b"x")
    assert wait_until_readable(pair[0], waiting.NEVER) == [(pair[0].fileno(), waiting.READ)]
    assert waiting.call(lambda: "answer", waiting.NEVER, "answers") == "answer"
    closing = threading.Event()
    threading.Timer(0.1, closing.set).start()
    waiting.sleep(start_host_deadline(600, closing))
    assert closing.is_set()
    assert waiting.wait_for({}, Deadline.after(600), math.inf) == []  # early, and empty
