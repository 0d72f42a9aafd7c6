"""A remote host by SSH: resolve, connect, host key, authenticate, execute; one deadline over all of it.

Rules: only this package imports paramiko. No thread is started but one while a name is resolved, and no descriptor
outlives the call. Every failure is a `TransportError` at the stage where it happened; transient only before the host
had a chance to judge a key. Rooms: `dial` (TCP), `stream` (bytes), `session` (packets and keys), `identities` and
`agent` (what to log in with), `login` (its messages), `authenticate` (its order and reasons), `channel` (the command).
"""

from __future__ import annotations

import contextlib
import getpass
import logging
from collections.abc import Iterator

from ...errors import TransportError
from ...model import SshTarget
from .. import Deadline, Limits, Output, Passed, unnoticed
from ..known_hosts import HostKeys, fingerprint
from ..pacing import Pacing, Turn
from ..talk import Talk
from ..words import quoted, ssh_line
from .authenticate import authenticate
from .channel import Channel, NotRun
from .dial import dial
from .session import Session
from .stream import Broken

log = logging.getLogger(__name__)

_default_host_keys = HostKeys()
_default_pacing = Pacing()


def run_ssh(
    target: SshTarget,
    command: str,
    talk: Talk,
    deadline: Deadline,
    limits: Limits,
    *,
    host_keys: HostKeys | None = None,
    pacing: Pacing | None = None,
    passed: Passed = unnoticed,
) -> Output:
    """Runs `command` on the target, telling it `talk`, and returns its output; raises `TransportError`.

    `connect_timeout_s` bounds each TCP connect, and again the time until the host showed its key; `deadline` bounds
    all. `exit_status` is 128 and the signal's number where the host says that a signal ended the command.
    """
    keys = host_keys or _default_host_keys
    user = target.user or _own_name()
    turn = (pacing or _default_pacing).turn(target.address, target.port)
    with contextlib.ExitStack() as stack:
        stack.callback(turn.done)
        session = _connect(stack, turn, target, user, deadline, passed)
        key_type, blob = _agree_on_keys(session, target, user, keys)
        passed("connect", f"{target.address} port {target.port}")
        if note := keys.check(target, key_type, blob):
            log.info("%s", note)
        passed("host key", f"{key_type} {fingerprint(blob)}")
        session.stream.until = deadline
        passed("authenticate", authenticate(session, target, user, deadline))
        turn.done()
        session.stream.allowance += 2 * (limits.stdout + limits.stderr)
        output = _execute(session, target, user, command, talk, deadline, limits)
        session.disconnect()
        return output


def _connect(
    stack: contextlib.ExitStack, turn: Turn, target: SshTarget, user: str, deadline: Deadline, passed: Passed
) -> Session:
    """Returns a session that has greeted, its socket to be closed by `stack`; waits for the turn before each try."""
    while True:
        if not turn.wait(deadline):
            reason = f"other connections to {target.address} port {target.port} took all of the time to log in"
            raise TransportError("connect", reason, hint="fleetaudit run … --host-deadline 600")
        sock = dial(target, deadline, ssh_line(target, user), passed)
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


def _execute(
    session: Session, target: SshTarget, user: str, command: str, talk: Talk, deadline: Deadline, limits: Limits
) -> Output:
    channel = Channel(session, deadline, limits)
    with _told(channel, ssh_line(target, user)):
        output = channel.run(command, talk)
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
