"""`reports/latest` after real runs: which job it follows, whatever the clock says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetaudit.model import NotAudited, RunInfo
from fleetaudit.store.jobs import job_name
from fleetaudit.store.run_file import encode_run, read_run
from fleetaudit.store.run_search import find_runs
from tests import ROOT
from tests.support.commands import Workspace
from tests.support.runs import small_fleet
from tests.support.stored_runs import as_killed, host_lines, with_export_only
from tests.unit.store.test_jobs import INFO
from tests.unit.store.test_latest import NOW, stored

JSON = ("--format", "json")
SYSCTLS = "- name: sysctls\n  hosts: all\n  sysctls: {collect: [net.ipv4.tcp_fin_timeout]}\n"
SHORT = (
    "- name: short\n  hosts: all\n  sysctls: {expect: {net.ipv4.tcp_fin_timeout: {at_most: 0}}}\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.locals(2)
    place.write("all.yml", SYSCTLS)
    place.write("other.yml", SHORT)
    return place


def info(place: Workspace, name: str = "latest") -> RunInfo:
    return read_run(place.path / "reports" / name).run


def newest(place: Workspace) -> RunInfo:
    return find_runs(place.path / "reports").finished[0].info


def latest(place: Workspace) -> str:
    return (place.path / "reports/latest").readlink().name


def test_a_run_with_a_limit_or_another_playbook_does_not_move_it_and_says_so(
    place: Workspace,
) -> None:
    assert place.run("run", "-p", "all.yml", *JSON).returncode == 0
    nightly = latest(place)
    for arguments, status in ((("-p", "all.yml", "-l", "host00"), 0), (("-p", "other.yml"), 2)):
        done = place.run("run", *arguments, *JSON)
        assert done.returncode == status, done.stderr
        assert latest(place) == nightly
        lines = done.stderr.splitlines()
        assert lines[0].startswith(
            f"fleetaudit: note: reports/latest still points to {nightly}, of the job inventory-"
        )
        assert lines[1] == "  inventory.yml -p all.yml"
        assert lines[3] == f"  fleetaudit runs --latest {newest(place).id}"
    quiet = place.run("run", "-p", "other.yml", "-q", *JSON)
    assert quiet.stderr == ""
    # The job moves on, and the runs in between do not concern it.
    assert place.run("run", "-p", "all.yml", *JSON).stderr == ""
    assert latest(place) != nightly
    assert info(place).baseline == nightly


def test_the_printed_command_gives_latest_to_the_other_job_for_good(place: Workspace) -> None:
    place.run("run", "-p", "all.yml", *JSON)
    told = place.run("run", "-p", "other.yml", *JSON).stderr.splitlines()[-1]
    _, *words = shlex.split(told)
    done = place.run(*words)
    assert done.returncode == 0, done.stderr
    assert f"reports/latest points to {newest(place).id}" in done.stdout
    moved = latest(place)
    assert info(place).playbooks == ("other.yml",)
    assert "still points to" in place.run("run", "-p", "all.yml", *JSON).stderr
    assert latest(place) == moved
    assert place.run("run", "-p", "other.yml", *JSON).stderr == ""
    assert latest(place) == newest(place).id != moved


def test_a_trial_of_one_host_is_followed_by_the_whole_and_the_whole_by_cron(
    place: Workspace,
) -> None:
    place.run("run", "-p", "all.yml", "-l", "host00", *JSON)
    assert info(place).limit == "host00"
    assert place.run("run", "-p", "all.yml", *JSON).stderr == ""
    assert info(place).limit is None
    first = place.run("run", "--cron", "-p", "other.yml", *JSON)
    assert (first.returncode, first.stderr) == (2, "")
    assert (info(place).playbooks, info(place).scheduled) == (("other.yml",), True)
    by_hand = place.run(
        "run", "-p", "other.yml", *JSON
    )  # the same job, run by hand: still a scheduled one
    assert (by_hand.stderr, info(place).scheduled) == ("", True)
    second = place.run("run", "--cron", "-p", "all.yml", *JSON)
    where = place.path / "reports"
    assert (
        f"fleetaudit runs -o {where} --latest {newest(place).id}" in second.stderr.splitlines()[-1]
    )  # once, although nothing changed since it was run by hand
    assert info(place).playbooks == ("other.yml",)
    again = place.run("run", "--cron", "-p", "all.yml", *JSON)
    assert (again.stdout, again.stderr) == ("", "")


def test_a_clock_once_in_the_future_freezes_nothing(place: Workspace) -> None:
    """The baseline, the link and the heartbeat go on; cron tells of a regression once."""
    in_2036 = int(datetime(2036, 1, 1, tzinfo=UTC).timestamp())
    cron = ("run", "--cron", "-p", "all.yml", "--format", "json,prometheus")
    place.run(*cron, SOURCE_DATE_EPOCH=str(in_2036))
    assert latest(place).startswith("2036-")
    place.write(
        "all.yml", SHORT.replace("short", "sysctls")
    )  # the expectation has changed: one finding
    nights = [place.run(*cron, SOURCE_DATE_EPOCH=str(1_769_824_800 + 86400 * n)) for n in range(3)]
    assert [night.returncode for night in nights] == [2, 2, 2]
    assert [bool(night.stdout) for night in nights] == [True, False, False]
    assert latest(place) == "2026-02-02T020000Z"
    assert info(place).baseline == "2026-02-01T020000Z"
    metrics = (place.path / "reports/latest/metrics.prom").read_text()
    assert re.search(
        rf"^fleetaudit_run_finished_timestamp_seconds\S* {1_769_824_800 + 2 * 86400}$",
        metrics,
        re.M,
    )
    assert [past.run[:4] for past in read_run(place.path / "reports/latest").history] == [
        "2036",
        "2026",
        "2026",
    ]


def test_runs_of_an_earlier_version_go_before_those_that_are_numbered(place: Workspace) -> None:
    place.run("run", "-p", "all.yml", *JSON, SOURCE_DATE_EPOCH=str(2**31))
    (old,) = place.runs()
    run = json.loads(with_export_only(old).read_bytes())
    for key in ("job", "sequence", "scheduled", "status", "tags", "skip_tags"):
        del run["run"][key]
    (old / "run.json").write_text(json.dumps(run, indent=2))  # by somebody's tool
    assert place.run("run", "-p", "all.yml", *JSON).returncode == 0
    assert info(place).baseline == old.name
    assert place.run("run", "-p", "all.yml", *JSON).returncode == 0
    assert info(place).baseline != old.name
    assert [info.sequence for info in (info(place, old.name), info(place))] == [0, 2]


def test_a_merged_run_follows_the_same_rule(place: Workspace) -> None:
    place.run("run", "-p", "all.yml", *JSON)
    for host in ("host00", "host01"):
        place.run("run", "-p", "other.yml", "-l", host, "-o", host, *JSON)
    merge = ("merge", "host00/latest", "host01/latest", *JSON)
    nightly, done = latest(place), place.run(*merge)
    assert done.returncode == 2
    assert f"still points to {nightly}" in done.stderr
    assert latest(place) == nightly
    assert place.run("runs", "--latest", newest(place).id).returncode == 0
    assert place.run(*merge).stderr == ""
    assert latest(place) == newest(place).id
    assert (info(place).job, info(place).status) == (job_name(info(place)), 2)


def test_the_list_on_a_terminal_marks_latest_and_tells_how_to_finish_what_was_left(
    place: Workspace,
) -> None:
    place.run("run", "-p", "all.yml", *JSON)
    left = place.path / "reports/2026-01-01T020000Z"
    shutil.copytree(place.runs()[0], left)
    journal = as_killed(left, 2)
    _, second = host_lines(journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    lines.insert(second, b"{damaged\n")
    journal.write_bytes(b"".join(lines)[:-9])
    place.run("run", "-p", "other.yml", *JSON)
    (place.path / "reports/2026-01-02T020000Z").mkdir()
    (place.path / "reports/2026-01-02T020000Z/run.json").write_text('{"\x1b[31m"')
    damaged = place.path / "reports/2026-01-03T020000Z"
    damaged.mkdir()
    whole = encode_run(replace(small_fleet(), run=replace(INFO, id=damaged.name, sequence=1)))
    (damaged / "run.json").write_bytes(whole[:-1000])
    done = place.run("runs")
    assert done.returncode == 0, done.stderr
    text = done.stdout.splitlines()
    job = info(place).job
    assert text[1].split()[0] == newest(place).id
    assert text[1].endswith("2: 2 warnings")
    assert text[2].split()[:2] == ["*", latest(place)]
    assert f"  {job}: 1 run, has latest" in text
    assert "      inventory.yml -p all.yml" in text
    assert f"  2026-01-01T020000Z: 1 of 2 hosts done, job {job}" in text
    assert "      fleetaudit run --resume reports/2026-01-01T020000Z" in text
    assert "\x1b" not in done.stdout
    assert (
        sum(line.startswith(("2026-01-02T020000Z: ", "2026-01-03T020000Z: ")) for line in text) == 2
    )
    listed = json.loads(place.run("runs", "--format", "json").stdout)
    assert listed["latest"] == latest(place)
    _, *resume = shlex.split(listed["unfinished"][0]["resume"])
    assert place.run(*resume).returncode == 0
    assert latest(place) == "2026-01-01T020000Z", "it finished last"
    assert json.loads(place.run("runs", "--format", "json").stdout)["unfinished"] == []


def test_a_name_in_a_run_json_moves_no_cursor(place: Workspace) -> None:
    name = stored(place.path / "reports", NOW, inventory=("a\x1b[2Jb.yml",), sequence=1)
    for words in (("runs",), ("runs", "--latest", name), ("run", "-p", "all.yml", *JSON)):
        done = place.run(*words)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_what_latest_cannot_point_to_is_refused(place: Workspace) -> None:
    assert place.run("runs").returncode == 66
    place.run("run", "-p", "all.yml", *JSON)
    (run,) = place.runs()
    cut = read_run(run)
    rest = NotAudited(name="later", stage="interrupted", reason="interrupted")
    cut = replace(cut, hosts=(*cut.hosts, rest), run=replace(cut.run, sequence=0))
    with_export_only(run, cut)
    before = latest(place)
    for name, status, words in (
        (run.name, 65, f"fleetaudit run --resume reports/{run.name}"),
        ("2020-01-01T000000Z", 66, "no such run"),
        ("..", 66, "no such run"),
    ):
        done = place.run("runs", "--latest", name)
        assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert latest(place) == before
    empty = place.path / "empty"
    empty.mkdir()
    assert place.run("runs", "-o", "empty").stdout == "No finished run in empty.\n"


def test_a_current_folder_that_is_gone_is_no_bug(place: Workspace) -> None:
    there = place.path / "there"
    there.mkdir()
    command, env = place.command("runs", "-o", place.path)
    gone = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *command]
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(gone, cwd=there, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 66, done.stderr
    assert "the current folder no longer exists" in done.stderr


def test_a_current_folder_that_goes_while_a_run_lasts_costs_nothing(place: Workspace) -> None:
    there = place.path / "there"
    there.mkdir()
    python = place.write(
        "python", f'#!/bin/sh\nrmdir {there} 2>/dev/null\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(python)}
    fleet = place.write("fleet.json", json.dumps({"all": {"hosts": {"a": host}}}))
    command, env = place.command(
        "run", fleet, "-p", place.path / "all.yml", "-o", place.path / "reports", "--cron"
    )
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, cwd=there, env=env, capture_output=True, text=True, timeout=300)
    assert (done.returncode, there.exists()) == (0, False), done.stderr
    assert latest(place) == place.runs()[0].name
