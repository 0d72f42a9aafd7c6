"""Between the login and our command: real login shells, start-up files and forced commands that
come in the way.

Rules: no program is sent before the command ran, so that none of them can read it; and the reason
says which it was.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import (
    Become,
    BecomeMethod,
    LocalTarget,
    Secret,
    SshClient,
)
from fleetaudit.probe import protocol
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from tests.support.accounts import Account, Accounts, StartAccounts
from tests.support.sshd import failure_of, require

CLIENTS: tuple[SshClient, ...] = ("paramiko", "openssh")
PROGRAM = (
    b"#\nprint('the program ran whole')\n" + b"# padding, so that no buffer holds it all\n" * 8000
)

# A start-up file of bash; whatever the account's process does next, it has printed `begun` by then.
STARTUP = {
    "asks": 'echo "Ticket number?"; read -t 1 TICKET; echo "got ($TICKET)"',
    "asks forever": 'echo "Ticket number?"; touch ~/begun; read TICKET',
    "reads all": "echo 'loading' >&2; touch ~/begun; cat >/dev/null",
    "becomes another shell": "touch ~/begun; exec cat",
    "maintenance": 'echo "maintenance, come back later"; exit 3',
    "set -e": "set -e; false",
    "interpreters": "",
    "warns and ends": "echo 'no such project' >&2; exit 0",
}
FORCED = {
    "forced read": 'touch ~/begun; read x; eval "$SSH_ORIGINAL_COMMAND"',
    "forced sftp": "internal-sftp",
    "forced other": "echo 'hello from the menu'",
}
SHELLS = {"nologin": "/usr/sbin/nologin", "false": "/bin/false", "restricted": "/bin/rbash"}


@dataclass(frozen=True, slots=True)
class Begun(Deadline):
    """A deadline that comes a moment after the account's process has begun what it does instead of
    our command.
    """

    mark: Path

    def remaining(self) -> float:
        if self.mark.exists():
            return max(0.0, self.mark.stat().st_mtime + 1.0 - time.time())
        return max(0.0, self.at - time.monotonic())


def account(name: str) -> str:
    return f"u-{name.replace(' ', '-')}"


@pytest.fixture(scope="module")
def host(start_accounts: StartAccounts) -> Accounts:
    require("bash", "rbash")
    accounts = [
        Account(account(name), shell="/bin/bash", files={".bashrc": text})
        for name, text in STARTUP.items()
    ]
    accounts += [Account(account(name), shell="/bin/bash", files={"x": ""}) for name in FORCED]
    accounts += [Account(account(name), shell=shell) for name, shell in SHELLS.items()]
    matches = [
        f"Match User {account(name)}\nForceCommand {command}" for name, command in FORCED.items()
    ]
    return start_accounts("UsePAM no", *matches, accounts=tuple(accounts))


def run(host: Accounts, name: str, client: SshClient, deadline: Deadline | None = None) -> Output:
    target = host.server.target(user=account(name), client=client)
    target = (
        msgspec.structs.replace(target, arguments=("-F", "none")) if client == "openssh" else target
    )
    return Transports().run(
        target, protocol.COMMAND, PROGRAM, deadline or Deadline.after(100), Limits()
    )


def refused(
    host: Accounts, name: str, client: SshClient, deadline: Deadline | None = None
) -> TransportError:
    e = failure_of(lambda: run(host, name, client, deadline))
    assert (e.stage, e.transient) == ("execute", False)
    assert e.hint.startswith("ssh ")
    assert e.hint.endswith(f"{account(name)}@127.0.0.1 true")
    return e


@pytest.mark.parametrize("client", CLIENTS)
def test_a_question_of_a_start_up_file_never_eats_the_program(
    host: Accounts, client: SshClient
) -> None:
    output = run(host, "asks", client)
    assert output.stdout.startswith(b"Ticket number?\ngot ()\n" + protocol.SHELL_MARK.encode())
    assert output.stdout.endswith(b"\nthe program ran whole\n")
    assert b"Error" not in output.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("asks forever", "; it printed “Ticket number?”"),
        ("reads all", "; it printed on stderr “loading”"),
        ("becomes another shell", ""),
        ("forced read", ""),
    ],
)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_shell_that_waits_for_input_is_reported_at_the_deadline(
    host: Accounts, client: SshClient, name: str, said: str
) -> None:
    begun = host.etc / f"home-{account(name)}" / "begun"
    begun.unlink(missing_ok=True)
    e = refused(host, name, client, Begun(time.monotonic() + 100, begun))
    assert (
        e.reason
        == "our command was not started in time: the login shell, one of its start-up files"
        f" (~/.bashrc) or a forced command waits for input, hangs or runs something else{said}"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "maintenance",
            "a forced command ended with status 3; it printed “maintenance, come back later”",
        ),
        ("warns and ends", "ended with status 0; it printed on stderr “no such project”"),
        (
            "set -e",
            "ended with status 1; nothing was printed (a login shell /bin/false, for example)",
        ),
        (
            "false",
            "ended with status 1; nothing was printed (a login shell /bin/false, for example)",
        ),
        (
            "nologin",
            (
                "login shell of the account is nologin, which runs no command: “This account is"
                " currently not"
            ),
        ),
        (
            "restricted",
            (
                "/bin/sh is missing or may not be run on this host (exit status 1): “rbash: line 1:"
                " /bin/sh: restricted"
            ),
        ),
        (
            "forced sftp",
            (
                "the account may use SFTP only, and run no command: “This service allows sftp"
                " connections"
            ),
        ),
        ("forced other", "ended with status 0; it printed “hello from the menu”"),
    ],
)
@pytest.mark.parametrize("client", CLIENTS)
def test_what_runs_instead_of_our_command_is_distinguished(
    host: Accounts, client: SshClient, name: str, words: str
) -> None:
    assert words in refused(host, name, client).reason


def test_this_machine_runs_the_command_like_a_host() -> None:
    output = Transports().run(
        LocalTarget(), protocol.COMMAND, PROGRAM, Deadline.after(100), Limits()
    )
    assert output.stdout.endswith(b"\nthe program ran whole\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "nologin",
            "the login shell of the account is nologin, which runs no command: “This account is"
            " currently not",
        ),
        (
            "maintenance",
            "our command was not started: the login shell, one of its start-up files (~/.bashrc)"
            " or a "
            "forced command ended with status 3; it printed “maintenance, come back later”",
        ),
        ("asks forever", "our command was not started in time: "),
    ],
)
@pytest.mark.parametrize("method", ["sudo", "su"])
@pytest.mark.parametrize("client", CLIENTS)
def test_sudo_is_not_blamed_if_it_did_not_run(
    host: Accounts, client: SshClient, method: BecomeMethod, name: str, words: str
) -> None:
    begun = host.etc / f"home-{account(name)}" / "begun"
    begun.unlink(missing_ok=True)
    become = Become(method=method, password=Secret("never sent"))
    target = host.server.target(user=account(name), client=client, become=become)
    target = (
        msgspec.structs.replace(target, arguments=("-F", "none")) if client == "openssh" else target
    )
    deadline = Begun(time.monotonic() + 200, begun)
    e = failure_of(lambda: Transports().run(target, protocol.COMMAND, PROGRAM, deadline, Limits()))
    assert e.stage == "execute"
    assert e.reason.startswith(words)
    assert e.hint.endswith(f" -t {account(name)}@127.0.0.1 true")
    assert "[fleetaudit-" not in e.reason


# ---- the interpreter


def own_python(host: Accounts, folder: str, body: str = 'exec /usr/bin/python3 "$@"') -> Path:
    """Makes a program in the home of an account that leaves a mark and then is a Python."""
    path = host.etc / f"home-{account('interpreters')}" / folder
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$@" >>~/used\n{body}\n')
    path.chmod(0o755)
    return path


def named(host: Accounts, client: SshClient, value: str = "") -> tuple[Output, list[str]]:
    """Returns what came of this value as the interpreter, and what our own Python was called
    with.
    """
    used = host.etc / f"home-{account('interpreters')}" / "used"
    used.unlink(missing_ok=True)
    target = host.server.target(user=account("interpreters"), client=client)
    target = (
        msgspec.structs.replace(target, arguments=("-F", "none")) if client == "openssh" else target
    )
    stdin = f"# {value}\n".encode() + PROGRAM.removeprefix(b"#\n")
    output = Transports().run(target, protocol.COMMAND, stdin, Deadline.after(100), Limits())
    assert output.stdout.endswith(b"the program ran whole\n"), output
    return output, used.read_text().splitlines() if used.exists() else []


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "value",
    [
        "HOME/bin/python",
        "~/bin/python",
        "/usr/bin/env HOME/bin/python",
        "HOME/bin/python -B",
        "HOME/my python/$(id) *",
    ],
)
def test_the_interpreter_of_the_inventory_is_tried_first(
    host: Accounts, client: SshClient, value: str
) -> None:
    """One path, as Ansible 2.19 takes it, or words, as older versions do."""
    for folder in ("bin/python", "my python/$(id) *"):
        own_python(host, folder)
    output, used = named(
        host, client, value.replace("HOME", f"/etc/home-{account('interpreters')}")
    )
    more = "-B " if value.endswith("-B") else ""
    assert used == [f"{more}-B -E -s -c ", f"{more}-B -E -s -c import sys; exec(sys.stdin.read())"]
    assert protocol.PYTHON_MARK.encode() not in output.stdout


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("/opt/bin/no-python", 127),
        ("HOME/bin", 126),
        ("HOME/broken", 3),
        ("/x; touch ~/pwned; $(touch ~/pwned)", 127),
    ],
)
def test_an_interpreter_that_does_not_work_is_a_note_and_another_is_used(
    host: Accounts, word: str, status: int
) -> None:
    home = own_python(host, "bin/python").parent.parent
    own_python(host, "broken", "exit 3")
    output, _ = named(host, "paramiko", word.replace("HOME", f"/etc/{home.name}"))
    assert f"\n{protocol.PYTHON_MARK}{status}\n".encode() in output.stdout
    assert not (home / "pwned").exists()


def test_a_relative_name_is_looked_up_in_the_path_and_a_search_finds_one_by_itself(
    host: Accounts,
) -> None:
    output, used = named(host, "paramiko", "python3")
    assert protocol.PYTHON_MARK.encode() not in output.stdout
    assert named(host, "paramiko")[1] == used == []


def test_variables_of_python_in_the_environment_do_not_hide_an_interpreter() -> None:
    """PYTHONHOME and the like made the trial of every interpreter fail: it lacked -E."""
    hostile = {"PYTHONHOME": "/nonexistent", "PYTHONHASHSEED": "x", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        protocol.COMMAND,
        shell=True,
        input=PROGRAM,
        capture_output=True,
        env=hostile,
        timeout=100,
        check=True,
    )
    assert done.stdout.endswith(b"the program ran whole\n")


# ---- in words only
