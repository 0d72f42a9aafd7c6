"""Which questions of a host during keyboard-interactive authentication (RFC 4256) get the password.
No I/O.

Rules: the password answers one question of one kind: alone, not echoed, the first, and not about
something else. A reason names every other question, for a person to answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from paramiko import Message

from fleetaudit.errors import FailureKind
from fleetaudit.model import Secret
from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport.password_expiry import classify_expiry

_MAX_ROUNDS = 10  # of a host that sends messages without a question
_MAX_PROMPTS = 4  # that a reason names
_SOMETHING_ELSE = re.compile(
    r"(?i)verification|one.?time|second.factor|new"
    r" password|retype|\b(?:otp|totp|token|passcode|code|pin)\b"
)
_EXPIRED: dict[FailureKind, str] = {"account expired": "the account"}
_LOCKED = re.compile(
    r"(?i)account (?:is |has been |was |temporarily )*(?:locked|disabled|suspended)"
)


class LoginRefused(Exception):
    """The host does not let this user in; the text is the reason."""

    def __init__(self, reason: str, kind: FailureKind = "permission denied") -> None:
        self.kind: FailureKind = kind
        super().__init__(reason)


@dataclass(slots=True)
class PasswordAnswers:
    """The questions of one login.

    `sent` is True while the host has the password and has not accepted it. `messages` are what the
    host sent besides questions.
    """

    user: str
    password: Secret
    sent: bool = False
    messages: str = ""
    _answered: bool = False
    _rounds: int = 0
    _prompts: str = ""

    def start(self) -> None:
        """Begins a method by which the host has not asked yet."""
        self._answered, self._rounds = False, 0

    def answer(self, request: Message) -> Message:
        """Returns the fields of the answer to an INFO_REQUEST, from its fields.

        The password is the answer to the first question for one; a message without a question gets
        an empty answer (RFC 4256, sections 3.2 to 3.4). Raises `LoginRefused` for every other
        question, for several at once, and for messages without end.
        """
        for _ in ("name", "instruction"):
            self.add_message(request.get_binary())
        request.get_binary()  # a language
        count = request.get_int()
        prompts = _read_prompts(request, count)
        self._rounds += 1
        if self._rounds > _MAX_ROUNDS:
            raise LoginRefused(f"the host sends messages without end and asks {self.user} nothing")
        if count == 0:  # only messages: RFC 4256, section 3.4
            return Message().add_int(0)
        questions = ", ".join(f"“{printable_line(prompt)}”" for prompt, _ in prompts)
        self._prompts = printable_line(f"{self._prompts} {questions}", 2000)
        self._refuse_second_question(questions)
        if count > 1 or not prompts:
            raise LoginRefused(
                f"the host asks {questions or 'something'} at once, not for a password alone"
            )
        if not _asks_for_password(*prompts[0]):
            raise LoginRefused(f"the host asks {questions}, which is not answered with a password")
        self._answered = True
        return Message().add_int(1).add_string(self.encoded())

    def _refuse_second_question(self, questions: str) -> None:
        """Raises `LoginRefused` if the password was sent already."""
        if not self._answered:
            return
        if classify_expiry(f"{self.messages} {questions}") == "password expired":
            reason = f"the password of {self.user} has expired: the host asks {questions}"
            raise LoginRefused(reason, "password expired")
        raise LoginRefused(
            f"after the password of {self.user} the host asks {questions}, which only a person can"
            " answer"
        )

    def encoded(self) -> bytes:
        """Returns the password as it is sent to the host (RFC 4252, section 8: UTF-8).

        From now on `sent` is True.
        """
        self.sent = True
        return self.password.reveal().encode("utf-8", "surrogateescape")

    def add_message(self, text: bytes) -> None:
        """Remembers a message of the host, sanitized and up to a bound."""
        self.messages = printable_line(f"{self.messages} {printable_line(text, 1000)}", 2000)

    def refusal(self) -> LoginRefused:
        """Returns why a password that was sent was not enough, from the messages of the host.

        A locked account goes before an expired one or an expired password, and these before a plain
        refusal.
        """
        text = f"{self.messages} {self._prompts}"
        if _LOCKED.search(text):
            return LoginRefused(f"the account {self.user} is locked")
        if kind := classify_expiry(text):
            subject = _EXPIRED.get(kind, "the password of")
            return LoginRefused(f"{subject} {self.user} has expired", kind)
        return LoginRefused(
            f"the host refuses the password of {self.user}; it was sent once and is not sent again"
        )


def _read_prompts(request: Message, count: int) -> list[tuple[bytes, bool]]:
    """Returns the prompts that a reason can name, and whether the answer is echoed.

    `count` is the host's number and may be a lie: it ends at `_MAX_PROMPTS`, and with the message.
    """
    prompts: list[tuple[bytes, bool]] = []
    while len(prompts) < min(count, _MAX_PROMPTS) and request.get_remainder():
        prompts.append((request.get_binary(), request.get_boolean()))
    return prompts


def _asks_for_password(prompt: bytes, echoed: bool) -> bool:
    """Returns whether a prompt is one for a password."""
    # The last of several lines asks: sshd puts PAM's messages before it. And an account may have
    # any name.
    line = printable_line(prompt.strip().rpartition(b"\n")[2])
    return not echoed and not _SOMETHING_ELSE.search(re.sub(r"\S*@\S*", "", line))
