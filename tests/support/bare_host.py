"""Hosts with almost nothing on them, made by the tests: a folder with a shell and few programs or
none, entered by chroot in a mount namespace. Neither has a Python, nor a /dev/null.

Rules: nothing of the machine's is changed; what is mounted goes with the last process of the
namespace. Needs root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from .sshd import program, require

FOLDERS = ("dev/shm", "run", "tmp", "var/tmp", "root")
"""Where a program may be written, in the order in which they are tried; the last is HOME."""
_GNU = ("id", "uname", "rm", "chmod", "wc", "cat", "gzip")


@dataclass(frozen=True)
class BareHost:
    """A host. `mounts` are lines of a shell that stands in the folder, which run before each
    command; `user` is that of the command.
    """

    root: Path
    mounts: tuple[str, ...] = ()
    user: str = "0:0"

    def mounting(self, kind: str, *folders: str) -> BareHost:
        """Returns the host with file systems of this kind at these folders, at all by default."""
        command = {
            "noexec": "mount -t tmpfs -o noexec,mode=1777 none {0}",
            "read-only": "mount -t tmpfs -o ro none {0}",
            "full": "mount -t tmpfs -o size=8k,mode=1777 none {0}",
            "small": "mount -t tmpfs -o size=64k,mode=1777 none {0}",
        }[kind]
        lines = tuple(command.format(folder) for folder in folders or FOLDERS)
        return replace(self, mounts=(*self.mounts, *lines))

    def running(self, command: str) -> list[str]:
        """Returns the arguments that run `command`, words of a shell outside, inside."""
        lines = "; ".join((f"cd {self.root}", "mount -t proc proc proc", *self.mounts))
        chroot = f"{program('chroot')} --userspec={self.user} ."
        inside = f"exec env -i PATH=/bin HOME=/root {chroot}"
        script = f"{lines}; {inside} /bin/sh -c {command}"
        return ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", script]

    def forced_command(self, path: Path) -> Path:
        """Writes a program that runs what an SSH client asks for inside, and returns it."""
        words = " ".join(f"'{word}'" for word in self.running('"$SSH_ORIGINAL_COMMAND"'))
        path.write_text(f"#!/bin/sh\nexec {words}\n")
        path.chmod(0o755)
        return path

    def left(self) -> list[Path]:
        """Returns the files in the folders where the program may be written."""
        return [file for folder in FOLDERS for file in (self.root / folder).rglob("*")]


def busybox_host(root: Path) -> BareHost:
    """Makes a host that has a busybox as /bin/sh and no other file."""
    _require_root()
    executable = Path(program("busybox"))
    if b"/ld-" in executable.read_bytes()[:4096]:
        pytest.skip("missing: busybox-static")
    _make_folders(root)
    shutil.copy(executable, root / "bin/sh")
    return BareHost(root)


def dash_host(root: Path) -> BareHost:
    """Makes a host that has a dash, and the programs of GNU that the command needs."""
    return _gnu_host(root, "dash")


def bash_host(root: Path) -> BareHost:
    """Makes a host that has a bash, and the programs of GNU that the command needs."""
    return _gnu_host(root, "bash")


def _gnu_host(root: Path, shell: str) -> BareHost:
    """Makes a host with this shell as /bin/sh, and the programs of GNU that the command needs."""
    _require_root()
    _make_folders(root)
    _copy_program(Path(program(shell)), root, "sh")
    for name in _GNU:
        _copy_program(Path(program(name)), root, name)
    return BareHost(root)


def lying_about_machine(host: BareHost, machine: str) -> BareHost:
    """Makes `uname` of a host print another machine, and returns the host."""
    uname = host.root / "bin/uname"
    uname.unlink()
    uname.write_text(f"#!/bin/sh\necho {machine}\n")
    uname.chmod(0o755)
    return host


def slow_rm(host: BareHost) -> BareHost:
    """Makes the first `rm` of a file on a host wait for two seconds, and returns the host."""
    _copy_program(Path(program("sleep")), host.root, "sleep")
    rm = host.root / "bin/rm"
    rm.rename(rm.with_name("real-rm"))
    waits = 'test -e /etc/waited || test ! -e "$1" || { echo >/etc/waited; sleep 2; }'
    rm.write_text(f'#!/bin/sh\n{waits}\nexec real-rm "$@"\n')
    rm.chmod(0o755)
    return host


def without_gzip(host: BareHost) -> BareHost:
    """Removes the gzip of a host, and returns the host."""
    (host.root / "bin/gzip").unlink()
    return host


def _require_root() -> None:
    """Skips the test where it cannot make a host."""
    if os.getuid() != 0:
        pytest.skip("missing: root")
    require("unshare", "chroot")


def _make_folders(root: Path) -> None:
    """Makes the folders of a host."""
    for name in ("bin", "proc", "etc", *FOLDERS):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("dev/shm", "tmp", "var/tmp"):
        (root / name).chmod(0o1777)


def _copy_program(executable: Path, root: Path, name: str) -> None:
    """Copies a program to /bin of a host, with the libraries that it needs."""
    shutil.copy(executable.resolve(), root / "bin" / name)
    for library in _libraries(executable):
        place = root / library.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library.resolve(), place)


def _libraries(executable: Path) -> Sequence[Path]:
    """Returns the libraries of a program, its loader included."""
    listed = subprocess.run(["ldd", executable], capture_output=True, text=True, check=True).stdout
    return [Path(found) for found in re.findall(r"(/\S+) \(0x", listed)]
