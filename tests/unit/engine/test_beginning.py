"""When a host may begin: batches, too many failures, a pace; every host still has one result."""

from __future__ import annotations

import time

import msgspec
import pytest

from fleetaudit.engine import EngineSettings, StopRequest
from fleetaudit.engine.batches import parse_serial
from fleetaudit.errors import TransportError
from fleetaudit.model import Audited, KernelTarget, NotAudited, NotSelected, Plan
from fleetaudit.probe.offer import Offer
from fleetaudit.transport import Deadline, Limits, Output, waiting

from .test_scheduler import (
    FakeTransport,
    fails,
    host_plan,
    missing,
    plan_of,
    reply,
    run_plan,
    to_call,
)

NAMES = tuple(f"h{n:02}" for n in range(10))
REFUSED = fails("authenticate", "refused")


def settings(serial: str = "", limit: float | None = None, **more: object) -> EngineSettings:
    sizes = parse_serial(serial) if serial else ()
    values: dict[str, object] = {"forks": 100, "host_deadline_s": 60, "retries": 0}
    return EngineSettings(serial=sizes, max_fail_percentage=limit, **values | more)  # type: ignore[arg-type]


class Slow(FakeTransport):
    """Each host waits until the loop has run all others; notes what began and ended."""

    def __init__(self, behaviours: dict[str, object] | None = None) -> None:
        super().__init__(behaviours)  # type: ignore[arg-type]
        self.events = list[tuple[str, str]]()

    def run(
        self,
        target: object,
        command: str,
        stdin: Offer,
        deadline: Deadline,
        limits: Limits,
    ) -> Output:
        name = getattr(target, "address", "") or getattr(target, "image", "")
        self.events.append(("begins", name))
        waiting.sleep(deadline.within(0.02))
        self.events.append(("ends", name))
        if name in self.behaviours:
            raise TransportError("authenticate", "refused", hint="")
        return to_call(stdin, reply())

    def running_at_most(self) -> int:
        running = most = 0
        for event, _ in self.events:
            running += 1 if event == "begins" else -1
            most = max(most, running)
        return most


def test_a_batch_begins_when_the_one_before_has_ended() -> None:
    slow = Slow()
    outcome, _ = run_plan(plan_of(*NAMES), slow.run, settings("1,4,50%"))
    assert all(isinstance(result, Audited) for result in outcome.results)
    order = [event for event, _ in slow.events]
    assert order == [*["begins"] * 1, *["ends"] * 1, *["begins"] * 4, *["ends"] * 4,
                     *["begins"] * 5, *["ends"] * 5]  # fmt: skip
    assert [name for event, name in slow.events if event == "begins"] == list(NAMES)
    assert not outcome.interrupted


def test_forks_hold_within_a_batch() -> None:
    slow = Slow()
    run_plan(plan_of(*NAMES), slow.run, settings("5", forks=2))
    assert slow.running_at_most() == 2


def test_without_batches_all_run_at_once() -> None:
    slow = Slow()
    run_plan(plan_of(*NAMES), slow.run, settings())
    assert slow.running_at_most() == 10


def test_guests_are_in_batches_as_well() -> None:
    hosts = [
        msgspec.structs.replace(host_plan(name), target=KernelTarget(image=name)) for name in NAMES
    ]
    mixed = tuple(host if n % 2 else host_plan(host.name) for n, host in enumerate(hosts))
    slow = Slow()
    outcome, _ = run_plan(Plan(playbooks=(), hosts=mixed), slow.run, settings("3"))
    assert all(isinstance(result, Audited) for result in outcome.results)
    assert slow.running_at_most() <= 3
    begun = [name for event, name in slow.events if event == "begins"]
    assert [set(begun[n : n + 3]) for n in (0, 3, 6)] == [set(NAMES[n : n + 3]) for n in (0, 3, 6)]


def test_no_batch_begins_after_one_with_too_many_failures() -> None:
    slow = Slow({"h02": REFUSED, "h03": REFUSED})
    outcome, came = run_plan(plan_of(*NAMES), slow.run, settings("4", 49))
    assert [result.name for result in outcome.results] == list(NAMES)
    assert sorted(came) == list(NAMES)
    assert [missing(result).stage for result in outcome.results[2:4]] == ["authenticate"] * 2
    for result in map(missing, outcome.results[4:]):
        assert (result.stage, result.kind) == ("interrupted", "too many failures")
        assert result.reason == (
            "not begun, because 2 of the 4 hosts of a batch could not be audited, more than"
            " --max-fail-percentage 49"
        )
        assert result.hint == f"fleetaudit run -l {result.name}"
    assert outcome.interrupted
    assert outcome.bugs == 0
    assert {name for _, name in slow.events} == set(NAMES[:4])


def test_exactly_the_percentage_is_not_too_many() -> None:
    slow = Slow({"h02": REFUSED, "h03": REFUSED})
    outcome, _ = run_plan(plan_of(*NAMES), slow.run, settings("4", 50))
    assert sum(isinstance(result, Audited) for result in outcome.results) == 8
    assert not outcome.interrupted


def test_the_failures_of_one_batch_do_not_count_in_the_next() -> None:
    slow = Slow({"h00": REFUSED, "h05": REFUSED, "h09": REFUSED})
    outcome, _ = run_plan(plan_of(*NAMES), slow.run, settings("5", 40))
    assert sum(isinstance(result, Audited) for result in outcome.results) == 7


def test_without_batches_the_hosts_that_wait_for_a_fork_do_not_begin() -> None:
    slow = Slow(dict.fromkeys(NAMES[:3], REFUSED))
    outcome, _ = run_plan(plan_of(*NAMES), slow.run, settings("", 20, forks=3))
    kinds = [missing(result).kind for result in outcome.results if isinstance(result, NotAudited)]
    assert kinds.count("too many failures") >= 4
    assert len(outcome.results) == 10
    # Those that had begun when the third failed ran to their end.
    assert len([event for event, _ in slow.events if event == "begins"]) == len(
        [event for event, _ in slow.events if event == "ends"]
    )


def test_failures_of_the_last_hosts_end_nothing() -> None:
    slow = Slow({"h09": REFUSED})
    outcome, _ = run_plan(plan_of(*NAMES), slow.run, settings("5", 0))
    assert missing(outcome.results[9]).stage == "authenticate"
    assert not outcome.interrupted


def test_a_host_that_cannot_be_planned_counts_and_one_that_no_play_matches_does_not() -> None:
    gone = NotAudited(name="h01", stage="inventory", reason="docker is not supported")
    other = NotSelected(name="h02")
    hosts = list(map(host_plan, NAMES))
    hosts[1] = msgspec.structs.replace(hosts[1], target=gone)
    hosts[2] = msgspec.structs.replace(hosts[2], target=other)
    hosts[8] = msgspec.structs.replace(hosts[8], target=msgspec.structs.replace(other, name="h08"))
    slow = Slow()
    plan = Plan(playbooks=(), hosts=tuple(hosts))
    outcome, _ = run_plan(plan, slow.run, settings("2", 49))
    assert {name for _, name in slow.events} == {"h00"}
    assert outcome.results[1] == gone
    assert outcome.results[2] == other
    assert isinstance(outcome.results[8], NotSelected)
    rest = [missing(outcome.results[n]).kind for n in (3, 4, 5, 6, 7, 9)]
    assert rest == ["too many failures"] * 6
    outcome, _ = run_plan(plan, Slow().run, settings("2", 50))
    assert sum(isinstance(result, Audited) for result in outcome.results) == 7


def test_a_stop_ends_the_batches_that_have_not_begun() -> None:
    stop = StopRequest()

    class Stopping(Slow):
        def run(
            self,
            target: object,
            command: str,
            stdin: Offer,
            deadline: Deadline,
            limits: Limits,
        ) -> Output:
            stop.request()
            return super().run(target, command, stdin, deadline, limits)

    outcome, came = run_plan(plan_of(*NAMES), Stopping().run, settings("3", 10), stop)
    assert sorted(came) == list(NAMES)
    assert {missing(result).kind for result in outcome.results[3:]} == {"interrupted"}


def test_connections_begin_no_faster_than_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, began = Slow(), list[float]()

    def run(
        target: object, command: str, stdin: Offer, deadline: Deadline, limits: Limits
    ) -> Output:
        began.append(time.monotonic())
        return slow.run(target, command, stdin, deadline, limits)

    started = time.monotonic()
    outcome, _ = run_plan(plan_of(*NAMES), run, settings(per_second=20.0))
    assert all(isinstance(result, Audited) for result in outcome.results)
    # Nine connections after the first, one every 50 ms; begun late, never early.
    assert len(began) == len(NAMES)
    assert began[-1] - started > 0.35


def test_another_attempt_takes_its_turn_too() -> None:
    def dropped(target: object, attempt: int, deadline: Deadline) -> Output:
        if attempt < 4:
            raise TransportError("connect", "dropped", hint="", transient=True)
        return reply()

    fake = FakeTransport({"a": dropped})
    began = time.monotonic()
    paced = settings(per_second=10.0, retries=3, backoff_s=0.001)
    outcome, _ = run_plan(plan_of("a"), fake.run, paced)
    assert isinstance(outcome.results[0], Audited)
    assert fake.attempts["a"] == 4
    assert time.monotonic() - began >= 0.3 - 0.01


def test_a_stop_does_not_wait_for_the_pace() -> None:
    stop = StopRequest()

    class Stopping(Slow):
        def run(
            self,
            target: object,
            command: str,
            stdin: Offer,
            deadline: Deadline,
            limits: Limits,
        ) -> Output:
            stop.request()
            return super().run(target, command, stdin, deadline, limits)

    outcome, _ = run_plan(plan_of(*NAMES), Stopping().run, settings(per_second=1 / 60), stop)
    assert len(outcome.results) == 10
    assert outcome.interrupted
