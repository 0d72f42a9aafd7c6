"""The hosts: N addresses of one real sshd, with keys, known_hosts and inventories of their own.

Rules: everything happens in a network namespace, so no port or address of this machine is used.
Every host has an address of its own in 127.0.0.0/8, so that per-address limits and known_hosts
behave as they do with real hosts. Nothing of the user's is read: HOME is an empty folder.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST_ADDRESS = ipaddress.IPv4Address("127.1.0.1")


@dataclass(frozen=True)
class Lab:
    """The hosts, and the files with which a client reaches them."""

    folder: Path
    addresses: tuple[str, ...]
    forks: int

    @property
    def key(self) -> Path:
        return self.folder / "user"

    @property
    def host_key(self) -> str:
        """The hosts' public key, as known_hosts has it."""
        return " ".join((self.folder / "host.pub").read_text().split()[:2])

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every contestant."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        return {
            "PATH": path,
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
        }

    def known_hosts(self, port: int) -> Path:
        """Returns a known_hosts with one plain line a host."""
        path = self.folder / f"known_hosts.{port}"
        if not path.exists():
            key = self.host_key
            path.write_text("".join(f"[{a}]:{port} {key}\n" for a in self.addresses))
        return path

    def known_hosts_folder(self, port: int) -> Path:
        """Returns a folder with a known_hosts of one line for each address."""
        folder = self.folder / f"known.{port}"
        if not folder.exists():
            folder.mkdir()
            key = self.host_key
            for address in self.addresses:
                (folder / address).write_text(f"[{address}]:{port} {key}\n")
        return folder

    def address_list(self) -> Path:
        """Returns a file with one address a line."""
        path = self.folder / "addresses"
        path.write_text("".join(f"{a}\n" for a in self.addresses))
        return path

    def inventory(self, port: int, count: int = 0) -> Path:
        """Returns a YAML inventory of the first `count` hosts (0: of all), at one port."""
        chosen = self.addresses[:count] if count else self.addresses
        path = self.folder / f"inventory.{port}.{len(chosen)}.yml"
        variables = {
            "ansible_port": str(port),
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.key),
        }
        with path.open("w") as file:
            file.write("all:\n  vars:\n")
            file.writelines(f"    {name}: {value}\n" for name, value in variables.items())
            file.write("  hosts:\n")
            file.writelines(
                f"    host{n:05}: {{ansible_host: {address}}}\n" for n, address in enumerate(chosen)
            )
        return path


def make_lab(folder: Path, count: int, forks: int) -> Lab:
    """Makes the keys and files of `count` hosts in an empty folder."""
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name],
            check=True,
        )
    (folder / "home").mkdir()
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    addresses = tuple(str(FIRST_ADDRESS + n) for n in range(count))
    return Lab(folder, addresses, forks)
