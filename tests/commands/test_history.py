"""`fleetaudit history` on real runs of this machine, as text, JSON and a page."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests import SCHEMAS
from tests.support.commands import Workspace
from tests.support.stored_runs import as_killed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Returns a folder in which this machine was audited three times, the third time with an
    expectation that no machine meets.
    """
    workspace = Workspace(tmp_path_factory.mktemp("history"))
    workspace.locals(2)
    for at_least in (1, 1, 100_000):
        text = (workspace.path / "quick.yml").read_text()
        workspace.write("quick.yml", text.replace("at_least: 1", f"at_least: {at_least}"))
        workspace.run("run", "inventory.yml", "-p", "quick.yml")
    return workspace


def history(place: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return place.run("history", *arguments)


def test_the_text_says_what_opened_and_since_when(place: Workspace) -> None:
    done = history(place)
    assert done.returncode == 0, done.stderr
    assert "Is it getting better? Worse: 2 of 2 audited hosts have open findings" in done.stdout
    assert "Since when? net.ipv4.tcp_fin_timeout (warning): since " in done.stdout
    assert "unread-close: RST" in done.stdout


def test_json_follows_its_schema(place: Workspace) -> None:
    done = history(place, "--format", "json")
    found = json.loads(done.stdout)
    jsonschema.validate(found, json.loads((SCHEMAS / "history.schema.json").read_text()))
    assert [run["hosts"]["audited"] for run in found["runs"]] == [2, 2, 2]
    assert found["runs"][2]["opened"] == ["sysctl:net.ipv4.tcp_fin_timeout"]
    assert [f["hosts"] for f in found["findings"]] == [[0, 0, 2]]
    (build,) = found["builds"]
    assert build["hosts"] == [2, 2, 2]
    assert [dict(run["endings"]) for run in found["runs"]] == [{"RST": 2}] * 3


def test_the_same_runs_give_the_same_page(place: Workspace) -> None:
    first, second = (history(place, "--format", "html").stdout for _ in range(2))
    assert first.startswith("<!")
    assert "net.ipv4.tcp_fin_timeout" in first.replace("<wbr>", "")
    assert first == second


def test_every_run_has_its_outline(place: Workspace) -> None:
    folders = [path for path in (place.path / "reports").iterdir() if path.name[0] == "2"]
    assert len(folders) == 3
    for folder in folders:
        file = folder / "outline.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert json.loads(file.read_text())["run"]["id"] == folder.name


def test_a_job_is_named_by_its_stem(place: Workspace) -> None:
    assert history(place, "inventory").stdout == history(place).stdout


@pytest.mark.parametrize("arguments", [("nightly",), ("-o", "nowhere")])
def test_no_such_job_or_folder_is_status_66(place: Workspace, arguments: tuple[str, ...]) -> None:
    done = history(place, *arguments)
    assert done.returncode == 66
    assert "no such folder" in done.stderr or "no job nightly; its jobs: inventory-" in done.stderr


def test_two_jobs_of_one_name_are_status_64_and_both_are_named(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.locals(2)
    place.run("run", "inventory.yml", "-p", "quick.yml")
    place.run("run", "inventory.yml", "-p", "quick.yml", "-l", "host00")
    done = history(place, "inventory")
    assert done.returncode == 64
    assert done.stderr.count("inventory-") >= 2


def test_a_killed_run_counts_once_it_is_resumed(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.locals(2)
    place.run("run", "inventory.yml", "-p", "quick.yml")
    folder = (place.path / "reports/latest").resolve()
    as_killed(folder, 1)
    assert history(place).returncode == 66
    place.run("run", "--resume", folder)
    found = json.loads(history(place, "--format", "json").stdout)
    assert [run["hosts"]["audited"] for run in found["runs"]] == [2]
    assert found["unreadable"] == []


def test_a_merged_run_has_an_outline_too(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.locals(2)
    for shard in ("1/2", "2/2"):
        folder = f"shard{shard[0]}"
        place.run("run", "inventory.yml", "-p", "quick.yml", "--shard", shard, "-o", folder)
    place.run("merge", "shard1/latest", "shard2/latest")
    found = json.loads(history(place, "--format", "json").stdout)
    assert found["runs"][0]["hosts"]["audited"] == 2
    assert (place.path / "reports" / found["runs"][0]["id"] / "outline.json").is_file()
