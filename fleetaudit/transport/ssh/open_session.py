"""Opens a session with one hop: a link to it, its greeting, its keys, the check of its host key,
the login.

Rules: every failure is a `TransportError` at the stage where it happened; transient only before the
host had a chance to judge a key. What is opened here is closed by the caller's stack.
"""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Callable
from dataclasses import dataclass

from fleetaudit.errors import FailureKind, TransportError, rerun_hint
from fleetaudit.log import get_logger
from fleetaudit.model import SshTarget
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import StageListener
from fleetaudit.transport.base import Execution, SharedState
from fleetaudit.transport.host_keys import HostKeys
from fleetaudit.transport.known_hosts import fingerprint
from fleetaudit.transport.login_limiter import LoginSlot
from fleetaudit.transport.ssh_command import ssh_command_line
from fleetaudit.transport.ssh_options import config_of

from .authenticate import authenticate
from .key_files import read_key_files
from .link import Link, LinkError, LinkErrorKind
from .session import Session

log = get_logger(__name__)

_KINDS: dict[LinkErrorKind, FailureKind] = {
    "late": "timed out",
    "dropped": "hung up",
    "disconnected": "hung up",
    "proxy": "ProxyCommand failed",
}

OpenLink = Callable[[str], Link]
"""Opens a link to the hop, given the command to type if that fails; raises `TransportError`."""


@dataclass(frozen=True, slots=True)
class HopOpener:
    """Opens sessions that `stack` closes."""

    stack: contextlib.ExitStack
    shared: SharedState
    execution: Execution
    on_stage: StageListener

    def open(self, target: SshTarget, open_link: OpenLink) -> Session:
        """Returns a session that is logged in; raises `TransportError`."""
        host_keys, deadline = self.shared.host_keys, self.execution.deadline
        # Before a slot is taken: waiting for a file must not make other hosts wait.
        host_keys.read(target, deadline)
        files = read_key_files(target, deadline)
        user = target.user or current_user()
        slot = self.shared.login_limiter.slot(target.address, target.port)
        self.stack.callback(slot.release)
        session = self._greeted(target, user, open_link, slot)
        key_type, blob = _agree_on_keys(session, target, user, host_keys)
        self.on_stage("connect", f"{target.address} port {target.port}")
        if note := host_keys.check(target, key_type, blob):
            log.info("%s", note)
        unchecked = ", not checked" if target.host_key_policy == "off" else ""
        self.on_stage("host key", f"{key_type} {fingerprint(blob)}{unchecked}")
        session.stream.until = deadline
        self.on_stage("authenticate", authenticate(session, target, user, files, deadline))
        slot.release()
        return session

    def _greeted(
        self, target: SshTarget, user: str, open_link: OpenLink, slot: LoginSlot
    ) -> Session:
        """Returns a session after the greetings; waits for the slot before each try."""
        deadline = self.execution.deadline
        while True:
            if not slot.acquire(deadline):
                raise TransportError(
                    "connect",
                    f"other connections to {target.address} port {target.port} used up the time"
                    f" to log"
                    " in",
                    hint=rerun_hint("--host-deadline", "600"),
                    kind="timed out",
                )
            with contextlib.ExitStack() as this_try:
                link = open_link(ssh_command_line(target, user))
                this_try.callback(link.close)
                try:
                    session = Session(link, config_of(target))
                    self._greet(session, target, user)
                except TransportError as e:
                    this_try.close()
                    if not e.transient or not slot.retry_after_drop(deadline):
                        raise
                    log.info("%s port %d: %s; trying again", target.address, target.port, e.reason)
                    continue
                self.stack.push(this_try.pop_all())
                return session

    def _greet(self, session: Session, target: SshTarget, user: str) -> None:
        """Exchanges the greetings; raises `TransportError`."""
        deadline = self.execution.deadline
        limit = min(deadline.remaining(), target.connect_timeout_s)
        session.stream.until = deadline.within(target.connect_timeout_s)
        try:
            session.greet()
        except LinkError as e:
            reasons = {
                "late": f"the port is open, but no SSH greeting came within {limit:.3g} s{e.text}",
                # MaxStartups and PerSourcePenalties of sshd, a full process table, TCP wrappers.
                "dropped": (
                    f"the host hung up before its SSH greeting ({e.text}): it may have too many"
                    " connections"
                ),
                "disconnected": f"the connection broke off before the SSH greeting ({e.text})",
                "proxy": e.text,
            }
            not_ssh = f"the server on port {target.port} does not speak SSH: {e.text}"
            raise TransportError(
                "connect",
                reasons.get(e.kind, not_ssh),
                hint=ssh_command_line(target, user),
                kind=_KINDS.get(e.kind, "not an SSH server"),
                transient=e.kind == "dropped",
            ) from e


def current_user() -> str:
    """Returns the name of the user who runs this; raises `TransportError` if there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as e:  # which of them depends on the version of Python
        reason = "no user is named, and the user number of this process has no name"
        raise TransportError("authenticate", reason, hint=rerun_hint("-u", "USER")) from e


def _agree_on_keys(
    session: Session, target: SshTarget, user: str, host_keys: HostKeys
) -> tuple[str, bytes]:
    """Returns the type and blob of the host key; raises `TransportError`."""
    try:
        return session.agree_on_keys(host_keys.algorithms(target))
    except LinkError as e:
        reasons = {
            "late": "the host stalled in the key exchange",
            "dropped": f"the host hung up in the key exchange ({e.text})",
            "disconnected": f"the host ended the key exchange{quote_line(e.text, ': ')}",
            "proxy": f"the connection broke off in the key exchange: {e.text}",
        }
        raise TransportError(
            "connect",
            reasons.get(e.kind, f"no key exchange is possible: {e.text}"),
            hint=ssh_command_line(target, user, "-v"),
            kind=_KINDS.get(e.kind, "no common algorithm"),
            transient=e.kind == "dropped",
        ) from e
