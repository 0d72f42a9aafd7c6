"""The playbooks that come with fleetaudit: each reads, runs on this machine, gives its reasons, and
fits the others.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetaudit.analysis.judge import judge_host
from fleetaudit.model import (
    Host,
    HostPlan,
    Inventory,
    LocalTarget,
    Play,
    Sysctl,
)
from fleetaudit.playbook import load_playbook, parse_playbook, shipped_playbook_names
from fleetaudit.playbook.plan import make_plan
from tests import ROOT
from tests.support.kernel_matrix import MATRIX
from tests.support.runs import K612, Fleet

FOLDER = ROOT / "playbooks"
NAMES = ("firewall", "restarts", "strict", "tcp-sysctls", "timeouts", "unread-close")
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


def test_six_playbooks_are_shipped() -> None:
    assert shipped_playbook_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_editor_finds_the_schema_by_the_first_line(name: str) -> None:
    first = (FOLDER / f"{name}.yml").read_text("utf-8").splitlines()[0]
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert (FOLDER / path).resolve() == ROOT / "fleetaudit" / "schema" / "playbook.schema.json"


# ---- reasons


@pytest.mark.parametrize("name", ["tcp-sysctls", "strict"])
def test_every_expectation_has_a_reason_that_names_its_source(name: str) -> None:
    play = play_of(name)
    for key, rules in {**play.sysctls_expect, **play.exposure_expect}.items():
        for rule in rules:
            assert SOURCE.search(rule.because), key
            assert rule.because.endswith((".", '".')), key


def test_the_baseline_expects_nothing_of_sysctls_that_depend_on_memory() -> None:
    assert not {
        "net.ipv4.tcp_mem",
        "net.ipv4.tcp_max_orphans",
        "net.ipv4.tcp_max_tw_buckets",
    } & set(play_of("tcp-sysctls").sysctls_expect)


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
def test_the_baseline_finds_a_value_that_differs_from_the_expected_one(
    key: str, value: str
) -> None:
    host = Fleet(rules={}).host("a", K612, sysctls={key: Sysctl(value=value)})
    found = {
        f.id: f for f in judge_host(host, plan_of("tcp-sysctls")).findings if f.observed == value
    }
    assert set(found) == {f"sysctl:{key}"}
    assert found[f"sysctl:{key}"].fix.startswith("sysctl -w ")


# ---- strict


def test_strict_runs_the_scenarios_of_unread_close_and_has_no_info_expectation() -> None:
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
def test_the_baseline_can_be_combined_with_each_of_the_others(others: tuple[str, ...]) -> None:
    plan = plan_of(*others)
    assert {s.name for s in plan.scenarios} == {s.name for s in play_of(others[0]).scenarios}
    assert set(plan.sysctls_expect) >= set(play_of("tcp-sysctls").sysctls_expect)


# ---- on this machine


# ---- the documentation


def examples() -> list[Any]:
    text = (ROOT / "docs" / "playbooks.md").read_text("utf-8")
    return [
        pytest.param(block, id=f"block {n}")
        for n, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.S))
    ]


@pytest.mark.parametrize("block", examples())
def test_every_example_of_the_documentation_is_a_valid_playbook(block: str) -> None:
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
