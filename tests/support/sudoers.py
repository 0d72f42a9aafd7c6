"""A host of the tests' own (accounts.py) on which alice may do what the sudoers or the doas.conf of
a test say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetaudit.model import Become, LocalTarget, Secret

from .accounts import FIRST_UID, Account, StartAccounts
from .sshd import Server, require

ALICE, BOB = FIRST_UID, FIRST_UID + 1
"""Alice may log in with the tests' key, and has the PASSWORD of accounts.py."""


@dataclass(frozen=True)
class SudoHost:
    """The host. `server` is its sshd, and its pid is in the namespace; `etc` is its /etc, `log` its
    /var/log.
    """

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
        """Returns this host as if one sat at it as alice, to become bob: a script enters its
        namespace, for its sudo.

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
                if (process / "ns/mnt").readlink() == here and "python" in (
                    process / "comm"
                ).read_text():
                    found.add(int(process.name))
            except OSError:
                continue
        return found


@pytest.fixture(scope="session")
def privileged(start_accounts: StartAccounts) -> SudoHost:
    """Returns the host, running; each test writes the sudoers that it is about."""
    require("setpriv", "sudo")
    host = start_accounts("UsePAM no", accounts=(Account("alice"), Account("bob")))
    folder = host.etc.parent
    sudo, doas = folder / "sudo", folder / "doas"
    alice = f"setpriv --reuid {ALICE} --regid {ALICE} --clear-groups"
    sudo.write_text(
        f'#!/bin/sh\nexec nsenter -t {host.server.pid} -m {alice} ${{TOOL-sudo}} "$@"\n'
    )
    doas.write_text(f'#!/bin/sh\nTOOL=doas exec {sudo} "$@"\n')
    for program in (sudo, doas):
        program.chmod(0o755)
    return SudoHost(host.server, host.etc, folder / "log", sudo)
