"""One inventory with hosts that have a Python and hosts that have none: what a run, `explain` and
`doctor` say of each, and which setting counts.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.model import Audited, NotAudited
from fleetaudit.store.run_file import read_run
from tests.support.bare_host import busybox_host
from tests.support.commands import Workspace
from tests.support.native import built
from tests.support.sshd import Server, Start

pytestmark = pytest.mark.ssh


@pytest.fixture
def place(tmp_path: Path, start_sshd: Start) -> Workspace:
    """Returns a folder with an inventory of hosts with a Python, and hosts that have a busybox."""
    built()
    forced = busybox_host(tmp_path / "root").forced_command(tmp_path / "forced")
    bare = start_sshd(f"ForceCommand {forced}")
    usual = start_sshd()
    hosts: dict[str, Any] = {
        "python": reached(usual),
        "native": {**reached(usual), "fleetaudit_probe": "native"},
        "bare": {**reached(bare), "ansible_python_interpreter": "/opt/bin/python3"},
        "refused": {**reached(bare), "fleetaudit_probe": "python"},
    }
    place = Workspace(tmp_path)
    place.write("inventory.yml", json.dumps({"all": {"hosts": hosts}}))
    known = bare.known_hosts.read_text() + usual.known_hosts.read_text()
    place.write("known_hosts", known)
    return place


def reached(server: Server) -> dict[str, Any]:
    """Returns the variables of a host behind a server."""
    return {
        "ansible_host": "127.0.0.1",
        "ansible_port": server.port,
        "ansible_ssh_private_key_file": str(server.keys.user()),
    }


def test_every_output_says_which_probe_measured_a_host(place: Workspace) -> None:
    done = place.run(
        *("run", "-p", "quick.yml", "--known-hosts", "known_hosts", "--format", "json,csv,html")
    )
    assert done.returncode == 4, done.stdout + done.stderr
    (folder,) = place.runs()
    hosts = {host.name: host for host in read_run(folder).hosts}
    probes = {name: host.program for name, host in hosts.items()}
    assert probes == {"python": "python", "native": "native", "bare": "native", "refused": None}
    bare = hosts["bare"]
    assert isinstance(bare, Audited)
    assert (bare.python, bare.interpreter) == ("", "")
    assert bare.observations_by_scenario()["unread-close", "ipv4"].ending == "RST"
    (note,) = (note for note in bare.notes if "ansible_python_interpreter" in note)
    assert note.endswith("there is no such program; the native probe was used instead")
    refused = hosts["refused"]
    assert isinstance(refused, NotAudited)
    assert (refused.kind, refused.stage) == ("no python", "execute")

    with (folder / "report.csv").open(newline="") as f:
        rows = {row["host"]: row["probe"] for row in csv.DictReader(f)}
    assert rows == {name: probe or "" for name, probe in probes.items()}
    page = (folder / "report.html").read_text()
    assert "<dt>Probe</dt><dd>native</dd>" in page
    for name in ("native", "bare"):
        explained = place.run("explain", folder, name)
        assert "measured in a private network namespace, by the native probe" in explained.stdout
        as_json = json.loads(place.run("explain", folder, name, "--format", "json").stdout)
        assert as_json["probe"] == "native"


def test_doctor_names_the_native_probe(place: Workspace) -> None:
    words = ("doctor", "inventory.yml", "--known-hosts", "known_hosts", "-l", "!refused")
    done = place.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " native " in done.stdout
    checks = json.loads(place.run(*words, "--format", "json").stdout)["hosts"]
    assert [check["probe"] for check in checks] == ["python", "native", "native"]


def test_a_variable_takes_precedence_over_the_option(place: Workspace) -> None:
    words = ("run", "-p", "quick.yml", "--known-hosts", "known_hosts", "--format", "json")
    done = place.run(*words, "-l", "python,refused", "--probe", "native")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "--probe: not used for 1 of 2 hosts: fleetaudit_probe (" in done.stderr + done.stdout
    hosts = {host.name: host.program for host in read_run(place.runs()[-1]).hosts}
    assert hosts == {"python": "native", "refused": None}
    place.write("fleetaudit.yml", "probe: native\n")
    done = place.run(*words, "-l", "python")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_run(place.runs()[-1]).hosts[0].program == "native"


@pytest.mark.parametrize("value", ["perl", "NATIVE", 3, True, ["native"]])
def test_another_value_is_an_error_with_file_and_line(place: Workspace, value: object) -> None:
    place.write(
        "other.yml",
        f"all:\n  hosts:\n    a:\n      fleetaudit_probe: {json.dumps(value)}\n",
    )
    done = place.run("run", "other.yml")
    assert done.returncode == 65
    assert "other.yml:4: fleetaudit_probe of “a” is not " in done.stderr
