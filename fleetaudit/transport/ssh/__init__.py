"""A remote host by SSH: resolve, connect, host key, authenticate, execute; one deadline over all of it.

Rules: only this package imports paramiko. No thread is started but one while a name is resolved, and no descriptor
outlives the call. Every failure is a `TransportError` at the stage where it happened; transient only before the host
had a chance to judge a key. Rooms: `dial` (TCP), `stream` (bytes), `session` (packets and keys), `identities` and
`agent` (what to log in with), `login`, `channel` (the command).
"""

from __future__ import annotations

import contextlib
import getpass
import logging
from collections.abc import Iterator

from ...errors import TransportError
from ...model import SshTarget
from .. import Deadline, Limits, Output
from ..known_hosts import HostKeys
from ..pacing import Pacing, Turn
from ..words import quoted, ssh_line
from .channel import Channel, NotRun
from .dial import dial
from .identities import Unusable, identities
from .login import Login, Refused
from .session import Session
from .stream import Broken

log = logging.getLogger(__name__)

_default_host_keys = HostKeys()
_default_pacing = Pacing()


def run_ssh(
    target: SshTarget,
    command: str,
    stdin: bytes,
    deadline: Deadline,
    limits: Limits,
    *,
    host_keys: HostKeys | None = None,
    pacing: Pacing | None = None,
) -> Output:
    """Runs `command` on the target with `stdin`, and returns its output; raises `TransportError`.

    `connect_timeout_s` bounds each TCP connect, and again the time until the host showed its key; `deadline` bounds
    all. `exit_status` is 128 and the signal's number where the host says that a signal ended the command.
    """
    keys = host_keys or _default_host_keys
    user = target.user or _own_name()
    turn = (pacing or _default_pacing).turn(target.address, target.port)
    with contextlib.ExitStack() as stack:
        stack.callback(turn.done)
        session = _connect(stack, turn, target, user, deadline)
        key_type, blob = _agree_on_keys(session, target, user, keys)
        if note := keys.check(target, key_type, blob):
            log.info("%s", note)
        session.stream.until = deadline
        _log_in(session, target, user, deadline)
        turn.done()
        session.stream.allowance += 2 * (limits.stdout + limits.stderr)
        output = _execute(session, target, user, command, stdin, deadline, limits)
        session.disconnect()
        return output


def _connect(stack: contextlib.ExitStack, turn: Turn, target: SshTarget, user: str, deadline: Deadline) -> Session:
    """Returns a session that has greeted, its socket to be closed by `stack`; waits for the turn before each try."""
    while True:
        if not turn.wait(deadline):
            reason = f"other connections to {target.address} port {target.port} took all of the time to log in"
            raise TransportError("connect", reason, hint="fleetaudit run … --host-deadline 600")
        sock = dial(target, deadline, ssh_line(target, user))
        try:
            session = Session(sock)
            _greet(session, target, user, deadline)
        except TransportError as e:
            sock.close()
            if e.transient and turn.dropped(deadline):
                log.info("%s port %d: %s; trying again", target.address, target.port, e.reason)
                continue
            raise
        except BaseException:
            sock.close()
            raise
        stack.callback(sock.close)
        return session


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as e:  # which of them depends on the Python
        reason = "no user is named, and this process's own number has no name"
        raise TransportError("authenticate", reason, hint="fleetaudit run -u USER") from e


def _greet(session: Session, target: SshTarget, user: str, deadline: Deadline) -> None:
    limit = min(deadline.remaining(), target.connect_timeout_s)
    session.stream.until = Deadline.after(limit)
    try:
        session.greet()
    except Broken as e:
        reason = {
            "late": f"the port is open, but no SSH greeting came within {limit:.3g} s{e.text}",
            # sshd's MaxStartups and PerSourcePenalties, a full process table, tcp wrappers
            "dropped": f"the host hung up before its SSH greeting ({e.text}): it may have too many connections",
        }.get(e.kind, f"what answers on port {target.port} does not speak SSH: {e.text}")
        hint = ssh_line(target, user)
        raise TransportError("connect", reason, hint=hint, transient=e.kind == "dropped") from e


def _agree_on_keys(session: Session, target: SshTarget, user: str, keys: HostKeys) -> tuple[str, bytes]:
    try:
        return session.agree_on_keys(keys.algorithms(target))
    except Broken as e:
        reason = {
            "late": "the host stalled in the key exchange",
            "dropped": f"the host hung up in the key exchange ({e.text})",
            "disconnected": f"the host ended the key exchange{quoted(e.text, ': ')}",
        }.get(e.kind, f"no key exchange is possible: {e.text}")
        hint = ssh_line(target, user, "-v")
        raise TransportError("connect", reason, hint=hint, transient=e.kind == "dropped") from e


def _log_in(session: Session, target: SshTarget, user: str, deadline: Deadline) -> None:
    found = identities(target, deadline)
    if not found.usable and target.private_keys:
        raise _no_key(found.unusable)
    login = Login(session, user, deadline)
    hint = ssh_line(target, user, "-v")
    try:
        login.run(found.usable)
        return
    except Refused as e:
        if not found.usable:
            reason = f"there is no key to log in with as {user}: none named, none in an agent, no default key file"
            if found.unusable:
                reason, hint = f"{reason}; {_no_key(found.unusable).reason}", found.unusable[0].hint
            else:
                hint = "ssh-add -l"
        else:
            reason = str(e) or f"the host does not let {user} in"
        cause: Exception = e
    except Broken as e:
        many = e.kind in ("disconnected", "dropped") and len(login.offered) > 1
        reason = {
            "late": f"the host stalled while {user} was logging in",
            "dropped": f"the host hung up while {user} was logging in ({e.text})",
            "disconnected": f"the host hung up while {user} was logging in{quoted(e.text, ': ')}",
        }.get(e.kind, f"the login made no sense: {e.text}")
        if many:
            reason += "; name the one key that is meant (--private-key)"
            hint = ssh_line(target, user, "-o", "IdentitiesOnly=yes")
        cause = e
    story = login.story()
    raise TransportError("authenticate", reason + (f"; {story}" if story else ""), hint=hint) from cause


def _no_key(unusable: tuple[Unusable, ...]) -> TransportError:
    return TransportError("authenticate", "; ".join(u.reason for u in unusable), hint=unusable[0].hint)


def _execute(
    session: Session, target: SshTarget, user: str, command: str, stdin: bytes, deadline: Deadline, limits: Limits
) -> Output:
    channel = Channel(session, deadline, limits)
    with _told(channel, ssh_line(target, user)):
        output = channel.run(command, stdin)
        if output.exit_status is None and not output.cut and not output.stdout:
            raise NotRun("the host ended the session without running the command to its end")
        return output


@contextlib.contextmanager
def _told(channel: Channel, hint: str) -> Iterator[None]:
    """Turns what goes wrong while a command runs into `TransportError`, with what the command said so far."""
    try:
        yield
    except NotRun as e:
        reason, transient = str(e), False
        cause: Exception = e
    except Broken as e:
        so_far = f"after {len(channel.stdout)} bytes of output"
        reason = {
            "late": f"the command did not end in time, {so_far}",
            "dropped": f"the connection broke off {so_far} ({e.text})",
            "disconnected": f"the host hung up {so_far}{quoted(e.text, ': ')}",
        }.get(e.kind, f"the session made no sense {so_far}: {e.text}")
        transient, cause = e.kind == "dropped", e
    else:
        return
    said = quoted(bytes(channel.stderr[-2000:]), "; it said ")
    raise TransportError("execute", reason + said, hint=hint, transient=transient) from cause
