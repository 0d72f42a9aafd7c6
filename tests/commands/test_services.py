"""`fleetaudit services`: only this command asks the services of a playbook, with a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Workspace
from tests.support.small_servers import refusing_server

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


# ---- a server that loses answers


def upload(port: int) -> str:
    """Returns a playbook that asks a server of this machine, in two ways."""
    return f"""\
- name: front
  hosts: all
  services:
    - name: upload
      url: http://127.0.0.1:{port}/upload
      body: 8MB
      tries: 2
      writings: ["send all, then read", "read while sending"]
      early_answer: {{status: 413}}
      idle: {{at_least: 1, wait: 5}}
      unread_request: {{ending: FIN}}
"""


def test_a_server_that_loses_answers_is_found_in_every_output(here: Workspace) -> None:
    with refusing_server(drains=False) as port:
        here.write("upload.yml", upload(port).replace("1, wait: 5", "61, wait: 62"))
        formats = "html,json,csv,junit,sarif,prometheus"
        done = here.run("services", "localhost,", "-p", "upload.yml", "--format", formats)
    assert done.returncode == 2
    assert "2 of 6 clients lost the answer" in done.stdout
    assert "send all, then read: 0 of 2; read while sending: 2 of 2 with 413" in done.stdout
    assert "close in stages" in done.stdout
    (folder,) = here.runs()
    run = last_run(here)
    assert run["locations"]["service:upload"]["line"] == 4
    found = {each["id"]: each["observed"] for each in run["hosts"][0]["findings"]}
    assert found == {
        "service:upload/early answer": (
            "0 of 2 clients that send all, then read got 413 (2 got a reset with 413 unread)"
        ),
        "service:upload/idle": "closed after 1 s with FIN",
    }
    sarif = json.loads((folder / "report.sarif").read_text())["runs"][0]
    places = {each["ruleId"]: json.dumps(each) for each in sarif["results"]}
    assert '"startLine": 4' in places["service:upload/idle"]
    junit = (folder / "junit.xml").read_text()
    assert junit.count("<failure") == 2
    assert 'name="service:upload/pipelined"' in junit
    text = here.run("explain", folder, "localhost").stdout
    assert "early answer: close in stages" in text
    assert "RFC 9112, section 9.6" in text
    if run["hosts"][0]["services"][0]["checks"][0]["wire"]:  # where packets may be captured
        assert "The last segments of one client of upload, early answer:" in text
        assert "closer > peer    Flags [R" in text


def test_a_server_that_begins_to_lose_answers_is_a_regression(here: Workspace) -> None:
    with refusing_server(drains=True) as port:
        here.write("upload.yml", upload(port))
        done = here.run("services", "localhost,", "-p", "upload.yml")
        assert done.returncode == 0, done.stdout + done.stderr
    with refusing_server(drains=False, port=port):
        done = here.run("services", "localhost,", "-p", "upload.yml", "--fail-on", "drift")
    assert done.returncode == 8, done.stdout
    assert "upload (early answer): lost answers: 0 of 4 → lost answers: 2 of 4" in done.stdout
    before, after = here.runs()
    text = here.run("diff", before, after).stdout
    assert "upload (early answer): lost answers: 0 of 4 → lost answers: 2 of 4" in text


def test_check_says_what_would_be_asked_and_asks_nothing(here: Workspace) -> None:
    here.write("upload.yml", upload(1))
    done = here.run("services", "localhost,", "-p", "upload.yml", "--check")
    assert done.returncode == 0
    assert "1 service" in done.stdout
    assert here.runs() == []
    done = here.run("scenarios", "-p", "upload.yml")
    assert "service upload\n  http://127.0.0.1:1/upload on 127.0.0.1" in done.stdout
