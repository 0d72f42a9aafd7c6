"""A remote host by the system's own `ssh`: for Kerberos, certificates of hosts, all that the other
client cannot do.

Rules: our options go first, because ssh takes the first value of each: no prompt, no terminal, host
keys as the policy says. Everything else is the user's: ssh_config, agents, a master connection that
is there. None is made: where its socket cannot be, ssh would end. A password for sudo or su goes by
no master connection, for whoever made that may not have checked the host's key. ssh logs into a
pipe of its own, so that what it says and what the host says cannot be confused; the child never
outlives the call.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleetaudit.errors import FailureKind, TransportError, rerun_hint
from fleetaudit.model import SshTarget, Stage
from fleetaudit.text.files import read_file
from fleetaudit.text.sanitize import printable_line, quote_line

from . import (
    Deadline,
    Limits,
    Output,
    StageListener,
    ignore_stage,
)
from .child import (
    LOG_MAX,
    ChildResult,
    LogPipe,
    run_child,
)
from .jump_hosts import Hop, iterate_hops
from .known_hosts import (
    FILE_MAX,
    USER_FILES,
    HostKeys,
    fingerprint,
    forget_command,
)
from .login_limiter import LoginLimiter, LoginSlot
from .password_expiry import classify_expiry
from .ssh_command import dropped_before_login, permissions_too_open, shell_join
from .ssh_config import SshConfigs
from .ssh_files import check_files, check_ssh_config, own_files
from .ssh_options import (
    MEMORY_MAX,
    host_argument,
    known_hosts_options,
    o_options,
    quiet_options,
    redact_option,
    ssh_environment,
    user_known_hosts_option,
    user_options,
)
from .stdin_dialogue import StdinDialogue

_FAILED = 255  # ssh's own status; a command may end with it as well
# The first level that tells a master connection that broke off from a command that ended with 255.
_LOG_LEVEL = o_options("LogLevel=DEBUG2")
# The latter once the host has opened a session in a connection of a master, who had logged in
# before.
_LOGGED_IN = re.compile(
    rb"^(?:Authenticated to |debug1: mux_client_request_session: master session id:)", re.MULTILINE
)
_PROXIED = re.compile(rb"^debug1: Executing proxy command: .*ssh", re.MULTILINE)
# From here on the host judges a login: nothing is sent twice.
_LOGIN_BEGAN = re.compile(rb"^debug1: SSH2_MSG_SERVICE_ACCEPT received", re.MULTILINE)
_DEBUG = re.compile(r"^debug\d: .*\n?", re.MULTILINE)
_MASTER_GONE = re.compile(r"^debug2: (Control master terminated unexpectedly)", re.MULTILINE)
# What the log says once a stage lies behind, in their order.
_MARKS: tuple[tuple[Stage, re.Pattern[bytes]], ...] = (
    (
        "resolve",
        re.compile(
            rb"^debug1: (?:Connecting to \S+ \[(\S+)\] port|Executing (proxy command):)",
            re.MULTILINE,
        ),
    ),
    ("connect", re.compile(rb"^debug1: Authenticating to (\S+) as ", re.MULTILINE)),
    (
        "host key",
        re.compile(
            rb"^debug1: Server host key: (.*?)\r?\n(?:.*\n)*?debug1: SSH2_MSG_NEWKEYS sent",
            re.MULTILINE,
        ),
    ),
    ("authenticate", re.compile(rb"^Authenticated to (.*?)\.?\r?$", re.MULTILINE)),
)

# In this order: a jump host's own reason goes before what its end looks like from here. The log of
# ssh, line by line: a pattern, the stage, the kind, whether trying again may help.
_REASONS: tuple[tuple[str, Stage, FailureKind, bool], ...] = (
    (r"Could not resolve hostname .*: Temporary failure in name resolution", "resolve", "name not found", True),
    (r"Could not resolve host(?:name)? .*", "resolve", "name not found", False),
    (r".*REMOTE HOST IDENTIFICATION HAS CHANGED.*", "host key", "host key changed", False),
    (r".*revoked host key.*|.*marked as revoked.*", "host key", "host key revoked", False),
    (r"No .* host key is known for .*", "host key", "host key unknown", False),
    (r"Host key verification failed.*|.*[Hh]ost certificate.*|Certificate invalid: .*", "host key",
     "host key not trusted", False),
    (r"unix_listener: .*|ControlPath too long.*|.*_expand: unknown key .*", "connect", "ssh_config not usable", False),
    (r".*Too many authentication failures.*", "authenticate", "permission denied", False),
    (r".*Permission denied.*|No more authentication methods.*", "authenticate", "permission denied", False),
    (r".*(?:Bad configuration option|[Bb]ad owner or permissions|terminating, \d+ bad|Can't open user config).*",
     "connect", "ssh_config not usable", False),
    (r".*(?:illegal option|unknown option|keyword .* extra arguments|missing argument|Bad .* specification).*",
     "connect", "ssh_config not usable", False),
    (r"connect to host .*: Connection reset by peer", "connect", "connection reset", True),
    (r"connect to host .*: Connection refused", "connect", "connection refused", False),
    (r"connect to host .*: No route to host", "connect", "no route to host", False),
    (r"connect to host .*: Network is unreachable", "connect", "network unreachable", False),
    (r"connect to host .*: Connection timed out", "connect", "timed out", False),
    (r"connect to host .*", "connect", "", False),
    (r".*Unable to negotiate .*", "connect", "no common algorithm", False),
    (r".*timed out during banner exchange.*|.*banner exchange: .*timed out.*|.* timed out", "connect", "timed out",
     False),
    (r"kex_exchange_identification: .*|ssh_exchange_identification: .*|banner exchange: .*", "connect", "hung up",
     True),
    (r"Connection (?:closed|reset) by .*|Connection to .* closed by remote host\.?|.*Broken pipe.*", "connect",
     "hung up", True),
)  # fmt: skip
# What ssh calls a key's type, where that leaves no doubt (an ECDSA key's curve it does not tell).
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
_COMMAND_ENDED = re.compile(rb"^debug1: Exit status \d", re.MULTILINE)
_STATISTICS = ("Transferred: ", "Bytes per second: ")
_NOT_RUN = re.compile(r"^(exec request failed on channel.*|.*open failed: .*)", re.MULTILINE)


def run_openssh(
    target: SshTarget,
    command: str,
    dialogue: StdinDialogue,
    deadline: Deadline,
    limits: Limits,
    *,
    host_keys: HostKeys,
    login_limiter: LoginLimiter,
    configs: SshConfigs,
    on_stage: StageListener,
) -> Output:
    """Runs `command` on the target, telling it `dialogue`, and returns its output; raises
    `TransportError`.

    `connect_timeout_s` bounds, in whole seconds, the TCP connect and again the time until the keys
    are agreed on; `deadline` bounds all. Stages and reasons are those of the other SSH transport.
    """
    found = _hops(target, configs, deadline)
    # Before a turn is taken: waiting for a file must not make other hosts wait.
    check_files(target, found, deadline.within(target.connect_timeout_s))
    options = _options(target, found, host_keys.accept_file)
    turn = login_limiter.turn(*_first_hop(target, found))
    own = own_files(target, found)
    try:
        while True:
            if not turn.wait(deadline):
                reason = f"other connections to {turn.address[0]} took all of the time to log in"
                raise TransportError(
                    "connect", reason, hint=rerun_hint("--host-deadline", "600"), kind="timed out"
                )
            try:
                return _once(
                    target, options, own, turn, command, dialogue, deadline, limits, on_stage
                )
            except TransportError as e:
                if not (e.transient and e.stage == "connect" and turn.dropped(deadline)):
                    raise
    finally:
        turn.done()


def _once(
    target: SshTarget,
    options: list[str],
    own: frozenset[str],
    turn: LoginSlot,
    command: str,
    dialogue: StdinDialogue,
    deadline: Deadline,
    limits: Limits,
    on_stage: StageListener,
) -> Output:
    stages = _Stages(target, on_stage)
    seen = 0  # bytes of whole lines of the log, which tell of no login: each is looked at once

    def heard(stdout: bytes, log: bytes) -> None:
        nonlocal seen
        stages.heard(log)
        if stdout or _LOGGED_IN.search(log, seen):
            turn.done()
        seen = log.rfind(b"\n") + 1

    hint = shell_join(
        [target.program, *map(redact_option, options), *host_argument(target.address), "true"]
    )
    log = LogPipe()
    argv = [
        target.program,
        "-E",
        log.name,
        *_LOG_LEVEL,
        *options,
        *host_argument(target.address),
        command,
    ]
    try:
        ended = run_child(
            argv,
            dialogue,
            deadline,
            limits,
            environment=ssh_environment(),
            log=log,
            heard=heard,
            memory=MEMORY_MAX,
        )
    except OSError as e:
        reason = f"the program {target.program} cannot be started: {(e.strerror or str(e)).lower()}"
        raise TransportError(
            "connect",
            reason,
            hint="sudo apt-get install openssh-client",
            kind="program not installed",
        ) from e
    return _judged(ended, target, own, hint)


class _Stages:
    """Tells which stages lie behind, from the log of an ssh that tells more than usual."""

    def __init__(self, target: SshTarget, on_stage: StageListener) -> None:
        self._target, self._passed, self._done = target, on_stage, set[Stage]()

    def heard(self, log: bytes) -> None:
        """Reads all of the log so far."""
        if self._passed is ignore_stage:
            return
        for stage, pattern in _MARKS:
            if stage not in self._done and (found := pattern.search(log)):
                self._done.add(stage)
                self._passed(
                    stage,
                    printable_line(next(filter(None, found.groups()), b"") or self._target.address),
                )


def _judged(ended: ChildResult, target: SshTarget, own: frozenset[str], hint: str) -> Output:
    """Returns the command's output if it ran to its end; raises `TransportError` if it did not.

    `own` are the user's files that a hint may name: a host may print the name of any file.
    """
    output, log = ended.output, _DEBUG.sub("", ended.log.decode("utf-8", "replace"))
    logged_in = bool(_LOGGED_IN.search(ended.log) or output.stdout)
    said = quote_line(output.stderr[-2000:], "; it said ")
    so_far = f"after {len(output.stdout)} bytes of output"
    if not ended.in_time and logged_in:
        raise TransportError(
            "execute",
            f"the command did not end in time, {so_far}{said}",
            hint=hint,
            kind="timed out",
        )
    if not ended.in_time and _LOGIN_BEGAN.search(ended.log):
        reason = f"the host stalled while {target.user or 'the user'} was logging in"
        raise TransportError("authenticate", reason, hint=hint, kind="timed out")
    if not ended.in_time:
        last = quote_line(
            (log.strip() or printable_line(output.stderr)).rpartition("\n")[2], "; ssh said "
        )
        raise TransportError(
            "connect", f"the login did not finish in time{last}", hint=hint, kind="timed out"
        )
    if output.exit_status != _FAILED or output.cut:
        return output
    if logged_in:
        if found := _NOT_RUN.search(log):
            raise TransportError(
                "execute",
                f"the host refuses to run a command: {printable_line(found[0])}",
                hint=hint,
                kind="command refused",
            )
        if end := _end_of_connection(ended, log):
            reason = f"the connection broke off {so_far} ({end}){said}"
            raise TransportError(
                "execute", reason, hint=hint, kind="connection lost", transient=True
            )
        if last := _last_words(ended, log):
            reason = f"ssh ended by itself {so_far}: {printable_line(last)}{said}"
            raise TransportError("execute", reason, hint=hint, kind="connection lost")
        return output
    # Until the login, stderr is from the ssh to a jump host; after it, from the host, which may
    # print anything.
    stderr = "" if _LOGIN_BEGAN.search(ended.log) else output.stderr.decode("utf-8", "replace")
    raise _of_login(_reason(log, stderr, target, own, hint), ended)


def _of_login(error: TransportError, ended: ChildResult) -> TransportError:
    """Returns the reason why there was no login, at the right stage; transient if no host judged a
    login.
    """
    if error.stage != "connect":
        return error
    if _LOGIN_BEGAN.search(ended.log):
        banner = ended.output.stderr[-2000:]
        reason = f"the connection ended while logging in: {error.reason}{quote_line(banner, '; it said ')}"
        kind = classify_expiry(printable_line(banner, 2000)) or error.kind or "hung up"
        return TransportError("authenticate", reason, hint=error.hint, kind=kind)
    if not error.transient:
        return error
    if _PROXIED.search(ended.log) and not dropped_before_login(ended.output.stderr):
        # The ssh of a jump host or a ProxyCommand prints on stderr how far it came, or nothing at
        # all.
        said = quote_line(ended.output.stderr[-2000:].strip().rpartition(b"\n")[2], ": ")
        stage: Stage = "authenticate" if _AFTER_GREETING.search(said) else "connect"
        return TransportError(
            stage,
            f"the ssh of a jump host or ProxyCommand ended{said}",
            hint=error.hint,
            kind=error.kind,
        )
    if len(ended.log) >= LOG_MAX:  # a login may have begun in what was not kept
        return TransportError(error.stage, error.reason, hint=error.hint, kind=error.kind)
    return error


def _last_words(ended: ChildResult, log: str) -> str:
    """Returns ssh's own last line after the login, "" if the command ended with its status."""
    if _COMMAND_ENDED.search(ended.log) or len(ended.log) >= LOG_MAX:
        return ""
    _, authenticated, after = log.rpartition("Authenticated to ")
    lines = [line.strip() for line in after.split("\n")[1:] if authenticated]
    return next((line for line in reversed(lines) if line and not line.startswith(_STATISTICS)), "")


def _end_of_connection(ended: ChildResult, log: str) -> str:
    """Returns ssh's words about a connection that broke off, "" where it said none."""
    # It tells the end of a connection on stderr, whatever its log is.
    found = _BROKE_OFF.search(f"{log}\n{ended.output.stderr[-200:].decode('utf-8', 'replace')}")
    found = found or _MASTER_GONE.search(ended.log.decode("utf-8", "replace"))
    return printable_line(found[1]) if found else ""


def _reason(
    log: str, stderr: str, target: SshTarget, own: frozenset[str], hint: str
) -> TransportError:
    """Returns why there was no login, from what ssh logged, and the ssh to a jump host (which logs
    to stderr).
    """
    lines = [line.strip().removeprefix("ssh: ") for line in (*log.split("\n"), *stderr.split("\n"))]
    lines = [line for line in lines if line.strip("@ \r")]
    for pattern, stage, kind, transient in _REASONS:
        for line in lines:
            if re.fullmatch(pattern, line):
                if stage == "host key":
                    return _of_host_key(" ".join(lines), lines, hint)
                if kind == "permission denied" and (key := _open_key(lines, own)):
                    return _of_open_key(key[1], key[2], line)
                if (socket := _MASTER_SOCKET.match(line)) and socket[1] in own:
                    return _of_master_socket(socket[1], line)
                return TransportError(
                    stage, printable_line(line), hint=hint, kind=kind, transient=transient
                )
    last = quote_line(lines[-1] if lines else "", ": ")
    return TransportError(
        "connect", f"{target.program} ended with status {_FAILED}{last}", hint=hint
    )


def _open_key(lines: list[str], own: frozenset[str]) -> re.Match[str] | None:
    """Returns mode and path of a private key of the user that ssh did not use because others may
    read it.
    """
    found = filter(None, map(_TOO_OPEN.match, lines))
    return next((key for key in found if key[2] in own), None)


def _of_open_key(mode: str, path: str, line: str) -> TransportError:
    """Returns why a private key was not used, in the words of the other client."""
    reason = f"{permissions_too_open(path, mode)}; {printable_line(line)}"
    return TransportError(
        "authenticate", reason, hint=shell_join(["chmod", "600", path]), kind="no usable key"
    )


def _of_master_socket(path: str, line: str) -> TransportError:
    """Returns why a jump host's ssh could not make the connection that its ControlMaster asks for."""
    folder = str(Path(path).parent)
    missing = line.endswith("No such file or directory")
    hint = shell_join(["mkdir", "-p", "-m", "700", folder] if missing else ["ls", "-ld", folder])
    cause = line.rpartition(": ")[2]
    reason = f"ControlPath of a jump host: cannot make {path}: {cause.lower()}"
    return TransportError(
        "connect", printable_line(reason), hint=hint, kind="ssh_config not usable"
    )


def _of_host_key(text: str, lines: list[str], hint: str) -> TransportError:
    """Returns ssh's words about a host key in one line: what was shown, what was known, and where."""
    offered = re.search(
        r"(\S+) key (?:sent by|fingerprint is|for .* fingerprint)[^.]*?\s*(SHA256:\S+)", text
    )
    offending = re.search(r"Offending (\S+) key in (\S+)|Offending key in (\S+)", text)
    kind: FailureKind
    if "IDENTIFICATION HAS CHANGED" in text:
        kind, what = "host key changed", "changed host key"
    elif "revoked" in text.lower():
        kind, what = "host key revoked", "revoked host key"
    elif re.search(r"[Cc]ertificate", text):
        kind, what = "host key not trusted", "host certificate not trusted"
    else:
        kind, what = "host key unknown", "unknown host key"
    new = f"{_KEY_TYPES.get(offered[1], offered[1])} {offered[2].rstrip('.')}" if offered else ""
    file = ((offending[2] or offending[3]) if offending else "").rstrip(":")
    known = _known(file)
    parts = [f"shown {new}"] if new else []
    parts += [f"known in {file}" + (f" as {known}" if known else "")] if file else []
    if not parts:
        parts = [line for line in lines if "uthenticated to" not in line][-2:]
    whose = ""
    if remedy := re.search(r"ssh-keygen -f [\"']?([^\"']+?)[\"']? -R [\"']?([^\"'\s]+)", text):
        hint, whose = (
            forget_command(remedy[2], remedy[1]),
            f" of {remedy[2]}",
        )  # it may be a jump host
    changed = (
        printable_line(f"{known or 'another key'} ({file})"),
        printable_line((new or "a key that ssh does not name") + whose),
    )
    return TransportError(
        "host key",
        f"{what}: " + printable_line("; ".join(parts)),
        hint=hint,
        kind=kind,
        changed_key=changed if kind == "host key changed" else None,
    )


def _known(location: str) -> str:
    """Returns type and fingerprint of the key in file:line, "" where it cannot be read."""
    path, _, number = location.rstrip(":").rpartition(":")
    try:
        text = read_file(Path(path), FILE_MAX).decode("utf-8", "replace")
        words = text.split("\n")[int(number) - 1].split()
        at = next(i for i, word in enumerate(words) if word.startswith("AAAA"))
        return f"{words[at - 1]} {fingerprint(base64.b64decode(words[at]))}"
    except (OSError, ValueError, IndexError, StopIteration):
        return ""


# ---- the command line
# ----------------------------------------------------------------------------------------------


def _options(target: SshTarget, found: list[Hop], accept_file: Path | None) -> list[str]:
    """Returns every option, most important first: ours, then as Ansible orders the user's."""
    ours = [
        *quiet_options(),
        *_to_run_a_command(found),
        *_host_key_options(target, found, accept_file),
    ]
    # Of -S the last one counts, whatever ControlPath says.
    unshared = ("-S", "none") if target.become and target.become.password else ()
    return [*ours, *user_options(target), *unshared]


# Options that one command needs, whatever ssh_config has. Older versions of ssh do not know them.
_RUNS_A_COMMAND = {"sessiontype": "default", "stdinnull": "no", "forkafterauthentication": "no"}


def _to_run_a_command(found: list[Hop]) -> Iterator[str]:
    """Yields the arguments that make ssh run a command if ssh_config would prevent it."""
    for keyword, needed in _RUNS_A_COMMAND.items():
        if found and found[0].answer.all(keyword) not in ((), (needed,)):
            yield from o_options(f"{keyword}={needed}")


def _host_key_options(
    target: SshTarget, found: list[Hop], accept_file: Path | None
) -> Iterator[str]:
    """Yields what says which host keys are trusted; nothing of the user's is ever written."""
    if target.host_key_policy == "off":
        yield from o_options(
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
        )
        return
    # Else ssh checks nothing on loopback, where tunnels to other hosts end.
    yield from o_options("NoHostAuthenticationForLocalhost=no")
    yield from o_options(
        "StrictHostKeyChecking=" + ("yes" if target.host_key_policy == "strict" else "accept-new")
    )
    if target.host_key_policy == "accept-new":
        # ssh appends to the first file; the user's own are only read.
        first = str(accept_file.resolve() if accept_file else "/dev/null")
        yield from user_known_hosts_option([first, *(target.known_hosts or _users_files(found))])
        if target.known_hosts:
            yield from o_options("GlobalKnownHostsFile=/dev/null")
    else:
        yield from known_hosts_options(target)


def _users_files(found: list[Hop]) -> Sequence[str]:
    """Returns the known_hosts files that ssh itself would read for this host."""
    if not found:
        return USER_FILES[:2]
    return found[0].answer.paths("userknownhostsfile")


def _first_hop(target: SshTarget, found: list[Hop]) -> tuple[str, int]:
    """Returns what the connection meets first and what must not be crowded: a jump host, or the
    host itself.
    """
    if not found:
        return target.address, target.port
    return found[-1].tokens.host, found[-1].tokens.port


def _hops(target: SshTarget, configs: SshConfigs, deadline: Deadline) -> list[Hop]:
    """Returns the host and its jump hosts as ssh_config and the arguments have them, as far as ssh
    can parse them.

    Returns none if they do not matter.
    """
    found: list[Hop] = []
    until = deadline.within(target.connect_timeout_s)
    if target.arguments or target.late_arguments or configs.speak(until):
        words = user_options(target)
        check_ssh_config(words, until)
        with contextlib.suppress(TransportError):  # which the ssh that connects tells as well
            found.extend(iterate_hops(configs, target.program, words, target.address, until))
    return found
