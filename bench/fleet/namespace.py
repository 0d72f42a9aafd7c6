"""A network namespace of its own for the bench, also for an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

INSIDE = "FLEETAUDIT_BENCH_INSIDE"
PROGRAMS = ("unshare", "ip", "sshd", "ssh", "ssh-keygen", "xargs", "tee")
"""The programs that the bench needs; Debian: util-linux, iproute2, openssh-server, openssh-client,
findutils, coreutils."""
NO_NAMESPACE = """\
A network namespace cannot be made here. Run this as root, or allow user namespaces:
  sysctl -w user.max_user_namespaces=10000 kernel.apparmor_restrict_unprivileged_userns=0
"""


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
