"""fleetaudit itself as an ordinary user: no capability, no set-user-ID program, no namespace.

The whole process tree runs with no_new_privs, an empty bounding set, and where no user namespace
can be made. What it reads of this machine stays where it is: folders that only root may enter are
covered by empty ones in a mount namespace, and the interpreter and the repository are put there
again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.hostile.table import Seen
from tests.support import probe_runs
from tests.support.commands import Workspace
from tests.support.sshd import require

from .logins import USER, login_host
from .world import ADDRESS, Run, World

NOBODY = 65534
NO_PRIVILEGE = (
    f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs --bounding-set=-all"
    " --inh-caps=-all --ambient-caps=-all"
)
# Arguments: a folder, the number of covered folders, those, and the paths to put there again.
VIEW = f"""
stash=$1 covered=$2; shift 2
number=0 covers=
while [ $number -lt $covered ]; do covers="$covers $1"; shift; number=$((number + 1)); done
number=0
for path in $PATHS; do
    mkdir $stash/$number; mount --bind $path $stash/$number; number=$((number + 1))
done
for folder in $covers; do mount -t tmpfs -o mode=755 none $folder; done
number=0
for path in $PATHS; do
    mkdir -p $path; mount --bind $stash/$number $path; number=$((number + 1))
done
exec {NO_PRIVILEGE} "$@"
"""
CHECK = """
import os, subprocess, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
names = ("Uid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
made = subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode == 0
print({name: status[name].split()[0] for name in names}, made)
"""
NOTHING = "0000000000000000"
WITHOUT = {
    "Uid": str(NOBODY),
    **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), NOTHING),
    "NoNewPrivs": "1",
}


def _hidden(path: Path) -> Path | None:
    """Returns the first folder on the way to a path that others may not enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def unprivileged(world: World, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Returns the command that runs another one without any privilege, and its environment."""
    require("setpriv", "unshare")
    needed = {ROOT, Path(sys.prefix), Path(sys.base_prefix).resolve()}
    hidden = {path: folder for path in needed if (folder := _hidden(path))}
    covers = sorted(set(map(str, hidden.values())))
    view = ["unshare", "--mount", "--propagation=private", "sh", "-ec", VIEW, "sh"]
    view += [str(world.make_folder("view")), str(len(covers)), *covers]
    paths = " ".join(map(str, hidden))
    return (
        [*probe_runs.host_without_user_namespaces(), *view, *argv],
        {**os.environ, "PATHS": paths},
    )


def _run(world: World, home: Path, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command without any privilege, with a home of its own."""
    command, environment = unprivileged(world, argv)
    kept = {k: v for k, v in environment.items() if k not in ("SSH_AUTH_SOCK", "XDG_CACHE_HOME")}
    return subprocess.run(
        command,
        cwd=home,
        env={**kept, "HOME": str(home), "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _home(world: World) -> Path:
    """Returns a folder that belongs to nobody, with the login key and a known_hosts file."""
    host, folder = login_host(world), world.make_folder("home")
    key = world.keys.user()
    host.authorized.write_text(f"{world.keys.public(key)}\n")
    for source, name in ((key, "key"), (host.accounts.server.known_hosts, "known_hosts")):
        (folder / name).write_bytes(source.read_bytes())
        (folder / name).chmod(0o600)
        os.chown(folder / name, NOBODY, NOBODY)
    os.chown(folder, NOBODY, NOBODY)
    return folder


def run_controller(transport: str, world: World) -> Seen:
    """Audits a host from a controller without any privilege."""
    home = _home(world)
    checked = _run(world, home, [sys.executable, "-c", CHECK])
    if checked.stdout != f"{WITHOUT} False\n":
        return Seen((f"it has privileges: {checked.stdout}{checked.stderr}",))
    login = {
        "ansible_host": ADDRESS,
        "ansible_port": login_host(world).port,
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(home / "key"),
    }
    inventory = Workspace(home).write(
        "inventory.yml", json.dumps({"all": {"hosts": {"web1": login}}})
    )
    options = ["--known-hosts", str(home / "known_hosts"), "--transport", transport]
    argv = [sys.executable, "-m", "fleetaudit", "run", str(inventory), *options]
    done = _run(world, home, [*argv, "--format", "html,json,junit,csv,sarif,prometheus,text,pcap"])
    return _judge(done, home)


def _judge(done: subprocess.CompletedProcess[str], home: Path) -> Seen:
    """Returns the row of a run."""
    files = sorted((home / "reports").glob("2*/run.json"))
    if not files:
        return Seen((f"no run: {done.stdout}{done.stderr}",))
    host: dict[str, Any] = json.loads(files[-1].read_text())["hosts"][0]
    wrong = []
    if host["status"] != "audited":
        wrong.append(f"not audited at {host['stage']}: {host['reason']}")
    if not (files[-1].parent / "report.html").exists():
        wrong.append("no page")
    if files[-1].stat().st_uid != NOBODY:
        wrong.append("the files are not the user's")
    count = len(host["observations"])
    return Seen(tuple(wrong), {"fleetaudit": f"{host['status']}, {count} verdicts"})


def run_doctor(world: World) -> Seen:
    """Checks the same host with `doctor`, without any privilege."""
    home, port = _home(world), login_host(world).port
    known = ["--known-hosts", str(home / "known_hosts"), "--private-key", str(home / "key")]
    argv = [sys.executable, "-m", "fleetaudit", "doctor", f"{ADDRESS}:{port},", "-u", USER, *known]
    done = _run(world, home, argv)
    if done.returncode:
        return Seen((f"status {done.returncode}: {done.stdout}{done.stderr}",))
    return Seen(cells={"fleetaudit": "ready"})


CASES: dict[str, Run] = {
    f"controller without any privilege, {transport}": partial(run_controller, transport)
    for transport in ("paramiko", "openssh")
}
CASES["controller without any privilege, doctor"] = run_doctor
