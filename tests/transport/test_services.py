"""Services of a host that is reached by SSH are asked there, from the host itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import Workspace
from tests.support.small_servers import refusing_server
from tests.support.sshd import Server

pytestmark = pytest.mark.commands


def test_a_service_of_a_host_is_asked_by_ssh(tmp_path: Path, sshd: Server) -> None:
    here, target = Workspace(tmp_path), sshd.target()
    reached = {
        "ansible_host": target.address,
        "ansible_port": target.port,
        "ansible_user": target.user,
        "ansible_ssh_private_key_file": target.private_keys[0],
    }
    here.write("inventory.yml", json.dumps({"all": {"hosts": {"web1": reached}}}))
    with refusing_server(drains=False) as port:
        url = f"{{name: front, url: 'http://127.0.0.1:{port}/', body: 8MB, tries: 2}}"
        here.write("front.yml", f"- name: a\n  hosts: all\n  services:\n    - {url}\n")
        done = here.run("services", "-p", "front.yml", "--known-hosts", target.known_hosts[0])
    assert done.returncode == 2, done.stdout + done.stderr
    (host,) = json.loads((here.runs()[0] / "run.json").read_text())["hosts"]
    (front,) = host["services"]
    assert [check["check"] for check in front["checks"]] == [
        "early answer",
        "idle",
        "pipelined",
        "unread request",
    ]
    assert [finding["id"] for finding in host["findings"]] == ["service:front/early answer"]
    assert "front" in done.stdout
