"""What is tried, in the log: each stage of each attempt, for each host; and which hosts take long,
next to the bar.
"""

from __future__ import annotations

import getpass
import json
import os
import pty
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import Workspace
from tests.support.sshd import Keys, Server


def fleet(place: Workspace, server: Server, keys: Keys) -> tuple[str, ...]:
    """Writes an inventory of a host that answers and one that is not there; returns the options for
    it.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        closed = s.getsockname()[1]
    there = {
        "ansible_host": "127.0.0.1",
        "ansible_port": server.port,
        "ansible_user": getpass.getuser(),
    }
    gone = {"ansible_host": "127.0.0.1", "ansible_port": closed}
    place.write("inventory.json", json.dumps({"all": {"hosts": {"well": there, "gone": gone}}}))
    options = ("--private-key", str(keys.user()), "--known-hosts", str(server.known_hosts))
    return ("inventory.json", "-p", "quick.yml", "--format", "text", *options)


STAGES = ["resolve", "connect", "host key", "authenticate", "execute"]


@pytest.mark.ssh
@pytest.mark.parametrize("transport", ["paramiko", "openssh"])
def test_the_log_has_each_stage_of_each_host_with_its_time(
    tmp_path: Path, sshd: Server, keys: Keys, transport: str
) -> None:
    place = Workspace(tmp_path)
    words = fleet(place, sshd, keys)
    done = place.run("run", *words, "--transport", transport, FLEETAUDIT_LOG_PATH="log")
    assert done.returncode == 4, done.stderr
    assert "DEBUG" not in done.stderr
    log = (tmp_path / "log").read_text()
    stamp = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} DEBUG "
    passed = re.findall(
        stamp + r"well: attempt 1: ([a-z ]+) passed after \d+\.\d{3} s \(\d+\.\d{3} s in all\): \S",
        log,
        re.MULTILINE,
    )
    assert passed == STAGES
    assert re.search(stamp + r"well: attempt 1: ssh \S+@127\.0\.0\.1 port \d+", log, re.MULTILINE)
    assert re.search(stamp + r"well: decode passed", log, re.MULTILINE)
    assert re.search(
        stamp + r"gone: attempt 1: connect failed \(connection refused\) after", log, re.MULTILINE
    )
    told = place.run("run", *words, "-vv", "-l", "well", "--transport", transport)
    assert [
        stage for stage in STAGES if f"DEBUG well: attempt 1: {stage} passed after" in told.stderr
    ] == STAGES
    assert (
        "DEBUG" not in place.run("run", *words, "-v", "-l", "well", "--transport", transport).stderr
    )
    assert (
        "well: attempt 1: host key passed"
        in place.run("doctor", words[0], *words[5:], "-vv").stderr
    )


def test_with_v_the_bar_stays_and_names_whom_it_waits_for(tmp_path: Path, silent_port: int) -> None:
    place = Workspace(tmp_path)
    hosts = {
        "here": {"ansible_connection": "local"},
        "slow": {"ansible_host": "127.0.0.1", "ansible_port": silent_port, "ansible_timeout": 100},
    }
    place.write("inventory.json", json.dumps({"all": {"hosts": hosts}}))
    command, env = place.command(
        "run", "inventory.json", "-p", "quick.yml", "-v", TERM="xterm", COLUMNS="120"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    got = b""
    try:
        while not re.search(rb"waiting for slow \(\d+ s\)", got):
            got += os.read(ours, 4096)
    finally:
        process.terminate()
        try:
            while chunk := os.read(ours, 4096):
                got += chunk
        except OSError:
            pass  # EIO: the other end is closed
        os.close(ours)
        process.wait(60)
    assert b"here: audited, kernel" in got
    assert b"1/2" in got
    assert b"slow: not audited: interrupted" in got


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_is_reported_once_and_costs_no_host(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    place.locals(2)
    done = place.run("run", "-p", "quick.yml", "--format", "text", FLEETAUDIT_LOG_PATH="/dev/full")
    assert done.returncode == 0, done.stderr
    told = (
        "fleetaudit: warning: FLEETAUDIT_LOG_PATH=/dev/full: cannot be written: No space left on"
        " device\n"
    )
    assert done.stderr == told
