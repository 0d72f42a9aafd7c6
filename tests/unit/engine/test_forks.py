"""How many hosts run at once where nothing is asked for: hundreds, and fewer on a small machine."""

from __future__ import annotations

import logging
import math

import msgspec
import pytest

from fleetaudit.engine import forks
from fleetaudit.model import KernelTarget, LocalTarget, Plan, SshTarget, Target
from tests.unit.engine.test_scheduler import (
    FakeTransport,
    host_plan,
    plan_of,
    run_plan,
)

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of four cores with plenty of memory and open files."""
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(forks, "_free_memory", lambda: math.inf)
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 500_000))


def plan_with(*targets: Target) -> Plan:
    hosts = [
        msgspec.structs.replace(host_plan(f"h{n}"), target=target)
        for n, target in enumerate(targets)
    ]
    return Plan(playbooks=(), hosts=tuple(hosts))


def test_the_default_is_hundreds_of_connections_and_what_is_asked_for_stays() -> None:
    plan = plan_of("a")
    assert forks.choose_forks(None, plan).total == forks.DEFAULT_FORKS >= 200
    assert forks.choose_forks(1000, plan).total == 1000
    assert forks.choose_forks(3, plan).total == 3


def test_processes_of_this_machine_need_cores_unless_more_are_asked_for() -> None:
    ssh = SshTarget(address="a", client="openssh")
    plan = plan_with(LocalTarget(), ssh, SshTarget(address="b"), KernelTarget(image="vmlinuz"))
    assert [forks.kind_of(host) for host in plan.hosts] == [
        "child",
        "child",
        "connection",
        "guest",
    ]
    default = forks.choose_forks(None, plan)
    assert default.kinds == {"connection": 250, "child": 64, "guest": 4}
    assert forks.choose_forks(200, plan).kinds == {"connection": 200, "child": 200, "guest": 4}


def test_little_memory_means_fewer_hosts_by_default_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(forks, "_free_memory", lambda: 100.0 * MIB)
    found = forks.choose_forks(None, plan_with(LocalTarget(), SshTarget(address="a")))
    assert (found.total, found.kinds["child"], found.why) == (50, 3, "free memory")
    assert forks.choose_forks(100, plan_of("a")).total == 100
    with caplog.at_level(logging.INFO, logger="fleetaudit"):
        forks.log_forks(found, None, 1000)
    assert caplog.messages == ["50 hosts at once instead of 250: free memory"]
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_fewer_than_asked_for_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    found = forks.choose_forks(500, plan_of("a"))
    assert 1 <= found.total <= 10
    forks.log_forks(found, 500, 1000)
    assert "hosts at once instead of 500: the limit of open files (ulimit -n)" in caplog.text


def test_memory_that_cannot_be_read_bounds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 0 < forks._available() < math.inf
    for broken in (OSError(), ValueError(), IndexError()):

        def read(error: Exception = broken) -> float:
            raise error

        assert forks._read(read) == math.inf


def test_hosts_of_one_kind_do_not_wait_for_those_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The children that may not begin yet stand before the connections in the plan."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    images = [f"vmlinuz-{n}" for n in range(5)]
    guests = plan_with(*(KernelTarget(image=image) for image in images)).hosts
    fake = FakeTransport()
    outcome, came = run_plan(Plan(playbooks=(), hosts=(*guests, host_plan("web"))), fake.run)
    assert len(outcome.results) == 6
    assert came.index("web") < came.index("h4")
