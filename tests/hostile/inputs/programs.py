"""Everything by which an input starts a program: each once as it is, and once with --no-exec.

Without the option, the attack shows that it would work; with it, nothing starts but what
fleetaudit itself starts.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from .attack import OWNED, Attack, Content, program

RUN = ("run", "-p", "quick.yml", "-T", "3", "--retries", "0")
SHELL = frozenset({"sh", "dash", "bash", "touch", "false", "true"})
REFUSED = "--no-exec allows no"
MARK = f"touch {OWNED}"
HOST = "ansible_host: 127.0.0.1, ansible_port: 1"
OWN = frozenset({"ssh -G"})


def _with(variables: str, **files: Content) -> dict[str, Content]:
    """Returns an inventory of one host with these variables."""
    return {"hosts.yml": f"all: {{hosts: {{web1: {{{HOST}, {variables}}}}}}}\n", **files}


INPUTS: dict[str, tuple[dict[str, Content], bool]] = {
    # the files; whether the program runs without --no-exec
    "ProxyCommand in a variable": (
        _with(f"ansible_ssh_common_args: \"-o ProxyCommand='{MARK}'\""),
        True,
    ),
    "ProxyCommand in a file of -F": (
        _with("ansible_ssh_args: -F ./config", config=f"Host *\n  ProxyCommand {MARK}\n"),
        True,
    ),
    "Match exec in a file of -F": (
        _with("ansible_ssh_args: -F ./config", config=f'Match exec "{MARK}"\n  User x\n'),
        True,
    ),
    "Match exec for openssh": (
        _with(
            "ansible_connection: openssh, ansible_ssh_args: -F ./config",
            config=f'Match exec "{MARK}"\n  User x\n',
        ),
        True,
    ),
    "ProxyCommand in ansible.cfg": (
        {**_with("x: 1"), "ansible.cfg": f"[ssh_connection]\nssh_args = -oProxyCommand='{MARK}'\n"},
        True,
    ),
    "a program as ssh": (
        _with("ansible_connection: openssh, ansible_ssh_executable: ./prog", prog=program),
        True,
    ),
    "a Python on this machine": (
        {
            "hosts.yml": "all: {hosts: {web1: {ansible_connection: local,"
            " ansible_python_interpreter: HERE/prog}}}\n",
            "prog": program,
        },
        True,
    ),
    "a become program on this machine": (
        {
            "hosts.yml": "all: {hosts: {web1: {ansible_connection: local, ansible_become: yes,"
            " ansible_become_user: nobody, ansible_become_exe: HERE/prog}}}\n",
            "prog": program,
        },
        True,
    ),
    "KnownHostsCommand": (
        _with("ansible_ssh_args: -oKnownHostsCommand=/bin/true"),
        False,
    ),
    "LocalCommand": (
        _with(f"ansible_ssh_args: \"-oPermitLocalCommand=yes -oLocalCommand='{MARK}'\""),
        False,
    ),
    "a library of PKCS#11": (_with("ansible_ssh_args: -oPKCS11Provider=/tmp/none.so"), False),
    "a library for security keys": (
        _with("ansible_ssh_args: -oSecurityKeyProvider=/tmp/none.so"),
        False,
    ),
    "a jump host with a ProxyCommand": (
        _with(
            "ansible_ssh_args: -F ./config -J gate",
            config=f"Host gate\n  ProxyCommand {MARK}\n",
        ),
        True,
    ),
}


def _as_it_is(name: str) -> Attack:
    """Returns the input without --no-exec: its mark shows that the attack works."""
    files, runs = INPUTS[name]
    return _Marking(
        f"{name}",
        "without --no-exec",
        (*RUN, "hosts.yml"),
        files,
        status=(2, 4, 6),
        started=SHELL | OWN | {"ssh", "prog", "env", "id", "python3", "python"},
        runs=runs,
    )


def _refused(name: str, arguments: tuple[str, ...] = RUN) -> Attack:
    return Attack(
        f"{name}, {arguments[0]} --no-exec",
        "--no-exec",
        (*arguments, "hosts.yml", "--no-exec"),
        INPUTS[name][0],
        status=(4,),
        message=REFUSED,
    )


@dataclasses.dataclass(frozen=True)
class _Marking(Attack):
    """An attack that must work, if it `runs`: else nothing would show that it is refused."""

    runs: bool = False

    def _wrong(self, place: Path, status: int, text: str) -> Iterator[str]:
        marks = list(place.rglob(OWNED))
        for mark in marks:
            mark.unlink()
        if bool(marks) != self.runs:
            yield f"the program {'did not run' if self.runs else 'ran'}"
        yield from super()._wrong(place, status, text)


def _programs() -> list[Attack]:
    """Returns the programs that are not an option of one host."""
    files: dict[str, Content] = {"hosts": program}
    commands = {
        "inventory": ("inventory", "hosts", "--list"),
        "run": ("run", "hosts", "-C"),
        "doctor": ("doctor", "hosts"),
        "schedule": ("schedule", "hosts"),
        "probe": ("probe", "hosts"),
        "merge": ("merge", "-i", "hosts", "web.reply"),
    }
    reply: dict[str, Content] = {"web.reply": "x"}
    refused = [
        Attack(
            f"an inventory that is a program, {name} --no-exec",
            "--no-exec",
            (*arguments, "--no-exec"),
            files | reply,
            message=f"a program, and {REFUSED}",
        )
        for name, arguments in commands.items()
    ]
    typed = [
        Attack(
            f"{' '.join(option)} --no-exec",
            "--no-exec",
            (*RUN, "web1,", "--no-exec", *option),
            status=(64,),
            message=REFUSED,
        )
        for option in (("--notify", "./prog"), ("--transport", "openssh"))
    ]
    configured = Attack(
        "no_exec in a configuration",
        "configuration",
        ("inventory", "hosts", "--list"),
        files | {"fleetaudit.yml": "no_exec: true\n"},
        message=REFUSED,
    )
    scheduled = dataclasses.replace(
        configured, name="no_exec in a configuration, schedule", arguments=("schedule", "hosts")
    )
    notify = Attack(
        "notify in a configuration, --no-exec",
        "configuration",
        (*RUN, "web1,", "--no-exec"),
        {"fleetaudit.yml": "notify: ./prog\n", "prog": program},
        status=(64,),
        message=REFUSED,
    )
    kernel = Attack(
        "a kernel image, --no-exec",
        "--no-exec",
        (*RUN, "hosts.yml", "--no-exec"),
        {"hosts.yml": "all: {hosts: {k: {ansible_connection: kernel, kernel_image: x}}}\n"},
        status=(4,),
        message=f"QEMU, and {REFUSED}",
    )
    here = Attack(
        "localhost, named on the command line, --no-exec",
        "--no-exec",
        (*RUN, "localhost,", "--no-exec"),
        status=(0, 2, 4, 6),
        message="localhost|1 host",
        started=frozenset({"sh", "dash", "id", "python", "python3"}),
    )
    return [*refused, *typed, configured, scheduled, notify, kernel, here]


def _of_the_system() -> list[Attack]:
    """Returns attacks through the system's ssh_config, mounted over in a namespace of its own."""
    if os.geteuid() != 0:
        return []
    config = f'Match exec "{MARK}"\n  User x\n'
    proxy = f"Host *\n  ProxyCommand {MARK}\n"
    clean = "Host *\n  Port 1\n  User x\n"
    before = "mount --bind config /etc/ssh/ssh_config"
    cases = {
        "Match exec": (config, REFUSED),
        "ProxyCommand": (proxy, REFUSED),
        "nothing": (clean, "connection refused|Connection refused"),
    }
    return [
        Attack(
            f"{name} in the system's ssh_config, --no-exec",
            "ssh_config",
            (*RUN, "hosts.yml", "--no-exec"),
            {**_with("x: 1"), "config": text},
            status=(4,),
            message=message,
            started=OWN,
            before=before,
        )
        for name, (text, message) in cases.items()
    ]


def attacks() -> list[Attack]:
    """Returns every way to start a program."""
    return [
        *map(_as_it_is, INPUTS),
        *map(_refused, INPUTS),
        *(_refused(name, ("doctor", "-T", "3", "--retries", "0")) for name in INPUTS),
        *_programs(),
        *_of_the_system(),
    ]
