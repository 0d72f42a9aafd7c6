"""How many round trips one host costs, from the SYN to the last byte of the reply: at 150 ms each,
they are most of the time of a host far away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import SupportsBytes

import msgspec
import pytest

from fleetaudit.model import ProbeChoice, SshTarget
from fleetaudit.probe import protocol
from fleetaudit.probe.offer import new_offer
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from fleetaudit.transport.ssh_config import SshConfigs
from tests.support.accounts import PASSWORD, StartAccounts
from tests.support.delay import delaying
from tests.support.native import built
from tests.support.probe_runs import plan_of
from tests.support.sshd import Keys, Server, generate

REQUEST, REPLY = 12_000, 120_000
AUDIT = f"echo 'fleetaudit-shell/1 0 root'; head -c {REQUEST}; head -c {REPLY} /dev/zero"
"""What a probe does: a ready line, then the program comes, then a reply goes."""

BY_KEY = 7
"""TCP, the greetings with KEXINIT, the key exchange, the login, the channel, the command up to its
ready line, and the program with its reply.
"""


def audit(server: Server, folder: Path, target: SshTarget) -> tuple[int, int]:
    """Returns the round trips of one host, and the bytes of its first write."""
    round_trips, first_write, output = converse(server, folder, target, AUDIT, b"p" * REQUEST)
    assert len(output.stdout) > REQUEST + REPLY, output
    return round_trips, first_write


def converse(
    server: Server, folder: Path, target: SshTarget, command: str, stdin: SupportsBytes
) -> tuple[int, int, Output]:
    """Returns the round trips of one command, the bytes of the first write, and the output."""
    with delaying(server.port) as proxy:
        lines = server.known_hosts.read_text().replace(f":{server.port} ", f":{proxy.port} ")
        known_hosts = folder / f"known_hosts.{proxy.port}"
        known_hosts.write_text(lines)
        target = msgspec.structs.replace(target, port=proxy.port, known_hosts=(str(known_hosts),))
        output: Output = Transports(ssh_configs=SshConfigs([])).run(
            target, command, stdin, Deadline.after(60), Limits()
        )
    return proxy.round_trips, proxy.first_write, output


@pytest.mark.parametrize(("choice", "more"), [("python", 0), ("auto", 0), ("native", 1)])
def test_a_host_with_python_pays_nothing_for_the_native_probe(
    sshd: Server, tmp_path: Path, choice: ProbeChoice, more: int
) -> None:
    """The native one is asked for, so that it costs one round trip more.

    The fewest of five count: the end of the input is sent when the reply begins, and nobody waits
    for it, but it looks like a round trip if the rest of the reply comes after it.
    """
    built()
    target = sshd.target(probe=choice)
    offer = new_offer(
        msgspec.structs.replace(plan_of("unread-close"), target=target), deadline_s=60
    )
    counts = set[int]()
    for _ in range(5):
        round_trips, _, output = converse(sshd, tmp_path, target, protocol.COMMAND, offer)
        assert (choice == "native") == (b"fleetaudit-native/1 " in output.stdout)
        assert protocol.REPLY_MARK in output.stdout
        counts.add(round_trips)
    assert min(counts) == BY_KEY + more


@pytest.fixture(params=["sshd", "dropbear"])
def server(request: pytest.FixtureRequest) -> Server:
    """Returns each of the two servers in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_host_costs_at_most_ten_round_trips(server: Server, tmp_path: Path, kind: str) -> None:
    target = server.target(private_keys=(str(server.keys.user(kind)),))
    round_trips, first_write = audit(server, tmp_path, target)
    assert round_trips <= BY_KEY <= 10
    assert 1000 < first_write < 14_000, "our greeting and KEXINIT, within TCP's first window"


def test_an_rsa_key_costs_no_more_where_the_host_names_its_signatures_with_its_key(
    sshd: Server, tmp_path: Path
) -> None:
    target = sshd.target(private_keys=(str(sshd.keys.user("rsa")),))
    assert audit(sshd, tmp_path, target)[0] == BY_KEY


def test_an_rsa_key_costs_one_more_where_the_host_may_name_its_signatures_later(
    dropbear: Server, tmp_path: Path
) -> None:
    target = dropbear.target(private_keys=(str(dropbear.keys.user("rsa")),))
    assert audit(dropbear, tmp_path, target)[0] <= BY_KEY + 1


def test_the_second_of_two_key_files_costs_one_more(sshd: Server, tmp_path: Path) -> None:
    stranger = generate(tmp_path / "stranger", "ed25519")
    target = sshd.target(private_keys=(str(stranger), str(sshd.keys.user())))
    assert audit(sshd, tmp_path, target)[0] == BY_KEY + 1


def test_a_key_of_an_agent_costs_no_more(
    sshd: Server, keys: Keys, tmp_path: Path, agent: Callable[..., None]
) -> None:
    agent(keys.user())
    target = sshd.target(private_keys=(), use_agent=True)
    assert audit(sshd, tmp_path, target)[0] == BY_KEY


def test_the_second_of_two_keys_of_an_agent_is_asked_about_before_it_signs(
    sshd: Server, keys: Keys, tmp_path: Path, agent: Callable[..., None]
) -> None:
    agent(generate(tmp_path / "stranger", "ed25519"), keys.user())
    target = sshd.target(private_keys=(), use_agent=True)
    assert audit(sshd, tmp_path, target)[0] == BY_KEY + 2


@pytest.mark.sudo
@pytest.mark.parametrize(
    ("lines", "more"),
    [
        # The methods are asked for first; then the password goes.
        (("PasswordAuthentication yes", "KbdInteractiveAuthentication no"), 1),
        # And the host asks, and sends a last message without a question.
        (("PasswordAuthentication no", "KbdInteractiveAuthentication yes"), 3),
    ],
    ids=["password", "keyboard-interactive"],
)
def test_a_password_costs_what_its_method_asks(
    start_accounts: StartAccounts, tmp_path: Path, lines: tuple[str, ...], more: int
) -> None:
    host = start_accounts(*lines)
    target = host.target("alice", PASSWORD, use_agent=False)
    assert audit(host.server, tmp_path, target)[0] == BY_KEY + more
