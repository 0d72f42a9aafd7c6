"""The way to a host: its jump hosts, nearest first, then the host, each with what ssh_config says
about it.

Rules: OpenSSH reads ssh_config; here its answer becomes targets. The command line alone loosens how
host keys are checked, and a jump host's key must be known whatever it says of the hosts behind. A
password is for the last of them alone.
"""

from __future__ import annotations

import os
import re
from typing import Literal

import msgspec

from fleetaudit.errors import TransportError, rerun_hint
from fleetaudit.model import (
    HostKeyPolicy,
    Secret,
    SshConfig,
    SshTarget,
)
from fleetaudit.transport import Deadline
from fleetaudit.transport.jump_hosts import Hop, blame_jump_host, iterate_hops
from fleetaudit.transport.ssh_config import IGNORED_KEYWORDS, EffectiveConfig, SshConfigs
from fleetaudit.transport.ssh_files import check_ssh_config
from fleetaudit.transport.ssh_options import known_hosts_options, redact_option, user_options
from fleetaudit.transport.ssh_tokens import UnknownTokenError

_OTHER_CLIENT = rerun_hint("--transport", "openssh")
# The last line is about how ssh runs a command: we always run it.
_HONOURED = frozenset(
    [
        "addressfamily",
        "bindaddress",
        "canonicaldomains",
        "canonicalizefallbacklocal",
        "canonicalizehostname",
        "canonicalizemaxdots",
        "canonicalizepermittedcnames",
        "certificatefile",
        "ciphers",
        "connecttimeout",
        "globalknownhostsfile",
        "host",
        "hostkeyalgorithms",
        "hostkeyalias",
        "hostname",
        "identitiesonly",
        "identityagent",
        "identityfile",
        "kbdinteractiveauthentication",
        "kexalgorithms",
        "macs",
        "numberofpasswordprompts",
        "passwordauthentication",
        "port",
        "preferredauthentications",
        "proxycommand",
        "proxyjump",
        "proxyusefdpass",
        "pubkeyauthentication",
        "revokedhostkeys",
        "serveralivecountmax",
        "serveraliveinterval",
        "stricthostkeychecking",
        "user",
        "userknownhostsfile",
        "forkafterauthentication",
        "sessiontype",
        "stdinnull",
    ]
)
_NOT_TOLD = _HONOURED | IGNORED_KEYWORDS


def resolve_hops(
    target: SshTarget, configs: SshConfigs, deadline: Deadline
) -> tuple[SshTarget, ...]:
    """Returns the hops, the last of them the target itself as ssh_config completes it; raises
    `TransportError`.

    Where there is nothing to read (no arguments, and files that say nothing), that is the target as
    it stands.
    """
    # A Match exec may wait for ever, and the rest of the time is for the host.
    until = deadline.within(target.connect_timeout_s)
    if not (target.arguments or target.late_arguments or configs.speak(until)):
        return (target,)
    words = [*known_hosts_options(target), *user_options(target)]
    check_ssh_config(words, until)
    found: list[SshTarget] = []
    for hop in iterate_hops(configs, target.program, words, target.address, until):
        if not found:
            found = [_completed(target, hop, configs, until)]
            continue
        with blame_jump_host(hop.name):
            found.insert(0, _completed(_stranger(target, hop.name), hop, configs, until))
    return tuple(found)


def _stranger(target: SshTarget, name: str) -> SshTarget:
    """Returns what a jump host has of the target behind it: how long it may take, and whether an
    agent is asked.
    """
    return SshTarget(
        address=name,
        connect_timeout_s=target.connect_timeout_s,
        use_agent=target.use_agent,
        program=target.program,
    )


def _completed(asked: SshTarget, hop: Hop, configs: SshConfigs, deadline: Deadline) -> SshTarget:
    """Returns the target that the answer makes of what was asked about; raises `TransportError`."""
    plain = configs.ask_once(asked.program, ("-F", "none"), "host", deadline)
    answer, tokens = hop.answer, hop.tokens
    command = answer.one("proxycommand")
    if command and answer.one("proxyusefdpass") == "yes":
        raise TransportError(
            "connect",
            "ProxyUseFdpass needs the system's own ssh",
            hint=_OTHER_CLIENT,
            kind="ssh_config not usable",
        )
    configs.note(_not_honoured(answer, plain))

    def set_(keyword: str) -> tuple[str, ...]:
        """Returns the values of a keyword, () where they are what they are without any ssh_config."""
        return answer.all(keyword) if answer.all(keyword) != plain.all(keyword) else ()

    def listed(keyword: str) -> tuple[str, ...] | None:
        return tuple(set_(keyword)[0].split(",")) if set_(keyword) else None

    agent = next(iter(answer.all("identityagent")), "")
    try:
        config = SshConfig(
            name=hop.name,
            options=tuple(map(redact_option, hop.words)),
            host_key_alias=tokens.alias,
            revoked_host_keys=tuple(map(tokens.home, answer.paths("revokedhostkeys"))),
            proxy_command=Secret(tokens.command(command)) if command else None,
            identities_only=answer.one("identitiesonly") == "yes",
            certificates=tuple(map(tokens.path, answer.all("certificatefile"))),
            agent=_agent(agent),
            public_keys="publickey" in _methods(answer),
            password_methods=tuple(method for method in _methods(answer) if method != "publickey"),
            family=_FAMILIES.get(answer.one("addressfamily"), "any"),
            bind_address=answer.one("bindaddress"),
            alive_interval_s=int(next(iter(set_("serveraliveinterval")), "0")),
            alive_count=int(answer.one("serveralivecountmax") or 3),
            ciphers=listed("ciphers"),
            key_exchanges=listed("kexalgorithms"),
            host_key_algorithms=listed("hostkeyalgorithms"),
            macs=listed("macs"),
        )
        keys = tuple(path if path == "none" else tokens.path(path) for path in set_("identityfile"))
    except UnknownTokenError as e:
        raise TransportError(
            "connect", f"ssh_config has {e}", hint=_OTHER_CLIENT, kind="ssh_config not usable"
        ) from e
    seconds = answer.one("connecttimeout")
    return msgspec.structs.replace(
        asked,
        address=tokens.host,
        port=tokens.port,
        user=tokens.user or None,
        private_keys=keys,
        known_hosts=answer.paths("userknownhostsfile", "globalknownhostsfile"),
        host_key_policy=_policy(asked.host_key_policy, answer),
        connect_timeout_s=(
            min(float(seconds), asked.connect_timeout_s) if seconds else asked.connect_timeout_s
        ),
        use_agent=asked.use_agent and agent != "none",
        ssh_config=config,
    )


_METHODS = {
    "publickey": "pubkeyauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "password": "passwordauthentication",
}


def _methods(answer: EffectiveConfig) -> list[str]:
    """Returns the authentication methods that ssh_config allows, most preferred first."""
    preferred = answer.one("preferredauthentications") or ",".join(_METHODS)
    known = dict.fromkeys(method for method in preferred.split(",") if method in _METHODS)
    allowed = [method for method in known if answer.one(_METHODS[method]) not in ("no", "false")]
    return (
        allowed
        if answer.one("numberofpasswordprompts") != "0"
        else [m for m in allowed if m == "publickey"]
    )


_FAMILIES: dict[str, Literal["inet", "inet6"]] = {"inet": "inet", "inet6": "inet6"}


def _policy(wanted: HostKeyPolicy, answer: EffectiveConfig) -> HostKeyPolicy:
    return "strict" if answer.one("stricthostkeychecking") in ("yes", "true") else wanted


def _agent(value: str) -> str:
    """Returns the path of an IdentityAgent, "" where it is that of SSH_AUTH_SOCK or none."""
    if value in ("", "none", "SSH_AUTH_SOCK"):
        return ""
    return os.environ.get(value[1:], "") if re.fullmatch(r"\$\w+", value) else value


def _not_honoured(answer: EffectiveConfig, plain: EffectiveConfig) -> list[str]:
    found = [
        keyword
        for keyword, values in answer.values.items()
        if keyword not in _NOT_TOLD and values != plain.all(keyword)
    ]
    check = answer.one("stricthostkeychecking")
    return found + (
        [f"stricthostkeychecking {check}"] if check in ("no", "false", "off", "accept-new") else []
    )
