"""A remote host by the system's own `ssh`: for Kerberos, host certificates, and whatever else the
built-in client cannot do.

Rules: our options go first, because ssh takes the first value of each: no prompt, no terminal, host
keys as the policy says. Everything else is the user's: ssh_config, agents, an existing master
connection. None is made: ssh would end if its socket could not be created. A password for sudo or
su never goes over a master connection, because whoever made that may not have checked the host's
key. ssh logs into a pipe of its own, so that its messages and the host's cannot be confused;
`openssh_log` reads them. The child never outlives the call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from fleetaudit.errors import TransportError, rerun_hint
from fleetaudit.model import SshTarget

from . import Deadline, Output, os_error_text
from .base import Execution, SharedState
from .child import LogPipe, run_child
from .jump_hosts import Hop, iterate_hops
from .known_hosts import USER_FILES
from .login_limiter import LoginSlot
from .openssh_log import Login, StageMarks, check_result, logged_in
from .ssh_command import shell_join
from .ssh_config import SshConfigs
from .ssh_files import check_files, check_ssh_config, own_files
from .ssh_options import (
    MEMORY_MAX,
    host_argument,
    host_key_options,
    o_options,
    quiet_options,
    redact_option,
    ssh_environment,
    user_options,
)
from .stdin_dialogue import StdinDialogue

# The first level that tells a master connection that broke off from a command that ended with 255.
_LOG_LEVEL = o_options("LogLevel=DEBUG2")
# Options that one command needs, whatever ssh_config has. Older versions of ssh do not know them.
_RUNS_A_COMMAND = {"sessiontype": "default", "stdinnull": "no", "forkafterauthentication": "no"}


def run_openssh(
    target: SshTarget, execution: Execution, dialogue: StdinDialogue, shared: SharedState
) -> Output:
    """Runs the command on the target, with `dialogue` as its stdin; raises `TransportError`.

    `connect_timeout_s` bounds, in whole seconds, the TCP connect and again the time until the keys
    are agreed on. Stages and reasons are those of the built-in client.
    """
    deadline = execution.deadline
    hops = _find_hops(target, shared.ssh_configs, deadline)
    # Before a slot is taken: waiting for a file must not make other hosts wait.
    check_files(target, hops, deadline.within(target.connect_timeout_s))
    attempt = _Attempt(target, _options(target, hops, shared), own_files(target, hops))
    slot = shared.login_limiter.slot(*_first_hop(target, hops))
    try:
        while True:
            if not slot.acquire(deadline):
                raise TransportError(
                    "connect",
                    f"other connections to {slot.address[0]} used up the time to log in",
                    hint=rerun_hint("--host-deadline", "600"),
                    kind="timed out",
                )
            try:
                return attempt.run(execution, dialogue, slot)
            except TransportError as e:
                dropped = e.transient and e.stage == "connect"
                if not dropped or not slot.retry_after_drop(deadline):
                    raise
    finally:
        slot.release()


class _Attempt:
    """What all attempts at one target have in common. `own` are the user's files that a hint may
    name.
    """

    def __init__(self, target: SshTarget, options: Sequence[str], own: frozenset[str]) -> None:
        self._target, self._options, self._own = target, options, own
        self._host = host_argument(target.address)

    def run(self, execution: Execution, dialogue: StdinDialogue, slot: LoginSlot) -> Output:
        """Runs ssh once, and releases the slot as soon as it is logged in."""
        target, log = self._target, LogPipe()
        marks = StageMarks(target, execution.on_stage)
        seen = 0  # bytes of whole lines of the log without a login: each is examined once

        def on_log(stdout: bytes, log: bytes) -> None:
            nonlocal seen
            marks.read(log)
            if stdout or logged_in(log, seen):
                slot.release()
            seen = log.rfind(b"\n") + 1

        argv = [target.program, "-E", log.name, *_LOG_LEVEL, *self._options, *self._host]
        try:
            result = run_child(
                [*argv, execution.command],
                dialogue,
                execution.deadline,
                execution.limits,
                environment=ssh_environment(),
                log=log,
                on_log=on_log,
                memory=MEMORY_MAX,
            )
        except OSError as e:
            raise TransportError(
                "connect",
                f"the program {target.program} cannot be started: {os_error_text(e)}",
                hint="sudo apt-get install openssh-client",
                kind="program not installed",
            ) from e
        return check_result(result, Login(target, self._own, self._hint()))

    def _hint(self) -> str:
        """Returns the same command line with `true` as the command, without secrets."""
        arguments = [*map(redact_option, self._options), *self._host]
        return shell_join([self._target.program, *arguments, "true"])


def _options(target: SshTarget, hops: Sequence[Hop], shared: SharedState) -> list[str]:
    """Returns every option, most important first: ours, then the user's in Ansible's order."""
    accept_file = shared.host_keys.accept_file
    options = [
        *quiet_options(),
        *_to_run_a_command(hops),
        *host_key_options(target, _known_hosts_of_user(hops), accept_file),
        *user_options(target),
    ]
    if target.become and target.become.password:
        options += ("-S", "none")  # of -S the last one counts, whatever ControlPath is
    return options


def _to_run_a_command(hops: Sequence[Hop]) -> Iterator[str]:
    """Yields the options that make ssh run a command if ssh_config would prevent it."""
    for hop in hops[:1]:
        for keyword, needed in _RUNS_A_COMMAND.items():
            if hop.config.all(keyword) not in ((), (needed,)):
                yield from o_options(f"{keyword}={needed}")


def _known_hosts_of_user(hops: Sequence[Hop]) -> Sequence[str]:
    """Returns the known_hosts files that ssh itself would read for this host."""
    return hops[0].config.paths("userknownhostsfile") if hops else USER_FILES[:2]


def _first_hop(target: SshTarget, hops: Sequence[Hop]) -> tuple[str, int]:
    """Returns the first address of the connection, which is to be limited: a jump host, or the
    host.
    """
    if not hops:
        return target.address, target.port
    return hops[-1].tokens.host, hops[-1].tokens.port


def _find_hops(target: SshTarget, configs: SshConfigs, deadline: Deadline) -> Sequence[Hop]:
    """Returns the host and its jump hosts as ssh_config and the options have them, () if they do
    not matter.

    If ssh cannot parse them, the rest is missing: the ssh that connects reports that.
    """
    until = deadline.within(target.connect_timeout_s)
    if not (target.arguments or target.late_arguments or configs.relevant(until)):
        return ()
    arguments = user_options(target)
    check_ssh_config(arguments, until)
    hops: list[Hop] = []
    with contextlib.suppress(TransportError):
        hops.extend(iterate_hops(configs, target.program, arguments, target.address, until))
    return hops
