"""Waivers: the file, which findings they excuse and until when, and the notes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.analysis import waivers
from fleetaudit.errors import InputError
from fleetaudit.inventory.patterns import select_hosts as select_hosts
from fleetaudit.model import (
    Audited,
    Finding,
    Host,
    HostResult,
    Inventory,
    Kernel,
    NotAudited,
)
from tests import SCHEMAS
from tests.support.runs import small_fleet

GOOD = """\
- finding: sysctl:net.ipv4.tcp_fin_timeout
  hosts: web
  owner: ann
  reason: The balancer wants it.
  expiry: 2026-12-31
"""
DAY = date(2026, 12, 31)
SCHEMA = SCHEMAS / "waivers.schema.json"


def waiver(
    finding: str = "*", hosts: str = "all", expiry: date = DAY, owner: str = "ann", line: int = 1
) -> waivers.Waiver:
    return waivers.Waiver(
        finding=finding,
        hosts=hosts,
        owner=owner,
        reason="accepted",
        expiry=expiry,
        source="w.yml",
        line=line,
    )


def host(name: str, *ids: str, void: str = "") -> Audited:
    findings = tuple(Finding(id=i, severity="warning", expected="a", observed="b") for i in ids)
    return Audited(
        name=name,
        kernel=Kernel(release="6.1", version="#1", machine="x86_64"),
        isolation="namespace",
        void=void,
        findings=findings,
    )


def select(pattern: str) -> Sequence[str]:
    """Selects among three hosts by Ansible's own rules."""
    names = ("web1", "web2", "db1")
    inventory = Inventory(
        sources=(),
        hosts=tuple(Host(name=name) for name in names),
        groups={"all": names, "web": names[:2], "db": names[2:]},
    )
    return select_hosts(inventory, pattern)


def waived(hosts: Sequence[HostResult]) -> dict[str, dict[str, str | None]]:
    return {h.name: {f.id: f.waived for f in h.findings} for h in hosts}


# ---- the file ------------------------------------------------------------------------------------


def test_a_waiver_has_the_line_on_which_it_begins() -> None:
    first, second = waivers.parse_waivers(
        GOOD + GOOD.replace("web", "[web, '!web2']"), source="w.yml"
    )
    assert first == waivers.Waiver(
        finding="sysctl:net.ipv4.tcp_fin_timeout",
        hosts="web",
        owner="ann",
        reason="The balancer wants it.",
        expiry=DAY,
        source="w.yml",
        line=1,
    )
    assert (second.hosts, second.line) == ("web,!web2", 6)


def test_an_empty_list_is_a_valid_file() -> None:
    assert waivers.parse_waivers("[]", source="w.yml") == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("  owner: ann\n", "", 1, "“owner” is missing"),
        ("  hosts: web\n", "", 1, "“hosts” is missing"),
        ("  reason: The balancer wants it.\n", "", 1, "“reason” is missing"),
        ("  expiry: 2026-12-31\n", "", 1, "“expiry” is missing"),
        (
            "- finding: sysctl:net.ipv4.tcp_fin_timeout\n  hosts",
            "- hosts",
            1,
            "“finding” is missing",
        ),
        ("expiry:", "expires:", 5, "did you mean “expiry”?"),
        ("owner:", "ownr:", 3, "did you mean “owner”?"),
        ("expiry: 2026-12-31", "expiry: soon", 5, "date"),
        ("expiry: 2026-12-31", "expiry: 2026-12-31 10:00:00", 5, "a time where a date belongs"),
        ("expiry: 2026-12-31", "expiry: 2026-13-31", 5, "timestamp"),
        ("owner: ann", "owner: ' '", 3, "“owner” is empty"),
        ("owner: ann", "owner: 7", 3, "a whole number where text belongs"),
        ("finding: sysctl:", "finding: systcl:", 1, "did you mean “sysctl”?"),
        (
            "finding: sysctl:net.ipv4.tcp_fin_timeout",
            "finding: unread-close",
            1,
            "not the id of a finding",
        ),
        ("hosts: web", "hosts: []", 2, ""),
        (GOOD, "a: b\n", 1, "is a list"),
    ],
    ids=lambda value: str(value).strip()[:30] or "gone",
)
def test_an_invalid_waiver_is_refused_with_its_line_and_a_suggestion(
    old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        waivers.parse_waivers(GOOD.replace(old, new), source="w.yml")
    assert str(caught.value).startswith(f"w.yml:{line}:")
    assert words in str(caught.value)
    assert caught.value.exit_status == 65


def test_the_published_schema_is_current_and_accepts_a_valid_file() -> None:
    assert SCHEMA.read_bytes() == waivers.json_schema()
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(json.dumps(yaml.safe_load(GOOD), default=str))  # JSON has no dates
    validator.validate(document)
    del document[0]["owner"]
    assert not validator.is_valid(document)


# ---- to a run ------------------------------------------------------------------------------------


def test_a_waived_finding_stays_and_names_owner_date_and_reason() -> None:
    applied = waivers.apply_waivers(
        [host("web1", "sysctl:a", "sysctl:b")], [waiver("sysctl:a")], DAY, select
    )
    assert waived(applied.hosts) == {
        "web1": {"sysctl:a": "ann until 2026-12-31: accepted", "sysctl:b": None}
    }
    assert applied.expired == ()
    assert applied.unused == ()
    assert applied.notes() == ()


@pytest.mark.parametrize(
    ("glob", "ids"),
    [
        (
            "*",
            {
                "scenario:unread-close/ipv4",
                "scenario:unread-close/ipv6",
                "sysctl:net.ipv4.conf.a?b.x",
            },
        ),
        ("scenario:unread-close/*", {"scenario:unread-close/ipv4", "scenario:unread-close/ipv6"}),
        ("scenario:*/ipv6", {"scenario:unread-close/ipv6"}),
        ("sysctl:net.ipv4.conf.a?b.x", {"sysctl:net.ipv4.conf.a?b.x"}),
        ("sysctl:net.ipv4.conf.a??.x", set()),  # only * is special
        ("scenario:unread-close", set()),
        ("scenario:unread-close/ipv[46]", set()),
    ],
)
def test_only_a_star_matches_other_text(glob: str, ids: set[str]) -> None:
    all_ids = (
        "scenario:unread-close/ipv4",
        "scenario:unread-close/ipv6",
        "sysctl:net.ipv4.conf.a?b.x",
    )
    applied = waivers.apply_waivers([host("web1", *all_ids)], [waiver(glob)], DAY, select)
    assert {i for i, text in waived(applied.hosts)["web1"].items() if text} == ids


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("web", {"web1", "web2"}),
        ("web:!web2", {"web1"}),
        ("all", {"web1", "web2", "db1"}),
        ("db1", {"db1"}),
    ],
)
def test_hosts_are_an_ansible_pattern(pattern: str, names: set[str]) -> None:
    hosts = [host(name, "sysctl:a") for name in ("web1", "web2", "db1")]
    applied = waivers.apply_waivers(hosts, [waiver(hosts=pattern)], DAY, select)
    assert {name for name, found in waived(applied.hosts).items() if found["sysctl:a"]} == names


def test_a_waiver_holds_on_its_last_day_and_is_reported_as_expired_on_the_next() -> None:
    hosts = [host("web1", "sysctl:a")]
    assert waived(waivers.apply_waivers(hosts, [waiver()], DAY, select).hosts)["web1"]["sysctl:a"]
    late = waivers.apply_waivers(hosts, [waiver()], DAY + timedelta(days=1), select)
    assert waived(late.hosts)["web1"]["sysctl:a"] is None
    assert late.expired == (waiver(),)
    (note,) = late.notes()
    assert "expired on 2026-12-31" in note
    assert "w.yml:1" in note
    assert "ann" in note


def test_a_valid_waiver_excuses_what_an_expired_one_no_longer_does() -> None:
    old, new = waiver(expiry=DAY - timedelta(days=9)), waiver(owner="bob", line=7)
    applied = waivers.apply_waivers([host("web1", "sysctl:a")], [old, new], DAY, select)
    assert waived(applied.hosts)["web1"]["sysctl:a"] == "bob until 2026-12-31: accepted"
    assert applied.expired == (old,)


def test_of_two_waivers_of_one_finding_the_first_is_named_and_both_count_as_used() -> None:
    applied = waivers.apply_waivers(
        [host("web1", "sysctl:a")], [waiver(), waiver("sysctl:*", owner="bob")], DAY, select
    )
    assert waived(applied.hosts)["web1"]["sysctl:a"] == "ann until 2026-12-31: accepted"
    assert applied.unused == ()


def test_a_waiver_that_excuses_nothing_is_reported_with_the_reason() -> None:
    hosts = [host(name, "sysctl:a") for name in ("web1", "web2", "db1")]
    done, misspelt = waiver("sysctl:b"), waiver(hosts="wbe1", line=9)
    applied = waivers.apply_waivers(hosts, [done, misspelt], DAY, select)
    assert [u.waiver for u in applied.unused] == [done, misspelt]
    notes = applied.notes()
    assert "no such finding there" in notes[0]
    assert "did you mean “web1”" in notes[1]


@pytest.mark.parametrize(
    "present",
    [
        pytest.param([host("web1")], id="one of its hosts is outside of the limit"),
        pytest.param(
            [host("web1"), NotAudited(name="web2", stage="connect", reason="r")],
            id="one was not audited",
        ),
        pytest.param([host("web1"), host("web2", void="a control failed")], id="one is void"),
    ],
)
def test_a_waiver_is_not_unused_if_a_host_of_it_was_not_audited(
    present: list[HostResult],
) -> None:
    assert waivers.apply_waivers(present, [waiver(hosts="web")], DAY, select).unused == ()


def test_an_invalid_host_pattern_is_refused_with_the_line_of_the_waiver() -> None:
    with pytest.raises(InputError, match=r"^w\.yml:4: ") as caught:
        waivers.apply_waivers([], [waiver(hosts="web[", line=4)], DAY, select)
    assert "bracket" in str(caught.value)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["*", "sysctl:*", "scenario:*/ipv4", "scenario:unread-close/*", "control:*"]
            ),
            st.sampled_from(["all", "web", "app:!green", "db", "nobody"]),
            st.integers(-2, 2),
        ),
        max_size=4,
    )
)
def test_applying_waivers_changes_only_waived_and_is_idempotent(
    rows: list[tuple[str, str, int]],
) -> None:
    run = small_fleet()
    groups = {"all": tuple(h.name for h in run.hosts)}
    for h in run.hosts:
        for group in h.groups:
            groups[group] = (*groups.get(group, ()), h.name)
    inventory = Inventory(
        sources=(), hosts=tuple(Host(name=h.name) for h in run.hosts), groups=groups
    )
    accepted = [waiver(f, hosts, DAY + timedelta(days=d)) for f, hosts, d in rows]
    once = waivers.apply_waivers(
        run.hosts, accepted, DAY, lambda pattern: select_hosts(inventory, pattern)
    )
    again = waivers.apply_waivers(
        once.hosts, accepted, DAY, lambda pattern: select_hosts(inventory, pattern)
    )
    assert again == once
    assert waivers.apply_waivers(once.hosts, [], DAY, lambda pattern: ()).hosts == run.hosts
    for before, after in zip(run.hosts, once.hosts, strict=True):
        if isinstance(after, Audited):
            bare = tuple(msgspec.structs.replace(f, waived=None) for f in after.findings)
            assert msgspec.structs.replace(after, findings=bare) == before
        else:
            assert after == before
    assert set(once.expired) == {w for w in accepted if w.expiry < DAY}
