"""Authentication by public key (RFC 4252), then by password (also RFC 4256), with no more attempts
than needed.

Rules: what was refused is never tried again and never transient: accounts get locked. A single key
signs at once, and so does a key of a file whose signature costs less than a round trip. Of several
others, each is offered first and only an accepted one signs, so that a key that needs a touch or a
confirmation asks for it only if it is of use.

The request for the service and the first of the login leave in one write with our NEWKEYS: a
signature needs nothing but the session's identifier. Which signatures the host accepts
(server-sig-algs) is known by then, if it came right after the host's key, as OpenSSH sends it. If
it did not, only an RSA key waits for it, until the host accepts the service; a key of any other
type has one signature alone, which the host takes or refuses.

The order is that of ssh(1): publickey, keyboard-interactive, password. A password is sent once;
a second time only if the first was accepted and the host requires the other method, too.
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
from .message_errors import message_name
from .session import Session

_CERTIFICATE = "-cert-v01@openssh.com"
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")  # RFC 8332; SHA-1 is refused by all recent hosts
_MAX_NAMED = 8  # keys that a reason names
_KEYS_BEFORE_PASSWORD = 3
"""How many keys are offered before a password: sshd's MaxAuthTries, 6 or less, counts both."""
_PROOF_NAMES = {"password": "the password"}  # every other proof is the label of a key
_METHOD_MESSAGE = MSG_USERAUTH_PK_OK
"""60, whose meaning depends on the method: PK_OK, INFO_REQUEST, PASSWD_CHANGEREQ."""


@dataclass(slots=True)
class UserAuth:
    """One attempt to log in over one session (RFC 4252).

    `offered` are the labels of the keys that the host was offered, `problems` why others were not
    or did not sign, `banner` its messages before the login (at most 4 KiB), `methods` the methods
    that it accepts, comma-separated as it sent them, "" before its first refusal. `proofs` are what
    it accepted, in order: labels of keys, or "password".
    """

    session: Session
    user: str
    deadline: Deadline
    offered: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    banner: bytes = b""
    methods: str = ""
    proofs: list[str] = field(default_factory=list)
    _answers: PasswordAnswers | None = None
    _service_accepted: bool = False
    _partial_success: bool = False

    def run(
        self,
        keys: tuple[Identity, ...],
        password: Secret | None = None,
        password_methods: tuple[str, ...] = ("keyboard-interactive", "password"),
    ) -> None:
        """Returns once the user is logged in.

        `keys` are offered in their order, at most `_KEYS_BEFORE_PASSWORD` if there is a password.
        `password_methods` are the methods for the password, most preferred first. Raises
        `LoginRefused` if the host lets nobody in with them, `LinkError` for a connection that broke
        off or a message that does not belong to a login.
        """
        if password:
            self._answers = PasswordAnswers(self.user, password)
        self.session.take_arrived()
        self.session.send(_message(MSG_SERVICE_REQUEST).add_string("ssh-userauth"))
        if not keys and self._needs_no_proof():
            return
        keys_left = self._keys_to_offer(keys)
        methods_left = list(password_methods)
        sign_at_once = len(keys_left) == 1 and not keys_left[0].type.startswith("sk-")
        accepted_before = -1
        while accepted_before < len(self.proofs):
            accepted_before = len(self.proofs)
            if self._by_keys(keys_left, sign_at_once=sign_at_once):
                return
            if self._by_password(methods_left):
                return
        raise LoginRefused(self._why())

    def _keys_to_offer(self, keys: tuple[Identity, ...]) -> list[Identity]:
        """Returns the keys to offer, fewer of them before a password."""
        surplus = len(keys) - _KEYS_BEFORE_PASSWORD
        if not self._answers or surplus <= 0:
            return list(keys)
        self.problems.append(f"{surplus} more were not, to leave an attempt for the password")
        return list(keys[:_KEYS_BEFORE_PASSWORD])

    def _why(self) -> str:
        """Returns why the host accepts no login, "" if its methods show it."""
        if self.proofs:
            accepted = _name_proofs(self.proofs)
            return f"{accepted} right, but the host also requires {self.methods}"
        if not self._answers:
            return ""
        return f"the host takes no password (it accepts {self.methods or 'nothing'})"

    def _accepts(self, method: str) -> bool:
        """Returns whether the host accepts a method; it names them with its first refusal."""
        return method in self.methods.split(",")

    def _may_accept(self, method: str) -> bool:
        """Returns whether the host accepts a method, or has not named any yet."""
        return not self.methods or self._accepts(method)

    # -- keys

    def _by_keys(self, keys: list[Identity], *, sign_at_once: bool) -> bool:
        """Returns whether a key logs the user in; removes those that the host has judged.

        A key stays in `keys` only if the host accepts no key now. Those whose type the host does
        not accept are a problem that the reason of a refusal names.
        """
        while keys and self._may_accept("publickey"):
            key = keys[0]
            algorithm = self._algorithm(key.type)
            if not algorithm:
                self.problems.append(f"{key.label}: the host accepts no {key.type} keys")
                del keys[0]
                continue
            self.offered = [*dict.fromkeys((*self.offered, key.label))]
            accepted_before = len(self.proofs)
            if self._try_key(key, algorithm, sign_at_once=sign_at_once or key.signs_quickly):
                return True
            # A host that accepts no key now, but perhaps after a password, has not judged this one.
            accepted = len(self.proofs) > accepted_before
            if accepted or self._may_accept("publickey"):
                del keys[0]
        return False

    def _algorithm(self, key_type: str) -> str:
        """Returns the signature algorithm for a key of this type, "" if the host accepts none.

        For an ssh-rsa key the first of `_RSA_SIGNATURES` that it accepts; the ending of a
        certificate's type stays: ssh-rsa-cert-v01@openssh.com gives
        rsa-sha2-512-cert-v01@openssh.com.
        """
        plain = key_type.removesuffix(_CERTIFICATE)  # hosts list what signs: a certificate does not
        algorithms: tuple[str, ...] = (plain,)
        if plain == "ssh-rsa":
            algorithms = _RSA_SIGNATURES
            if self.session.signature_algorithms is None:
                self._await_service()  # before its acceptance, the host names the signatures
        accepted = next(filter(self.session.accepts_signature, algorithms), "")
        if not accepted:
            return ""
        return accepted + key_type.removeprefix(plain)

    def _try_key(self, key: Identity, algorithm: str, *, sign_at_once: bool) -> bool:
        """Returns whether one key logs the user in.

        An agent that does not sign is one of the `problems`, and the next key is tried.
        """
        fields = Message().add_string(algorithm).add_string(key.blob).asbytes()
        if not sign_at_once:
            answer = self._request("publickey", b"\0" + fields)  # RFC 4252, section 7: a query
            if answer != MSG_USERAUTH_PK_OK:
                return self._logged_in(answer, key.label)
        try:
            signature = key.sign(self._signed_data(fields), algorithm, self.deadline)
        except AgentError as e:
            self.problems.append(f"{key.label}: {e}")
            return False
        signed = b"\1" + fields + Message().add_string(signature).asbytes()
        return self._logged_in(self._request("publickey", signed), key.label)

    def _signed_data(self, fields: bytes) -> bytes:
        """Returns what a signature covers (RFC 4252, section 7)."""
        message = Message().add_string(self.session.id)
        message.add_byte(bytes([MSG_USERAUTH_REQUEST])).add_string(self.user)
        message.add_string("ssh-connection").add_string("publickey")
        return message.add_bytes(b"\1" + fields).asbytes()

    # -- password

    def _by_password(self, methods: list[str]) -> bool:
        """Returns whether the password logs the user in; removes the `methods` that were tried.

        False without a password, and if the host wants one more proof. Raises the refusal of the
        host once it has seen the password: it is sent once.
        """
        answers = self._answers
        if not answers:
            return False
        # If no key could be offered, the host has not named its methods yet.
        if not self.methods and self._needs_no_proof():
            return True
        answers.sent = False  # a password that was sent before was accepted
        for method in filter(self._accepts, tuple(methods)):
            methods.remove(method)
            accepted_before = len(self.proofs)
            if self._logged_in(self._send_password(method, answers), "password"):
                return True
            if len(self.proofs) > accepted_before:
                return False
            if answers.sent:
                raise answers.refusal()
        return False

    def _send_password(self, method: str, answers: PasswordAnswers) -> int:
        """Sends the password by a method; returns the number of the answer."""
        if method == "keyboard-interactive":
            return self._interactive(answers)
        return self._plain(answers)

    def _plain(self, answers: PasswordAnswers) -> int:
        """Sends the password by the method "password"; returns the number of the answer.

        Raises `LoginRefused` ("password expired") if the host asks for a new one.
        """
        password = Message().add_string(answers.encoded()).asbytes()
        answer = self._request("password", b"\0" + password)
        if answer == _METHOD_MESSAGE:
            reason = f"the password of {self.user} has expired: the host asks for a new one"
            raise LoginRefused(reason, "password expired")
        return answer

    def _interactive(self, answers: PasswordAnswers) -> int:
        """Answers the questions of the method "keyboard-interactive" (RFC 4256, section 3).

        Returns the number of the answer that ends the questions. The host may ask any number of
        times, within the deadline of the session; the password is in one reply at most.
        """
        answers.start()
        self._send("keyboard-interactive", Message().add_string("").add_string("").asbytes())
        while True:
            answer, message = self._answer()
            if answer != _METHOD_MESSAGE:
                return answer
            reply = answers.answer(message)
            self.session.send(_message(MSG_USERAUTH_INFO_RESPONSE).add_bytes(reply.asbytes()))

    # -- messages

    def _needs_no_proof(self) -> bool:
        """Returns whether the host lets the user in without a proof, by the method "none".

        Most hosts refuse it, and name the methods that they accept (RFC 4252, section 5.2).
        """
        return self._request("none", b"") == MSG_USERAUTH_SUCCESS

    def _request(self, method: str, rest: bytes) -> int:
        """Sends one request; returns the number of the answer: success, failure, or 60."""
        self._send(method, rest)
        return self._answer()[0]

    def _send(self, method: str, rest: bytes) -> None:
        """Sends one request of a method."""
        request = _message(MSG_USERAUTH_REQUEST).add_string(self.user)
        request.add_string("ssh-connection").add_string(method)
        self.session.send(request.add_bytes(rest))

    def _answer(self) -> tuple[int, Message]:
        """Returns the next answer: its number and its fields.

        A refusal (RFC 4252, section 5.1) also names the methods that the host accepts from now on.
        """
        while True:
            ptype, message = self._receive()
            if ptype in (MSG_USERAUTH_SUCCESS, _METHOD_MESSAGE):
                return ptype, message
            if ptype == MSG_USERAUTH_FAILURE:
                self.methods = printable_line(message.get_binary(), 100)
                self._partial_success = message.get_boolean()
                return ptype, message

    def _logged_in(self, answer: int, proof: str) -> bool:
        """Returns whether the answer logs the user in; remembers a proof that the host accepted."""
        accepted = answer == MSG_USERAUTH_SUCCESS
        if accepted or self._is_partial_success(answer):
            self.proofs.append(proof)
        return accepted

    def _is_partial_success(self, answer: int) -> bool:
        """Returns whether the host accepted the proof, but requires more proof (RFC 4252, 5.1)."""
        return answer == MSG_USERAUTH_FAILURE and self._partial_success

    def _await_service(self) -> None:
        """Waits until the host accepts our request for the service."""
        while not self._service_accepted:
            self._receive()

    def _receive(self) -> tuple[int, Message]:
        """Returns the next message of the login; raises `LinkError` for others."""
        ptype, message = self.session.receive()
        if ptype == MSG_USERAUTH_BANNER:
            self._add_banner(message.get_binary())
        elif ptype == MSG_SERVICE_ACCEPT:
            self._service_accepted = True
        elif ptype not in (MSG_USERAUTH_SUCCESS, _METHOD_MESSAGE, MSG_USERAUTH_FAILURE):
            raise LinkError("garbled", f"{message_name(ptype)} came during the login")
        return ptype, message

    def _add_banner(self, text: bytes) -> None:
        """Keeps a message of the host, up to 4096 bytes of all messages together."""
        self.banner = (self.banner + text)[:4096]
        if self._answers:
            self._answers.add_message(text)

    # -- for a reason

    def summary(self) -> str:
        """Returns what was offered, what the host accepts, and its messages.

        One line, sanitized, its parts separated by semicolons; a part that is empty is left out.
        """
        parts = [self._offered_keys(), *self.problems]
        if self.methods:
            parts.append(f"it accepts {self.methods}")
        parts.append(quote_line(self.messages, "it printed "))
        return "; ".join(filter(None, parts))

    def _offered_keys(self) -> str:
        """Returns the first keys that were offered, "" for none."""
        if not self.offered:
            return ""
        named = f"keys offered: {', '.join(self.offered[:_MAX_NAMED])}"
        hidden = len(self.offered) - _MAX_NAMED
        if hidden <= 0:
            return named
        return f"{named} and {hidden} more"

    @property
    def messages(self) -> str:
        """The host's messages during the login, as one sanitized line.

        They are its banner (RFC 4252, section 5.4) and, for a login by password, the texts of
        keyboard-interactive as well.
        """
        if self._answers:
            return self._answers.messages
        return printable_line(self.banner, 2000)


def _name_proofs(proofs: list[str]) -> str:
    """Returns the subject and the verb of a sentence about what the host accepted.

    "the key is", or "the key and the password are".
    """
    names = [_PROOF_NAMES.get(proof, "the key") for proof in proofs]
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{' and '.join(names)} are"


def _message(number: int) -> Message:
    """Returns the beginning of a message."""
    return Message().add_byte(bytes([number]))
