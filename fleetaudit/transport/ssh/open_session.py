"""One hop: a link to it, its greeting, its keys, the check of its host key, and the login.

Rules: every failure is a `TransportError` at the stage where it happened; transient only before the
host had a chance to judge a key. What is opened here is closed by the caller's stack.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
from collections.abc import Callable

from fleetaudit.errors import FailureKind, TransportError, rerun_hint
from fleetaudit.model import SshTarget
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import Deadline, StageListener
from fleetaudit.transport.known_hosts import HostKeys, fingerprint
from fleetaudit.transport.login_limiter import LoginSlot
from fleetaudit.transport.ssh_command import ssh_command_line

from .authenticate import authenticate
from .identities import read_key_files
from .link import Link, LinkError, LinkErrorKind
from .session import Session

log = logging.getLogger(__name__)

_KINDS: dict[LinkErrorKind, FailureKind] = {
    "late": "timed out",
    "dropped": "hung up",
    "disconnected": "hung up",
    "proxy": "ProxyCommand failed",
}

OpenLink = Callable[[str], Link]
"""Opens a link to the hop, given the command to type where that fails; raises `TransportError`."""


def open_session(
    stack: contextlib.ExitStack,
    target: SshTarget,
    user: str,
    open_link: OpenLink,
    turn: LoginSlot,
    keys: HostKeys,
    deadline: Deadline,
    on_stage: StageListener,
) -> Session:
    """Returns a session that is logged in; raises `TransportError`."""
    # Before a turn is taken: waiting for a file must not make other hosts wait.
    keys.read(target, deadline)
    files = read_key_files(target, deadline)
    stack.callback(turn.done)
    session = _greeted(stack, target, user, open_link, turn, deadline)
    key_type, blob = _agree_on_keys(session, target, user, keys)
    on_stage("connect", f"{target.address} port {target.port}")
    if note := keys.check(target, key_type, blob):
        log.info("%s", note)
    on_stage("host key", f"{key_type} {fingerprint(blob)}")
    session.stream.until = deadline
    on_stage("authenticate", authenticate(session, target, user, files, deadline))
    turn.done()
    return session


def current_user() -> str:
    """Returns the name of the user who runs this; raises `TransportError` where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as e:  # which of them depends on the Python
        reason = "no user is named, and this process's own number has no name"
        raise TransportError("authenticate", reason, hint=rerun_hint("-u", "USER")) from e


def _greeted(
    stack: contextlib.ExitStack,
    target: SshTarget,
    user: str,
    open_link: OpenLink,
    turn: LoginSlot,
    deadline: Deadline,
) -> Session:
    """Returns a session that has greeted, its link to be closed by `stack`; waits for the turn
    before each try.
    """
    while True:
        if not turn.wait(deadline):
            reason = (
                f"other connections to {target.address} port {target.port} took all of the time to"
                " log in"
            )
            raise TransportError(
                "connect", reason, hint=rerun_hint("--host-deadline", "600"), kind="timed out"
            )
        with contextlib.ExitStack() as this_try:
            link = open_link(ssh_command_line(target, user))
            this_try.callback(link.close)
            try:
                session = Session(link, target.ssh_config)
                _greet(session, target, user, deadline)
            except TransportError as e:
                this_try.close()
                if not (e.transient and turn.dropped(deadline)):
                    raise
                log.info("%s port %d: %s; trying again", target.address, target.port, e.reason)
                continue
            stack.push(this_try.pop_all())
            return session


def _greet(session: Session, target: SshTarget, user: str, deadline: Deadline) -> None:
    limit = min(deadline.remaining(), target.connect_timeout_s)
    session.stream.until = deadline.within(target.connect_timeout_s)
    try:
        session.greet()
    except LinkError as e:
        reason = {
            "late": f"the port is open, but no SSH greeting came within {limit:.3g} s{e.text}",
            # sshd's MaxStartups and PerSourcePenalties, a full process table, tcp wrappers
            "dropped": (
                f"the host hung up before its SSH greeting ({e.text}): it may have too many"
                " connections"
            ),
            "disconnected": f"the way there broke off before the SSH greeting ({e.text})",
            "proxy": e.text,
        }.get(e.kind, f"what answers on port {target.port} does not speak SSH: {e.text}")
        kind = _KINDS.get(e.kind, "not an SSH server")
        hint = ssh_command_line(target, user)
        raise TransportError(
            "connect", reason, hint=hint, kind=kind, transient=e.kind == "dropped"
        ) from e


def _agree_on_keys(
    session: Session, target: SshTarget, user: str, keys: HostKeys
) -> tuple[str, bytes]:
    try:
        return session.agree_on_keys(keys.algorithms(target))
    except LinkError as e:
        reason = {
            "late": "the host stalled in the key exchange",
            "dropped": f"the host hung up in the key exchange ({e.text})",
            "disconnected": f"the host ended the key exchange{quote_line(e.text, ': ')}",
            "proxy": f"the connection broke off in the key exchange: {e.text}",
        }.get(e.kind, f"no key exchange is possible: {e.text}")
        kind = _KINDS.get(e.kind, "no common algorithm")
        hint = ssh_command_line(target, user, "-v")
        raise TransportError(
            "connect", reason, hint=hint, kind=kind, transient=e.kind == "dropped"
        ) from e
