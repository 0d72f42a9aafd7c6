"""The probe's names of programs: units and containers, from /proc/PID/cgroup."""

from __future__ import annotations

import os
import socket

import pytest

from fleetaudit.probe.remote import owners

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0::/system.slice/nginx.service\n", "nginx.service"),
        (
            "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n",
            "postgresql@15-main.service",
        ),
        (
            "12:pids:/system.slice/ssh.service\n1:name=systemd:/system.slice/ssh.service\n",
            "ssh.service",
        ),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service\n", "x.service"),
        (f"0::/system.slice/docker-{ID}.scope\n", "docker-0123456789ab"),
        (f"12:cpu:/docker/{ID}\n0::/system.slice/docker.service\n", "docker-0123456789ab"),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", "libpod-0123456789ab"),
        (
            f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podab_c.slice/cri-containerd-{ID}.scope\n",
            "cri-containerd-0123456789ab",
        ),
        (f"11:cpu:/kubepods/besteffort/pod12-34/{ID}\n", "kubepods-0123456789ab"),
        ("0::/lxc.payload.web01/init.scope\n", "lxc-web01"),
        ("0::/lxc/web01\n", "lxc-web01"),
        ("0::/\n", ""),
        ("", ""),
        ("nonsense", ""),
        ("0::" + "/x" * 8000, ""),
        ("0::/" + "x" * 5000 + ".service", ""),
    ],
)
def test_a_cgroup_names_its_unit_or_container(text: str, name: str) -> None:
    assert owners.parse_cgroup(text) == name


def test_a_socket_has_an_owner() -> None:
    with socket.socket() as sock:
        inode = os.fstat(sock.fileno()).st_ino
        assert owners.socket_owners([inode], 60) == ({inode: os.getpid()}, True)
    assert owners.executable_of(os.getpid()) == os.path.realpath("/proc/self/exe")
    assert owners.command_of(os.getpid())


def test_a_process_that_is_gone_has_no_name() -> None:
    gone = 1 << 30
    assert (owners.executable_of(gone), owners.command_of(gone), owners.unit_of(gone)) == ("",) * 3
    assert owners.sockets_of(gone) == set()


def test_the_search_for_owners_ends() -> None:
    assert owners.socket_owners([1 << 60], 0.0)[0] == {}
