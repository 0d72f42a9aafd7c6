"""Opens a session with one hop: a link to it, its greeting, its keys, the check of its host key,
the login.

Rules: every failure is a `TransportError` at the stage where it happened; transient only before the
host had a chance to judge a key. What is opened here is closed by the caller's stack. Nothing of
the login leaves before the host's key was checked.
"""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from fleetaudit.errors import FailureKind, TransportError, rerun_hint
from fleetaudit.log import get_logger
from fleetaudit.model import SshTarget
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import StageListener
from fleetaudit.transport.base import Execution, SharedState
from fleetaudit.transport.host_certificates import HostCertificate
from fleetaudit.transport.host_key_errors import invalid_certificate, other_key
from fleetaudit.transport.known_hosts import fingerprint
from fleetaudit.transport.login_limiter import LoginSlot
from fleetaudit.transport.ssh_command import ssh_command_line
from fleetaudit.transport.ssh_fields import MalformedFieldsError
from fleetaudit.transport.ssh_options import config_of

from .authenticate import authenticate
from .ca_signature import read_certificate
from .key_files import read_key_files
from .link import Link, LinkError, LinkErrorKind
from .session import HostKey, Session

log = get_logger(__name__)

_KINDS: dict[LinkErrorKind, FailureKind] = {
    "late": "timed out",
    "dropped": "hung up",
    "disconnected": "hung up",
    "jump": "connection lost",
    "proxy": "ProxyCommand failed",
    "incompatible": "no common algorithm",
}

OpenLink = Callable[[str], Link]
"""Opens a link to the hop, given the command to type if that fails; raises `TransportError`."""


@dataclass(frozen=True, slots=True)
class _Hop:
    """What is opened: the target, the user who logs in, how to open a link, the slot for it."""

    target: SshTarget
    user: str
    open_link: OpenLink
    slot: LoginSlot


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A session that agreed on keys, and the key that the host showed; `stack` closes it early."""

    session: Session
    key: HostKey
    stack: contextlib.ExitStack


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
        files = read_key_files(target, self.shared.files, deadline)
        user = target.user or current_user()
        slot = self.shared.login_limiter.slot(target.address, target.port)
        self.stack.callback(slot.release)
        keyed = self._keyed(_Hop(target, user, open_link, slot))
        session = keyed.session
        self.on_stage("connect", f"{target.address} port {target.port}")
        self._check_host_key(target, keyed.key)
        session.stream.until = deadline
        self.on_stage("authenticate", authenticate(session, target, user, files, deadline))
        slot.release()
        return session

    def _check_host_key(self, target: SshTarget, key: HostKey) -> None:
        """Checks the key that a host showed; raises `TransportError`."""
        certificate = _certificate(target, key)
        note = self.shared.host_keys.check(target, key.key_type, key.blob, certificate)
        if note:
            log.info("%s", note)
        unchecked = ", not checked" if target.host_key_policy == "off" else ""
        self.on_stage("host key", f"{key.key_type} {fingerprint(key.blob)}{unchecked}")

    def _keyed(self, hop: _Hop) -> _Keyed:
        """Returns a session that agreed on keys.

        A host that showed another key than the known one is asked for that one by a second
        connection.
        """
        host_keys, target = self.shared.host_keys, hop.target
        keyed = self._agreed(hop, host_keys.likely_algorithms(target))
        key = keyed.key
        if not key.certificate and host_keys.needs_other_key(target, key.key_type, key.blob):
            keyed.stack.close()
            hop.slot.release()
            keyed = self._agreed(hop, host_keys.algorithms(target))
        return keyed

    def _agreed(self, hop: _Hop, preferred: Sequence[str]) -> _Keyed:
        """Opens a link and agrees on keys; waits for the slot before each try."""
        target, deadline = hop.target, self.execution.deadline
        while True:
            if not hop.slot.acquire(deadline):
                raise _no_slot(target)
            with contextlib.ExitStack() as this_try:
                link = hop.open_link(ssh_command_line(target, hop.user))
                this_try.callback(link.close)
                session = Session(link, config_of(target), partial(other_key, target))
                try:
                    self._greet(session, hop, preferred)
                except TransportError as e:
                    this_try.close()
                    if not e.transient or not hop.slot.retry_after_drop(deadline):
                        raise
                    log.info("%s port %d: %s; trying again", target.address, target.port, e.reason)
                    continue
                with _exchange_errors(target, hop.user):
                    key = session.agree_on_keys()
                opened = this_try.pop_all()
                self.stack.push(opened)
                return _Keyed(session, key, opened)

    def _greet(self, session: Session, hop: _Hop, preferred: Sequence[str]) -> None:
        """Sends our greeting and algorithms, and reads the host's greeting.

        Raises `TransportError`.
        """
        target, user, deadline = hop.target, hop.user, self.execution.deadline
        limit = min(deadline.remaining(), target.connect_timeout_s)
        session.stream.until = deadline.within(target.connect_timeout_s)
        with _exchange_errors(target, user):
            session.propose(preferred)
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
                "proxy": f"no SSH greeting came: {e.text}",
                "jump": f"no SSH greeting came: {e.text}",
            }
            not_ssh = f"the server on port {target.port} does not speak SSH: {e.text}"
            raise TransportError(
                "connect",
                reasons.get(e.kind, not_ssh),
                hint=ssh_command_line(target, user),
                kind=_kind(e, "not an SSH server"),
                transient=e.transient,
            ) from e


def _kind(error: LinkError, other: FailureKind) -> FailureKind:
    """Returns the kind of an error before the login, `other` if it is no end of the connection."""
    if error.transient:
        return "hung up"
    return _KINDS.get(error.kind, other)


def _certificate(target: SshTarget, key: HostKey) -> HostCertificate | None:
    """Returns the certificate that a host showed, None for none; raises `TransportError`."""
    if not key.certificate:
        return None
    try:
        return read_certificate(key.certificate)
    except MalformedFieldsError as e:
        raise invalid_certificate(target, str(e)) from e


def current_user() -> str:
    """Returns the name of the user who runs this; raises `TransportError` if there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as e:  # which of them depends on the version of Python
        reason = "no user is named, and the user number of this process has no name"
        raise TransportError("authenticate", reason, hint=rerun_hint("-u", "USER")) from e


def _no_slot(target: SshTarget) -> TransportError:
    """Returns the error of a connection for which no time was left."""
    return TransportError(
        "connect",
        f"other connections to {target.address} port {target.port} used up the time to log in",
        hint=rerun_hint("--host-deadline", "600"),
        kind="timed out",
    )


@contextlib.contextmanager
def _exchange_errors(target: SshTarget, user: str) -> Iterator[None]:
    """Turns an error of the key exchange into a `TransportError`."""
    try:
        yield
    except LinkError as e:
        reasons = {
            "late": f"the host stalled in the key exchange{e.text}",
            "jump": f"the connection broke off in the key exchange: {e.text}",
            "dropped": f"the host hung up in the key exchange ({e.text})",
            "disconnected": f"the host ended the key exchange{quote_line(e.text, ': ')}",
            "proxy": f"the connection broke off in the key exchange: {e.text}",
            "incompatible": f"no key exchange is possible: {e.text}",
            "flood": f"the host sent {e.text} in the key exchange",
        }
        raise TransportError(
            "connect",
            reasons.get(e.kind, f"the host's key exchange is not valid SSH: {e.text}"),
            hint=ssh_command_line(target, user, "-v"),
            kind=_kind(e, "protocol error"),
            transient=e.transient,
        ) from e
