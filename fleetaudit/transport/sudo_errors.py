"""Why sudo, doas or su did not run a command, from what they printed in the C locale, and what to
type next. Pure.

Rules: the most telling line decides, not the last one. What is not recognised is quoted as it is,
made harmless.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal

from fleetaudit.errors import FailureKind, rerun_hint
from fleetaudit.model import Become
from fleetaudit.text.sanitize import printable_line, quote_line

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True, slots=True)
class BecomeFailure:
    """A reason; what to type next, `there` as a command on the host, or else `here` as a whole
    line.
    """

    reason: str
    there: str = ""
    here: str = ""
    kind: FailureKind = "become not possible"


_GIVE_ONE = rerun_hint("-b", "-K")
_SUDOERS_LINE = "fleetaudit probe --sudoers USER"
_ACCOUNT = "chage -l {account}; faillock"
_WHEEL = "id; grep -n pam_ /etc/pam.d/su"

# In this order, which is from the cause to what follows from it. The kind, a pattern, the reason,
# what to type there, or here. As in the sources of sudo 1.8 to 1.9, sudo-rs, OpenDoas, su
# (util-linux, shadow, busybox, coreutils) and Linux-PAM. {line} is the line that matched; {whose}
# account counts: su asks for the password of the user it becomes.
_REASONS: tuple[tuple[FailureKind, str, str, str, str], ...] = (
    ("become not possible",
     r"no new privileges", "sudo cannot change the user: “no new privileges” is set (a container?)",
     "grep NoNewPrivs /proc/self/status", ""),
    ("become not possible",
     r"must be owned by uid 0 and have the setuid bit set|must be setuid root|effective uid is not 0"
     r"|not installed setuid",
     "the program has no setuid bit, or its file system is mounted with nosuid: {line}",
     "ls -l /usr/bin/sudo /usr/bin/doas; findmnt -T /usr/bin", ""),
    ("become not possible",
     r"you must have a tty to run sudo",
     "sudo needs a terminal, and the probe has none: sudoers needs “Defaults:USER !requiretty”",
     "su -c 'visudo -f /etc/sudoers.d/fleetaudit'", ""),
    ("become not possible",
     r"no valid sudoers sources found|unable to initialize policy plugin|should be mode 0|is world writable"
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
     "the password of {whose} has expired: {line}", "{change}", ""),
    ("account expired",
     r"[Aa]ccount (?:has )?expired|account has expired", "the account of {whose} has expired: {line}", _ACCOUNT, ""),
    ("account expired",
     r"account is locked|account .*temporarily locked|is your account locked",
     "the account of {whose} is locked or has expired: {line}", _ACCOUNT, ""),
    ("become not permitted",
     r"su: [Pp]ermission denied",
     "PAM does not let the user who logs in become {user} by su (pam_wheel wants a group, for one): {line}",
     _WHEEL, ""),
    ("become not possible",
     r"su: (?:cannot set (?:groups|user id)|must be suid)", "su has no setuid bit: {line}",
     "ls -l $(command -v su)", ""),
    ("become not possible",
     r"account is (?:currently )?not available",
     "the login shell of {user} is nologin, which runs no command: {line}", "getent passwd {user}", ""),
    ("become not permitted",
     r"not in the sudoers file", "the user who logs in is not in sudoers: {line}", "", _SUDOERS_LINE),
    ("become not permitted",
     r"not allowed to execute|not allowed to run sudo|may not run sudo|I'm afraid I can't do that",
     "sudoers does not let the user who logs in run the probe as {user}: {line}", "", _SUDOERS_LINE),
    ("become not possible",
     r"doas is not enabled", "doas is not set up: {line}", "su -c 'vi /etc/doas.conf'", ""),
    ("become not permitted",
     r"doas: Operation not permitted|doas: syntax error", "doas.conf does not let the user who logs in run the probe"
     " as {user}: {line}", "cat /etc/doas.conf", ""),
    ("become password missing",
     r"doas: (?:Authentication|Authorization) required|doas: a tty is required",
     "doas wants a password, and takes one from a terminal only: doas.conf needs “permit nopass” for the probe",
     "cat /etc/doas.conf", ""),
)  # fmt: skip
_ASKED = (
    r"a password is required|a terminal is required|no tty present|interactive authentication is"
    r" required"
)
_WRONG = (
    r"try again|incorrect password attempt|incorrect authentication attempt|Authentication"
    r" fail(?:ed|ure)"
    r"|su: incorrect password"
)
_BROKEN = r"(?:parse|syntax) error"
# sudo's own line alone: a lecture may speak of expired passwords, too.
_EXPIRED = re.compile(rb"sudo: Account or password is expired")
# Ansible's list (plugins/become/su.py): a PAM module may ask in the host's language whatever LC_ALL
# is.
_PROMPTS = (
    "password|암호|パスワード|adgangskode|contraseña|contrasenya|hasło|heslo|jelszó|lösenord|mật"
    " khẩu|mot de passe"
    "|parola|parool|pasahitza|passord|passwort|salasana|sandi|senha|wachtwoord|ססמה|лозинка|парола|пароль"
    "|गुप्तशब्द|शब्दकूट|సంకేతపదము|හස්පදය|密码|密碼|口令"
)
_QUESTION = re.compile(rf"(?:{_PROMPTS})[^:：]{{0,100}}[:：]\s*$", re.IGNORECASE)
# The question that a line begins with, because nobody's key ended it.
_ASKED_BEFORE = re.compile(
    rf"^[^\n:：]{{0,100}}?(?:{_PROMPTS})[^\n:：]{{0,100}}[:：] *", re.IGNORECASE | re.MULTILINE
)
_OF_A_CHANGE = re.compile(r"\b(?:new|current|old|again|retype)\b", re.IGNORECASE)

Prompt = Literal["", "password", "another"]


def detect_prompt(line: bytes) -> Prompt:
    """Returns what the last line of a stream asks for: the password, or a new one if it must be
    changed.
    """
    text = line.decode("utf-8", "replace")
    if not _QUESTION.search(text):
        return ""
    return "another" if _OF_A_CHANGE.search(text) else "password"


def password_expired(stderr: bytes | bytearray) -> bool:
    """Tells whether whatever is asked next is about a new password, which nobody is going to give."""
    return _EXPIRED.search(stderr) is not None


def explain_failure(
    said: bytes,
    become: Become,
    exit_status: int | None,
    *,
    asked: bool = False,
    answered: bool,
    asked_again: bool,
    cut: str = "",
) -> BecomeFailure:
    """Returns why the command did not run, from `said`, the text on stderr and on stdout (where PAM
    writes).

    `asked`: it asked for a password; `answered`: the password was sent; `asked_again`: it asked
    again. `cut` names a stream that was cut off.
    """
    text = said.decode("utf-8", "replace")
    tool, user = become.program or become.method, printable_line(become.user, 100)
    of_target, account, typed_tool = (
        become.method == "su",
        shlex.quote(become.user),
        shlex.quote(tool),
    )
    text = _ASKED_BEFORE.sub("", text) if of_target else text
    typed = {
        "{user}": account,
        "{account}": account if of_target else "$(id -un)",
        # su itself asks for the new password; passwd would ask for another one after it.
        "{change}": f"{typed_tool} {account} -c true" if of_target else "passwd",
    }
    for kind, pattern, reason, there, here in _REASONS:
        if line := _line(pattern, text):
            whose = user if of_target else "the user who logs in"
            for mark, word in typed.items():
                there = there.replace(mark, word)
            return BecomeFailure(
                reason.format(line=f"“{line}”", user=user, whose=whose), there, here, kind
            )
    broken = _line(_BROKEN, text)
    beside = f"; sudoers has an error, too: “{broken}”" if broken else ""
    try_it = f"{typed_tool} {account} -c true" if of_target else f"{typed_tool} -k; {typed_tool} -v"
    if answered and (asked_again or re.search(_WRONG, text)):
        of_whom = f" of {user}" if of_target else ""
        refuses = (
            f"{become.method} refuses the password{of_whom}, or the account is locked; it is not"
            " sent again"
        )
        return BecomeFailure(f"{refuses}{beside}", try_it, kind="become password refused")
    if of_target and asked and not become.password:
        reason = f"su asks for the password of {user}; no password was given"
        return BecomeFailure(reason, "", _GIVE_ONE, "become password missing")
    if re.search(_ASKED, text):
        if answered or become.password:
            return BecomeFailure(
                f"sudo did not take the password{beside}{quote_line(text, ': ')}",
                try_it,
                kind="become password refused",
            )
        what = f"sudo wants a password, or does not let this user run the probe as {user}"
        return BecomeFailure(
            f"{what}; no password was given{beside}", "", _GIVE_ONE, "become password missing"
        )
    if broken:
        return BecomeFailure(f"sudoers cannot be read: “{broken}”", "su -c 'visudo -c'")
    missing = exit_status in (_NOT_FOUND, _NOT_EXECUTABLE)
    if missing or re.search(r"(?:not found|No such file or directory)\s*$", text):
        if _line(r"(?:sudo|doas|su): .*/bin/sh", text):
            return BecomeFailure(
                f"{tool} finds no /bin/sh to run{quote_line(text, ': ')}", "ls -l /bin/sh"
            )
        found = f"command -v {shlex.quote(tool)}"
        return BecomeFailure(
            f"{tool} is not installed, or not where the user who logs in finds"
            f" it{quote_line(text, ': ')}",
            (
                found
                if of_target
                else f"{found} || su -c {shlex.quote(f'apt-get install {become.method}')}"
            ),
        )
    if cut:
        return BecomeFailure(
            f"the host sent more on {cut} than is read, and {tool} did not come to run the command"
        )
    how = "without an exit status" if exit_status is None else f"with status {exit_status}"
    return BecomeFailure(
        f"{tool} ended {how} and did not run the command{quote_line(text, '; it said ')}"
    )


def _line(pattern: str, text: str) -> str:
    """Returns the first line that the pattern is found in, harmless and without our own command, or
    "".
    """
    found = next((line for line in text.splitlines() if re.search(pattern, line)), "")
    return printable_line(re.sub(r"'/bin/sh -c .*' as", "the command as", found))
