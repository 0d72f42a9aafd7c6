"""`fleetaudit services`: only this command asks the services of a playbook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Workspace

SERVICES = """\
- name: services
  hosts: all
  services:
    - name: nobody
      port: 1
      unread_request: {ending: FIN}
"""
BOTH = """\
- name: both
  hosts: all
  sysctls: {collect: [net.ipv4.tcp_fin_timeout]}
  services:
    - port: 1
"""


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    workspace.write("services.yml", SERVICES)
    workspace.write("both.yml", BOTH)
    return workspace


def last_run(here: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((here.runs()[-1] / "run.json").read_text())
    return found


def test_services_are_asked_and_each_has_a_result_or_a_reason(here: Workspace) -> None:
    done = here.run("services", "localhost,", "-p", "services.yml")
    assert "Traceback" not in done.stderr
    run = last_run(here)
    assert run["run"]["command"] == "services"
    (host,) = run["hosts"]
    (service,) = host["services"]
    assert (host["status"], service["name"], service["target"]) == (
        "audited",
        "nobody",
        "127.0.0.1:1",
    )
    assert service["problem"]


def test_run_does_not_ask_services_and_says_who_does(here: Workspace) -> None:
    done = here.run("run", "localhost,", "-p", "both.yml")
    assert "services are not asked" in done.stderr
    assert "fleetaudit services localhost, --playbook both.yml" in done.stderr
    run = last_run(here)
    assert "services" not in run["hosts"][0]
    assert "command" not in run["run"]


def test_run_of_services_only_says_what_to_type(here: Workspace) -> None:
    done = here.run("run", "localhost,", "-p", "services.yml")
    assert done.returncode == 66
    assert "fleetaudit services localhost, --playbook services.yml" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["localhost,"], 64, "fleetaudit services INVENTORY -p FILE"),
        (["localhost,", "-p", "quick.yml"], 66, "the playbook names no services"),
        (["localhost,", "-p", "missing.yml"], 66, "missing.yml"),
    ],
)
def test_a_command_without_services_is_refused(
    here: Workspace, arguments: list[str], status: int, message: str
) -> None:
    done = here.run("services", *arguments)
    assert (done.returncode, message in done.stderr) == (status, True), done.stderr


def test_a_url_of_another_host_is_refused_before_anything_is_connected(here: Workspace) -> None:
    here.write("other.yml", SERVICES.replace("port: 1", "url: http://example.org/"))
    done = here.run("services", "localhost,", "-p", "other.yml")
    assert done.returncode == 65
    assert "other.yml:5:12: a service is asked on the host itself" in done.stderr


def test_a_run_is_resumed_by_the_command_that_began_it(here: Workspace) -> None:
    here.run("services", "localhost,", "-p", "services.yml")
    (folder,) = here.runs()
    done = here.run("run", "--resume", folder)
    assert done.returncode == 65
    assert f"fleetaudit services --resume {folder}" in done.stderr
