"""Two hundred names of one server that drops connections: every one of them is audited, none is
lost, none twice.

The connections are what is tested here, so the server runs the probe for the first of them only;
the others, which are the same machine, get its answer again, with the nonce of their own request.
Two hundred probes take minutes.
"""

from __future__ import annotations

import csv
import getpass
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.fleet import repeat_nonce
from tests.support.commands import Workspace
from tests.support.sshd import Server, Start, require

HOSTS = 200
FORKS = 50
SECONDS = 400
"""Many times what two hundred probes take on two cores, of which others take their part."""


def inventory(server: Server) -> str:
    """Returns an inventory of 200 names for one server."""
    variables = {
        "ansible_host": "127.0.0.1",
        "ansible_port": server.port,
        "ansible_user": getpass.getuser(),
        "ansible_ssh_private_key_file": str(server.keys.user()),
    }
    return json.dumps(
        {"all": {"hosts": {f"host{n:03}": None for n in range(HOSTS)}, "vars": variables}}
    )


ONCE = f"""#!/bin/sh
echo 'fleetaudit-shell/1 0 root'
read -r first
read -r second
exec 9>"$0.lock"
flock 9
if [ -s "$0.answer" ]; then
    flock -u 9
    cat >/dev/null
    exec {sys.executable} -I -S {repeat_nonce.__file__} "$0.answer" "$second"
fi
{{ echo "$first"; echo "$second"; cat; }} | sh -c "$SSH_ORIGINAL_COMMAND" >"$0.new"
mv "$0.new" "$0.answer"
cat "$0.answer"
"""


@pytest.fixture
def once(tmp_path: Path) -> str:
    """Returns the line for sshd_config that answers every connection with what the first one's
    command says.
    """
    require("flock")
    script = tmp_path / "once"
    script.write_text(ONCE)
    script.chmod(0o755)
    return f"ForceCommand {script}"


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def audit(place: Workspace, server: Server, *options: str) -> tuple[int, list[dict[str, str]], str]:
    """Returns the exit status of a run over all of them, its rows and its output."""
    place.write("hosts.json", inventory(server))
    words = (
        "run",
        "hosts.json",
        "-p",
        "quick.yml",
        "-f",
        str(FORKS),
        "--known-hosts",
        str(server.known_hosts),
    )
    process = place.start(*words, "--format", "json,csv", *options)
    _, said = process.communicate(timeout=SECONDS)
    run = json.loads((place.path / "reports" / "latest" / "run.json").read_text("utf-8"))
    return process.returncode, run["hosts"], said


@pytest.mark.parametrize("asked", [(), ("-f", "100")], ids=["default", "asked"])
def test_a_run_with_few_open_files_audits_all_hosts(
    place: Workspace, start_sshd: Start, once: str, asked: tuple[str, ...]
) -> None:
    server = start_sshd(once)
    place.write("hosts.json", inventory(server))
    command, environment = place.command(
        *("run", "hosts.json", "-p", "quick.yml", "--format", "json", *asked),
        *("--known-hosts", server.known_hosts),
    )
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *command],
        cwd=place.path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    run = json.loads((place.path / "reports" / "latest" / "run.json").read_text("utf-8"))
    lost = [host for host in run["hosts"] if host["status"] != "audited"]
    assert (done.returncode, lost, len(run["hosts"])) == (0, [], HOSTS), done.stderr
    assert ("at once instead of 100: the limit of open files" in done.stderr) == bool(asked)


def drops(server: Server) -> int:
    """Returns how many connections sshd says it dropped before their login."""
    return len(re.findall(r"drop connection", server.log.read_text("utf-8", "replace")))


def test_two_hundred_names_of_a_server_that_drops_connections_are_all_audited(
    place: Workspace, start_sshd: Start, once: str
) -> None:
    server = start_sshd("MaxStartups 5:50:20", once)
    status, hosts, said = audit(place, server)
    lost = [
        (host["name"], host["stage"], host["reason"])
        for host in hosts
        if host["status"] != "audited"
    ]
    assert (status, lost) == (0, []), said
    assert Counter(host["name"] for host in hosts) == {f"host{n:03}": 1 for n in range(HOSTS)}
    # The server did drop some: without that the test would show nothing.
    assert drops(server)


def test_without_a_retry_each_of_two_hundred_names_is_reported_exactly_once(
    place: Workspace, start_sshd: Start, once: str
) -> None:
    server = start_sshd("MaxStartups 2:100:2", once)
    status, hosts, said = audit(place, server, "--retries", "0")
    assert Counter(host["name"] for host in hosts) == {f"host{n:03}": 1 for n in range(HOSTS)}
    lost = [host for host in hosts if host["status"] != "audited"]
    assert status == (4 if lost else 0), said
    assert all(host["stage"] == "connect" and host["reason"] and host["hint"] for host in lost)
    with (place.path / "reports" / "latest" / "report.csv").open(
        newline="", encoding="utf-8"
    ) as file:
        assert {row["host"] for row in csv.DictReader(file)} == {host["name"] for host in hosts}
