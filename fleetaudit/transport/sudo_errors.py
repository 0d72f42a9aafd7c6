"""Explains why sudo, doas or su did not run a command, from what they printed in the C locale.
Pure.

Rules: the line that names the cause decides, not the last one. What is not recognized is quoted,
sanitized.
"""

from __future__ import annotations

import itertools
import re
import shlex
from typing import Literal, NamedTuple

import msgspec

from fleetaudit.errors import FailureKind, rerun_hint
from fleetaudit.model import Become
from fleetaudit.text.sanitize import printable_line, quote_line

from . import Output
from .program_start import first_line
from .ssh_command import describe_status

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


class BecomeFailure(msgspec.Struct, frozen=True):
    """A reason and what to type next: `there` as a command on the host, or else `here` as a whole
    line.
    """

    reason: str
    there: str = ""
    here: str = ""
    kind: FailureKind = "become not possible"


class PromptHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a password was asked for, whether it was sent, and whether it was asked for again."""

    asked: bool = False
    answered: bool = False
    asked_again: bool = False


class _KnownMessage(NamedTuple):
    """What a line means that `pattern` is found in: the fields of a `BecomeFailure`."""

    kind: FailureKind
    pattern: str
    reason: str
    there: str
    here: str


_GIVE_PASSWORD = rerun_hint("-b", "-K")
_SUDOERS_LINE = "fleetaudit probe --sudoers USER"
_ACCOUNT = "chage -l {account}; faillock"
_WHEEL = "id; grep -n pam_ /etc/pam.d/su"

# Ordered from causes to their consequences: the kind, a pattern, the reason, what to type there, or
# here. The patterns are from the sources of sudo 1.8 to 1.9, sudo-rs, OpenDoas, su (util-linux,
# shadow, busybox, coreutils) and Linux-PAM. {line} is the line that matched. {owner} is the owner
# of the password: su asks for that of the user it becomes.
_ROWS: tuple[tuple[FailureKind, str, str, str, str], ...] = (
    ("become not possible",
     r"no new privileges", "sudo cannot change the user: “no new privileges” is set (a container?)",
     "grep NoNewPrivs /proc/self/status", ""),
    ("become not possible",
     r"must be owned by uid 0 and have the setuid bit set|must be setuid root|effective uid is"
     r" not 0"
     r"|not installed setuid",
     "the program has no setuid bit, or its file system is mounted with nosuid: {line}",
     "ls -l /usr/bin/sudo /usr/bin/doas; findmnt -T /usr/bin", ""),
    ("become not possible",
     r"you must have a tty to run sudo",
     "sudo needs a terminal, and the probe has none: sudoers needs “Defaults:USER !requiretty”",
     "su -c 'visudo -f /etc/sudoers.d/fleetaudit'", ""),
    ("become not possible",
     r"no valid sudoers sources found|unable to initialize policy plugin|should be mode 0|is"
     r" world writable"
     r"|sudoers.* is owned by|can't open /etc/sudoers|unable to open /etc/sudoers",
     "sudoers cannot be used: {line}", "su -c 'visudo -c'", ""),
    ("become not possible",
     r"must be run from a terminal|standard in must be a tty",
     "su needs a terminal, and the probe has none: {line}", "su --version", ""),
    ("become not possible",
     r"unknown user|user '.*' not found|user .* does not exist|No passwd entry for user",
     "the host has no user {user}", "getent passwd {user}", ""),
    ("password expired",
     r"[Aa]ccount or password is expired|[Pp]assword expired|required to change your password"
     r"|[Pp]assword (?:is|has) expired|change your (?:expired )?password",
     "the password of {owner} has expired: {line}", "{change}", ""),
    ("account expired",
     r"[Aa]ccount (?:has )?expired|account has expired",
     "the account of {owner} has expired: {line}", _ACCOUNT, ""),
    ("account expired",
     r"account is locked|account .*temporarily locked|is your account locked",
     "the account of {owner} is locked or has expired: {line}", _ACCOUNT, ""),
    ("become not permitted",
     r"su: [Pp]ermission denied",
     "PAM does not let the user who logs in become {user} by su (pam_wheel, for example, requires"
     " a group): {line}",
     _WHEEL, ""),
    ("become not possible",
     r"su: (?:cannot set (?:groups|user id)|must be suid)", "su has no setuid bit: {line}",
     "ls -l $(command -v su)", ""),
    ("become not possible",
     r"account is (?:currently )?not available",
     "the login shell of {user} is nologin, which runs no command: {line}",
     "getent passwd {user}", ""),
    ("become not permitted",
     r"not in the sudoers file",
     "the user who logs in is not in sudoers: {line}", "", _SUDOERS_LINE),
    ("become not permitted",
     r"not allowed to execute|not allowed to run sudo|may not run sudo|I'm afraid I can't do that",
     "sudoers does not let the user who logs in run the probe as {user}: {line}",
     "", _SUDOERS_LINE),
    ("become not possible",
     r"doas is not enabled", "doas is not set up: {line}", "su -c 'vi /etc/doas.conf'", ""),
    ("become not permitted",
     r"doas: Operation not permitted|doas: syntax error",
     "doas.conf does not let the user who logs in run the probe"
     " as {user}: {line}", "cat /etc/doas.conf", ""),
    ("become password missing",
     r"doas: (?:Authentication|Authorization) required|doas: a tty is required",
     "doas asks for a password, and reads it from a terminal only: doas.conf needs “permit"
     " nopass” for the probe",
     "cat /etc/doas.conf", ""),
)  # fmt: skip
_KNOWN = tuple(itertools.starmap(_KnownMessage, _ROWS))
_REQUIRED = (
    r"a password is required|a terminal is required|no tty present|interactive authentication is"
    r" required"
)
_WRONG = (
    r"try again|incorrect password attempt|incorrect authentication attempt|Authentication"
    r" fail(?:ed|ure)"
    r"|su: incorrect password"
)
_SYNTAX_ERROR = r"(?:parse|syntax) error"
_ENDS_NOT_FOUND = re.compile(r"(?:not found|No such file or directory)\s*$")
# Only sudo's own line: a lecture may mention expired passwords, too.
_EXPIRED = re.compile(rb"sudo: Account or password is expired")
# Ansible's list (plugins/become/su.py): a PAM module may ask in the language of the host, whatever
# LC_ALL is.
_PROMPTS = (
    "password|암호|パスワード|adgangskode|contraseña|contrasenya|hasło|heslo|jelszó|lösenord|mật"
    " khẩu|mot de passe"
    "|parola|parool|pasahitza|passord|passwort|salasana|sandi|senha|wachtwoord|ססמה|лозинка|парола|пароль"
    "|गुप्तशब्द|शब्दकूट|సంకేతపదము|හස්පදය|密码|密碼|口令"
)
_PROMPT = re.compile(rf"(?:{_PROMPTS})[^:：]{{0,100}}[:：]\s*$", re.IGNORECASE)
# A prompt at the beginning of a line: no key ended it.
_PROMPT_BEFORE = re.compile(
    rf"^[^\n:：]{{0,100}}?(?:{_PROMPTS})[^\n:：]{{0,100}}[:：] *", re.IGNORECASE | re.MULTILINE
)
_NEW_PASSWORD = re.compile(r"\b(?:new|current|old|again|retype)\b", re.IGNORECASE)

Prompt = Literal["", "password", "new password"]


def detect_prompt(line: bytes) -> Prompt:
    """Returns what the last line of a stream asks for: the password, or a new one if it must
    change.

    "Password: " is "password", "New password:" is "new password". "" for a line that does not end
    in a colon after one of the words of `_PROMPTS`.
    """
    text = line.decode("utf-8", "replace")
    if not _PROMPT.search(text):
        return ""
    return "new password" if _NEW_PASSWORD.search(text) else "password"


def password_expired(stderr: bytes | bytearray) -> bool:
    """Returns whether sudo asks next for a new password, which we do not have."""
    return _EXPIRED.search(stderr) is not None


def explain_failure(
    printed: bytes, become: Become, output: Output, prompts: PromptHistory
) -> BecomeFailure:
    """Returns why the command did not run.

    `printed` is the end of stderr and of stdout, where PAM writes.
    """
    explanation = _SuExplanation if become.method == "su" else _Explanation
    text = printed.decode("utf-8", "replace")
    return explanation(text, become, output, prompts).failure()


class _Explanation:
    """Why sudo or doas did not run one command, tried from the most specific cause to the least."""

    def __init__(self, text: str, become: Become, output: Output, prompts: PromptHistory) -> None:
        self._text = text
        self._become, self._output, self._prompts = become, output, prompts
        self._tool = become.program or become.method
        self._user = printable_line(become.user, 100)
        syntax_error = _line(_SYNTAX_ERROR, self._text)
        self._syntax_error = f"“{syntax_error}”" if syntax_error else ""
        self._also = f"; sudoers has an error, too: {self._syntax_error}" if syntax_error else ""

    def failure(self) -> BecomeFailure:
        """Returns the first explanation that applies."""
        return (
            self._known_message()
            or self._password_refused()
            or self._password_missing()
            or self._sudoers_broken()
            or self._not_installed()
            or self._unknown()
        )

    # -- what differs between the programs

    def _commands(self) -> dict[str, str]:
        """Returns the values of the marks in commands for the host."""
        user = shlex.quote(self._become.user)
        return {"{user}": user, "{account}": "$(id -un)", "{change}": "passwd"}

    def _password_owner(self) -> str:
        """Returns whose password is asked for."""
        return "the user who logs in"

    def _refused_password(self) -> str:
        """Returns the password as a refusal names it."""
        return "the password"

    def _try_again(self) -> str:
        """Returns the command that asks for the password on a terminal."""
        tool = shlex.quote(self._tool)
        return f"{tool} -k; {tool} -v"

    def _install(self) -> str:
        """Returns the command that finds the program, or else installs it."""
        install = shlex.quote(f"apt-get install {self._become.method}")
        return f"command -v {shlex.quote(self._tool)} || su -c {install}"

    # -- the explanations

    def _known_message(self) -> BecomeFailure | None:
        """Returns the failure of a line that is in `_KNOWN`."""
        known = next((each for each in _KNOWN if _line(each.pattern, self._text)), None)
        if known is None:
            return None
        there = known.there
        for mark, command in self._commands().items():
            there = there.replace(mark, command)
        line, owner = _line(known.pattern, self._text), self._password_owner()
        reason = known.reason.format(line=f"“{line}”", user=self._user, owner=owner)
        return BecomeFailure(reason, there, known.here, known.kind)

    def _password_refused(self) -> BecomeFailure | None:
        """Returns the failure of a password that was sent and refused."""
        again = self._prompts.asked_again or re.search(_WRONG, self._text)
        if not again or not self._prompts.answered:
            return None
        reason = (
            f"{self._become.method} refuses {self._refused_password()}, or the account is locked;"
            f" it is not sent again{self._also}"
        )
        return BecomeFailure(reason, self._try_again(), kind="become password refused")

    def _password_missing(self) -> BecomeFailure | None:
        """Returns the failure of a password that was needed."""
        if not re.search(_REQUIRED, self._text):
            return None
        if self._prompts.answered or self._become.password:
            reason = f"sudo did not take the password{self._also}{quote_line(self._text, ': ')}"
            return BecomeFailure(reason, self._try_again(), kind="become password refused")
        reason = (
            "sudo asks for a password, or does not let this user run the probe as"
            f" {self._user}; no password was given{self._also}"
        )
        return BecomeFailure(reason, "", _GIVE_PASSWORD, "become password missing")

    def _sudoers_broken(self) -> BecomeFailure | None:
        """Returns the failure of a sudoers file with a syntax error."""
        if not self._syntax_error:
            return None
        return BecomeFailure(f"sudoers cannot be parsed: {self._syntax_error}", "su -c 'visudo -c'")

    def _not_installed(self) -> BecomeFailure | None:
        """Returns the failure of a program that was not found."""
        missing = self._output.exit_status in (_NOT_FOUND, _NOT_EXECUTABLE)
        if not missing and not _ENDS_NOT_FOUND.search(self._text):
            return None
        printed = quote_line(self._text, ": ")
        if _line(r"(?:sudo|doas|su): .*/bin/sh", self._text):
            return BecomeFailure(f"{self._tool} finds no /bin/sh to run{printed}", "ls -l /bin/sh")
        reason = f"{self._tool} is not installed, or not in PATH of the user who logs in{printed}"
        return BecomeFailure(reason, self._install())

    def _unknown(self) -> BecomeFailure:
        """Returns the failure that quotes what was printed."""
        if self._output.cut:
            return BecomeFailure(
                f"the host sent more on {self._output.cut} than the limit, before {self._tool} ran"
                " the command"
            )
        how = describe_status(self._output.exit_status)
        printed = quote_line(self._text, "; it printed ")
        return BecomeFailure(f"{self._tool} ended {how} and did not run the command{printed}")


class _SuExplanation(_Explanation):
    """Why su did not run one command: it asks for the password of the user that it becomes."""

    def __init__(self, text: str, become: Become, output: Output, prompts: PromptHistory) -> None:
        super().__init__(_PROMPT_BEFORE.sub("", text), become, output, prompts)

    def _commands(self) -> dict[str, str]:
        user = shlex.quote(self._become.user)
        # su itself asks for the new password; passwd would ask for another one after it.
        return {"{user}": user, "{account}": user, "{change}": self._try_again()}

    def _password_owner(self) -> str:
        return self._user

    def _refused_password(self) -> str:
        return f"the password of {self._user}"

    def _try_again(self) -> str:
        return f"{shlex.quote(self._tool)} {shlex.quote(self._become.user)} -c true"

    def _install(self) -> str:
        return f"command -v {shlex.quote(self._tool)}"

    def _password_missing(self) -> BecomeFailure | None:
        if not self._prompts.asked or self._become.password:
            return super()._password_missing()
        reason = f"su asks for the password of {self._user}; no password was given"
        return BecomeFailure(reason, "", _GIVE_PASSWORD, "become password missing")


def _line(pattern: str, text: str) -> str:
    """Returns the first line in which the pattern is found, sanitized and without our own command,
    or "".
    """
    return printable_line(
        re.sub(r"'/bin/sh -c .*' as", "the command as", first_line(pattern, text))
    )
