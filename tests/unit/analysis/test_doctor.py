"""The connectivity check without a host: stages, times, causes, and both texts."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import msgspec
import pytest

from fleetaudit.analysis import doctor
from fleetaudit.analysis.doctor import (
    CheckStage,
    DoctorReport,
    HostCheck,
    StageRecord,
    StageRecorder,
    StageResult,
    failure_causes,
)
from fleetaudit.model import (
    Audited,
    Become,
    HostPlan,
    HostResult,
    Kernel,
    LocalTarget,
    NotAudited,
    Observation,
    SshTarget,
    Stage,
    Sysctl,
)
from fleetaudit.report.doctor import format_duration, host_check_text
from fleetaudit.report.doctor_table import host_check_table
from tests import SCHEMAS

LONG = "edge-proxy-0017.rack-b.fra1.production.example.com"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plan_for(target: SshTarget | LocalTarget, name: str = "web1") -> HostPlan:
    return HostPlan(
        name=name,
        groups=(),
        target=target,
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )


def check_of(host: HostPlan, result: HostResult, record: StageRecord) -> HostCheck:
    return doctor.build_host_check(
        host, result, record, lambda option: f"fleetaudit doctor {option} -l {host.name}"
    )


def recorded(*passed: tuple[Stage, str, float], rest: float = 0.0) -> StageRecord:
    """What a watch tells of an attempt in which each stage took so many seconds, and something
    after them `rest`.
    """
    clock = Clock()
    recorder = StageRecorder(clock)
    recorder.begin()
    for stage, what, seconds in passed:
        clock.now += seconds
        recorder.passed(stage, what)
    clock.now += rest
    recorder.end()
    clock.now += 50  # nobody waits for the one who looks
    return recorder.record()


def answered(
    elapsed_s: float = 0.05, isolation: Any = "namespace", notes: tuple[str, ...] = ()
) -> Audited:
    return Audited(
        name="web1",
        kernel=Kernel(release="6.1", version="#1", machine="x86_64"),
        python="3.11.2",
        isolation=isolation,
        elapsed_s=elapsed_s,
        notes=notes,
    )


def failed(stage: Stage, reason: str = "no", hint: str = "try") -> NotAudited:
    return NotAudited(name="web1", stage=stage, reason=reason, hint=hint)


def states(check: HostCheck) -> dict[CheckStage, str]:
    return {step.stage: step.state for step in check.steps}


STAGES: tuple[tuple[Stage, str, float], ...] = (
    ("resolve", "192.0.2.1", 0.001),
    ("connect", "192.0.2.1 port 22", 0.02),
    ("host key", "ssh-ed25519 SHA256:x", 0.001),
    ("authenticate", "me by key", 0.03),
)


def test_times_are_those_between_stages_and_add_up() -> None:
    record = recorded(*STAGES, ("become", "root by sudo", 0.2), rest=0.5)
    check = check_of(
        plan_for(SshTarget(address="a", become=Become())), answered(elapsed_s=0.1), record
    )
    assert [step.ms for step in check.steps] == [None, 1, 20, 1, 30, 200, 400, 100]
    assert check.ms == 752
    assert set(states(check).values()) == {"passed"}
    assert check.steps[5].found == "root by sudo"


@pytest.mark.parametrize("lie", [-5.0, 1e300])
def test_a_host_cannot_report_a_time_longer_than_we_waited(lie: float) -> None:
    check = check_of(
        plan_for(SshTarget(address="a")), answered(elapsed_s=lie), recorded(*STAGES, rest=0.5)
    )
    assert [step.ms for step in check.steps[-2:]] == ([500, 0] if lie < 0 else [0, 500])


def test_only_the_last_attempt_has_stages_and_the_time_is_of_all_attempts() -> None:
    clock = Clock()
    recorder = StageRecorder(clock)
    for seconds in (1.0, 2.0):
        recorder.begin()
        clock.now += seconds
        recorder.passed("resolve", "192.0.2.1")
        recorder.end()
        clock.now += 0.5
    check = check_of(plan_for(SshTarget(address="a")), failed("connect"), recorder.record())
    assert (check.attempts, check.ms) == (2, 3500)
    assert [(step.stage, step.ms) for step in check.steps if step.ms is not None] == [
        ("resolve", 2000),
        ("connect", 0),
    ]


def test_a_connection_that_was_begun_again_after_a_drop_is_reported_once_with_all_of_its_time() -> (
    None
):
    record = recorded(
        ("resolve", "192.0.2.1", 0.1), ("resolve", "192.0.2.1", 1.0), *STAGES[1:], rest=0.1
    )
    check = check_of(plan_for(SshTarget(address="a")), answered(), record)
    assert [step.stage for step in check.steps] == list(doctor.CHECK_STAGES)
    assert check.steps[1].ms == 1100


def test_jump_hosts_are_stages_of_their_own_and_a_failure_behind_them_is_of_the_host() -> None:
    jump: list[tuple[Stage, str, float]] = [
        (stage, f"jump host bastion: {what}", s) for stage, what, s in STAGES
    ]
    target = plan_for(SshTarget(address="a"))
    ready = check_of(target, answered(), recorded(*jump, *STAGES[1:], rest=0.2))
    assert [step.stage for step in ready.steps] == [
        "inventory",
        "resolve",
        "connect",
        "host key",
        "authenticate",
        "connect",
        "host key",
        "authenticate",
        "become",
        "interpreter",
        "namespaces",
    ]
    lost = check_of(target, failed("connect"), recorded(*jump, rest=1.0))
    assert [(step.stage, step.state) for step in lost.steps][4:] == [
        ("authenticate", "passed"),
        ("connect", "failed"),
        ("host key", "not reached"),
        ("authenticate", "not reached"),
        ("become", "not needed"),
        ("interpreter", "not reached"),
        ("namespaces", "not reached"),
    ]
    text = host_check_text(lost, width=80, next_="")
    assert "  host key      ok       1.0 ms  jump host bastion: ssh-ed25519 SHA256:x" in text
    grid = host_check_table(report_of(lost, ready), width=100, next_="").splitlines()
    assert grid[1].split()[1:4] == ["1.0", "ms", "✗"]


def test_an_abandoned_host_is_reported_at_the_stage_after_the_last_recorded_one() -> None:
    target = plan_for(SshTarget(address="a"))
    hangs = check_of(target, failed("execute"), recorded(*STAGES[:2], rest=60))
    assert hangs.stage == "host key"
    assert states(hangs)["authenticate"] == "not reached"
    assert check_of(target, failed("execute"), recorded(*STAGES, rest=60)).stage == "interpreter"
    assert check_of(target, failed("decode"), recorded(*STAGES, rest=1)).stage == "interpreter"


def test_a_host_that_was_never_tried_has_no_passed_stage() -> None:
    refused = NotAudited(
        name="web1", stage="authenticate", reason="a password, and no checked key", hint="--x"
    )
    plan = HostPlan(
        name="web1",
        groups=(),
        target=refused,
        scenarios=(),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )
    check = check_of(plan, refused, StageRecord())
    assert states(check) == {
        "inventory": "passed",
        "resolve": "not reached",
        "connect": "not reached",
        "host key": "not reached",
        "authenticate": "failed",
        "become": "not reached",
        "interpreter": "not reached",
        "namespaces": "not reached",
    }
    waiting = check_of(plan_for(SshTarget(address="a")), failed("interrupted"), StageRecord())
    assert set(states(waiting).values()) == {"passed", "not needed", "not reached"}
    assert [step.stage for step in waiting.steps if step.state == "passed"] == ["inventory"]


def test_a_stage_without_a_record_is_unknown_if_a_later_stage_failed() -> None:
    """The system's ssh says of a jump host that it lets nobody in as it says it of the host."""
    target = SshTarget(address="a", client="openssh")
    ill = check_of(
        plan_for(target),
        failed("authenticate"),
        recorded(("resolve", "proxy command", 0.1), rest=1),
    )
    assert list(states(ill).values())[:5] == ["passed", "passed", "not told", "not told", "failed"]
    assert "  host key      unknown\n" in host_check_text(ill, width=80, next_="")
    assert re.search(
        r"^web1 +100 ms +\? +\? +✗ FAIL +1\.1 s$",
        host_check_table(report_of(ill, ill), width=80, next_=""),
        re.M,
    )
    well = check_of(plan_for(target), answered(), recorded(rest=1))
    assert set(states(well).values()) == {"passed", "not needed"}


def test_becoming_the_current_user_is_not_a_stage() -> None:
    record = recorded(rest=0.2)
    assert (
        states(check_of(plan_for(LocalTarget(become=Become(user="me"))), answered(), record))[
            "become"
        ]
        == "not needed"
    )
    assert (
        states(check_of(plan_for(LocalTarget(become=Become())), failed("become"), record))["become"]
        == "failed"
    )


def report_of(*checks: HostCheck) -> DoctorReport:
    return DoctorReport(fleetaudit="0", started="2026-01-01T00:00:00Z", hosts=checks)


def check(
    name: str, result: HostResult, record: StageRecord | None = None, address: str = ""
) -> HostCheck:
    return check_of(
        plan_for(SshTarget(address=address or name), name),
        result,
        record or recorded(*STAGES, rest=0.1),
    )


def test_a_host_without_a_private_namespace_is_ready_with_a_note() -> None:
    note = "no private network namespace (os.unshare: EPERM)"
    limited = check("web1", answered(isolation="host", notes=(note,)))
    text = host_check_text(limited, width=100, next_="fleetaudit run x")
    assert "web1: ready" in text
    assert note in text
    assert "the host's own namespace" in text
    both = host_check_table(
        report_of(limited, check("web2", answered())), width=100, next_="fleetaudit run x"
    )
    assert f"  web1: {note}\n" in both
    assert "2 hosts: 2 ready, 0 not ready.\n\nnext:  fleetaudit run x\n" in both


def test_the_fixes_are_to_become_root_and_the_setting_that_keeps_users_from_namespaces() -> None:
    reason = "needs a capture (needs CAP_NET_RAW or user namespaces; set become: true)"
    unseen = Observation(
        scenario="drained-and-fin-close", family="ipv4", ending="not run", trials=0, reason=reason
    )
    limits = {"user.max_user_namespaces": "7", "kernel.unprivileged_userns_clone": "0"}
    host = msgspec.structs.replace(
        answered(isolation="host"),
        observations=(unseen,),
        sysctls={k: Sysctl(value=v) for k, v in limits.items()},
    )
    setting = "sysctl -w kernel.unprivileged_userns_clone=1 # as root, on the host"
    assert check("web1", host).fixes == ("fleetaudit doctor --become -l web1", setting)
    becomes = plan_for(SshTarget(address="a", become=Become(user="deploy")))
    assert check_of(becomes, host, recorded(rest=0.1)).fixes == (setting,)
    many = [
        msgspec.structs.replace(unseen, scenario=f"s{n}", reason="no IPv6 here") for n in range(20)
    ]
    text = host_check_text(
        check("web1", msgspec.structs.replace(host, observations=tuple(many))), width=200, next_=""
    )
    assert " 20 not run: no IPv6 here (s0, s1, s2, s3, s4, s5, s6, s7 and 12 more)\n" in text
    without = msgspec.structs.replace(host, observations=())
    assert check("web1", without).fixes == ()


def test_reasons_that_differ_only_in_the_name_of_the_host_are_one_cause() -> None:
    hosts = [
        check(f"db{n}", failed("connect", f"db{n} port 22: refused"), recorded(*STAGES[:1]))
        for n in (1, 2, 12)
    ]
    other = check("db3", failed("connect", "db33 port 22: refused"), recorded(*STAGES[:1]))
    first, second = failure_causes([*hosts, other])
    assert (first.title, first.hosts.count) == ("connect: ‹host› port 22: refused", 3)
    assert second.title == "connect: db33 port 22: refused"


def test_causes_come_in_the_order_of_their_stages() -> None:
    stages: tuple[Stage, ...] = ("interrupted", "become", "resolve", "inventory", "host key")
    causes = failure_causes([check(f"h{n}", failed(stage)) for n, stage in enumerate(stages)])
    assert [cause.stage for cause in causes] == [
        "inventory",
        "resolve",
        "host key",
        "become",
        "interrupted",
    ]


def test_no_text_of_a_host_moves_the_cursor_or_forges_a_line() -> None:
    nasty = "x\x1b[2J\u202e\nweb9  ready\r"
    kernel = Kernel(release=nasty, version=nasty, machine=nasty)
    ill = check("web1", failed("connect", nasty, hint=nasty), recorded(("resolve", nasty, 0.1)))
    well = check(
        "web2", Audited(name="web2", kernel=kernel, python=nasty, isolation="host", notes=(nasty,))
    )
    for text in (
        host_check_text(ill, width=80, next_=""),
        host_check_text(well, width=80, next_=""),
        host_check_table(report_of(ill, well), width=80, next_=""),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
        assert not re.search(r"^web9", text, re.M)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_table_fits_its_width_with_any_names(width: int) -> None:
    checks = [check(f"h{n}", answered()) for n in range(3)] + [
        check(LONG, failed("authenticate"), recorded(*STAGES[:3]))
    ]
    lines = host_check_table(report_of(*checks), width=width, next_="").splitlines()
    grid = lines[: lines.index("")]
    assert max(map(len, grid)) <= max(width, len(LONG), 74)
    columns = (
        {line.rstrip()[-7:] for line in grid if re.match(r"h\d", line)}
        if width <= 80
        else {"private"}
    )
    assert columns == {"private"}


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (None, ""),
        (0.04, "0.0 ms"),
        (9.96, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (99_900, "99.9 s"),
        (180_000, "3 min"),
    ],
)
def test_a_time_has_three_digits_at_most(ms: float | None, words: str) -> None:
    assert format_duration(ms) == words


def test_a_long_result_of_a_stage_is_wrapped_and_not_cut() -> None:
    words = StageResult(
        stage="resolve", state="passed", ms=1.0, found=", ".join(f"192.0.2.{n}" for n in range(60))
    )
    base = check("web1", answered())
    many = HostCheck(name="web1", ready=True, steps=(words, *base.steps[2:]))
    text = host_check_text(many, width=80, next_="")
    assert "192.0.2.59" in text
    assert max(map(len, text.splitlines())) <= 80


def test_as_json_a_terminal_obeys_no_text_of_a_host_and_none_is_lost() -> None:
    hostile = "\x1b]0;owned\x07\u202eevil\x9b31m\u200b<script>"
    stopped = HostCheck(name="web1" + hostile, ready=False, stage="connect", reason=hostile)
    report = DoctorReport(fleetaudit="1", started="2026-11-22T02:00:00Z", hosts=(stopped,))
    data = doctor.encode(report)
    assert not {c for c in data.decode("utf-8") if unicodedata.category(c) in ("Cc", "Cf")} - {"\n"}
    [found] = json.loads(data)["hosts"]
    assert (found["name"], found["reason"]) == (stopped.name, hostile)


def test_the_published_schema_is_current() -> None:
    """Where it is not: `python -m tests.support.commands.test_doctor` writes it."""
    assert (SCHEMAS / "doctor.schema.json").read_bytes() == doctor.json_schema()
