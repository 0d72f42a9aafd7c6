"""The hosts that a connection goes through, as ssh_config has them: what `ssh -G` prints for the
host and its jump hosts.

Rules: `ssh -G` is called for every hop as ssh itself does for -J: with the same file, the user and
port of the list, and the rest of the list before it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import msgspec

from fleetaudit.errors import TransportError

from . import Deadline
from .ssh_command import shell_join
from .ssh_config import EffectiveConfig, SshConfigs
from .ssh_options import config_file_option, split_last_jump
from .ssh_tokens import Tokens, UnknownTokenError

MAX_HOPS = 8
Query = Callable[[str, Sequence[str], str, Deadline], EffectiveConfig]
"""Returns what ssh_config has, given ssh's program and arguments, a host and a deadline."""


class Hop(msgspec.Struct, frozen=True):
    """One host: its name in ssh_config, the arguments of `ssh -G`, and its answer."""

    name: str
    arguments: Sequence[str]
    config: EffectiveConfig
    tokens: Tokens


def iterate_hops(
    configs: SshConfigs,
    program: str,
    arguments: Sequence[str],
    name: str,
    deadline: Deadline,
    query: Query | None = None,
) -> Iterator[Hop]:
    """Yields the host itself, then its jump hosts, the nearest to the host first.

    `query` asks about the host itself, `configs.query_shared` if it is None. Raises
    `TransportError`.
    """
    ask = query or configs.query_shared
    config = ask(program, arguments, name, deadline)
    hop = Hop(name, arguments, config, Tokens.of(name, config))
    yield hop
    for number in range(MAX_HOPS + 1):
        jumps = _jump_hosts(hop)
        if not jumps:
            return
        name, arguments = split_last_jump(jumps, config_file_option(hop.arguments))
        with blame_jump_host(name):
            if number == MAX_HOPS:
                reason = f"the jump hosts form a loop, or are more than {MAX_HOPS}"
                raise TransportError("connect", reason, hint="", kind="ssh_config not usable")
            config = configs.query_once(program, arguments, name, deadline)
        hop = Hop(name, arguments, config, Tokens.of(name, config))
        yield hop


def _jump_hosts(hop: Hop) -> str:
    """Returns the jump hosts before a hop as in -J, "" for none; raises `TransportError`."""
    try:
        return hop.tokens.command(hop.config.one("proxyjump"))
    except UnknownTokenError as e:
        hint = shell_join(["ssh", "-G", "--", hop.name])
        reason = f"ssh_config has {e} in ProxyJump"
        raise TransportError("connect", reason, hint=hint, kind="ssh_config not usable") from e


@contextlib.contextmanager
def blame_jump_host(name: str) -> Iterator[None]:
    """Adds the name of the jump host to a failure."""
    try:
        yield
    except TransportError as e:
        raise e.attributed_to(f"jump host {name}", shell_join(["ssh", "-G", "--", name])) from e
