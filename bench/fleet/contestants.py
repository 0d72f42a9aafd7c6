"""What is compared, each with the command that runs it and the proof that every host answered.

Rules: every contestant sends the same command and request to the same hosts over real SSH, checks
host keys, and brings the whole reply of every host back: what is missing or differs is a lost host.
Each is tuned as somebody would who knows it well. Its title names what cannot be the same.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import extras
from .clients import Job, summary
from .lab import Lab
from .measure import Cost
from .recording import Recording
from .server import PLAIN

OPENSSH = {
    "BatchMode": "yes",
    "CheckHostIP": "no",
    "Ciphers": "aes128-gcm@openssh.com",
    "GlobalKnownHostsFile": "/dev/null",
    "HostKeyAlgorithms": "ssh-ed25519",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    # OpenSSH's default is a post-quantum exchange, which alone costs several times the rest.
    "KexAlgorithms": "curve25519-sha256",
    "LogLevel": "ERROR",
    "PreferredAuthentications": "publickey",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
}
"""The options of the tuned OpenSSH, without those that name files."""
NO_MASTER = {"ControlMaster": "no", "ControlPath": "none"}
ANSIBLE_FORKS = 50
"""Ansible forks a process a host: more of them cost memory and gain nothing on few cores."""


@dataclass(frozen=True)
class Task:
    """What a contestant has to do, and where it leaves what it brought back."""

    lab: Lab
    recording: Recording
    out: Path


Command = Callable[[Task], list[str]]
Lost = Callable[[Task, Cost], list[str]]


@dataclass(frozen=True)
class Contestant:
    """One way to run the probe on every host.

    `lost` returns the addresses of hosts whose reply is missing or differs; `missing` is what to
    do if something is not installed, "" if all is.
    """

    name: str
    title: str
    recording: Recording
    command: Command
    lost: Lost
    missing: str = ""


# ---- OpenSSH


def openssh_options(lab: Lab, port: int, **more: str) -> list[str]:
    """Returns the options of a tuned ssh. Each host has a known_hosts of its own line: reading
    those of all others is no part of the comparison.
    """
    files = {
        "IdentityFile": str(lab.key),
        "UserKnownHostsFile": f"{lab.known_hosts_folder(port)}/%h",
    }
    options = {**OPENSSH, **files, **more}
    return ["-F", "none", *(f"-o{name}={value}" for name, value in options.items())]


def openssh_command(task: Task) -> list[str]:
    """Returns OpenSSH for every host, by `xargs -P`."""
    lab, port = task.lab, task.recording.port
    words = ["-T", "-a", "-x", "-p", str(port), "-l", lab.user]
    ssh = shlex.join(["ssh", *openssh_options(lab, port, **NO_MASTER), *words])
    command = shlex.quote(task.recording.command())
    script = f'exec {ssh} "$0" {command} <{task.recording.request()} >{task.out}/"$0"'
    hosts = str(lab.address_list())
    return ["xargs", "-a", hosts, "-P", str(lab.forks), "-n", "1", "sh", "-c", script]


def lost_files(task: Task, cost: Cost) -> list[str]:
    """Returns the addresses whose file in the output folder is not the reply."""
    return _differing(task, lambda address: (task.out / address).read_bytes())


def _differing(task: Task, reply: Callable[[str], bytes]) -> list[str]:
    """Returns the addresses whose reply is not there, or is not what their host printed."""
    lost = []
    for address in task.lab.addresses:
        try:
            same = reply(address) == task.recording.reply(address)
        except (OSError, LookupError, ValueError):
            same = False
        lost += [] if same else [address]
    return lost


# ---- fleetaudit


def fleetaudit_command(task: Task) -> list[str]:
    """Returns a whole run of fleetaudit, page and journal included."""
    lab, recording = task.lab, task.recording
    return [
        *recording.fleetaudit,
        "run",
        str(lab.inventory(recording.port)),
        *recording.options(),
        "--forks",
        str(lab.forks),
        "--known-hosts",
        str(lab.known_hosts(recording.port)),
        "--output-dir",
        str(task.out),
    ]


def lost_by_fleetaudit(task: Task, cost: Cost) -> list[str]:
    """Returns every address unless the exit status says that every host was audited."""
    return [] if cost.status in {0, 2} else list(task.lab.addresses)


# ---- other libraries


def client(name: str, python: str = sys.executable) -> Command:
    """Returns the command of one of `clients`, as one of these interpreters runs it."""

    def command(task: Task) -> list[str]:
        lab, recording = task.lab, task.recording
        job = Job(
            addresses=list(lab.addresses),
            port=recording.port,
            user=lab.user,
            key=str(lab.key),
            known_hosts=str(lab.known_hosts(recording.port)),
            command=recording.command(),
            request=str(recording.request()),
            result=str(task.out / "result"),
            forks=lab.forks,
        )
        path = task.out / "job.json"
        path.write_text(json.dumps(asdict(job)))
        return [python, "-m", f"bench.fleet.clients.{name}", str(path)]

    return command


def lost_by_client(task: Task, cost: Cost) -> list[str]:
    """Returns the addresses for which the client wrote down no reply, or another one."""
    result = task.out / "result"
    lines = set(result.read_text().splitlines()) if result.exists() else set()
    return [a for a in task.lab.addresses if f"{a} {summary(task.recording.reply(a))}" not in lines]


# ---- Ansible


def ansible(module: str, port: int, arguments: str, task: Task, **options: str) -> list[str]:
    """Returns one module for every host: pipelined, without a terminal, over a tuned ssh."""
    lab = task.lab
    settings = {
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_USETTY": "False",
        "ANSIBLE_SSH_ARGS": shlex.join(openssh_options(lab, port, **options)),
        "ANSIBLE_FORKS": str(min(ANSIBLE_FORKS, lab.forks)),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(lab.folder / "cp"),
    }
    words = ["all", "-i", str(lab.inventory(port)), "-m", module, "-a", arguments]
    environment = [f"{name}={value}" for name, value in settings.items()]
    tree = ["--tree", str(task.out / "tree")]
    return ["env", *environment, str(extras.program("ansible")), *words, *tree]


def ansible_raw(task: Task) -> list[str]:
    """Returns the raw module. It writes nothing to its command, so its hosts have no forced one,
    and send the reply at once.
    """
    return ansible("raw", PLAIN, _prints_the_reply(task), task, **NO_MASTER)


def ansible_script(task: Task) -> list[str]:
    """Returns the script module. It copies a file and runs it, so its hosts have no forced command:
    a script of as many bytes as the request prints the reply.
    """
    script = task.out / "script"
    head = f"#!/bin/sh\n{_prints_the_reply(task)}\nexit\n"
    script.write_bytes(head.encode() + task.recording.request().read_bytes())
    shared = {"ControlMaster": "auto", "ControlPersist": "60s"}
    return ansible("script", PLAIN, str(script), task, **shared)


def _prints_the_reply(task: Task) -> str:
    """Returns a command that prints the reply of the host that runs it."""
    play_back = Path(__file__).with_name("play_back.sh")
    return f"exec sh {play_back} {task.recording.folder} 0 </dev/null"


def lost_by_ansible(task: Task, cost: Cost) -> list[str]:
    """Returns the addresses whose saved result is not the reply; blanks at its end do not count."""
    names = {address: f"host{n:05}" for n, address in enumerate(task.lab.addresses)}

    def stdout(address: str) -> bytes:
        text = json.loads((task.out / "tree" / names[address]).read_text())["stdout"]
        return f"{text.rstrip()}\n".encode()

    return _differing(task, stdout)


def contestants(one: Recording, default: Recording) -> list[Contestant]:
    """Returns the contestants; the raw ones use the requests and replies of `default`."""
    asyncssh, pyinfra = extras.missing("asyncssh"), extras.missing("pyinfra")
    no_ansible = extras.missing("ansible")
    other_python = str(extras.program("python"))

    def library(name: str, title: str, module: str, python: str = "", no: str = "") -> Contestant:
        command = client(module, python or sys.executable)
        return Contestant(name, title, default, command, lost_by_client, no)

    def fleetaudit(name: str, title: str, recording: Recording) -> Contestant:
        return Contestant(
            name, f"fleetaudit, {title}", recording, fleetaudit_command, lost_by_fleetaudit
        )

    def with_ansible(name: str, title: str, command: Command) -> Contestant:
        return Contestant(name, f"ansible {title}", default, command, lost_by_ansible, no_ansible)

    openssh = "OpenSSH by xargs -P, tuned"
    return [
        library("floor", "floor: SSH by hand over cryptography", "floor"),
        library("loop", "paramiko's protocol objects in one epoll loop", "paramiko_loop"),
        library("asyncssh", "asyncssh, tuned", "asyncssh_gather", other_python, asyncssh),
        library("threads", "paramiko, a pool of threads", "paramiko_threads"),
        fleetaudit("one", "one scenario", one),
        fleetaudit("default", "default playbook", default),
        Contestant("openssh", openssh, default, openssh_command, lost_files),
        library("pyinfra", "pyinfra, by its API", "pyinfra_run", other_python, pyinfra),
        with_ansible("raw", "raw, tuned ssh (sends no request)", ansible_raw),
        with_ansible("script", "script, tuned ssh", ansible_script),
    ]
