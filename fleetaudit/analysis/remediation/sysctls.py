"""Remedies for sysctls: the command that sets a value now and at every boot. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from fleetaudit.model import NOT_READ, Audited, Sysctl, SysctlExpectation
from fleetaudit.playbook.expectation_tests import meets, normalize_spaces, parse_number, word_at

# Measured with procps 4.0 and systemd 252: `sysctl --system` reads /etc/sysctl.conf after all
# folders, systemd-sysctl reads it only as /etc/sysctl.d/99-sysctl.conf where that link is there; in
# the folders the last name wins. "_" sorts after "-" and ".", so this name comes after zzz.conf and
# zzz-local.conf too.
SYSCTL_CONF = "/etc/sysctl.conf"
SYSCTL_FILE = "/etc/sysctl.d/zzz_fleetaudit.conf"
MODULES_FILE = "/etc/modules-load.d/fleetaudit.conf"
# Sysctls that exist only while a module is loaded, by how they begin (sysctl.d(5); the kernel's
# nf_conntrack-sysctl and ipvs-sysctl).
MODULES: Mapping[str, str] = {
    "net.bridge.": "br_netfilter",
    "net.netfilter.nf_conntrack_": "nf_conntrack",
    "net.nf_conntrack_max": "nf_conntrack",
    "net.ipv4.vs.": "ip_vs",
}
_HARMLESS = re.compile(r"[A-Za-z0-9_.,: -]+", re.ASCII)
"""The values of a host that may enter a command."""


def sysctl_remedy(key: str, expectations: Sequence[SysctlExpectation], host: Audited) -> str:
    """Returns the command that makes a sysctl meet all expectations now and after every boot.

    `key` is the name of the sysctl with dots, and `expectations` are those that apply to `host`.
    The command changes the value as little as possible, such as "sysctl -w
    net.ipv4.tcp_rfc1337=1 && printf … >>/etc/sysctl.d/zzz_fleetaudit.conf". It is a sentence if no
    command on the host helps, and "" if no value is known that does, or if the value of the host
    has characters that must not enter a command.
    """
    sysctl = host.sysctls.get(key, NOT_READ)
    if sysctl.value is None:
        return _remedy_of_absent(key, sysctl, expectations)
    value = _value_that_meets(expectations, sysctl.value, sysctl.default)
    if value is None or not _HARMLESS.fullmatch(value):
        return ""
    if not host.sysctls_writable:
        return (
            f"Set {key} = {value} where this container is started (docker run --sysctl), or on its"
            " host if they share the network: /proc/sys is mounted read-only here."
        )
    return _load_command(key) + _set_command(key, value, host.sysctl_places)


def _load_command(key: str) -> str:
    """Returns the beginning of the command that loads the module of a sysctl at boot.

    The module is loaded now; at boot its sysctls are set only if it is loaded before. It is "" if
    the sysctl needs no module. For net.bridge.bridge-nf-call-iptables it is
    "echo br_netfilter >>/etc/modules-load.d/fleetaudit.conf && ".
    """
    module = _module_of(key)
    if not module:
        return ""
    return f"echo {module} >>{MODULES_FILE} && "


def _module_of(key: str) -> str:
    """Returns the module without which a sysctl does not exist, "" if it needs none."""
    return next((module for start, module in MODULES.items() if key.startswith(start)), "")


def _remedy_of_absent(key: str, sysctl: Sysctl, expectations: Sequence[SysctlExpectation]) -> str:
    """Returns the remedy of a sysctl without a value, "" if there is none.

    Only a module can bring an absent sysctl, and not if an expectation says that it must be absent.
    A sysctl that cannot be read has no remedy.
    """
    module = _module_of(key)
    is_unwanted = any(expectation.present is False for expectation in expectations)
    if sysctl.state != "absent" or not module or is_unwanted:
        return ""
    return (
        f"It exists only while the module {module} is loaded: add that to {MODULES_FILE} if this"
        " host needs it."
    )


# ---- commands ----------------------------------------------------------------------------------


def _set_command(key: str, value: str, places: Mapping[str, Sequence[str]] | None) -> str:
    """Returns the command that sets a sysctl now, and in the files that win at boot.

    If several files can win, the line is appended to each of them with tee.
    """
    now = f"sysctl -w {key}={shlex.quote(value)}"
    # The file may not end in a line feed.
    line = f"printf '\\n%s\\n' {shlex.quote(f'{key} = {value}')}"
    files = _winning_files(places, key)
    if len(files) == 1:
        return f"{now} && {line} >>{shlex.quote(files[0])}"
    return f"{now} && {line} | tee -a {shlex.join(files)}"


def _winning_files(places: Mapping[str, Sequence[str]] | None, key: str) -> tuple[str, ...]:
    """Returns the files whose last line wins at boot, for `sysctl --system` and systemd-sysctl.

    `places` are the places that set each sysctl now, as "FILE:LINE"; None if they are unknown: then
    both files that can win are returned. If no file sets `key`, SYSCTL_FILE is enough.
    """
    if places is None:
        return SYSCTL_CONF, SYSCTL_FILE
    files = list[str]()
    for place in places.get(key, ()):
        files += _files_that_win_over(place.rpartition(":")[0])
    return tuple(dict.fromkeys(files)) or (SYSCTL_FILE,)


def _files_that_win_over(file: str) -> tuple[str, ...]:
    """Returns the files whose last line wins over a file that sets the sysctl.

    An administrator's own file wins again; a package's loses to the name of SYSCTL_FILE. For
    /etc/sysctl.d/99-local.conf it is that file, for /usr/lib/sysctl.d/50-default.conf it is
    SYSCTL_FILE, and for SYSCTL_CONF both, because only one of the two programs reads SYSCTL_CONF
    last.
    """
    if file == SYSCTL_CONF:
        return SYSCTL_CONF, SYSCTL_FILE
    if file.startswith("/etc/") or _base_name(file) > _base_name(SYSCTL_FILE):
        return (file,)
    return (SYSCTL_FILE,)


def _base_name(file: str) -> str:
    """Returns the name of a file without its folders."""
    return file.rpartition("/")[2]


# ---- values ------------------------------------------------------------------------------------


def _value_that_meets(
    expectations: Sequence[SysctlExpectation], value: str, default: str | None
) -> str | None:
    """Returns `value` with the least changes that meet all expectations, None if none is known.

    The expectations are met one after the other; a later change may break an earlier one, so all
    are checked in the end.
    """
    changed = normalize_spaces(value)
    for expectation in expectations:
        new = _change_value(expectation, changed, default)
        if new is None:
            return None
        changed = new
    if not all(meets(changed, expectation) for expectation in expectations):
        return None
    return changed


def _change_value(expectation: SysctlExpectation, value: str, default: str | None) -> str | None:
    """Returns `value` with the least change that meets an expectation, None if none is known.

    No value makes a sysctl absent. An expectation of the kernel's default never counts as met here,
    because `meets` does not test it.
    """
    if expectation.present is False:
        return None
    if meets(value, expectation) and not expectation.is_default:
        return value
    new = _new_word(expectation, word_at(value, expectation.position), default)
    return _replace_word(value, expectation.position, new)


def _replace_word(value: str, position: int | None, new: str | None) -> str | None:
    """Returns `value` with another word at `position` (from 1), None if it has fewer words.

    Without a position the whole value is replaced. None if no new word is known.
    "4096 131072 6291456" with "8388608" at 3 is "4096 131072 8388608".
    """
    if new is None:
        return None
    if position is None:
        return normalize_spaces(new)
    words = value.split()
    if position > len(words):
        return None
    words[position - 1] = new
    return " ".join(words)


def _new_word(expectation: SysctlExpectation, word: str | None, default: str | None) -> str | None:
    """Returns what meets an expectation in place of a word or a whole value, None if unknown.

    It is the expected text, the first of several, the kernel's own default, or the nearest bound.
    If an expectation has several tests, the first of this order decides.
    """
    if expectation.equals is not None:
        return normalize_spaces(expectation.equals)
    if expectation.one_of:
        return normalize_spaces(expectation.one_of[0])
    if expectation.is_default:
        return default
    return _nearest_bound(parse_number(word or ""), expectation)


def _nearest_bound(number: int | None, expectation: SysctlExpectation) -> str | None:
    """Returns the bound that a number exceeds, None if there is none.

    The number is known not to meet the expectation, so what is not below the lower bound is above
    the upper one. With at_least 10, 5 becomes "10"; with at_most 60, 100 becomes "60". A number of
    None is a text that is not a whole number.
    """
    if number is None:
        return None
    low, high = expectation.at_least, expectation.at_most
    if low is not None and number < low:
        return str(low)
    if high is not None:
        return str(high)
    return None
