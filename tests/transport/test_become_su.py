"""The real su of util-linux with PAM, over the real sshd: what runs, what is refused, and when the
password goes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.model import (
    Become,
    LocalTarget,
    Secret,
    SshClient,
    SshTarget,
)
from fleetaudit.probe import protocol
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.sudo_errors import Prompt, detect_prompt
from tests.support import probe_runs
from tests.support.accounts import (
    FIRST_UID,
    PASSWORD,
    Account,
    Accounts,
    StartAccounts,
    hashed,
)
from tests.support.commands import Workspace
from tests.support.sshd import require
from tests.support.terminal import type_line

pytestmark = [
    pytest.mark.sudo,
    pytest.mark.skipif(os.getuid() != 0 and not os.environ.get("CI"), reason="missing: root"),
]
WHOLE = (
    b"#\nimport sys; print('the program ran whole')\n"
    + b"# padding, so that no buffer holds it all\n" * 8000
)
RAN = b"the program ran whole\n"
CLIENTS: tuple[SshClient, ...] = ("paramiko", "openssh")
TARGETS = (
    Account("alice"),
    Account("bob", password="bobs own"),
    Account("nolog", shell="/usr/sbin/nologin"),
    Account("carol", shadow="19000:0:99999:7::1:"),  # the account expired in 1970
    Account("dave", shadow="0:0:99999:7:::"),  # must choose a new password
    # Its start-up file asks like su, and says what it was answered.
    Account(
        "erin",
        shell="/bin/bash",
        files={".bashrc": 'printf "Password: " >&2; read -t 1 x; echo "got ($x)"'},
    ),
)


@pytest.fixture(scope="module")
def host(start_accounts: StartAccounts) -> Accounts:
    require("su", "bash")
    host = start_accounts("UsePAM no", accounts=TARGETS)
    shadow = host.etc / "shadow"
    lines = shadow.read_text().splitlines()
    roots = f"root:{hashed(PASSWORD)}:19000:0:99999:7:::"
    shadow.write_text("".join(f"{roots if line.startswith('root:') else line}\n" for line in lines))
    return host


@pytest.fixture
def pam(host: Accounts) -> Iterator[Path]:
    """Yields /etc/pam.d/su of the host, which is put back afterwards."""
    path = host.etc / "pam.d/su"
    kept = path.read_text()
    yield path
    path.write_text(kept)


def over_ssh(
    host: Accounts, client: SshClient, password: str | None, login: str = "alice", **changes: Any
) -> SshTarget:
    secret = None if password is None else Secret(password)
    become = Become(**{"method": "su", "user": "bob", "password": secret, **changes})
    target = host.server.target(user=login, client=client, become=become)
    return (
        msgspec.structs.replace(target, arguments=("-F", "none")) if client == "openssh" else target
    )


def run(target: SshTarget | LocalTarget, stdin: bytes = WHOLE, *more: Any) -> Output:
    return Transports().run(target, protocol.COMMAND, stdin, Deadline.after(100), Limits(), *more)


def refused(target: SshTarget | LocalTarget) -> TransportError:
    with pytest.raises(TransportError) as e:
        run(target)
    assert (e.value.stage, e.value.transient) == ("become", False), e.value
    assert e.value.hint
    assert e.value.reason.isprintable()
    assert "[fleetaudit-" not in e.value.reason  # our mark
    assert PASSWORD not in e.value.reason + e.value.hint
    return e.value


# ---- what runs


@pytest.mark.parametrize(
    ("user", "password", "uid"),
    [("bob", "bobs own", FIRST_UID + 1), ("root", PASSWORD, 0)],
    ids=["bob", "root"],
)
@pytest.mark.parametrize("client", CLIENTS)
def test_su_runs_the_whole_program_as_the_requested_user(
    host: Accounts, client: SshClient, user: str, password: str, uid: int
) -> None:
    stages: list[tuple[str, str]] = []
    output = run(
        over_ssh(host, client, password, user=user),
        WHOLE,
        lambda stage, what: stages.append((stage, what)),
    )
    assert output.exit_status == 0
    assert output.stdout == f"{protocol.SHELL_MARK}{uid} {user}\n".encode() + RAN
    assert output.stderr == b"Password: "
    assert stages[-1] == ("become", f"{user} by su")


@pytest.mark.parametrize("client", CLIENTS)
def test_su_that_does_not_ask_gets_no_password(
    host: Accounts, pam: Path, client: SshClient
) -> None:
    pam.write_text(
        "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\nsession sufficient"
        " pam_permit.so\n"
    )
    for password in (None, "never asked for"):
        output = run(over_ssh(host, client, password))
        assert output.stdout.endswith(f"{FIRST_UID + 1} bob\n".encode() + RAN)
        assert output.stderr == b""


@pytest.mark.parametrize("flags", [("-",), ("-l",), ("-m",), ("-", "-s", "/bin/sh")], ids=" ".join)
def test_the_flags_of_the_inventory_go_to_su(host: Accounts, flags: tuple[str, ...]) -> None:
    script = host.etc / "su-shown"
    script.write_text('#!/bin/sh\necho "words: $*" >&2\nexec su "$@"\n')
    script.chmod(0o755)
    output = run(over_ssh(host, "paramiko", "bobs own", program="/etc/su-shown", flags=flags))
    assert output.stdout.endswith(RAN)
    assert f"words: {' '.join(flags)} bob -c /bin/sh -c ".encode() in output.stderr


def test_the_probe_answers_as_root_of_a_user_who_is_not(host: Accounts) -> None:
    call = probe_runs.request(probe_runs.scenario("unread", "peer sends 5 bytes; closer closes"))
    output = run(over_ssh(host, "paramiko", PASSWORD, user="root"), protocol.make_script(call))
    assert protocol.parse_reply(output.stdout).isolation == "namespace"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_start_up_file_that_asks_like_su_is_not_answered(
    host: Accounts, client: SshClient
) -> None:
    output = run(over_ssh(host, client, "bobs own", login="erin"))
    assert output.stdout.startswith(b"got ()\n")
    assert output.stdout.endswith(RAN)


@pytest.mark.parametrize(
    "asks",
    [
        "printf 'Passwort: ' >&2",
        "printf 'Password: '",
        "printf 'パスワード：' >&2",
        "echo hello; printf 'Parola: ' >&2",
    ],
)
def test_a_su_that_asks_in_another_language_or_on_the_other_stream_is_answered(
    tmp_path: Path, asks: str
) -> None:
    script = tmp_path / "su"
    script.write_text(
        f'#!/bin/sh\n{asks}; read x; [ "$x" = sesame ] && exec setpriv --reuid 1 --clear-groups sh'
        ' -c "$3"\n'
    )
    script.chmod(0o755)
    become = Become(method="su", user="daemon", program=str(script), password=Secret("sesame"))
    assert run(LocalTarget(become=become)).stdout.endswith(
        f"{protocol.SHELL_MARK}1 daemon\n".encode() + RAN
    )


# ---- what is refused

CASES: dict[str, tuple[str | None, dict[str, Any], str, str, FailureKind]] = {
    "no password given": (
        None,
        {},
        "su asks for the password of bob; no password was given",
        "-K",
        "become password missing",
    ),
    "a wrong password": (
        "wrong",
        {},
        "su refuses the password of bob, or the account is locked",
        "'su bob -c true'",
        "become password refused",
    ),
    "an unknown user": (
        None,
        {"user": "nobdy"},
        "the host has no user nobdy",
        "'getent passwd nobdy'",
        "become not possible",
    ),
    "nologin": (
        PASSWORD,
        {"user": "nolog"},
        "the login shell of nolog is nologin, which runs no command: “This account is",
        "'getent passwd nolog'",
        "become not possible",
    ),
    "expired": (
        PASSWORD,
        {"user": "carol"},
        "the account of carol has expired: “",
        "chage -l carol",
        "account expired",
    ),
    "must change": (
        PASSWORD,
        {"user": "dave"},
        "the password of dave has expired: “You are required",
        "'su dave -c true'",
        "password expired",
    ),
    "not installed": (
        PASSWORD,
        {"program": "/nonexistent/su"},
        "/nonexistent/su is not installed",
        "command -v",
        "become not possible",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_refusal_has_its_own_reason_and_the_next_command(
    host: Accounts, client: SshClient, name: str
) -> None:
    password, changes, words, hint, kind = CASES[name]
    e = refused(over_ssh(host, client, password, **changes))
    assert words in e.reason
    assert hint in e.hint
    assert e.kind == kind


def test_a_group_that_pam_wheel_requires_is_in_the_reason(host: Accounts, pam: Path) -> None:
    pam.write_text("auth required pam_wheel.so\n" + pam.read_text())
    e = refused(over_ssh(host, "paramiko", "bobs own"))
    assert "PAM does not let the user who logs in become bob by su (pam_wheel" in e.reason
    assert "“su: Permission denied”" in e.reason
    assert (e.kind, "/etc/pam.d/su" in e.hint) == ("become not permitted", True)


def test_the_command_to_type_after_a_wrong_password_asks_for_the_right_one(host: Accounts) -> None:
    status, shown = type_line(
        refused(over_ssh(host, "paramiko", "wrong")).hint, ("Password: ", "bobs own")
    )
    assert status == 0, shown


def test_a_su_that_needs_a_terminal_is_refused_with_the_reason(tmp_path: Path) -> None:
    for said in ("su: must be run from a terminal", "standard in must be a tty"):
        script = tmp_path / "su"
        script.write_text(f"#!/bin/sh\necho '{said}' >&2; exit 1\n")
        script.chmod(0o755)
        e = refused(
            LocalTarget(
                become=Become(method="su", user="daemon", program=str(script), password=Secret("x"))
            )
        )
        assert e.reason == f"su needs a terminal, and the probe has none: “{said}”"


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        (b"Password: ", "password"),
        (b"Password:", "password"),
        (b"alice's password: ", "password"),
        (b"Password for root@EXAMPLE.ORG: ", "password"),
        (b"LDAP Password: ", "password"),
        (b"Mot de passe : ", "password"),
        ("密码：".encode(), "password"),
        (b"Current password: ", "new password"),
        (b"New password: ", "new password"),
        (b"(current) UNIX password: ", "new password"),
        (b"Retype new password: ", "new password"),
        (b"Verification code: ", ""),
        (b"Password: su: Authentication failure", ""),
        (b"Your password will expire in 3 days", ""),
        (b"", ""),
        (b"\xff\xfe", ""),
    ],
)
def test_a_prompt_is_an_unfinished_line_that_names_a_password(line: bytes, asks: Prompt) -> None:
    assert detect_prompt(line) == asks


# ---- by the command line


def test_doctor_becomes_root_by_su_with_the_password_of_a_file(
    host: Accounts, tmp_path: Path
) -> None:
    place = Workspace(tmp_path)
    place.write("secret", f"{PASSWORD}\n").chmod(0o600)
    server = host.server
    place.write(
        "inventory.yml",
        f"all:\n  hosts:\n    web1: {{ansible_host: 127.0.0.1, ansible_port: {server.port},"
        f" ansible_user: alice,\n      ansible_ssh_private_key_file: {server.keys.user()}}}\n",
    )
    done = place.run(
        "doctor",
        "inventory.yml",
        "-b",
        "--become-method",
        "su",
        "--become-password-file",
        "secret",
        "--known-hosts",
        server.known_hosts,
        "--format",
        "json",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [visit] = json.loads(done.stdout)["hosts"]
    assert [step["found"] for step in visit["steps"] if step["stage"] == "become"] == ["root by su"]
