"""Runs that a version before the store wrote are read by every command.

tests/data/runs_before_the_store has two finished runs of three hosts, each a run.json and a journal
with one whole host a line, and one that was killed after two hosts.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

import fleetaudit
from fleetaudit.app.completion import list_hosts, scenario_titles
from fleetaudit.cli import params
from fleetaudit.model import Audited
from fleetaudit.store.journal import read_journal
from fleetaudit.store.run_file import encode_run, read_head, read_run
from tests import ROOT
from tests.support.commands import Workspace

DATA = ROOT / "tests/data/runs_before_the_store"
FIRST, SECOND, KILLED = (f"2026-11-28T20391{n}Z" for n in (6, 7, 8))


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """Returns a folder with these runs in reports/."""
    place = Workspace(tmp_path)
    shutil.copytree(DATA, tmp_path / "reports")
    (tmp_path / "reports/latest").symlink_to(SECOND)
    return place


def test_the_run_is_read_whole_and_exported_to_the_byte(place: Workspace) -> None:
    folder = place.path / "reports" / SECOND
    run = read_run(folder)
    assert [host.name for host in run.hosts] == ["web1", "web2", "db1"]
    web1, web2 = run.audited
    assert [o.evidence.same_as for o in web1.observations] == ["web2"] * 3
    assert [o.evidence.wire for o in web1.observations] == [
        o.evidence.wire for o in web2.observations
    ]
    assert encode_run(run) == (folder / "run.json").read_bytes()
    assert fleetaudit.load_run(folder) == fleetaudit.load_run(folder / "run.json") == run
    head = read_head(folder)
    assert (head.hosts.audited, head.hosts.not_audited, head.findings.warning) == (2, 1, 2)


@pytest.mark.parametrize("format_", params.FORMATS)
def test_every_format_is_made_of_it(place: Workspace, format_: str) -> None:
    done = place.run("report", "latest", "--format", format_)
    assert done.returncode == 0, done.stderr
    assert "web" in done.stdout or format_ == "prometheus"


def test_it_is_listed_explained_and_compared(place: Workspace) -> None:
    listed = json.loads(place.run("runs", "--format", "json").stdout)
    assert [run["id"] for run in listed["runs"]] == [SECOND, FIRST]
    assert [run["hosts"]["selected"] for run in listed["runs"]] == [3, 3]
    (left,) = listed["unfinished"]
    assert (left["id"], left["done"], left["selected"]) == (KILLED, 2, 3)
    assert (
        "The evidence is that of web2"
        in place.run("explain", SECOND, "web1", "unread-close").stdout
    )
    done = place.run("explain", SECOND, "web9")
    assert (done.returncode, "did you mean web2 or web1" in done.stderr) == (66, True), done.stderr
    done = place.run("diff", FIRST, SECOND)
    assert (done.returncode, done.stdout.startswith("Nothing changed")) == (0, True), done.stderr
    assert place.run("policy", "make", SECOND, "web1").returncode == 0
    assert list_hosts(place.path / "reports" / SECOND) == ["web1", "web2", "db1"]
    assert "unread-close" in scenario_titles(place.path / "reports" / SECOND)


def test_it_is_merged_and_pruned(place: Workspace) -> None:
    merged = place.run("merge", f"reports/{SECOND}", "-o", "out", "--format", "json")
    assert merged.returncode in (2, 4, 6), merged.stderr
    old, new = read_run(place.path / "reports" / SECOND), read_run(place.path / "out/latest")
    assert (new.hosts, new.scenarios) == (old.hosts, old.scenarios)
    copy = shutil.copytree(DATA / FIRST, place.path / "reports/2020-01-01T000000Z")
    assert place.run("prune", "--keep", "1").returncode == 0
    assert not copy.exists()
    assert (place.path / "reports" / FIRST).exists()  # the baseline of the other
    assert (place.path / "reports" / SECOND / "run.json").exists()


def test_its_journal_is_read_and_a_new_result_is_appended_to_it(place: Workspace) -> None:
    from fleetaudit.store.run_folder import reopen_run_folder

    folder = place.path / "reports" / KILLED
    hosts = read_journal(folder / "hosts.jsonl")
    assert len(hosts) == 2
    with reopen_run_folder(folder) as again:
        again.append(next(host for host in read_run(place.path / "reports" / SECOND).hosts[:1]))
    *before, added = read_journal(folder / "hosts.jsonl")
    assert tuple(before) == hosts
    assert isinstance(added, Audited)


def test_it_is_the_baseline_of_a_new_run_of_its_job(place: Workspace) -> None:
    web = "    {name}: {{ansible_connection: local}}\n"
    place.write(
        "fleet.yml", "all:\n  hosts:\n" + "".join(web.format(name=f"web{n}") for n in (1, 2))
    )
    done = place.run("run", "fleet.yml", "-p", "quick.yml", "--format", "text")
    assert done.returncode in (0, 2), done.stderr
    run = read_run(place.path / "reports/latest")
    assert run.run.baseline == SECOND
    assert run.run.sequence == 3


def test_a_killed_run_says_how_to_resume_it(place: Workspace) -> None:
    done = place.run("report", KILLED)
    assert done.returncode == 65
    assert "never finished: its journal has 2 hosts, and there is no store.jsonl" in done.stderr
    assert shlex.split(done.stderr.splitlines()[-1])[-1].endswith(KILLED)
