"""What is compared, each with the command that runs it and the proof that every host answered.

Rules: every contestant sends the same command and request to the same hosts over real SSH, checks
host keys, and brings the whole reply of every host back: what is missing or differs is a lost host.
Each is tuned as somebody would who knows it well.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .lab import Lab
from .measure import Cost
from .recording import Recording

OPENSSH = {
    "BatchMode": "yes",
    "CheckHostIP": "no",
    "Ciphers": "aes128-gcm@openssh.com",
    "ControlMaster": "no",
    "ControlPath": "none",
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


@dataclass(frozen=True)
class Task:
    """What a contestant has to do, and where it leaves what it brought back."""

    lab: Lab
    recording: Recording
    out: Path


@dataclass(frozen=True)
class Contestant:
    """One way to run the probe on every host.

    `lost` returns the addresses of hosts whose reply is missing or differs; `missing` what has to
    be installed, "" for nothing.
    """

    name: str
    title: str
    recording: Recording
    command: Callable[[Task], list[str]]
    lost: Callable[[Task, Cost], list[str]]
    missing: str = ""


def openssh_options(task: Task) -> list[str]:
    """Returns the options of a tuned ssh. Each host has a known_hosts of its own line: reading
    those of all others is no part of the comparison.
    """
    folder = task.lab.known_hosts_folder(task.recording.port)
    options = {
        **OPENSSH,
        "IdentityFile": str(task.lab.key),
        "UserKnownHostsFile": f"{folder}/%h",
    }
    words = [f"-o{name}={value}" for name, value in options.items()]
    return ["-F", "none", "-T", "-a", "-x", "-p", str(task.recording.port), *words]


def openssh_command(task: Task) -> list[str]:
    """Returns OpenSSH for every host, by `xargs -P`."""
    ssh = shlex.join(["ssh", *openssh_options(task), "-l", task.lab.user])
    command = shlex.quote(task.recording.command())
    script = f'exec {ssh} "$0" {command} <{task.recording.request()} >{task.out}/"$0"'
    hosts = str(task.lab.address_list())
    return ["xargs", "-a", hosts, "-P", str(task.lab.forks), "-n", "1", "sh", "-c", script]


def lost_files(task: Task, cost: Cost) -> list[str]:
    """Returns the addresses whose file in the output folder is not the reply."""
    return [
        address
        for address in task.lab.addresses
        if not _has(task.out / address, task.recording.reply(address))
    ]


def _has(path: Path, reply: bytes) -> bool:
    return path.exists() and path.read_bytes() == reply


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


def contestants(one: Recording, default: Recording) -> list[Contestant]:
    """Returns the contestants; the raw ones use the requests and replies of `default`."""
    return [
        Contestant("one", "fleetaudit, one scenario", one, fleetaudit_command, lost_by_fleetaudit),
        Contestant("openssh", "OpenSSH by xargs -P, tuned", default, openssh_command, lost_files),
        Contestant(
            "default",
            "fleetaudit, default playbook",
            default,
            fleetaudit_command,
            lost_by_fleetaudit,
        ),
    ]
