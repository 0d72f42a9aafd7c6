"""Remedies: the right one for each case, and none if nothing is known."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.analysis.remediation import REREAD_FIXED, scenario_remedy, sysctl_remedy
from fleetaudit.model import (
    Audited,
    Evidence,
    Kernel,
    Scenario,
    Sysctl,
    SysctlExpectation,
)
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.expectation_tests import meets
from tests.support.runs import observe

CATALOGUE = {s.name: s for play in load_playbook(None).plays for s in play.scenarios}


def catalogued(name: str, *expect: str) -> Scenario:
    found = CATALOGUE[name]
    return msgspec.structs.replace(found, expect=expect) if expect else found


# ---- endings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["unread-close", "partly-read-close", "urgent-read-close", "unread-half-close"]
)
def test_a_reset_for_unread_data_has_a_remedy_in_the_application_and_no_sysctl(name: str) -> None:
    ending = CATALOGUE[name].expect[0]
    remedy = scenario_remedy(
        catalogued(name, "FIN"), observe(CATALOGUE[name], "ipv4", ending), "6.12.0"
    )
    assert all(
        word in remedy for word in ("shutdown(SHUT_WR)", "in bytes and in time", "No sysctl")
    )


def test_a_reset_that_the_kernel_does_not_count_for_unread_data_has_no_such_remedy() -> None:
    silent = msgspec.structs.replace(
        observe(CATALOGUE["unread-close"], "ipv4", "RST"), evidence=Evidence()
    )
    assert scenario_remedy(catalogued("unread-close", "FIN"), silent, "6.12.0") == ""


def reread(release: str) -> str:
    scenario = CATALOGUE["reread-fin-close"]
    return scenario_remedy(scenario, observe(scenario, "ipv4", "RST"), release)


@pytest.mark.parametrize(
    ("release", "fixed"),
    [
        ("5.4.300", "5.4.301"),
        ("5.10.218", "5.10.246"),
        ("5.15.3-custom", "5.15.195"),
        ("6.1.20", "6.1.156"),
        ("6.6.1", "6.6.112"),
        ("6.12.43+deb13-amd64", "6.12.53"),
        ("6.17.1", "6.17.3"),
    ],
)
def test_a_reset_after_read_data_came_again_names_the_first_fixed_release_of_the_hosts_own_series(
    release: str, fixed: str
) -> None:
    words = reread(release)
    series = ".".join(release.split(".")[:2])
    assert f"upstream's {series} series has it from {fixed} on" in words
    assert [other for other in REREAD_FIXED.values() if other in words] == [fixed]
    assert "whatever its number says" in words, (
        "a number proves nothing about a distribution's kernel"
    )
    assert "vendor" not in words


@pytest.mark.parametrize(
    ("release", "next_fixed"),
    [("4.19.325", "5.4.301"), ("6.13.12", "6.17.3"), ("3.10.0", "5.4.301")],
)
def test_a_series_that_ended_without_the_fix_names_the_next_series_that_has_it(
    release: str, next_fixed: str
) -> None:
    series = ".".join(release.split(".")[:2])
    assert f"no upstream release of {series} has 5f9238530970" in reread(release)
    assert f"from {next_fixed} on" in reread(release)


def test_a_kernel_that_should_have_the_fix_is_to_be_measured_again() -> None:
    for release in ("7.2.13", "6.19.0-rc1", "7.3-rc7"):
        assert "so this kernel should have it: measure again" in reread(release)


@pytest.mark.parametrize(
    "release",
    [
        "5.14.0-427.el9.x86_64",
        "6.1.0-30-amd64",
        "6.8.0-45-generic",
        "6.4.0-150600.23-default",
        "5.10.226-214.amzn2",
    ],
)
def test_the_vendor_of_a_kernel_decides_whatever_its_number(release: str) -> None:
    assert "the vendor decides about the fix: install the vendor's newest kernel" in reread(release)
    assert "no upstream release of 5.14 has" in reread("5.14.0-427.el9.x86_64")
    assert "6.1 series has it from 6.1.156 on" in reread("6.1.0-30-amd64")


@given(st.text(max_size=40))
def test_an_odd_kernel_release_gets_general_advice_without_text_of_the_host(
    release: str,
) -> None:
    words = reread(f"x{release}")
    assert words == reread("")
    assert "mainline has it since 6.18" in words


def test_hosts_of_one_series_have_the_same_remedy() -> None:
    assert reread("6.12.1") == reread("6.12.43")
    assert reread("6.12.1") != reread("6.6.1")


def test_remedies_of_mptcp_and_af_unix_name_the_kernel_fix() -> None:
    for name, commit in (
        ("mptcp-unread-close", "d21f83485518"),
        ("mptcp-zero-linger-close", "f14d6e9c3678"),
    ):
        assert commit in scenario_remedy(
            CATALOGUE[name], observe(CATALOGUE[name], "ipv4", "FIN"), "6.0.1"
        )
        assert commit in CATALOGUE[name].because
    urgent = CATALOGUE["unix-urgent-read-close"]
    assert "2a5a4841846b" in scenario_remedy(urgent, observe(urgent, "unix", "RST"), "6.12.0")
    unread = catalogued("unix-unread-close", "FIN")
    assert scenario_remedy(unread, observe(unread, "unix", "RST"), "6.12.0") == ""


def test_a_lost_segment_points_to_the_firewall_chain_that_the_counters_show() -> None:
    scenario = CATALOGUE["unread-close"]
    left = observe(scenario, "ipv4", "sent, not delivered")
    assert "chain OUTPUT" in scenario_remedy(scenario, left, "6.12.0")
    assert "chain INPUT" in scenario_remedy(
        scenario, msgspec.structs.replace(left, evidence=Evidence(kernel={})), "6.12.0"
    )


@pytest.mark.parametrize("name", ["unread-close", "drained-close", "unread-repair-close"])
def test_an_ending_without_a_known_remedy_has_none(name: str) -> None:
    assert (
        scenario_remedy(CATALOGUE[name], observe(CATALOGUE[name], "ipv4", "nothing"), "6.12.0")
        == ""
    )


# ---- sysctls -------------------------------------------------------------------------------------


def host(sysctl: Sysctl | None, *, key: str = "net.x", **more: Any) -> Audited:
    """Returns a host of which one sysctl was read, and that no file sets it."""
    return Audited(
        name="a",
        kernel=Kernel(release="6.12.0", version="#1", machine="x86_64"),
        isolation="namespace",
        sysctls={key: sysctl} if sysctl else {},
        **{"sysctl_places": {}, **more},
    )


@pytest.mark.parametrize(
    ("rules", "sysctl", "expected"),
    [
        ([SysctlExpectation(equals="1")], Sysctl(value="0"), "1"),
        ([SysctlExpectation(one_of=("0", "2"))], Sysctl(value="1"), "0"),
        ([SysctlExpectation(at_least=10)], Sysctl(value="9"), "10"),
        ([SysctlExpectation(at_most=60)], Sysctl(value="99"), "60"),
        ([SysctlExpectation(at_least=10, at_most=60)], Sysctl(value="9"), "10"),
        ([SysctlExpectation(is_default=True)], Sysctl(value="9", default="5"), "5"),
        (
            [SysctlExpectation(position=3, at_least=6291456)],
            Sysctl(value="4096\t131072\t1"),
            "4096 131072 6291456",
        ),
        (
            [SysctlExpectation(position=1, at_least=9), SysctlExpectation(position=2, at_most=3)],
            Sysctl(value="1 4"),
            "9 3",
        ),
    ],
)
def test_a_sysctl_is_set_to_the_nearest_value_that_meets_all_expectations(
    rules: list[SysctlExpectation], sysctl: Sysctl, expected: str
) -> None:
    first, _, second = sysctl_remedy("net.x", rules, host(sysctl)).partition(" && ")
    assert shlex.split(first) == ["sysctl", "-w", f"net.x={expected}"]
    assert shlex.split(second) == [
        "printf",
        r"\n%s\n",
        f"net.x = {expected}",
        ">>/etc/sysctl.d/zzz_fleetaudit.conf",
    ]


@pytest.mark.parametrize(
    ("rule", "sysctl"),
    [
        (SysctlExpectation(equals="1"), None),
        (SysctlExpectation(equals="1"), Sysctl(state="absent")),
        (SysctlExpectation(present=False), Sysctl(value="1")),
        (SysctlExpectation(is_default=True), Sysctl(value="1")),
        (SysctlExpectation(matches="a|b"), Sysctl(value="c")),
        (SysctlExpectation(at_least=1), Sysctl(value="0 0")),
        (SysctlExpectation(position=4, equals="1"), Sysctl(value="0 0")),
        (SysctlExpectation(is_default=True), Sysctl(value="1", default="$(reboot)")),
        (SysctlExpectation(position=2, equals="1"), Sysctl(value="`reboot` 0")),
    ],
)
def test_without_a_known_or_harmless_value_there_is_no_command(
    rule: SysctlExpectation, sysctl: Sysctl | None
) -> None:
    assert sysctl_remedy("net.x", [rule], host(sysctl)) == ""


LOW = [SysctlExpectation(at_most=60)]
HIGH = Sysctl(value="300")


@pytest.mark.parametrize(
    ("places", "files"),
    [
        ((), ["/etc/sysctl.d/zzz_fleetaudit.conf"]),
        (("/etc/sysctl.conf:68",), ["/etc/sysctl.conf", "/etc/sysctl.d/zzz_fleetaudit.conf"]),
        (("/etc/sysctl.d/50-web.conf:1",), ["/etc/sysctl.d/50-web.conf"]),
        (("/usr/lib/sysctl.d/50-default.conf:9",), ["/etc/sysctl.d/zzz_fleetaudit.conf"]),
        (("/run/sysctl.d/zzzz.conf:9",), ["/run/sysctl.d/zzzz.conf"]),
        (
            ("/etc/sysctl.conf:1", "/etc/sysctl.d/zzz.conf:2"),
            ["/etc/sysctl.conf", "/etc/sysctl.d/zzz_fleetaudit.conf", "/etc/sysctl.d/zzz.conf"],
        ),
    ],
)
def test_a_sysctl_is_set_in_the_file_that_wins_at_boot(
    places: tuple[str, ...], files: list[str]
) -> None:
    fix = sysctl_remedy("net.x", LOW, host(HIGH, sysctl_places={"net.x": places} if places else {}))
    assert [word.removeprefix(">>") for word in shlex.split(fix) if "/" in word] == files


def test_if_the_files_could_not_be_read_the_line_is_added_where_it_always_wins() -> None:
    fix = sysctl_remedy("net.x", LOW, host(HIGH, sysctl_places=None))
    assert fix.endswith("| tee -a /etc/sysctl.conf /etc/sysctl.d/zzz_fleetaudit.conf")


def test_if_proc_sys_is_read_only_there_is_a_sentence_and_no_command() -> None:
    fix = sysctl_remedy("net.x", LOW, host(HIGH, sysctls_writable=False))
    assert "sysctl -w" not in fix
    assert fix.startswith("Set net.x = 60 where this container is started")
    assert fix.endswith(".")  # so that the page offers no button to copy it


def test_a_sysctl_of_a_module_is_set_after_the_module_is_loaded() -> None:
    key = "net.bridge.bridge-nf-call-iptables"
    present = host(Sysctl(value="1"), key=key)
    assert sysctl_remedy(key, [SysctlExpectation(equals="0")], present).startswith(
        "echo br_netfilter >>/etc/modules-load.d/fleetaudit.conf && sysctl -w"
        " net.bridge.bridge-nf-call-iptables=0 && "
    )
    absent = sysctl_remedy(
        key, [SysctlExpectation(equals="0")], host(Sysctl(state="absent"), key=key)
    )
    assert "exists only while the module br_netfilter is loaded" in absent
    assert (
        sysctl_remedy(
            key, [SysctlExpectation(present=False)], host(Sysctl(state="absent"), key=key)
        )
        == ""
    )


_text = st.text(alphabet="09 $`'\";|&\n\\ab", max_size=8)


@given(value=_text, default=_text, position=st.none() | st.integers(1, 3), bound=st.integers(0, 99))
def test_the_command_has_one_argument_that_meets_the_expectations_whatever_the_host_sent(
    value: str, default: str, position: int | None, bound: int
) -> None:
    rules = [
        SysctlExpectation(position=position, at_least=bound),
        SysctlExpectation(is_default=True),
    ]
    for some in (rules, rules[:1], rules[1:]):
        fix = sysctl_remedy("net.x", some, host(Sysctl(value=value, default=default)))
        if fix:
            words = shlex.split(fix.partition(" && ")[0])
            assert words[:2] == ["sysctl", "-w"]
            assert len(words) == 3
            assert all(meets(words[2].removeprefix("net.x="), rule) for rule in some)


# ---- production ----------------------------------------------------------------------------------
