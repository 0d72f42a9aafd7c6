"""Real hosts on loopback, with the canaries as passwords, and the folder of who audits them."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.accounts import Account, Accounts, accounts_starter
from tests.support.commands import Workspace
from tests.support.sshd import Keys, generate, make_keys

from .canaries import Canaries, vault_encrypt

PLAYBOOK = """
- name: secrets
  hosts: all
  sysctls: {collect: [net.ipv4.tcp_fin_timeout]}
"""
SUDOERS = "Defaults targetpw\nDefaults !lecture\nalice ALL=(ALL) ALL\n"
NO_SUDOERS = "root ALL=(ALL) ALL\n"
TELLING_SUDO = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = -p ] && prompt=$2; shift; done
printf '%s' "$prompt" >&2
IFS= read -r typed
echo "sudo: you entered $typed$typed" >&2
echo "out: $typed"
LAST
exit 1
"""
"""A sudo that prints the password that it gets; LAST is what it does at last."""
_SUDOS = {"printing-sudo": ":", "printing-last": "printf '%s' \"$typed\" >&2"}


@dataclass(frozen=True)
class World:
    """The hosts: `open` takes passwords and lets alice become bob, `strict` lets her become
    nobody, `printing` prints alice's password in its banner, and to whoever logs in,
    and `printing_wrong` the wrong one.
    """

    canaries: Canaries
    keys: Keys
    locked: Path
    open: Accounts
    strict: Accounts
    printing: Accounts
    printing_wrong: Accounts

    def workspace(self, folder: Path) -> Workspace:
        """Makes the folder of a user: playbook, passwords, vault, ssh_config."""
        place = Workspace(folder)
        place.write("p.yml", PLAYBOOK)
        for kind in ("login", "become", "vault", "wrong"):
            place.write(f"{kind}.txt", self.canaries[kind] + "\n").chmod(0o600)
        (folder / "tmp").mkdir()
        (folder / "bin").mkdir()
        hosts = (self.open, self.strict, self.printing, self.printing_wrong)
        place.write("known", "".join(a.server.known_hosts.read_text() for a in hosts))
        self._write_ssh_config(place)
        self._write_programs(place)
        return place

    def _write_ssh_config(self, place: Workspace) -> None:
        """Writes a jump host, `gate`, and a host behind it, `inner`."""
        known = self.open.server.known_hosts
        place.write(
            "ssh_config",
            f"Host gate\n  HostName 127.0.0.1\n  Port {self.open.server.port}\n  User alice\n"
            f"  IdentityFile {self.keys.user()}\n  UserKnownHostsFile {known}\n"
            f"Host inner\n  HostName 127.0.0.1\n  Port {self.open.server.port}\n  User alice\n"
            f"  UserKnownHostsFile {known}\n  ProxyJump gate\n  IdentityFile none\n",
        ).chmod(0o600)

    def _write_programs(self, place: Workspace) -> None:
        """Writes a command for --notify, which keeps what it is given."""
        notify = f"#!/bin/sh\n{{ env; cat; }} > {shlex.quote(str(place.path))}/notified\n"
        place.write("bin/notify", notify).chmod(0o755)

    def host(self, accounts: Accounts, **variables: str) -> str:
        """Returns the line of a host in an INI inventory."""
        settings = {
            "ansible_host": "127.0.0.1",
            "ansible_port": str(accounts.server.port),
            "ansible_user": "alice",
            "ansible_ssh_common_args": "-o IdentityFile=none",
            **variables,
        }
        words = [f"{name}={shlex.quote(value)}" for name, value in settings.items() if value]
        return f"web {' '.join(words)}\n"

    def vaulted(self, kind: str, password: str = "vault") -> str:
        """Returns a canary as ansible-vault encrypts it, indented for a value of YAML."""
        text = vault_encrypt(self.canaries[kind], self.canaries[password])
        return "\n".join(f"  {line}" for line in text.splitlines())


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Yields the hosts, running."""
    canaries = Canaries()
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory(prefix="secrets-", dir="/var/tmp")))
        root.chmod(0o711)
        numbers = iter(range(1000))

        def make_folder(name: str) -> Path:
            folder = root / f"{name}-{next(numbers)}"
            folder.mkdir()
            return folder

        keys = make_keys(make_folder("keys"))
        locked = generate(keys.folder / "locked", "ed25519", canaries["passphrase"])
        canaries.add_key(keys.user())
        start = stack.enter_context(accounts_starter(keys, make_folder))
        people = (
            Account("alice", password=canaries["login"]),
            Account("bob", password=canaries["become"]),
        )
        passwords = ("PasswordAuthentication yes", "KbdInteractiveAuthentication yes")

        def start_printing(text: str) -> Accounts:
            folder = make_folder("printing")
            folder.chmod(0o755)
            (folder / "banner").write_text(f"welcome, {text}\n{text}\n")
            script = folder / "command"
            script.write_text(f"#!/bin/sh\necho 'you sent {text}'\necho '{text}' >&2\nexit 3\n")
            script.chmod(0o755)
            lines = (f"Banner {folder}/banner", f"ForceCommand {script}")
            return start(*passwords, *lines, accounts=people)

        open_ = start(*passwords, accounts=people, sudoers=SUDOERS)
        for name, last in _SUDOS.items():
            program = open_.etc.parent / "lib" / name
            program.write_text(TELLING_SUDO.replace("LAST", last))
            program.chmod(0o755)
        yield World(
            canaries,
            keys,
            locked,
            open_,
            start(*passwords, accounts=people, sudoers=NO_SUDOERS),
            start_printing(canaries["login"]),
            start_printing(canaries["wrong"]),
        )
