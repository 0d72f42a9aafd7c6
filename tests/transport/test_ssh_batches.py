"""--serial, --max-fail-percentage and --rate with a real sshd: what its side sees."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path

import pytest

from bench.fleet import repeat_nonce
from fleetaudit.model import Audited, NotAudited
from fleetaudit.store.run_file import read_run
from tests.support.commands import Workspace
from tests.support.sshd import Server, Start, require

pytestmark = pytest.mark.commands
REPEAT_NONCE = repeat_nonce.__file__

NOTED = f"""#!/bin/sh
echo "begins $(date +%s.%N)" >>"$0.events"
echo 'fleetaudit-shell/1 0 root'
read -r first
read -r second
exec 9>"$0.lock"
flock 9
if [ ! -s "$0.answer" ]; then
    {{ echo "$first"; echo "$second"; cat; }} | sh -c "$SSH_ORIGINAL_COMMAND" >"$0.new"
    mv "$0.new" "$0.answer"
else
    cat >/dev/null
fi
flock -u 9
sleep 0.5
echo "ends $(date +%s.%N)" >>"$0.events"
exec {sys.executable} -I -S {REPEAT_NONCE} "$0.answer" "$second"
"""
"""A host that notes when its command begins and ends; the probe runs once, for all of them."""


class Noted:
    """A server that notes each command, and a folder to start runs in."""

    def __init__(self, place: Workspace, server: Server, events: Path) -> None:
        self.place, self.server, self._events = place, server, events

    def inventory(self, hosts: int, *refused: int) -> None:
        """Writes inventory.yml; the login to the hosts of these numbers is refused."""
        variables = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.server.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.server.keys.user()),
        }
        bad = {"ansible_user": "nobody-of-that-name"}
        names = {f"host{n:02}": bad if n in refused else None for n in range(hosts)}
        text = json.dumps({"all": {"hosts": names, "vars": variables}})
        self.place.write("inventory.yml", text)

    def run(self, *options: str) -> tuple[int, str]:
        """Returns the exit status of a run, and what it printed."""
        known = str(self.server.known_hosts)
        words = ("run", "-p", "quick.yml", "--format", "json", "--known-hosts", known, *options)
        done = self.place.run(*words)
        return done.returncode, done.stdout + done.stderr

    def events(self) -> list[tuple[str, float]]:
        lines = (line.split() for line in self._events.read_text().splitlines())
        return [(event, float(moment)) for event, moment in lines]


@pytest.fixture
def noted(tmp_path: Path, start_sshd: Start) -> Noted:
    require("flock")
    script = tmp_path / "noted"
    script.write_text(NOTED)
    script.chmod(0o755)
    server = start_sshd(f"ForceCommand {script}")
    return Noted(Workspace(tmp_path), server, Path(f"{script}.events"))


def test_batches_run_one_after_the_other(noted: Noted) -> None:
    noted.inventory(7)
    status, printed = noted.run("--serial", "3", "-f", "20", "-v")
    assert status == 0, printed
    assert "3 batches, one after the other" in printed
    ended = begun = 0
    for event, _ in noted.events():
        ended += event == "ends"
        if event == "begins":
            assert ended >= begun // 3 * 3, noted.events()
            begun += 1
    assert (begun, ended) == (7, 7)


def test_a_run_with_too_many_failures_ends_early_and_resume_audits_the_rest(noted: Noted) -> None:
    noted.inventory(9, 0, 2)
    status, printed = noted.run("--serial", "3", "--max-fail-percentage", "60", "--retries", "0")
    assert status == 4, printed
    (folder,) = noted.place.runs()
    hosts = read_run(folder).hosts
    assert [host.name for host in hosts] == [f"host{n:02}" for n in range(9)]
    kinds = [host.kind for host in hosts if isinstance(host, NotAudited)]
    assert kinds == ["permission denied"] * 2 + ["too many failures"] * 6
    assert not (noted.place.path / "reports/latest").exists()
    resume = f"fleetaudit run --resume reports/{folder.name}"
    assert resume in printed

    done = noted.place.run(*resume.split()[1:])
    assert done.returncode == 4, done.stdout + done.stderr
    hosts = read_run(noted.place.path / "reports/latest").hosts
    assert [host.name for host in hosts] == [f"host{n:02}" for n in range(9)]
    assert [isinstance(host, Audited) for host in hosts] == [n not in (0, 2) for n in range(9)]
    assert len([event for event, _ in noted.events() if event == "begins"]) == 7


def test_connections_begin_at_the_rate(noted: Noted) -> None:
    noted.inventory(7)
    status, printed = noted.run("--rate", "2/s", "-f", "20", "-v")
    assert status == 0, printed
    assert "new connections: at most 2 in a second" in printed
    begun = [moment for event, moment in noted.events() if event == "begins"]
    # Six intervals of half a second; sshd may be late for the first and quick for the last.
    assert max(begun) - min(begun) > 1.5


def test_check_shows_the_batch_of_each_host(noted: Noted) -> None:
    noted.inventory(5)
    status, printed = noted.run("--check", "--serial", "1,50%")
    assert status == 0
    batches = [line.rsplit("  ", 1)[1] for line in printed.splitlines()]
    assert batches == [f"batch {n} of 3" for n in (1, 2, 2, 3, 3)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--serial", "0"), "--serial: “0” is not the size of a batch"),
        (("--rate", "10"), "--rate: “10” is not a rate"),
        (("--max-fail-percentage", "101"), "101"),
        (
            ("--engine", "dask://127.0.0.1:1", "--serial", "5", "--rate", "1/s"),
            "--serial, --rate: not possible with --engine",
        ),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    options: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    done = Workspace(tmp_path).run("run", "localhost,", *options)
    assert done.returncode == 64, done.stdout + done.stderr
    assert expected in done.stderr
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{rate: fast}", "the configuration's rate: “fast” is not a rate"),
        ("{serial: [1, none]}", "the configuration's serial: “none” is not the size of a batch"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    text: str, expected: str, tmp_path: Path
) -> None:
    place = Workspace(tmp_path)
    place.write("fleetaudit.yml", text)
    done = place.run("run", "localhost,")
    assert done.returncode == 78, done.stdout + done.stderr
    assert expected in done.stderr
    assert not (tmp_path / "reports").exists()


def test_the_configuration_sets_all_three(noted: Noted) -> None:
    noted.inventory(4)
    noted.place.write("fleetaudit.yml", "{serial: [1, 50%], rate: 100/s, max_fail_percentage: 10}")
    status, printed = noted.run("--check")
    assert status == 0
    assert [line.rsplit("  ", 1)[1] for line in printed.splitlines()] == [
        f"batch {n} of 3" for n in (1, 2, 2, 3)
    ]
