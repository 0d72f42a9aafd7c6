"""Completion in the shell, by click's own protocol: runs, hosts and scenarios."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from fleetaudit.cli import fleetaudit
from fleetaudit.store.jobs import job_name
from fleetaudit.store.run_file import read_info
from fleetaudit.store.run_folder import create_run_folder
from tests.support.runs import small_fleet
from tests.unit.store.test_latest import NOW, stored


@pytest.fixture
def run_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keeps one run in reports/ of the current folder, with `latest`; returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLEETAUDIT_OUTPUT_DIR", raising=False)
    name = stored(tmp_path / "reports", NOW)
    (tmp_path / "reports" / "latest").symlink_to(name)
    return name


def completed(monkeypatch: pytest.MonkeyPatch, *typed: str) -> list[tuple[str, str]]:
    """Returns the type and value of each completion of the last word typed."""
    line = " ".join(("fleetaudit", *typed))
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(typed)))
    shell = BashComplete(fleetaudit, {}, "fleetaudit", "_FLEETAUDIT_COMPLETE")
    rows = [row.partition(",") for row in shell.complete().splitlines()]
    return [(kind, value) for kind, _, value in rows]


@pytest.mark.parametrize(
    "command",
    [("report",), ("diff", "latest"), ("explain",), ("merge",), ("policy", "make"),
     ("run", "--resume"), ("run", "--baseline"), ("runs", "--latest")],
)  # fmt: skip
def test_runs_are_completed_the_newest_first(
    run_name: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = completed(monkeypatch, *command, '""')
    assert found[:2] == [("plain", "latest"), ("plain", run_name)]
    assert ("plain", run_name) in completed(monkeypatch, *command, "20")
    assert ("plain", "latest") not in completed(monkeypatch, *command, "20")


def test_jobs_are_those_of_the_output_folder(
    run_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_name(read_info(tmp_path / "reports" / run_name))
    assert completed(monkeypatch, "history", '""') == [("plain", job)]
    assert completed(monkeypatch, "history", job[:3]) == [("plain", job)]
    assert completed(monkeypatch, "publish", "site", "--job", job[:3]) == [("plain", job)]
    assert completed(monkeypatch, "history", "nightly") == []
    assert completed(monkeypatch, "history", "-o", "nowhere", '""') == []


def test_hosts_and_scenarios_are_those_of_the_run(
    run_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [host.name for host in small_fleet().hosts]
    typed = hosts[0][:2]
    expected = [("plain", name) for name in hosts if name.startswith(typed)]
    assert completed(monkeypatch, "explain", run_name, typed) == expected
    assert completed(monkeypatch, "policy", "make", "latest", typed) == expected
    scenarios = completed(monkeypatch, "explain", "latest", hosts[0], "unread")
    assert ("plain", "unread-close") in scenarios


def test_what_cannot_be_read_completes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert completed(monkeypatch, "explain", "nowhere", "w") == []
    assert completed(monkeypatch, "explain", "2") == [("file", "2")]
    (tmp_path / "broken.json").write_text("{")
    assert completed(monkeypatch, "explain", "broken.json", "w") == []


def test_an_unfinished_run_is_completed_for_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with create_run_folder(tmp_path / "reports", NOW, b"{}") as folder:
        assert ("plain", folder.id) in completed(monkeypatch, "run", "--resume", "2")


def test_scenarios_of_a_bisection_are_those_of_the_playbooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = completed(monkeypatch, "bisect", "kernels", "--scenario", "reread")
    assert ("plain", "reread-fin-close") in found
    play = tmp_path / "play.yml"
    play.write_text("- name: x\n  hosts: all\n  scenarios: [unread-close/drained-close]\n")
    typed = ("bisect", "-p", str(play), "--scenario")
    assert completed(monkeypatch, *typed, "d") == [("plain", "drained-close")]
    assert completed(monkeypatch, *typed, "reread") == []
    assert completed(monkeypatch, "bisect", "-p", "missing.yml", "--scenario", "d") == []
