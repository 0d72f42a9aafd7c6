"""The native probe reports what the Python probe reports on the same kernel, whatever the host
allows.
"""

from __future__ import annotations

import re
from collections import Counter

import msgspec
import pytest

from fleetaudit.model import Scenario
from fleetaudit.playbook import load_playbook
from fleetaudit.playbook.phrases import PHRASES
from fleetaudit.playbook.steps import SOCKET_OPTIONS
from fleetaudit.probe.remote import firewall, stories
from fleetaudit.probe.remote.verbs import ENDINGS, VERBS
from tests.support import step_texts
from tests.support.two_probes import (
    STAYING,
    WORLDS,
    Compared,
    Pair,
    compare,
    compare_observations,
    explain,
    host_differences,
    in_world,
    plan_of,
    run_both,
)
from tools.native import SOURCES

pytestmark = pytest.mark.probe


def differences(scenarios: list[Scenario], world: str) -> list[str]:
    """Returns what differs between the two probes in a world."""
    (play,) = load_playbook(None).plays
    plan = plan_of(
        scenarios,
        isolation="host" if world == STAYING else "auto",
        sysctls=play.sysctls_collect,
    )
    pair, compared = compare(plan, in_world(world))
    return [*host_differences(pair), *(explain(each) for each in compared if not each.are_equal)]


@pytest.mark.parametrize("world", WORLDS)
def test_both_probes_report_the_same_of_every_playbook(world: str) -> None:
    assert differences(step_texts.of_playbooks(), world) == []


@pytest.mark.parametrize("world", ["root", "no user namespaces"])
def test_both_probes_report_the_same_of_each_word_that_a_test_has(world: str) -> None:
    chosen = step_texts.shortest_with_each_word(step_texts.of_tests())
    assert len(chosen) > 50
    # In several requests: some steps wait for seconds, and each request has a deadline.
    parts = [chosen[start::5] for start in range(5)]
    assert [each for part in parts for each in differences(part, world)] == []


def test_the_comparison_sees_one_changed_counter_row_event_or_sysctl() -> None:
    (play,) = load_playbook(None).plays
    scenarios = [each for each in play.scenarios if each.name in ("unread-close", "drained-close")]
    plan = plan_of(scenarios, sysctls=["net.ipv4.tcp_fin_timeout"])
    pair = run_both(plan)
    assert all(each.are_equal for each in compare_observations(plan, pair))
    text = msgspec.json.encode(pair.native)
    changes = {
        b'"TCPAbortOnClose":1': b'"TCPAbortOnClose":2',
        b'"R."': b'"R"',
        b'"ECONNRESET"': b'"EPIPE"',
        b'"fionread":5': b'"fionread":4',
    }
    for before, after in changes.items():
        assert before in text
        changed = msgspec.json.decode(text.replace(before, after), type=type(pair.native))
        found = [*compare_observations(plan, Pair(pair.python, changed))]
        assert [each.are_equal for each in found if each.key[0] == "unread-close"] == [False] * 2
    assert [*host_differences(pair)] == []
    key = b'"net.ipv4.tcp_fin_timeout":{"value":"'
    changed = msgspec.json.decode(text.replace(key, key + b"1"), type=type(pair.native))
    (found_one,) = host_differences(Pair(pair.python, changed))
    assert found_one.startswith("sysctls")


def test_each_must_report_what_the_other_one_reports_most_often() -> None:
    def compared(python: dict[str, int], native: dict[str, int]) -> Compared:
        shapes = [probe_counter(python), probe_counter(native)]
        return Compared(("unread-close", "ipv4"), ("RST", "RST"), *shapes)

    assert compared({"a": 3, "b": 1}, {"a": 4}).are_equal
    assert not compared({"a": 3, "b": 1}, {"b": 4}).are_equal
    assert not compared({"a": 1}, {}).are_equal


def probe_counter(shapes: dict[str, int]) -> Counter[str]:
    """Returns how often each shape was reported."""
    return Counter(shapes)


def c_source(name: str) -> str:
    """Returns the text of a source of the native probe."""
    return (SOURCES / name).read_text("ascii")


def test_the_steps_are_the_same_in_the_language_and_in_both_probes() -> None:
    table = re.search(r"VERBS\[\] = \{(.*?)\n\};", c_source("verbs.c"), re.DOTALL)
    assert table
    rows = re.findall(r'\{\s*"([a-z-]+)",(.*?)\}', table[1], re.DOTALL)
    verbs = dict(rows)
    assert len(verbs) == len(rows)
    assert {*stories.STORY_VERBS, *firewall.FIREWALL_VERBS} <= set(VERBS)
    assert set(verbs) == {str(phrase.call[1]) for phrase in PHRASES} == set(VERBS)
    assert {name for name, rest in verbs.items() if "true" in rest} == set(ENDINGS)


def test_the_socket_options_are_the_same_in_the_language_and_in_both_probes() -> None:
    names = re.findall(r'^    \{"([A-Z0-9_]+)",', c_source("options.c"), re.MULTILINE)
    assert sorted(names) == sorted(SOCKET_OPTIONS)
