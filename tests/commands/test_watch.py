"""`fleetaudit watch`: real programs that reset are named, in every output, and what could not be
watched says so.
"""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.report import registry
from tests.support import probe_runs
from tests.support.commands import Workspace, until
from tests.support.resetting import RESETS, Program, is_watching, resetting
from tests.support.sshd import Keys, Server

pytestmark = [
    pytest.mark.commands,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("turn_to_watch"),
]

PLAYBOOK = """
- name: Both
  hosts: all
  trials: 1
  families: [ipv4]
  scenarios: [unread-close/unread-close]
  watch:
    for: 1s
    expect:
      resets: {at_most: 1000000}
"""


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.locals(1)
    return place


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[list[Program]]:
    probe_runs.need_root()
    folder = tmp_path / "bin"
    folder.mkdir()
    with resetting(folder) as found:
        yield found


def watching(pid: int) -> bool:
    """Returns whether a probe below a process watches."""
    return any(map(is_watching, below(pid)))


def below(pid: int) -> list[int]:
    """Returns the processes that a process started, and those that they started."""
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        children = [int(n) for task in tasks for n in (task / "children").read_text().split()]
    except OSError:
        return []
    return [*children, *(found for child in children for found in below(child))]


def watch(place: Workspace, programs: list[Program], *options: str) -> tuple[int, str, str]:
    """Watches for some seconds while the programs reset; returns the status and the texts."""
    process = place.start("watch", "inventory.yml", "--for", "6s", *options)
    try:
        until(lambda: watching(process.pid) or process.poll() is not None, "the watch")
        for program in programs:
            program.go()
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, out, err


def host_of(place: Workspace) -> dict[str, Any]:
    """Returns the first host of the last run."""
    hosts: list[dict[str, Any]] = json.loads((place.runs()[-1] / "run.json").read_bytes())["hosts"]
    return hosts[0]


def test_programs_that_reset_are_named_and_gone_when_they_no_longer_do(
    place: Workspace, programs: list[Program]
) -> None:
    status, out, err = watch(place, programs, "--peers", "--format", "html,csv,prometheus,text")
    assert (status, err) == (0, "")
    assert out.startswith("All as expected: ")
    unread, orderly = (
        next(program for program in programs if program.way == way) for way in ("unread", "orderly")
    )
    # Other tests may reset at the same time: only the text of a host has all of its rows.
    assert "\nWho resets: " in out
    explained = place.run("explain", "latest", "host00").stdout.splitlines()
    (line,) = [line for line in explained if line.startswith(f"  {unread.executable} ")]
    assert line.split()[1:5] == [str(unread.port), "unread", "data", str(RESETS["unread"])]
    assert not any(str(orderly.executable) in line for line in explained)

    seen = host_of(place)["watch"]
    (row,) = [row for row in seen["resets"] if row["owner"]["executable"] == str(unread.executable)]
    assert (row["count"], row["reason"]) == (RESETS["unread"], "unread data")
    assert row["peers"] == {"127.0.0.0/24": RESETS["unread"]}
    finding = f"resets:{unread.executable.name}:{unread.port}"
    assert finding in {f["id"] for f in host_of(place)["findings"]}
    folder = place.runs()[-1]
    rows = csv.DictReader((folder / "report.csv").read_text("utf-8").splitlines())
    assert finding in {row["id"] for row in rows}
    metrics = (folder / registry.FILES["prometheus"]).read_text("utf-8")
    series = f'executable="{unread.executable}",port="{unread.port}",reason="unread data"}} 7'
    assert series in metrics

    status, out, err = watch(place, [])
    assert (status, err) == (0, "")
    drift = place.run("diff", *(folder.name for folder in place.runs()), "--format", "json")
    assert drift.returncode == 8
    (change,) = [each for each in json.loads(drift.stdout)["changes"] if each["what"] == finding]
    assert (change["before"], change["after"]) == ("resets because of unread data", "no reset")


@pytest.mark.ssh
@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_a_silent_connection_lasts_as_long_as_the_watch(
    place: Workspace, sshd: Server, keys: Keys, transport: str
) -> None:
    place.write("ssh.ini", f"web1 ansible_host=127.0.0.1 ansible_port={sshd.port}\n")
    options = ("--private-key", keys.user(), "--known-hosts", sshd.known_hosts)
    more = ("--transport", transport, "--host-deadline", "20")
    done = place.run("watch", "ssh.ini", "--for", "25s", *options, *more)
    assert done.returncode in (0, 2), done.stderr
    watched = host_of(place)["watch"]
    if watched.get("problem"):
        pytest.skip(watched["problem"])
    assert 24.5 < watched["seconds"] < 26


def test_a_watch_is_a_job_of_its_own(place: Workspace) -> None:
    assert place.run("watch", "inventory.yml", "--for", "1s").returncode in (0, 2)
    assert place.run("run", "inventory.yml", "-p", "quick.yml").returncode == 0
    listed = place.run("runs").stdout
    assert "watch inventory.yml" in listed
    assert len({json.loads((r / "run.json").read_bytes())["run"]["job"] for r in place.runs()}) == 2


def test_a_run_with_a_watch_in_its_playbook_does_both(place: Workspace) -> None:
    place.write("both.yml", PLAYBOOK)
    done = place.run("run", "inventory.yml", "-p", "both.yml")
    assert "Who resets: " in done.stdout
    assert "unread-close" in done.stdout
    host = host_of(place)
    assert "watch:resets" in host["expectations"]
    assert host["observations"]
    assert "watched for 1 s" in place.run("run", "inventory.yml", "-p", "both.yml", "-C").stdout
    assert "watch  (1 s)" in place.run("scenarios", "-p", "both.yml").stdout


def test_a_host_on_which_the_probe_is_not_root_says_so_in_every_output(place: Workspace) -> None:
    probe_runs.need_root()
    options = ("--become", "--become-user", "nobody", "--for", "1s")
    formats = ("csv", "junit", "sarif", "text", "html")
    done = place.run("watch", "inventory.yml", *options, "--format", ",".join(formats))
    if "not audited" in done.stdout.splitlines()[0]:
        pytest.skip(f"sudo -u nobody: {done.stdout}")
    assert done.returncode == 2
    assert done.stdout.startswith("Watch: the one audited host could not be watched (warning).\n")
    assert "watching needs root" in done.stdout
    watched = host_of(place)["watch"]
    assert watched["hint"]
    for name in formats:
        text = (place.runs()[-1] / registry.FILES[name]).read_text("utf-8")
        assert "watching needs root" in text, name
    quiet = place.run("watch", "inventory.yml", *options, "-q")
    assert "watching needs root" in quiet.stdout


def test_a_watch_that_was_killed_is_resumed_by_its_own_command(place: Workspace) -> None:
    process = place.start("watch", "inventory.yml", "--for", "1s", "-f", "1")
    until(lambda: bool(place.runs()), "the run folder")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = place.runs()
    refused = place.run("run", "--resume", folder.name)
    assert refused.returncode == 65
    assert f"fleetaudit watch --resume reports/{folder.name}" in refused.stderr
    done = place.run("watch", "--resume", folder.name)
    assert done.returncode in (0, 2), done.stderr
    assert "watch" in host_of(place)


@pytest.mark.parametrize("time", ["0", "2h", "soon", "nan", "-1s"])
def test_a_time_that_makes_no_sense_is_refused(place: Workspace, time: str) -> None:
    done = place.run("watch", "inventory.yml", f"--for={time}")
    assert done.returncode == 64
    assert "--for" in done.stderr
    assert not place.runs()
