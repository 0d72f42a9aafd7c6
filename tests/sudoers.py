"""A host of the tests' own with accounts, sudoers, doas.conf and PAM, and an sshd on loopback, in a mount namespace.

Rules: nothing of the machine's is changed: the namespace has a copy of /etc, and its /run, /var/log and /var/lib/sudo
are empty. Files of it are written from outside, under `Place.etc`, and count at once. Needs root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from fleetaudit.model import Become, LocalTarget, Secret

from .sshd import Keys, Server, _has, free_port, program, require, running

PASSWORD = "sesame, “öffne” dich!"
"""Of alice, who may log in with the tests' key."""
ALICE, BOB = 4001, 4002


@dataclass(frozen=True)
class Place:
    """The host. `server` is its sshd, and its pid is in the namespace; `etc` is its /etc, `log` its /var/log."""

    server: Server
    etc: Path
    log: Path
    sudo: Path

    def sudoers(self, *lines: str) -> None:
        """Makes these lines all of sudoers."""
        path = self.etc / "sudoers"
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o440)

    def doas(self, *lines: str) -> None:
        """Makes these lines all of doas.conf."""
        path = self.etc / "doas.conf"
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o600)

    def local(self, password: str | None = None, **changes: object) -> LocalTarget:
        """Returns this host as if one sat at it as alice, to become bob: a script enters its namespace, for its sudo.

        Not root: who runs the tests is root already, and then needs no sudo.
        """
        secret = None if password is None else Secret(password)
        settings = {"user": "bob", "program": str(self.sudo), "password": secret, **changes}
        return LocalTarget(become=Become(**settings))  # type: ignore[arg-type]

    def pythons(self) -> set[int]:
        """Returns the processes in the namespace that are a Python."""
        here, found = Path(f"/proc/{self.server.pid}/ns/mnt").readlink(), set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/mnt").readlink() == here and "python" in (process / "comm").read_text():
                    found.add(int(process.name))
            except OSError:
                continue
        return found


def hashed(password: str) -> str:
    done = subprocess.run(
        [program("openssl"), "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def privileged(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Returns the host, running; each test writes the sudoers that it is about."""
    if os.getuid() != 0:
        pytest.skip("missing: root")
    require("unshare", "nsenter", "setpriv", "openssl", "sudo")
    executable = program("sshd")
    folder = tmp_path_factory.mktemp("privileged")
    etc, port = folder / "etc", free_port()
    subprocess.run(["cp", "-a", "/etc", etc], check=True)
    for name in ("sudoers.d", "log", "lib"):
        (folder / name).mkdir()
    with (etc / "passwd").open("a") as passwd, (etc / "shadow").open("a") as shadow:
        for name, number in (("alice", ALICE), ("bob", BOB)):
            passwd.write(f"{name}:x:{number}:{number}::/tmp:/bin/sh\n")
            shadow.write(f"{name}:{hashed(PASSWORD)}:19000:0:99999:7:::\n")
    (folder / "authorized_keys").write_text(keys.public(keys.user()) + "\n")
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {keys.public(keys.host('ed25519'))}\n")
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {keys.host('ed25519')}\nPidFile none\nUsePAM no\nMaxStartups 500\n"
        # As root: alice cannot look into our folder.
        f"AuthorizedKeysFile none\nAuthorizedKeysCommand /usr/bin/cat {folder}/authorized_keys\n"
        "AuthorizedKeysCommandUser root\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    inside = (
        f"mount --bind {etc} /etc; mount --bind {folder}/log /var/log; mount -t tmpfs none /run; mkdir /run/sshd;"
        f"mkdir -p /var/lib/sudo; mount --bind {folder}/lib /var/lib/sudo; exec {executable} -D -e -f {config}"
    )
    argv: list[str | Path] = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", inside]
    server_log = folder / "sshd.log"
    with running(argv, server_log, partial(_has, server_log, "Server listening on")) as pid:
        sudo = folder / "sudo"
        sudo.write_text(
            f"#!/bin/sh\nexec nsenter -t {pid} -m setpriv --reuid {ALICE} --regid {ALICE} --clear-groups"
            ' ${TOOL-sudo} "$@"\n'
        )
        sudo.chmod(0o755)
        doas = folder / "doas"
        doas.write_text(f'#!/bin/sh\nTOOL=doas exec {sudo} "$@"\n')
        doas.chmod(0o755)
        yield Place(Server(port, pid, keys, server_log, known), etc, folder / "log", sudo)
