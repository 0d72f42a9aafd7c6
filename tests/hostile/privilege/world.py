"""What the cases share: keys, folders, servers, and the two clients that are compared."""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import SshTarget
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.registry import Transports
from tests.hostile.table import Case, Seen
from tests.support.accounts import StartAccounts, accounts_starter
from tests.support.sshd import Keys, Server, Start, generate, make_keys, program, sshd_starter

COLUMNS = ("OpenSSH", "fleetaudit", "stage")
NAME = "web1.example.com"
"""The name that hosts have in ssh_config; its address is 127.0.0.1."""
ADDRESS = "127.0.0.1"
SECONDS, REASON_MAX = 60, 2000


@dataclass
class World:
    """Everything that is started once, and ended with `stack`."""

    folder: Path
    stack: contextlib.ExitStack
    certified: dict[object, tuple[Server, Path]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    def make_folder(self, name: str) -> Path:
        """Makes a folder that any account may enter."""
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        path.chmod(0o755)
        return path

    @cached_property
    def keys(self) -> Keys:
        return make_keys(self.make_folder("keys"))

    @cached_property
    def start_sshd(self) -> Start:
        return self.stack.enter_context(sshd_starter(self.keys, self.make_folder))

    @cached_property
    def start_accounts(self) -> StartAccounts:
        return self.stack.enter_context(accounts_starter(self.keys, self.make_folder))

    def authority(self, name: str = "ca", kind: str = "ed25519") -> Path:
        """Returns the key of a certificate authority, the same for each name and kind."""
        path = self.folder / f"{name}_{kind}"
        if not path.exists():
            generate(path, kind)
        return path


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Yields the world of one section, and ends all of it."""
    with tempfile.TemporaryDirectory(prefix="privilege-") as name, contextlib.ExitStack() as stack:
        Path(name).chmod(0o755)
        yield World(Path(name), stack)


Run = Callable[[World], Seen]


def case(name: str, run: Run, here: World) -> Case:
    """Returns a case of the table; what is missing here is no fault, except in CI."""

    def call() -> Seen:
        try:
            return run(here)
        except pytest.skip.Exception as e:
            return Seen(cells={"fleetaudit": f"not run here: {e}"})
        except pytest.fail.Exception as e:
            return Seen(wrong=(str(e),))

    return Case(name, call)


# -- the two clients


class Verdict(NamedTuple):
    """What a client did: whether it trusted the host, at which stage it failed, and why."""

    trusted: bool
    stage: str
    reason: str
    hint: str = ""

    @property
    def word(self) -> str:
        return "accepted" if self.trusted else "refused"


def write_config(path: Path, *hosts: tuple[str, Sequence[str]]) -> Path:
    """Writes a ssh_config of hosts, each with its lines."""
    text = (f"Host {name}\n" + "".join(f"  {line}\n" for line in lines) for name, lines in hosts)
    path.write_text("".join(text))
    path.chmod(0o600)
    return path


def login_lines(server: Server, known_hosts: Path, *more: str) -> list[str]:
    """Returns the ssh_config of a server; `more` goes first, and ssh takes the first value."""
    return [
        *more,
        f"HostName {ADDRESS}",
        f"Port {server.port}",
        f"User {getpass.getuser()}",
        f"IdentityFile {server.keys.user()}",
        "IdentitiesOnly yes",
        f"UserKnownHostsFile {known_hosts}",
        "GlobalKnownHostsFile /dev/null",
        "NoHostAuthenticationForLocalhost no",
    ]


def by_openssh(config: Path, name: str = NAME, policy: str = "yes") -> Verdict:
    """Returns what the system's ssh does."""
    options = ("BatchMode=yes", f"StrictHostKeyChecking={policy}", "UpdateHostKeys=no")
    command = [program("ssh"), "-F", str(config), *(f"-o{option}" for option in options)]
    environment = {k: v for k, v in os.environ.items() if k != "SSH_AUTH_SOCK"}
    done = subprocess.run(
        [*command, name, "echo in"],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    last = (done.stderr.strip().split("\n") or [""])[-1].strip()
    return Verdict(done.stdout == "in\n", "", last)


def by_fleetaudit(config: Path, name: str = NAME, policy: str = "strict") -> Verdict:
    """Returns what the built-in client does."""
    target = SshTarget(
        address=name,
        arguments=("-F", str(config)),
        use_agent=False,
        host_key_policy=policy,  # type: ignore[arg-type]
    )
    try:
        output = Transports().run(target, "echo in", b"", Deadline.after(SECONDS), Limits())
    except TransportError as e:
        return Verdict(False, e.stage, e.reason, e.hint)
    return Verdict(output.stdout == b"in\n", "", "")


@dataclass(frozen=True)
class Expected:
    """What must come out: whether the host is trusted, and how fleetaudit says that it is not.

    `openssh` is whether OpenSSH trusts it, if that differs.
    """

    trusted: bool
    says: str = ""
    stage: str = "host key"
    openssh: bool | None = None


def compared(openssh: Verdict, ours: Verdict, expected: Expected) -> Seen:
    """Returns the row of a case in which both clients must do the same."""
    theirs = expected.trusted if expected.openssh is None else expected.openssh
    wrong = []
    if openssh.trusted != theirs:
        wrong.append(f"OpenSSH {openssh.word} it: {openssh.reason}")
    if ours.trusted != expected.trusted:
        wrong.append(f"fleetaudit {ours.word} it: {ours.reason}")
    if not expected.trusted and not ours.trusted:
        wrong += refusal_faults(ours, expected)
    return Seen(
        tuple(wrong),
        {"OpenSSH": openssh.word, "fleetaudit": ours.word, "stage": ours.stage},
    )


def refusal_faults(ours: Verdict, expected: Expected) -> list[str]:
    """Returns what is wrong with how fleetaudit says that it refused a host key."""
    wrong = []
    if ours.stage != expected.stage:
        wrong.append(f"stage {ours.stage}: {ours.reason}")
    if expected.says not in ours.reason:
        wrong.append(f"the reason lacks {expected.says!r}: {ours.reason}")
    if not ours.reason.isprintable() or len(ours.reason) > REASON_MAX:
        wrong.append(f"a reason of {len(ours.reason)} characters: {ours.reason!r}")
    if not ours.hint or "…" in ours.hint:
        wrong.append(f"no next command: {ours.hint!r}")
    return wrong
