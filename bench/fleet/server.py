"""The real sshd that all hosts are.

It listens on several ports, and what a connection gets depends on its port: `PLAIN` runs the
command, each recording has one port that records and one that plays back (`recording`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .lab import Lab
from .measure import end_with_parent

PLAIN = 2200
PLAY_BACK = 2300
RECORD = 2400


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
