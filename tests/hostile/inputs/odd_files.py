"""Pipes, devices, folders, sockets, links and secrets in the place of every file that is read."""

from __future__ import annotations

import os

from .attack import SHADOW, Attack, Content, fifo, folder, link, unix_socket

KINDS: dict[str, Content] = {
    "a pipe": fifo,
    "/dev/zero": link("/dev/zero"),
    "/dev/urandom": link("/dev/urandom"),
    "/dev/tty": link("/dev/tty"),
    "/dev/null": link("/dev/null"),
    "/proc/kmsg": link("/proc/kmsg"),
    "a folder": folder,
    "a socket": unix_socket,
    "a link to itself": link("odd"),
    "a link to nothing": link("nowhere"),
    "/etc/shadow": SHADOW,
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nCANARYc4n4ry\n",
}
HOST = "web1 ansible_host=127.0.0.1 ansible_port=1"
RUN = ("run", "hosts", "-p", "quick.yml", "-T", "2", "--retries", "0")
LIST = ("inventory", "hosts", "--list-hosts")
SHARED: dict[str, Content] = {"hosts": f"{HOST}\n"}
PLACES: dict[str, tuple[tuple[str, ...], dict[str, Content]]] = {
    "inventory": (("inventory", "odd", "--list"), {}),
    "inventory in a folder": (("inventory", "folder", "--list"), {"folder/a": "web1\n"}),
    "playbook": (("run", "-C", "hosts", "-p", "odd"), SHARED),
    "waivers": ((*RUN, "--waivers", "odd"), SHARED),
    "-l @file": ((*LIST, "-l", "@odd"), SHARED),
    "group_vars": (LIST, {**SHARED, "group_vars/x": ""}),
    "host_vars": (LIST, {**SHARED, "host_vars/x": ""}),
    "configuration": (LIST, SHARED),
    "ansible.cfg": (LIST, SHARED),
    "vault password": ((*LIST, "--vault-password-file", "odd"), SHARED),
    "login password": ((*RUN, "--connection-password-file", "odd"), SHARED),
    "become password": ((*RUN, "-b", "--become-password-file", "odd"), SHARED),
    "private key": ((*RUN, "--private-key", "odd"), SHARED),
    "known_hosts": ((*RUN, "--known-hosts", "odd"), SHARED),
    "ssh_config": (RUN, {"hosts": f"{HOST} ansible_ssh_args='-F odd'\n"}),
    "ssh_config of openssh": (
        RUN,
        {"hosts": f"{HOST} ansible_connection=openssh ansible_ssh_args='-F odd'\n"},
    ),
    "Include of ssh_config": (
        RUN,
        {"hosts": f"{HOST} ansible_ssh_args='-F config'\n", "config": "Include HERE/odd\nUser x\n"},
    ),
    "kernel image": (
        RUN,
        {"hosts": "k ansible_connection=kernel kernel_image=odd\n"},
    ),
    "baseline": ((*RUN, "--baseline", "./odd"), SHARED),
    "report": (("report", "odd"), {}),
    "diff": (("diff", "odd", "odd"), {}),
    "merge": (("merge", "odd"), {}),
    "resume": (("run", "--resume", "./odd"), {}),
    "output folder": ((*RUN, "-o", "odd"), SHARED),
}
PATHS = {
    "inventory in a folder": "folder/odd",
    "group_vars": "group_vars/all",
    "host_vars": "host_vars/web1",
}
"""Where the odd file is, if not at odd."""
ENVIRONMENT = {
    "configuration": {"FLEETAUDIT_CONFIG": "odd"},
    "ansible.cfg": {"ANSIBLE_CONFIG": "odd"},
}
ERRORS = (4, 64, 65, 66, 73, 75, 78)
HARMLESS = (0, *ERRORS)
"""Statuses where an odd file may mean "no file", as /dev/null does, or an empty folder."""


def _odd(where: str, kind: str) -> Attack:
    arguments, files = PLACES[where]
    path = PATHS.get(where, "odd")
    return Attack(
        f"{kind} as {where}",
        where,
        arguments,
        {**files, path: KINDS[kind]},
        status=HARMLESS,
        message=".",
        started=frozenset({"ssh -G", "ssh", "ldd", "sh", "qemu-system-x86_64"}),
        environment=ENVIRONMENT.get(where, {}),
    )


LOOPS: dict[str, dict[str, Content]] = {
    "folders that link to each other": {
        "hosts/a": "web1\n",
        "hosts/x": link("../hosts"),
        "hosts/y": link("../hosts"),
    },
    "group_vars that link to themselves": {
        "hosts/a": "[web]\nweb1\n",
        "hosts/group_vars/web/x": link("../web"),
        "hosts/group_vars/web/y": link("../web"),
    },
    "group_vars/all with a pipe below": {
        "hosts/a": "web1\n",
        "hosts/group_vars/all/deep/x.yml": fifo,
    },
    "host_vars with a device below": {
        "hosts/a": "web1\n",
        "hosts/host_vars/web1/x.yml": link("/dev/zero"),
    },
    "group_vars that are /etc/shadow": {
        "hosts/a": "web1\n",
        "hosts/group_vars/all/x.yml": SHADOW,
    },
    "an inventory folder that links to /proc": {"hosts/x": link("/proc/self")},
    "an inventory folder that links to /": {"hosts/x": link("/dev")},
}


def _loop(name: str) -> Attack:
    return Attack(
        name,
        "inventory",
        ("inventory", "hosts", "--list"),
        LOOPS[name],
        message=r"hosts/",
    )


def _long_include() -> Attack:
    return Attack(
        "an Include of 10 MB",
        "ssh_config",
        RUN,
        {
            "hosts": f"{HOST} ansible_ssh_args='-F config'\n",
            "config": "Include " + "a" * 10_000_000 + "\n",
        },
        status=(4,),
        message="not audited",
        started=frozenset({"ssh -G"}),
    )


def _swapped(where: str, arguments: tuple[str, ...], files: dict[str, Content]) -> Attack:
    """Returns the attack by a link that points to a file and to a pipe in turn, all the time."""
    swap = "while :; do ln -sfn pipe odd; ln -sfn /dev/zero odd; ln -sfn good odd; done"
    return Attack(
        f"a link that is swapped as {where}",
        where,
        arguments,
        {**files, "pipe": fifo},
        status=HARMLESS,
        message=".",
        started=frozenset({"ssh -G"}),
        before=f"timeout 3 sh -c '{swap}' &\nsleep 0.2",
    )


def _swaps() -> list[Attack]:
    """Returns what needs a namespace of its own, and so root."""
    if os.geteuid() != 0:
        return []
    plays = "- {name: a, hosts: all, sysctls: {collect: [net.ipv4.tcp_rfc1337]}}\n"
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
    return [
        _swapped("inventory", ("inventory", "odd", "--list"), {"good": "web1\n"}),
        _swapped("playbook", ("run", "-C", "hosts", "-p", "odd"), {**SHARED, "good": plays}),
        _swapped("private key", (*RUN, "--private-key", "odd"), {**SHARED, "good": key}),
        _swapped("known_hosts", (*RUN, "--known-hosts", "odd"), {**SHARED, "good": "x y z\n"}),
        _swapped("ssh_config", RUN, {**PLACES["ssh_config"][1], "good": "User x\n"}),
    ]


def attacks() -> list[Attack]:
    """Returns every attack by an odd file."""
    return [
        *(_odd(where, kind) for where in PLACES for kind in KINDS),
        *map(_loop, LOOPS),
        *_swaps(),
        _long_include(),
    ]
