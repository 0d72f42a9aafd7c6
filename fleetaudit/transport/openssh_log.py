"""Reads the log of the system's `ssh`: how far it came, and why there was no login. Pure, except
for the key files that a reason names.

Rules: the log is ssh's own, but a host may print any line on stderr. A cause of a jump host is
found before its consequences for this host.
"""

from __future__ import annotations

import base64
import re
from functools import cached_property
from pathlib import Path

import msgspec

from fleetaudit.errors import FailureKind, TransportError
from fleetaudit.model import SshTarget, Stage
from fleetaudit.text.files import read_file
from fleetaudit.text.sanitize import printable_line, quote_line

from . import Output, StageListener, unanswered
from .child import LOG_MAX, ChildResult
from .host_key_errors import forget_command
from .known_hosts import FILE_MAX, fingerprint
from .password_expiry import classify_expiry
from .ssh_command import dropped_before_login, permissions_too_open, shell_join
from .ssh_config_files import hide_content
from .unanswered import NOT_ANSWERED

_FAILED = 255  # ssh's own status; a command may end with it as well
# The latter once the host has opened a session in a master connection, which had logged in before.
_LOGGED_IN = re.compile(
    rb"^(?:Authenticated to |debug1: mux_client_request_session: master session id:)", re.MULTILINE
)
_PROXIED = re.compile(rb"^debug1: Executing proxy command: ", re.MULTILINE)
_PROXIED_BY_SSH = re.compile(rb"^debug1: Executing proxy command: .*ssh", re.MULTILINE)
# What the log has after the login for a message that the host owes an answer to, and for the
# answer: the reason if there is only the former.
_OWED = (
    (unanswered.KEYS, rb"^debug1: SSH2_MSG_KEXINIT received",
     rb"^debug1: SSH2_MSG_NEWKEYS received"),
    (unanswered.SESSION, rb"^debug2: channel \d+: send open",
     rb"^debug2: channel \d+: open confirm"),
    (unanswered.COMMAND, rb"^debug2: channel \d+: request exec confirm",
     rb"^debug2: exec request accepted"),
    (unanswered.ROOM, rb"^debug2: channel \d+: open confirm rwindow 0 ",
     rb"^debug2: channel \d+: rcvd adjust"),
    (unanswered.CLOSE, rb"^debug1: client_input_channel_req: channel \d+ rtype exit-status",
     rb"^debug2: channel \d+: rcvd close"),
    (unanswered.END, rb"^debug2: channel \d+: rcvd eof", rb"^debug2: channel \d+: rcvd close"),
)  # fmt: skip
# From here on the host may judge a login: nothing is sent twice.
_LOGIN_STARTED = re.compile(rb"^debug1: SSH2_MSG_(?:NEWKEYS|SERVICE_ACCEPT) received", re.MULTILINE)
_COMMAND_ENDED = re.compile(rb"^debug1: Exit status \d", re.MULTILINE)
_DEBUG = re.compile(r"^debug\d: .*\n?", re.MULTILINE)
_MASTER_GONE = re.compile(r"^debug2: (Control master terminated unexpectedly)", re.MULTILINE)
# What the log has once a stage has passed, in the order of the stages.
_MARKS: dict[Stage, re.Pattern[bytes]] = {
    "resolve": re.compile(
        rb"^debug1: (?:Connecting to \S+ \[(\S+)\] port|Executing (proxy command):)", re.MULTILINE
    ),
    "connect": re.compile(rb"^debug1: Authenticating to (\S+) as ", re.MULTILINE),
    "host key": re.compile(
        rb"^debug1: Server host key: (.*?)\r?\n(?:.*\n)*?debug1: SSH2_MSG_NEWKEYS sent",
        re.MULTILINE,
    ),
    "authenticate": re.compile(rb"^Authenticated to (.*?)\.?\r?$", re.MULTILINE),
}

# In order, because a reason of a jump host goes before its consequence for this host. A pattern for
# one line of the log, the stage, the kind, whether trying again may help.
_REASONS: tuple[tuple[str, Stage, FailureKind, bool], ...] = (
    (r"Could not resolve hostname .*: Temporary failure in name resolution",
     "resolve", "name not found", True),
    (r"Could not resolve host(?:name)? .*", "resolve", "name not found", False),
    (r".*REMOTE HOST IDENTIFICATION HAS CHANGED.*", "host key", "host key changed", False),
    (r".*revoked host key.*|.*marked as revoked.*", "host key", "host key revoked", False),
    (r"No .* host key is known for .*", "host key", "host key unknown", False),
    (r"Host key verification failed.*|.*[Hh]ost certificate.*|Certificate invalid: .*",
     "host key", "host key not trusted", False),
    (r"unix_listener: .*|ControlPath too long.*|.*_expand: unknown key .*",
     "connect", "ssh_config not usable", False),
    (r".*Too many authentication failures.*", "authenticate", "permission denied", False),
    (r".*Permission denied.*|No more authentication methods.*",
     "authenticate", "permission denied", False),
    (r".*(?:Bad configuration option|[Bb]ad owner or permissions|terminating, \d+ bad"
     r"|Can't open user config).*",
     "connect", "ssh_config not usable", False),
    (r".*(?:illegal option|unknown option|keyword .* extra arguments|missing argument"
     r"|Bad .* specification).*",
     "connect", "ssh_config not usable", False),
    (r"connect to host .*: Connection reset by peer", "connect", "connection reset", True),
    (r"connect to host .*: Connection refused", "connect", "connection refused", False),
    (r"connect to host .*: No route to host", "connect", "no route to host", False),
    (r"connect to host .*: Network is unreachable", "connect", "network unreachable", False),
    (r"connect to host .*: Connection timed out", "connect", "timed out", False),
    (r"connect to host .*", "connect", "", False),
    (r".*Unable to negotiate .*", "connect", "no common algorithm", False),
    (r".*timed out during banner exchange.*|.*banner exchange: .*timed out.*|.* timed out",
     "connect", "timed out", False),
    (r"kex_exchange_identification: .*|ssh_exchange_identification: .*|banner exchange: .*",
     "connect", "hung up", True),
    (r"Connection (?:closed|reset) by .*|Connection to .* closed by remote host\.?|.*Broken pipe.*",
     "connect", "hung up", True),
)  # fmt: skip
# ssh's names of key types, if they are unambiguous (it does not print the curve of an ECDSA key).
_KEY_TYPES = {"ED25519": "ssh-ed25519", "RSA": "ssh-rsa"}
_BROKE_OFF = re.compile(
    r"^(Connection to .* closed by remote host|client_loop: .*|Timeout, server .* not responding"
    r"|Connection (?:closed|reset) by .*|.*Broken pipe|.*Corrupted MAC.*)",
    re.MULTILINE,
)
_TOO_OPEN = re.compile(r"^Permissions (\d+) for '(.*)' are too open\.$")
# ssh adds a random suffix.
_MASTER_SOCKET = re.compile(r"unix_listener: cannot bind to path (.+?)(?:\.\w{16})?: .*")
_AFTER_GREETING = re.compile(r"Connection (?:closed|reset) by|Received disconnect")
_STATISTICS = ("Transferred: ", "Bytes per second: ")
_NOT_RUN = re.compile(r"^(exec request failed on channel.*|.*open failed: .*)", re.MULTILINE)


class Login(msgspec.Struct, frozen=True):
    """One login that the log is about.

    `own` are the user's private keys and master sockets: only they may be named in a hint, because
    a host may print any name. `hint` is the command to type where no better one is known.
    """

    target: SshTarget
    own: frozenset[str]
    hint: str


def logged_in(log: bytes, begin: int = 0) -> bool:
    """Returns whether the log of ssh has a login, of its own or in a master connection.

    `begin` is the offset in bytes from which the log is searched.
    """
    return _LOGGED_IN.search(log, begin) is not None


class StageMarks:
    """Reports the stages that have passed, from a growing log.

    `on_stage` gets each stage once, with a detail: the address, the host key, the user.
    """

    def __init__(self, target: SshTarget, on_stage: StageListener) -> None:
        self._target, self._on_stage = target, on_stage
        self._pending = [*_MARKS]

    def read(self, log: bytes) -> None:
        """Reports the stages that the log has for the first time.

        `log` is the whole log so far, not only its new part.
        """
        for stage in tuple(self._pending):
            if found := _MARKS[stage].search(log):
                self._pending.remove(stage)
                self._report(stage, found)

    def _report(self, stage: Stage, found: re.Match[bytes]) -> None:
        """Reports one stage with what its mark in the log names, else with the address."""
        detail = next(filter(None, found.groups()), b"") or self._target.address
        remark = ""
        if (stage, self._target.host_key_policy) == ("host key", "off"):
            remark = ", not checked"
        self._on_stage(stage, printable_line(detail) + remark)


def check_result(result: ChildResult, login: Login) -> Output:
    """Returns the output of the command if it ran to its end.

    Raises `TransportError` if not: stage "execute" once the user was logged in, else the stage at
    which the login ended. It is transient only if no host judged a login, or if the connection
    broke off. Status 255 may be of ssh or of the command (ssh(1), EXIT STATUS): the log decides.
    """
    ended = _Ended(result, login)
    if not result.in_time:
        raise ended.timed_out()
    output = result.output
    if output.cut:
        ended.check_login()
        return output
    if output.exit_status != _FAILED:
        return output
    if not ended.logged_in:
        raise ended.no_login()
    if error := ended.command_failed():
        raise error
    return output


class _Ended:
    """An ssh that has ended, or was ended at the deadline."""

    def __init__(self, result: ChildResult, login: Login) -> None:
        self._login, self._log, self._output = login, result.log, result.output
        self._text = hide_content(_DEBUG.sub("", result.log.decode("utf-8", "replace")))
        self.logged_in = logged_in(result.log) or bool(result.output.stdout)

    @cached_property
    def _login_started(self) -> bool:
        """Whether a host judged a login, after which nothing is sent twice."""
        return _LOGIN_STARTED.search(self._log) is not None

    @property
    def _log_is_cut(self) -> bool:
        """Whether the log was too long, so that marks may be in the part that was not kept."""
        return len(self._log) >= LOG_MAX

    @property
    def _so_far(self) -> str:
        return f"after {len(self._output.stdout)} bytes of output"

    @property
    def _printed(self) -> str:
        return quote_line(self._output.stderr[-2000:], "; it printed ")

    def timed_out(self) -> TransportError:
        """Returns the error for a deadline that came first."""
        if owed := self._owed():
            return self._execute_error(owed, NOT_ANSWERED)
        stage, reason = self._when_time_ended()
        return TransportError(stage, reason, hint=self._login.hint, kind="timed out")

    def _owed(self) -> str:
        """Returns which message the host did not answer after the login, as a reason; "" if the
        log has no such message.
        """
        if self._log_is_cut:  # the answer may be in the part that was not kept
            return ""
        after = self._log.partition(b"\nAuthenticated to ")[2]
        return unanswered.first_owed({reason: _is_owed(after, *marks) for reason, *marks in _OWED})

    def _when_time_ended(self) -> tuple[Stage, str]:
        """Returns the stage at which the deadline came, and the reason."""
        if self.logged_in:
            return "execute", f"the command did not end in time, {self._so_far}{self._printed}"
        if self._login_started:
            user = self._login.target.user or "the user"
            return "authenticate", f"the host stalled while {user} was logging in"
        lines = self._text.strip() or printable_line(self._output.stderr)
        last = quote_line(lines.rpartition("\n")[2], "; ssh printed ")
        return "connect", f"the login did not finish in time{last}"

    def check_login(self) -> None:
        """Raises `TransportError` if the host printed more than is read before the login."""
        if self.logged_in:
            return
        stage: Stage = "authenticate" if self._login_started else "connect"
        reason = f"the host printed more before the login than is read{self._printed}"
        raise TransportError(stage, reason, hint=self._login.hint, kind="protocol error")

    def command_failed(self) -> TransportError | None:
        """Returns why the command did not run to its end, None if ssh's status is its own."""
        if refused := _NOT_RUN.search(self._text):
            reason = f"the host refuses to run a command: {printable_line(refused[0])}"
            return self._execute_error(reason, "command refused")
        if end := self._end_of_connection():
            reason = f"the connection broke off {self._so_far} ({end}){self._printed}"
            return self._execute_error(reason, "connection lost", transient=True)
        if last := self._last_line():
            reason = f"ssh ended by itself {self._so_far}: {printable_line(last)}{self._printed}"
            return self._execute_error(reason, "connection lost")
        return None

    def _execute_error(
        self, reason: str, kind: FailureKind, *, transient: bool = False
    ) -> TransportError:
        """Returns an error of the stage "execute"."""
        return TransportError(
            "execute", reason, hint=self._login.hint, kind=kind, transient=transient
        )

    def _end_of_connection(self) -> str:
        """Returns ssh's message about a connection that broke off, "" if there is none."""
        # It reports the end of a connection on stderr, wherever its log goes.
        stderr = self._output.stderr[-200:].decode("utf-8", "replace")
        found = _BROKE_OFF.search(f"{self._text}\n{stderr}")
        found = found or _MASTER_GONE.search(self._log.decode("utf-8", "replace"))
        if not found:
            return ""
        return printable_line(found[1])

    def _last_line(self) -> str:
        """Returns ssh's own last line after the login, "" if the command ended with a status."""
        if self._log_is_cut or _COMMAND_ENDED.search(self._log):
            return ""
        _, authenticated, after = self._text.rpartition("Authenticated to ")
        if not authenticated:
            return ""
        lines = map(str.strip, reversed(after.split("\n")[1:]))
        return next((line for line in lines if line and not line.startswith(_STATISTICS)), "")

    def no_login(self) -> TransportError:
        """Returns why there was no login, at the right stage; transient if no host judged a
        login.
        """
        error = _explain(self._text + self._log_of_jump_host(), self._login)
        if error.stage != "connect":
            return error
        if self._login_started:
            return self._hung_up_during_login(error)
        if not error.transient:
            return error
        if self._proxy_has_the_cause():
            return self._proxy_ended(error)
        if self._log_is_cut:  # a login may have started in the part that was not kept
            return TransportError(error.stage, error.reason, hint=error.hint, kind=error.kind)
        return error

    def _log_of_jump_host(self) -> str:
        """Returns, as further lines of the log, what the ssh to a jump host printed.

        Until the login starts, stderr is from that ssh; after that, from the host, which may print
        anything.
        """
        if self._login_started:
            return ""
        return "\n" + self._output.stderr.decode("utf-8", "replace")

    def _proxy_has_the_cause(self) -> bool:
        """Returns whether a ProxyCommand printed why it ended, or is an ssh, to whose jump host a
        login may have gone; False if that ssh denies it.
        """
        proxied = _PROXIED_BY_SSH.search(self._log)
        if self._printed:
            proxied = _PROXIED.search(self._log)
        return bool(proxied) and not dropped_before_login(self._output.stderr)

    def _hung_up_during_login(self, error: TransportError) -> TransportError:
        """Returns the error for a host that hung up during the login."""
        banner = self._output.stderr[-2000:]
        reason = f"the connection ended during the login: {error.reason}{self._printed}"
        kind = classify_expiry(printable_line(banner, 2000)) or error.kind or "hung up"
        return TransportError("authenticate", reason, hint=error.hint, kind=kind)

    def _proxy_ended(self, error: TransportError) -> TransportError:
        """Returns the error of the ssh to a jump host, which prints on stderr how far it came, or
        nothing.
        """
        last = self._output.stderr[-2000:].strip().rpartition(b"\n")[2]
        printed = quote_line(last, ": ")
        stage: Stage = "authenticate" if _AFTER_GREETING.search(printed) else "connect"
        reason = f"the ssh of a jump host or ProxyCommand ended{printed}"
        kind: FailureKind = "ProxyCommand failed" if printed else error.kind
        return TransportError(stage, reason, hint=error.hint, kind=kind)


def _is_owed(log: bytes, asked: bytes, answered: bytes) -> bool:
    """Returns whether the last message of a kind that is answered has no answer in the log."""
    return _last(asked, log) > _last(answered, log)


def _last(pattern: bytes, log: bytes) -> int:
    """Returns where a log has a pattern for the last time, -1 for never."""
    return max((found.start() for found in re.finditer(pattern, log, re.MULTILINE)), default=-1)


def _explain(log: str, login: Login) -> TransportError:
    """Returns why there was no login, from the log of ssh and of the ssh to a jump host.

    The first row of `_REASONS` that matches a whole line decides, whichever line that is. If none
    does, the reason quotes the last line, and the stage is "connect".
    """
    lines = _messages(log)
    for pattern, stage, kind, transient in _REASONS:
        if line := next(filter(re.compile(pattern).fullmatch, lines), ""):
            error = TransportError(
                stage, printable_line(line), hint=login.hint, kind=kind, transient=transient
            )
            return _more_precise(error, line, lines, login)
    last = quote_line("".join(lines[-1:]), ": ")
    reason = f"{login.target.program} ended with status {_FAILED}{last}"
    return TransportError("connect", reason, hint=login.hint)


def _messages(log: str) -> list[str]:
    """Returns the lines of a log that say something, without ssh's name and frames of "@"."""
    lines = (line.strip().removeprefix("ssh: ") for line in log.split("\n"))
    return [line for line in lines if line.strip("@ \r")]


def _more_precise(
    error: TransportError, line: str, lines: list[str], login: Login
) -> TransportError:
    """Returns the error with what other lines, and the user's files, say about it."""
    if error.stage == "host key":
        return _HostKeyReport(lines).error(login.hint)
    if error.kind == "permission denied":
        key = _open_key(lines, login.own)
        return _open_key_error(key[1], key[2], line) if key else error
    socket = _MASTER_SOCKET.match(line)
    if socket and socket[1] in login.own:
        return _master_socket_error(socket[1], line)
    return error


def _open_key(lines: list[str], own: frozenset[str]) -> re.Match[str] | None:
    """Returns mode and path of a private key that ssh did not use because others may read it."""
    found = filter(None, map(_TOO_OPEN.match, lines))
    return next((key for key in found if key[2] in own), None)


def _open_key_error(mode: str, path: str, line: str) -> TransportError:
    """Returns why a private key was not used, as the built-in client reports it."""
    reason = f"{permissions_too_open(path, mode)}; {printable_line(line)}"
    hint = shell_join(["chmod", "600", path])
    return TransportError("authenticate", reason, hint=hint, kind="no usable key")


def _master_socket_error(path: str, line: str) -> TransportError:
    """Returns why the ssh to a jump host could not create the socket of its ControlMaster."""
    folder = str(Path(path).parent)
    command = ["ls", "-ld", folder]
    if line.endswith("No such file or directory"):
        command = ["mkdir", "-p", "-m", "700", folder]
    hint = shell_join(command)
    cause = line.rpartition(": ")[2].lower()
    reason = f"ControlPath of a jump host: cannot create {path}: {cause}"
    return TransportError(
        "connect", printable_line(reason), hint=hint, kind="ssh_config not usable"
    )


# -- host keys

_KEY_ERRORS: tuple[tuple[str, FailureKind, str], ...] = (
    ("IDENTIFICATION HAS CHANGED", "host key changed", "changed host key"),
    ("(?i)revoked", "host key revoked", "revoked host key"),
    ("[Cc]ertificate", "host key not trusted", "host certificate not trusted"),
    ("", "host key unknown", "unknown host key"),
)
_SHOWN_KEY = re.compile(
    r"(\S+) key (?:sent by|fingerprint is|for .* fingerprint)[^.]*?\s*(SHA256:\S+)"
)
_OFFENDING = re.compile(r"Offending (?:\S+ )?key in (\S+)")
_REMOVE_WITH = re.compile(r"ssh-keygen -f [\"']?([^\"']+?)[\"']? -R [\"']?([^\"'\s]+)")


class _HostKeyReport:
    """What ssh logged about a host key: what was shown, what was known, and where."""

    def __init__(self, lines: list[str]) -> None:
        self._lines, self._text = lines, " ".join(lines)
        # Written file:line, with a colon after it in some releases.
        self._location = "".join(_OFFENDING.findall(self._text)[:1]).rstrip(":")
        self._known, self._shown = _key_at(self._location), _shown_key(self._text)
        self._remedy = _REMOVE_WITH.search(self._text)

    def error(self, hint: str) -> TransportError:
        """Returns the error for a login that ended with this report, with stage "host key".

        `hint` is used if ssh names no command that removes the known key.
        """
        _, kind, title = next(row for row in _KEY_ERRORS if re.search(row[0], self._text))
        if self._remedy:
            hint = forget_command(self._remedy[2], self._remedy[1])
        changed_key = None
        if kind == "host key changed":
            changed_key = self._changed_key()
        return TransportError(
            "host key",
            f"{title}: {printable_line('; '.join(self._parts()))}",
            hint=hint,
            kind=kind,
            changed_key=changed_key,
        )

    def _parts(self) -> list[str]:
        """Returns the parts of the reason: keys, or else the last lines."""
        parts = []
        if self._shown:
            parts.append(f"shown {self._shown}")
        if self._location:
            parts.append(" as ".join(filter(None, (f"known in {self._location}", self._known))))
        return parts or [line for line in self._lines if "uthenticated to" not in line][-2:]

    def _changed_key(self) -> tuple[str, str]:
        """Returns the known key and where it is, and the shown one, perhaps of a jump host."""
        owner = f" of {self._remedy[2]}" if self._remedy else ""
        known = f"{self._known or 'another key'} ({self._location})"
        shown = f"{self._shown or 'a key that ssh does not name'}{owner}"
        return printable_line(known), printable_line(shown)


def _shown_key(text: str) -> str:
    """Returns type and fingerprint of the key that the host showed, "" if ssh names none."""
    found = _SHOWN_KEY.search(text)
    if not found:
        return ""
    return f"{_KEY_TYPES.get(found[1], found[1])} {found[2].rstrip('.')}"


def _key_at(location: str) -> str:
    """Returns type and fingerprint of the key in file:line, "" if it cannot be read."""
    path, _, number = location.rpartition(":")
    try:
        text = read_file(Path(path), FILE_MAX).decode("utf-8", "replace")
        words = text.split("\n")[int(number) - 1].split()
        at = next(i for i, word in enumerate(words) if word.startswith("AAAA"))
        return f"{words[at - 1]} {fingerprint(base64.b64decode(words[at]))}"
    except (OSError, ValueError, IndexError, StopIteration):
        return ""
