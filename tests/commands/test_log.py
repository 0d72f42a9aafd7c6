"""What is tried, in the log: each stage of each attempt, for each host; and which hosts take long,
beside the bar.
"""

from __future__ import annotations

import getpass
import io
import json
import logging
import os
import pty
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from fleetaudit.app.activity import LONG_S, Activity
from fleetaudit.cli import console
from fleetaudit.cli.progress import Progress
from fleetaudit.errors import TransportError
from fleetaudit.model import (
    Audited,
    HostPlan,
    Kernel,
    LocalTarget,
    SshTarget,
)
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.registry import Transports
from tests.support.commands import Place
from tests.support.sshd import Keys, Server


def fleet(place: Place, server: Server, keys: Keys) -> tuple[str, ...]:
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
    place = Place(tmp_path)
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


def test_an_attempt_is_numbered_and_its_text_is_masked_and_sanitized(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from fleetaudit.model import Secret

    class Fake(Transports):
        def _as_whom(self, *arguments: object) -> object:  # type: ignore[override]
            *_, passed = arguments
            assert callable(passed)
            passed("connect", "hello hunter22\x1b[31m")
            raise TransportError(
                "authenticate", "it said hunter22", hint="", kind="permission denied"
            )

    target = SshTarget(address="192.0.2.1", password=Secret("hunter22"))
    host = HostPlan(name="w\x1b[2J", groups=(), target=target, scenarios=(), trials=1, isolation="auto",
                    sysctls_collect=(), sysctls_expect={})  # fmt: skip
    activity = Activity(Fake(), iter(float(n) for n in range(99)).__next__)
    with caplog.at_level(logging.DEBUG, logger="fleetaudit"):
        for _ in range(2):
            with pytest.raises(TransportError):
                activity.run_of(host)(target, "", b"", Deadline.after(60), Limits())
    lines = [console._Harmless("%(message)s").format(record) for record in caplog.records]
    assert not re.search(r"hunter22|\x1b", "\n".join(lines))
    assert [line.partition(": ")[2] for line in lines] == [
        "attempt 1: ssh 192.0.2.1",
        "attempt 1: connect passed after 1.000 s (1.000 s in all): hello …�[31m",
        (
            "attempt 1: authenticate failed (permission denied) after 1.000 s (2.000 s in all): it"
            " said …"
        ),
        "attempt 2: ssh 192.0.2.1",
        "attempt 2: connect passed after 1.000 s (1.000 s in all): hello …�[31m",
        (
            "attempt 2: authenticate failed (permission denied) after 1.000 s (2.000 s in all): it"
            " said …"
        ),
    ]


class Clock:
    """A clock that stands where it is put."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Held(Transports):
    """Transports that answer once they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.free = threading.Semaphore(0), threading.Event()

    def run(self, *arguments: object, **more: object) -> object:  # type: ignore[override]
        self.begun.release()
        assert self.free.wait(60)
        raise TransportError("connect", "let go", hint="")


def plan(name: str) -> HostPlan:
    return HostPlan(name=name, groups=(), target=LocalTarget(), scenarios=(), trials=1, isolation="auto",
                    sysctls_collect=(), sysctls_expect={})  # fmt: skip


def test_the_hosts_that_take_long_are_named_longest_first() -> None:
    clock, held = Clock(), Held()
    activity = Activity(held, clock)

    def run(name: str) -> None:
        with pytest.raises(TransportError):
            activity.run_of(plan(name))(LocalTarget(), "", b"", Deadline.after(60), Limits())

    threads = list[threading.Thread]()
    for moment, name in ((0.0, "web7"), (7.0, "db2\x1b[2J"), (8.0, "a"), (9.0, "b"), (40.0, "new")):
        clock.now = moment
        threads.append(threading.Thread(target=run, args=(name,)))
        threads[-1].start()
        assert held.begun.acquire(timeout=60)
    clock.now = LONG_S - 0.1
    assert activity.waiting() == ""
    clock.now = 45.0
    assert (
        activity.waiting()
        == "waiting for web7 (45 s), db2\N{REPLACEMENT CHARACTER}[2J (38 s), a (37 s) and 1 more"
    )
    activity.ended("web7")
    assert "web7" not in activity.waiting()
    held.free.set()
    for thread in threads:
        thread.join(60)


@pytest.mark.commands
def test_with_v_the_bar_stays_and_names_whom_it_waits_for(tmp_path: Path, silent_port: int) -> None:
    place = Place(tmp_path)
    hosts = {"here": {"ansible_connection": "local"},
             "slow": {"ansible_host": "127.0.0.1", "ansible_port": silent_port, "ansible_timeout": 100}}  # fmt: skip
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


@pytest.mark.commands
@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_is_reported_once_and_costs_no_host(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.locals(2)
    done = place.run("run", "-p", "quick.yml", "--format", "text", FLEETAUDIT_LOG_PATH="/dev/full")
    assert done.returncode == 0, done.stderr
    told = (
        "fleetaudit: warning: FLEETAUDIT_LOG_PATH=/dev/full: cannot be written: No space left on"
        " device\n"
    )
    assert done.stderr == told


def test_without_a_terminal_there_is_a_line_a_host_with_v_and_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", out := io.StringIO())
    host = Audited(name="h", kernel=Kernel(release="6.1", version="", machine=""), isolation="host")
    with Progress(1, Activity(Transports()), quiet=False, verbose=True) as progress:
        progress.came(host)
    assert out.getvalue() == "h: audited, kernel 6.1\n"
