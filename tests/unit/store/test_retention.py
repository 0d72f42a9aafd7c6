"""Old runs are removed, and nothing else, on real folders with foreign files in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetaudit.store.latest import point_latest
from fleetaudit.store.retention import RetentionPolicy, parse_retention, prune
from fleetaudit.store.run_folder import create_run_folder

from .test_run_folder import a_run, audited

NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)
FILES = ("report.html",)


def add(output: Path, days: int, *, finished: bool = True) -> str:
    """Makes a run that began so many days before NOW."""
    with create_run_folder(output, NOW - timedelta(days=days), b"{}") as folder:
        folder.append(audited("a"))
        if finished:
            folder.finish(a_run("a"))
            folder.write("report.html", b"<html>")
            point_latest(folder.output, folder.id)
    return folder.id


def names(output: Path) -> set[str]:
    return {path.name for path in output.iterdir()}


@pytest.mark.parametrize(
    ("text", "keep"),
    [
        ("30d", RetentionPolicy(days=30)),
        ("1", RetentionPolicy(runs=1)),
        (" 7d ", RetentionPolicy(days=7)),
    ],
)
def test_a_retention_is_a_number_of_days_or_of_runs(text: str, keep: RetentionPolicy) -> None:
    assert parse_retention(text) == keep


@pytest.mark.parametrize("text", ["", "0", "0d", "-1", "30", "x", "1w", "1.5d", "999999", "٣d"])
def test_an_invalid_retention_is_refused(text: str) -> None:
    if text == "30":
        assert parse_retention(text) == RetentionPolicy(runs=30)
        return
    with pytest.raises(ValueError, match="neither"):
        parse_retention(text)


def test_runs_older_than_the_days_are_removed_finished_or_not(tmp_path: Path) -> None:
    old, unfinished = add(tmp_path, 31), add(tmp_path, 40, finished=False)
    young, edge = add(tmp_path, 5), add(tmp_path, 30)
    done = prune(tmp_path, RetentionPolicy(days=30), now=NOW, files=FILES)
    assert set(done.removed) == {old, unfinished}
    assert names(tmp_path) == {young, edge, "latest"}


def test_the_newest_runs_stay_and_unfinished_runs_push_none_of_them_out(
    tmp_path: Path,
) -> None:
    runs = [add(tmp_path, days) for days in (50, 40, 30)]
    begun = [add(tmp_path, days, finished=False) for days in (45, 3, 2, 1)]
    done = prune(tmp_path, RetentionPolicy(runs=2), now=NOW, files=FILES)
    assert set(done.removed) == {runs[0], begun[0]} - ({begun[0]} if begun[0] > runs[1] else set())
    assert {*runs[1:], *begun[1:]} <= names(tmp_path)
    assert prune(tmp_path, RetentionPolicy(runs=2), now=NOW, files=FILES).removed == ()


def test_the_last_finished_run_and_the_baseline_stay_whatever_their_age(tmp_path: Path) -> None:
    baseline, old, latest = add(tmp_path, 400), add(tmp_path, 300), add(tmp_path, 200)
    assert prune(
        tmp_path, RetentionPolicy(days=30), now=NOW, files=FILES, protect={baseline}
    ).removed == (old,)
    assert names(tmp_path) == {baseline, latest, "latest"}


def test_foreign_files_stay_and_are_reported(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run.json").write_text("{}")
    output = tmp_path / "reports"
    noted, linked, nested, traced = (add(output, days) for days in (90, 80, 70, 60))
    traces = add(output, 55)
    (output / noted / "notes.txt").write_text("mine")
    (output / linked / "report.txt").symlink_to(elsewhere / "run.json")
    (output / nested / "report.html").unlink()
    (output / nested / "report.html").mkdir()
    (output / traced / "traces").symlink_to(elsewhere)
    (output / traces / "traces").mkdir()
    (output / traces / "traces/web1.pcap").touch()
    (output / traces / "traces/.web2.pcap.7.part").touch()  # of a process that was killed
    add(output, 1)
    (output / "2025-01-01T000000Z").symlink_to(elsewhere)
    (output / "2025-01-02T000000Z").mkdir()  # empty: nobody knows who made it
    (output / "2025-13-01T000000Z").mkdir()
    (output / "2025-13-01T000000Z/run.json").touch()
    (output / "2025-01-03").mkdir()
    (output / "known_hosts").touch()
    before = names(output)
    done = prune(output, RetentionPolicy(days=30), now=NOW, files=FILES)
    assert done.removed == (traces,)
    assert [kept.partition(":")[0] for kept in done.kept] == [noted, linked, nested, traced]
    assert names(output) == before - {traces}
    assert (output / noted / "notes.txt").read_text() == "mine"
    assert (output / noted / "store.jsonl").exists()
    assert (elsewhere / "run.json").exists()


def test_a_missing_output_folder_has_no_old_runs(tmp_path: Path) -> None:
    assert prune(tmp_path / "reports", RetentionPolicy(runs=1), now=NOW, files=FILES).removed == ()


def test_leftovers_of_a_killed_process_are_removed_by_the_next_prune(tmp_path: Path) -> None:
    old = add(tmp_path, 90)
    add(tmp_path, 1)
    (tmp_path / old).rename(tmp_path / f".{old}.4242.gone")
    (tmp_path / f".{old}.77.new").mkdir()
    (tmp_path / f".{old}.77.new/hosts.jsonl").touch()
    (tmp_path / ".mine").mkdir()
    prune(tmp_path, RetentionPolicy(days=30), now=NOW, files=FILES)
    assert {name for name in names(tmp_path) if name.startswith(".")} == {".mine"}
