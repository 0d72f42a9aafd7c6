"""Real SSH servers on loopback: OpenSSH's sshd and dropbear, each with its own configuration, keys
and port.

Rules: nothing of the user's is read or written; each server and agent is ended by the number of its
own process. Where a program is missing the test skips with its name, and fails in CI.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget

KEY_TYPES = ("ed25519", "ecdsa", "rsa")
Start = Callable[..., "Server"]
MakeFolder = Callable[[str], Path]
"""Makes a folder with such a name, as `pytest.TempPathFactory.mktemp`."""


def require(*programs: str) -> None:
    """Skips the test where a program is missing; fails it where CI says that all are there."""
    missing = [
        p for p in programs if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    ]
    if missing and os.environ.get("CI"):
        pytest.fail(f"missing on this CI machine: {', '.join(missing)}")
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")


def program(name: str) -> str:
    """Returns the full path: sshd insists on one."""
    require(name)
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") or name


@dataclass(frozen=True)
class Keys:
    """A folder with key pairs: the hosts' (host_TYPE) and a user's (user_TYPE)."""

    folder: Path

    def host(self, kind: str) -> Path:
        return self.folder / f"host_{kind}"

    def user(self, kind: str = "ed25519") -> Path:
        return self.folder / f"user_{kind}"

    def public(self, path: Path) -> str:
        return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


@dataclass(frozen=True)
class Server:
    """A running server. `log` is what it wrote."""

    port: int
    pid: int
    keys: Keys
    log: Path
    known_hosts: Path

    def target(self, **changes: object) -> SshTarget:
        """Returns the target for this server: its host keys known, the ed25519 key named."""
        target = SshTarget(
            address="127.0.0.1",
            port=self.port,
            user=getpass.getuser(),
            private_keys=(str(self.keys.user()),),
            known_hosts=(str(self.known_hosts),),
            use_agent=False,
        )
        return msgspec.structs.replace(target, **changes)


def failure_of(call: Callable[[], object]) -> TransportError:
    """Returns how a call fails, which tells in plain words why, and what to type next."""
    with pytest.raises(TransportError) as e:
        call()
    assert e.value.hint
    assert e.value.reason.isprintable()
    return e.value


def generate(path: Path, kind: str, passphrase: str = "") -> Path:
    """Makes a key pair with ssh-keygen."""
    require("ssh-keygen")
    bits = ["-b", "2048"] if kind == "rsa" else []
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *bits, "-N", passphrase, "-C", path.name, "-f", path],
        check=True,
    )
    return path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Returns key pairs of every type, made once."""
    return make_keys(tmp_path_factory.mktemp("keys"))


def make_keys(folder: Path) -> Keys:
    """Makes key pairs of every type."""
    for kind in KEY_TYPES:
        generate(folder / f"host_{kind}", kind)
        generate(folder / f"user_{kind}", kind)
    return Keys(folder)


def free_port() -> int:
    """Returns a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Returns once the condition holds; fails the test where it never does."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {seconds} s in vain: {what}")
        time.sleep(0.01)


def listens(port: int) -> bool:
    """Tells whether 127.0.0.1 has a listener, without connecting to it: MaxStartups would count
    that.
    """
    rows = Path("/proc/net/tcp").read_text().split("\n")[1:]
    return any(f":{port:04X} 00000000:0000 0A" in row for row in rows)


def _has(path: Path, text: str) -> bool:
    return text in path.read_text("utf-8", "replace")


def _accepts(path: Path) -> bool:
    """Tells whether a socket has a listener: it has a path before that."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


@contextlib.contextmanager
def running(argv: list[str | Path], log: Path, ready: Callable[[], bool]) -> Iterator[int]:
    """Yields the pid of a program once it is ready, and ends its whole process group afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        wait_for(
            lambda: ready() or process.poll() is not None, f"{argv[0]}; log: {log.read_text()}"
        )
        if process.poll() is not None:
            pytest.fail(f"{argv[0]} ended with {process.returncode}: {log.read_text()}")
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def start_sshd(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Returns what starts one more sshd, see `sshd_starter`."""
    with sshd_starter(keys, tmp_path_factory.mktemp) as start:
        yield start


@contextlib.contextmanager
def sshd_starter(keys: Keys, make_folder: MakeFolder) -> Iterator[Start]:
    """Yields what starts one more sshd: start(*lines of sshd_config, host_keys=(types),
    authorized=(key files)).

    The lines replace the usual ones of the same keyword; PORT in them is the server's port.
    """
    executable = program("sshd")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(
            exist_ok=True
        )  # privilege separation wants it, and only a boot makes it
    with contextlib.ExitStack() as stack:

        def start(
            *lines: str,
            host_keys: tuple[str, ...] = KEY_TYPES,
            authorized: tuple[Path, ...] | None = None,
        ) -> Server:
            folder = make_folder("sshd")
            port, log = free_port(), folder / "log"
            known = folder / "known_hosts"
            known.write_text(
                "".join(f"[127.0.0.1]:{port} {keys.public(keys.host(k))}\n" for k in host_keys)
            )
            users = authorized if authorized is not None else tuple(keys.user(k) for k in KEY_TYPES)
            (folder / "authorized_keys").write_text("".join(f"{keys.public(u)}\n" for u in users))
            config = folder / "sshd_config"
            usual = (
                f"ListenAddress 127.0.0.1:{port}",
                *(f"HostKey {keys.host(k)}" for k in host_keys),
                f"AuthorizedKeysFile {folder}/authorized_keys",
                "PidFile none",
                "StrictModes no",
                "UsePAM no",
                "PermitRootLogin yes",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "MaxStartups 500",
            )
            given = {line.split()[0] for line in lines}
            text = (*lines, *(line for line in usual if line.split()[0] not in given))
            config.write_text("".join(f"{line.replace('PORT', str(port))}\n" for line in text))
            # sshd says so itself: IPv6 has another table of listeners.
            ready = partial(_has, log, "Server listening on")
            pid = stack.enter_context(running([executable, "-D", "-e", "-f", config], log, ready))
            return Server(port, pid, keys, log, known)

        yield start


@pytest.fixture(scope="session")
def sshd(start_sshd: Start) -> Server:
    """Returns an sshd with nothing special, shared by the tests that change nothing of it."""
    return start_sshd()


@pytest.fixture(scope="session")
def dropbear(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Returns a dropbear, see `dropbear_running`."""
    with dropbear_running(keys, tmp_path_factory.mktemp("dropbear")) as server:
        yield server


@contextlib.contextmanager
def dropbear_running(keys: Keys, folder: Path, *more: str) -> Iterator[Server]:
    """Yields a dropbear, in a mount namespace where the user's home is a folder of ours with our
    authorized_keys. `more` are options.
    """
    executable = program("dropbear")
    require("unshare")
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    authorized = home / ".ssh/authorized_keys"
    authorized.write_text("".join(f"{keys.public(keys.user(k))}\n" for k in KEY_TYPES))
    authorized.chmod(0o600)
    port, log = free_port(), folder / "log"
    known = folder / "known_hosts"
    options = [*more]
    with known.open("w") as f:
        for kind in KEY_TYPES:
            key = folder / f"dropbear_{kind}"
            made = subprocess.run(
                [program("dropbearkey"), "-t", kind, "-f", key],
                check=True,
                capture_output=True,
                text=True,
            )
            public = next(
                line for line in made.stdout.split("\n") if line.startswith(("ssh-", "ecdsa-"))
            )
            f.write(f"[127.0.0.1]:{port} {' '.join(public.split()[:2])}\n")
            options += ["-r", str(key)]
    # Dropbear reads the authorized_keys of the home in the password database, and no other.
    namespace = (
        ["--mount"]
        if os.getuid() == 0
        else ["--mount", "--user", "--map-current-user", "--keep-caps"]
    )
    inside = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    argv: list[str | Path] = [
        "unshare",
        *namespace,
        "sh",
        "-c",
        inside,
        "sh",
        home,
        pwd.getpwuid(os.getuid()).pw_dir,
    ]
    argv += [
        executable,
        "-F",
        "-E",
        "-s",
        "-p",
        f"127.0.0.1:{port}",
        "-P",
        folder / "pid",
        *options,
    ]
    with running(argv, log, lambda: listens(port)) as pid:
        yield Server(port, pid, keys, log, known)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Starts an ssh-agent for this test; returns what adds key files to it."""
    executable = program("ssh-agent")
    require("ssh-add")
    path = tmp_path / "agent"
    with running([executable, "-D", "-a", path], tmp_path / "agent.log", lambda: _accepts(path)):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))

        def add(*files: Path, passphrase: str = "") -> None:
            ask = tmp_path / "askpass"
            ask.write_text(f"#!/bin/sh\necho '{passphrase}'\n")
            ask.chmod(0o700)
            env = {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
            subprocess.run(["ssh-add", "-q", *files], check=True, env=env, stdin=subprocess.DEVNULL)

        yield add
