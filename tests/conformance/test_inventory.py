"""Inventories are read as Ansible itself reads them, byte for byte, by a live Ansible."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetaudit.errors import FleetauditError, InputError, NothingToDoError
from fleetaudit.inventory import load_inventory
from fleetaudit.inventory.patterns import select_hosts
from fleetaudit.inventory.printing import render_graph, render_host, render_list
from fleetaudit.inventory.vault import load_vault
from fleetaudit.model import Inventory
from tests import ROOT
from tests.support.inventory_cases import CASES, REFUSED, Files
from tests.support.inventory_score import (
    MADE_UP,
    MADE_UP_REFUSED,
    SAME,
    VERSION,
)
from tests.support.inventory_score import REFUSED as WHY
from tests.unit.inventory.test_inventory_corpus import INVENTORIES, everybody

Say = Callable[[str, object], None]


class Ansible:
    """A running Ansible that answers command lines of ansible-inventory."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self._process = process
        found = re.search(r"\[core ([^]]+)\]", self.says(home, "--version"))
        assert found
        self.version = found[1]

    def says(self, folder: Path, *arguments: str) -> str:
        """Returns what ansible-inventory prints when it is run in `folder`; "" where it fails."""
        assert self._process.stdin
        assert self._process.stdout
        print(
            json.dumps({"arguments": arguments, "cwd": str(folder)}),
            file=self._process.stdin,
            flush=True,
        )
        answer = json.loads(self._process.stdout.readline())
        return str(answer["stdout"]) if answer["status"] == 0 else ""


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    python = os.environ.get("FLEETAUDIT_ANSIBLE_PYTHON") or sys.executable
    if python == sys.executable and not importlib.util.find_spec("ansible"):
        pytest.skip(
            "ansible-core is not installed (or name a Python that has it in"
            " FLEETAUDIT_ANSIBLE_PYTHON)"
        )
    home = tmp_path_factory.mktemp("home")
    (home / "empty.cfg").write_text("")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_CONFIG": str(home / "empty.cfg"),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
    }
    with subprocess.Popen(
        [python, str(ROOT / "tests" / "support" / "ansible_side.py")],
        env=environment,
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        yield Ansible(process, home)
        assert process.stdin
        process.stdin.close()


def sources_of(files: Files) -> list[str]:
    return [path[1:] for path in files if path[0] == "@"]


def write(files: Files, folder: Path) -> None:
    for marked, text in files.items():
        path = folder / marked.removeprefix("@")
        if not text and (marked.startswith("@") or not path.name):
            continue  # a list of hosts, or a folder that has files
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        if text.startswith("#!"):
            path.chmod(0o700)


def load(folder: Path, sources: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> Inventory:
    monkeypatch.chdir(folder)
    return load_inventory(sources)


def arguments_for(sources: Sequence[str], *more: str) -> list[str]:
    return [word for source in sources for word in ("-i", source)] + list(more)


# ---- recorded


# ---- live


@pytest.mark.parametrize("name", CASES)
def test_an_inventory_is_the_same_as_in_ansible(
    name: str,
    tmp_path: Path,
    ansible: Ansible,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Say,
) -> None:
    files, sources = CASES[name], sources_of(CASES[name])
    write(files, tmp_path)
    record_property(VERSION, ansible.version)
    theirs = ansible.says(tmp_path, *arguments_for(sources, "--list"))
    try:
        inventory = load(tmp_path, sources, monkeypatch)
        ours = render_list(inventory, everybody(inventory))
    except FleetauditError as e:
        ours = str(e)
    record_property(SAME, int(ours == theirs))
    assert ours == theirs
    if name.startswith(
        ("yaml", "several", "program", "shared", "reserved")
    ):  # the graph shows nothing that the listing does not
        assert render_graph(inventory) == ansible.says(tmp_path, *arguments_for(sources, "--graph"))


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused_on_purpose_has_an_error_with_its_source(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Say
) -> None:
    write(REFUSED[reason], tmp_path)
    with pytest.raises(InputError) as caught:
        load(tmp_path, sources_of(REFUSED[reason]), monkeypatch)
    assert caught.value.source
    record_property(WHY, reason)


def test_one_host_is_printed_as_ansible_prints_it(
    tmp_path: Path, ansible: Ansible, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(CASES["vars files: a_folder"], tmp_path)
    inventory = load(tmp_path, ["inv"], monkeypatch)
    for name in everybody(inventory):
        assert render_host(inventory, name) == ansible.says(tmp_path, "-i", "inv", "--host", name)


@pytest.mark.parametrize(
    "pattern",
    [
        "all",
        "*",
        "web",
        "web*",
        "~web",
        "~^w.*[13]$",
        "w?b1",
        "web[0]",
        "web[-1]",
        "web[1:2]",
        "web[1:]",
        "all[0:1]",
        "web:db",
        "web,db",
        "web:&prod",
        "prod:!web",
        "!web",
        "&web",
        "web:!web1:&prod",
        "web1:db1",
        "all:!prod",
        "we[ab]*",
        "a.example.com",
        "*.example.com",
        "prod[0]:db",
        "web1,web[0]",
        "ungrouped",
        "prod:&web:!web2",
    ],
)
def test_a_limit_selects_the_same_hosts_as_in_ansible(
    pattern: str, tmp_path: Path, ansible: Ansible, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "lone\na.example.com\n[web]\nweb[1:4]\n[db]\ndb[1:2]\nweb1\n[prod:children]\ndb\n"
        "[prod]\nweb2\nweb3\n"
    )
    write({"@hosts": text}, tmp_path)
    inventory = load(tmp_path, ["hosts"], monkeypatch)
    theirs = ansible.says(tmp_path, "-i", "hosts", "--list", "--limit", pattern)
    assert render_list(inventory, select_hosts(inventory, pattern)) == theirs


SHARED_TEXT = "web x=1\n[web]\nweb1\ndb\n[db]\nweb\ndb1 y=2\n[prod:children]\nweb\n[prod]\nprod\n"
SHARED_TREE = """all: {hosts: {web: {x: 1}, lone: }, children: {
  web: {hosts: {web1: , db: }}, db: {hosts: {db1: {y: 2}}},
  prod: {children: {web: }, hosts: {prod: }}}}
"""


@pytest.mark.parametrize("text", [SHARED_TEXT, SHARED_TREE])
@pytest.mark.parametrize(
    "pattern",
    [
        "all",
        "web",
        "web[0]",
        "web*",
        "w?b",
        "~web$",
        "&web",
        "all:&web",
        "all:!web",
        "web:db",
        "web,prod",
        "prod",
        "prod:!db",
        "prod:&db",
        "db:!web1",
        "ungrouped",
        "all:!ungrouped",
        "web:!prod",
        "prod[0]",
        "*b",
    ],
)
def test_a_limit_means_the_host_or_the_group_as_in_ansible_where_both_have_the_name(
    text: str, pattern: str, tmp_path: Path, ansible: Ansible, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "hosts" if text == SHARED_TEXT else "hosts.yml"
    write({f"@{name}": text}, tmp_path)
    inventory = load(tmp_path, [name], monkeypatch)
    try:
        ours = render_list(inventory, select_hosts(inventory, pattern))
    except NothingToDoError:
        ours = render_list(inventory, ())
    assert ours == ansible.says(tmp_path, "-i", name, "--list", "--limit", pattern)


def test_a_host_with_a_groups_name_is_printed_as_ansible_prints_it(
    tmp_path: Path, ansible: Ansible, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"@hosts": SHARED_TEXT, "group_vars/web": "g: 1\n", "host_vars/web": "h: 1\n"}, tmp_path)
    inventory = load(tmp_path, ["hosts"], monkeypatch)
    for name in everybody(inventory):
        assert render_host(inventory, name) == ansible.says(tmp_path, "-i", "hosts", "--host", name)


def test_a_duplicate_key_in_an_encrypted_file_counts_as_in_ansible(
    tmp_path: Path, ansible: Ansible, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"@hosts": "[web]\na\n"}, tmp_path)
    (tmp_path / "group_vars").mkdir()
    # k: 1, m: {a: 1, a: 2}, k: 2, a line each
    (tmp_path / "group_vars" / "web.yml").write_bytes(
        (INVENTORIES / "vault" / "twice.yml").read_bytes()
    )
    (tmp_path / "password").write_bytes((INVENTORIES / "vault" / "password").read_bytes())
    monkeypatch.chdir(tmp_path)
    inventory = load_inventory(["hosts"], vault=load_vault("password"))
    theirs = ansible.says(tmp_path, "-i", "hosts", "--list", "--vault-password-file", "password")
    assert render_list(inventory, everybody(inventory)) == theirs
    assert [note.partition(". ")[0] for note in inventory.notes] == [
        "group_vars/web.yml:2: duplicate key “a”; the first is in line 2",
        "group_vars/web.yml:3: duplicate key “k”; the first is in line 1",
    ]


def test_encrypted_files_are_read_and_encrypted_values_stay_so(
    tmp_path: Path, ansible: Ansible, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hosts.ini", "password", "group_vars/web.yml", "host_vars/web1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((INVENTORIES / "vault" / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    inventory = load_inventory(["hosts.ini"], vault=load_vault("password"))
    theirs = ansible.says(
        tmp_path, "-i", "hosts.ini", "--list", "--vault-password-file", "password"
    )
    assert render_list(inventory, everybody(inventory)) == theirs
    assert '"from_file": "opened"' in theirs
    assert "__ansible_vault" in theirs


# ---- made up

LETTERS = "abcd"
GROUPS = st.sampled_from(["all", "a", "b", "c", "d"])
HOSTS = st.sampled_from(
    ["h1", "h2", "h3:22", "h[4:5]", "h6", "b", "c"]
)  # two of them are groups, too
SCALARS = st.sampled_from(
    ["1", "1.", "0022", "True", "yes", "x", "'x y'", "1,2", "[1, 'a']", "{'k': 1}", "12:30", "~"]
)
NAMES = st.sampled_from(["v", "w", "ansible_group_priority", "ansible_user"])
SETTINGS = st.tuples(NAMES, SCALARS).map(
    lambda pair: (pair[0], str(len(pair[1])) if pair[0] == "ansible_group_priority" else pair[1])
)


def section(
    kind: str, lines: st.SearchStrategy[str], names: st.SearchStrategy[str] = GROUPS
) -> st.SearchStrategy[str]:
    return st.tuples(
        names, st.lists(lines, max_size=4, unique_by=lambda line: line.split(" =")[0].split("=")[0])
    ).map(lambda found: f"[{found[0]}{kind}]\n" + "".join(f"{line}\n" for line in found[1]))


def quoted(text: str) -> str:
    return text if text.isalnum() else '"' + text + '"'


HOST_LINES = st.tuples(HOSTS, st.lists(SETTINGS, max_size=2, unique_by=lambda s: s[0])).map(
    lambda found: " ".join([found[0], *(f"{name}={quoted(value)}" for name, value in found[1])])
)
# A group has only later ones in it, and each has a section: loops and forgotten sections are
# refused, and not compared.
CHILDREN = st.sampled_from(["all", "a", "b", "c"]).flatmap(
    lambda parent: section(
        ":children", st.sampled_from(LETTERS[LETTERS.find(parent) + 1 :]), st.just(parent)
    )
)
INI_TEXTS = st.lists(
    section("", HOST_LINES) | CHILDREN | section(":vars", SETTINGS.map(" = ".join)),
    min_size=1,
    max_size=8,
).map(lambda sections: "".join(["h0\n", *sections, *(f"[{letter}]\n" for letter in LETTERS)]))

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["x", "0022", "yes", "12:30", "", "1e3", "ü"])
)
MAPPINGS = st.dictionaries(
    st.sampled_from(["v", "w", "x"]), VALUES | st.lists(VALUES, max_size=2), max_size=3
)


@st.composite
def trees(draw: st.DrawFn, name: str) -> dict[str, Any] | None:
    """Returns a group's body; only later groups are in it, because a loop is refused."""
    later = LETTERS[LETTERS.find(name) + 1 :]
    hosts = draw(st.none() | st.dictionaries(HOSTS, st.none() | MAPPINGS, max_size=3))
    below = draw(st.lists(st.sampled_from(later), unique=True, max_size=2)) if later else []
    body = {
        "hosts": hosts,
        "vars": draw(MAPPINGS),
        "children": {child: draw(trees(child)) for child in below},
    }
    kept = draw(st.sets(st.sampled_from(sorted(body))))
    return {key: body[key] for key in sorted(kept)} or None


@st.composite
def forests(draw: st.DrawFn) -> str:
    """Returns an inventory with a host at least, as JSON, and so as YAML."""
    names = draw(st.lists(GROUPS, unique=True, max_size=4))
    return json.dumps({"z": {"hosts": {"h0": None}}, **{name: draw(trees(name)) for name in names}})


BESIDE = st.dictionaries(
    st.sampled_from(
        [f"group_vars/{g}" for g in ("all", "a", "b", "c")] + ["host_vars/h1", "host_vars/h4.yml"]
    ),
    MAPPINGS.map(json.dumps),
    max_size=3,
)


def assert_alike(
    files: dict[str, str],
    folder: Path,
    ansible: Ansible,
    sources: Sequence[str],
    record_property: Say,
) -> None:
    write(files, folder)
    try:
        inventory = load_inventory([str(folder / source) for source in sources])
    except FleetauditError:
        record_property(MADE_UP_REFUSED, 1)
        return  # stricter than Ansible, on purpose; what is refused is held in test_inventory
    ours, theirs = (
        render_list(inventory, everybody(inventory)),
        ansible.says(folder, *arguments_for(sources, "--list")),
    )
    record_property(MADE_UP, (int(ours == theirs), 1))
    assert ours == theirs


MANY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@MANY
@given(text=INI_TEXTS, beside=BESIDE)
def test_any_ini_that_is_read_is_the_same_as_in_ansible(
    text: str,
    beside: dict[str, str],
    ansible: Ansible,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Say,
) -> None:
    assert_alike(
        {"@hosts": text, **beside},
        tmp_path_factory.mktemp("ini"),
        ansible,
        ["hosts"],
        record_property,
    )


@MANY
@given(one=forests(), two=forests(), beside=BESIDE)
def test_any_two_trees_that_are_read_are_the_same_as_in_ansible(
    one: str,
    two: str,
    beside: dict[str, str],
    ansible: Ansible,
    tmp_path_factory: pytest.TempPathFactory,
    record_property: Say,
) -> None:
    files = {"@one.json": one, "@two.yml": two, **beside}
    assert_alike(
        files, tmp_path_factory.mktemp("trees"), ansible, ["one.json", "two.yml"], record_property
    )


def facts(inventory: Inventory) -> dict[str, Any]:
    return {host.name: host.variables for host in inventory.hosts}


def test_the_command_in_an_error_makes_an_inventory_that_is_read(
    tmp_path: Path, ansible: Ansible
) -> None:
    files = {
        "@hosts.ini": "[web]\nweb[1:3] ansible_port=2222\n",
        "group_vars/web.yml": "ansible_host: 192.0.2.1\n",
    }
    write(files, tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "hosts.json").write_text(
        ansible.says(tmp_path, "-i", "hosts.ini", "--list")
    )
    inventory = load_inventory([str(tmp_path / "new" / "hosts.json")])
    assert inventory.groups["web"] == ("web1", "web2", "web3")
    assert facts(inventory) == facts(load_inventory([str(tmp_path / "hosts.ini")]))
