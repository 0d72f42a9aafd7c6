"""The engine: whatever a transport does, every host gets exactly one result, in time."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import re
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import msgspec
import pytest

from fleetaudit.analysis.judge import HostJudge
from fleetaudit.engine import (
    EngineSettings,
    Outcome,
    RunCommand,
    StopRequest,
    audit,
)
from fleetaudit.errors import OutputError, TransportError
from fleetaudit.model import (
    Audited,
    HostPlan,
    HostResult,
    Interpreter,
    Kernel,
    KernelTarget,
    LocalTarget,
    NotAudited,
    Os,
    Plan,
    Secret,
    SshTarget,
)
from fleetaudit.probe import protocol
from fleetaudit.probe.offer import Offer
from fleetaudit.store.deduplication import judge_and_deduplicate
from fleetaudit.transport import Deadline, Limits, Output, waiting
from tests.support.sent_requests import expand_request
from tests.support.timing import BUSY_S
from tests.unit.probe import cases

AnyTarget = SshTarget | LocalTarget | KernelTarget
Behaviour = Callable[[SshTarget, int, Deadline], Output]


def reply(release: str = "6.12.0") -> Output:
    """Returns the reply of a probe without scenarios; `to_call` makes it the reply to a call."""
    sent = protocol.Reply(
        protocol=2,
        kernel=Kernel(release=release, version="#1", machine="x86_64"),
        os=Os(),
        python="3.11",
        isolation="namespace",
        observations=(),
        sysctls={},
        exposure=None,
        elapsed_s=0.1,
    )
    return Output(
        stdout=b"motd\n" + protocol.REPLY_MARK + msgspec.json.encode(sent) + b"\n",
        stderr=b"",
        exit_status=0,
    )


def to_call(stdin: Offer, output: Output) -> Output:
    """Returns a reply as the answer to the call in `stdin`, with its digest and nonce."""
    call = expand_request(b"\n\n" + stdin.python().body).splitlines()[-1]
    (digest,) = re.findall(r"'digest': '([0-9a-f]{32})'", call)
    stdout = output.stdout.replace(b'"digest":""', b'"digest":"%s"' % digest.encode())
    stdout = stdout.replace(b'"nonce":""', b'"nonce":"%s"' % stdin.nonce.encode())
    return dataclasses.replace(output, stdout=stdout)


class FakeTransport:
    """A transport with a behaviour a host; it counts attempts and how many run at once.

    A behaviour may block: it runs in a thread, which the host waits for whatever its deadline.
    """

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None) -> None:
        self.behaviours = behaviours or {}
        self.attempts: Counter[str] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def run(
        self,
        target: AnyTarget,
        command: str,
        stdin: Offer,
        deadline: Deadline,
        limits: Limits,
    ) -> Output:
        if isinstance(target, KernelTarget):  # it has an image where others have an address
            target = SshTarget(address=target.image)
        assert isinstance(target, SshTarget)
        assert command == protocol.COMMAND
        with self._lock:
            self.attempts[target.address] += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            behaviour = self.behaviours.get(target.address)
            if behaviour is None:
                return to_call(stdin, reply())
            blocks = partial(behaviour, target, self.attempts[target.address], deadline)
            return to_call(stdin, waiting.call(blocks, waiting.NEVER, target.address))
        finally:
            with self._lock:
                self._at_once -= 1


def plan_of(*names: str) -> Plan:
    return Plan(playbooks=("test.yml",), hosts=tuple(host_plan(name) for name in names))


def host_plan(name: str) -> HostPlan:
    return HostPlan(
        name=name,
        groups=("web",),
        target=SshTarget(address=name),
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )


def unchanged(audited: Audited, plan: HostPlan) -> Audited:
    return audited


FORKS = 4
FAST = EngineSettings(forks=FORKS, host_deadline_s=5, retries=2, backoff_s=0.01, grace_s=0.2)


def run_plan(
    plan: Plan, run: RunCommand, settings: EngineSettings = FAST, stop: StopRequest | None = None
) -> tuple[Outcome, list[str]]:
    came = list[str]()
    outcome = audit(
        plan,
        run_command=run,
        settings=settings,
        judge=unchanged,
        on_result=lambda result: came.append(result.name),
        stop=stop,
    )
    return outcome, came


def missing(result: HostResult) -> NotAudited:
    assert isinstance(result, NotAudited), result
    return result


def fails(stage: str, reason: str, *, transient: bool = False) -> Behaviour:
    def behave(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        raise TransportError(stage, reason, hint=f"ssh {target.address}", transient=transient)

    return behave


def test_an_observer_is_called_at_each_attempt_for_the_function_that_runs_it() -> None:
    def broken(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        if attempt == 1:
            raise TransportError("connect", "dropped", hint="ssh a", transient=True)
        return reply()

    fake, calls = FakeTransport({"a": broken}), list[str]()

    def run_of(host: HostPlan) -> RunCommand:
        calls.append(host.name)
        return fake.run

    unused = FakeTransport()
    outcome = audit(
        plan_of("a", "b"),
        run_command=unused.run,
        settings=FAST,
        judge=unchanged,
        on_result=lambda result: None,
        run_command_for=run_of,
    )
    assert [type(result) for result in outcome.results] == [Audited, Audited]
    assert sorted(calls) == ["a", "a", "b"]
    assert fake.attempts == {"a": 2, "b": 1}
    assert not unused.attempts


def test_every_host_gets_one_result_in_the_order_of_the_plan() -> None:
    names = [f"web{n}" for n in range(50)]

    def slower_first(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        time.sleep(0.02 if target.address.endswith("0") else 0)
        return reply()

    outcome, came = run_plan(plan_of(*names), FakeTransport(dict.fromkeys(names, slower_first)).run)
    assert came != names
    assert [result.name for result in outcome.results] == names
    assert sorted(came) == sorted(names)
    assert all(
        isinstance(result, Audited) and result.kernel.release == "6.12.0"
        for result in outcome.results
    )
    assert (outcome.bugs, outcome.interrupted) == (0, False)


def test_a_result_that_cannot_be_stored_loses_its_host_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = list[HostResult]()

    def keep(result: HostResult) -> None:
        if result.name == "b" and isinstance(result, Audited):
            raise OverflowError("int too large")
        kept.append(result)

    outcome = audit(
        plan_of("a", "b", "c"),
        run_command=FakeTransport().run,
        settings=FAST,
        judge=unchanged,
        on_result=keep,
    )
    assert outcome.bugs == 1
    assert [type(result) for result in outcome.results] == [Audited, NotAudited, Audited]
    assert sorted(result.name for result in kept) == ["a", "b", "c"]
    assert "OverflowError" in missing(outcome.results[1]).reason
    assert "int too large" in caplog.text


def test_no_more_hosts_run_at_once_than_forks() -> None:
    gate = threading.Barrier(4, timeout=300)  # passes only when four run at once

    def together(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        gate.wait()
        return reply()

    names = [f"web{n}" for n in range(12)]
    fake = FakeTransport(dict.fromkeys(names, together))
    outcome, _ = run_plan(plan_of(*names), fake.run)
    assert fake.most_at_once == 4
    assert all(isinstance(result, Audited) for result in outcome.results)


def test_guests_wait_for_a_core_before_their_deadline_begins_and_delay_no_other_host() -> None:
    cores = os.cpu_count() or 1
    images = [f"vmlinuz-{n}" for n in range(3 * cores)]
    guests = [
        msgspec.structs.replace(host_plan(image), target=KernelTarget(image=image))
        for image in images
    ]
    left, others_done = list[float](), threading.Event()

    def boots(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        left.append(deadline.remaining())
        assert others_done.wait(10)
        time.sleep(0.1)
        return reply()

    def last(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        others_done.set()
        return reply()

    fake = FakeTransport(dict.fromkeys(images, boots) | {"web2": last})
    plan = Plan(playbooks=(), hosts=(*guests, host_plan("web1"), host_plan("web2")))
    outcome, came = run_plan(plan, fake.run, EngineSettings(forks=cores + 2, host_deadline_s=20))
    assert all(isinstance(result, Audited) for result in outcome.results)
    assert fake.most_at_once <= cores + 2
    assert set(came[:2]) == {"web1", "web2"}
    assert min(left) > 19.9  # the last of them waited longer than that


def test_a_transport_error_is_reported_with_its_stage_and_the_next_command() -> None:
    fake = FakeTransport({"b": fails("authenticate", "the key was refused")})
    outcome, _ = run_plan(plan_of("a", "b", "c"), fake.run)
    b = missing(outcome.results[1])
    assert (b.stage, b.reason, b.hint, b.groups) == (
        "authenticate",
        "the key was refused",
        "ssh b",
        ("web",),
    )
    assert isinstance(outcome.results[0], Audited)
    assert isinstance(outcome.results[2], Audited)


def test_a_refused_key_is_never_tried_again() -> None:
    fake = FakeTransport({"a": fails("authenticate", "refused")})
    run_plan(plan_of("a"), fake.run)
    assert fake.attempts["a"] == 1


def test_a_transient_failure_is_tried_again_and_may_succeed() -> None:
    def at_third(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        if attempt < 3:
            raise TransportError("connect", "dropped before the banner", hint="", transient=True)
        return reply()

    fake = FakeTransport({"a": at_third})
    outcome, _ = run_plan(plan_of("a"), fake.run)
    assert fake.attempts["a"] == 3
    assert isinstance(outcome.results[0], Audited)


def test_retries_end_after_their_maximum() -> None:
    fake = FakeTransport({"a": fails("connect", "dropped", transient=True)})
    outcome, _ = run_plan(plan_of("a"), fake.run)
    assert fake.attempts["a"] == 3  # once, and two retries
    assert missing(outcome.results[0]).reason == "dropped"


def test_retries_end_with_the_deadline_of_the_host() -> None:
    fake = FakeTransport({"a": fails("connect", "dropped", transient=True)})
    started = time.monotonic()
    run_plan(
        plan_of("a"),
        fake.run,
        EngineSettings(host_deadline_s=0.5, retries=10, backoff_s=0.2, grace_s=0.2),
    )
    assert time.monotonic() - started < 2 + BUSY_S
    assert fake.attempts["a"] < 10


def test_a_transport_that_overstays_its_deadline_does_not_hang_the_run() -> None:
    release = threading.Event()

    def stuck(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        release.wait(600)
        return reply()

    settings = EngineSettings(forks=2, host_deadline_s=0.3, grace_s=0.1)
    started = time.monotonic()
    try:
        outcome, came = run_plan(
            plan_of("a", "b", "c", "d"), FakeTransport({"a": stuck, "b": stuck}).run, settings
        )
    finally:
        release.set()
    assert time.monotonic() - started < 10 + BUSY_S
    assert missing(outcome.results[0]).stage == "execute"
    assert "no answer within 0.3 s" in missing(outcome.results[0]).reason
    assert [type(result) for result in outcome.results] == [
        NotAudited,
        NotAudited,
        Audited,
        Audited,
    ]
    assert sorted(came) == ["a", "b", "c", "d"]


def test_an_answer_after_its_host_was_abandoned_is_not_a_second_result() -> None:
    given_up = threading.Event()

    def late(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        given_up.wait(60)
        return reply()

    def until_late(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        given_up.set()
        return reply()

    settings = EngineSettings(forks=1, host_deadline_s=0.2, grace_s=0.1)
    outcome, came = run_plan(
        plan_of("a", "b", "c", "d"), FakeTransport({"a": late, "b": until_late}).run, settings
    )
    assert isinstance(outcome.results[0], NotAudited)
    assert came == ["a", "b", "c", "d"]


def test_a_bug_loses_its_host_only_and_its_traceback_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def bug(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        raise ZeroDivisionError("a bug of ours")

    with caplog.at_level(logging.ERROR, logger="fleetaudit"):
        outcome, _ = run_plan(plan_of("a", "b", "c"), FakeTransport({"b": bug}).run)
    assert outcome.bugs == 1
    assert (
        missing(outcome.results[1]).reason
        == "a bug in fleetaudit: ZeroDivisionError: a bug of ours"
    )
    assert isinstance(outcome.results[0], Audited)
    assert isinstance(outcome.results[2], Audited)
    assert "Traceback" in caplog.text
    assert "test_scheduler.py" in caplog.text


def test_a_bug_in_the_judge_loses_that_host_only(caplog: pytest.LogCaptureFixture) -> None:
    def judge(audited: Audited, plan: HostPlan) -> Audited:
        if audited.name == "a":
            raise KeyError("sysctl")
        return audited

    outcome = audit(
        plan_of("a", "b"),
        run_command=FakeTransport().run,
        settings=FAST,
        judge=judge,
        on_result=lambda result: None,
    )
    assert outcome.bugs == 1
    assert [type(result) for result in outcome.results] == [NotAudited, Audited]


def test_a_host_that_sends_noise_instead_of_a_reply_is_not_audited() -> None:
    def noise(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        return Output(stdout=b"Welcome!\n", stderr=b"python3: not found\n", exit_status=127)

    outcome, _ = run_plan(plan_of("a"), FakeTransport({"a": noise}).run)
    assert missing(outcome.results[0]).stage in ("decode", "execute")
    assert missing(outcome.results[0]).reason
    hint = missing(outcome.results[0]).hint
    assert (hint.startswith("fleetaudit probe | ssh "), hint.endswith("'python3 -B -E -s -'")) == (
        True,
        True,
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("/opt/bin/python", "/opt/bin/python"),
        ("~/bin/python3", "~/bin/python3"),
        ("", "python3"),
        ("/usr/bin/env python3", "/usr/bin/env python3"),
        ("/opt/x; touch y", "'/opt/x; touch y'"),
    ],
)
def test_the_command_that_shows_a_bad_reply_uses_the_python_of_the_inventory(
    value: str, words: str
) -> None:
    host = host_plan("a")
    target = msgspec.structs.replace(host.target, interpreter=Interpreter(value=value))
    plan = Plan(playbooks=(), hosts=(msgspec.structs.replace(host, target=target),))
    bad = Output(stdout=b"fleetaudit-probe/1 {}\n", stderr=b"", exit_status=0)
    outcome, _ = run_plan(plan, FakeTransport({"a": lambda *_: bad}).run)
    *_, command = shlex.split(missing(outcome.results[0]).hint)
    assert command == f"{words} -B -E -s -"


def test_a_host_without_a_target_is_reported_without_a_connection() -> None:
    gone = NotAudited(
        name="b", stage="inventory", reason="ansible_connection: docker is not supported"
    )
    plan = Plan(
        playbooks=(), hosts=(host_plan("a"), msgspec.structs.replace(host_plan("b"), target=gone))
    )
    fake = FakeTransport()
    outcome, came = run_plan(plan, fake.run)
    assert outcome.results[1] == gone
    assert fake.attempts["b"] == 0
    assert sorted(came) == ["a", "b"]


def test_a_full_disk_ends_the_audit() -> None:
    def full(result: HostResult) -> None:
        raise OutputError("the disk is full")

    fake = FakeTransport()
    with pytest.raises(OutputError):
        audit(
            plan_of(*(f"web{n}" for n in range(100))),
            run_command=fake.run,
            settings=FAST,
            judge=unchanged,
            on_result=full,
        )
    assert sum(fake.attempts.values()) <= 2 * FORKS


def test_a_stop_closes_running_hosts_and_reports_the_rest_as_interrupted() -> None:
    stop = StopRequest()

    def until_closed(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        stop.request()
        while deadline.remaining():  # as a transport that looks at its deadline between two reads
            time.sleep(0.01)
        raise TransportError("execute", "the deadline came", hint="")

    names = ["a", "b", "c", "d", "e"]
    settings = EngineSettings(forks=1, host_deadline_s=600, grace_s=600)
    started = time.monotonic()
    outcome, came = run_plan(
        plan_of(*names), FakeTransport({"b": until_closed}).run, settings, stop
    )
    assert time.monotonic() - started < 4 + BUSY_S
    assert outcome.interrupted
    assert isinstance(outcome.results[0], Audited)
    assert [missing(result).stage for result in outcome.results[1:]] == ["interrupted"] * 4
    assert sorted(came) == names


def test_a_stop_does_not_hide_why_a_host_has_no_target() -> None:
    gone = NotAudited(
        name="b", stage="inventory", reason="ansible_connection: docker is not supported"
    )
    hosts = (host_plan("a"), msgspec.structs.replace(host_plan("b"), target=gone), host_plan("c"))
    stop = StopRequest()

    def stopping(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        stop.request()
        return reply()

    settings = EngineSettings(forks=1, host_deadline_s=600, grace_s=600)
    outcome, _ = run_plan(
        Plan(playbooks=(), hosts=hosts), FakeTransport({"a": stopping}).run, settings, stop
    )
    assert outcome.results[1] == gone
    assert missing(outcome.results[2]).stage == "interrupted"


def test_a_stop_does_not_wait_for_a_transport_that_ignores_it() -> None:
    stop, release = StopRequest(), threading.Event()

    def stuck(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        stop.request()
        release.wait(600)
        return reply()

    started = time.monotonic()
    try:
        outcome, _ = run_plan(
            plan_of("a", "b"), FakeTransport({"a": stuck, "b": stuck}).run, FAST, stop
        )
    finally:
        release.set()
    assert time.monotonic() - started < 5 + BUSY_S
    assert [missing(result).stage for result in outcome.results] == ["interrupted"] * 2


def test_the_probes_alarm_rings_before_the_hosts_deadline() -> None:
    calls = list[Offer]()

    def run(
        target: AnyTarget, command: str, stdin: Offer, deadline: Deadline, limits: Limits
    ) -> Output:
        calls.append(stdin)
        assert 59 < deadline.remaining() <= 60
        return reply()

    run_plan(plan_of("a"), run, EngineSettings(host_deadline_s=60, margin_s=5))
    program = expand_request(bytes(calls[0])).splitlines()
    assert program[1].endswith(f"; DEADLINE, NONCE = 55.0, {calls[0].nonce!r}")
    assert "'nonce': NONCE" in program[-1]
    assert "'deadline': DEADLINE" in program[-1]


def test_an_interrupt_of_the_thread_is_no_bug_of_the_host_that_it_meets() -> None:
    """Python raises KeyboardInterrupt wherever the main thread is, here in a host."""

    def interrupted(
        target: AnyTarget, command: str, stdin: Offer, deadline: Deadline, limits: Limits
    ) -> Output:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan_of("a", "b"), interrupted)


def test_what_the_running_hosts_opened_is_closed_when_a_full_disk_ends_the_audit() -> None:
    closed = list[str]()

    def waits(
        target: AnyTarget, command: str, stdin: Offer, deadline: Deadline, limits: Limits
    ) -> Output:
        assert isinstance(target, SshTarget)
        if target.address == "a":
            return to_call(stdin, reply())
        try:
            waiting.sleep(waiting.NEVER)
        finally:
            closed.append(target.address)
        return reply()

    def full(result: HostResult) -> None:
        raise OutputError("the disk is full")

    with pytest.raises(OutputError):
        audit(
            plan_of("b", "c", "a"),
            run_command=waits,
            settings=FAST,
            judge=unchanged,
            on_result=full,
        )
    assert sorted(closed) == ["b", "c"]


def test_no_host_is_tried_once_too_many_calls_are_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetaudit.engine.scheduler.MAX_STUCK", 2)
    release = threading.Event()

    def stuck(target: SshTarget, attempt: int, deadline: Deadline) -> Output:
        release.wait(600)
        return reply()

    fake = FakeTransport(dict.fromkeys("abc", stuck))
    settings = EngineSettings(forks=1, host_deadline_s=0.2, grace_s=0.1)
    try:
        outcome, _ = run_plan(plan_of("a", "b", "c"), fake.run, settings)
    finally:
        release.set()
    assert "2 connections of this run are stuck" in missing(outcome.results[2]).reason
    assert fake.attempts == {"a": 1, "b": 1}


def test_a_stop_reaches_an_audit_that_waits_for_its_hosts_only() -> None:
    """From another thread, as a signal does from between two bytecodes."""
    stop = StopRequest()

    def waits(
        target: AnyTarget, command: str, stdin: Offer, deadline: Deadline, limits: Limits
    ) -> Output:
        threading.Timer(0.1, stop.request).start()
        waiting.sleep(deadline)
        raise TransportError("execute", "the deadline came", hint="")

    settings = EngineSettings(forks=4, host_deadline_s=600, grace_s=600)
    started = time.monotonic()
    outcome, _ = run_plan(plan_of("a"), waits, settings, stop)
    assert time.monotonic() - started < 5 + BUSY_S
    assert missing(outcome.results[0]).stage == "interrupted"


def test_the_garbage_collector_looks_seldom_during_an_audit_and_is_restored() -> None:
    gc.unfreeze()  # what a command that ran in this process before has left
    before = gc.get_threshold(), gc.get_freeze_count()
    seen = list[tuple[tuple[int, int, int], int]]()

    def full(result: HostResult) -> None:
        seen.append((gc.get_threshold(), gc.get_freeze_count()))
        raise OutputError("the disk is full")

    with pytest.raises(OutputError):
        audit(
            plan_of("a"),
            run_command=FakeTransport().run,
            settings=FAST,
            judge=unchanged,
            on_result=full,
        )
    ((threshold, frozen),) = seen
    assert threshold[0] > before[0][0]
    assert frozen > before[1]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_evidence_without_a_password_has_the_times_of_its_own_host() -> None:
    """Another host sent the same text and does not have the password: its evidence is another."""
    scenario = cases.scenario("unread-close", "RST")
    trial = cases.RESET | {
        "wire_note": "printed hunter-2-hunter",
        "steps": [[7, 0], [9, 1]],
        "connection": {"began": 5.0, "ports": [1, 2], "scales": [7, 7]},
    }
    body = cases.reply(cases.observation("unread-close", trial))
    hosts = [
        msgspec.structs.replace(host_plan(name), scenarios=(scenario,), trials=3, target=target)
        for name, target in (
            ("a", SshTarget(address="a")),
            ("b", SshTarget(address="b", password=Secret("hunter-2-hunter"))),
        )
    ]

    def run(
        target: AnyTarget, command: str, stdin: Offer, deadline: Deadline, limits: Limits
    ) -> Output:
        digest = protocol.request_digest(hosts[0])
        sent = {**body, "digest": digest, "nonce": stdin.nonce, "sysctls": {}}
        return Output(stdout=cases.line(sent), stderr=b"", exit_status=0)

    outcome = audit(
        Plan(playbooks=("test.yml",), hosts=tuple(hosts)),
        run_command=run,
        settings=FAST,
        judge=judge_and_deduplicate(HostJudge()),
        on_result=lambda _: None,
    )
    first, second = (result.observations[0].evidence for result in outcome.results)
    assert (first.wire_note, second.wire_note) == ("printed hunter-2-hunter", "printed …")
    assert not second.same_as
    assert second.steps == ((7, 0), (9, 1))
    assert second.connection == first.connection
