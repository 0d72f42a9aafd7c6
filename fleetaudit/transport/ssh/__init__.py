"""A remote host by SSH: resolve, connect, host key, authenticate, execute; one deadline over all of
it.

Rules: only this package imports paramiko. No thread is started but one while a name is resolved,
and neither a descriptor nor a process outlives the call. Every failure is a `TransportError` at the
stage where it happened. Rooms: `way` (the hops, as ssh_config has them), `reach` (one hop), `link`
with `dial` (TCP), `proxy` (ProxyCommand) and `tunnel` (through a jump host), `stream` (bytes),
`session` (packets and keys), `identities` and `agent` (what to log in with), `login` (its
messages), `password` (when it is told), `authenticate` (order and reasons), `channel` (the
command).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.model import Secret, SshTarget, Stage
from fleetaudit.transport import (
    Deadline,
    Limits,
    Output,
    StageListener,
)
from fleetaudit.transport.known_hosts import HostKeys
from fleetaudit.transport.login_limiter import Pacing
from fleetaudit.transport.ssh_command import quoted, ssh_command_line
from fleetaudit.transport.ssh_config import SshConfigs
from fleetaudit.transport.stdin_dialogue import Talk

from .channel import Channel, NotRun
from .hops import way
from .link import Broken, SocketLink
from .open_session import Open, own_name, reach
from .proxy import ProxyLink
from .session import Session
from .tcp_connect import dial
from .tunnel import NotForwarded, TunnelLink

_OVERHEAD = 4
"""How many bytes a connection may carry for each byte of the one inside of it."""


def run_ssh(
    target: SshTarget,
    command: str,
    talk: Talk,
    deadline: Deadline,
    limits: Limits,
    *,
    host_keys: HostKeys,
    pacing: Pacing,
    configs: SshConfigs,
    passed: StageListener,
) -> Output:
    """Runs `command` on the target, telling it `talk`, and returns its output; raises
    `TransportError`.

    `connect_timeout_s` bounds each TCP connect, and again the time until the host showed its key;
    `deadline` bounds all. `exit_status` is 128 and the signal's number where the host says that a
    signal ended the command. A failure of a jump host begins with its name.
    """
    *jumps, target = way(target, configs, deadline)
    user = target.user or own_name()
    with contextlib.ExitStack() as stack:
        outer: Session | None = None
        inside = ""
        for jump in jumps:
            name = jump.ssh_config.name if jump.ssh_config else jump.address
            with _of_jump(name):
                told = _named(name, passed)
                link = _opener(jump, outer, inside, deadline, told)
                turn = pacing.turn(jump.address, jump.port)
                outer = reach(
                    stack, jump, jump.user or own_name(), link, turn, host_keys, deadline, told
                )
            outer.stream.allowance += _OVERHEAD * (
                outer.stream.allowance + 2 * (limits.stdout + limits.stderr)
            )
            inside = name
        link = _opener(target, outer, inside, deadline, passed)
        turn = pacing.turn(target.address, target.port)
        session = reach(stack, target, user, link, turn, host_keys, deadline, passed)
        session.stream.allowance += 2 * (limits.stdout + limits.stderr)
        output = _execute(session, target, user, command, talk, deadline, limits)
        session.disconnect()
        if outer:
            outer.disconnect()
        return output


def _opener(
    target: SshTarget, outer: Session | None, jump: str, deadline: Deadline, passed: StageListener
) -> Open:
    """Returns what opens a link to a hop: through the session with the one before, by its
    ProxyCommand, or by TCP.
    """
    if outer:
        numbers = itertools.count()
        return lambda hint: _tunnel(
            TunnelLink(outer, next(numbers), jump), target, jump, deadline, passed, hint
        )
    command = target.ssh_config.proxy_command if target.ssh_config else None
    if command:
        return lambda hint: _proxy(command, target, passed, hint)
    return lambda hint: SocketLink(dial(target, deadline, hint, passed))


def _tunnel(
    link: TunnelLink,
    target: SshTarget,
    jump: str,
    deadline: Deadline,
    passed: StageListener,
    hint: str,
) -> TunnelLink:
    """Returns the link once the jump host has opened it."""
    try:
        link.open(target.address, target.port, deadline.within(target.connect_timeout_s))
    except NotForwarded as e:
        raise TransportError(
            "connect", f"jump host {jump}: {e}", hint=hint, kind="jump host refused"
        ) from e
    except Broken as e:
        how = (
            "no answer came in time"
            if e.kind == "late"
            else f"the connection to it broke off ({e.text})"
        )
        reason = f"jump host {jump}: asked for {target.address} port {target.port}, {how}"
        kind: FailureKind = "timed out" if e.kind == "late" else "connection lost"
        raise TransportError(
            "connect", reason, hint=hint, kind=kind, transient=e.kind == "dropped"
        ) from e
    passed("resolve", f"{target.address}, by jump host {jump}")
    return link


def _proxy(command: Secret, target: SshTarget, passed: StageListener, hint: str) -> ProxyLink:
    link = ProxyLink(command.reveal(), hint)
    passed("resolve", f"{target.address}, by a ProxyCommand")
    return link


def _named(name: str, passed: StageListener) -> StageListener:
    def told(stage: Stage, what: str) -> None:
        passed(stage, f"jump host {name}: {what}")

    return told


@contextlib.contextmanager
def _of_jump(name: str) -> Iterator[None]:
    """Says which jump host a failure is of, unless it already says so."""
    try:
        yield
    except TransportError as e:
        if e.reason.startswith("jump host "):
            raise
        raise e.said_of(f"jump host {name}") from e


def _execute(
    session: Session,
    target: SshTarget,
    user: str,
    command: str,
    talk: Talk,
    deadline: Deadline,
    limits: Limits,
) -> Output:
    channel = Channel(session, deadline, limits)
    with _told(channel, ssh_command_line(target, user)):
        output = channel.run(command, talk)
        if output.exit_status is None and not output.cut and not output.stdout:
            raise NotRun("the host ended the session without running the command to its end")
        return output


@contextlib.contextmanager
def _told(channel: Channel, hint: str) -> Iterator[None]:
    """Turns what goes wrong while a command runs into `TransportError`, with what the command said
    so far.
    """
    try:
        yield
    except NotRun as e:
        reason, transient = str(e), False
        kind: FailureKind = "command refused"
        cause: Exception = e
    except Broken as e:
        so_far = f"after {len(channel.stdout)} bytes of output"
        reason = {
            "late": f"the command did not end in time, {so_far}",
            "dropped": f"the connection broke off {so_far} ({e.text})",
            "proxy": f"the connection broke off {so_far} ({e.text})",
            "disconnected": f"the host hung up {so_far}{quoted(e.text, ': ')}",
        }.get(e.kind, f"the session made no sense {so_far}: {e.text}")
        kind = "timed out" if e.kind == "late" else "connection lost"
        transient, cause = e.kind in ("dropped", "proxy"), e
    else:
        return
    said = quoted(bytes(channel.stderr[-2000:]), "; it said ")
    raise TransportError(
        "execute", reason + said, hint=hint, kind=kind, transient=transient
    ) from cause
