"""The hosts: N addresses of one real sshd, with keys, known_hosts and inventories of their own.

Rules: everything happens in a network namespace, so no port or address of this machine is used.
Every host has an address of its own in 127.0.0.0/8, so that per-address limits and known_hosts
behave as they do with real hosts. Nothing of the user's is read: HOME is an empty folder.

An sshd listens on several ports. What a connection gets depends on its port: `PLAIN` runs the
command, each recording has one port that records and one that plays back (`recording`).
"""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .measure import end_with_parent

ROOT = Path(__file__).resolve().parents[2]
INSIDE = "FLEETAUDIT_BENCH_INSIDE"
PROGRAMS = ("unshare", "ip", "sshd", "ssh", "ssh-keygen", "xargs", "tee")
"""The programs that the bench needs; Debian: util-linux, iproute2, openssh-server, openssh-client,
findutils, coreutils."""
NO_NAMESPACE = """\
A network namespace cannot be made here. Run this as root, or allow user namespaces:
  sysctl -w user.max_user_namespaces=10000 kernel.apparmor_restrict_unprivileged_userns=0
"""
FIRST_ADDRESS = ipaddress.IPv4Address("127.1.0.1")
PLAIN = 2200
PLAY_BACK = 2300
RECORD = 2400


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


def enter_namespace() -> None:
    """Starts this program again in a network namespace of its own; returns if it is inside.

    Without root the namespace belongs to a user namespace. Ends the program, and says what is
    missing, if there can be none.
    """
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=search)]:
        packages = "openssh-server openssh-client iproute2 util-linux findutils"
        sys.exit(f"missing: {', '.join(missing)} (Debian: apt-get install -y {packages})")
    inside = namespace_command()
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        sys.exit(NO_NAMESPACE)
    os.environ.update({INSIDE: "1", "PATH": search})
    again = (sys.executable, "-m", "bench.fleet", *sys.argv[1:])
    os.execvp(inside[0], [*inside, *again])


def namespace_command() -> tuple[str, ...]:
    """Returns the words before a command that is to run in a network namespace of its own."""
    users = () if os.geteuid() == 0 else ("--user", "--map-current-user", "--keep-caps")
    return ("unshare", "--net", *users)


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


@contextlib.contextmanager
def running_sshd(lab: Lab, recordings: dict[int, Path], wait_s: float) -> Iterator[None]:
    """Runs an sshd: a port for plain commands, and two for each recording, by its number."""
    write_sshd_config(lab, recordings, wait_s)
    with sshd_running(sshd_command(lab), lab.folder / "sshd.log"):
        yield


@contextlib.contextmanager
def sshd_running(command: tuple[str, ...], log: Path, keep: tuple[int, ...] = ()) -> Iterator[None]:
    """Runs a command that is an sshd in the end, with some descriptors kept open."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation needs it
    with log.open("wb") as out:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=end_with_parent,
            pass_fds=keep,
        )
    try:
        _wait_until_it_listens(server, log)
        yield
    finally:
        server.terminate()
        server.wait()


def sshd_command(lab: Lab) -> tuple[str, ...]:
    """Returns the command that is the lab's sshd, and does not leave the foreground."""
    sshd = shutil.which("sshd", path=os.environ["PATH"]) or "sshd"
    words = (str(_passwd(lab)), sshd, str(lab.folder / "sshd_config"))
    return ("unshare", "--mount", "sh", "-c", _PLAIN_ACCOUNT, "sh", *words)


# What ~/.bashrc does here is no part of the comparison: the user of sshd has an empty home and a
# plain shell, and an account that is not locked.
_PLAIN_ACCOUNT = """\
mount --bind "$1" /etc/passwd || exit
test ! -e /etc/shadow || mount --bind "$1.shadow" /etc/shadow || exit
exec "$2" -D -e -f "$3"
"""


def _passwd(lab: Lab) -> Path:
    """Returns a password database in which the user has the lab's home and /bin/sh."""
    path = lab.folder / "passwd"
    lines = Path("/etc/passwd").read_text().splitlines()
    others = [line for line in lines if not line.startswith(f"{lab.user}:")]
    ids = f"{os.getuid()}:{os.getgid()}"
    own = f"{lab.user}:x:{ids}::{lab.folder}/home:/bin/sh"
    path.write_text("\n".join([own, *others]) + "\n")
    (lab.folder / "passwd.shadow").write_text(f"{lab.user}:*:::::::\n")
    return path


def write_sshd_config(lab: Lab, recordings: dict[int, Path], wait_s: float) -> None:
    """Writes the configuration: one sshd, whose forced command depends on the port."""
    here = Path(__file__).parent
    ports = [PLAIN, *(base + n for n in recordings for base in (PLAY_BACK, RECORD))]
    lines = [
        *(f"Port {port}" for port in ports),
        "ListenAddress 0.0.0.0",
        f"HostKey {lab.folder}/host",
        f"AuthorizedKeysFile {lab.folder}/authorized_keys",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "UseDNS no",
        "PermitRootLogin yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "MaxStartups 100000",
        f"Subsystem sftp {_sftp_server()}",
    ]
    for number, folder in recordings.items():
        lines += [
            f"Match LocalPort {PLAY_BACK + number}",
            f"ForceCommand exec sh {here}/play_back.sh {folder} {wait_s:g}",
            f"Match LocalPort {RECORD + number}",
            f"ForceCommand exec sh {here}/record.sh {folder}",
        ]
    (lab.folder / "sshd_config").write_text("\n".join(lines) + "\n")


def _sftp_server() -> str:
    """Returns the path of OpenSSH's sftp-server, or its built-in one."""
    places = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
    return next((place for place in places if Path(place).exists()), "internal-sftp")


def _wait_until_it_listens(server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while b"Server listening" not in log.read_bytes():
        if server.poll() is not None or time.monotonic() > until:
            sys.exit(f"sshd does not start: {log.read_text()}")
        time.sleep(0.02)
