"""Hosts that fail for one reason are one line, with a command that can be pasted."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.support.commands import Workspace


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_sixty_hosts_that_refuse_a_connection_are_one_line_in_run_doctor_and_mail(
    place: Workspace, closed_port: int
) -> None:
    lines = [
        f"    srv{n:03}: {{ansible_host: 127.0.0.{n}, ansible_port: {closed_port}}}\n"
        for n in range(2, 62)
    ]
    place.write(
        "inventory.yml", "all:\n  hosts:\n    here: {ansible_connection: local}\n" + "".join(lines)
    )
    line = "connect: connection refused: 60 hosts srv[002-061]"
    place.write("hosts.yml", "all:\n  hosts:\n    here: {ansible_connection: local}\n")
    assert place.run("run", "-p", "quick.yml", "hosts.yml").returncode == 0
    run = place.run("run", "-p", "quick.yml")
    assert run.returncode == 4, run.stderr
    assert run.stdout.count(line) == 1
    assert "srv003" not in run.stdout  # only the first is named, with the command to type
    mail = place.run("run", "--cron", "-p", "quick.yml")
    assert mail.stdout == ""  # the same as before
    place.write(
        "inventory.yml",
        "all:\n  hosts:\n    here: {ansible_connection: local}\n" + "".join(lines[:30]),
    )
    assert (
        "connect: connection refused: 30 hosts srv[002-031]"
        in place.run("run", "--cron", "-p", "quick.yml").stdout
    )
    place.write("inventory.yml", "all:\n  hosts:\n" + "".join(lines))
    assert line in place.run("doctor").stdout
    hosts = json.loads((place.runs()[1] / "run.json").read_text())["hosts"]
    assert {(h["stage"], h["kind"]) for h in hosts[1:]} == {("connect", "connection refused")}
    assert (hosts[0]["kind"], hosts[0]["at"]) == ("", "")
    assert len({h["reason"] for h in hosts[1:]}) == 60


def test_a_hint_that_repeats_the_command_is_the_whole_line(
    place: Workspace, silent_port: int
) -> None:
    place.write(
        "my inv.yml",
        f"all:\n  hosts:\n    web1: {{ansible_host: 127.0.0.1, ansible_port: {silent_port}}}\n",
    )
    options = ("-p", "quick.yml", "-f", "3", "--retries", "0", "-q", "--run-deadline", "1")
    assert place.run("run", "my inv.yml", *options, FLEETAUDIT_TIMEOUT="50").returncode == 4
    host = json.loads((place.runs()[-1] / "run.json").read_text())["hosts"][0]
    assert shlex.split(host["hint"]) == [
        "fleetaudit",
        "run",
        "my inv.yml",
        "--playbook",
        "quick.yml",
        "--forks",
        "3",
        "--retries",
        "0",
        "-l",
        "web1",
    ]
