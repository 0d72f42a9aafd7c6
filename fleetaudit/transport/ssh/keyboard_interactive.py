"""What a host that asks questions while a user logs in is answered (RFC 4256), and which it is not.
No I/O.

Rules: the password answers one question of one kind: alone, not echoed, the first, and not about
something else. Every other question is told to a person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from paramiko import Message

from fleetaudit.errors import FailureKind
from fleetaudit.model import Secret
from fleetaudit.text.sanitize import printable_line
from fleetaudit.transport.password_expiry import classify_expiry

_ROUNDS = 10  # of a host that says things without asking any
_PROMPTS = 4  # that a reason names
_SOMETHING_ELSE = re.compile(
    r"(?i)verification|one.?time|second.factor|new"
    r" password|retype|\b(?:otp|totp|token|passcode|code|pin)\b"
)
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
    """The questions of one login. `sent`: the host has the password and has not called it right;
    `said`: in passing.
    """

    user: str
    password: Secret
    sent: bool = False
    said: str = ""
    _asked: bool = False
    _rounds: int = 0
    _prompts: str = ""

    def begin(self) -> None:
        """Starts with a host that has not asked by this method yet."""
        self._asked, self._rounds = False, 0

    def answer(self, request: Message) -> Message:
        """Returns the fields of the answer to an INFO_REQUEST, from its fields; raises `LoginRefused`."""
        for _ in ("name", "instruction"):
            self.hear(request.get_binary())
        request.get_binary()  # a language
        count = request.get_int()
        prompts: list[tuple[bytes, bool]] = []
        while len(prompts) < min(count, _PROMPTS) and request.get_remainder():
            prompts.append((request.get_binary(), request.get_boolean()))
        self._rounds += 1
        if self._rounds > _ROUNDS:
            raise LoginRefused(f"the host talks on and on without asking {self.user} for anything")
        if count == 0:  # it only told something: RFC 4256, section 3.4
            return Message().add_int(0)
        asked = ", ".join(f"“{printable_line(prompt)}”" for prompt, _ in prompts)
        self._prompts = printable_line(f"{self._prompts} {asked}", 2000)
        if self._asked and classify_expiry(f"{self.said} {asked}") == "password expired":
            raise LoginRefused(
                f"the password of {self.user} has expired: the host asks {asked}",
                "password expired",
            )
        if self._asked:
            raise LoginRefused(
                f"after the password of {self.user} the host asks {asked}, which only a person can"
                " answer"
            )
        if count > 1 or not prompts:
            raise LoginRefused(
                f"the host asks {asked or 'something'} at once, not for a password alone"
            )
        raw, echoed = prompts[0]
        # Of several lines, the last one asks: sshd puts what PAM told before it. And an account may
        # be called anything.
        prompt = printable_line(raw.strip().rpartition(b"\n")[2])
        if echoed or _SOMETHING_ELSE.search(re.sub(r"\S*@\S*", "", prompt)):
            raise LoginRefused(f"the host asks {asked}, which is not answered with a password")
        self._asked = True
        return Message().add_int(1).add_string(self.encoded())

    def encoded(self) -> bytes:
        """Returns the password as it goes to the host, which then has it (RFC 4252, section 8:
        UTF-8).
        """
        self.sent = True
        return self.password.reveal().encode("utf-8", "surrogateescape")

    def hear(self, words: bytes) -> None:
        """Takes in what the host said in passing."""
        self.said = printable_line(f"{self.said} {printable_line(words, 1000)}", 2000)

    def verdict(self) -> LoginRefused:
        """Returns why a password that was sent did not do, by what the host said."""
        said = f"{self.said} {self._prompts}"
        if _LOCKED.search(said):
            return LoginRefused(f"the account {self.user} is locked")
        if kind := classify_expiry(said):
            what = "the account" if kind == "account expired" else "the password of"
            return LoginRefused(f"{what} {self.user} has expired", kind)
        return LoginRefused(
            f"the host refuses the password of {self.user}; it was sent once and is not sent again"
        )
