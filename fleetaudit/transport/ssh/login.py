"""Authentication by public key (RFC 4252), with no more attempts than needed.

Rules: a refused key is never tried again and never transient: accounts get locked. One key alone is signed with at
once; of several, each is shown first and only an accepted one signs, so that a key that wants a touch or a
confirmation asks for it only where it is of use. No password.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from paramiko import Message
from paramiko.common import (
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_PK_OK,
    MSG_USERAUTH_REQUEST,
    MSG_USERAUTH_SUCCESS,
)

from .. import Deadline
from ..words import clean, quoted
from .agent import AgentError
from .identities import Identity
from .session import Session
from .stream import Broken

_CERTIFICATE = "-cert-v01@openssh.com"
_SHOWN = 8  # keys that a reason names


class Refused(Exception):
    """The host does not let this user in; the text is the reason."""


@dataclass(slots=True)
class Login:
    """One attempt to log in over one session."""

    session: Session
    user: str
    deadline: Deadline
    offered: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    banner: bytes = b""
    methods: str = ""
    _asked: bool = False

    def run(self, keys: tuple[Identity, ...]) -> None:
        """Returns once the user is logged in; raises `Refused` or `Broken`."""
        self.session.send(_message(MSG_SERVICE_REQUEST).add_string("ssh-userauth"))
        if not keys:
            # Some hosts let a user in without (RFC 4252, section 5.2); the others tell what they would take.
            if self._ask("none", b"") != MSG_USERAUTH_SUCCESS:
                raise Refused("")
            return
        alone = len(keys) == 1 and not keys[0].type.startswith("sk-")
        for key in keys:
            if key.type.startswith("ssh-rsa"):
                self._await_service()  # which of the RSA signatures the host takes is said before the acceptance
            algorithm = self._algorithm(key.type)
            if not algorithm:
                self.problems.append(f"{key.label}: the host accepts no {key.type} keys")
                continue
            self.offered.append(key.label)
            if self._try(key, algorithm, at_once=alone):
                return
        raise Refused("")

    # -- one key ---------------------------------------------------------------------------------------------------

    def _algorithm(self, key_type: str) -> str:
        """Returns the signature algorithm for a key of this type, "" where the host takes none."""
        accepted = self.session.signature_algorithms
        if not key_type.startswith("ssh-rsa"):
            plain = key_type.removesuffix(_CERTIFICATE)  # hosts list what signs, and a certificate does not
            return key_type if accepted is None or plain in accepted else ""
        suffix = _CERTIFICATE if key_type.endswith(_CERTIFICATE) else ""
        # RFC 8332; SHA-1 signatures are refused by every host of the last years, and by us.
        return next((a + suffix for a in ("rsa-sha2-512", "rsa-sha2-256") if accepted is None or a in accepted), "")

    def _try(self, key: Identity, algorithm: str, *, at_once: bool) -> bool:
        what = Message().add_string(algorithm).add_string(key.blob).asbytes()
        if not at_once and (answer := self._ask("publickey", b"\0" + what)) != MSG_USERAUTH_PK_OK:
            return answer == MSG_USERAUTH_SUCCESS
        signed = (
            Message()
            .add_string(self.session.id)
            .add_byte(bytes([MSG_USERAUTH_REQUEST]))
            .add_string(self.user)
            .add_string("ssh-connection")
            .add_string("publickey")
            .add_bytes(b"\1" + what)
        )
        try:
            signature = key.sign(signed.asbytes(), algorithm, self.deadline)
        except AgentError as e:
            self.problems.append(f"{key.label}: {e}")
            return False
        answer = self._ask("publickey", b"\1" + what + Message().add_string(signature).asbytes())
        return answer == MSG_USERAUTH_SUCCESS

    def _ask(self, method: str, rest: bytes) -> int:
        """Sends one request; returns the number of the answer: success, failure, or that a shown key would do."""
        request = _message(MSG_USERAUTH_REQUEST).add_string(self.user).add_string("ssh-connection").add_string(method)
        self.session.send(request.add_bytes(rest))
        while True:
            ptype, message = self._receive()
            if ptype in (MSG_USERAUTH_SUCCESS, MSG_USERAUTH_PK_OK):
                return ptype
            if ptype == MSG_USERAUTH_FAILURE:
                self.methods = clean(message.get_binary(), 100)
                if message.get_boolean():
                    raise Refused(f"the key is right, but the host also wants {self.methods}")
                return ptype

    def _await_service(self) -> None:
        while not self._asked:
            self._receive()

    def _receive(self) -> tuple[int, Message]:
        ptype, message = self.session.receive()
        if ptype == MSG_USERAUTH_BANNER:
            self.banner = (self.banner + message.get_binary())[:4096]
        elif ptype == MSG_SERVICE_ACCEPT:
            self._asked = True
        elif ptype not in (MSG_USERAUTH_SUCCESS, MSG_USERAUTH_PK_OK, MSG_USERAUTH_FAILURE):
            raise Broken("garbled", f"message {ptype} in the middle of the login")
        return ptype, message

    # -- words -----------------------------------------------------------------------------------------------------

    def story(self) -> str:
        """Returns what was offered, what the host would take, and what it said."""
        more = f" and {len(self.offered) - _SHOWN} more" if len(self.offered) > _SHOWN else ""
        parts = [f"keys offered: {', '.join(self.offered[:_SHOWN])}{more}"] if self.offered else []
        parts += self.problems
        parts += [f"it accepts {self.methods}"] if self.methods else []
        parts += [quoted(self.banner, "it said ")] if self.banner else []
        return "; ".join(parts)


def _message(number: int) -> Message:
    return Message().add_byte(bytes([number]))
