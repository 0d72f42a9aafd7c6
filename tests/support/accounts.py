"""Accounts of the tests' own on this machine: sshd with PAM, or dropbear, in a mount namespace with
its own /etc.

Rules: nothing of the machine's is changed. The namespace has a copy of /etc, which is written from
outside and counts at once; its /run, /var/log and /var/lib/sudo are empty. Needs root.
`Accounts.enter` runs a command in there, for sudo and doas as `enter("setpriv", "--reuid", …)`.
Passwords go through nothing but shadow, as hashes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from fleetaudit.model import Secret, SshTarget

from .sshd import (
    Keys,
    MakeFolder,
    Server,
    _has,
    free_port,
    listens,
    program,
    require,
    running,
)

PASSWORD = "sesame, “öffne” dich!"
FIRST_UID = 4101


@dataclass(frozen=True)
class Account:
    """A user. `shadow` are the fields of shadow(5) after the hash; "" as a password locks it to
    keys alone.

    `files` are put into the user's home, by name; without any the home is /tmp.
    """

    name: str
    password: str = PASSWORD
    shadow: str = "19000:0:99999:7:::"
    shell: str = "/bin/sh"
    files: Mapping[str, str] = field(default_factory=dict)


ACCOUNTS = (
    Account("alice"),
    Account("bob", password=""),
    Account("carol", shadow="19000:0:99999:7::1:"),  # the account expired in 1970
    Account("dave", shadow="0:0:99999:7:::"),  # must choose a new password
)
StartAccounts = Callable[..., "Accounts"]


@dataclass(frozen=True)
class Accounts:
    """A host with accounts. `server` is its SSH server, whose pid is in the namespace; `etc` is its
    /etc.
    """

    server: Server
    etc: Path

    def target(self, user: str, password: str | None = PASSWORD, **changes: object) -> SshTarget:
        """Returns the target for a user who has a password and no key, unless `changes` says so."""
        secret = None if password is None else Secret(password)
        return self.server.target(
            **{"user": user, "password": secret, "private_keys": (), **changes}
        )

    def enter(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the namespace, as root."""
        command = ["nsenter", "-t", str(self.server.pid), "-m", *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def hashed(password: str) -> str:
    """Returns a hash as crypt(3) has it, for shadow; "*" where there is no password."""
    if not password:
        return "*"
    command = [program("openssl"), "passwd", "-6", "-stdin"]
    return subprocess.run(
        command, input=password, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="session")
def start_accounts(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartAccounts]:
    """Returns what starts one more host, see `accounts_starter`."""
    with accounts_starter(keys, tmp_path_factory.mktemp) as start:
        yield start


@contextlib.contextmanager
def accounts_starter(keys: Keys, make_folder: MakeFolder) -> Iterator[StartAccounts]:
    """Yields what starts one more host: start(*lines of sshd_config, accounts=(Account, …),
    pam={service: lines}, sudoers="…", doas="…", ssh="sshd" or "dropbear").

    All accounts may log in with the tests' ed25519 key. The lines replace the usual ones of the
    same keyword. `within` is a command that the server's is appended to, such as
    `probing.host_without_user_namespaces()`.
    """
    if os.getuid() != 0:
        pytest.skip("missing: root")
    require("unshare", "nsenter", "openssl")
    with contextlib.ExitStack() as stack:

        def start(
            *lines: str,
            accounts: tuple[Account, ...] = ACCOUNTS,
            pam: dict[str, str] | None = None,
            sudoers: str = "",
            doas: str = "",
            ssh: str = "sshd",
            within: Sequence[str] = (),
        ) -> Accounts:
            folder = make_folder("accounts")
            folder.chmod(0o711)
            etc, port, log = folder / "etc", free_port(), folder / "server.log"
            _make_etc(etc, accounts, {"sshd": _PAM, **(pam or {})})
            for name, mode, text in (("sudoers", 0o440, sudoers), ("doas.conf", 0o600, doas)):
                if text:
                    (etc / name).write_text(text)
                    (etc / name).chmod(mode)
            for name in ("log", "lib"):
                (folder / name).mkdir()
            if ssh == "dropbear":
                argv, public = _dropbear(folder, port)
            else:
                argv, public = _sshd(folder, port, keys, lines), keys.public(keys.host("ed25519"))
            known = folder / "known_hosts"
            known.write_text(f"[127.0.0.1]:{port} {public}\n")
            inside = (
                f"mount --bind {etc} /etc; mount --bind {folder}/log /var/log; mount -t tmpfs none"
                f" /run;mkdir -p /run/sshd /run/faillock /var/lib/sudo; mount --bind {folder}/lib"
                ' /var/lib/sudo;exec "$@"'
            )
            command: list[str | Path] = [
                *within,
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-ec",
                inside,
                "sh",
            ]
            ready = (
                partial(listens, port)
                if ssh == "dropbear"
                else partial(_has, log, "Server listening on")
            )
            pid = stack.enter_context(running([*command, *argv], log, ready))
            return Accounts(Server(port, pid, keys, log, known), etc)

        yield start


_PAM = """
auth required pam_unix.so nodelay
account required pam_unix.so
password required pam_unix.so
session required pam_permit.so
"""


def _make_etc(etc: Path, accounts: tuple[Account, ...], pam: dict[str, str]) -> None:
    subprocess.run(["cp", "-a", "/etc", etc], check=True)
    with (etc / "passwd").open("a") as passwd, (etc / "shadow").open("a") as shadow:
        for uid, account in enumerate(accounts, FIRST_UID):
            home = _make_home(etc, account) if account.files else "/tmp"
            passwd.write(f"{account.name}:x:{uid}:{uid}::{home}:{account.shell}\n")
            shadow.write(f"{account.name}:{hashed(account.password)}:{account.shadow}\n")
    for service, text in pam.items():
        (etc / "pam.d" / service).write_text(text)


def _make_home(etc: Path, account: Account) -> str:
    """Makes a home in /etc, which every account can reach and write to, and returns its path in
    there.
    """
    home = etc / f"home-{account.name}"
    home.mkdir()
    home.chmod(0o777)
    for name, text in account.files.items():
        (home / name).write_text(text)
    return f"/etc/{home.name}"


def _sshd(folder: Path, port: int, keys: Keys, lines: tuple[str, ...]) -> list[str | Path]:
    (folder / "authorized_keys").write_text(keys.public(keys.user()) + "\n")
    (folder / "authorized_keys").chmod(0o644)
    usual = (
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {keys.host('ed25519')}",
        "PidFile none",
        "UsePAM yes",
        "MaxStartups 500",
        "LogLevel VERBOSE",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        # As root: no account of ours can look into our folder.
        "AuthorizedKeysFile none",
        f"AuthorizedKeysCommand /usr/bin/cat {folder}/authorized_keys",
        "AuthorizedKeysCommandUser root",
    )
    given = {line.split()[0] for line in lines}
    text = (*lines, *(line for line in usual if line.split()[0] not in given))
    config = folder / "sshd_config"
    # A Match goes on to the end of the file.
    config.write_text(
        "".join(f"{line}\n" for line in sorted(text, key=lambda line: line.startswith("Match ")))
    )
    return [program("sshd"), "-D", "-e", "-f", config]


def _dropbear(folder: Path, port: int) -> tuple[list[str | Path], str]:
    key = folder / "host"
    made = subprocess.run(
        [program("dropbearkey"), "-t", "ed25519", "-f", key],
        check=True,
        capture_output=True,
        text=True,
    )
    public = next(line for line in made.stdout.split("\n") if line.startswith("ssh-"))
    options: list[str | Path] = [
        "-F",
        "-E",
        "-p",
        f"127.0.0.1:{port}",
        "-P",
        folder / "pid",
        "-r",
        key,
    ]
    return [program("dropbear"), *options], " ".join(public.split()[:2])
