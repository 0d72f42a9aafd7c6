"""How the code of one host waits: for descriptors, for a moment, for a call that may block.

Rules: whatever waits for a host waits here. In a `Loop`, each host is a greenlet, and a wait lets
the other hosts of the thread run; nothing polls, so a host that waits costs nothing until its
descriptor is ready, its time is over, or a stop wakes all. In a plain thread the same functions
wait by themselves and look every `POLL_S` seconds whether their deadline was moved earlier. A wait
may return early, with nothing: the caller checks its deadline. A call that may block forever runs
in a daemon thread of its own.

Why greenlets: a transport stays straight code without await, and half of a connection is in
paramiko. Why not gevent: measured with 500 greenlets that each wait 40 times with a deadline, a
wait costs 61 us of CPU in gevent and 3 here, importing it 19 ms and 2; and its name resolution runs
in threads as it does here.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import math
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from . import Deadline

T = TypeVar("T")
Events = list[tuple[int, int]]
"""Descriptors that are ready, each with its events as in poll(2)."""

READ, WRITE = select.POLLIN, select.POLLOUT
NEVER = Deadline(math.inf)
Abandoned = GreenletExit
"""Is raised in the greenlet of an abandoned host, from its wait."""
POLL_S = 0.25
"""How often a wait outside a loop checks its deadline, in seconds."""
_LONGEST_S = 3600.0  # epoll_wait(2) takes no more than a month
_CLOSE_S = 6.0  # for child processes of abandoned hosts to be reaped


# -- what the code of a host calls


def wait_for(descriptors: Mapping[int, int], until: Deadline, within_s: float = math.inf) -> Events:
    """Waits until one of the descriptors is ready, for at most `within_s` seconds.

    `descriptors` has the events of each, `READ` and `WRITE`. What became ready while other hosts
    kept the thread busy is returned even if the deadline has passed since. The result may be empty
    before the deadline as well.
    """
    seconds = min(until.remaining(), within_s)
    task = getcurrent()
    if isinstance(task, Task):
        return task.wait(descriptors, seconds)
    poll = select.poll()
    for fd, events in descriptors.items():
        poll.register(fd, events)
    return poll.poll(min(seconds, POLL_S) * 1000)


def sleep(until: Deadline) -> None:
    """Waits until the deadline."""
    while seconds := until.remaining():
        task = getcurrent()
        if isinstance(task, Task):
            task.wait({}, seconds)
        else:
            time.sleep(min(seconds, POLL_S))


def call(function: Callable[[], T], until: Deadline, name: str) -> T:
    """Returns what `function` returns, which runs in a daemon thread called `name`.

    Raises what it raises, and `TimeoutError` at the deadline; the thread then goes on alone, and
    its end is nobody's concern. Raises `OSError` if the system has no more threads.
    """
    future = start_call(function, name)
    task = getcurrent()
    try:
        if not flag_of(future).wait(until):
            raise TimeoutError(errno.ETIMEDOUT, "no answer in time")
    finally:
        if isinstance(task, Task) and not future.done():
            task.loop.left_behind.add(future)
            future.add_done_callback(task.loop.left_behind.discard)
    return result_of(future)


def start_call(function: Callable[[], T], name: str) -> Future[T]:
    """Starts a function in a daemon thread; see `flag_of` and `result_of`."""
    future = Future[T]()

    def run() -> None:
        try:
            result = function()
        except BaseException as e:  # whoever waits raises it
            future.set_exception(e)
        else:
            future.set_result(result)

    try:
        # A daemon: a call that never returns must not keep the process from ending.
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as e:
        raise OSError(errno.EAGAIN, str(e)) from e
    return future


def flag_of(future: Future[T]) -> Flag:
    """Returns a flag for the calling host that is set when a call has ended."""
    flag = Flag()
    future.add_done_callback(lambda _: flag.set())
    return flag


def result_of(future: Future[T]) -> T:
    """Returns the result of a call that has ended; raises what it raised."""
    if error := future.exception():
        raise error.with_traceback(None)  # several hosts may raise the same exception
    return future.result()


class Flag:
    """Something that one host, the one that makes the flag, waits for."""

    __slots__ = ("_event", "_task", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        current = getcurrent()
        self._task = current if isinstance(current, Task) else None
        self._event = None if self._task else threading.Event()

    def set(self) -> None:
        """Wakes the one that waits; any thread may call it."""
        self.is_set = True
        if self._task:
            self._task.loop.wake(self._task)
        if self._event:
            self._event.set()

    def wait(self, until: Deadline) -> bool:
        """Waits until the flag is set; returns False if the deadline comes first."""
        while not self.is_set and (seconds := until.remaining()):
            if self._task:
                self._task.wait({}, seconds)
            if self._event:
                self._event.wait(min(seconds, POLL_S))
        return self.is_set


# -- the loop


class Task(greenlet):
    """One host in a loop: a greenlet whose parent is the one that turns the loop."""

    def __init__(self, loop: Loop, run: Callable[[], None]) -> None:
        super().__init__(run, getcurrent())
        self.loop = loop
        self.asleep = self.abandoned = False
        self.wakes_at = self.queued_at = math.inf
        self.events: Events = []

    def wait(self, descriptors: Mapping[int, int], seconds: float) -> Events:
        """Lets other hosts run until a descriptor is ready, or for `seconds`."""
        self.events = []
        try:
            self.loop.watch(self, descriptors)
            self.loop.sleep(self, seconds)
        finally:
            self.loop.unwatch(descriptors)
        return self.events


class Loop:
    """The hosts of one thread. Only `wake` and `ring` may be called from other threads.

    `left_behind` are the calls that still run and nobody waits for any more; `busy_s` is how long
    the last turn ran hosts.
    """

    def __init__(self) -> None:
        self.left_behind = set[Future[Any]]()
        self.busy_s = 0.0
        self._tasks = set[Task]()
        self._ready = deque[Task]()
        self._woken = deque[Task]()  # by other threads
        self._timers: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._watched: dict[int, Task] = {}
        self._thread = threading.get_ident()
        self._epoll = select.epoll()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._epoll.register(self._bell, READ)

    # -- what the thread of the loop calls

    def start(self, run: Callable[[], None]) -> Task:
        """Adds a host; `run` begins in the next turn."""
        task = Task(self, run)
        self._tasks.add(task)
        self._ready.append(task)
        return task

    def turn(self, until: float) -> None:
        """Runs each host that can go on, until it waits again.

        If none can, waits for that until the moment `until` of the monotonic clock, or until
        somebody rings. Raises what a host raises.
        """
        now = time.monotonic()
        seconds = 0.0
        if not self._ready:
            seconds = max(0.0, min(until, self._next_timer(), now + _LONGEST_S) - now)
        for fd, event in self._epoll.poll(seconds):
            self._take_event(fd, event)
        if not seconds:
            # Only now: before the poll was empty, their data may have been in time.
            self._wake_overdue(now)
        began = time.monotonic()
        for _ in range(len(self._ready)):
            self._run(self._ready.popleft())
        self.busy_s = time.monotonic() - began

    def wake_all(self) -> None:
        """Wakes every host, so that it checks its deadline."""
        for task in list(self._tasks):
            self.wake(task)

    def abandon(self, task: Task) -> None:
        """Ends a host where it waits: what it opened is closed, and it reports nothing.

        It may wait once more for that, such as for a child process to end; twice is the same.
        """
        if not task.abandoned:
            task.abandoned = True
            task.throw(Abandoned)
        if task.dead:
            self._tasks.discard(task)

    def close(self) -> None:
        """Abandons the hosts that are left, and releases the loop's own descriptors."""
        for task in list(self._tasks):
            self.abandon(task)
        until = time.monotonic() + _CLOSE_S
        while self._tasks and time.monotonic() < until:
            self.turn(until)
        for closable in (self._epoll, self._bell, self._ringer):
            closable.close()

    def ring(self) -> None:
        """Ends the wait of `turn`; takes no lock, so that a signal handler may call it."""
        with contextlib.suppress(OSError):  # it rings already, or the loop is closed
            self._ringer.send(b"\0")

    # -- what a waiting host calls

    def wake(self, task: Task) -> None:
        """Lets a host go on that waits; any thread may call it."""
        if threading.get_ident() != self._thread:
            self._woken.append(task)
            self.ring()
        elif task.asleep:
            task.asleep, task.wakes_at = False, math.inf
            self._ready.append(task)

    def watch(self, task: Task, descriptors: Mapping[int, int]) -> None:
        """Notes that a host waits for these descriptors."""
        for fd, events in descriptors.items():
            self._epoll.register(fd, events)
            self._watched[fd] = task

    def unwatch(self, descriptors: Mapping[int, int]) -> None:
        """Forgets these descriptors."""
        for fd in descriptors:
            if self._watched.pop(fd, None):
                self._epoll.unregister(fd)

    def sleep(self, task: Task, seconds: float) -> None:
        """Suspends a host until it is woken, or for `seconds`."""
        task.asleep, task.wakes_at = True, time.monotonic() + seconds
        self._queue(task)
        assert task.parent is not None  # noqa: S101  # the greenlet that turns the loop
        task.parent.switch()

    # -- inside

    def _run(self, task: Task) -> None:
        """Runs one host until it waits or ends."""
        task.switch()
        if task.dead:
            self._tasks.discard(task)

    def _take_event(self, fd: int, event: int) -> None:
        """Wakes the host that waits for a descriptor, or those that other threads woke."""
        if task := self._watched.get(fd):
            task.events.append((fd, event))
            self.wake(task)
            return
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)
        while self._woken:
            self.wake(self._woken.popleft())

    def _queue(self, task: Task) -> None:
        """Queues a timer, unless an earlier one is queued: that one queues the next."""
        if task.wakes_at < task.queued_at:
            task.queued_at = task.wakes_at
            heapq.heappush(self._timers, (task.wakes_at, next(self._numbers), task))

    def _next_timer(self) -> float:
        """Returns when the first timer rings."""
        return self._timers[0][0] if self._timers else math.inf

    def _wake_overdue(self, now: float) -> None:
        """Wakes the hosts whose time is over."""
        while self._next_timer() <= now:
            at, _, task = heapq.heappop(self._timers)
            if task.queued_at == at:
                task.queued_at = math.inf
            if task.wakes_at <= now:
                self.wake(task)
            else:
                self._queue(task)
