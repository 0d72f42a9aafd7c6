"""The hosts of a connection: the jump hosts, nearest first, then the target, each as ssh_config
completes it.

Rules: OpenSSH reads ssh_config; here what it prints becomes targets. Only the command line relaxes
how host keys are checked, and the key of a jump host must be known whatever the policy for the
hosts behind it. A password is only for the last host.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Literal

import msgspec

from fleetaudit.connection.ssh_keywords import FOLLOWED, LOGIN_METHODS, OTHER_USES
from fleetaudit.errors import TransportError, rerun_hint
from fleetaudit.model import HostKeyPolicy, Secret, SshConfig, SshTarget
from fleetaudit.transport import Deadline
from fleetaudit.transport.jump_hosts import Hop, blame_jump_host, iterate_hops
from fleetaudit.transport.ssh_command import shell_join
from fleetaudit.transport.ssh_config import IGNORED_KEYWORDS, EffectiveConfig, SshConfigs
from fleetaudit.transport.ssh_files import check_ssh_config
from fleetaudit.transport.ssh_options import (
    config_file_option,
    known_hosts_options,
    redact_option,
    user_options,
)
from fleetaudit.transport.ssh_tokens import UnknownTokenError

_OTHER_CLIENT = rerun_hint("--transport", "openssh")
# Followed without `ssh -G`, or of no use to a client that only runs a command.
_HANDLED = frozenset({"host", "preferredauthentications", "proxyusefdpass"}) | OTHER_USES
_LOGGED_ANYWAY = {"checkhostip", "challengeresponseauthentication"}
_NOT_LOGGED = (FOLLOWED - _LOGGED_ANYWAY) | _HANDLED | IGNORED_KEYWORDS
_NOT_USED = frozenset({"controlpath"})  # there is no master connection
_FAMILIES: dict[str, Literal["inet", "inet6"]] = {"inet": "inet", "inet6": "inet6"}


def resolve_hops(
    target: SshTarget, configs: SshConfigs, deadline: Deadline
) -> tuple[SshTarget, ...]:
    """Returns the hops, the last of them the target itself.

    `deadline` bounds all of it, as does the target's `connect_timeout_s`. Raises `TransportError`
    (stage "connect" for an ssh_config that cannot be used, "resolve" for a name without an
    address), which names the jump host that it is about.

    If there is nothing to read (no arguments, and files without a relevant option), that is the
    target as it is.
    """
    # A Match exec may wait forever, and the rest of the time is for the host.
    until = deadline.within(target.connect_timeout_s)
    if not (target.arguments or target.late_arguments or configs.relevant(until)):
        return (target,)
    arguments = (*known_hosts_options(target), *user_options(target))
    if target.no_exec:
        configs.refuse_programs(arguments, until)
    configs.check_once(config_file_option(arguments), partial(check_ssh_config, arguments, until))
    query = partial(configs.query_shared, ignored=_NOT_USED)
    hops = iterate_hops(configs, target.program, arguments, target.address, until, query)
    found = [_complete(target, next(hops), configs, until)]
    for hop in hops:
        with blame_jump_host(hop.name):
            found.insert(0, _complete(_jump_host(target, hop.name), hop, configs, until))
    return tuple(found)


def _jump_host(target: SshTarget, name: str) -> SshTarget:
    """Returns a jump host, with the options that it shares with the target behind it."""
    return SshTarget(
        address=name,
        connect_timeout_s=target.connect_timeout_s,
        use_agent=target.use_agent,
        program=target.program,
        no_exec=target.no_exec,
    )


def _complete(target: SshTarget, hop: Hop, configs: SshConfigs, deadline: Deadline) -> SshTarget:
    """Returns the target with what ssh_config has for it; raises `TransportError`."""
    defaults = configs.query_once(target.program, ("-F", "none"), "host", deadline)
    config = hop.config
    if target.no_exec and config.one("proxycommand"):
        reason = "ssh_config has a ProxyCommand for it, and --no-exec allows no program"
        hint = shell_join(["ssh", "-G", "--", hop.name])
        raise TransportError("connect", reason, hint=hint, kind="ssh_config not usable")
    if config.one("proxycommand") and config.one("proxyusefdpass") == "yes":
        raise _needs_openssh("ProxyUseFdpass needs the system's own ssh")
    configs.log_unsupported(_unsupported(config, defaults))
    options = _SetOptions(config, defaults)
    try:
        ssh_config = _ssh_config(hop, options)
        keys = tuple(_key_path(hop, path) for path in options.values("identityfile"))
    except UnknownTokenError as e:
        raise _needs_openssh(f"ssh_config has {e}") from e
    return msgspec.structs.replace(
        target,
        address=hop.tokens.host,
        port=hop.tokens.port,
        user=hop.tokens.user or None,
        private_keys=keys,
        known_hosts=config.paths("userknownhostsfile", "globalknownhostsfile"),
        host_key_policy=_policy(target.host_key_policy, config),
        connect_timeout_s=_connect_timeout(target, config),
        use_agent=target.use_agent and _first(config, "identityagent") != "none",
        ssh_config=ssh_config,
    )


def _needs_openssh(reason: str) -> TransportError:
    """Returns the error for what only the system's ssh can do."""
    return TransportError("connect", reason, hint=_OTHER_CLIENT, kind="ssh_config not usable")


class _SetOptions:
    """The options that ssh_config or the arguments set, as opposed to OpenSSH's defaults."""

    def __init__(self, config: EffectiveConfig, defaults: EffectiveConfig) -> None:
        self._config, self._defaults = config, defaults

    def values(self, keyword: str) -> tuple[str, ...]:
        """Returns the values of a keyword, () if they are the defaults."""
        values = self._config.all(keyword)
        if values == self._defaults.all(keyword):
            return ()
        return values

    def listed(self, keyword: str) -> tuple[str, ...] | None:
        """Returns the elements of a comma-separated list, None if it is the default."""
        values = self.values(keyword)
        if not values:
            return None
        return tuple(values[0].split(","))


def _ssh_config(hop: Hop, options: _SetOptions) -> SshConfig:
    """Returns what `SshTarget` has no field for; raises `UnknownTokenError`."""
    config, tokens = hop.config, hop.tokens
    methods = _methods(config)
    return SshConfig(
        name=hop.name,
        options=tuple(map(redact_option, hop.arguments)),
        host_key_alias=tokens.alias,
        revoked_host_keys=tuple(map(tokens.home, config.paths("revokedhostkeys"))),
        proxy_command=_proxy_command(hop),
        identities_only=config.one("identitiesonly") == "yes",
        certificates=tuple(map(tokens.path, config.all("certificatefile"))),
        agent=_agent_path(_first(config, "identityagent")),
        public_keys="publickey" in methods,
        password_methods=tuple(method for method in methods if method != "publickey"),
        family=_FAMILIES.get(config.one("addressfamily"), "any"),
        bind_address=config.one("bindaddress"),
        alive_interval_s=int(next(iter(options.values("serveraliveinterval")), "0")),
        alive_count=int(config.one("serveralivecountmax") or 3),
        ciphers=options.listed("ciphers"),
        key_exchanges=options.listed("kexalgorithms"),
        host_key_algorithms=options.listed("hostkeyalgorithms"),
        ca_algorithms=options.listed("casignaturealgorithms"),
        macs=options.listed("macs"),
    )


def _proxy_command(hop: Hop) -> Secret | None:
    """Returns the ProxyCommand, expanded, None for none; it may contain a secret."""
    command = hop.config.one("proxycommand")
    if not command:
        return None
    return Secret(hop.tokens.command(command))


def _first(config: EffectiveConfig, keyword: str) -> str:
    """Returns the first value of a keyword, also if it is "none"."""
    return next(iter(config.all(keyword)), "")


def _key_path(hop: Hop, path: str) -> str:
    """Returns the path of an IdentityFile, "none" as it is."""
    if path == "none":
        return path
    return hop.tokens.path(path)


def _connect_timeout(target: SshTarget, config: EffectiveConfig) -> float:
    """Returns the shorter of the ConnectTimeout and the target's own."""
    seconds = config.one("connecttimeout")
    return min(float(seconds or "inf"), target.connect_timeout_s)


def _methods(config: EffectiveConfig) -> list[str]:
    """Returns the authentication methods that ssh_config allows, most preferred first."""
    preferred = (config.one("preferredauthentications") or ",".join(LOGIN_METHODS)).split(",")
    allowed = [method for method in dict.fromkeys(preferred) if _is_allowed(method, config)]
    if config.one("numberofpasswordprompts") == "0":
        return [method for method in allowed if method == "publickey"]
    return allowed


def _is_allowed(method: str, config: EffectiveConfig) -> bool:
    """Returns whether ssh_config allows a method that we know."""
    return method in LOGIN_METHODS and config.one(LOGIN_METHODS[method]) not in ("no", "false")


def _policy(policy: HostKeyPolicy, config: EffectiveConfig) -> HostKeyPolicy:
    """Returns the stricter of the policy and StrictHostKeyChecking."""
    if config.one("stricthostkeychecking") in ("yes", "true"):
        return "strict"
    return policy


def _agent_path(value: str) -> str:
    """Returns the path of an IdentityAgent, "" if it is that of SSH_AUTH_SOCK or none."""
    if value in ("", "none", "SSH_AUTH_SOCK"):
        return ""
    if re.fullmatch(r"\$\w+", value):
        return os.environ.get(value[1:], "")
    return value


def _unsupported(config: EffectiveConfig, defaults: EffectiveConfig) -> list[str]:
    """Returns the options that matter and that the built-in client does not support."""
    found = [
        keyword
        for keyword, values in config.values.items()
        if keyword not in _NOT_LOGGED and values != defaults.all(keyword)
    ]
    check = config.one("stricthostkeychecking")
    if check in ("no", "false", "off", "accept-new"):
        found.append(f"stricthostkeychecking {check}")
    return found
