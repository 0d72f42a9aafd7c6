"""What is told of hosts that were looked over, without a host: steps, times, causes, and both
texts.
"""

from __future__ import annotations

import re
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
    return HostPlan(name=name, groups=(), target=target, scenarios=(), trials=1, isolation="auto",
                    sysctls_collect=(), sysctls_expect={})  # fmt: skip


def visit_of(host: HostPlan, result: HostResult, told: StageRecord) -> HostCheck:
    return doctor.build_host_check(
        host, result, told, lambda option: f"fleetaudit doctor {option} -l {host.name}"
    )


def watched(*heard: tuple[Stage, str, float], rest: float = 0.0) -> StageRecord:
    """What a watch tells of an attempt in which each stage took so many seconds, and something
    after them `rest`.
    """
    clock = Clock()
    watch = StageRecorder(clock)
    watch.begin()
    for stage, what, seconds in heard:
        clock.now += seconds
        watch.passed(stage, what)
    clock.now += rest
    watch.end()
    clock.now += 50  # nobody waits for the one who looks
    return watch.record()


def answered(
    elapsed_s: float = 0.05, isolation: Any = "namespace", notes: tuple[str, ...] = ()
) -> Audited:
    return Audited(name="web1", kernel=Kernel(release="6.1", version="#1", machine="x86_64"), python="3.11.2",
                   isolation=isolation, elapsed_s=elapsed_s, notes=notes)  # fmt: skip


def failed(stage: Stage, reason: str = "no", hint: str = "try") -> NotAudited:
    return NotAudited(name="web1", stage=stage, reason=reason, hint=hint)


def states(visit: HostCheck) -> dict[CheckStage, str]:
    return {step.stage: step.state for step in visit.steps}


WAY: tuple[tuple[Stage, str, float], ...] = (
    ("resolve", "192.0.2.1", 0.001),
    ("connect", "192.0.2.1 port 22", 0.02),
    ("host key", "ssh-ed25519 SHA256:x", 0.001),
    ("authenticate", "me by key", 0.03),
)


def test_times_are_those_between_one_stage_and_the_next_and_add_up() -> None:
    told = watched(*WAY, ("become", "root by sudo", 0.2), rest=0.5)
    visit = visit_of(
        plan_for(SshTarget(address="a", become=Become())), answered(elapsed_s=0.1), told
    )
    assert [step.ms for step in visit.steps] == [None, 1, 20, 1, 30, 200, 400, 100]
    assert visit.ms == 752
    assert set(states(visit).values()) == {"passed"}
    assert visit.steps[5].found == "root by sudo"


@pytest.mark.parametrize("lie", [-5.0, 1e300])
def test_a_host_cannot_say_that_it_took_longer_than_we_waited(lie: float) -> None:
    visit = visit_of(
        plan_for(SshTarget(address="a")), answered(elapsed_s=lie), watched(*WAY, rest=0.5)
    )
    assert [step.ms for step in visit.steps[-2:]] == ([500, 0] if lie < 0 else [0, 500])


def test_only_the_last_attempt_is_told_stage_by_stage_and_all_of_them_in_time() -> None:
    clock = Clock()
    watch = StageRecorder(clock)
    for seconds in (1.0, 2.0):
        watch.begin()
        clock.now += seconds
        watch.passed("resolve", "192.0.2.1")
        watch.end()
        clock.now += 0.5
    visit = visit_of(plan_for(SshTarget(address="a")), failed("connect"), watch.record())
    assert (visit.attempts, visit.ms) == (2, 3500)
    assert [(step.stage, step.ms) for step in visit.steps if step.ms is not None] == [
        ("resolve", 2000),
        ("connect", 0),
    ]


def test_a_way_that_was_begun_anew_after_a_drop_is_told_once_with_all_of_its_time() -> None:
    told = watched(("resolve", "192.0.2.1", 0.1), ("resolve", "192.0.2.1", 1.0), *WAY[1:], rest=0.1)
    visit = visit_of(plan_for(SshTarget(address="a")), answered(), told)
    assert [step.stage for step in visit.steps] == list(doctor.CHECK_STAGES)
    assert visit.steps[1].ms == 1100


def test_jump_hosts_are_steps_of_their_own_and_a_failure_behind_them_is_the_hosts() -> None:
    jump: list[tuple[Stage, str, float]] = [
        (stage, f"jump host bastion: {what}", s) for stage, what, s in WAY
    ]
    target = plan_for(SshTarget(address="a"))
    ready = visit_of(target, answered(), watched(*jump, *WAY[1:], rest=0.2))
    assert [step.stage for step in ready.steps] == [
        "inventory", "resolve", "connect", "host key", "authenticate", "connect", "host key", "authenticate", "become",
        "interpreter", "namespaces",
    ]  # fmt: skip
    lost = visit_of(target, failed("connect"), watched(*jump, rest=1.0))
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
    grid = host_check_table(examined(lost, ready), width=100, next_="").splitlines()
    assert grid[1].split()[1:4] == ["1.0", "ms", "✗"]


def test_a_host_left_behind_is_told_at_the_stage_where_it_was_heard_of_last() -> None:
    target = plan_for(SshTarget(address="a"))
    hangs = visit_of(target, failed("execute"), watched(*WAY[:2], rest=60))
    assert hangs.stage == "host key"
    assert states(hangs)["authenticate"] == "not reached"
    assert visit_of(target, failed("execute"), watched(*WAY, rest=60)).stage == "interpreter"
    assert visit_of(target, failed("decode"), watched(*WAY, rest=1)).stage == "interpreter"


def test_a_host_that_was_never_tried_claims_no_stage_that_it_did_not_pass() -> None:
    refused = NotAudited(
        name="web1", stage="authenticate", reason="a password, and no checked key", hint="--x"
    )
    plan = HostPlan(name="web1", groups=(), target=refused, scenarios=(), trials=1, isolation="auto",
                    sysctls_collect=(), sysctls_expect={})  # fmt: skip
    visit = visit_of(plan, refused, StageRecord())
    assert states(visit) == {
        "inventory": "passed", "resolve": "not reached", "connect": "not reached", "host key": "not reached",
        "authenticate": "failed", "become": "not reached", "interpreter": "not reached", "namespaces": "not reached",
    }  # fmt: skip
    waiting = visit_of(plan_for(SshTarget(address="a")), failed("interrupted"), StageRecord())
    assert set(states(waiting).values()) == {"passed", "not needed", "not reached"}
    assert [step.stage for step in waiting.steps if step.state == "passed"] == ["inventory"]


def test_what_nobody_told_of_is_not_taken_for_passed_where_a_later_stage_failed() -> None:
    """The system's ssh says of a jump host that it lets nobody in as it says it of the host."""
    target = SshTarget(address="a", client="openssh")
    ill = visit_of(
        plan_for(target), failed("authenticate"), watched(("resolve", "proxy command", 0.1), rest=1)
    )
    assert list(states(ill).values())[:5] == ["passed", "passed", "not told", "not told", "failed"]
    assert "  host key      unknown\n" in host_check_text(ill, width=80, next_="")
    assert re.search(
        r"^web1 +100 ms +\? +\? +✗ FAIL +1\.1 s$",
        host_check_table(examined(ill, ill), width=80, next_=""),
        re.M,
    )
    well = visit_of(plan_for(target), answered(), watched(rest=1))
    assert set(states(well).values()) == {"passed", "not needed"}


def test_becoming_who_we_are_already_is_no_stage() -> None:
    told = watched(rest=0.2)
    assert (
        states(visit_of(plan_for(LocalTarget(become=Become(user="me"))), answered(), told))[
            "become"
        ]
        == "not needed"
    )
    assert (
        states(visit_of(plan_for(LocalTarget(become=Become())), failed("become"), told))["become"]
        == "failed"
    )


def examined(*visits: HostCheck) -> DoctorReport:
    return DoctorReport(fleetaudit="0", started="2026-01-01T00:00:00Z", hosts=visits)


def visit(
    name: str, result: HostResult, told: StageRecord | None = None, address: str = ""
) -> HostCheck:
    return visit_of(
        plan_for(SshTarget(address=address or name), name), result, told or watched(*WAY, rest=0.1)
    )


def test_a_host_without_a_private_namespace_is_ready_and_says_what_it_lacks() -> None:
    note = "no private network namespace (os.unshare: EPERM)"
    limited = visit("web1", answered(isolation="host", notes=(note,)))
    text = host_check_text(limited, width=100, next_="fleetaudit run x")
    assert "web1: ready" in text
    assert note in text
    assert "the host's own namespace" in text
    both = host_check_table(
        examined(limited, visit("web2", answered())), width=100, next_="fleetaudit run x"
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
    assert visit("web1", host).fixes == ("fleetaudit doctor --become -l web1", setting)
    becomes = plan_for(SshTarget(address="a", become=Become(user="deploy")))
    assert visit_of(becomes, host, watched(rest=0.1)).fixes == (setting,)
    many = [
        msgspec.structs.replace(unseen, scenario=f"s{n}", reason="no IPv6 here") for n in range(20)
    ]
    text = host_check_text(
        visit("web1", msgspec.structs.replace(host, observations=tuple(many))), width=200, next_=""
    )
    assert " 20 not run: no IPv6 here (s0, s1, s2, s3, s4, s5, s6, s7 and 12 more)\n" in text
    without = msgspec.structs.replace(host, observations=())
    assert visit("web1", without).fixes == ()


def test_reasons_that_differ_in_their_hosts_name_alone_are_one_cause_and_numbers_are_left_alone() -> (
    None
):
    hosts = [
        visit(f"db{n}", failed("connect", f"db{n} port 22: refused"), watched(*WAY[:1]))
        for n in (1, 2, 12)
    ]
    other = visit("db3", failed("connect", "db33 port 22: refused"), watched(*WAY[:1]))
    first, second = failure_causes([*hosts, other])
    assert (first.title, first.hosts.count) == ("connect: ‹host› port 22: refused", 3)
    assert second.title == "connect: db33 port 22: refused"


def test_causes_come_in_the_order_of_their_stages() -> None:
    stages: tuple[Stage, ...] = ("interrupted", "become", "resolve", "inventory", "host key")
    causes = failure_causes([visit(f"h{n}", failed(stage)) for n, stage in enumerate(stages)])
    assert [cause.stage for cause in causes] == [
        "inventory",
        "resolve",
        "host key",
        "become",
        "interrupted",
    ]


def test_no_terminal_obeys_what_a_host_or_a_reason_says_and_no_line_is_forged() -> None:
    nasty = "x\x1b[2J\u202e\nweb9  ready\r"
    kernel = Kernel(release=nasty, version=nasty, machine=nasty)
    ill = visit("web1", failed("connect", nasty, hint=nasty), watched(("resolve", nasty, 0.1)))
    well = visit(
        "web2", Audited(name="web2", kernel=kernel, python=nasty, isolation="host", notes=(nasty,))
    )
    for text in (
        host_check_text(ill, width=80, next_=""),
        host_check_text(well, width=80, next_=""),
        host_check_table(examined(ill, well), width=80, next_=""),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
        assert not re.search(r"^web9", text, re.M)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_table_fits_its_width_whatever_the_names(width: int) -> None:
    visits = [visit(f"h{n}", answered()) for n in range(3)] + [
        visit(LONG, failed("authenticate"), watched(*WAY[:3]))
    ]
    lines = host_check_table(examined(*visits), width=width, next_="").splitlines()
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
    [(None, ""), (0.04, "0.0 ms"), (9.96, "10 ms"), (999.4, "999 ms"), (999.6, "1.0 s"), (99_900, "99.9 s"),
     (180_000, "3 min")],
)  # fmt: skip
def test_a_time_has_three_digits_at_most(ms: float | None, words: str) -> None:
    assert format_duration(ms) == words


def test_a_step_is_told_even_where_its_words_are_many() -> None:
    words = StageResult(
        stage="resolve", state="passed", ms=1.0, found=", ".join(f"192.0.2.{n}" for n in range(60))
    )
    base = visit("web1", answered())
    many = HostCheck(name="web1", ready=True, steps=(words, *base.steps[2:]))
    text = host_check_text(many, width=80, next_="")
    assert "192.0.2.59" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_published_schema_is_what_the_nouns_say() -> None:
    """Where it is not: `python -m tests.support.commands.test_doctor` writes it."""
    assert (SCHEMAS / "doctor.schema.json").read_bytes() == doctor.json_schema()
