"""The native probe on hosts without Python: a busybox and nothing else, a dash, over the real sshd
and dropbear. Which folder takes it, what is left, and why it may be impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from fleetaudit.errors import ReplyError
from fleetaudit.model import HostPlan, SshClient, SshTarget
from fleetaudit.probe import protocol
from fleetaudit.probe.offer import Offer, new_offer
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.registry import Transports
from tests.support.bare_host import (
    BareHost,
    busybox_host,
    dash_host,
)
from tests.support.native import built
from tests.support.probe_runs import plan_of
from tests.support.sshd import Keys, Server, Start, dropbear_running

CLIENTS: tuple[SshClient, ...] = ("paramiko", "openssh")
PLAN = plan_of("unread-close", "drained-close")
MakeHost = Callable[[Path], BareHost]


@pytest.fixture(autouse=True)
def _built() -> None:
    built()


def audited(target: SshTarget) -> HostPlan:
    return msgspec.structs.replace(PLAN, target=target)


def run(target: SshTarget) -> tuple[Offer, Output]:
    """Runs the command on a host; returns what it was offered and what it printed."""
    if target.client == "openssh":
        target = msgspec.structs.replace(target, arguments=("-F", "none"))
    offer = new_offer(audited(target), deadline_s=60)
    output = Transports().run(target, protocol.COMMAND, offer, Deadline.after(120), Limits())
    return offer, output


def reply_of(target: SshTarget) -> protocol.Reply:
    offer, output = run(target)
    return protocol.decode_reply(
        audited(target),
        output.stdout,
        output.stderr,
        output.exit_status,
        output.cut,
        offer.nonce,
    )


def refused(target: SshTarget) -> ReplyError:
    """Returns why a host has no reply: in plain words, and with what to type next."""
    with pytest.raises(ReplyError) as e:
        reply_of(target)
    assert e.value.stage == "execute"
    assert e.value.hint
    assert e.value.reason.isprintable()
    return e.value


def check_measured(reply: protocol.Reply) -> None:
    """Checks that a reply is that of the native probe, and has what it saw."""
    assert (reply.probe, reply.python) == ("native", "")
    assert [o.scenario for o in reply.observations if o.trials and not o.trials[0].error] == [
        "unread-close",
        "unread-close",
        "drained-close",
        "drained-close",
    ]
    flags = {o.scenario: [s.flags for s in o.trials[0].wire or ()] for o in reply.observations}
    assert any("R" in each for each in flags["unread-close"])
    assert not any("R" in each for each in flags["drained-close"])


def served(host: BareHost, start_sshd: Start, **changes: object) -> SshTarget:
    forced = host.forced_command(host.root.parent / "forced")
    return start_sshd(f"ForceCommand {forced}").target(**changes)


# ---- where it runs


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("probe", ["auto", "native"])
@pytest.mark.parametrize("make", [busybox_host, dash_host])
def test_a_host_without_python_is_measured_and_nothing_is_left(
    tmp_path: Path, start_sshd: Start, make: MakeHost, client: SshClient, probe: str
) -> None:
    host = make(tmp_path / "root")
    check_measured(reply_of(served(host, start_sshd, client=client, probe=probe)))
    assert not host.left()


@pytest.fixture(scope="module")
def busybox_over_dropbear(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Returns a dropbear whose users get into a host that has a busybox and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    forced = busybox_host(folder / "root").forced_command(folder / "forced")
    with dropbear_running(keys, folder, "-c", str(forced)) as server:
        yield server


@pytest.mark.parametrize("client", CLIENTS)
def test_a_busybox_is_measured_over_dropbear(
    busybox_over_dropbear: Server, client: SshClient
) -> None:
    check_measured(reply_of(busybox_over_dropbear.target(client=client)))


def test_nobody_is_measured_in_the_namespace_of_the_host(tmp_path: Path, start_sshd: Start) -> None:
    host = busybox_host(tmp_path / "root")
    reply = reply_of(served(replace(host, user="65534:65534"), start_sshd))
    assert (reply.probe, reply.isolation) == ("native", "host")
    assert not host.left()
