"""The real sudo and doas, here and over the real sshd: what runs, what is refused, and where the
password is not.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.app.probe_program import sudoers_line
from fleetaudit.errors import TransportError
from fleetaudit.model import (
    Become,
    LocalTarget,
    Secret,
    SshClient,
    SshTarget,
)
from fleetaudit.probe import protocol
from fleetaudit.transport import (
    Deadline,
    Limits,
    Output,
    become,
)
from fleetaudit.transport.child import run_child
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.stdin_dialogue import FixedStdin
from tests.support import probe_runs
from tests.support.accounts import PASSWORD, StartAccounts, hashed
from tests.support.commands import Workspace as Folder
from tests.support.sshd import (
    Server,
    Start,
    program,
    require,
)
from tests.support.sudoers import BOB, SudoHost
from tests.support.terminal import type_line
from tests.support.timing import BUSY_S, patience

pytestmark = [
    pytest.mark.sudo,
    pytest.mark.skipif(os.getuid() != 0 and not os.environ.get("CI"), reason="missing: root"),
    pytest.mark.skipif(
        not shutil.which("sudo") and not os.environ.get("CI"), reason="missing: sudo"
    ),
]
WHOLE = (
    b"#\nimport sys; print('the program ran whole')\n"
    + b"# padding, so that no buffer holds it all\n" * 8000
)
CLIENTS: tuple[SshClient, ...] = ("paramiko", "openssh")
ASKED = ("alice ALL=(ALL) ALL",)
FREE = ("alice ALL=(ALL) NOPASSWD: ALL",)
Target = SshTarget | LocalTarget


def run(target: Target, stdin: bytes = WHOLE, seconds: float = 300, on_stage: Any = None) -> Output:
    more = (on_stage,) if on_stage else ()
    return Transports().run(
        target, protocol.COMMAND, stdin, Deadline.after(seconds), Limits(), *more
    )


def refused(target: Target, seconds: float = 300) -> TransportError:
    with pytest.raises(TransportError) as e:
        run(target, seconds=seconds)
    assert (e.value.stage, e.value.transient) == ("become", False)
    assert e.value.hint
    assert e.value.reason.isprintable()
    assert "[fleetaudit-" not in e.value.reason  # our prompt
    assert PASSWORD not in e.value.reason + e.value.hint
    return e.value


def over_ssh(
    place: SudoHost, client: SshClient, password: str | None = None, **changes: Any
) -> SshTarget:
    secret = None if password is None else Secret(password)
    target = place.server.target(
        user="alice", client=client, become=Become(password=secret, **changes)
    )
    return (
        msgspec.structs.replace(target, arguments=("-F", "none")) if client == "openssh" else target
    )


# ---- what runs


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
@pytest.mark.parametrize("rules", [ASKED, FREE], ids=["asked", "free"])
@pytest.mark.parametrize("password", [PASSWORD, None], ids=["a password", "none"])
@pytest.mark.parametrize("client", CLIENTS)
def test_over_ssh_the_whole_program_arrives_with_and_without_a_password_and_a_pty(
    privileged: SudoHost, client: SshClient, password: str | None, rules: tuple[str, ...], pty: str
) -> None:
    privileged.sudoers(f"Defaults {pty}", *rules)
    target = over_ssh(privileged, client, password)
    if rules == ASKED and not password:
        assert "asks for a password" in refused(target).reason
        return
    stages: list[tuple[str, str]] = []
    output = run(target, on_stage=lambda stage, what: stages.append((stage, what)))
    assert output.exit_status == 0
    assert output.stdout == b"fleetaudit-shell/2 0 root\nthe program ran whole\n"
    assert output.stderr == b""
    assert stages[-1] == ("become", "root by sudo")
    assert len([stage for stage, _ in stages if stage == "become"]) == 1


@pytest.mark.parametrize("rules", [ASKED, FREE], ids=["asked", "free"])
def test_on_this_machine_it_runs_as_another_user_too(
    privileged: SudoHost, rules: tuple[str, ...]
) -> None:
    privileged.sudoers(*rules)
    output = run(privileged.local(PASSWORD))
    assert output.stdout == f"fleetaudit-shell/2 {BOB} bob\nthe program ran whole\n".encode()
    number = run(privileged.local(PASSWORD, user=f"#{BOB}"))
    assert number.stdout == output.stdout


@pytest.mark.parametrize("client", CLIENTS)
def test_the_probe_answers_as_root_of_a_user_who_is_not(
    privileged: SudoHost, client: SshClient
) -> None:
    privileged.sudoers("Defaults use_pty", *ASKED)
    call = probe_runs.request(probe_runs.scenario("unread", "peer sends 5 bytes; closer closes"))
    output = run(over_ssh(privileged, client, PASSWORD), protocol.make_script(call))
    assert protocol.parse_reply(output.stdout).isolation == "namespace"


@pytest.mark.parametrize(
    "sort", ["a lecture", "a host that does not resolve", "a motd and a noisy shell"]
)
def test_other_output_is_harmless(privileged: SudoHost, tmp_path: Path, sort: str) -> None:
    lecture = privileged.etc / "lecture"
    lecture.write_text("We trust you have received the usual lecture.\nPassword:\n")
    privileged.sudoers(
        "Defaults lecture=always, lecture_file=/etc/lecture, badpass_message=no", *ASKED
    )
    target = over_ssh(privileged, "paramiko", PASSWORD)
    if sort == "a motd and a noisy shell":
        noisy = tmp_path / "noisy"
        noisy.write_text(
            f'#!/bin/sh\necho "Welcome"; printf Password: >&2; exec {privileged.sudo} "$@"\n'
        )
        noisy.chmod(0o755)
        output = run(privileged.local(PASSWORD, program=str(noisy)))
        assert output.stderr.startswith(b"Password:")
    elif sort == "a lecture":
        output = run(target)
        assert b"the usual lecture" in output.stderr
    else:
        hosts = privileged.etc / "hosts"
        kept = hosts.read_text()
        try:
            hosts.write_text("")
            output = run(target)
        finally:
            hosts.write_text(kept)
    assert output.stdout.endswith(b"the program ran whole\n")
    assert b"[fleetaudit-" not in output.stderr


# ---- what is refused

CASES: dict[str, tuple[tuple[str, ...], str | None, dict[str, str], str, str]] = {
    "no password given": (ASKED, None, {}, "asks for a password", "--sudoers|-K"),
    "a wrong password": (ASKED, "wrong", {}, "refuses the password", "sudo -v"),
    "a wrong password, one try": (
        ("Defaults passwd_tries=1", *ASKED),
        "wrong",
        {},
        "refuses the password",
        "sudo -v",
    ),
    "not in sudoers": (
        ("root ALL=(ALL) ALL",),
        PASSWORD,
        {},
        "not in sudoers",
        "fleetaudit probe --sudoers",
    ),
    "another command": (
        ("alice ALL=(ALL) /bin/ls",),
        PASSWORD,
        {},
        "does not let",
        "fleetaudit probe --sudoers",
    ),
    "another user": (
        ("alice ALL=(daemon) ALL",),
        PASSWORD,
        {},
        "as bob",
        "fleetaudit probe --sudoers",
    ),
    "an unknown user": (FREE, None, {"user": "nobdy"}, "no user nobdy", "getent passwd nobdy"),
    "a terminal required": (("Defaults requiretty", *FREE), None, {}, "requiretty", "visudo"),
    "sudoers broken": (
        ("alice ALL=(ALL NOPASSWD: ALL",),
        PASSWORD,
        {},
        "alice",
        "visudo|--sudoers",
    ),
    "not installed": (
        FREE,
        None,
        {"program": "/nonexistent/sudo"},
        "not installed",
        "command -v /nonexistent/sudo",
    ),
    "not installed, a password": (
        FREE,
        PASSWORD,
        {"program": "no-such-sudo"},
        "not installed",
        "command -v",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_refusal_has_its_own_reason_and_the_next_command(
    privileged: SudoHost, name: str
) -> None:
    rules, password, changes, words, hint = CASES[name]
    privileged.sudoers(*rules)
    began = time.monotonic()
    e = refused(privileged.local(password, **changes))
    assert time.monotonic() - began < 15 + BUSY_S
    assert words in e.reason
    assert any(part in e.hint for part in hint.split("|"))


@pytest.mark.parametrize("client", CLIENTS)
def test_over_ssh_a_refusal_has_the_ssh_command_to_type(
    privileged: SudoHost, client: SshClient
) -> None:
    privileged.sudoers(*ASKED)
    e = refused(over_ssh(privileged, client, "wrong"))
    assert "refuses the password" in e.reason
    assert e.hint.startswith("ssh ")
    assert e.hint.endswith("alice@127.0.0.1 'sudo -k; sudo -v'")


def assert_works_when_typed(line: str, *answers: tuple[str, str]) -> None:
    """Types the line that a refusal tells; sudo asks alice, and nobody else."""
    status, shown = type_line(line, *answers, ("password for alice: ", PASSWORD))
    assert status == 0, shown
    assert "password for alice: " in shown


def settings(name: str, server: Server, user: str) -> str:
    """Returns what a ssh_config says about a server."""
    lines = (
        f"Host {name}",
        "HostName 127.0.0.1",
        f"Port {server.port}",
        f"User {user}",
        "IdentitiesOnly yes",
    )
    files = (f"IdentityFile {server.keys.user()}", f"UserKnownHostsFile {server.known_hosts}")
    return "\n".join((*lines, *files, "GlobalKnownHostsFile /dev/null", ""))


@pytest.mark.parametrize("client", CLIENTS)
def test_the_command_to_type_has_keys_and_known_hosts_with_odd_names(
    privileged: SudoHost, tmp_path: Path, client: SshClient
) -> None:
    privileged.sudoers(*ASKED)
    server = privileged.server
    key = str(shutil.copy(server.keys.user(), tmp_path / "the key, 100%d"))
    known = str(shutil.copy(server.known_hosts, tmp_path / "the known hosts"))
    target = over_ssh(privileged, client, "wrong")
    e = refused(msgspec.structs.replace(target, private_keys=(key,), known_hosts=(known,)))
    assert_works_when_typed(e.hint)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("jumps", [False, True], ids=["direct", "jump"])
def test_the_command_to_type_leaves_user_and_jump_host_to_ssh_config(
    privileged: SudoHost, start_sshd: Start, tmp_path: Path, client: SshClient, jumps: bool
) -> None:
    privileged.sudoers(*ASKED)
    jump, file = start_sshd("LogLevel VERBOSE"), tmp_path / "config"
    file.write_text(
        settings("web", privileged.server, "alice") + settings("jump", jump, getpass.getuser())
    )
    file.chmod(0o600)
    target = SshTarget(
        address="web",
        client=client,
        arguments=("-F", str(file)),
        late_arguments=("-J", "jump") if jumps else (),
        use_agent=False,
        become=Become(password=Secret("wrong")),
    )
    assert_works_when_typed(refused(target).hint)
    assert jump.log.read_text().count("Accepted publickey") == (2 if jumps else 0)


def test_the_command_to_type_asks_for_the_password_of_a_host_with_password_login(
    start_accounts: StartAccounts,
) -> None:
    host = start_accounts("PasswordAuthentication yes", sudoers=f"{ASKED[0]}\n")
    e = refused(host.target("alice", become=Become(password=Secret("wrong"))))
    assert_works_when_typed(e.hint, ("alice@127.0.0.1's password: ", PASSWORD))


def test_an_account_that_faillock_locked_is_reported_and_a_wrong_password_counts_once(
    privileged: SudoHost,
) -> None:
    pam = privileged.etc / "pam.d/sudo"
    kept = pam.read_text()
    lock = "pam_faillock.so {} deny=3 unlock_time=600 dir=/run/faillock"
    try:
        pam.write_text(
            f"auth required {lock.format('preauth')}\nauth [success=1 default=ignore]"
            f" pam_unix.so\nauth [default=die] {lock.format('authfail')}\nauth required"
            " pam_permit.so\naccount required pam_unix.so\n"
        )
        privileged.sudoers("Defaults passwd_tries=3", *ASKED)
        refused(privileged.local("wrong"))
        assert (
            b"the program ran whole" in run(privileged.local(PASSWORD)).stdout
        )  # once wrong: not locked
        for _ in range(3):
            refused(privileged.local("wrong"))
        e = refused(privileged.local(PASSWORD))
        assert (
            "or the account is locked" in e.reason
        )  # sudo does not tell these apart to one without a terminal
    finally:
        pam.write_text(kept)


@pytest.mark.parametrize(
    ("fields", "words", "hint"),
    [
        ("0:0:99999:7:::", "password of the user who logs in has expired", "passwd"),
        ("19000:0:99999:7::1:", "is locked or has expired", "chage"),
    ],
)
def test_what_has_expired_is_reported_at_once(
    privileged: SudoHost, fields: str, words: str, hint: str
) -> None:
    shadow = privileged.etc / "shadow"
    kept = shadow.read_text()
    try:
        lines = [
            ":".join([*line.split(":")[:2], fields]) if line.startswith("alice:") else line
            for line in kept.split("\n")
        ]
        shadow.write_text("\n".join(lines))
        privileged.sudoers(*ASKED)
        began = time.monotonic()
        e = refused(privileged.local(PASSWORD))
        assert time.monotonic() - began < 10 + BUSY_S
        assert words in e.reason
        assert hint in e.hint
    finally:
        shadow.write_text(kept)


def test_a_container_without_new_privileges_is_reported(
    privileged: SudoHost, tmp_path: Path
) -> None:
    script = tmp_path / "sudo"
    script.write_text(
        f'#!/bin/sh\nTOOL="setpriv --no-new-privs sudo" exec {privileged.sudo} "$@"\n'
    )
    script.chmod(0o755)
    privileged.sudoers(*FREE)
    assert "no new privileges" in refused(privileged.local(program=str(script))).reason


def test_a_sudo_without_its_setuid_bit_is_reported(privileged: SudoHost) -> None:
    copy = privileged.etc / "sudo-copy"
    shutil.copy(program("sudo"), copy)
    copy.chmod(0o755)
    privileged.sudoers(*FREE)
    e = refused(over_ssh(privileged, "paramiko", program="/etc/sudo-copy"))
    assert "no setuid bit" in e.reason


def test_a_fake_sudo_is_detected_by_the_user_that_it_runs_as(tmp_path: Path) -> None:
    script = tmp_path / "sudo"
    script.write_text(
        '#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\nexec setpriv --reuid 65534 "$@"\n'
    )
    script.chmod(0o755)
    for password in (None, Secret(PASSWORD)):
        e = refused(LocalTarget(become=Become(program=str(script), user="#1", password=password)))
        assert "uid 65534" in e.reason


@pytest.mark.parametrize(
    ("password", "script", "words"),
    [
        (
            PASSWORD,
            "printf 'Verification code: ' >&2",
            "neither asked for a password nor ran the command in time; "
            "it asked: “Verification code:”",
        ),
        (
            PASSWORD,
            'printf "$4" >&2; read x; printf "Token: " >&2',
            "did not run the command in time after it got the password; it asked: “Token:”",
        ),
        (None, "echo busy >&2", "in time; it printed “busy”"),
    ],
)
def test_a_foreign_prompt_is_never_answered_and_is_reported_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str | None, script: str, words: str
) -> None:
    monkeypatch.setattr(become, "STEP_TIMEOUT_S", 1.0)
    path = tmp_path / "sudo"
    path.write_text(f"#!/bin/sh\n{script}\ncat >{tmp_path}/got\nexec sleep 600\n")
    path.chmod(0o755)
    began = time.monotonic()
    secret = Secret(password) if password else None
    e = refused(LocalTarget(become=Become(user="daemon", program=str(path), password=secret)))
    assert time.monotonic() - began < 10 + BUSY_S
    assert words in e.reason
    if password:
        assert (tmp_path / "got").read_bytes() == b""


# ---- doas


def test_doas_runs_what_it_permits_and_each_refusal_is_distinguished(privileged: SudoHost) -> None:
    require("doas")
    doas = str(privileged.sudo.with_name("doas"))
    target = privileged.local(PASSWORD, method="doas", program=doas)
    (privileged.etc / "doas.conf").unlink(missing_ok=True)
    assert "doas is not set up" in refused(target).reason
    privileged.doas("permit nopass carol")
    assert "doas.conf does not let" in refused(target).reason
    privileged.doas("permit alice")
    assert "permit nopass" in refused(target).reason
    privileged.doas("permit nopass alice as bob cmd /bin/sh")
    stages: list[tuple[str, str]] = []
    output = run(target, on_stage=lambda stage, what: stages.append((stage, what)))
    assert output.stdout == f"fleetaudit-shell/2 {BOB} bob\nthe program ran whole\n".encode()
    assert stages == [("become", "bob by doas")]
    gone = refused(privileged.local(method="doas", program="/nonexistent/doas"))
    assert "not installed" in gone.reason


# ---- one exact command


def test_the_one_sudoers_line_allows_exactly_the_command(privileged: SudoHost) -> None:
    line = sudoers_line("alice", protocol.COMMAND)
    checked = subprocess.run(
        [program("visudo"), "-cf", "-"], input=line + "\n", capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    privileged.sudoers(line)
    assert b"ran whole" in run(over_ssh(privileged, "paramiko")).stdout
    assert b"ran whole" in run(over_ssh(privileged, "paramiko", "never asked for")).stdout
    for other in (
        "/bin/sh -c id",
        protocol.COMMAND.replace("86", "87"),
        protocol.COMMAND.replace("3.[0-9]*", "3.9; id", 1),  # what a pattern would let through
        protocol.COMMAND.replace("[0-9]", "0"),
        protocol.COMMAND + " more",
        protocol.COMMAND.replace("/bin/sh", "/bin/bash"),
    ):
        with pytest.raises(TransportError) as e:
            Transports().run(
                over_ssh(privileged, "paramiko"), other, b"", Deadline.after(30), Limits()
            )
        assert e.value.stage == "become", other


# ---- where the password is not


@pytest.mark.parametrize("rules", [ASKED, FREE], ids=["asked", "free"])
def test_the_interpreter_reads_the_whole_program_and_never_the_password(
    privileged: SudoHost, tmp_path: Path, rules: tuple[str, ...]
) -> None:
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\n[ "$4" = -c ] && [ -z "$5" ] && exit 0\ncat >{tmp_path}/got\n')
    python.chmod(0o755)
    privileged.sudoers(f"Defaults secure_path={python.parent}:/usr/bin:/bin", *rules)
    for client in CLIENTS:
        run(over_ssh(privileged, client, PASSWORD))
        assert (tmp_path / "got").read_bytes() == WHOLE.removeprefix(b"#\n")  # which is the shell's
        (tmp_path / "got").unlink()


class _Watch(threading.Thread):
    """Looks for a secret in the command lines and environments of all processes, repeatedly."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self.secret, self.found, self.looked, self.ending = (
            secret.encode(),
            list[str](),
            0,
            threading.Event(),
        )

    def run(self) -> None:
        while not self.ending.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        if self.secret in (process / name).read_bytes():
                            self.found.append(f"{process.name}/{name}")
                    except OSError:
                        continue
            self.looked += 1


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("answer", ["right", "wrong"])  # pytest has what is here in its environment
def test_a_whole_run_leaves_the_password_nowhere(
    privileged: SudoHost, tmp_path: Path, client: SshClient, answer: str
) -> None:
    folder = Folder(tmp_path)
    right, password = "sesame-4711-right", f"sesame-4711-{answer}"
    shadow = privileged.etc / "shadow"
    kept = shadow.read_text()
    privileged.sudoers(
        "Defaults logfile=/var/log/sudo.log, log_host, log_year, syslog=authpriv", *ASKED
    )
    server = privileged.server
    folder.write("secret", f"{password}\n").chmod(0o600)
    folder.write(
        "inventory.yml",
        f"all:\n  hosts:\n    web1: {{ansible_host: 127.0.0.1, ansible_port: {server.port},"
        f" ansible_user: alice,\n      ansible_ssh_private_key_file: {server.keys.user()},"
        " ansible_become: true}\n",
    )
    watch = _Watch("sesame-4711")
    watch.start()
    try:
        shadow.write_text(
            "\n".join(
                (
                    ":".join(["alice", hashed(right), *line.split(":")[2:]])
                    if line.startswith("alice:")
                    else line
                )
                for line in kept.split("\n")
            )
        )
        done = folder.run(
            "run",
            "inventory.yml",
            "-p",
            "quick.yml",
            "-vv",
            "--become-password-file",
            "secret",
            "--known-hosts",
            server.known_hosts,
            "--transport",
            client,
            FLEETAUDIT_LOG_PATH=str(tmp_path / "log"),
        )
    finally:
        shadow.write_text(kept)
        watch.ending.set()
        watch.join()
    [result] = folder.runs()
    text = (result / "run.json").read_text()
    if password == right:
        assert '"status":"audited"' in text.replace(": ", ":"), done.stdout + done.stderr
        assert "become passed after" in (tmp_path / "log").read_text()
    else:
        assert "refuses the password" in text, done.stdout + done.stderr
        assert "become failed (become password refused)" in (tmp_path / "log").read_text()
    assert watch.looked > 5
    assert watch.found == []
    assert "sesame-4711" not in done.stdout + done.stderr
    for path in (*tmp_path.rglob("*"), *privileged.log.rglob("*"), server.log):
        if path.is_file() and path.name != "secret":
            assert b"sesame-4711" not in path.read_bytes(), path
    assert (privileged.log / "sudo.log").read_text()


# ---- harmless


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
@pytest.mark.parametrize("client", [*CLIENTS, None])
def test_a_lost_connection_ends_the_program_that_runs_as_root(
    privileged: SudoHost, client: SshClient | None, pty: str
) -> None:
    privileged.sudoers(f"Defaults {pty}", *FREE)
    target: Target = over_ssh(privileged, client) if client else privileged.local()
    blocked = probe_runs.scenario(
        "slow", "closer duplicates its socket; wait 100 ms; closer closes", trials=50
    )
    call = probe_runs.request(*[{**blocked, "name": f"slow{n}"} for n in range(60)], deadline=600.0)
    with pytest.raises(TransportError) as e:
        run(
            target,
            protocol.make_script(call),
            seconds=patience(lambda: run(target, protocol.make_script(probe_runs.request()))),
        )
    assert e.value.stage == "execute"
    assert probe_runs.comes_true(lambda: not privileged.pythons()), privileged.pythons()


def test_a_process_of_another_user_that_cannot_be_killed_ends_when_its_streams_close(
    tmp_path: Path,
) -> None:
    copy = Path(shutil.copy(program("setpriv"), tmp_path / "setpriv"))
    copy.chmod(0o4755)  # with it nobody's child becomes root's, real user and all, as with sudo
    tmp_path.chmod(0o755)
    if os.statvfs(tmp_path).f_flag & os.ST_NOSUID:
        pytest.skip("missing: a temporary folder that is not mounted with nosuid")
    script = f"echo $$ >{tmp_path}/pid; while echo more; do sleep 0.1; done"
    child = os.fork()
    if not child:
        try:
            os.chdir(tmp_path)
            os.setgid(65534)
            os.setuid(65534)
            argv = ["./setpriv", "--reuid", "0", "--clear-groups", "sh", "-c", script]
            ended = run_child(argv, FixedStdin(b""), Deadline.after(1), Limits())
            os._exit(0 if not ended.in_time and ended.output.stdout else 1)
        finally:
            os._exit(2)
    began = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert time.monotonic() - began < 5 + BUSY_S
    inner = int((tmp_path / "pid").read_text())
    assert probe_runs.comes_true(lambda: not Path(f"/proc/{inner}").exists())
