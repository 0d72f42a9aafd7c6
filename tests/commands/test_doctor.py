"""`fleetaudit doctor`: where the way to a host stops and what to type next, one host as a story,
several as a table.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from fleetaudit.analysis import doctor
from fleetaudit.report.doctor import FAIL
from tests import SCHEMAS
from tests.support.commands import Workspace
from tests.support.kernels import NoKernelsError, kernels
from tests.support.sshd import (
    Keys,
    Server,
    Start,
    free_port,
    require,
)

SCHEMA = SCHEMAS / "doctor.schema.json"
EVIL = b"\x1b[2J\x1b]0;owned\x07 <script>alert(1)</script> \xe2\x80\xae HTTP/1.0 400\r\n" * 3
LONG = "edge-proxy-0017.rack-b.fra1.production.example.com"


# ---- a fleet in which everything is wrong with somebody
# -------------------------------------------------------------


@contextlib.contextmanager
def saying(text: bytes, *, hang_up: bool) -> Iterator[int]:
    """Yields the port of a server that says `text` to whoever connects, and hangs up or never says
    more.
    """
    held = list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with contextlib.suppress(OSError):
                        connection.sendall(text)
                    if hang_up:
                        connection.shutdown(socket.SHUT_WR)
                    held.append(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


class Fleet(Workspace):
    """An inventory, the options that reach its hosts, and the ports of some."""

    def __init__(self, path: Path, hosts: Mapping[str, object], options: tuple[str, ...]) -> None:
        super().__init__(path)
        self.write("inventory.json", json.dumps({"all": {"hosts": hosts}}))
        self.options = options

    def doctor(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("doctor", "inventory.json", *self.options, *words, **environment)

    def story(self, name: str) -> dict[str, str]:
        """The report of one host: what follows each stage's name, and the line after "next:"."""
        done = self.doctor("-l", name)
        assert done.stderr == ""
        assert done.returncode == (0 if done.stdout.startswith(f"{name}: ready") else 4), (
            done.stdout
        )
        lines = done.stdout.splitlines()
        stages = {
            line[2:14].rstrip(): line[14:].strip()
            for line in lines
            if line[2:3].isalpha() and line[:2] == "  "
        }
        stages["next:"] = next(line[5:].strip() for line in lines if line.startswith("next:"))
        stages["head"] = lines[0]
        stages["all"] = done.stdout
        return stages


@pytest.fixture(scope="module")
def fleet(
    start_sshd: Start, sshd: Server, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    no_keys, no_python, stranger = (
        start_sshd(authorized=()),
        start_sshd("ForceCommand echo 'fleetaudit-shell/1 0 root'; exit 86"),
        start_sshd(),
    )
    known = folder / "known_hosts"
    known.write_text(
        "".join(server.known_hosts.read_text() for server in (sshd, no_keys, no_python))
    )

    def ssh(port: int, **more: object) -> dict[str, object]:
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": port,
            "ansible_user": getpass.getuser(),
            **more,
        }

    dead = free_port()
    with (
        saying(b"SSH-2.0-OpenSSH_9.2p1\r\n", hang_up=False) as stalls,
        saying(EVIL, hang_up=True) as evil,
    ):
        hosts = {
            "here": {"ansible_connection": "local"},
            "web01": ssh(sshd.port),
            "db1": ssh(dead),
            "db2": ssh(dead, ansible_host="127.0.0.2"),
            "login": ssh(no_keys.port),
            "stranger": ssh(stranger.port),
            "nowhere": {"ansible_host": "no-such-host.invalid"},
            "stalls": ssh(stalls, ansible_timeout=1),
            "windows": {"ansible_connection": "winrm"},
            "evil": ssh(evil),
            "nopython": ssh(no_python.port),
            LONG: ssh(sshd.port, ansible_connection="openssh"),
        }
        options = ("--private-key", str(keys.user()), "--known-hosts", str(known), "--retries", "0")
        yield Fleet(folder, hosts, options)


def test_the_interpreter_that_answered_is_shown_and_why_the_named_one_was_not_used(
    tmp_path: Path,
) -> None:
    place = Workspace(tmp_path)
    place.write(
        "two.yml",
        "all:\n  vars: {ansible_connection: local}\n  hosts:\n"
        "    named: {ansible_python_interpreter: /usr/bin/env python3}\n"
        "    gone: {ansible_python_interpreter: /opt/no/python}\n",
    )
    found = {}
    for host in ("named", "gone"):
        done = place.run("doctor", "two.yml", "-l", host, "--format", "json")
        assert done.returncode == 0, done.stderr
        [visit] = json.loads(done.stdout)["hosts"]
        [found[host]] = [step["found"] for step in visit["steps"] if step["stage"] == "interpreter"]
    assert re.fullmatch(r"Python \d\.[\d.]+ \w+, /\S+", found["named"])
    assert re.fullmatch(
        r"Python \d\.[\d.]+ \w+, (/\S+); ansible_python_interpreter /opt/no/python \(two\.yml:5\)"
        r" does not work: "
        r"there is no such program; \1 was used instead",
        found["gone"],
    )
    table = place.run("doctor", "two.yml").stdout
    notes = " ".join(table.partition("\nNotes:\n")[2].split())
    assert notes.startswith(
        "gone: ansible_python_interpreter /opt/no/python (two.yml:5) does not work"
    ), table


STOPS = {
    "db1": "connect",
    "db2": "connect",
    "login": "authenticate",
    "stranger": "host key",
    "nowhere": "resolve",
    "stalls": "connect",
    "windows": "inventory",
    "evil": "connect",
    "nopython": "interpreter",
}


@pytest.mark.parametrize("width", [80, 160])
def test_a_fleet_is_a_table_with_each_host_once_in_order_and_the_cause_of_every_failure(
    fleet: Fleet, width: int
) -> None:
    done = fleet.doctor(COLUMNS=str(width))
    assert (done.returncode, done.stderr) == (4, "")
    lines = done.stdout.splitlines()
    grid, causes = lines[: lines.index("")], lines[lines.index("") :]
    assert max(map(len, grid)) <= width
    names = [line.split()[0] for line in grid if line[0] != " "]
    assert names == [
        "host",
        "here",
        "web01",
        "db1",
        "db2",
        "login",
        "stranger",
        "nowhere",
        "stalls",
        "windows",
        "evil",
        "nopython",
        LONG,
    ]
    failed = {line.split()[0] for line in grid if FAIL in line}
    assert failed == set(STOPS)
    row = next(line for line in grid if line.startswith("web01"))
    assert re.fullmatch(r"web01( +[\d.]+ m?s){4} +– +[23][.\d]+ +(private|host's).*", row)
    assert "Not ready: 9 hosts" in causes
    assert "12 hosts: 3 ready, 9 not ready." in causes
    told = "\n".join(line for line in causes if line.startswith("  "))
    assert re.search(
        r"^  connect: connection refused: 2 hosts db\[1-2\]\n.* port \d+: .*\n      next \(db1\): "
        r" ssh -p",
        told,
        re.M,
    )
    assert len(re.findall(r"^      next", told, re.M)) == 8
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", done.stdout)


def test_a_healthy_host_is_shown_stage_by_stage_with_times_its_kernel_and_the_run_to_type(
    fleet: Fleet,
) -> None:
    told = fleet.story("web01")
    assert re.fullmatch(r"web01: ready in [\d.]+ m?s", told["head"])
    assert re.fullmatch(r"ok +[\d.]+ m?s +127\.0\.0\.1", told["resolve"])
    assert re.fullmatch(r"ok +[\d.]+ m?s +127\.0\.0\.1 port \d+", told["connect"])
    assert re.match(r"ok +[\d.]+ m?s +ssh-ed25519\b", told["host key"])
    assert re.search(r"SHA256:[A-Za-z0-9+/]{43}", told["all"])
    assert re.match(rf"ok +[\d.]+ m?s +{getpass.getuser()} by", told["authenticate"])
    assert told["become"] == "–"
    assert re.match(r"ok +[\d.]+ m?s +Python [23]\.", told["interpreter"])
    assert told["namespaces"].startswith("ok ")
    assert f"kernel {os.uname().release}" in told["all"]
    done = subprocess.run(
        [*fleet.command()[0], *shlex.split(told["next:"])[1:], "--check"],
        cwd=fleet.path, env=fleet.command()[1], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("web01  ssh ")


def test_openssh_reports_only_times_that_were_measured(fleet: Fleet) -> None:
    told = fleet.story(LONG)
    assert told["authenticate"].split()[0] == "ok"
    assert told["interpreter"].startswith("ok ")
    assert told["head"].startswith(f"{LONG}: ready in ")


def test_a_jump_host_is_shown_stage_by_stage_before_the_host_behind_it(
    fleet: Fleet, sshd: Server, keys: Keys, tmp_path: Path
) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host *\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {keys.user()}\n  UserKnownHostsFile {sshd.known_hosts}\n"
        "Match originalhost inner\n  ProxyJump bastion\n"
    )
    behind = {"ansible_connection": "paramiko", "ansible_ssh_common_args": f"-F {config}"}
    done = Fleet(tmp_path, {"inner": behind}, ()).doctor()
    assert done.returncode == 0, done.stdout
    steps = re.findall(r"^  (\w[\w ]*?)  +ok +[\d.]+ m?s  (jump host bastion|)", done.stdout, re.M)
    way = ["resolve", "connect", "host key", "authenticate"]
    told = [(stage, via != "") for stage, via in steps]
    assert told == [
        *((stage, True) for stage in way),
        *((stage, False) for stage in way),
        ("interpreter", False),
        ("namespaces", False),
    ]


def test_becoming_somebody_is_a_stage_that_passes_or_says_why_not(fleet: Fleet) -> None:
    require("sudo")
    well = fleet.doctor("-l", "here", "--become", "--become-user", "nobody")
    assert re.search(r"^  become +ok +[\d.]+ m?s  nobody by sudo$", well.stdout, re.M), well.stdout
    ill = fleet.doctor("-l", "here", "--become", "--become-user", "no-such-user")
    assert ill.returncode == 4
    assert re.search(rf"^  become +{FAIL} +[\d.]+ m?s\n      .*no-such-user", ill.stdout, re.M), (
        ill.stdout
    )


@pytest.mark.parametrize(("name", "stage"), STOPS.items())
def test_a_host_that_is_not_ready_says_where_it_stopped_and_what_to_type(
    fleet: Fleet, name: str, stage: str
) -> None:
    told = fleet.story(name)
    order: list[str] = list(doctor.CHECK_STAGES)
    assert told[stage].startswith(FAIL)
    assert told["next:"]
    for later in order[order.index(stage) + 1 :]:
        assert told[later] in ("not reached", "–"), (later, told[later])
    for earlier in order[: order.index(stage)]:
        assert told[earlier].split()[0] in ("ok", "–"), (earlier, told[earlier])


def test_what_to_type_next_is_a_line_that_a_shell_takes_and_that_fails_in_the_same_way(
    fleet: Fleet,
) -> None:
    line = fleet.story("db1")["next:"]
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 255
    assert "Connection refused" in done.stderr


def test_a_host_that_stalls_costs_its_timeout_and_no_more(fleet: Fleet) -> None:
    told = fleet.story("stalls")
    seconds = re.fullmatch(rf"{FAIL} +([\d.]+) s", told["connect"])
    assert seconds, told["connect"]
    assert 1 <= float(seconds[1]) < 10  # a busy machine has its own
    assert "stalled in the key exchange" in told["all"]


def test_quiet_prints_only_the_hosts_that_are_not_ready(fleet: Fleet) -> None:
    well = fleet.doctor("-q", "-l", "here:web01")
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    assert fleet.doctor("-q", "-l", "here").stdout == ""
    ill = fleet.doctor("-q", "-l", "here:web01:windows")
    assert ill.returncode == 4
    assert "web01" not in ill.stdout
    assert "  inventory: ansible_connection “winrm”" in ill.stdout


def test_verbose_prints_a_line_for_each_host_on_stderr(fleet: Fleet) -> None:
    done = fleet.doctor("-v", "-l", "here:windows")
    told = sorted(line for line in done.stderr.splitlines() if not line.startswith("INFO"))
    assert re.fullmatch(r"here: ready in [\d.]+ m?s", told[0])
    assert told[1].startswith("windows: NOT ready: inventory: ansible_connection")


def test_nothing_is_written_not_even_the_key_of_a_new_host(
    fleet: Fleet,
) -> None:
    before = {path: path.stat().st_mtime_ns for path in fleet.path.rglob("*")}
    done = fleet.doctor("-l", "stranger", "--host-key-policy", "accept-new")
    assert done.returncode == 0, done.stdout
    assert "for this check only; none was written" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in fleet.path.rglob("*")} == before


def test_a_key_that_is_not_checked_is_shown_as_such(fleet: Fleet) -> None:
    done = fleet.doctor("-l", "stranger", "--host-key-policy", "off")
    assert done.returncode == 0, done.stdout
    assert ", not checked" in " ".join(done.stdout.split())


def test_an_interrupted_check_reports_every_host_and_ends_with_130(fleet: Fleet) -> None:
    words = (
        "doctor",
        "inventory.json",
        *fleet.options,
        "-e",
        "ansible_timeout=600",
        "-v",
        "-l",
        "windows:stalls:here",
        "-f",
        "1",
    )
    process = fleet.start(*words)
    try:
        assert process.stderr
        told = ""
        while (
            "here: ready" not in told
        ):  # one at a time, in order: then it is with the one that stalls
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=300)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "3 hosts: 1 ready, 2 not ready." in out
    assert f"stalls   {FAIL}: interrupted" in out
    (line,) = [line.split(":  ")[1] for line in out.splitlines() if ":  fleetaudit doctor " in line]
    again = shlex.split(line)
    assert again[:3] == ["fleetaudit", "doctor", "inventory.json"]
    assert again[-2:] == ["-l", "stalls"]
    assert set(fleet.options[:2]) < set(again)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        pytest.param(("inventory.json", "-l", "nobody"), 66, id="no host"),
        pytest.param(("missing.yml",), 66, id="no inventory"),
        pytest.param(("inventory.json", "--forks", "none"), 64, id="no number"),
        pytest.param(("inventory.json", "-k", "-l", "here"), 64, id="nobody to ask"),
    ],
)
def test_what_cannot_be_done_has_the_status_it_has_everywhere(
    fleet: Fleet, words: tuple[str, ...], status: int
) -> None:
    command, environment = fleet.command("doctor", *words)
    done = subprocess.run(
        command, cwd=fleet.path, env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert done.stdout == ""


def test_json_satisfies_its_published_schema_and_names_every_stage_of_every_host(
    fleet: Fleet,
) -> None:
    done = fleet.doctor("--format", "json", "-q", "-l", "all:!stalls")
    assert (done.returncode, done.stderr) == (4, "")
    as_json: dict[str, Any] = json.loads(done.stdout)
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    validator.validate(as_json)
    assert as_json["format"] == "fleetaudit-doctor/1"
    hosts = {host["name"]: host for host in as_json["hosts"]}
    assert list(hosts) == [
        "here",
        "web01",
        "db1",
        "db2",
        "login",
        "stranger",
        "nowhere",
        "windows",
        "evil",
        "nopython",
        LONG,
    ]
    for host in hosts.values():
        assert [step["stage"] for step in host["steps"]] == list(doctor.CHECK_STAGES)
        assert host["stage"] == STOPS.get(host["name"])
        assert host["ready"] == (host["name"] not in STOPS)
    assert hosts["web01"]["kernel"]["release"] == os.uname().release
    assert sum(step["ms"] or 0 for step in hosts["web01"]["steps"]) == pytest.approx(
        hosts["web01"]["ms"], abs=1
    )
    hosts["web01"]["steps"][0]["state"] = "perhaps"
    assert not validator.is_valid(as_json)


def test_a_terminal_gets_a_bar_that_leaves_nothing_behind(fleet: Fleet) -> None:
    ours, theirs = pty.openpty()
    command, environment = fleet.command("doctor", "inventory.json", "-l", "here:windows")
    process = subprocess.Popen(
        command, cwd=fleet.path, env=environment, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    drawn = bytearray()
    with contextlib.suppress(OSError):  # EIO: the other side is closed
        while part := os.read(ours, 4096):
            drawn += part
    os.close(ours)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 4
    assert b"not ready," in drawn
    assert b"not ready," not in out


@pytest.mark.kernels
def test_a_kernel_image_is_booted_and_has_no_host_key(tmp_path: Path) -> None:
    try:
        kernel = next(iter(kernels()))
    except NoKernelsError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no real kernels: {e}")
    hosts = {"next": {"ansible_connection": "kernel", "kernel_image": str(kernel.image)}}
    told = Fleet(tmp_path, hosts, ("--host-deadline", "240")).story("next")
    assert re.match(r"ok +[\d.]+ s +it booted", told["connect"])
    assert (told["host key"], told["authenticate"], told["become"]) == ("–", "–", "–")
    assert kernel.version.split("-")[0] in told["all"]


if __name__ == "__main__":
    SCHEMA.write_bytes(doctor.json_schema())
