"""The listed hosts, copied: as a table, as CSV, and as what Ansible and fleetaudit take for exactly
these hosts.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.page.test_explorer import two_runs
from tests.support.browser import LoadedPage, page_of
from tests.support.runs import K612, Fleet, run_of

ODD = (
    "web1", "web2.example.net", "!x", "&x", "!web1", "~web.*", "*", "web*", "web?", "a,b", ",",
    "@hosts", "a:b", "a b", "web[1]", "web[0:3]", "[x]", "it's", "$(touch ran)", "`touch ran`",
    "-h", "--limit", "a\\b", "2001:db8::1", 'quo"te', "שרת", "naïve-01", "!é", "a;b", "a&b", "x!y",
    "#", "{{ 7*7 }}", "%s", "\\Z", "A.B",
)  # fmt: skip
"""Names that a shell or a pattern could take for something else."""
CLIPBOARD: dict[str, Any] = {"permissions": ["clipboard-read", "clipboard-write"]}
SELECTED = """
import json, sys
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
manager = InventoryManager(DataLoader(), sources=[sys.argv[1]])
for line in sys.stdin:
    manager.subset(json.loads(line))
    print(json.dumps([str(host) for host in manager.get_hosts("all")]), flush=True)
"""


def page_with(path: Path, names: Sequence[str]) -> Path:
    """Writes the page of hosts of these names, and returns its path."""
    host = Fleet().host("x", K612)
    hosts = [
        msgspec.structs.replace(host, name=name, machine_id=str(i)) for i, name in enumerate(names)
    ]
    path.write_text(page_of(run_of(hosts)), "utf-8")
    return path


def inventory_of(path: Path, names: Sequence[str]) -> Path:
    """Writes an inventory that Ansible reads as hosts of exactly these names."""
    data = {"_meta": {"hostvars": {}}, "all": {"hosts": list(names)}}
    path.write_text(f"#!{sys.executable}\nprint({json.dumps(data)!r})\n", "utf-8")
    path.chmod(0o755)
    return path


def as_arguments(text: str, folder: Path) -> list[str]:
    """Returns the arguments that a shell makes of a text."""
    script = f"printf '%s\\0' {text}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def ansible_python() -> str:
    """The Python that has ansible-core; without one the test is skipped, in CI it fails."""
    python = os.environ.get("FLEETAUDIT_ANSIBLE_PYTHON") or sys.executable
    if python == sys.executable and not importlib.util.find_spec("ansible"):
        if os.environ.get("CI"):
            pytest.fail("ansible-core is not installed")
        pytest.skip("ansible-core is not installed")
    return python


def limits(visit: LoadedPage, cases: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Returns what the page copies for each list of hosts."""
    found: list[dict[str, Any]] = visit.page.evaluate(
        "(cases) => cases.map((hosts) => page.copies.limit(hosts))", cases
    )
    return found


def test_a_limit_selects_exactly_the_listed_hosts(
    chromium: Any, tmp_path: Path, ansible_python: str
) -> None:
    everyone = range(len(ODD))
    cases: list[list[int]] = [[i] for i in everyone]
    cases += [[i, (i + 1) % len(ODD)] for i in everyone]
    cases += [list(everyone), list(everyone)[::2]]
    with LoadedPage(chromium, page_with(tmp_path / "page.html", ODD)) as visit:
        copied = limits(visit, cases)
    assert {(c["isFile"], len(c["omitted"])) for c in copied} == {(False, 0)}
    patterns = []
    for one in copied:
        (argument,) = as_arguments(one["text"], tmp_path)
        assert argument.startswith("--limit=")
        patterns.append(argument.removeprefix("--limit="))
    inventory = inventory_of(tmp_path / "inventory", ODD)
    done = subprocess.run(
        [ansible_python, "-c", SELECTED, str(inventory)],
        input="\n".join(map(json.dumps, patterns)) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = [sorted(json.loads(line)) for line in done.stdout.splitlines()]
    expected = [sorted(ODD[i] for i in case) for case in cases]
    assert [(p, t) for p, t, w in zip(patterns, theirs, expected, strict=True) if t != w] == []
    assert not (tmp_path / "ran").exists()


def selected_by_us(inventory: Path, argument: str) -> list[str]:
    """Returns the hosts that `fleetaudit inventory` selects, in its order."""
    command = f"{sys.executable} -m fleetaudit inventory {inventory} --list-hosts {argument}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=inventory.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_fleetaudit_and_the_command_of_ansible_take_it_as_it_is_copied(
    chromium: Any, tmp_path: Path, ansible_python: str
) -> None:
    # fleetaudit refuses a name with a comma or a blank: two hosts may be meant.
    names = [name for name in ODD if not set(", ") & set(name)]
    inventory = inventory_of(tmp_path / "inventory", names)
    listed = list(range(0, len(names), 2))
    with LoadedPage(chromium, page_with(tmp_path / "page.html", names)) as visit:
        (copied,) = limits(visit, [listed])
    expected = [names[i] for i in listed]
    assert selected_by_us(inventory, copied["text"]) == expected
    ansible = Path(ansible_python).with_name("ansible")
    command = f"{ansible} all -i {inventory} --list-hosts {copied['text']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    head, *rest = done.stdout.splitlines()
    assert head.strip() == f"hosts ({len(expected)}):"
    assert sorted(line[4:] for line in rest) == sorted(expected)


def test_a_name_that_no_pattern_selects_alone_is_left_out_and_named(
    chromium: Any, tmp_path: Path
) -> None:
    fleet = Fleet()
    run = run_of(
        [
            fleet.host("!web", K612, groups=("!web",)),
            fleet.host("we\u200bb", K612, groups=("web",)),
            fleet.host("web", K612, groups=("web",)),
        ]
    )
    path = tmp_path / "page.html"
    path.write_text(page_of(run), "utf-8")
    with LoadedPage(chromium, path, **CLIPBOARD) as visit:
        visit.page.click("#copy-limit")
        assert visit.page.inner_text("#omitted") == (
            "Copied 1 host. Left out, because no pattern selects them alone: !web, we\\u200bb"
        )
        assert visit.page.evaluate("navigator.clipboard.readText()") == "--limit='web'"
        visit.page.fill("#filter", "!web")
        assert visit.page.inner_text("#omitted") == ""
        visit.page.click("#copy-limit")
        assert "Nothing was copied. Left out" in visit.page.inner_text("#omitted")


def test_the_hosts_of_a_large_fleet_are_copied_as_lines_of_a_file(
    chromium: Any, tmp_path: Path
) -> None:
    names = [f"web{i:05}.example.net" for i in range(10_000)] + ["!x", "@y"]
    inventory = inventory_of(tmp_path / "inventory", names)
    with LoadedPage(chromium, page_with(tmp_path / "page.html", names), **CLIPBOARD) as visit:
        visit.page.click("#copy-limit")
        text = visit.page.inner_text("#omitted")
        assert text.startswith("Copied 10,002 hosts: too many for a command line.")
        assert "--limit @hosts.txt" in text
        lines = visit.page.evaluate("navigator.clipboard.readText()")
        (tmp_path / "hosts.txt").write_text(lines, "utf-8")
        assert selected_by_us(inventory, "--limit @hosts.txt") == names
        visit.page.fill("#filter", "web0")
        visit.page.click("#copy-csv")
        copied = visit.page.evaluate("navigator.clipboard.readText()")
        assert len(list(csv.reader(io.StringIO(copied)))) == 10_001


def test_a_table_and_csv_have_the_listed_hosts_with_their_columns(
    chromium: Any, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(page_of(*two_runs()), "utf-8")
    with LoadedPage(chromium, path, "#hosts?group=web&sort=-rate", **CLIPBOARD) as visit:
        assert visit.page.locator("#copies button:disabled").count() == 0
        visit.page.click("#copy-csv")
        visit.page.locator("#spoken", has_text="Copied 6 hosts as CSV").wait_for(state="attached")
        text = visit.page.evaluate("navigator.clipboard.readText()")
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert rows[0] == [
            "Host", "State", "Kernel", "Groups", "Findings", "Changes", "Aborts per 1,000",
            "Unread sockets",
        ]  # fmt: skip
        assert rows[1] == ["web005", "info", "5.10.0-30-amd64", "web", "2", "", "1.50", "0"]
        assert [row[0] for row in rows[1:]] == visit.hosts()
        assert text.endswith("\r\n")
        visit.page.click("#copy-table")
        visit.page.locator("#spoken", has_text="as a table").wait_for(state="attached")
        copied = visit.page.evaluate("navigator.clipboard.readText()")
        assert [line.split("\t") for line in copied.splitlines()] == rows
        visit.page.fill("#filter", "no such host")
        assert visit.page.locator("#copies button:disabled").count() == 3


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "＝1", ' "=1', "a;=1", "b|=cmd", 'q"u,o;te')


def test_no_cell_is_a_formula(chromium: Any, tmp_path: Path) -> None:
    with LoadedPage(chromium, page_with(tmp_path / "page.html", FORMULAS), **CLIPBOARD) as visit:
        visit.page.click("#copy-csv")
        text = visit.page.evaluate("navigator.clipboard.readText()")
        cells = [row[0] for row in csv.reader(io.StringIO(text, newline=""))][1:]
        visit.page.click("#copy-table")
        table = visit.page.evaluate("navigator.clipboard.readText()")
    assert cells == [
        "'=1+1", "'+1", "'-1", "'@SUM(A1)", "'＝1", " \"'=1", "a;'=1", "b|'=cmd", 'q"u,o;te'
    ]  # fmt: skip
    assert [line.split("\t")[0] for line in table.splitlines()][1:] == cells
