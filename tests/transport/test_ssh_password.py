"""Logging in with a password: by which method, how often, to which hosts not, and how a
refusal is reported.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_PARTIALLY_SUCCESSFUL
from paramiko.server import InteractiveQuery

from fleetaudit.errors import TransportError
from fleetaudit.model import Become, Secret, SshTarget
from fleetaudit.probe.protocol import COMMAND, SHELL_MARK
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from tests.support.accounts import PASSWORD, Accounts, StartAccounts
from tests.support.sshd import (
    Keys,
    Server,
    generate,
    wait_for,
)
from tests.support.terminal import type_line

pytestmark = pytest.mark.sudo

AddKeys = Callable[..., None]
METHODS = {
    "keyboard-interactive": "KbdInteractiveAuthentication yes",
    "password": "PasswordAuthentication yes",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives the test a home of its own, so that no key and no agent of the user's is offered."""
    (tmp_path / "home/.ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def interactive(start_accounts: StartAccounts) -> Accounts:
    return start_accounts(METHODS["keyboard-interactive"])


@pytest.fixture(scope="module")
def plain(start_accounts: StartAccounts) -> Accounts:
    return start_accounts(METHODS["password"])


@pytest.fixture(scope="module")
def both(start_accounts: StartAccounts) -> Accounts:
    return start_accounts(*METHODS.values())


def run(target: SshTarget, seconds: float = 300) -> Output:
    return Transports().run(target, "echo in", b"", Deadline.after(seconds), Limits())


def failure(target: SshTarget, seconds: float = 300) -> TransportError:
    """Returns how it failed, which is at the login, for good, in plain words, and without the
    password.
    """
    with pytest.raises(TransportError) as caught:
        run(target, seconds)
    e = caught.value
    assert (e.stage, e.transient) == ("authenticate", False)
    assert e.reason.isprintable()
    assert e.hint
    if target.password and target.password.reveal():
        told = "".join(
            traceback.TracebackException.from_exception(e, capture_locals=False).format()
        )
        assert target.password.reveal() not in told + e.hint
    return e


def refusals(server: Server, method: str) -> int:
    return len(re.findall(rf"Failed {method}", server.log.read_text()))


# ---- a real host


@pytest.mark.parametrize("host", ["interactive", "plain", "both"])
def test_the_right_password_logs_in_by_a_method_that_the_host_accepts(
    request: pytest.FixtureRequest, host: str
) -> None:
    found: Accounts = request.getfixturevalue(host)
    stages: list[tuple[str, str]] = []
    output = Transports().run(
        found.target("alice"),
        "id -un",
        b"",
        Deadline.after(30),
        Limits(),
        lambda *stage: stages.append(stage),
    )
    assert output.stdout == b"alice\n"
    assert ("authenticate", "alice by password") in stages
    if host == "both":
        assert "Accepted keyboard-interactive/pam for alice" in found.server.log.read_text()


@pytest.mark.parametrize("host", ["interactive", "plain", "both"])
def test_a_wrong_password_is_sent_once_and_reported_as_such(
    request: pytest.FixtureRequest, host: str
) -> None:
    found: Accounts = request.getfixturevalue(host)
    before = refusals(found.server, "(password|keyboard-interactive)")
    e = failure(found.target("alice", "not this one"))
    assert "the host refuses the password of alice; it was sent once" in e.reason
    assert e.hint.startswith("ssh ")
    assert "BatchMode" not in e.hint
    typed_in = type_line(e.hint, ("assword: ", PASSWORD))
    assert typed_in[0] == 0, typed_in[1]
    wait_for(
        lambda: refusals(found.server, "(password|keyboard-interactive)") > before,
        "a line of its log",
    )
    assert refusals(found.server, "(password|keyboard-interactive)") == before + 1


def test_an_account_without_a_password_accepts_none(both: Accounts) -> None:
    assert "refuses the password of bob" in failure(both.target("bob")).reason


def test_a_host_that_accepts_only_keys_is_reported(start_accounts: StartAccounts) -> None:
    host = start_accounts()
    e = failure(host.target("alice"))
    assert "the host takes no password (it accepts publickey)" in e.reason
    assert refusals(host.server, "password") == 0


def test_an_accepted_key_makes_the_password_unnecessary(both: Accounts) -> None:
    key = (str(both.server.keys.user()),)
    before = both.server.log.read_text()
    assert run(both.target("alice", "not this one", private_keys=key)).stdout == b"in\n"
    assert refusals(both.server, "") == len(re.findall("Failed ", before))


def test_an_unusable_named_key_leaves_the_password(both: Accounts) -> None:
    assert run(both.target("alice", private_keys=("/nonexistent/key",))).stdout == b"in\n"
    e = failure(both.target("alice", "not this one", private_keys=("/nonexistent/key",)))
    assert "/nonexistent/key does not exist" in e.reason


def test_an_expired_password_is_reported_and_no_new_one_is_set(
    interactive: Accounts,
) -> None:
    before = (interactive.etc / "shadow").read_text()
    e = failure(interactive.target("dave"))
    assert "the password of dave has expired" in e.reason
    assert e.kind == "password expired"
    assert f"ssh -p {interactive.server.port} " in e.hint
    assert " -t dave@127.0.0.1 " in e.hint
    assert (interactive.etc / "shadow").read_text() == before


def test_an_expired_account_is_reported(interactive: Accounts) -> None:
    e = failure(interactive.target("carol"))
    assert "the account carol has expired" in e.reason
    assert e.kind == "account expired"


NEW_PASSWORD = "Zwölf-Boxkämpfer/jagen+Eva"


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
@pytest.mark.parametrize("way", ["straight", "a jump host"])
def test_the_next_command_renews_an_expired_password_of_a_user_with_a_key(
    start_accounts: StartAccounts, sshd: Server, tmp_path: Path, client: str, way: str
) -> None:
    """sshd lets the key in, and then runs nothing but passwd, on a terminal."""
    host = start_accounts(pam={"passwd": "password required pam_unix.so\n"})
    own = tmp_path / "ssh_config"
    own.write_text(
        f"Host *\n  UserKnownHostsFile {sshd.known_hosts} {host.server.known_hosts}\n "
        f" GlobalKnownHostsFile /dev/null\nHost jump\n  HostName 127.0.0.1\n  Port {sshd.port}\n "
        f" IdentityFile {sshd.keys.user()}\n"
    )
    arguments = ("-F", str(own), *(("-J", "jump") if way == "a jump host" else ()))
    key = (str(host.server.keys.user()),)
    target = host.target(
        "dave", None, client=client, arguments=arguments, private_keys=key, known_hosts=()
    )

    def tried() -> Output:
        return Transports().run(
            target, f"echo '{SHELL_MARK}1 dave'; cat", b"in\n", Deadline.after(300), Limits()
        )

    with pytest.raises(TransportError) as caught:
        tried()
    e = caught.value
    assert (e.stage, e.kind, e.transient) == ("execute", "password expired", False)
    assert "Your password has expired" in e.reason
    assert " -t " in e.hint
    _, shown = type_line(
        e.hint,
        ("assword:", PASSWORD),
        ("ew password:", NEW_PASSWORD),
        ("new password:", NEW_PASSWORD),
    )
    assert "updated successfully" in shown
    assert tried().stdout.endswith(b"in\n")


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
def test_the_next_command_renews_an_expired_password_of_the_user_that_su_becomes(
    start_accounts: StartAccounts, client: str
) -> None:
    modules = ["auth", "account", "password"]
    pam = (
        "".join(f"{module} required pam_unix.so\n" for module in modules)
        + "session required pam_permit.so\n"
    )
    host = start_accounts(pam={"su": pam})
    key, become = (
        (str(host.server.keys.user()),),
        Become(method="su", user="dave", password=Secret(PASSWORD)),
    )
    target = host.target(
        "alice", None, client=client, arguments=("-F", "none"), private_keys=key, become=become
    )

    def tried() -> Output:
        return Transports().run(target, COMMAND, b"#\nprint('in')\n", Deadline.after(300), Limits())

    with pytest.raises(TransportError) as caught:
        tried()
    e = caught.value
    assert (e.stage, e.kind) == ("become", "password expired")
    assert e.hint.endswith(" -t alice@127.0.0.1 'su dave -c true'")
    answers = (PASSWORD, PASSWORD, NEW_PASSWORD, NEW_PASSWORD)
    type_line(e.hint, *(("assword:", answer) for answer in answers))
    target = msgspec.structs.replace(
        target, become=msgspec.structs.replace(become, password=Secret(NEW_PASSWORD))
    )
    assert tried().stdout.endswith(b"in\n")


@pytest.mark.parametrize("client", ["paramiko", "openssh"])
def test_an_expired_account_with_a_key_has_its_kind(
    start_accounts: StartAccounts, client: str
) -> None:
    host = start_accounts()
    key = (str(host.server.keys.user()),)
    e = failure(
        host.target("carol", None, client=client, arguments=("-F", "none"), private_keys=key)
    )
    assert e.kind == "account expired"
    assert "Your account has expired" in e.reason


def test_a_locked_account_is_reported(start_accounts: StartAccounts) -> None:
    locking = (
        "auth required pam_faillock.so preauth deny=1\nauth [success=1 default=ignore] pam_unix.so"
        " nodelay\n"
    )
    locking += "auth [default=die] pam_faillock.so authfail deny=1\nauth required pam_permit.so\n"
    locking += "account required pam_unix.so\nsession required pam_permit.so\n"
    host = start_accounts(METHODS["keyboard-interactive"], pam={"sshd": locking})
    assert "refuses the password of alice" in failure(host.target("alice", "not this one")).reason
    assert "the account alice is locked" in failure(host.target("alice")).reason


# ---- more than one proof


@pytest.mark.parametrize(
    ("methods", "by"),
    [
        ("publickey,password", "user_ed25519 and password"),
        ("publickey,keyboard-interactive", "user_ed25519 and password"),
        ("password,publickey", "password and "),
        ("keyboard-interactive,password", "password and password"),
    ],
)
def test_a_host_that_requires_two_proofs_gets_both(
    start_accounts: StartAccounts, methods: str, by: str
) -> None:
    host = start_accounts(*METHODS.values(), f"AuthenticationMethods {methods}")
    stages: list[tuple[str, str]] = []
    target = host.target("alice", private_keys=(str(host.server.keys.user()),))
    assert (
        Transports()
        .run(
            target,
            "echo in",
            b"",
            Deadline.after(30),
            Limits(),
            lambda *stage: stages.append(stage),
        )
        .stdout
        == b"in\n"
    )
    assert by in dict(stages)["authenticate"]


def test_a_key_that_is_half_of_the_required_proofs_is_reported_without_a_password(
    start_accounts: StartAccounts,
) -> None:
    host = start_accounts(*METHODS.values(), "AuthenticationMethods publickey,password")
    e = failure(host.target("alice", None, private_keys=(str(host.server.keys.user()),)))
    assert "the key is right, but the host also requires password" in e.reason


# ---- keys before the password


def test_many_keys_of_the_agent_leave_an_attempt_for_the_password(
    both: Accounts, tmp_path: Path, agent: AddKeys
) -> None:
    agent(*(generate(tmp_path / f"other{n}", "ed25519") for n in range(8)))
    assert run(both.target("alice", use_agent=True)).stdout == b"in\n"
    e = failure(both.target("alice", "not this one", use_agent=True))
    assert "refuses the password of alice" in e.reason
    assert "5 more were not" in e.reason


# ---- to whom it never goes


def test_a_host_whose_key_is_not_checked_never_gets_the_password(
    keys: Keys, tmp_path: Path
) -> None:
    host = Asking(HIDDEN)
    e = met(keys, tmp_path, host, host_key_policy="off")
    assert "a password is never sent to a host whose key was not checked" in e.reason
    assert "--host-key-policy accept-new" in e.hint
    assert (host.users, host.heard) == ({"alice"}, [])


@pytest.mark.parametrize("known", ["another key", "nothing"])
def test_a_host_whose_key_is_not_the_known_one_sees_no_login_at_all(
    keys: Keys, tmp_path: Path, known: str
) -> None:
    hosts = tmp_path / "known_hosts"
    with hostile(keys, Asking(())) as (port, host):
        hosts.write_text(
            f"[127.0.0.1]:{port} {keys.public(keys.user())}\n" if known == "another key" else ""
        )
        target = aimed(port, hosts)
        with pytest.raises(TransportError) as e:
            run(target)
    assert e.value.stage == "host key"
    assert host.heard == []
    assert host.users == set()


def test_an_empty_password_is_never_sent(plain: Accounts) -> None:
    before = refusals(plain.server, "password")
    assert "an empty one is never sent" in failure(plain.target("alice", "")).reason
    assert refusals(plain.server, "password") == before


# ---- dropbear


def test_dropbear_takes_the_password_and_refuses_a_wrong_one(start_accounts: StartAccounts) -> None:
    host = start_accounts(ssh="dropbear")
    assert run(host.target("alice")).stdout == b"in\n"
    assert (
        "the host refuses the password of alice"
        in failure(host.target("alice", "not this one")).reason
    )


# ---- hosts that ask in odd ways

Prompts = tuple[tuple[str, bool], ...]


class Asking(paramiko.ServerInterface):
    """A host that asks these rounds of prompts, one after the other, and then lets nobody in."""

    def __init__(
        self,
        *rounds: Prompts,
        methods: str = "keyboard-interactive,password",
        says: str = "",
        ends: int = AUTH_FAILED,
    ) -> None:
        self.rounds, self.methods, self.says, self.ends = list(rounds), methods, says, ends
        self.heard: list[str] = []
        self.users: set[str] = set()
        self.transport: paramiko.Transport | None = None

    def get_allowed_auths(self, username: str) -> str:
        self.users.add(username)
        return self.methods

    def check_auth_none(self, username: str) -> int:
        self.users.add(username)
        return AUTH_FAILED

    def check_auth_password(self, username: str, password: str) -> int:
        self.heard.append(password)
        if self.says:
            message = paramiko.Message().add_byte(b"\x3c").add_string(self.says).add_string("")
            cast(Any, self.transport)._send_message(message)
        return self.ends

    def check_auth_interactive(self, username: str, submethods: str) -> int | InteractiveQuery:
        return self._next()

    def check_auth_interactive_response(self, responses: list[str]) -> int | InteractiveQuery:
        self.heard += responses
        return self._next()

    def _next(self) -> int | InteractiveQuery:
        if not self.rounds:
            return self.ends
        return InteractiveQuery("", self.says, *self.rounds.pop(0))


@contextlib.contextmanager
def hostile(keys: Keys, host: Asking) -> Iterator[tuple[int, Asking]]:
    """Yields the port of a server that talks with one client."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                connection, _ = server.accept()
                host.transport = paramiko.Transport(connection)
                host.transport.add_server_key(
                    paramiko.Ed25519Key.from_private_key_file(str(keys.host("ed25519")))
                )
                host.transport.start_server(server=host, event=threading.Event())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], host
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # ends an accept that nobody came for
            thread.join(10)
            if host.transport:
                host.transport.close()
                host.transport.join(10)


def aimed(port: int, known_hosts: Path) -> SshTarget:
    return SshTarget(
        address="127.0.0.1",
        port=port,
        user="alice",
        known_hosts=(str(known_hosts),),
        use_agent=False,
        password=Secret(PASSWORD),
    )


def met(keys: Keys, tmp_path: Path, host: Asking, **changes: object) -> TransportError:
    """Returns how the login at a host ended."""
    hosts = tmp_path / "known_hosts"
    with hostile(keys, host) as (port, _):
        hosts.write_text(f"[127.0.0.1]:{port} {keys.public(keys.host('ed25519'))}\n")
        return failure(msgspec.structs.replace(aimed(port, hosts), **changes))


HIDDEN: Prompts = (("Password: ", False),)


@pytest.mark.parametrize(
    ("rounds", "reason"),
    [
        (((("Password: ", True),),), "asks “Password:”, which is not answered with a password"),
        (
            ((("Password: ", False), ("Verification code: ", True)),),
            "“Password:”, “Verification code:” at once",
        ),
        (((("Verification code: ", False),),), "asks “Verification code:”, which is not"),
        (((("One-time password (OATH) for `alice': ", False),),), "One-time password"),
        (((("New password: ", False),),), "“New password:”"),
        (((("\033[31mEnter \u202ePIN", False),),), "PIN"),
        (((),) * 50, "sends messages without end"),
        ((tuple((f"{n}?", False) for n in range(200)),), "“0?”, “1?”, “2?”, “3?” at once"),
    ],
    ids=["echoed", "two", "code", "one-time", "new", "escapes", "nothing, forever", "two hundred"],
)
def test_a_question_that_is_not_for_the_password_alone_is_reported_and_not_answered(
    keys: Keys, tmp_path: Path, rounds: tuple[Prompts, ...], reason: str
) -> None:
    host = Asking(*rounds)
    assert reason in met(keys, tmp_path, host).reason
    assert host.heard == []


@pytest.mark.parametrize(
    ("rounds", "reason"),
    [
        ((HIDDEN,), "the host refuses the password of alice"),
        ((HIDDEN, HIDDEN), "after the password of alice the host asks “Password:”"),
        (
            (HIDDEN, (("Verification code: ", False),)),
            "the host asks “Verification code:”, which only a person",
        ),
        (
            (HIDDEN, (("New password: ", False), ("Retype new password: ", False))),
            "password of alice has expired",
        ),
        (((), HIDDEN), "the host refuses the password of alice"),
        (((("alice@token-code's password: ", False),),), "the host refuses the password of alice"),
        ((), "the host refuses the password of alice"),
    ],
    ids=["once", "twice", "code", "new one", "after nothing", "odd name", "by the other method"],
)
def test_a_host_gets_the_password_once_whatever_it_asks(
    keys: Keys, tmp_path: Path, rounds: tuple[Prompts, ...], reason: str
) -> None:
    host = Asking(*rounds)
    assert reason in met(keys, tmp_path, host).reason
    assert host.heard == [PASSWORD]


def test_a_host_with_endless_partial_success_gets_the_password_once_by_each_method(
    keys: Keys, tmp_path: Path
) -> None:
    host = Asking(HIDDEN, HIDDEN, HIDDEN, ends=AUTH_PARTIALLY_SUCCESSFUL)
    host.rounds = [HIDDEN]
    e = met(keys, tmp_path, host)
    assert "the password and the password are right, but the host also requires" in e.reason
    assert host.heard == [PASSWORD, PASSWORD]


def test_a_host_that_asks_for_a_new_password_gets_none(keys: Keys, tmp_path: Path) -> None:
    host = Asking(methods="password", says="You must change your password")
    assert "the password of alice has expired" in met(keys, tmp_path, host).reason
    assert host.heard == [PASSWORD]


def test_a_host_that_repeats_the_password_is_quoted_without_it(
    keys: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host = Asking(HIDDEN, ((f"{PASSWORD}, really? ", False),), says="Hello")
    e = met(keys, tmp_path, host)
    assert "“…, really?”" in e.reason
    assert PASSWORD not in caplog.text
