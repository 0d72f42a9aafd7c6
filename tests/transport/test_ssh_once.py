"""A login that a host has judged is never tried again, by either client: accounts get locked."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

import pytest

from fleetaudit.engine import EngineSettings, Outcome, audit
from fleetaudit.errors import TransportError
from fleetaudit.model import (
    Audited,
    HostPlan,
    NotAudited,
    Plan,
    SshTarget,
)
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.ssh_config import SshConfigs
from tests.support.accounts import PASSWORD, StartAccounts
from tests.support.sshd import (
    Server,
    Start,
    failure_of,
    generate,
    require,
)

ME = getpass.getuser()
CLIENTS = ("paramiko", "openssh")


@pytest.fixture(autouse=True)
def _ssh() -> None:
    require("ssh")


def audited(target: SshTarget) -> NotAudited:
    """Returns the result of one host with three retries."""
    plan = Plan(
        playbooks=(),
        hosts=(
            HostPlan(
                name="host",
                groups=(),
                target=target,
                scenarios=(),
                trials=1,
                isolation="auto",
                sysctls_collect=(),
                sysctls_expect={},
            ),
        ),
    )
    transports = Transports(ssh_configs=SshConfigs([]))

    def unchanged(host: Audited, _: HostPlan) -> Audited:
        return host

    settings = EngineSettings(retries=3, backoff_s=0.01, host_deadline_s=90)
    outcome: Outcome = audit(
        plan,
        run_command=transports.run,
        settings=settings,
        judge=unchanged,
        on_result=lambda _: None,
    )
    [result] = outcome.results
    assert isinstance(result, NotAudited)
    return result


def hanging_up(start_sshd: Start, tmp_path: Path, calls: int) -> tuple[Server, Path]:
    """Returns a server that kills the process of a login when it is asked about a key for the
    `calls`th time.

    A client that signs at once asks once; one that shows its key first asks again with the
    signature. Also returns the file with a line for each login.
    """
    if os.getuid() != 0:
        pytest.skip("missing: root")
    logins, script = tmp_path / "logins", tmp_path / "keys.sh"
    server = start_sshd(
        f"AuthorizedKeysCommand /bin/sh {script}",
        "AuthorizedKeysCommandUser root",
        "LogLevel VERBOSE",
        "AuthorizedKeysFile none",
    )
    script.write_text(
        f"echo x >> {tmp_path}/calls.$PPID\ntest $(wc -l < {tmp_path}/calls.$PPID) -lt {calls} ||"
        f" {{ echo judged >> {logins}; kill -9 $PPID; }}\ncat {server.keys.user()}.pub\n"
    )
    return server, logins


@pytest.mark.parametrize(("client", "calls"), [("paramiko", 1), ("openssh", 2)])
def test_a_host_that_hangs_up_after_the_signature_is_tried_once(
    start_sshd: Start, tmp_path: Path, client: str, calls: int
) -> None:
    server, logins = hanging_up(start_sshd, tmp_path, calls)
    result = audited(server.target(client=client, arguments=("-F", "none")))
    assert (result.stage, result.kind) == ("authenticate", "hung up")
    assert logins.read_text() == "judged\n"
    assert server.log.read_text().count("Connection from") == 1


@pytest.mark.parametrize(("client", "calls"), [("paramiko", 1), ("openssh", 2)])
@pytest.mark.parametrize("way", ["ProxyJump", "ProxyCommand"])
def test_a_jump_host_that_hangs_up_after_the_signature_is_tried_once(
    start_sshd: Start, tmp_path: Path, client: str, calls: int, way: str
) -> None:
    jump, logins = hanging_up(start_sshd, tmp_path, 2 if way == "ProxyCommand" else calls)
    own = (
        f"  HostName 127.0.0.1\n  Port {jump.port}\n  User {ME}\n  IdentityFile"
        f" {jump.keys.user()}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile"
        f" {jump.known_hosts}\n"
    )
    config = tmp_path / "ssh_config"
    over = "jump" if way == "ProxyJump" else f"ssh -q -F {config} -o BatchMode=yes -W %h:%p jump"
    config.write_text(f"Host jump\n{own}Host far\n  HostName 127.0.0.1\n  Port 9\n  {way} {over}\n")
    target = SshTarget(address="far", client=client, arguments=("-F", str(config)), use_agent=False)  # type: ignore[arg-type]
    result = audited(target)
    assert logins.read_text() == "judged\n"
    assert result.stage == ("authenticate" if way == "ProxyJump" else "connect")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_key_is_offered_once(start_sshd: Start, tmp_path: Path, client: str) -> None:
    server = start_sshd("LogLevel VERBOSE", "MaxAuthTries 1")
    strangers = [str(generate(tmp_path / f"stranger{n}", "ed25519")) for n in range(3)]
    for keys in (strangers[:1], strangers):
        before = server.log.read_text().count("Connection from")
        target = server.target(client=client, arguments=("-F", "none"), private_keys=tuple(keys))
        assert audited(target).stage == "authenticate"
        assert server.log.read_text().count("Connection from") == before + 1


@pytest.mark.sudo
def test_a_host_that_hangs_up_after_the_password_is_tried_once(
    start_accounts: StartAccounts, tmp_path: Path
) -> None:
    script = tmp_path / "kill.sh"
    script.write_text("kill -9 $PPID\n")
    pam = (
        f"auth optional pam_exec.so quiet /bin/sh {script}\nauth required pam_unix.so\naccount"
        " required pam_unix.so\n"
    )
    host = start_accounts("PasswordAuthentication yes", pam={"sshd": pam})
    result = audited(host.target("alice", PASSWORD, use_agent=False))
    assert result.stage == "authenticate"
    assert host.server.log.read_text().count("Connection from") == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_host_that_drops_connections_before_its_greeting_is_tried_again(
    start_sshd: Start, client: str
) -> None:
    server = start_sshd("LogLevel VERBOSE", "MaxStartups 1:100:1")
    target = server.target(client=client, arguments=("-F", "none"))
    transports = Transports(ssh_configs=SshConfigs([]))
    blocked = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1)]
    try:
        e = failure_of(lambda: transports.run(target, "true", b"", Deadline.after(60), Limits()))
    finally:
        for sock in blocked:
            sock.close()
    assert isinstance(e, TransportError)
    assert (e.stage, e.transient) == ("connect", True)
