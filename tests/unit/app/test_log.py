"""The log of attempts, and the hosts that take long."""

from __future__ import annotations

import io
import logging
import re
import threading

import pytest

from fleetaudit.app.activity import LONG_S, Activity
from fleetaudit.cli import log
from fleetaudit.cli.progress import Progress
from fleetaudit.errors import TransportError
from fleetaudit.model import (
    Audited,
    HostPlan,
    Kernel,
    LocalTarget,
    SshTarget,
    Target,
)
from fleetaudit.probe.offer import new_offer
from fleetaudit.transport import Deadline, Limits, Output, registry
from fleetaudit.transport.base import Execution
from fleetaudit.transport.registry import Transports


def test_an_attempt_is_numbered_and_its_text_is_masked_and_sanitized(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fleetaudit.model import Secret

    class Fake:
        def run(self, target: Target, execution: Execution, *_: object) -> Output:
            execution.on_stage("connect", "hello hunter22\x1b[31m")
            raise TransportError(
                "authenticate", "it printed hunter22", hint="", kind="permission denied"
            )

    monkeypatch.setattr(registry, "transport_of", lambda target: Fake())
    target = SshTarget(address="192.0.2.1", password=Secret("hunter22"))
    host = HostPlan(
        name="w\x1b[2J",
        groups=(),
        target=target,
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )
    activity = Activity(registry.Transports(), iter(float(n) for n in range(99)).__next__)
    with caplog.at_level(logging.DEBUG, logger="fleetaudit"):
        for _ in range(2):
            offer = new_offer(host, deadline_s=60)
            with pytest.raises(TransportError):
                activity.runner_for(host)(target, "", offer, Deadline.after(60), Limits())
    lines = [log._SanitizingFormatter("%(message)s").format(record) for record in caplog.records]
    assert not re.search(r"hunter22|\x1b", "\n".join(lines))
    assert [line.partition(": ")[2] for line in lines] == [
        "attempt 1: ssh 192.0.2.1",
        "attempt 1: connect passed after 1.000 s (1.000 s in all): hello …\\x1b[31m",
        (
            "attempt 1: authenticate failed (permission denied) after 1.000 s (2.000 s in all): it"
            " printed …"
        ),
        "attempt 2: ssh 192.0.2.1",
        "attempt 2: connect passed after 1.000 s (1.000 s in all): hello …\\x1b[31m",
        (
            "attempt 2: authenticate failed (permission denied) after 1.000 s (2.000 s in all): it"
            " printed …"
        ),
    ]


class Clock:
    """A clock that stands where it is put."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Held(Transports):
    """Transports that answer once they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.free = threading.Semaphore(0), threading.Event()

    def run(self, *arguments: object, **more: object) -> object:  # type: ignore[override]
        self.begun.release()
        assert self.free.wait(60)
        raise TransportError("connect", "let go", hint="")


def plan(name: str) -> HostPlan:
    return HostPlan(
        name=name,
        groups=(),
        target=LocalTarget(),
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )


def test_the_hosts_that_take_long_are_named_longest_first() -> None:
    clock, held = Clock(), Held()
    activity = Activity(held, clock)

    def run(name: str) -> None:
        offer = new_offer(plan(name), deadline_s=60)
        with pytest.raises(TransportError):
            activity.runner_for(plan(name))(LocalTarget(), "", offer, Deadline.after(60), Limits())

    threads = list[threading.Thread]()
    for moment, name in ((0.0, "web7"), (7.0, "db2\x1b[2J"), (8.0, "a"), (9.0, "b"), (40.0, "new")):
        clock.now = moment
        threads.append(threading.Thread(target=run, args=(name,)))
        threads[-1].start()
        assert held.begun.acquire(timeout=60)
    clock.now = LONG_S - 0.1
    assert activity.waiting() == ""
    clock.now = 45.0
    assert activity.waiting() == "waiting for web7 (45 s), db2\\x1b[2J (38 s), a (37 s) and 1 more"
    activity.ended("web7")
    assert "web7" not in activity.waiting()
    held.free.set()
    for thread in threads:
        thread.join(60)


def test_without_a_terminal_v_prints_a_line_for_each_host_and_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", out := io.StringIO())
    host = Audited(name="h", kernel=Kernel(release="6.1", version="", machine=""), isolation="host")
    with Progress(1, Activity(Transports()), quiet=False, verbose=True) as progress:
        progress.add_result(host)
    assert out.getvalue() == "h: audited, kernel 6.1\n"
