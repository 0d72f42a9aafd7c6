"""Hosts that the native probe measures over a transport: two scenarios, one of which resets."""

from __future__ import annotations

import msgspec
import pytest

from fleetaudit.errors import ReplyError
from fleetaudit.model import HostPlan, LocalTarget, SshTarget
from fleetaudit.probe import protocol
from fleetaudit.probe.offer import new_offer
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.registry import Transports

from .probe_runs import plan_of

PLAN = plan_of("unread-close", "drained-close")
Target = SshTarget | LocalTarget


def audited(target: Target) -> HostPlan:
    """Returns the plan of this host."""
    return msgspec.structs.replace(PLAN, target=target)


def reply_of(target: Target) -> protocol.Reply:
    """Returns the reply of a host; raises `ReplyError`."""
    if isinstance(target, SshTarget) and target.client == "openssh":
        target = msgspec.structs.replace(target, arguments=("-F", "none"))
    offer = new_offer(audited(target), deadline_s=60)
    output = Transports().run(target, protocol.COMMAND, offer, Deadline.after(120), Limits())
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
