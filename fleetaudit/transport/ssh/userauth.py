"""Authentication by public key (RFC 4252), then by password (also RFC 4256), with no more attempts
than needed.

Rules: what was refused is never tried again and never transient: accounts get locked. One key alone
is signed with at once; of several, each is shown first and only an accepted one signs, so that a
key that wants a touch or a confirmation asks for it only where it is of use. Order is as in ssh(1):
publickey, keyboard-interactive, password. A password is sent once; a second time only where the
first was right and the host wants it by the other method, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from paramiko import Message
from paramiko.common import (
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_INFO_RESPONSE,
    MSG_USERAUTH_PK_OK,
    MSG_USERAUTH_REQUEST,
    MSG_USERAUTH_SUCCESS,
)

from fleetaudit.model import Secret
from fleetaudit.text.sanitize import printable_line, quote_line
from fleetaudit.transport import Deadline

from .agent import AgentError
from .identities import Identity
from .keyboard_interactive import LoginRefused, PasswordAnswers
from .link import LinkError
from .session import Session

_CERTIFICATE = "-cert-v01@openssh.com"
_SHOWN = 8  # keys that a reason names
_BEFORE_PASSWORD = 3
"""How many keys are offered where a password comes after them: sshd's MaxAuthTries, 6 or less,
counts both.
"""
_ASKS = MSG_USERAUTH_PK_OK
"""60, which is a word of each method's own: PK_OK, INFO_REQUEST, PASSWD_CHANGEREQ."""


@dataclass(slots=True)
class UserAuth:
    """One attempt to log in over one session."""

    session: Session
    user: str
    deadline: Deadline
    offered: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    banner: bytes = b""
    methods: str = ""
    proofs: list[str] = field(default_factory=list)
    """By what the user was let in, or in part, in order."""
    _answers: PasswordAnswers | None = None
    _asked: bool = False
    _partly: bool = False

    def run(
        self,
        keys: tuple[Identity, ...],
        password: Secret | None = None,
        password_methods: tuple[str, ...] = ("keyboard-interactive", "password"),
    ) -> None:
        """Returns once the user is logged in; raises `LoginRefused` or `LinkError`."""
        if password:
            self._answers = PasswordAnswers(self.user, password)
        self.session.send(_message(MSG_SERVICE_REQUEST).add_string("ssh-userauth"))
        # Some hosts let a user in without a key (RFC 4252, section 5.2); the others tell what they
        # would take.
        if not keys and self._ask("none", b"") == MSG_USERAUTH_SUCCESS:
            return
        left = list(keys[:_BEFORE_PASSWORD] if password else keys)
        if len(left) < len(keys):
            self.problems.append(
                f"{len(keys) - len(left)} more were not, for the password to have its turn"
            )
        methods = list(password_methods) if password else []
        alone = len(left) == 1 and not left[0].type.startswith("sk-")
        while True:
            before = len(self.proofs)
            if self._by_keys(left, alone=alone) or (
                self._answers and self._by_password(self._answers, methods)
            ):
                return
            if len(self.proofs) == before:
                raise LoginRefused(self._why())

    def _why(self) -> str:
        if self.proofs:
            right = " and ".join(
                "the password" if proof == "password" else "the key" for proof in self.proofs
            )
            return (
                f"{right} {'is' if len(self.proofs) == 1 else 'are'} right, but the host also wants"
                f" {self.methods}"
            )
        return (
            ""
            if not self._answers
            else f"the host takes no password (it accepts {self.methods or 'nothing'})"
        )

    def _takes(self, method: str) -> bool:
        """Tells whether the host takes a method as far as it has said; it says so with its first
        refusal.
        """
        return method in self.methods.split(",")

    # -- keys
    # ------------------------------------------------------------------------------------------------------

    def _by_keys(self, left: list[Identity], *, alone: bool) -> bool:
        """Returns whether the user is in by one of the keys `left`, which loses those that the host
        has judged.
        """
        while left and (not self.methods or self._takes("publickey")):
            key = left[0]
            if key.type.startswith("ssh-rsa"):
                # which of the RSA signatures the host takes is said before the acceptance
                self._await_service()
            algorithm = self._algorithm(key.type)
            if not algorithm:
                self.problems.append(f"{key.label}: the host accepts no {key.type} keys")
                del left[0]
                continue
            if key.label not in self.offered:
                self.offered.append(key.label)
            parts = len(self.proofs)
            if self._try(key, algorithm, at_once=alone):
                return True
            if len(self.proofs) > parts or self._takes("publickey") or not self.methods:
                del left[
                    0
                ]  # else it takes no keys now, and perhaps after a password: it has not judged this one
        return False

    def _algorithm(self, key_type: str) -> str:
        """Returns the signature algorithm for a key of this type, "" where the host takes none."""
        accepted = self.session.signature_algorithms
        if not key_type.startswith("ssh-rsa"):
            plain = key_type.removesuffix(
                _CERTIFICATE
            )  # hosts list what signs, and a certificate does not
            return key_type if accepted is None or plain in accepted else ""
        suffix = _CERTIFICATE if key_type.endswith(_CERTIFICATE) else ""
        # RFC 8332; SHA-1 signatures are refused by every host of the last years, and by us.
        return next(
            (
                a + suffix
                for a in ("rsa-sha2-512", "rsa-sha2-256")
                if accepted is None or a in accepted
            ),
            "",
        )

    def _try(self, key: Identity, algorithm: str, *, at_once: bool) -> bool:
        what = Message().add_string(algorithm).add_string(key.blob).asbytes()
        if not at_once and (answer := self._ask("publickey", b"\0" + what)) != MSG_USERAUTH_PK_OK:
            return self._in(answer, key.label)
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
        return self._in(answer, key.label)

    # -- password
    # --------------------------------------------------------------------------------------------------

    def _by_password(self, answers: PasswordAnswers, methods: list[str]) -> bool:
        """Returns whether the user is in by the password; `methods` loses those that were tried."""
        if not self.methods and self._ask("none", b"") == MSG_USERAUTH_SUCCESS:
            return True  # no key could be offered, and so the host has not said anything yet
        answers.sent = False  # what was sent before was right
        for method in tuple(methods):
            if not self._takes(method):
                continue
            methods.remove(method)
            answer = (
                self._interactive(answers)
                if method == "keyboard-interactive"
                else self._plain(answers)
            )
            parts = len(self.proofs)
            if self._in(answer, "password"):
                return True
            if len(self.proofs) > parts:
                return False
            if answers.sent:
                raise answers.verdict()
        return False

    def _plain(self, answers: PasswordAnswers) -> int:
        answers.sent = True
        answer = self._ask("password", b"\0" + Message().add_string(answers.encoded()).asbytes())
        if answer == _ASKS:
            raise LoginRefused(
                f"the password of {self.user} has expired: the host asks for a new one",
                "password expired",
            )
        return answer

    def _interactive(self, answers: PasswordAnswers) -> int:
        answers.begin()
        self._send("keyboard-interactive", Message().add_string("").add_string("").asbytes())
        while True:
            answer, message = self._answer()
            if answer != _ASKS:
                return answer
            reply = answers.answer(message)
            self.session.send(_message(MSG_USERAUTH_INFO_RESPONSE).add_bytes(reply.asbytes()))

    # -- messages
    # --------------------------------------------------------------------------------------------------

    def _ask(self, method: str, rest: bytes) -> int:
        """Sends one request; returns the number of the answer: success, failure, or 60."""
        self._send(method, rest)
        return self._answer()[0]

    def _send(self, method: str, rest: bytes) -> None:
        request = (
            _message(MSG_USERAUTH_REQUEST)
            .add_string(self.user)
            .add_string("ssh-connection")
            .add_string(method)
        )
        self.session.send(request.add_bytes(rest))

    def _answer(self) -> tuple[int, Message]:
        while True:
            ptype, message = self._receive()
            if ptype in (MSG_USERAUTH_SUCCESS, _ASKS):
                return ptype, message
            if ptype == MSG_USERAUTH_FAILURE:
                self.methods = printable_line(message.get_binary(), 100)
                self._partly = message.get_boolean()
                return ptype, message

    def _in(self, answer: int, by: str) -> bool:
        """Returns whether the answer lets the user in by this proof; one that was right in part is
        noted.
        """
        if answer == MSG_USERAUTH_SUCCESS or (answer == MSG_USERAUTH_FAILURE and self._partly):
            self.proofs.append(by)
        return answer == MSG_USERAUTH_SUCCESS

    def _await_service(self) -> None:
        while not self._asked:
            self._receive()

    def _receive(self) -> tuple[int, Message]:
        ptype, message = self.session.receive()
        if ptype == MSG_USERAUTH_BANNER:
            said = message.get_binary()
            self.banner = (self.banner + said)[:4096]
            if self._answers:
                self._answers.hear(said)
        elif ptype == MSG_SERVICE_ACCEPT:
            self._asked = True
        elif ptype not in (MSG_USERAUTH_SUCCESS, _ASKS, MSG_USERAUTH_FAILURE):
            raise LinkError("garbled", f"message {ptype} in the middle of the login")
        return ptype, message

    # -- words
    # -----------------------------------------------------------------------------------------------------

    def story(self) -> str:
        """Returns what was offered, what the host would take, and what it said."""
        more = f" and {len(self.offered) - _SHOWN} more" if len(self.offered) > _SHOWN else ""
        parts = [f"keys offered: {', '.join(self.offered[:_SHOWN])}{more}"] if self.offered else []
        parts += self.problems
        parts += [f"it accepts {self.methods}"] if self.methods else []
        parts += [quote_line(self.said, "it said ")] if self.said else []
        return "; ".join(parts)

    @property
    def said(self) -> str:
        """The host's messages during the login, as one sanitized line."""
        return self._answers.said if self._answers else printable_line(self.banner, 2000)


def _message(number: int) -> Message:
    return Message().add_byte(bytes([number]))
