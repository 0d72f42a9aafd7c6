"""A whole run by SSH: a real sshd, the real probe, a page at the end."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from fleetaudit.model import Audited, NotAudited
from fleetaudit.store.run_file import read_run
from tests.commands.test_cli import MET, PLAYBOOK, Folder
from tests.support.sshd import Server, require

pytestmark = pytest.mark.commands


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
    hosts = {
        "web1": reached,
        "web2": reached,
        "stranger": {**reached, "ansible_user": "nobody-of-that-name"},
    }
    made.write("inventory.yml", json.dumps({"all": {"children": {"web": {"hosts": hosts}}}}))
    made.write("met.yml", PLAYBOOK.replace("{SENTENCE}", MET))
    return made


def test_hosts_are_audited_by_ssh_and_a_refused_login_is_reported(
    folder: Folder, sshd: Server
) -> None:
    known_hosts = sshd.target().known_hosts[0]
    done = folder.run("run", "-p", "met.yml", "--known-hosts", known_hosts)
    assert done.returncode == 4, done.stdout + done.stderr
    web1, web2, stranger = read_run(folder.path / "reports/latest").hosts
    for host in (web1, web2):
        assert isinstance(host, Audited)
        assert {o.scenario: o.ending for o in host.observations}["unread-close"] == "RST"
        assert host.groups == ("web",)
    assert isinstance(stranger, NotAudited)
    assert stranger.stage == "authenticate"
    assert stranger.hint in done.stdout
    assert "<html" in (folder.path / "reports/latest/report.html").read_text("utf-8")


def test_the_systems_ssh_gives_the_same_verdicts(folder: Folder, sshd: Server) -> None:
    require("ssh")
    options = (
        "--known-hosts",
        sshd.target().known_hosts[0],
        "--transport",
        "openssh",
        "--format",
        "json",
    )
    done = folder.run("run", "-p", "met.yml", *options)
    assert done.returncode == 4, done.stdout + done.stderr
    web1, web2, stranger = read_run(folder.path / "reports/latest").hosts
    for host in (web1, web2):
        assert isinstance(host, Audited)
        assert {o.scenario: o.ending for o in host.observations}["unread-close"] == "RST"
    assert isinstance(stranger, NotAudited)
    assert stranger.stage == "authenticate"
    assert "Permission denied" in stranger.reason


def test_an_unknown_host_key_is_refused_and_accepted_only_with_accept_new(folder: Folder) -> None:
    folder.write("empty", "")
    strict = folder.run(
        "run", "-p", "met.yml", "--known-hosts", "empty", "-l", "web1", "--format", "json"
    )
    assert strict.returncode == 4, strict.stdout + strict.stderr
    assert "host key: host key unknown: web1" in strict.stdout
    options = (
        "--known-hosts",
        "empty",
        "--host-key-policy",
        "accept-new",
        "-l",
        "web1",
        "--format",
        "json",
    )
    accepted = folder.run("run", "-p", "met.yml", *options)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert (folder.path / "reports/known_hosts").read_text("utf-8").strip()
    assert (folder.path / "empty").read_text() == ""


def test_two_kinds_of_server_and_a_dead_port_give_status_4_and_three_hosts_on_the_page(
    tmp_path: Path, sshd: Server, dropbear: Server
) -> None:
    with (
        socket.socket() as bound
    ):  # bound and not listening: whoever connects is refused, as on a dead port
        bound.bind(("127.0.0.1", 0))
        folder = Folder(tmp_path)
        hosts = {
            name: {
                "ansible_host": "127.0.0.1",
                "ansible_port": port,
                "ansible_user": sshd.target().user,
                "ansible_ssh_private_key_file": server.target().private_keys[0],
            }
            for name, server, port in (
                ("openssh", sshd, sshd.port),
                ("dropbear", dropbear, dropbear.port),
                ("dead", sshd, bound.getsockname()[1]),
            )
        }
        folder.write("inventory.yml", json.dumps({"all": {"hosts": hosts}}))
        folder.write(
            "known", "".join(Path(s.target().known_hosts[0]).read_text() for s in (sshd, dropbear))
        )
        done = folder.run("run", "inventory.yml", "--known-hosts", "known", "--retries", "0")
    assert done.returncode == 4, done.stdout + done.stderr
    run = json.loads((tmp_path / "reports/latest/run.json").read_text())
    assert [(h["name"], h["status"], h["stage"]) for h in run["hosts"]] == [
        ("openssh", "audited", None),
        ("dropbear", "audited", None),
        ("dead", "not audited", "connect"),
    ]
    for host in run["hosts"][:2]:
        endings = {(o["scenario"], o["family"]): o["ending"] for o in host["observations"]}
        assert endings["unread-close", "ipv4"] == "RST"
        assert endings["drained-close", "ipv4"] == "FIN"
        assert host["void"] == ""
    page = (tmp_path / "reports/latest/report.html").read_text("utf-8")
    assert all(name in page for name in hosts)
    assert run["hosts"][2]["hint"] in done.stdout
