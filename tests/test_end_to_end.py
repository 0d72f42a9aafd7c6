"""A whole run by SSH: a real sshd, the real probe, a page at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleetaudit import archive
from fleetaudit.model import Audited, NotAudited

from .sshd import Server
from .test_cli import MET, PLAYBOOK, Folder


@pytest.fixture
def folder(tmp_path: Path, sshd: Server) -> Folder:
    """An inventory of two names of one server, and one that logs in with no key that it accepts."""
    made = Folder(tmp_path)
    target = sshd.target()
    reached = {
        "ansible_host": target.address,
        "ansible_port": target.port,
        "ansible_user": target.user,
        "ansible_ssh_private_key_file": target.private_keys[0],
    }
    hosts = {"web1": reached, "web2": reached, "stranger": {**reached, "ansible_user": "nobody-of-that-name"}}
    made.write("inventory.yml", json.dumps({"all": {"children": {"web": {"hosts": hosts}}}}))
    made.write("met.yml", PLAYBOOK.replace("{SENTENCE}", MET))
    return made


def test_hosts_are_audited_by_ssh_and_a_refused_login_is_told(folder: Folder, sshd: Server) -> None:
    known_hosts = sshd.target().known_hosts[0]
    done = folder.run("run", "-p", "met.yml", "--known-hosts", known_hosts)
    assert done.returncode == 4, done.stdout + done.stderr
    web1, web2, stranger = archive.read_run(folder.path / "reports/latest").hosts
    for host in (web1, web2):
        assert isinstance(host, Audited)
        assert {o.scenario: o.ending for o in host.observations}["unread-close"] == "RST"
        assert host.groups == ("web",)
    assert isinstance(stranger, NotAudited)
    assert stranger.stage == "authenticate"
    assert stranger.hint in done.stdout
    assert "<html" in (folder.path / "reports/latest/report.html").read_text("utf-8")


def test_a_host_key_that_is_unknown_is_refused_and_accepted_only_when_told(folder: Folder) -> None:
    folder.write("empty", "")
    strict = folder.run("run", "-p", "met.yml", "--known-hosts", "empty", "-l", "web1", "--format", "json")
    assert strict.returncode == 4, strict.stdout + strict.stderr
    assert "web1: host key: unknown host key" in strict.stdout
    options = ("--known-hosts", "empty", "--host-key-policy", "accept-new", "-l", "web1", "--format", "json")
    accepted = folder.run("run", "-p", "met.yml", *options)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert (folder.path / "reports/known_hosts").read_text("utf-8").strip()
    assert (folder.path / "empty").read_text() == ""
