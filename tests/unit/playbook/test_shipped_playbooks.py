"""The playbooks that come with fleetaudit: each reads, runs on this machine, gives its reasons, and
fits the others.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fleetaudit.analysis.judge import judge
from fleetaudit.model import (
    Audited,
    Host,
    HostPlan,
    Inventory,
    LocalTarget,
    Play,
    Sysctl,
)
from fleetaudit.playbook import load_playbook, parse_playbook, shipped_names
from fleetaudit.playbook.plan import make_plan
from fleetaudit.store import archive
from tests import ROOT
from tests.support.kernel_matrix import MATRIX
from tests.support.runs import K612, Fleet

FOLDER = ROOT / "playbooks"
NAMES = ("strict", "tcp-sysctls", "unread-close")
SOURCE = re.compile(r"RFC [0-9]+|ip-sysctl|Measured|tcp\(7\)|Linux [0-9a-f]{12}")


def plan_of(*names: str) -> HostPlan:
    inventory = Inventory(
        sources=("i",), hosts=(Host(name="localhost"),), groups={"all": ("localhost",)}
    )
    targets = {"localhost": LocalTarget()}
    books = [load_playbook(Path(name)) for name in names]
    return make_plan(
        inventory,
        books,
        targets=targets,
        selected=["localhost"],
        select=lambda pattern: ["localhost"],
    ).hosts[0]


def play_of(name: str) -> Play:
    (play,) = load_playbook(Path(name)).plays
    return play


def test_three_are_shipped() -> None:
    assert shipped_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_editor_finds_the_schema_by_the_first_line(name: str) -> None:
    first = (FOLDER / f"{name}.yml").read_text("utf-8").splitlines()[0]
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert (FOLDER / path).resolve() == ROOT / "fleetaudit" / "schema" / "playbook.schema.json"


# ---- reasons
# -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tcp-sysctls", "strict"])
def test_every_expectation_has_a_reason_that_names_its_source(name: str) -> None:
    play = play_of(name)
    for key, rules in {**play.sysctls_expect, **play.exposure_expect}.items():
        for rule in rules:
            assert SOURCE.search(rule.because), key
            assert rule.because.endswith((".", '".')), key


def test_the_baseline_wants_nothing_of_what_follows_from_a_hosts_memory() -> None:
    assert not {
        "net.ipv4.tcp_mem",
        "net.ipv4.tcp_max_orphans",
        "net.ipv4.tcp_max_tw_buckets",
    } & set(play_of("tcp-sysctls").sysctls_expect)


@pytest.mark.probe
def test_a_host_with_the_kernels_own_defaults_meets_the_baseline() -> None:
    """Those that this kernel told of a new namespace, and the documented ones of what a namespace
    does not tell.
    """
    host = ran("tcp-sysctls")
    if host.isolation != "namespace":
        pytest.skip(f"no private network namespace, so no defaults: {' '.join(host.notes)}")
    defaults = {
        key: Sysctl(value=s.default, default=s.default)
        for key, s in host.sysctls.items()
        if s.default
    }
    documented = {
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
        "net.ipv4.tcp_wmem": "4096 16384 4194304",
    }
    values = defaults | {key: Sysctl(value=value) for key, value in documented.items()}
    assert (
        judge(msgspec.structs.replace(host, sysctls=values), plan_of("tcp-sysctls")).findings == ()
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net.ipv4.tcp_fin_timeout", "61"),
        ("net.ipv4.tcp_abort_on_overflow", "1"),
        ("net.ipv4.tcp_stdurg", "1"),
        ("net.ipv4.tcp_retries2", "7"),
        ("net.ipv4.tcp_tw_reuse", "1"),
        ("net.ipv4.tcp_syncookies", "2"),
        ("net.ipv4.tcp_rmem", "4096 87380 65536"),
        ("net.core.somaxconn", "128"),
    ],
)
def test_the_baseline_finds_a_value_that_is_not_as_wanted(key: str, value: str) -> None:
    host = Fleet(rules={}).host("a", K612, sysctls={key: Sysctl(value=value)})
    found = {f.id: f for f in judge(host, plan_of("tcp-sysctls")).findings if f.observed == value}
    assert set(found) == {f"sysctl:{key}"}
    assert found[f"sysctl:{key}"].fix.startswith("sysctl -w ")


# ---- strict
# --------------------------------------------------------------------------------------------------------


def test_strict_runs_what_unread_close_runs_and_leaves_nothing_for_information_alone() -> None:
    strict, usual = play_of("strict"), play_of("unread-close")
    assert [(s.name, s.steps, s.expect, s.control) for s in strict.scenarios] == [
        (s.name, s.steps, s.expect, s.control) for s in usual.scenarios
    ]
    assert {s.severity for s in strict.scenarios} == {"warning", "error"}
    assert {s.name for s in strict.scenarios if s.severity == "error"} >= {
        "reread-fin-close",
        "urgent-reread-fin-close",
    }
    assert strict.kernels_expect["same_ending_within_build"][0].severity == "error"
    assert set(strict.exposure_expect) >= {"aborts_on_close_per_thousand", "aborts_failed"}
    assert set(usual.sysctls_collect) <= {*strict.sysctls_collect, *FIRST_IN_A_GLOB}


FIRST_IN_A_GLOB = {
    key for key in play_of("unread-close").sysctls_collect if key.startswith("net.ipv4.tcp_")
}


@pytest.mark.parametrize("others", [("unread-close", "tcp-sysctls"), ("strict", "tcp-sysctls")])
def test_the_baseline_goes_with_each_of_the_others(others: tuple[str, ...]) -> None:
    plan = plan_of(*others)
    assert {s.name for s in plan.scenarios} == {s.name for s in play_of(others[0]).scenarios}
    assert set(plan.sysctls_expect) >= set(play_of("tcp-sysctls").sysctls_expect)


# ---- on this machine
# -----------------------------------------------------------------------------------------------


@cache
def ran(*names: str) -> Audited:
    """This machine, audited by the command with these playbooks."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        books = [word for name in names for word in ("-p", name)]
        command = [
            sys.executable,
            "-m",
            "fleetaudit",
            "run",
            "localhost,",
            *books,
            "-o",
            folder,
            "--format",
            "json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode in (0, 2), done.stdout + done.stderr
        (host,) = archive.read_run(Path(folder) / "latest").hosts
    assert isinstance(host, Audited)
    assert (done.returncode == 2) is any(f.severity in ("warning", "error") for f in host.findings)
    return host


@pytest.mark.probe
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_on_this_machine_and_what_it_wants_is_judged(name: str) -> None:
    host, play = ran(name), play_of(name)
    assert not host.void
    assert {o.scenario for o in host.observations} == {s.name for s in play.scenarios}
    wanted = {f"sysctl:{key}" for key in play.sysctls_expect} | {
        f"exposure:{n}" for n in play.exposure_expect
    }
    judged = {id_ for id_ in host.expectations if not id_.startswith("kernel:")}
    applying = {id_ for id_ in wanted if id_ not in judged}
    assert judged <= wanted
    assert all(
        any(r.when.kernel for r in play.sysctls_expect[i.removeprefix("sysctl:")]) for i in applying
    )
    unfounded = [f.id for f in host.findings if not f.id.startswith(("exposure:", "sysctl:"))]
    differing = {s.name for s in play.scenarios if s.severity == "info"} | {
        "reread-fin-close",
        "urgent-reread-fin-close",
    }
    assert [
        id_ for id_ in unfounded if id_.partition(":")[2].partition("/")[0] not in differing
    ] == []


@pytest.mark.probe
def test_strict_compares_the_hosts_of_a_build_on_this_machine_too() -> None:
    host = ran("strict")
    told = {f"kernel:same-ending:{o.scenario}/{o.family}" for o in host.observations
            if o.ending not in ("not run", "inconclusive", "sent, not delivered")}  # fmt: skip
    assert {id_ for id_ in host.expectations if id_.startswith("kernel:")} == told
    assert not [f for f in host.findings if f.id.startswith("kernel:")], (
        "one host differs from no other"
    )


# ---- the documentation
# ---------------------------------------------------------------------------------------------


def examples() -> list[Any]:
    text = (ROOT / "docs" / "playbooks.md").read_text("utf-8")
    return [
        pytest.param(block, id=f"block {n}")
        for n, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.S))
    ]


@pytest.mark.parametrize("block", examples())
def test_every_example_of_the_documentation_is_a_playbook_that_reads(block: str) -> None:
    value = yaml.safe_load(block)
    if isinstance(value, dict):  # a part of a play
        head = "- name: x\n  hosts: all\n"
        if "scenarios" not in value:
            head += "  scenarios: [unread-close/*]\n"
        block = head + "".join(f"  {line}\n" for line in block.splitlines())
    assert parse_playbook(block, source="docs/playbooks.md").plays


def test_the_matrix_names_every_scenario_of_the_shipped_playbook_once_and_no_other() -> None:
    named = [name for names in MATRIX["endings"].values() for name in names]
    assert sorted(named) == sorted(
        s.name for play in load_playbook(None).plays for s in play.scenarios
    )
    others = {name for deviation in MATRIX["deviations"] for name in deviation["scenarios"]} | set(
        MATRIX["needs"]
    )
    assert others <= set(named)
