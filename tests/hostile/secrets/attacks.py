"""The runs: which host, which passwords, and where each must end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .world import World

LOGIN = ("--connection-password-file", "login.txt")
WRONG_LOGIN = ("--connection-password-file", "wrong.txt")
BECOME = ("-b", "--become-user", "bob", "--become-password-file", "become.txt")
WRONG_BECOME = ("-b", "--become-user", "bob", "--become-password-file", "wrong.txt")
VAULT = ("--vault-password-file", "vault.txt")
SU = ("--become-method", "su")
JUMP = {"ansible_host": "inner", "ansible_port": "", "ansible_ssh_common_args": "-F ssh_config"}
CLIENTS = (("built-in", ()), ("openssh", ("--transport", "openssh")))
AUDITED, NOT_AUDITED = (0, 2), (4,)
CRASH = """
import sys
from fleetaudit.probe import verdict
from fleetaudit.transport import masking

def broken(*arguments, **more):
    raise RuntimeError("a fault that was injected")

{patch} = broken
from fleetaudit.cli import main
sys.exit(main())
"""
"""A program that runs fleetaudit with a fault in the engine."""


@dataclass(frozen=True)
class Attack:
    """One run.

    Attributes:
        name: Of the row.
        inventory: The inventory in INI, made for the world.
        options: Of `fleetaudit run`.
        statuses: The exit statuses that are right.
        says: A word that the output must have, which shows that the run came that far.
        files: More files of the user, by name.
        program: Python that runs instead of `-m fleetaudit`.
        signal_at: The word in the log after which a signal that dumps core is sent.
    """

    name: str
    inventory: Callable[[World], str]
    options: Sequence[str] = ()
    statuses: Sequence[int] = AUDITED
    says: str = ""
    files: Callable[[World], dict[str, str]] = field(default=lambda _: {})
    program: str = ""
    signal_at: str = ""


def _open(world: World, **variables: str) -> str:
    return world.host(world.open, **variables)


def attacks() -> Iterator[Attack]:
    """Yields every run."""
    yield from _logins()
    for client, option in CLIENTS:
        yield from _becoming(client, option)
    yield from _by_jump_host()
    yield from _vaults()
    yield from _keys()
    yield from _crashes()
    yield Attack(
        "engine: passwords are not sent to workers", _open,
        (*LOGIN, "--engine", "dask://127.0.0.1:1"), (64, 65, 69, 70, 75, 78, 4), "",
    )  # fmt: skip


def _logins() -> Iterator[Attack]:
    """Yields logins with a password, of the built-in client: openssh takes none."""
    yield Attack("login", _open, LOGIN, says="audited")
    yield Attack("wrong password", _open, WRONG_LOGIN, NOT_AUDITED, "authenticate")
    yield Attack(
        "openssh takes no password", _open, (*LOGIN, "--transport", "openssh"), (64,), "password"
    )
    yield Attack(
        "a port that nobody listens on", lambda w: _open(w, ansible_port="1"),
        (*LOGIN, *BECOME, "--retries", "0"), NOT_AUDITED, "connect",
    )  # fmt: skip
    yield Attack(
        "a host key that is unknown", _open, (*LOGIN, "--known-hosts", "/dev/null"), NOT_AUDITED,
        "host key",
    )  # fmt: skip
    yield Attack(
        "a host that prints the password",
        lambda w: w.host(w.printing),
        LOGIN,
        NOT_AUDITED,
        "execute",
    )
    yield Attack(
        "a host that prints a wrong password", lambda w: w.host(w.printing_wrong), WRONG_LOGIN,
        NOT_AUDITED, "authenticate",
    )  # fmt: skip
    yield Attack(
        "passwords in the inventory",
        lambda w: _open(
            w,
            ansible_password=w.canaries["login"],
            ansible_become="true",
            ansible_become_user="bob",
            ansible_become_password=w.canaries["become"],
        ),
        says="audited",
    )


def _key(world: World, **variables: str) -> str:
    """Returns the host with a key to log in with."""
    return _open(world, ansible_ssh_private_key_file=str(world.keys.user()), **variables)


def _becoming(client: str, option: Sequence[str]) -> Iterator[Attack]:
    """Yields sudo and su, right and wrong, after a login by key."""
    right, wrong = (*option, *BECOME), (*option, *WRONG_BECOME)
    yield Attack(f"{client}: sudo", _key, right, says="audited")
    yield Attack(f"{client}: su", _key, (*right, *SU), says="audited")
    yield Attack(f"{client}: sudo, wrong password", _key, wrong, NOT_AUDITED, "become")
    yield Attack(f"{client}: su, wrong password", _key, (*wrong, *SU), NOT_AUDITED, "become")
    yield Attack(
        f"{client}: sudo refuses",
        lambda w: w.host(w.strict, ansible_ssh_private_key_file=str(w.keys.user())),
        right, NOT_AUDITED, "become",
    )  # fmt: skip
    for name in ("printing-sudo", "printing-last"):
        yield Attack(
            f"{client}: {name}", functools.partial(_with_sudo, name),
            (*option, "--become-password-file", "become.txt"), NOT_AUDITED, "become",
        )  # fmt: skip


def _with_sudo(name: str, world: World) -> str:
    """Returns the host with another program as its sudo."""
    program = f"/var/lib/sudo/{name}"
    return _key(world, ansible_become_exe=program, ansible_become="true", ansible_become_user="bob")


def _by_jump_host() -> Iterator[Attack]:
    """Yields runs through a jump host, which gets no password."""
    yield Attack(
        "jump host: login and sudo", lambda w: _open(w, **JUMP), (*LOGIN, *BECOME), says="audited"
    )
    yield Attack(
        "jump host: wrong password", lambda w: _open(w, **JUMP), WRONG_LOGIN, NOT_AUDITED,
        "authenticate",
    )  # fmt: skip
    for client, option in CLIENTS:
        yield Attack(
            f"jump host, {client}: sudo", lambda w: _key(w, **JUMP), (*option, *BECOME),
            says="audited",
        )  # fmt: skip


def _vault_files(world: World) -> dict[str, str]:
    return {
        "group_vars/all.yml": f"ansible_password: !vault |\n{world.vaulted('login')}\n"
        f"ansible_become_password: !vault |\n{world.vaulted('become')}\n"
        f"other: !vault |\n{world.vaulted('vaulted')}\n"
        "ansible_become_user: bob\nansible_become: true\n"
        "fleetaudit_site: '{{ other | length | string }}'\n",
    }


def _vault_of_a_wrong_type(world: World) -> dict[str, str]:
    return {"group_vars/all.yml": f"ansible_port: !vault |\n{world.vaulted('vaulted')}\n"}


def _vault_in_a_template(world: World) -> dict[str, str]:
    return {
        "group_vars/all.yml": f"other: !vault |\n{world.vaulted('vaulted')}\n"
        "ansible_port: '{{ other }}'\n"
    }


def _vaults() -> Iterator[Attack]:
    """Yields values that are encrypted, with the right and the wrong password."""
    yield Attack("vault: login and sudo", _open, VAULT, says="audited", files=_vault_files)
    yield Attack(
        "vault: wrong password", _open, ("--vault-password-file", "wrong.txt"), (4, 65),
        "password", files=_vault_files,
    )  # fmt: skip
    yield Attack("vault: no password", _open, (), (4, 65), "password", files=_vault_files)
    for name, files in (("port", _vault_of_a_wrong_type), ("template", _vault_in_a_template)):
        yield Attack(
            f"vault: a secret as a {name}", _open_without_port, VAULT, (4, 65), "", files=files
        )


def _open_without_port(world: World) -> str:
    return _open(world, ansible_port="")


def _keys() -> Iterator[Attack]:
    """Yields keys: one that is locked, one that is broken, one that works."""
    for client, option in CLIENTS:
        yield Attack(
            f"{client}: a key without its passphrase",
            lambda w: _open(w, ansible_ssh_private_key_file=str(w.locked)),
            option, NOT_AUDITED, "authenticate",
        )  # fmt: skip
        yield Attack(
            f"{client}: a key that works",
            lambda w: _open(w, ansible_ssh_private_key_file=str(w.keys.user())),
            option, says="audited",
        )  # fmt: skip
        yield Attack(
            f"{client}: a key with a line that is wrong",
            lambda w: _open(w, ansible_ssh_private_key_file="broken"),
            option, NOT_AUDITED, "authenticate", files=_broken_key,
        )  # fmt: skip


def _broken_key(world: World) -> dict[str, str]:
    """Returns a private key with a wrong header, and one cut in the middle."""
    lines = Path(world.keys.user()).read_text().splitlines()
    return {"broken": "\n".join([*lines[:3], "", f"X: {lines[3]}", *lines[4:]]) + "\n"}


def _crashes() -> Iterator[Attack]:
    """Yields faults of fleetaudit itself, and signals that dump core."""
    for place in ("verdict.decode_opened", "masking.Masking.output"):
        yield Attack(
            f"a fault in {place}", _open, (*LOGIN, *BECOME), (1, 4), "a bug in fleetaudit",
            program=CRASH.format(patch=place),
        )  # fmt: skip
    for signal in ("SIGSEGV", "SIGABRT"):
        for stage in ("connect", "become"):
            yield Attack(
                f"{signal} after {stage}",
                lambda w: _open(w),
                (*LOGIN, *BECOME), (), "", signal_at=f"{signal} {stage} passed",
            )  # fmt: skip
    yield Attack(
        "SIGSEGV with vaulted passwords", _open, VAULT, (), "", files=_vault_files,
        signal_at="SIGSEGV connect passed",
    )  # fmt: skip
