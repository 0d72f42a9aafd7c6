"""What to do about a finding: for the application, for the operator, for a sysctl; "" where nothing
is known. Pure.

Rules: nothing is said that is not known, and each fact has its source beside it. A rule's own `fix`
goes before what is said here. What a host said enters a command only where it is made of letters,
digits and blanks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from fleetaudit.model import (
    Audited,
    Observation,
    Scenario,
    SysctlExpectation,
)
from fleetaudit.playbook.conditions import release_numbers
from fleetaudit.playbook.expectation_tests import (
    meets,
    normalize_spaces,
    parse_number,
    word_at,
)

# Measured with procps 4.0 and systemd 252: `sysctl --system` reads /etc/sysctl.conf after all
# folders, systemd-sysctl reads it only as /etc/sysctl.d/99-sysctl.conf where that link is there; in
# the folders the last name wins. "_" sorts after "-" and ".", so this name comes after zzz.conf and
# zzz-local.conf too.
SYSCTL_CONF = "/etc/sysctl.conf"
SYSCTL_FILE = "/etc/sysctl.d/zzz_fleetaudit.conf"
MODULES_FILE = "/etc/modules-load.d/fleetaudit.conf"
# Sysctls that are there only while a module is loaded, by how they begin (sysctl.d(5); the kernel's
# nf_conntrack-sysctl and ipvs-sysctl).
MODULES: Mapping[str, str] = {
    "net.bridge.": "br_netfilter",
    "net.netfilter.nf_conntrack_": "nf_conntrack",
    "net.nf_conntrack_max": "nf_conntrack",
    "net.ipv4.vs.": "ip_vs",
}

# RFC 9112 section 9.6 (a server that closes with input pending loses its response); nginx's
# lingering_close and Tomcat's maxSwallowSize are this cure, with its two bounds.
CURE = (
    "In the application: half-close (shutdown(SHUT_WR)), read and drop what still comes until end"
    " of file, bounded in bytes and in time (as nginx's lingering_close is), and only then close."
)
# tcp_close(): the branch that resets for unread data asks no sysctl.
NO_SYSCTL = "No sysctl switches this RST off."

# 5f9238530970 is "tcp: fix __tcp_close() to only send RST when required".
REREAD_FIX = "5f9238530970"
REREAD_FIXED: Mapping[tuple[int, int], str] = {
    (5, 4): "5.4.301",
    (5, 10): "5.10.246",
    (5, 15): "5.15.195",
    (6, 1): "6.1.156",
    (6, 6): "6.6.112",
    (6, 12): "6.12.53",
    (6, 17): "6.17.3",
    (6, 18): "6.18",
}
"""The first release with REREAD_FIX by series, as read in each release's short log (6.6: in its
review mails); the last is mainline's. Every other series before that ended without it.
"""
ANY_NUMBER = (
    "a distribution's kernel may carry it whatever its number says, so measure again after the"
    " change"
)
# A series that a vendor froze: the third number stays 0 and a build number follows (RHEL, Ubuntu,
# SUSE, Debian), or the release names the vendor.
_VENDORS = re.compile(
    r"[0-9]+\.[0-9]+\.0-[0-9]|.*(?:[.-](?:el|amzn)[0-9]|[.-]uek|-default\Z|-generic\Z)", re.ASCII
)

# net/unix: a stream's urgent byte that was read with MSG_OOB no longer counts as unread.
UNIX_FIX = "2a5a4841846b"
# net/mptcp: zero linger and unread data end in a fastclose.
MPTCP_LINGER_FIX, MPTCP_UNREAD_FIX = "f14d6e9c3678", "d21f83485518"

EXPOSURE_REMEDIES: Mapping[str, str] = {
    "aborts_on_close_per_thousand": f"{CURE} {NO_SYSCTL}",
    # Measured: a RST that is dropped in OUTPUT moves TCPAbortFailed.
    "aborts_failed": (
        "Look for what drops RST segments that leave: “nft list ruleset”, “iptables-save”, chain"
        " OUTPUT."
    ),
    # ip-sysctl: tcp_max_orphans ("rather increase it"), tcp_mem; TCPAbortOnMemory counts both.
    "aborts_on_memory": (
        "Raise net.ipv4.tcp_max_orphans or net.ipv4.tcp_mem, or let services close sooner what"
        " nobody reads (Documentation/networking/ip-sysctl)."
    ),
    # listen(2): the backlog is silently cut to net.core.somaxconn.
    "listen_overflows": (
        "Let the service accept faster, or raise its listen() backlog, which net.core.somaxconn"
        " limits (listen(2))."
    ),
    "unread_sockets": (
        "See whose they are with “ss -Htnp | awk '$2 > 0'”; restarting their owner resets their"
        " peers."
    ),
    "unread_bytes": (
        "See whose they are with “ss -Htnp | awk '$2 > 0'”; restarting their owner resets their"
        " peers."
    ),
}
"""By the name of what production shows."""


def scenario_remedy(scenario: Scenario, observation: Observation, release: str) -> str:
    """Returns the remedy if `scenario` did not end as expected on a host with this kernel release
    (uname -r).

    Hosts of one series get the same text, so that they can be shown together.
    """
    if observation.ending == "sent, not delivered":
        return _undelivered(observation)
    calls = [step.call for step in scenario.steps]
    reset = observation.ending in ("RST", "FIN, then RST")
    mptcp = any(call[1:3] == ("connect", "mptcp") for call in calls)
    if reset and not {"RST", "FIN, then RST"} & {*scenario.expect}:
        if any(call[1] == "resend-fin" for call in calls):
            return f"{_reread_fixed(release)} {ANY_NUMBER[0].upper()}{ANY_NUMBER[1:]}."
        if observation.family == "unix":
            urgent = any(call[1] == "read-urgent" for call in calls)
            return (
                f"A kernel with {UNIX_FIX} (2025, and stable kernels since); {ANY_NUMBER}."
                if urgent
                else ""
            )
        # The kernel itself names the branch: unread data.
        if (observation.evidence.kernel or {}).get("TCPAbortOnClose"):
            return f"{CURE} {NO_SYSCTL}"
    elif mptcp and observation.ending == "FIN" and "RST" in scenario.expect:
        lingers = any(call[1] == "set" and "SO_LINGER" in call for call in calls)
        fix, since = (
            (MPTCP_LINGER_FIX, "7.1, and stable kernels") if lingers else (MPTCP_UNREAD_FIX, "6.1")
        )
        return f"A kernel with {fix} ({since}); {ANY_NUMBER}."
    return ""


def _reread_fixed(release: str) -> str:
    """Returns which release of this kernel's own series has REREAD_FIX first, or that none has."""
    series = release_numbers(release)[:2]
    mainline = max(REREAD_FIXED)
    if len(series) < 2:
        words = f"A kernel with {REREAD_FIX}: mainline has it since {REREAD_FIXED[mainline]}."
    elif fixed := REREAD_FIXED.get((series[0], series[1])):
        words = (
            f"A kernel with {REREAD_FIX}: upstream's {series[0]}.{series[1]} series has it from"
            f" {fixed} on."
        )
    elif series > mainline:
        words = (
            f"Mainline has {REREAD_FIX} since {REREAD_FIXED[mainline]}, so this kernel should have"
            " it: measure again; if it still resets, report it to whoever built this kernel."
        )
    else:
        newer = min(known for known in REREAD_FIXED if known > series)
        words = (
            f"A kernel of a newer series: no upstream release of {series[0]}.{series[1]} has"
            f" {REREAD_FIX}; the next series that has it is {newer[0]}.{newer[1]}, from"
            f" {REREAD_FIXED[newer]} on."
        )
    if _VENDORS.match(release):
        words += (
            " This looks like a vendor's own series, so the vendor decides about the fix: "
            "install the vendor's newest kernel."
        )
    return words


def _undelivered(observation: Observation) -> str:
    if (observation.evidence.kernel or {}).get("TCPAbortFailed"):
        return (
            "Look for what drops RST segments that leave: “nft list ruleset”, “iptables-save”,"
            " chain OUTPUT."
        )
    return (
        "Look for what drops the segment on its way in: “nft list ruleset”, “iptables-save”, chain"
        " INPUT."
    )


def sysctl_remedy(key: str, rules: Sequence[SysctlExpectation], host: Audited) -> str:
    """Returns the command that makes `key` meet all of `rules` now and after every boot, a sentence
    if no command there helps, "" if no value is known that does.
    """
    sysctl = host.sysctls.get(key)
    module = next((module for start, module in MODULES.items() if key.startswith(start)), "")
    if sysctl is None or sysctl.value is None:
        if (
            module
            and sysctl is not None
            and sysctl.state == "absent"
            and not any(r.present is False for r in rules)
        ):
            return (
                f"It exists only while the module {module} is loaded: add that to {MODULES_FILE} if"
                " this host needs it."
            )
        return ""  # what is absent or unreadable cannot be set
    value = normalize_spaces(sysctl.value)
    for rule in rules:
        wanted = _wanted(rule, value, sysctl.default)
        if wanted is None:
            return ""
        value = wanted
    if not all(meets(value, rule) for rule in rules) or not re.fullmatch(
        r"[A-Za-z0-9_.,: -]+", value, re.ASCII
    ):
        return ""
    if not host.sysctls_writable:
        return (
            f"Set {key} = {value} where this container is started (docker run --sysctl), or on its"
            " host if they share the network: /proc/sys is mounted read-only here."
        )
    if module:  # it is loaded now; at boot its sysctls are set only if it is loaded before
        return f"echo {module} >>{MODULES_FILE} && {_set_sysctl(key, value, host)}"
    return _set_sysctl(key, value, host)


def _set_sysctl(key: str, value: str, host: Audited) -> str:
    """Returns the commands that set a sysctl now, and in the files that win at boot."""
    now = f"sysctl -w {key}={shlex.quote(value)}"
    # The file may not end in a newline.
    line = f"printf '\\n%s\\n' {shlex.quote(f'{key} = {value}')}"
    files = _winning_files(host.sysctl_places, key)
    if len(files) == 1:
        return f"{now} && {line} >>{shlex.quote(files[0])}"
    return f"{now} && {line} | tee -a {shlex.join(files)}"


def _winning_files(places: Mapping[str, Sequence[str]] | None, key: str) -> tuple[str, ...]:
    """Returns the files whose last line wins over every other, for `sysctl --system` and for
    systemd-sysctl.

    An administrator's file that sets the key already wins again; a package's loses to the name of
    SYSCTL_FILE.
    """
    if places is None:
        return SYSCTL_CONF, SYSCTL_FILE
    files = list[str]()
    for place in places.get(key, ()):
        file = place.rpartition(":")[0]
        if file == SYSCTL_CONF:
            files += [SYSCTL_CONF, SYSCTL_FILE]
        else:
            files.append(
                file
                if file.startswith("/etc/") or _name(file) > _name(SYSCTL_FILE)
                else SYSCTL_FILE
            )
    return tuple(dict.fromkeys(files)) or (SYSCTL_FILE,)


def _name(file: str) -> str:
    return file.rpartition("/")[2]


def _wanted(rule: SysctlExpectation, value: str, default: str | None) -> str | None:
    """Returns `value` with the least change that meets `rule`, None where none is known."""
    if rule.present is False:
        return None
    if meets(value, rule) and not rule.is_default:
        return value
    now = word_at(value, rule.position)
    if rule.equals is not None:
        new: str | None = normalize_spaces(rule.equals)
    elif rule.one_of:
        new = normalize_spaces(rule.one_of[0])
    elif rule.is_default:
        new = default
    else:
        new = _bounded(parse_number(now or ""), rule.at_least, rule.at_most)
    if new is None or rule.position is None:
        return None if new is None else normalize_spaces(new)
    words = value.split()
    if rule.position > len(words):
        return None
    return " ".join([*words[: rule.position - 1], new, *words[rule.position :]])


def _bounded(now: int | None, low: int | None, high: int | None) -> str | None:
    if now is None:
        return None
    bound = low if low is not None and now < low else high
    return None if bound is None else str(bound)
