"""The native probe as another user, by sudo, doas and su, and as a forced command."""

from __future__ import annotations

import msgspec
import pytest

from fleetaudit.app.probe_program import sudoers_line
from fleetaudit.model import Become, Secret, SshClient, SshTarget
from fleetaudit.probe import protocol
from tests.support.accounts import PASSWORD
from tests.support.native import built
from tests.support.native_audit import check_measured, refused, reply_of
from tests.support.sshd import Start, program, require
from tests.support.sudoers import SudoHost

pytestmark = pytest.mark.sudo
CLIENTS: tuple[SshClient, ...] = ("paramiko", "openssh")
EARLIER = 'cd /; echo "fleetaudit-shell/1 $(id -u) $(id -un)"; read -r m w; exec python3 -B -E -s -'
"""What the command of an earlier version does on a host with Python."""


@pytest.fixture(autouse=True)
def _built() -> None:
    built()


def become(host: SudoHost, client: SshClient, **changes: object) -> SshTarget:
    """Returns the host as alice becomes another user there, who runs the native probe."""
    target = host.server.target(user="alice", client=client, probe="native")
    return msgspec.structs.replace(target, become=Become(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("pty", ["use_pty", "!use_pty"])
@pytest.mark.parametrize("client", CLIENTS)
def test_by_sudo_with_a_password(privileged: SudoHost, client: SshClient, pty: str) -> None:
    privileged.sudoers(f"Defaults {pty}", "alice ALL=(ALL) ALL")
    reply = reply_of(become(privileged, client, password=Secret(PASSWORD)))
    check_measured(reply)
    assert reply.isolation == "namespace"


@pytest.mark.parametrize("client", CLIENTS)
def test_by_sudo_with_the_one_line_that_allows_the_command(
    privileged: SudoHost, client: SshClient
) -> None:
    privileged.sudoers(sudoers_line("alice"))
    check_measured(reply_of(become(privileged, client)))


@pytest.mark.parametrize("client", CLIENTS)
def test_by_doas(privileged: SudoHost, client: SshClient) -> None:
    require("doas")
    privileged.doas("permit nopass alice")
    check_measured(reply_of(become(privileged, client, method="doas")))


@pytest.mark.parametrize("client", CLIENTS)
def test_by_su(privileged: SudoHost, client: SshClient) -> None:
    require("su")
    check_measured(
        reply_of(become(privileged, client, method="su", user="bob", password=Secret(PASSWORD)))
    )


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("before", ["", "sudo -n "], ids=["alone", "by sudo"])
def test_as_a_forced_command(start_sshd: Start, client: SshClient, before: str) -> None:
    if before:
        program("sudo")
    server = start_sshd(f"ForceCommand {before}{protocol.COMMAND}")
    check_measured(reply_of(server.target(client=client, probe="native")))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("probe", ["auto", "python", "native"])
def test_a_forced_command_may_wait_for_the_end_of_its_input(
    start_sshd: Start, client: SshClient, probe: str
) -> None:
    server = start_sshd('ForceCommand cat | sh -c "$SSH_ORIGINAL_COMMAND"')
    reply = reply_of(server.target(client=client, probe=probe))
    assert reply.probe == ("native" if probe == "native" else "python")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_forced_command_of_an_earlier_version_starts_python_only(
    start_sshd: Start, client: SshClient
) -> None:
    server = start_sshd(f"ForceCommand {EARLIER}")
    assert reply_of(server.target(client=client)).probe == "python"
    assert reply_of(server.target(client=client, probe="python")).probe == "python"
    error = refused(server.target(client=client, probe="native"))
    assert (error.kind, error.hint.rpartition("  ")[2]) == (
        "command refused",
        "fleetaudit probe --command",
    )
