"""A remote host by SSH: resolve, connect, host key, authenticate, execute; one deadline over all of
it.

Rules: only this package imports paramiko. No thread is started but one while a name is resolved,
and neither a descriptor nor a process outlives the call. Every failure is a `TransportError` at the
stage where it happened. Rooms: `resolve_hops` (the hops, as ssh_config has them), `open_session` (one hop), `link`
with `connect_tcp` (TCP), `proxy` (ProxyCommand) and `tunnel` (through a jump host), `stream` (bytes),
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
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import (
    Deadline,
    Limits,
    Output,
    StageListener,
)
from fleetaudit.transport.known_hosts import HostKeys
from fleetaudit.transport.login_limiter import LoginLimiter
from fleetaudit.transport.ssh_command import ssh_command_line
from fleetaudit.transport.ssh_config import SshConfigs
from fleetaudit.transport.stdin_dialogue import StdinDialogue

from .channel import Channel, CommandRefused
from .hops import resolve_hops
from .link import LinkError, SocketLink
from .open_session import OpenLink, current_user, open_session
from .proxy import ProxyLink
from .session import Session
from .tcp_connect import connect_tcp
from .tunnel import ForwardRefused, TunnelLink

_OVERHEAD = 4
"""How many bytes a connection may carry for each byte of the one inside of it."""


def run_ssh(
    target: SshTarget,
    command: str,
    dialogue: StdinDialogue,
    deadline: Deadline,
    limits: Limits,
    *,
    host_keys: HostKeys,
    login_limiter: LoginLimiter,
    configs: SshConfigs,
    on_stage: StageListener,
) -> Output:
    """Runs `command` on the target, telling it `dialogue`, and returns its output; raises
    `TransportError`.

    `connect_timeout_s` bounds each TCP connect, and again the time until the host showed its key;
    `deadline` bounds all. `exit_status` is 128 and the signal's number where the host says that a
    signal ended the command. A failure of a jump host begins with its name.
    """
    *jumps, target = resolve_hops(target, configs, deadline)
    user = target.user or current_user()
    with contextlib.ExitStack() as stack:
        outer: Session | None = None
        inside = ""
        for jump in jumps:
            name = jump.ssh_config.name if jump.ssh_config else jump.address
            with _of_jump(name):
                told = _named(name, on_stage)
                link = _opener(jump, outer, inside, deadline, told)
                turn = login_limiter.turn(jump.address, jump.port)
                outer = open_session(
                    stack, jump, jump.user or current_user(), link, turn, host_keys, deadline, told
                )
            outer.stream.allowance += _OVERHEAD * (
                outer.stream.allowance + 2 * (limits.stdout + limits.stderr)
            )
            inside = name
        link = _opener(target, outer, inside, deadline, on_stage)
        turn = login_limiter.turn(target.address, target.port)
        session = open_session(stack, target, user, link, turn, host_keys, deadline, on_stage)
        session.stream.allowance += 2 * (limits.stdout + limits.stderr)
        output = _execute(session, target, user, command, dialogue, deadline, limits)
        session.disconnect()
        if outer:
            outer.disconnect()
        return output


def _opener(
    target: SshTarget, outer: Session | None, jump: str, deadline: Deadline, on_stage: StageListener
) -> OpenLink:
    """Returns what opens a link to a hop: through the session with the one before, by its
    ProxyCommand, or by TCP.
    """
    if outer:
        numbers = itertools.count()
        return lambda hint: _tunnel(
            TunnelLink(outer, next(numbers), jump), target, jump, deadline, on_stage, hint
        )
    command = target.ssh_config.proxy_command if target.ssh_config else None
    if command:
        return lambda hint: _proxy(command, target, on_stage, hint)
    return lambda hint: SocketLink(connect_tcp(target, deadline, hint, on_stage))


def _tunnel(
    link: TunnelLink,
    target: SshTarget,
    jump: str,
    deadline: Deadline,
    on_stage: StageListener,
    hint: str,
) -> TunnelLink:
    """Returns the link once the jump host has opened it."""
    try:
        link.open(target.address, target.port, deadline.within(target.connect_timeout_s))
    except ForwardRefused as e:
        raise TransportError(
            "connect", f"jump host {jump}: {e}", hint=hint, kind="jump host refused"
        ) from e
    except LinkError as e:
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
    on_stage("resolve", f"{target.address}, by jump host {jump}")
    return link


def _proxy(command: Secret, target: SshTarget, on_stage: StageListener, hint: str) -> ProxyLink:
    link = ProxyLink(command.reveal(), hint)
    on_stage("resolve", f"{target.address}, by a ProxyCommand")
    return link


def _named(name: str, on_stage: StageListener) -> StageListener:
    def told(stage: Stage, what: str) -> None:
        on_stage(stage, f"jump host {name}: {what}")

    return told


@contextlib.contextmanager
def _of_jump(name: str) -> Iterator[None]:
    """Says which jump host a failure is of, unless it already says so."""
    try:
        yield
    except TransportError as e:
        if e.reason.startswith("jump host "):
            raise
        raise e.attributed_to(f"jump host {name}") from e


def _execute(
    session: Session,
    target: SshTarget,
    user: str,
    command: str,
    dialogue: StdinDialogue,
    deadline: Deadline,
    limits: Limits,
) -> Output:
    channel = Channel(session, deadline, limits)
    with _told(channel, ssh_command_line(target, user)):
        output = channel.run(command, dialogue)
        if output.exit_status is None and not output.cut and not output.stdout:
            raise CommandRefused(
                "the host ended the session without running the command to its end"
            )
        return output


@contextlib.contextmanager
def _told(channel: Channel, hint: str) -> Iterator[None]:
    """Turns what goes wrong while a command runs into `TransportError`, with what the command said
    so far.
    """
    try:
        yield
    except CommandRefused as e:
        reason, transient = str(e), False
        kind: FailureKind = "command refused"
        cause: Exception = e
    except LinkError as e:
        so_far = f"after {len(channel.stdout)} bytes of output"
        reason = {
            "late": f"the command did not end in time, {so_far}",
            "dropped": f"the connection broke off {so_far} ({e.text})",
            "proxy": f"the connection broke off {so_far} ({e.text})",
            "disconnected": f"the host hung up {so_far}{quote_line(e.text, ': ')}",
        }.get(e.kind, f"the session made no sense {so_far}: {e.text}")
        kind = "timed out" if e.kind == "late" else "connection lost"
        transient, cause = e.kind in ("dropped", "proxy"), e
    else:
        return
    said = quote_line(bytes(channel.stderr[-2000:]), "; it said ")
    raise TransportError(
        "execute", reason + said, hint=hint, kind=kind, transient=transient
    ) from cause
