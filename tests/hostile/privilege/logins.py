"""Accounts that can do nothing but be audited, by a real sshd and a real sudo.

Each case tries what else the login could do (another command, a shell, SFTP, forwarding, a
terminal), and audits the host with the whole program: the verdicts must be those of a login that
may do everything.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fleetaudit.app.probe_program import sudoers_line
from fleetaudit.probe.protocol import COMMAND
from tests.hostile.table import Seen
from tests.support.accounts import Account, Accounts
from tests.support.commands import Workspace
from tests.support.sshd import generate, program, require

from .world import ADDRESS, SECONDS, Run, World

USER = "alice"
EVERYTHING = "command, shell, SFTP, forwarding, reverse forwarding, terminal"
SSH_FAILED, NO_TERMINAL = 255, "PTY allocation request failed"
EXACT_LINE = sudoers_line(USER)


@dataclass(frozen=True)
class LoginHost:
    """A host with alice, whose authorized keys and sudoers the cases write."""

    accounts: Accounts
    authorized: Path

    @property
    def port(self) -> int:
        return self.accounts.server.port

    def sudoers(self, *lines: str) -> None:
        path = self.accounts.etc / "sudoers"
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o440)


def start_host(world: World, *lines: str) -> LoginHost:
    """Starts a host on which alice may log in by keys, or by certificates of the users' authority.

    SFTP, forwarding and terminals are all possible for a login that is not restricted.
    """
    require("sudo", "ssh-keygen", "sftp")
    folder = world.make_folder("login")
    authorized = folder / "authorized_keys"
    authorized.write_text("")
    accounts = world.start_accounts(
        "UsePAM no",
        "Subsystem sftp internal-sftp",
        f"AuthorizedKeysCommand /usr/bin/cat {authorized}",
        f"TrustedUserCAKeys {world.authority('users')}.pub",
        *lines,
        accounts=(Account(USER), Account("bob")),
    )
    return LoginHost(accounts, authorized)


def login_host(world: World) -> LoginHost:
    """Returns the host of most cases, started once."""
    if "login" not in world.kept:
        world.kept["login"] = start_host(world)
    found: LoginHost = world.kept["login"]
    return found


# -- what else a login can do


class Tries(NamedTuple):
    """What a login could do, and what it printed for another command."""

    possible: str
    printed: str


def _call(argv: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "SSH_AUTH_SOCK"}
    return subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env=environment,
    )


def try_everything(host: LoginHost, key: Path) -> Tries:
    """Tries all that a login can be good for."""
    common = ["-F", "none", "-i", str(key)]
    options = ("BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "LogLevel=INFO")
    for option in (*options, f"UserKnownHostsFile={host.accounts.server.known_hosts}"):
        common += ["-o", option]
    ssh = [program("ssh"), *common, "-p", str(host.port)]
    there = f"{USER}@{ADDRESS}"
    reverse = ["-R", f"0:{ADDRESS}:{host.port}", "-o", "ExitOnForwardFailure=yes"]
    command = _call([*ssh, there, "id"])
    sftp = [program("sftp"), *common, "-P", str(host.port), there]
    terminal = _call([*ssh, "-tt", there, "true"])
    found = {
        "command": "uid=" in command.stdout,
        "shell": "uid=" in _call([*ssh, there], "id\n").stdout,
        "SFTP": "/" in _call(sftp, "pwd\n").stdout,
        "forwarding": _call([*ssh, "-W", f"{ADDRESS}:{host.port}", there]).stdout.startswith("SSH"),
        "reverse forwarding": "Allocated port" in _call([*ssh, *reverse, there, "true"]).stderr,
        "terminal": terminal.returncode != SSH_FAILED and NO_TERMINAL not in terminal.stderr,
    }
    possible = ", ".join(name for name, is_so in found.items() if is_so)
    return Tries(possible, command.stdout)


# -- the audit


class Audit(NamedTuple):
    """What the program reported about the host: its verdicts, or how it failed."""

    verdicts: frozenset[tuple[str, str, str]]
    stage: str
    reason: str


def audit(world: World, host: LoginHost, key: Path, **variables: object) -> Audit:
    """Audits a host with the shipped playbook, in a process of its own."""
    folder = world.make_folder("audit")
    workspace = Workspace(folder)
    login = {
        "ansible_host": ADDRESS,
        "ansible_port": host.port,
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(key),
        **variables,
    }
    inventory = workspace.write("inventory.yml", json.dumps({"all": {"hosts": {"web1": login}}}))
    known = host.accounts.server.known_hosts
    done = workspace.run("run", inventory, "--known-hosts", known, "--format", "json", "-o", "r")
    files = sorted(folder.glob("r/2*/run.json"))
    assert files, done.stdout + done.stderr
    (found,) = json.loads(files[-1].read_text())["hosts"]
    return Audit(_verdicts(found), found["stage"] or "", found["reason"])


def _verdicts(host: Mapping[str, Any]) -> frozenset[tuple[str, str, str]]:
    return frozenset((o["scenario"], o["family"], o["ending"]) for o in host["observations"])


def free_audit(world: World) -> Audit:
    """Returns the audit by a login that may do everything, made once."""
    if "audit" not in world.kept:
        host, key = login_host(world), world.keys.user()
        host.authorized.write_text(f"{world.keys.public(key)}\n")
        world.kept["audit"] = audit(world, host, key)
    found: Audit = world.kept["audit"]
    return found


def audit_faults(seen: Audit, free: Audit) -> list[str]:
    """Returns what is wrong with an audit by a restricted login."""
    if seen.stage:
        return [f"not audited at {seen.stage}: {seen.reason}"]
    if seen.verdicts != free.verdicts:
        missing = sorted(free.verdicts - seen.verdicts)
        return [f"{len(missing)} verdicts differ from those of a free login: {missing[:3]}"]
    return []


def _cells(possible: str, seen: Audit) -> dict[str, object]:
    result = f"audited, {len(seen.verdicts)} verdicts" if not seen.stage else "not audited"
    return {"OpenSSH": possible or "nothing else", "fleetaudit": result, "stage": seen.stage}


# -- logins


@dataclass(frozen=True)
class Login:
    """A way to log in.

    `options` stand before the key in authorized_keys; `certificate` are arguments of ssh-keygen for
    a certificate, for which no key is authorized. `stage` is where the login must fail.
    """

    options: str = ""
    certificate: tuple[str, ...] = ()
    possible: str = ""
    stage: str = ""
    says: str = ""
    transport: str = "paramiko"


def _quoted(command: str) -> str:
    """Returns a command as authorized_keys needs it."""
    escaped = command.replace('"', '\\"')
    return f'"{escaped}"'


def _key(world: World, login: Login) -> Path:
    """Returns a new key, with its certificate if the login has one."""
    key = generate(world.make_folder("user") / "key", "ed25519")
    if login.certificate:
        sign = ["ssh-keygen", "-q", "-s", str(world.authority("users")), "-I", "audit"]
        subprocess.run([*sign, *login.certificate, f"{key}.pub"], check=True, capture_output=True)
    return key


def run_login(login: Login, world: World) -> Seen:
    """Tries what the login can do, and audits by it."""
    host, free, key = login_host(world), free_audit(world), _key(world, login)
    line = f"{login.options} {world.keys.public(key)}\n".lstrip()
    host.authorized.write_text("" if login.certificate else line)
    tries = try_everything(host, key)
    seen = audit(world, host, key, ansible_connection=login.transport)
    return judge(login, tries, seen, free)


def judge(login: Login, tries: Tries, seen: Audit, free: Audit) -> Seen:
    """Returns the row of a login."""
    wrong = []
    if tries.possible != login.possible:
        wrong.append(f"it could do: {tries.possible or 'nothing'}; printed {tries.printed!r}")
    if login.stage:
        if seen.stage != login.stage or login.says not in seen.reason:
            wrong.append(f"stage {seen.stage}: {seen.reason}")
    else:
        wrong += audit_faults(seen, free)
        # The forced command runs, whatever was asked for.
        if not login.possible and not tries.printed.startswith("fleetaudit-shell/2 "):
            wrong.append(f"the forced command did not run: {tries.printed!r}")
    return Seen(tuple(wrong), _cells(tries.possible, seen))


FORCED = f"restrict,command={_quoted(COMMAND)}"
SIGNED = ("-n", USER, "-V", "-1h:+1h", "-O", "clear", "-O", f"force-command={COMMAND}")

LOGINS: dict[str, Login] = {
    "a free login, for comparison": Login(possible=EVERYTHING),
    "restrict,command= in authorized_keys": Login(FORCED),
    "restrict,command=, by openssh": Login(FORCED, transport="openssh"),
    "restrict,command=,from= this machine": Login(f'{FORCED},from="127.0.0.0/8"'),
    "restrict,command=,from= another machine": Login(
        f'{FORCED},from="192.0.2.0/24"', stage="authenticate"
    ),
    "certificate: force-command": Login(certificate=SIGNED),
    "certificate: force-command, by openssh": Login(certificate=SIGNED, transport="openssh"),
    "certificate: force-command and source-address": Login(
        certificate=(*SIGNED, "-O", "source-address=127.0.0.1/32")
    ),
    "certificate: source-address of another machine": Login(
        certificate=(*SIGNED, "-O", "source-address=192.0.2.0/24"), stage="authenticate"
    ),
    "certificate: expired": Login(
        certificate=(*SIGNED[:2], "-V", "-2h:-1h", *SIGNED[4:]), stage="authenticate"
    ),
    "certificate: for another account": Login(
        certificate=("-n", "bob", *SIGNED[2:]), stage="authenticate"
    ),
    "certificate: without force-command, cleared": Login(
        certificate=SIGNED[:6], possible="command, shell, SFTP"
    ),
}


def run_server_config(world: World) -> Seen:
    """ForceCommand of sshd_config, for an account that may neither forward nor have a terminal."""
    host = start_host(
        world,
        f"Match User {USER}\n  ForceCommand {COMMAND}\n  DisableForwarding yes\n  PermitTTY no",
    )
    key = world.keys.user()
    host.authorized.write_text(f"{world.keys.public(key)}\n")
    tries, seen = try_everything(host, key), audit(world, host, key)
    return judge(Login(), tries, seen, free_audit(world))


# -- sudo

ESCAPES = {
    "id": "sudo -n id",
    "a shell": "sudo -n -s id",
    "/bin/sh -c id": "sudo -n /bin/sh -c id",
    "another argument": f"sudo -n {COMMAND} id",
    "another user": f"sudo -n -u bob {COMMAND}",
    "a variable": f"sudo -n LD_PRELOAD=/tmp/x {COMMAND}",
    "an editor": "EDITOR=true sudo -n -e /etc/shadow",
    "another order": "sudo -n /bin/sh " + shlex.quote(shlex.split(COMMAND)[2]),
    "the command and more": f"sudo -n /bin/sh -c {shlex.quote(shlex.split(COMMAND)[2] + ';id')}",
}
"""What alice tries as root, in addition to the one command."""


def _escapes(host: LoginHost) -> str:
    """Returns what of these works."""
    alice = ["setpriv", "--reuid", "4101", "--regid", "4101", "--clear-groups", "sh", "-c"]
    worked = [
        name
        for name, command in ESCAPES.items()
        if not host.accounts.enter(*alice, f"exec </dev/null; {command}").returncode
    ]
    return ", ".join(worked)


def run_sudo(world: World) -> Seen:
    """One exact line of sudoers: that command as root, and nothing else."""
    host, key = login_host(world), world.keys.user()
    host.authorized.write_text(f"{world.keys.public(key)}\n")
    host.sudoers(f"{USER} ALL=(ALL) NOPASSWD:SETENV: ALL")
    free, all_of_it = audit(world, host, key, ansible_become=True), _escapes(host)
    host.sudoers(EXACT_LINE)
    seen, worked = audit(world, host, key, ansible_become=True), _escapes(host)
    wrong = audit_faults(seen, free)
    if worked:
        wrong.append(f"root by: {worked}")
    if "id" not in all_of_it or "another user" not in all_of_it:
        wrong.append(f"the tries prove nothing, with all allowed only these work: {all_of_it}")
    return Seen(tuple(wrong), _cells(worked, seen))


def run_forced_sudo(world: World) -> Seen:
    """A forced command that is the one line of sudoers: root by a key that can do nothing else."""
    host, key = login_host(world), generate(world.make_folder("user") / "key", "ed25519")
    host.sudoers(EXACT_LINE)
    forced = f"restrict,command={_quoted('sudo -n ' + COMMAND)}"
    host.authorized.write_text(f"{forced} {world.keys.public(key)}\n")
    tries, seen = try_everything(host, key), audit(world, host, key)
    row = judge(Login(), tries, seen, free_audit(world))
    if not tries.printed.startswith("fleetaudit-shell/2 0 root"):
        return row._replace(wrong=(*row.wrong, f"not as root: {tries.printed!r}"))
    return row


CASES: dict[str, Run] = {name: partial(run_login, login) for name, login in LOGINS.items()}
CASES["ForceCommand in sshd_config"] = run_server_config
CASES["one exact line of sudoers"] = run_sudo
CASES["forced command that is the line of sudoers"] = run_forced_sudo
