"""Playbooks: what a file says becomes plays, and whatever makes no sense is refused at its line."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import Play, Playbook, Scenario
from fleetaudit.playbook import (
    is_same_experiment,
    json_schema,
    load_playbook,
    parse_playbook,
    shipped_playbook_names,
)
from tests import ROOT

DEFAULT = ROOT / "playbooks" / "unread-close.yml"
SCHEMA = ROOT / "fleetaudit" / "schema" / "playbook.schema.json"

CONTROLS = """
    - unread-close/drained-close
    - unread-close/zero-linger-close
"""


def read(text: str) -> Play:
    (play,) = parse_playbook(text, source="mine.yml").plays
    return play


def scenarios(body: str, head: str = "") -> str:
    """Returns a playbook of one play with these scenarios; the first of them begins in line 6."""
    return (
        f"- name: Mine\n  hosts: all\n{head} "
        f" scenarios:{CONTROLS}{textwrap.indent(textwrap.dedent(body), '    ')}"
    )


def refusal(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_playbook(text, source="mine.yml")
    assert caught.value.source == "mine.yml"
    return caught.value


MINE = """\
- name: mine
  title: Mine
  steps:
    - peer sends 5 bytes
    - closer closes
  expect: RST
  control: drained-close
  because: Mine.
"""


# ---- the shipped playbook


@pytest.fixture(scope="module")
def shipped() -> Playbook:
    return load_playbook(None)


def by_name(play: Play) -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in play.scenarios}


def test_without_a_name_the_shipped_playbook_is_read(shipped: Playbook) -> None:
    assert shipped.source == "playbooks/unread-close.yml"
    assert shipped == load_playbook(Path("unread-close")) == load_playbook(Path("unread-close.yml"))


def test_every_shipped_playbook_makes_sense() -> None:
    assert "unread-close" in shipped_playbook_names()
    for name in shipped_playbook_names():
        assert load_playbook(Path(name)).plays


def test_every_scenario_of_the_catalogue_has_a_reason_and_a_source(shipped: Playbook) -> None:
    for play in shipped.plays:
        for scenario in play.scenarios:
            assert scenario.because.endswith("."), scenario.name
            assert scenario.title[0].isupper() or scenario.title.startswith("connect("), (
                scenario.name
            )


def test_the_catalogue_has_the_experiments_with_the_heartbeat_of_the_chat_server(
    shipped: Playbook,
) -> None:
    found = by_name(shipped.plays[0])
    assert [step.text for step in found["chat-killed"].steps] == [
        "closer connects",
        "closer sends 1 urgent byte",
        "peer reads the urgent byte",
        "peer sends 1 urgent byte",
        "closer reads the urgent byte",
        "closer is killed",
    ]
    assert found["chat-killed"].expect == ("RST",)
    assert found["unread-and-fin-close"].expect == ("RST",)
    assert found["drained-and-fin-close"].expect == ("FIN",)
    rule = ["unread-repair-close", "unread-zero-linger-close", "zero-linger-close", "drained-close"]
    assert [found[name].expect for name in rule] == [("nothing",), ("RST",), ("RST",), ("FIN",)]
    assert found["window-zero-killed"].expect == ("RST",)


def test_every_reset_of_the_catalogue_has_a_control_without_one_in_the_same_families(
    shipped: Playbook,
) -> None:
    found = by_name(shipped.plays[0])
    for scenario in found.values():
        if {"RST", "FIN, then RST"} & {*scenario.expect} and not scenario.is_positive_control:
            assert scenario.control is not None
            control = found[scenario.control]
            assert control.expect in (("FIN",), ("nothing",))
            assert {*scenario.families} <= {*control.families}


def test_the_catalogue_has_one_positive_control(shipped: Playbook) -> None:
    assert [s.name for s in shipped.plays[0].scenarios if s.is_positive_control] == [
        "zero-linger-close"
    ]


def test_a_lingering_close_blocks_for_a_second_in_one_trial_only(shipped: Playbook) -> None:
    blocking = by_name(shipped.plays[0])["blocked-linger-close"]
    assert (blocking.trials, blocking.families) == (1, ("ipv4",))


def test_the_shipped_playbook_expects_nothing_of_sysctls(
    shipped: Playbook,
) -> None:
    assert shipped.plays[0].sysctls_expect == {}
    assert "net.ipv4.tcp_fin_timeout" in shipped.plays[0].sysctls_collect


# ---- files


def test_a_file_is_read_and_its_path_is_the_source(tmp_path: Path) -> None:
    path = tmp_path / "unread-close.yml"
    path.write_text(scenarios(MINE), "utf-8")
    assert load_playbook(path).source == str(path)


def test_a_file_in_the_current_folder_has_precedence_over_a_shipped_playbook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unread-close.yml").write_text(scenarios(MINE), "utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_playbook(Path("unread-close.yml")).plays[0].name == "Mine"


@pytest.mark.parametrize("name", ["nothing-such", "folder/unread-close.yml"])
def test_a_missing_playbook_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NothingToDoError, match=name):
        load_playbook(Path(name))


WRONG = [
    ("sysctls: {expect: {net.a: []}}", "empty list"),
    ("sysctls: {expect: {net.a: [{equals: 1}, {at_least: 2}]}}", "no value"),
    ("sysctls: {expect: {net.a: {present: false, equals: 1}}}", "no value"),
    ("sysctls: {expect: {net.a: {position: 2}}}", "a position is for"),
    ("sysctls: {expect: {net.a: {position: 2, is_default: true}}}", "a position is for"),
    ("sysctls: {expect: {net.a: {position: 0, equals: 1}}}", ">= 1"),
    ("sysctls: {expect: {net.a: {is_default: false}}}", "only “is_default: true”"),
    ("sysctls: {expect: {net.a: {matches: '('}}}", "not a regular expression"),
    ("sysctls: {expect: {net.a: {matches: '(a+)+'}}}", "repeats a group that itself repeats"),
    ("sysctls: {expect: {net.a: {equals: 1, when: {kernel: 6.1}}}}", "a number where text belongs"),
    (
        "sysctls: {expect: {net.a: {equals: 1, when: {kernel: '6.1'}}}}",
        "not a comparison of a kernel release",
    ),
    ("sysctls: {expect: {net.a: {equals: 1, when: {kernal: '>6'}}}}", "did you mean “kernel”?"),
    ("sysctls: {expect: {net.a: {equals: 1, tags: [a b]}}}", "matching regex"),
    ("exposure: {expect: {aborts: {at_most: 1}}}", "unknown key “aborts”"),
    ("exposure: {expect: {aborts_failed: {}}}", "no test; use at_most or at_least"),
    ("exposure: {expect: {aborts_failed: {at_most: 1, at_least: 2}}}", "no value"),
    ("exposure: {expect: {aborts_failed: {at_most: -1}}}", ">= 0"),
    ("kernels: {expect: {same_ending_within_build: false}}", "only “true”"),
    ("kernels: {expect: {same_ending: true}}", "did you mean “same_ending_within_build”?"),
    ("adjust: {idle-close: {severity: error}}", "this play has no scenario “idle-close”"),
]


# ---- plays


def test_a_play_has_every_value_of_its_file() -> None:
    play = read("""
- name: Ours
  hosts: [web, "db:!old"]
  trials: 2
  families: [ipv4]
  isolation: host
  scenarios:
    - unread-close/drained-close
    - name: mine
      title: Mine
      steps: [closer closes]
      expect: [FIN, nothing]
      severity: error
      trials: 5
  sysctls:
    collect: [net.ipv4.tcp_*]
    expect:
      net.ipv4.tcp_rfc1337: {equals: 1, severity: info, because: "It is\\n old.", fix: sysctl -w x}
      net.ipv4.tcp_rmem: {one_of: ["4096\\t131072 33554432", 5]}
      net.ipv4.tcp_fin_timeout: {at_least: 10, at_most: 60}
""")
    assert (play.name, play.hosts, play.trials, play.isolation) == (
        "Ours",
        "web,db:!old",
        2,
        "host",
    )
    drained, mine = play.scenarios
    assert drained.families == mine.families == play.families == ("ipv4",)
    assert (mine.expect, mine.severity, mine.trials, mine.control) == (
        ("FIN", "nothing"),
        "error",
        5,
        None,
    )
    assert play.sysctls_collect == (
        "net.ipv4.tcp_*",
        "net.ipv4.tcp_rfc1337",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_fin_timeout",
    )
    rules = {key: rule for key, (rule,) in play.sysctls_expect.items()}
    assert (rules["net.ipv4.tcp_rfc1337"].equals, rules["net.ipv4.tcp_rfc1337"].because) == (
        "1",
        "It is old.",
    )
    assert rules["net.ipv4.tcp_rmem"].one_of == ("4096 131072 33554432", "5")
    assert (
        rules["net.ipv4.tcp_fin_timeout"].at_least,
        rules["net.ipv4.tcp_fin_timeout"].at_most,
    ) == (10, 60)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("name: x\nhosts: all\n", 1, "a playbook is a list of plays"),
        ("[]\n", 1, "without a play"),
        ("- name: x\n  hosts: all\n", 1, "is empty"),
        ("- hosts: all\n", 1, "“name” is missing"),
        ("- name: x\n  hosts: all\n  scenaros: []\n", 3, "did you mean “scenarios”?"),
        ("- name: x\n  hosts: ' '\n  scenarios: [unread-close/idle-close]\n", 2, "no hosts"),
        ("- name: x\n  hosts: all\n  trials: 21\n", 3, "<= 20"),
        ("- name: x\n  hosts: all\n  trials: 0\n", 3, ">= 1"),
        ("- name: x\n  hosts: all\n  trials: yes\n", 3, "yes or no where a whole number belongs"),
        ("- name: x\n  hosts: all\n  families: [ipv5]\n", 3, "ipv5"),
        ("- name: x\n  hosts: all\n  families: []\n", 3, "length >= 1"),
        ("- name: x\n  hosts: all\n  isolation: jail\n", 3, "jail"),
        (
            "- name: x\n  hosts: all\n  scenarios:\n    - idle-close\n",
            4,
            "not a scenario: “idle-close”",
        ),
        (
            "- name: x\n  hosts: all\n  scenarios:\n    - unraed-close/x\n",
            4,
            "did you mean “unread-close”?",
        ),
        (
            "- name: x\n  hosts: all\n  scenarios:\n    - unread-close/idel-close\n",
            4,
            "did you mean “idle-close”?",
        ),
        ("- name: x\n  hosts: all\n  sysctls:\n    collect: [kernel.panic]\n", 4, "“kernel.panic”"),
        (
            "- name: x\n  hosts: all\n  sysctls:\n    collect: [net.ipv4.tcp_ä*]\n",
            4,
            "not a sysctl",
        ),
        (
            "- name: x\n  hosts: all\n  sysctls:\n    collect: [net.ipv4/../../etc/passwd]\n",
            4,
            "not a sysctl",
        ),
        (
            "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.ipv4.tcp_*: {equals: 1}\n",
            5,
            "not a sysctl",
        ),
        (
            "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.ipv4.tcp_mem: {}\n",
            5,
            "no test",
        ),
        (
            "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.a: {equals: yes}\n",
            5,
            "yes or no where",
        ),
        (
            "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.a: {eqals: 1}\n",
            5,
            "did you mean “equals”?",
        ),
        (
            (
                "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.a: {at_least: 5,"
                " at_most: 4}\n"
            ),
            5,
            "no value",
        ),
        (
            (
                "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.a: {equals: 3,"
                " at_least: 5}\n"
            ),
            5,
            "no value",
        ),
        (
            (
                "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.a: {equals: 3, one_of:"
                " [4]}\n"
            ),
            5,
            "no value",
        ),
        (
            (
                "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.a: {one_of: [1, 2],"
                " at_least: 3}\n"
            ),
            5,
            "no value",
        ),
        (
            (
                "- name: x\n  hosts: all\n  sysctls:\n    expect:\n      net.a: {equals: cubic,"
                " at_most: 3}\n"
            ),
            5,
            "no value",
        ),
        *((f"- name: x\n  hosts: all\n  {text}\n", 3, said) for text, said in WRONG),
    ],
)
def test_a_play_that_makes_no_sense_is_refused_at_its_line(text: str, line: int, said: str) -> None:
    error = refusal(text)
    assert said in str(error)
    assert error.line == line


# ---- scenarios


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("name: mine", "name: Mine", 6, "matching regex"),
        ("name: mine", "name: positive", 6, "“positive” cannot be a name"),
        ("name: mine", "name: drained-close", 6, "defined twice; the first is in line 4"),
        ("title: Mine", "titel: Mine", 7, "did you mean “title”?"),
        ("peer sends 5 bytes", "peer sedns 5 bytes", 9, "“sedns” does not fit in the step"),
        ("peer sends 5 bytes", "peer sedns 5 bytes", 9, "expected here: closes, connects,"),
        ("peer sends 5 bytes", "closer closes", 10, "closer is gone"),
        (
            "- peer sends 5 bytes\n    - closer closes",
            "- peer sends 5 bytes",
            9,
            "no step ends anything",
        ),
        (
            "expect: RST",
            "expect: rst",
            11,
            "“rst” is not one of “FIN”, “FIN, then RST”, “RST”, “nothing”",
        ),
        ("expect: RST", "expect: inconclusive", 11, "inconclusive"),
        ("expect: RST", "expect: []", 11, "length"),
        ("expect: RST", "expect: [RST, FIN]", 12, "may end the same way"),
        (
            "control: drained-close\n",
            "control: drained-clsoe\n",
            12,
            "did you mean “drained-close”?",
        ),
        (
            "control: drained-close\n",
            "control: idle-close\n",
            12,
            "add “- unread-close/idle-close”",
        ),
        ("control: drained-close\n", "control: zero-linger-close\n", 12, "may end the same way"),
        ("control: drained-close\n", "severity: info\n", 11, "names no control"),
        ("control: drained-close\n", "severity: erorr\n", 12, "did you mean “error”?"),
        (
            "expect: RST\n  control: drained-close",
            "expect: FIN\n  control: positive",
            11,
            "expects RST, and nothing",
        ),
        ("peer sends 5 bytes", "peer connects over AF_UNIX", 12, "does not run over unix"),
        ("expect: RST", "families: [ipv4]\n  expect: RST", 0, ""),
        ("expect: RST", "trials: 1\n  expect: RST", 0, ""),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused_at_its_line(
    old: str, new: str, line: int, said: str
) -> None:
    assert old in MINE
    text = scenarios(MINE.replace(old, new))
    if not said:
        assert read(text).scenarios[-1].name == "mine"
        return
    error = refusal(text)
    assert said in str(error)
    assert error.line == line


def test_a_scenario_over_none_of_the_plays_families_is_refused() -> None:
    mapped = MINE.replace("- peer sends", "- peer connects over IPv4-mapped IPv6\n    - peer sends")
    assert (
        "none of the play's families" in refusal(scenarios(mapped, "  families: [ipv4]\n")).message
    )


def test_a_reset_without_a_positive_control_is_refused_with_a_remedy() -> None:
    text = (
        "- name: x\n  hosts: all\n  scenarios:\n    - unread-close/idle-close\n"
        + textwrap.indent(MINE.replace("drained-close", "idle-close"), "    ")
    )
    error = refusal(text)
    assert "no positive control" in error.message
    assert error.line == 5
    assert read(text + "    - unread-close/zero-linger-close\n")


def test_a_control_that_names_a_control_itself_is_refused() -> None:
    chained = MINE + MINE.replace("name: mine", "name: twin").replace(
        "expect: RST", "expect: nothing"
    ).replace("drained-close", "mine")
    assert "names a control itself" in refusal(scenarios(chained)).message


# ---- a scenario that a play adjusts

TAKEN = "- name: x\n  hosts: all\n  scenarios: [unread-close/*]\n  adjust:\n"


def adjusted(text: str, name: str) -> Scenario:
    return by_name(read(f"{TAKEN}    {name}: {text}\n"))[name]


def test_an_adjusted_scenario_differs_from_the_shipped_one_only_in_what_is_set(
    shipped: Playbook,
) -> None:
    found = adjusted(
        "{severity: error, fix: Ours., when: {kernel: '>=6.1', groups: web}}", "reread-fin-close"
    )
    was = by_name(shipped.plays[0])["reread-fin-close"]
    assert (found.severity, found.fix, found.expect) == ("error", "Ours.", ("FIN",))
    assert (found.when.kernel, found.when.groups) == (">=6.1", ("web",))
    assert (found.steps, found.families, found.because) == (was.steps, was.families, was.because)
    assert adjusted("{trials: 9, because: Mine., tags: [a]}", "idle-close").trials == 9


def test_an_adjusted_ending_needs_a_control_if_it_becomes_a_reset() -> None:
    assert "names no control" in refusal(f"{TAKEN}    reread-fin-close: {{expect: RST}}\n").message
    found = adjusted("{expect: RST, control: drained-close}", "reread-fin-close")
    assert (found.expect, found.control) == (("RST",), "drained-close")
    assert adjusted("{expect: FIN}", "unread-close").control is None


def test_an_adjusted_control_must_still_end_the_other_way() -> None:
    error = refusal(
        f"{TAKEN}    drained-close: {{expect: [FIN, nothing, 'FIN, then RST'], control:"
        " idle-close}\n"
    )
    assert "may end the same way" in error.message


def test_the_positive_control_stays_one_when_its_severity_is_adjusted() -> None:
    assert adjusted("{severity: error}", "zero-linger-close").is_positive_control


def test_an_unknown_name_that_is_adjusted_is_refused_with_a_similar_one() -> None:
    error = refusal(f"{TAKEN}    reread-fin-clsoe: {{severity: error}}\n")
    assert "did you mean “reread-fin-close”?" in error.message
    assert error.line == 5


# ---- plays that contradict each other


@pytest.mark.parametrize(
    ("one", "other", "refused"), [("all", "web", True), ("web", "web", True), ("web", "db", False)]
)
def test_plays_that_share_hosts_and_contradict_each_other_are_refused_when_they_are_read(
    one: str, other: str, refused: bool
) -> None:
    text = (
        f"- name: One\n  hosts: {one}\n  sysctls: {{expect: {{net.a: {{at_least: 5}}}}}}\n"
        f"- name: Two\n  hosts: {other}\n  sysctls: {{expect: {{net.a: {{at_most: 4}}}}}}\n"
    )
    if not refused:
        assert len(parse_playbook(text, source="mine.yml").plays) == 2
        return
    error = refusal(text)
    assert "expect different things of net.a" in error.message
    assert error.line == 6


# ---- shipped scenarios in a playbook of one's own


def test_shipped_scenarios_are_taken_by_name_with_the_controls_that_they_need(
    shipped: Playbook,
) -> None:
    play = read("- name: x\n  hosts: all\n  scenarios:\n    - unread-close/unread-killed\n")
    assert [s.name for s in play.scenarios] == [
        "zero-linger-close",
        "drained-killed",
        "unread-killed",
    ]
    found = by_name(shipped.plays[0])
    assert all(found[s.name] == s for s in play.scenarios)


def test_a_glob_takes_many_in_the_order_of_the_catalogue_and_none_twice(shipped: Playbook) -> None:
    play = read(
        "- name: x\n  hosts: all\n  scenarios:\n    - unread-close/*\n    - unread-close/urgent-*\n"
    )
    assert play.scenarios == shipped.plays[0].scenarios


def test_a_taken_scenario_without_a_reset_brings_no_positive_control() -> None:
    play = read("- name: x\n  hosts: all\n  scenarios:\n    - unread-close/idle-close\n")
    assert [s.name for s in play.scenarios] == ["idle-close"]


def test_a_shipped_scenario_runs_over_the_plays_families_and_is_left_out_without_any() -> None:
    play = read("- name: x\n  hosts: all\n  families: [ipv4]\n  scenarios:\n    - unread-close/*\n")
    assert {s.families for s in play.scenarios} == {("ipv4",), ("unix",)}
    assert "mapped-unread-close" not in by_name(play)


def test_two_plays_with_different_scenarios_of_one_name_are_refused() -> None:
    other = scenarios(MINE.replace("5 bytes", "6 bytes")).replace("name: Mine", "name: Other")
    error = refusal(scenarios(MINE) + other)
    assert "the play “Other” defines “mine” differently from the play “Mine”" in error.message


def test_two_plays_may_run_one_scenario_over_different_families_and_as_often_as_they_like() -> None:
    other = scenarios(MINE + "  trials: 1\n", "  families: [ipv6]\n")
    one, two = parse_playbook(scenarios(MINE) + other, source="mine.yml").plays
    assert is_same_experiment(one.scenarios[-1], two.scenarios[-1])
    assert one.scenarios[-1] != two.scenarios[-1]


# ---- the published schema


def test_the_published_schema_is_current() -> None:
    hint = "python -c 'from fleetaudit.playbook import write_schema; write_schema()'"
    assert SCHEMA.read_text("utf-8") == json_schema(), hint


def test_the_schema_accepts_the_shipped_playbooks_and_refuses_what_the_parser_refuses() -> None:
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for shipped_file in sorted(DEFAULT.parent.glob("*.yml")):
        validator.validate(yaml.safe_load(shipped_file.read_text("utf-8")))
    validator.validate(yaml.safe_load(scenarios(MINE)))
    for wrong in ("titel: Mine", "expect: rst", "severity: fatal", "trials: 21"):
        key = wrong.split(":")[0]
        body = MINE.replace("title: Mine", wrong) if key == "titel" else MINE + f"  {wrong}\n"
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(yaml.safe_load(scenarios(body)))
