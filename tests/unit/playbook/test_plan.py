"""The plan: every selected host exactly once, asked the union of what its plays ask."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.model import (
    Host,
    HostPlan,
    Inventory,
    LocalTarget,
    NotAudited,
    NotSelected,
    Plan,
    Playbook,
    SshTarget,
)
from fleetaudit.playbook import load_playbook, parse_playbook
from fleetaudit.playbook.plan import make_plan

HOSTS = ("web2", "web1", "db1", "cache1")


def inventory(names: Sequence[str] = HOSTS) -> Inventory:
    hosts = tuple(Host(name=name, groups=(name.rstrip("0123456789"),)) for name in names)
    return Inventory(sources=("hosts.yml",), hosts=hosts, groups={"all": tuple(names)})


def plan(
    *books: Playbook,
    selected: Collection[str] = HOSTS,
    names: Sequence[str] = HOSTS,
    refused: Collection[str] = (),
    tags: Collection[str] = (),
    skip_tags: Collection[str] = (),
) -> Plan:
    targets = {
        name: (
            NotAudited(name=name, stage="inventory", reason="no such connection")
            if name in refused
            else SshTarget(address=name)
        )
        for name in names
    }
    return make_plan(
        inventory(names),
        books,
        targets=targets,
        selected=selected,
        select=lambda pattern: [
            n for n in names if pattern == "all" or fnmatch.fnmatchcase(n, pattern)
        ],
        tags=tags,
        skip_tags=skip_tags,
    )


def book(*plays: str, source: str = "mine.yml") -> Playbook:
    return parse_playbook("".join(plays), source=source)


def play(name: str, hosts: str, *lines: str, scenarios: str = "unread-close/idle-close") -> str:
    body = "".join(f"  {line}\n" for line in lines)
    return f"- name: {name}\n  hosts: {hosts!r}\n{body}  scenarios: [{scenarios}]\n"


def of(made: Plan, name: str) -> HostPlan:
    return next(host for host in made.hosts if host.name == name)


def names_of(host: HostPlan) -> list[str]:
    return [scenario.name for scenario in host.scenarios]


def test_every_selected_host_is_planned_once_in_inventory_order() -> None:
    made = plan(book(play("One", "all"), play("Two", "web*")), selected=("db1", "web1", "web2"))
    assert [host.name for host in made.hosts] == ["web2", "web1", "db1"]
    assert made.playbooks == ("mine.yml",)


@given(
    selected=st.sets(st.sampled_from(HOSTS)),
    patterns=st.lists(
        st.sampled_from(["all", "web*", "db*", "cache1", "none*"]), min_size=1, max_size=3
    ),
)
def test_no_host_is_lost_or_doubled_whatever_the_plays_match(
    selected: set[str], patterns: list[str]
) -> None:
    asked = {
        name for name in selected for p in patterns if p == "all" or fnmatch.fnmatchcase(name, p)
    }
    mine = book(*(play(f"Play {n}", p) for n, p in enumerate(patterns)))
    if selected and not asked:
        with pytest.raises(NothingToDoError, match="no play matches"):
            plan(mine, selected=selected)
        return
    made = plan(mine, selected=selected)
    assert [host.name for host in made.hosts] == [name for name in HOSTS if name in selected]
    assert {host.name for host in made.hosts if not isinstance(host.target, NotSelected)} == asked


def test_a_host_in_several_plays_runs_each_scenario_once() -> None:
    one = play(
        "One",
        "all",
        "sysctls: {collect: [net.ipv4.tcp_*], expect: {net.ipv4.tcp_sack: {equals: 1}}}",
    )
    two = play(
        "Two",
        "web*",
        "sysctls: {collect: [net.core.*, net.ipv4.tcp_*]}",
        scenarios="unread-close/idle-close, unread-close/unread-close",
    )
    made = plan(book(one, two))
    assert names_of(of(made, "db1")) == ["idle-close"]
    assert names_of(of(made, "web1")) == [
        "idle-close",
        "drained-close",
        "zero-linger-close",
        "unread-close",
    ]
    assert of(made, "web1").sysctls_collect == ("net.ipv4.tcp_*", "net.ipv4.tcp_sack", "net.core.*")
    assert set(of(made, "web1").sysctls_expect) == {"net.ipv4.tcp_sack"}


def test_every_control_that_a_scenario_names_is_in_the_same_hosts_plan() -> None:
    made = plan(load_playbook(None), book(play("Few", "web*", scenarios="unread-close/urgent-*")))
    for host in made.hosts:
        assert {s.control for s in host.scenarios} - {None} <= set(names_of(host))


def test_a_playbook_that_is_named_twice_runs_once() -> None:
    shipped = load_playbook(None)
    once, twice = plan(shipped), plan(shipped, shipped)
    assert once.hosts == twice.hosts
    assert of(once, "web1").scenarios == shipped.plays[0].scenarios


def test_each_scenario_keeps_the_number_of_trials_of_its_play() -> None:
    few = play(
        "Few", "all", "trials: 1", scenarios="unread-close/drained-close, unread-close/idle-close"
    )
    many = play(
        "Many", "web*", "trials: 5", scenarios="unread-close/idle-close, unread-close/drained-exit"
    )
    made = plan(book(few, many))
    web = of(made, "web1")
    assert (web.trials, of(made, "db1").trials) == (5, 1)
    assert {s.name: s.trials or web.trials for s in web.scenarios} == {
        "drained-close": 1,
        "idle-close": 5,
        "drained-exit": 5,
    }


def test_families_of_two_plays_are_combined() -> None:
    made = plan(
        book(play("Four", "all", "families: [ipv4]"), play("Six", "web*", "families: [ipv6]"))
    )
    assert of(made, "web1").scenarios[0].families == ("ipv4", "ipv6")
    assert of(made, "db1").scenarios[0].families == ("ipv4",)


def test_a_selected_host_that_no_play_matches_stays_in_the_plan_as_not_selected() -> None:
    made = plan(book(play("Web", "web*")), refused=["cache1"])
    assert of(made, "db1").target == NotSelected(name="db1", groups=("db",))
    assert of(made, "cache1").target == NotSelected(name="cache1", groups=("cache",)), (
        "nobody asks how it is reached"
    )
    assert of(made, "db1").scenarios == ()
    assert of(made, "web1").target == SshTarget(address="web1")


def test_plays_that_match_no_selected_host_are_refused_with_the_patterns_that_were_tried() -> None:
    books = (
        book(play("Web", "web*"), play("Again", "web*")),
        book(play("Mail", "mail*"), source="theirs.yml"),
    )
    with pytest.raises(NothingToDoError) as e:
        plan(*books, selected=["db1", "cache1"])
    said = str(e.value)
    assert "no play matches any selected host (db1, cache1)" in said
    assert "tried: “hosts: web*” (mine.yml), “hosts: mail*” (theirs.yml)" in said


def test_a_host_that_cannot_be_reached_stays_in_the_plan_with_its_reason() -> None:
    made = plan(book(play("All", "all")), refused=["db1"])
    target = of(made, "db1").target
    assert isinstance(target, NotAudited)
    assert target.reason == "no such connection"


def test_hosts_of_the_same_plays_share_one_tuple_of_scenarios() -> None:
    made = plan(
        book(play("All", "all")),
        names=[f"web{n}" for n in range(100)],
        selected=[f"web{n}" for n in range(100)],
    )
    assert len({id(host.scenarios) for host in made.hosts}) == 1


@pytest.mark.parametrize(
    ("one", "two", "said"),
    [
        (
            "sysctls: {expect: {net.ipv4.tcp_sack: {equals: 1}}}",
            "sysctls: {expect: {net.ipv4.tcp_sack: {equals: 0}}}",
            "expect different things of net.ipv4.tcp_sack",
        ),
        (
            "sysctls: {expect: {net.ipv4.tcp_rmem: {position: 3, at_least: 9}}}",
            "sysctls: {expect: {net.ipv4.tcp_rmem: {equals: 1 2 8}}}",
            "expect different things of net.ipv4.tcp_rmem",
        ),
        (
            "exposure: {expect: {unread_sockets: {at_least: 9}}}",
            "exposure: {expect: {unread_sockets: {at_most: 8}}}",
            "expect different things of unread_sockets",
        ),
        ("isolation: host", "isolation: namespace", "ask for different isolation"),
    ],
)
def test_plays_that_contradict_each_other_on_one_host_are_refused(
    one: str, two: str, said: str
) -> None:
    books = (
        book(play("One", "all", one), source="a.yml"),
        book(play("Two", "web*", two), source="b.yml"),
    )
    with pytest.raises(InputError, match=said) as caught:
        plan(*books)
    assert caught.value.source == "b.yml"
    assert "web2" in caught.value.message
    apart = plan(book(play("One", "db*", one)), book(play("Two", "web*", two)))
    assert len(apart.hosts) == len(HOSTS)


def test_two_playbooks_with_different_scenarios_of_one_name_are_refused_if_both_match_a_host() -> (
    None
):
    mine = "{{name: mine, title: Mine, steps: [{}], expect: FIN}}"
    one = book(play("One", "all", scenarios=mine.format("closer closes")), source="a.yml")
    two = book(play("Two", "db1", scenarios=mine.format("closer exits")), source="b.yml")
    with pytest.raises(InputError, match="define the scenario “mine” differently"):
        plan(one, two)
    assert plan(one, book(play("Two", "db1", scenarios=mine.format("closer closes"))))


def test_auto_isolation_yields_to_a_play_that_sets_isolation() -> None:
    made = plan(book(play("One", "all"), play("Two", "web*", "isolation: host")))
    assert (of(made, "web1").isolation, of(made, "db1").isolation) == ("host", "auto")


def test_an_exception_of_select_passes_through() -> None:
    def select(pattern: str) -> Collection[str]:
        raise LookupError(pattern)

    with pytest.raises(LookupError, match="all"):
        make_plan(
            inventory(),
            [book(play("All", "all"))],
            targets={name: LocalTarget() for name in HOSTS},
            selected=HOSTS,
            select=select,
        )


def test_a_selected_name_that_is_not_a_host_is_a_bug() -> None:
    with pytest.raises(ValueError, match="web9"):
        plan(book(play("All", "all")), selected=["web9"])


def test_expectations_of_two_plays_are_combined_if_they_can_be_met() -> None:
    one = play(
        "One",
        "all",
        "sysctls: {expect: {net.x: {at_least: 1}, net.y: {equals: 2}}}",
        "exposure: {expect: {unread_sockets: {at_most: 5}}}",
        "kernels: {expect: {same_ending_within_build: true}}",
    )
    two = play(
        "Two",
        "web*",
        "sysctls: {expect: {net.x: {at_most: 5, severity: error}, net.y: {equals: 2}}}",
        "exposure: {expect: {unread_sockets: {at_most: 3}}}",
        "kernels: {expect: {same_ending_within_build: {severity: error}}}",
    )
    made = plan(book(one), book(two))
    web, db = of(made, "web1"), of(made, "db1")
    assert [(r.at_least, r.at_most) for r in web.sysctls_expect["net.x"]] == [(1, None), (None, 5)]
    assert len(web.sysctls_expect["net.y"]) == len(db.sysctls_expect["net.x"]) == 1
    assert [r.at_most for r in web.exposure_expect["unread_sockets"]] == [5, 3]
    assert [r.severity for r in web.kernels_expect["same_ending_within_build"]] == [
        "warning",
        "error",
    ]
    assert [r.severity for r in db.kernels_expect["same_ending_within_build"]] == ["warning"]


# ---- tags

TAGGED = """
- name: Tagged
  hosts: all
  scenarios:
    - unread-close/unread-close
    - name: mine
      title: Mine
      tags: [mine]
      steps: [peer sends 5 bytes, closer closes]
      expect: RST
      control: drained-close
    - name: idle
      title: Idle
      tags: [idle, never]
      steps: [closer closes]
      expect: FIN
  sysctls:
    collect: [net.ipv4.tcp_*]
    expect:
      net.x: [{at_least: 1, tags: [mine]}, {at_most: 5}]
      net.y: {equals: 1}
  exposure: {expect: {unread_sockets: {at_most: 5, tags: [mine]}, aborts_failed: {at_most: 0}}}
  kernels: {expect: {same_ending_within_build: {tags: [mine]}}}
- name: Whole
  hosts: web*
  tags: [whole]
  scenarios: [unread-close/idle-close]
  sysctls: {collect: [net.core.somaxconn]}
"""


def test_without_tags_everything_is_selected_but_never() -> None:
    made = of(plan(book(TAGGED)), "web1")
    assert names_of(made) == [
        "drained-close",
        "zero-linger-close",
        "unread-close",
        "mine",
        "idle-close",
    ]
    assert set(made.sysctls_expect) == {"net.x", "net.y"}


def test_a_tag_selects_what_has_it_and_the_controls_that_it_needs() -> None:
    made = of(plan(book(TAGGED), tags=["mine"]), "web1")
    assert names_of(made) == ["drained-close", "zero-linger-close", "mine"]
    assert made.sysctls_collect == ("net.x",)
    assert {key: len(rules) for key, rules in made.sysctls_expect.items()} == {"net.x": 1}
    assert set(made.exposure_expect) == {"unread_sockets"}
    assert set(made.kernels_expect) == {"same_ending_within_build"}


def test_a_skipped_tag_leaves_out_what_has_it() -> None:
    made = of(plan(book(TAGGED), skip_tags=["mine"]), "web1")
    assert "mine" not in names_of(made)
    assert {key: len(rules) for key, rules in made.sysctls_expect.items()} == {
        "net.x": 1,
        "net.y": 1,
    }
    assert set(made.exposure_expect) == {"aborts_failed"}
    assert made.kernels_expect == {}


def test_a_skipped_control_runs_if_a_selected_scenario_needs_it() -> None:
    made = of(plan(book(TAGGED), tags=["mine"], skip_tags=["untagged"]), "web1")
    assert names_of(made) == ["drained-close", "zero-linger-close", "mine"]


def test_never_is_selected_by_one_of_its_tags() -> None:
    assert names_of(of(plan(book(TAGGED), tags=["idle"]), "db1")) == ["idle"]


def test_a_tag_of_a_play_belongs_to_everything_in_it() -> None:
    made = plan(book(TAGGED), tags=["whole"])
    assert names_of(of(made, "web1")) == ["idle-close"]
    assert of(made, "web1").sysctls_collect == ("net.core.somaxconn",)
    assert of(made, "db1").scenarios == ()
    assert of(made, "db1").target == SshTarget(address="db1"), (
        "a play matches it, whatever the tags leave of it"
    )


def test_tags_that_select_nothing_are_refused() -> None:
    with pytest.raises(NothingToDoError, match="--tags nothing-such"):
        plan(book(TAGGED), tags=["nothing-such"])


def test_one_scenario_under_different_tags_is_one_experiment() -> None:
    mine = "{{name: mine, title: Mine, steps: [closer closes], expect: FIN, tags: [{}]}}"
    made = plan(
        book(play("One", "all", scenarios=mine.format("a"))),
        book(play("Two", "all", scenarios=mine.format("b"))),
    )
    assert [s.tags for s in of(made, "db1").scenarios] == [("a", "b")]
