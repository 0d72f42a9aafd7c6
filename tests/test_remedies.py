"""What a finding says to do: the right words for the right case, and nothing where nothing is known."""

from __future__ import annotations

import shlex
import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.model import Evidence, Scenario, Sysctl, SysctlRule
from fleetaudit.playbook import load_playbook
from fleetaudit.remedies import ANY_NUMBER, EXPOSURE, for_scenario, for_sysctl
from fleetaudit.rules import holds

from .runs import observe

CATALOGUE = {s.name: s for play in load_playbook(None).plays for s in play.scenarios}


def catalogued(name: str, *expect: str) -> Scenario:
    found = CATALOGUE[name]
    return msgspec.structs.replace(found, expect=expect) if expect else found


# ---- endings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unread-close", "partly-read-close", "urgent-read-close", "unread-half-close"])
def test_a_reset_for_unread_data_is_cured_in_the_application_and_by_no_sysctl(name: str) -> None:
    ending = CATALOGUE[name].expect[0]
    said = for_scenario(catalogued(name, "FIN"), observe(CATALOGUE[name], "ipv4", ending))
    assert all(word in said for word in ("shutdown(SHUT_WR)", "in bytes and in time", "No sysctl"))


def test_a_reset_that_the_kernel_does_not_count_as_one_for_unread_data_has_no_such_cure() -> None:
    silent = msgspec.structs.replace(observe(CATALOGUE["unread-close"], "ipv4", "RST"), evidence=Evidence())
    assert for_scenario(catalogued("unread-close", "FIN"), silent) == ""


def test_a_reset_after_read_data_came_again_names_the_fixed_release_of_each_series_as_the_catalogue_does() -> None:
    scenario = CATALOGUE["reread-fin-close"]
    words = for_scenario(scenario, observe(scenario, "ipv4", "RST"))
    for release in ("6.18", "6.17.3", "6.12.53", "6.6.112", "6.1.156", "5.15.195", "5.10.246", "5.4.301"):
        assert release in words
        assert release in scenario.because
    assert ANY_NUMBER in words, "a number proves nothing about a distribution's kernel"


def test_mptcp_and_af_unix_name_the_kernel_change_that_their_ending_waits_for() -> None:
    for name, commit in (("mptcp-unread-close", "d21f83485518"), ("mptcp-zero-linger-close", "f14d6e9c3678")):
        assert commit in for_scenario(CATALOGUE[name], observe(CATALOGUE[name], "ipv4", "FIN"))
        assert commit in CATALOGUE[name].because
    urgent = CATALOGUE["unix-urgent-read-close"]
    assert "2a5a4841846b" in for_scenario(urgent, observe(urgent, "unix", "RST"))
    unread = catalogued("unix-unread-close", "FIN")
    assert for_scenario(unread, observe(unread, "unix", "RST")) == ""


def test_what_did_not_arrive_points_to_the_firewalls_chain_that_the_counters_speak_for() -> None:
    scenario = CATALOGUE["unread-close"]
    left = observe(scenario, "ipv4", "sent, not delivered")
    assert "chain OUTPUT" in for_scenario(scenario, left)
    assert "chain INPUT" in for_scenario(scenario, msgspec.structs.replace(left, evidence=Evidence(kernel={})))


@pytest.mark.parametrize("name", ["unread-close", "drained-close", "unread-repair-close"])
def test_an_ending_that_nothing_is_known_about_has_no_cure(name: str) -> None:
    assert for_scenario(CATALOGUE[name], observe(CATALOGUE[name], "ipv4", "nothing")) == ""


# ---- sysctls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "sysctl", "wanted"),
    [
        ([SysctlRule(equals="1")], Sysctl(value="0"), "1"),
        ([SysctlRule(one_of=("0", "2"))], Sysctl(value="1"), "0"),
        ([SysctlRule(at_least=10)], Sysctl(value="9"), "10"),
        ([SysctlRule(at_most=60)], Sysctl(value="99"), "60"),
        ([SysctlRule(at_least=10, at_most=60)], Sysctl(value="9"), "10"),
        ([SysctlRule(is_default=True)], Sysctl(value="9", default="5"), "5"),
        ([SysctlRule(position=3, at_least=6291456)], Sysctl(value="4096\t131072\t1"), "4096 131072 6291456"),
        ([SysctlRule(position=1, at_least=9), SysctlRule(position=2, at_most=3)], Sysctl(value="1 4"), "9 3"),
    ],
)
def test_a_sysctl_is_set_to_the_nearest_value_that_meets_all_rules(
    rules: list[SysctlRule], sysctl: Sysctl, wanted: str
) -> None:
    first, _, second = for_sysctl("net.x", rules, sysctl).partition(" && ")
    assert shlex.split(first) == ["sysctl", "-w", f"net.x={wanted}"]
    assert shlex.split(second) == ["echo", f"net.x = {wanted}", ">>/etc/sysctl.d/60-fleetaudit.conf"]


@pytest.mark.parametrize(
    ("rule", "sysctl"),
    [
        (SysctlRule(equals="1"), None),
        (SysctlRule(equals="1"), Sysctl(state="absent")),
        (SysctlRule(present=False), Sysctl(value="1")),
        (SysctlRule(is_default=True), Sysctl(value="1")),
        (SysctlRule(matches="a|b"), Sysctl(value="c")),
        (SysctlRule(at_least=1), Sysctl(value="0 0")),
        (SysctlRule(position=4, equals="1"), Sysctl(value="0 0")),
        (SysctlRule(is_default=True), Sysctl(value="1", default="$(reboot)")),
        (SysctlRule(position=2, equals="1"), Sysctl(value="`reboot` 0")),
    ],
)
def test_where_no_value_is_known_or_a_host_said_something_odd_there_is_no_command(
    rule: SysctlRule, sysctl: Sysctl | None
) -> None:
    assert for_sysctl("net.x", [rule], sysctl) == ""


_text = st.text(alphabet="09 $`'\";|&\n\\ab", max_size=8)


@given(value=_text, default=_text, position=st.none() | st.integers(1, 3), bound=st.integers(0, 99))
def test_whatever_a_host_said_the_command_is_one_argument_that_meets_the_rules(
    value: str, default: str, position: int | None, bound: int
) -> None:
    rules = [SysctlRule(position=position, at_least=bound), SysctlRule(is_default=True)]
    for asked in (rules, rules[:1], rules[1:]):
        fix = for_sysctl("net.x", asked, Sysctl(value=value, default=default))
        if fix:
            words = shlex.split(fix.partition(" && ")[0])
            assert words[:2] == ["sysctl", "-w"]
            assert len(words) == 3
            assert all(holds(words[2].removeprefix("net.x="), rule) for rule in asked)


# ---- production ----------------------------------------------------------------------------------------------------


def test_the_command_that_shows_unread_sockets_is_one_that_runs() -> None:
    command = EXPOSURE["unread_sockets"].partition("“")[2].partition("”")[0]
    assert command.startswith("ss -Htnp")
    try:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    except FileNotFoundError:  # pragma: no cover
        pytest.skip("no sh")
    if done.returncode == 127 or "not found" in done.stderr:
        pytest.skip(f"not installed: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
