"""Hosts that no play selects, in the output of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from fleetaudit.model import AuditRun, NotAudited
from fleetaudit.store.run_file import encode_run, read_run
from tests.support.commands import Workspace
from tests.support.stored_runs import as_killed
from tests.unit.analysis.test_not_selected import REASON

INVENTORY = """
all:
  vars: {ansible_connection: local}
  children:
    web: {hosts: {web1: , web2: }}
    db: {hosts: {db1: }}
"""
WEB = "- name: Web\n  hosts: web\n  sysctls: {collect: [net.ipv4.tcp_fin_timeout]}\n"


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path)
    place.write("inventory.yml", INVENTORY)
    place.write("web.yml", WEB)
    return place


def statuses(run: AuditRun) -> dict[str, str]:
    return {host.name: str(host.__struct_config__.tag) for host in run.hosts}


WANTED = {"web1": "audited", "web2": "audited", "db1": "not selected"}


def test_a_play_for_one_group_does_not_fail_the_others(place: Workspace) -> None:
    done = place.run("run", "-p", "web.yml", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"3 hosts: 2 audited, 0 not audited, 1 {REASON} (db1)." in done.stdout
    assert f"db1: {REASON}" in done.stderr
    assert statuses(read_run(place.path / "reports/latest")) == WANTED
    (folder,) = place.runs()
    assert not (folder / "hosts.jsonl").exists()
    assert place.run("explain", "latest", "db1").stdout == f"db1: {REASON}\n"
    again = place.run("run", "-p", "web.yml", "--cron")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_check_names_it(place: Workspace) -> None:
    done = place.run("run", "-p", "web.yml", "--check")
    assert done.returncode == 0
    assert done.stdout.splitlines()[2] == f"db1  {REASON}"


def test_where_no_host_matches_any_play_there_is_nothing_to_do(place: Workspace) -> None:
    done = place.run("run", "-p", "web.yml", "-l", "db")
    assert done.returncode == 66
    assert "no play matches any selected host (db1)" in done.stderr
    assert "tried: “hosts: web” (web.yml)" in done.stderr
    assert not (place.path / "reports").exists()


def test_the_check_of_the_connections_asks_no_play(place: Workspace) -> None:
    done = place.run("doctor", "-l", "db")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_password_is_not_called_useless_because_of_it(place: Workspace) -> None:
    """Only the hosts that are asked something count: db1 would take the password, and nobody logs
    in there.
    """
    place.write("secret", "x\n").chmod(0o600)
    place.write("inventory.yml", INVENTORY.replace("db1: ", "db1: {ansible_connection: ssh}"))
    done = place.run("run", "-p", "web.yml", "--connection-password-file", "secret")
    assert done.returncode == 64
    assert "no host takes a password" in done.stderr


def test_a_resumed_and_a_merged_run_have_it_once(place: Workspace) -> None:
    assert place.run("run", "-p", "web.yml").returncode == 0
    (folder,) = place.runs()
    journal = as_killed(folder, 3)
    line = next(line for line in journal.read_bytes().splitlines() if b'"db1"' in line)
    journal.write_bytes(line + b"\n")
    assert place.run("run", "--resume", folder.name).returncode == 0
    assert statuses(read_run(folder)) == WANTED
    other = replace(
        read_run(folder), hosts=(NotAudited(name="x", stage="connect", reason="refused"),)
    )
    (place.path / "other.json").write_bytes(encode_run(other))
    merged = place.run("merge", f"reports/{folder.name}", "other.json", "-o", "merged")
    assert merged.returncode == 4
    assert "4 hosts: 2 audited, 1 not audited, 1 not selected by any play (db1)." in merged.stdout
    assert statuses(read_run(place.path / "merged/latest")) == {
        **WANTED,
        "x": "not audited",
    }
