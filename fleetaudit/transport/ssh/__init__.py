"""A remote host by SSH with the built-in client: resolve, connect, host key, authenticate, execute;
one deadline over all of it.

Rules: only this package imports paramiko. No thread is started but one while a name is resolved,
and neither a descriptor nor a process outlives the call. Every failure is a `TransportError` at the
stage where it happened. Modules: `hops` (the jump hosts and the host, as ssh_config has them),
`open_session` (one hop), `link` with `tcp_connect` (TCP), `proxy` (ProxyCommand) and `tunnel`
(through a jump host), `packet_stream` with `aead` (bytes), `paramiko_transport` (paramiko's
protocol code), `session` (packets and keys), `identities`, `key_files` and `agent` (credentials),
`userauth` (its messages), `keyboard_interactive` (which questions get the password), `authenticate`
(order and reasons), `channel_end` (flow control), `channel` (the command).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.model import Secret, SshTarget, Stage
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import Limits, Output, StageListener
from fleetaudit.transport.base import Execution, SharedState
from fleetaudit.transport.ssh_command import ssh_command_line
from fleetaudit.transport.ssh_options import config_of
from fleetaudit.transport.stdin_dialogue import StdinDialogue

from .channel import Channel, CommandRefused
from .hops import resolve_hops
from .link import Link, LinkError, LinkErrorKind, SocketLink
from .open_session import HopOpener, current_user
from .proxy import ProxyLink
from .session import Session
from .tcp_connect import connect_tcp
from .tunnel import ForwardRefused, TunnelLink

_OVERHEAD = 4
"""How many bytes a connection may carry for each byte of the connection inside it."""


def run_ssh(
    target: SshTarget, execution: Execution, dialogue: StdinDialogue, shared: SharedState
) -> Output:
    """Runs the command on the target, with `dialogue` as its stdin; raises `TransportError`.

    `connect_timeout_s` bounds each TCP connect, and again the time until the host showed its key.
    `exit_status` is 128 plus the signal's number if the host reports that a signal ended the
    command. A failure of a jump host begins with its name.
    """
    *jumps, target = resolve_hops(target, shared.ssh_configs, execution.deadline)
    with contextlib.ExitStack() as stack:
        outer: Session | None = None
        inside = ""
        for jump in jumps:
            name = config_of(jump).name or jump.address
            with _blame_jump_host(name):
                listener = _prefixed(name, execution.on_stage)
                link = _LinkOpener(jump, outer, inside, execution, listener)
                outer = HopOpener(stack, shared, execution, listener).open(jump, link.open)
            _allow_tunnel(outer, execution.limits)
            inside = name
        link = _LinkOpener(target, outer, inside, execution, execution.on_stage)
        opener = HopOpener(stack, shared, execution, execution.on_stage)
        session = opener.open(target, link.open)
        _allow_output(session, execution.limits)
        output = _execute(session, target, execution, dialogue)
        session.disconnect()
        if outer:
            outer.disconnect()
        return output


def _allow_output(session: Session, limits: Limits) -> None:
    """Lets the host send the output of the command."""
    session.stream.allowance += 2 * (limits.stdout + limits.stderr)


def _allow_tunnel(outer: Session, limits: Limits) -> None:
    """Lets a jump host send all that the connection inside it may need."""
    inner = outer.stream.allowance + 2 * (limits.stdout + limits.stderr)
    outer.stream.allowance += _OVERHEAD * inner


class _LinkOpener:
    """Opens a link to a hop.

    It goes through the session with the hop before, by its ProxyCommand, or by TCP.
    """

    def __init__(
        self,
        target: SshTarget,
        outer: Session | None,
        jump: str,
        execution: Execution,
        on_stage: StageListener,
    ) -> None:
        self._target, self._outer, self._jump = target, outer, jump
        self._deadline, self._on_stage = execution.deadline, on_stage
        self._numbers = itertools.count()

    def open(self, hint: str) -> Link:
        """Returns an open link; raises `TransportError` with this hint."""
        if self._outer:
            return self._through(self._outer, hint)
        if command := config_of(self._target).proxy_command:
            return self._by_proxy(command, hint)
        return SocketLink(connect_tcp(self._target, self._deadline, hint, self._on_stage))

    def _through(self, outer: Session, hint: str) -> TunnelLink:
        """Opens a connection through the session with a jump host."""
        target, jump = self._target, self._jump
        tunnel = TunnelLink(outer, next(self._numbers), jump)
        try:
            deadline = self._deadline.within(target.connect_timeout_s)
            tunnel.open(target.address, target.port, deadline)
        except ForwardRefused as e:
            reason = f"jump host {jump}: {e}"
            raise TransportError("connect", reason, hint=hint, kind="jump host refused") from e
        except LinkError as e:
            late = e.kind == "late"
            how = "no answer came in time" if late else f"the connection to it broke off ({e.text})"
            raise TransportError(
                "connect",
                f"jump host {jump}: asked for {target.address} port {target.port}, {how}",
                hint=hint,
                kind="timed out" if late else "connection lost",
                transient=e.kind == "dropped",
            ) from e
        self._on_stage("resolve", f"{target.address}, by jump host {jump}")
        return tunnel

    def _by_proxy(self, command: Secret, hint: str) -> ProxyLink:
        """Starts the ProxyCommand."""
        link = ProxyLink(command.reveal(), hint)
        self._on_stage("resolve", f"{self._target.address}, by a ProxyCommand")
        return link


def _prefixed(name: str, on_stage: StageListener) -> StageListener:
    """Returns a listener that names the jump host."""

    def listener(stage: Stage, found: str) -> None:
        on_stage(stage, f"jump host {name}: {found}")

    return listener


@contextlib.contextmanager
def _blame_jump_host(name: str) -> Iterator[None]:
    """Adds the name of the jump host to a failure, unless it has one."""
    try:
        yield
    except TransportError as e:
        if e.reason.startswith("jump host "):
            raise
        raise e.attributed_to(f"jump host {name}") from e


def _execute(
    session: Session, target: SshTarget, execution: Execution, dialogue: StdinDialogue
) -> Output:
    """Runs the command in an open session; raises `TransportError`."""
    channel = Channel(session, execution.deadline, execution.limits)
    try:
        output = channel.run(execution.command, dialogue)
    except CommandRefused as e:
        raise _execute_error(channel, str(e), _hint(target), "command refused") from e
    except LinkError as e:
        raise _broke_off(channel, e, _hint(target)) from e
    if output.exit_status is None and not output.cut and not output.stdout:
        reason = "the host ended the session without running the command to its end"
        raise _execute_error(channel, reason, _hint(target), "command refused")
    return output


def _hint(target: SshTarget) -> str:
    """Returns the command to type if the command failed."""
    return ssh_command_line(target, target.user or current_user())


def _broke_off(channel: Channel, error: LinkError, hint: str) -> TransportError:
    """Returns the error for a connection that ended while the command ran."""
    so_far = f"after {len(channel.stdout)} bytes of output"
    late_kind, late = channel.why_late()
    reasons = {
        "late": late + error.text,
        "jump": f"the connection broke off {so_far} ({error.text})",
        "flood": f"the host sent {error.text}, {so_far}",
        "dropped": f"the connection broke off {so_far} ({error.text})",
        "proxy": f"the connection broke off {so_far} ({error.text})",
        "disconnected": f"the host hung up {so_far}{quote_line(error.text, ': ')}",
    }
    reason = reasons.get(error.kind, f"what the host sent is not valid SSH {so_far}: {error.text}")
    kinds: dict[LinkErrorKind, FailureKind] = {
        "late": late_kind,
        "garbled": "protocol error",
        "flood": "protocol error",
    }
    kind = kinds.get(error.kind, "connection lost")
    transient = error.kind in ("dropped", "proxy")
    return _execute_error(channel, reason, hint, kind, transient=transient)


def _execute_error(
    channel: Channel, reason: str, hint: str, kind: FailureKind, *, transient: bool = False
) -> TransportError:
    """Returns an error of the stage "execute", with the end of stderr."""
    printed = quote_line(bytes(channel.stderr[-2000:]), "; it printed ")
    return TransportError("execute", reason + printed, hint=hint, kind=kind, transient=transient)
