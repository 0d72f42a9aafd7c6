"""Publishing as a command, after a run, from cron, and while it is killed."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.commands import Workspace
from tests.support.published import add_run, dead_links, files_of
from tests.support.stored_runs import as_killed

SYSCTLS = """
- name: sysctls
  hosts: all
  sysctls:
    collect: [net.ipv4.tcp_fin_timeout]
"""
RUN = ("run", "-p", "sysctls.yml")


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.locals(1)
    place.write("sysctls.yml", SYSCTLS)
    return place


def ids_of(site: Path) -> list[str]:
    """Returns the runs of a site, the last one first."""
    data = json.loads((site / "history.json").read_bytes())
    return [run["id"] for job in data["jobs"] for run in job["runs"]]


def test_a_run_publishes_itself_and_the_command_says_where(place: Workspace) -> None:
    done = place.run(*RUN, "--publish", "site", "--publish-mode", "0644")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Site: site/index.html\n")
    site, (run,) = place.path / "site", place.runs()
    assert (site / "latest/index.html").read_bytes() == (run / "report.html").read_bytes()
    assert stat.S_IMODE((site / "index.html").stat().st_mode) == 0o644
    assert "Cannot say" in (site / "index.html").read_text("utf-8")
    again = place.run("publish", "site", "--publish-mode", "0644")
    assert again.stdout == "1 job, 1 run: 0 files written, 0 removed\nSite: site/index.html\n"
    assert place.run(*RUN, "--publish", "site", "-C").returncode == 0
    assert ids_of(site) == [run.name]


def test_every_secret_place_of_the_output_folder_stays_there(place: Workspace) -> None:
    place.run(
        *RUN, "--publish", "site", "--format", "html,json,csv,junit,text,pcap,prometheus,sarif"
    )
    output = place.path / "reports"
    (output / "known_hosts").write_text("CANARY1")
    (place.runs()[0] / "hosts.jsonl").write_text("CANARY2")
    (place.runs()[0] / "notes.txt").write_text("CANARY3")
    place.run("publish", "site")
    found = files_of(place.path / "site")
    assert {Path(name).suffix for name in found} == {".html", ".json"}
    assert not any(b"CANARY" in data for data in found.values())
    assert {name for name in found if name.endswith(".json")} <= {
        "history.json", *(name for name in found if name.endswith("/history.json")),
    }  # fmt: skip


def test_a_site_that_cannot_be_written_does_not_cost_the_run(place: Workspace) -> None:
    (place.path / "other").mkdir()
    place.write("other/index.html", "mine")
    refused = place.run(*RUN, "--publish", "other")
    assert (refused.returncode, place.runs()) == (73, [])
    assert "fleetaudit publish other/fleetaudit" in refused.stderr
    assert place.run(*RUN, "--publish", "reports/site").returncode == 64
    done = place.run(*RUN, "--cron", "--publish", "other", "--publish-mode", "640")
    assert done.returncode == 73
    assert "not published: other: not empty (index.html)" in done.stderr
    command = "fleetaudit publish other -o reports --publish-mode 0640"
    assert f"the run is complete; to publish it: {command}\n" in done.stderr
    assert "--resume" not in done.stderr
    (run,) = place.runs()
    assert (run / "report.html").exists()
    assert (place.path / "reports/latest").resolve() == run
    assert (place.path / "other/index.html").read_text() == "mine"


def test_a_failed_run_of_cron_is_sent_and_a_quiet_one_publishes_quietly(place: Workspace) -> None:
    arguments = (*RUN, "--cron", "--publish", "site", "--report-url", "https://ops.example.org/f/")
    first = place.run(*arguments)
    run = place.runs()[0]
    job = json.loads((run / "run.json").read_bytes())["run"]["job"]
    assert first.stdout.endswith(f"Report: https://ops.example.org/f/{job}/{run.name}/index.html\n")
    place.write("site/robots.txt", "")
    second = place.run(*arguments)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(ids_of(place.path / "site")) == 2


def test_old_runs_leave_the_site_with_keep(place: Workspace) -> None:
    for _ in range(3):
        assert place.run(*RUN, "--keep", "2", "--publish", "site").returncode == 0
    kept = [run.name for run in reversed(place.runs())]
    assert len(kept) == 2
    assert ids_of(place.path / "site") == kept
    assert dead_links(place.path / "site") == set()


def test_an_interrupted_run_publishes_nothing_until_it_is_resumed(place: Workspace) -> None:
    place.run(*RUN, "--publish", "site")
    (run,) = place.runs()
    shutil.rmtree(place.path / "site")
    as_killed(run, 0)
    done = place.run("run", "--resume", run)
    assert done.returncode == 0
    assert done.stdout.endswith("Site: site/index.html\n")
    assert ids_of(place.path / "site") == [run.name]


def test_the_configuration_names_the_site(place: Workspace) -> None:
    place.write("fleetaudit.yml", "{publish: site, publish_mode: 0644}\n")
    (place.path / "fleetaudit.yml").chmod(0o600)
    assert place.run(*RUN).stdout.endswith("Site: site/index.html\n")
    assert stat.S_IMODE((place.path / "site/index.html").stat().st_mode) == 0o644
    place.write("fleetaudit.yml", "{publish: site, publish_mode: 0666}\n")
    done = place.run(*RUN)
    assert done.returncode == 78
    assert "the configuration's publish_mode: 0666" in done.stderr


def test_publish_ends_at_once_if_another_one_is_under_way_and_a_run_waits(
    place: Workspace,
) -> None:
    place.run(*RUN, "--publish", "site")
    with (place.path / "site/.fleetaudit-site.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = place.run("publish", "site")
        assert refused.returncode == 75
        assert "publishes there now; wait for it" in refused.stderr
        waiting = place.start(*RUN, "--publish", "site")
        time.sleep(6)
        assert waiting.poll() is None
    assert waiting.wait(timeout=120) == 0
    assert len(ids_of(place.path / "site")) == 2


def test_a_folder_of_somebody_else_is_an_error_of_the_output(place: Workspace) -> None:
    place.run(*RUN)
    if os.geteuid() != 0:
        pytest.skip("needs root, to give the folder away")
    (place.path / "site").mkdir(mode=0o755)
    place.path.chmod(0o777)
    command, env = place.command("publish", "site", "-o", "reports")
    shutil.copytree(place.path / "reports", place.path / "readable", symlinks=True)
    for path in ((place.path / "readable"), *(place.path / "readable").rglob("*")):
        path.chmod(0o755) if path.is_dir() else path.chmod(0o644)
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command[:-1], "readable"],
        cwd=place.path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "No module named" in done.stderr or "Permission denied: '" in done.stderr:
        pytest.skip("the other user cannot start this Python")
    assert done.returncode == 73, done.stderr
    assert "site/.fleetaudit-site.lock: cannot be written: Permission denied" in done.stderr


def test_kill_9_at_any_moment_leaves_a_site_without_dead_links_that_the_next_one_mends(
    place: Workspace,
) -> None:
    output, site = place.path / "reports", place.path / "site"
    for night in range(12):
        add_run(output, night)
    begin = time.monotonic()
    assert place.run("publish", "site").returncode == 0
    seconds = time.monotonic() - begin
    chance, killed = random.Random(15), 0
    for night in range(12, 24):
        add_run(output, night)
        oldest = min(path for path in output.iterdir() if path.name.startswith("2026"))
        shutil.rmtree(oldest)
        process = place.start("publish", "site")
        time.sleep(chance.uniform(0.5, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
        else:
            seconds *= 0.7  # it had ended: the next one is killed earlier
        process.communicate()
        assert dead_links(site) == set()
        if night % 3:  # some are mended by the next one but one
            assert place.run("publish", "site").returncode == 0
    assert killed > 3
    assert place.run("publish", "site").returncode == 0
    assert place.run("publish", "fresh").returncode == 0
    assert files_of(site) == files_of(place.path / "fresh")
    assert not [path for path in site.rglob("*") if path.name.endswith(".part")]
