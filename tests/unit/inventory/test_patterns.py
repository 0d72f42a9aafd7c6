"""Host patterns: Ansible's language in Ansible's order, and an error if they select no host."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.errors import InputError, NothingToDoError
from fleetaudit.inventory.patterns import select_hosts
from fleetaudit.model import Host, Inventory

GROUPS: dict[str, tuple[str, ...]] = {
    "ungrouped": ("lone",),
    "web": ("web1", "web2", "web3", "w.example.com", "shared"),
    "db": ("shared", "db-b", "db-a"),
    "web_prod": ("web2", "::1", "2001:db8::1"),
    "prod": ("web2", "::1", "2001:db8::1", "shared", "db-b", "db-a"),
    "void": (),
}
NAMES = (
    "lone",
    "web1",
    "web2",
    "web3",
    "w.example.com",
    "shared",
    "db-a",
    "db-b",
    "::1",
    "2001:db8::1",
)
INVENTORY = Inventory(
    sources=("hosts.yml",),
    hosts=tuple(Host(name=name) for name in NAMES),
    groups={"all": NAMES, **GROUPS},
)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("all", " ".join(NAMES)),
        ("*", " ".join(NAMES)),
        ("web", "web1 web2 web3 w.example.com shared"),
        ("db-b", "db-b"),
        ("web?", "web1 web2 web3"),
        ("w*", "web1 web2 web3 w.example.com shared ::1 2001:db8::1"),
        ("lone:db", "lone shared db-a db-b"),
        ("db,lone", "lone shared db-a db-b"),
        (" db , lone ", "lone shared db-a db-b"),
        ("db lone", "lone shared db-a db-b"),
        ("web:&prod", "web2 shared"),
        ("&prod:web", "web2 shared"),
        ("web:!prod", "web1 web3 w.example.com"),
        ("!prod:web", "web1 web3 w.example.com"),
        ("web:!web2:&prod:lone", "shared"),
        ("!prod", "lone web1 web3 w.example.com"),
        ("&db", "shared db-a db-b"),
        ("all:!void", " ".join(NAMES)),
        ("~db-[ab]", "db-a db-b"),
        ("~web", "web1 web2 web3 w.example.com shared ::1 2001:db8::1"),
        ("~.*[13]$", "web1 web3 ::1 2001:db8::1"),
        ("web[0]", "web1"),
        ("web[-1]", "shared"),
        ("web[-2]", "w.example.com"),
        ("db[0]", "shared"),
        ("db[1]", "db-b"),
        ("web[1:2]", "web2 web3"),
        ("web[1-2]", "web2 web3"),
        ("web[3:]", "w.example.com shared"),
        ("web[3:99]", "w.example.com shared"),
        ("web[1:0]", "web2"),
        ("all[0]", "lone"),
        ("web[0:1]:db[-1]", "web1 web2 db-a"),
        ("we[ab][12]*", "web1 web2"),
        ("::1", "::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:db8::1,web1", "web1 2001:db8::1"),
        ("prod,!2001:db8::1,!::1", "web2 shared db-a db-b"),
        ("w.example.com", "w.example.com"),
    ],
)
def test_a_pattern_selects_the_same_hosts_as_in_ansible(pattern: str, expected: str) -> None:
    assert select_hosts(INVENTORY, pattern) == tuple(expected.split())


@pytest.mark.parametrize("pattern", ["", " ", ",", ":", " , ,"])
def test_an_empty_pattern_gives_status_66_and_does_not_select_everything(pattern: str) -> None:
    with pytest.raises(NothingToDoError, match="is empty") as caught:
        select_hosts(INVENTORY, pattern)
    assert caught.value.exit_status == 66


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("wbe1", "“wbe1” matches no host and no group; did you mean “web1”"),
        ("all:!wbe1", "“!wbe1” matches no host and no group; did you mean “web1”"),
        ("all:&porod", "did you mean “prod”"),
        ("web:nosuch*", "“nosuch\\*” matches no host"),
        ("~^nosuch", "matches no host"),
        ("void", "“void” has too few hosts"),
        ("web:void", "“void” has too few hosts"),
        ("web[9]", "“web” has too few"),
        ("web[-9]", "“web” has too few"),
        ("web:!db[9]", "“db” has too few"),
        ("web:&lone", "no host matches all of"),
        ("web:!web", "no host matches all of"),
        ("localhost", "“localhost,”"),
        ("web:2001:db8::1", "separate them by commas"),
    ],
)
def test_a_part_that_matches_nothing_gives_status_66_and_similar_names(
    pattern: str, message: str
) -> None:
    with pytest.raises(NothingToDoError, match=message):
        select_hosts(INVENTORY, pattern)


@pytest.mark.parametrize("pattern", ["~(", "~*", "web[", "web]:db", "web:!", "&"])
def test_an_invalid_expression_is_an_input_error(pattern: str) -> None:
    with pytest.raises(InputError, match="is not a host pattern"):
        select_hosts(INVENTORY, pattern)


def test_a_file_of_patterns_has_one_on_each_line(tmp_path: Path) -> None:
    (tmp_path / "limit.txt").write_text("web1\n\n db \r\n!db-a\n")
    assert select_hosts(INVENTORY, f"@{tmp_path}/limit.txt") == ("web1", "shared", "db-b")
    assert select_hosts(INVENTORY, f"lone,@{tmp_path}/limit.txt") == (
        "lone",
        "web1",
        "shared",
        "db-b",
    )


def test_an_empty_or_missing_file_of_patterns_gives_status_66(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(NothingToDoError, match="selects nobody"):
        select_hosts(INVENTORY, f"@{tmp_path}/empty")
    with pytest.raises(NothingToDoError, match="no such file"):
        select_hosts(INVENTORY, f"@{tmp_path}/missing")
    with pytest.raises(InputError, match="cannot be read"):
        select_hosts(INVENTORY, f"@{tmp_path}")


WORDS = st.sampled_from([*NAMES[:8], *GROUPS, "all", "w*", "*a*", "db-?", "web[12]*", "[lw]*"])


def naive(word: str) -> set[str]:
    """One plain part, in the simplest form: groups that match with all in them, and hosts
    that match.
    """
    groups = {g for g in ("all", *GROUPS) if fnmatch.fnmatchcase(g, word)}
    found = {host for g in groups for host in INVENTORY.groups[g]}
    if not groups or set(word) & set(".*?["):
        found |= {host for host in NAMES if fnmatch.fnmatchcase(host, word)}
    return found


@given(
    st.lists(st.tuples(st.sampled_from(["", "", "&", "!"]), WORDS), min_size=1, max_size=5),
    st.sampled_from(":,"),
)
def test_parts_combine_as_unions_then_intersections_then_exclusions(
    parts: list[tuple[str, str]], separator: str
) -> None:
    plain = [word for mark, word in parts if not mark] or ["all"]
    expected = set[str]().union(*map(naive, plain))
    for mark, word in parts:
        if mark == "&":
            expected &= naive(word)
    for mark, word in parts:
        if mark == "!":
            expected -= naive(word)
    pattern = separator.join(mark + word for mark, word in parts)
    if not expected or any(not naive(word) and mark != "!" for mark, word in parts):
        with pytest.raises(NothingToDoError):
            select_hosts(INVENTORY, pattern)
    else:
        assert select_hosts(INVENTORY, pattern) == tuple(name for name in NAMES if name in expected)


@given(st.text(max_size=20).filter(lambda text: "@" not in text))
def test_any_text_selects_a_host_or_is_an_error_for_the_user(pattern: str) -> None:
    try:
        selected = select_hosts(INVENTORY, pattern)
    except (NothingToDoError, InputError):
        return
    assert selected
    assert set(selected) <= set(NAMES)
