"""The key `watch` of a play: for how long, whether peers are reported, and what is expected."""

from __future__ import annotations

import json

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from fleetaudit.app.planning import render_plan
from fleetaudit.app.scenarios import render_scenarios
from fleetaudit.errors import InputError
from fleetaudit.model import HostPlan, Plan, Play, Watch
from fleetaudit.playbook import json_schema, parse_playbook
from tests.unit.playbook.test_plan import book, of, plan

WHOLE = """\
- name: Mine
  hosts: all
  watch:
    for: 5m
    peers: true
    expect:
      resets: {at_most: 10, severity: error, tags: [loud]}
      unread_data_resets: {at_most: 0, because: Clients lose answers., fix: Call Bob.}
"""


def text_of(watch: str) -> str:
    return f"- name: Mine\n  hosts: all\n  watch: {watch}\n"


def read(watch: str) -> Play:
    (play,) = parse_playbook(text_of(watch), source="mine.yml").plays
    return play


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        ("60s", Watch(seconds=60.0)),
        ("5m", Watch(seconds=300.0)),
        ("90", Watch(seconds=90.0)),
        ("1.5", Watch(seconds=1.5)),
        ("1h", Watch(seconds=3600.0)),
        ("{}", Watch(seconds=60.0)),
        ("{for: 30s, peers: true}", Watch(seconds=30.0, peers=True)),
    ],
)
def test_a_watch_is_a_length_of_time_or_a_mapping(watch: str, expected: Watch) -> None:
    assert read(watch).watch == expected
    jsonschema.validate(yaml.safe_load(text_of(watch)), json.loads(json_schema()))


@pytest.mark.parametrize(
    ("watch", "line", "message"),
    [
        ("soon", 3, "not a length of time; write it as 60s, 5m or 1h"),
        ("0", 3, "a watch lasts from 1s to 1h"),
        ("0.9s", 3, "a watch lasts from 1s to 1h"),
        ("2h", 3, "a watch lasts from 1s to 1h"),
        (".nan", 3, "a watch lasts from 1s to 1h"),
        ("-.inf", 3, "a watch lasts from 1s to 1h"),
        ("true", 3, "yes or no where"),
        ("[60s]", 3, "a list where"),
        ("{for: never}", 3, "not a length of time"),
        ("\n    peers: true\n    for: 2h", 5, "a watch lasts from 1s to 1h"),
        ("{four: 60s}", 3, "did you mean “for”?"),
        ("{peers: maybe}", 3, "text where yes or no belongs"),
        ("{expect: {reset: {at_most: 0}}}", 3, "did you mean “resets”?"),
        ("{expect: {resets: {}}}", 3, "no test; use at_most or at_least"),
        ("{expect: {resets: {at_most: 1, at_least: 2}}}", 3, "no value can meet all of this"),
        ("{expect: {resets: {at_most: -1}}}", 3, ">= 0"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_line(watch: str, line: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(watch)
    assert message in caught.value.message
    assert (caught.value.source, caught.value.line) == ("mine.yml", line)


def test_expectations_have_their_lines_by_the_ids_of_their_findings() -> None:
    made = parse_playbook(WHOLE, source="mine.yml")
    assert made.lines == {"watch:resets": 7, "watch:unread_data_resets": 8}
    (rule,) = made.plays[0].watch_expect["unread_data_resets"]
    assert (rule.at_most, rule.because, rule.fix) == (0, "Clients lose answers.", "Call Bob.")


def test_plays_that_expect_different_numbers_of_all_hosts_are_refused() -> None:
    other = WHOLE.replace("at_most: 10", "at_least: 11").replace("Mine", "Other")
    with pytest.raises(InputError, match="expect different things of resets") as caught:
        parse_playbook(WHOLE + other, source="mine.yml")
    assert caught.value.line == 15


# ---- the plan


def planned(text: str = WHOLE, **options: list[str]) -> HostPlan:
    return of(plan(book(text), **options), "web1")


def test_the_longest_watch_of_all_plays_is_planned() -> None:
    made = planned(text_of("30s") + text_of("{for: 20s, peers: true}") + text_of("10s"))
    assert made.watch == Watch(seconds=30.0, peers=True)
    assert made.extra_s == 30.0


def test_a_tag_of_an_expectation_selects_the_watch_with_it() -> None:
    made = planned(tags=["loud"])
    assert made.watch == Watch(seconds=300.0, peers=True)
    assert set(made.watch_expect) == {"resets"}


def test_a_skipped_tag_leaves_the_watch_and_the_other_expectations() -> None:
    made = planned(skip_tags=["loud"])
    assert made.watch is not None
    assert set(made.watch_expect) == {"unread_data_resets"}


def test_a_watch_has_the_tags_of_its_play() -> None:
    tagged = text_of("60s") + "  tags: [slow]\n"
    both = tagged + "- {name: Other, hosts: all, sysctls: {collect: [net.ipv4.tcp_sack]}}\n"
    assert planned(both, skip_tags=["slow"]).watch is None
    assert planned(both, tags=["slow"]).watch == Watch(seconds=60.0)


def test_a_check_names_the_watch() -> None:
    host = planned()
    assert "0 scenarios, 3 trials, 0 sysctl patterns, watched for 300 s" in render_plan(
        Plan(playbooks=("mine.yml",), hosts=(host,), lines={})
    )


def test_the_list_of_scenarios_has_the_watch_and_its_expectations(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("books") / "mine.yml"
    path.write_text(WHOLE, encoding="utf-8")
    assert render_scenarios([str(path)], width=80).splitlines() == [
        "watch  (300 s)",
        "  Which programs of “hosts: all” reset connections; needs root",
        "  expect: resets at most 10 (error)",
        "  expect: unread_data_resets at most 0 (warning)",
        "",
    ]
