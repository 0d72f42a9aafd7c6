"""The native probe on hosts without Python: a busybox and nothing else, a dash, over the real sshd
and dropbear. Which folder takes it, what is left, and why it may be impossible.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fleetaudit.errors import ReplyError
from fleetaudit.model import SshClient, SshTarget
from fleetaudit.probe import native_program, offer, protocol
from fleetaudit.probe.command import NO_FOLDER
from tests.support.bare_host import (
    FOLDERS,
    BareHost,
    bash_host,
    busybox_host,
    dash_host,
    lying_about_machine,
    slow_rm,
    without_gzip,
)
from tests.support.native import built
from tests.support.native_audit import PLAN, check_measured, refused, reply_of
from tests.support.sshd import Keys, Server, Start, dropbear_running, wait_for

CLIENTS: tuple[SshClient, ...] = ("paramiko", "openssh")
MakeHost = Callable[[Path], BareHost]


@pytest.fixture(autouse=True)
def _built() -> None:
    built()


def served(host: BareHost, start_sshd: Start, **changes: object) -> SshTarget:
    forced = host.forced_command(host.root.parent / "forced")
    return start_sshd(f"ForceCommand {forced}").target(**changes)


# ---- where it runs


WAYS = (
    (busybox_host, "gzip -dc"),
    (dash_host, "gzip -dc"),
    (dash_host, "cat"),
    (bash_host, "gzip -dc"),
)
"""Hosts, and the program that takes what is sent."""


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("probe", ["auto", "native"])
@pytest.mark.parametrize("make", [busybox_host, dash_host, bash_host])
def test_a_host_without_python_is_measured_and_nothing_is_left(
    tmp_path: Path, start_sshd: Start, make: MakeHost, client: SshClient, probe: str
) -> None:
    host = make(tmp_path / "root")
    check_measured(reply_of(served(host, start_sshd, client=client, probe=probe)))
    assert not host.left()


@pytest.fixture(scope="module")
def busybox_over_dropbear(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Returns a dropbear whose users get into a host that has a busybox and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    forced = busybox_host(folder / "root").forced_command(folder / "forced")
    with dropbear_running(keys, folder, "-c", str(forced)) as server:
        yield server


@pytest.mark.parametrize("client", CLIENTS)
def test_a_busybox_is_measured_over_dropbear(
    busybox_over_dropbear: Server, client: SshClient
) -> None:
    check_measured(reply_of(busybox_over_dropbear.target(client=client)))


def test_a_host_that_may_run_python_only_is_sent_no_binary(
    tmp_path: Path, start_sshd: Start
) -> None:
    host = busybox_host(tmp_path / "root")
    error = refused(served(host, start_sshd, probe="python"))
    assert error.kind == "no python"
    assert error.reason.startswith("no Python from 2.7 on that works")
    assert error.hint.endswith("fleetaudit_probe: auto")


def test_a_program_that_is_not_built_is_named_with_the_line_that_builds_it(
    tmp_path: Path, start_sshd: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = busybox_host(tmp_path / "root")
    monkeypatch.setattr(native_program, "ARCHITECTURES", ())
    native_program.native_binary.cache_clear()
    offer.harmless_script.cache_clear()
    error = refused(served(host, start_sshd))
    assert (error.kind, error.hint) == ("no python", "make native")
    assert error.reason.endswith("and the native probe for x86_64 is not built")


def test_nobody_is_measured_in_the_namespace_of_the_host(tmp_path: Path, start_sshd: Start) -> None:
    host = busybox_host(tmp_path / "root")
    reply = reply_of(served(replace(host, user="65534:65534"), start_sshd))
    assert (reply.probe, reply.isolation) == ("native", "host")
    assert not host.left()


# ---- where the file may be


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("noexec", "execution is not allowed"),
        ("read-only", "no file can be created"),
        ("full", "there is no room"),
    ],
)
@pytest.mark.parametrize("make", [busybox_host, dash_host])
def test_without_a_folder_for_it_the_reason_says_what_is_wrong_with_each(
    tmp_path: Path, start_sshd: Start, make: MakeHost, kind: str, why: str, client: SshClient
) -> None:
    host = make(tmp_path / "root").mounting(kind)
    error = refused(served(host, start_sshd, client=client, probe="native"))
    assert error.kind == "no executable folder"
    each = "; ".join(f"/{folder} ({why})" for folder in FOLDERS)
    assert error.reason.startswith(
        f"no folder can take the native probe, even for a moment: {each}"
    )


@pytest.mark.parametrize("make", [busybox_host, dash_host, bash_host])
def test_the_first_folder_that_will_do_is_taken(
    tmp_path: Path, start_sshd: Start, make: MakeHost
) -> None:
    host = make(tmp_path / "root").mounting("noexec", "dev/shm").mounting("small", "run")
    host = host.mounting("read-only", "tmp", "var/tmp")
    check_measured(reply_of(served(host, start_sshd)))
    assert not host.left()


def test_without_proc_the_reason_says_so(tmp_path: Path, start_sshd: Start) -> None:
    host = dash_host(tmp_path / "root")
    without = replace(host, mounts=("umount proc",))
    error = refused(served(without, start_sshd, probe="native"))
    assert (error.kind, "/proc (is not mounted)" in error.reason) == ("no executable folder", True)
    assert not host.left()


@pytest.mark.parametrize("script", ["", "#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -9 $$\n"])
@pytest.mark.parametrize("make", [dash_host, bash_host])
def test_where_rm_does_not_work_no_file_is_made(
    tmp_path: Path, make: MakeHost, script: str
) -> None:
    """Nor where no process can be started: what cannot be removed must not be created."""
    host = make(tmp_path / "root")
    rm = host.root / "bin/rm"
    rm.unlink()
    if script:
        rm.write_text(script)
        rm.chmod(0o755)
    done = converse(host)
    assert done.returncode == NO_FOLDER
    assert b"fleetaudit-folders/1 rm:run\n" in done.stdout
    assert not host.left()


# ---- a machine that is not what it seems


@pytest.mark.parametrize("machine", ["mips", "", "x86_64; touch /tmp/x", "i686", "a" * 100])
def test_a_machine_without_a_program_is_named(
    tmp_path: Path, start_sshd: Start, machine: str
) -> None:
    host = lying_about_machine(dash_host(tmp_path / "root"), f"'{machine}'")
    error = refused(served(host, start_sshd))
    assert error.reason
    assert error.kind == "machine not supported"
    assert not host.left()


def test_the_program_of_another_machine_does_not_run(tmp_path: Path, start_sshd: Start) -> None:
    built("s390x")
    host = lying_about_machine(dash_host(tmp_path / "root"), "s390x")
    error = refused(served(host, start_sshd))
    assert error.kind == "program not executable"
    assert "s390x, which is what `uname -m` prints there" in error.reason
    assert not host.left()


@pytest.mark.parametrize(("make", "tool"), WAYS)
def test_a_shell_that_takes_it_for_a_script_stops_at_its_second_line(
    tmp_path: Path, make: MakeHost, tool: str
) -> None:
    """busybox does, as POSIX has it: what is not executable is a script."""
    built("s390x")
    host = make(tmp_path / "root")
    if tool == "cat":
        host = without_gzip(host)
    done = converse(host, "s390x", tool)
    assert done.returncode in (126, 127)
    assert done.stdout.count(b"\n") == 2
    assert not host.left()


# ---- a transfer that breaks off, and a shell that is killed


def converse(
    host: BareHost, architecture: str = "x86_64", tool: str = "gzip -dc", part: float = 1
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command in a host and writes that part of what it reads, without waiting."""
    return subprocess.run(
        host.running(shlex.quote(protocol.COMMAND)),
        input=stdin_of(architecture, tool, part),
        capture_output=True,
        timeout=120,
        check=False,
    )


def stdin_of(architecture: str = "x86_64", tool: str = "gzip -dc", part: float = 1) -> bytes:
    """Returns what the command reads on a host that runs the native probe."""
    offered = offer.new_offer(PLAN, deadline_s=60)
    program = offered.native_for_shell(architecture)
    data = program.plain() if tool == "cat" else program.compressed()
    head = f"{protocol.ONLY_NATIVE}\n{offered.nonce} {len(program)}\n".encode()
    return head + data[: round(len(data) * part)]


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.99, 0.999])
@pytest.mark.parametrize(("make", "tool"), WAYS)
def test_a_program_that_did_not_arrive_whole_never_runs(
    tmp_path: Path, make: MakeHost, part: float, tool: str
) -> None:
    host = make(tmp_path / "root")
    if tool == "cat":
        host = without_gzip(host)
    done = converse(host, "x86_64", tool, part)
    assert done.returncode == protocol.CUT_SHORT
    assert protocol.REPLY_MARK not in done.stdout
    with pytest.raises(ReplyError) as e:
        protocol.open_reply(PLAN, done.stdout, done.stderr, done.returncode)
    assert (e.value.kind, e.value.stage) == ("transfer cut short", "execute")
    assert protocol.REPLY_MARK in converse(host, "x86_64", tool).stdout
    assert not host.left()


@pytest.mark.parametrize("make", [busybox_host, dash_host])
def test_a_process_that_is_killed_at_any_moment_leaves_nothing(
    tmp_path: Path, make: MakeHost
) -> None:
    """200 times: the shell, its subshell, a program of theirs, or the probe itself."""
    host, chance = make(tmp_path / "root"), random.Random(make.__name__)
    stdin = stdin_of()
    began = time.monotonic()
    assert protocol.REPLY_MARK in converse(host).stdout
    whole = time.monotonic() - began
    ended = Counter[str]()
    for _ in range(100):
        with subprocess.Popen(
            host.running(shlex.quote(protocol.COMMAND)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            writer = threading.Thread(target=write_all, args=(process, stdin))
            writer.start()
            time.sleep(chance.uniform(0, whole))
            name = kill_one(process.pid, chance)
            stdout, _ = process.stdout.read(), process.stderr.read()  # type: ignore[union-attr]
            writer.join()
        ended[f"{name}{' after the reply' if protocol.REPLY_MARK in stdout else ''}"] += 1
        assert not host.left(), ended
    print(ended)
    assert sum(ended.values()) == 100
    assert len(ended) > 1


@pytest.mark.parametrize("victims", ["the shell", "its subshell and rm", "rm"])
def test_the_name_is_removed_if_a_process_is_killed_while_it_is_there(
    tmp_path: Path, victims: str
) -> None:
    """A slow `rm` keeps the name there, for the time that the test needs."""
    host = slow_rm(dash_host(tmp_path / "root"))
    with subprocess.Popen(
        host.running(shlex.quote(protocol.COMMAND)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        writer = threading.Thread(target=write_all, args=(process, stdin_of()))
        writer.start()
        wait_for(lambda: bool(named(process.pid, "rm")), "rm to begin", 20)
        assert [file.stat().st_size for file in host.left()] == [0]
        (rm,) = named(process.pid, "rm")
        subshell = int(status(rm, "PPid"))
        shell = int(status(subshell, "PPid"))
        chosen = {"the shell": [shell], "rm": [rm], "its subshell and rm": [subshell, rm]}
        for pid in chosen[victims]:
            os.kill(pid, signal.SIGKILL)
        process.stdout.read()  # type: ignore[union-attr]
        writer.join()
    wait_for(lambda: not host.left(), "the name to be removed", 20)


def write_all(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Writes to a process, as far as it reads."""
    assert process.stdin
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(data)


def kill_one(pid: int, chance: random.Random) -> str:
    """Kills one process of the tree that begins with `pid`; returns its name, "none" if all have
    ended.
    """
    pids = [*tree(pid)]
    if not pids:
        return "none"
    victim = chance.choice(pids)
    with suppress(OSError):
        name = Path(f"/proc/{victim}/comm").read_text().strip()
        os.kill(victim, signal.SIGKILL)
        return name
    return "none"


def status(pid: int, field: str) -> str:
    """Returns a field of /proc/PID/status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return text.split(f"{field}:\t", 1)[1].split("\n", 1)[0]


def named(pid: int, name: str) -> list[int]:
    """Returns those of a process and all that it started that have a name now."""
    found = []
    for each in tree(pid):
        with suppress(OSError):
            found += [each] * (status(each, "Name") == name)
    return found


def tree(pid: int) -> Iterator[int]:
    """Yields a process and all that it started."""
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from tree(int(child))
