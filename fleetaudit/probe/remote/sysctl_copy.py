"""Copies the host's sysctls into the private namespace."""

import os

from .constants import ERRORS
from .errors import name_of
from .files import write
from .sysctls import asked_for, is_writable, path_of, read_sysctl


def copied_settings():
    """Returns the sysctls that the experiment copies from the host, in the order in which they must be written."""
    try:
        names = sorted(os.listdir("/proc/sys/net/ipv4"))
    except ERRORS:
        names = []
    keys = ["net.ipv4." + n for n in names if n.startswith("tcp_") and not n.startswith(NOT_COPIED)]
    keys += [
        "net.ipv4.ip_default_ttl",
        "net.ipv4.ip_no_pmtu_disc",
        "net.core.somaxconn",
        "net.ipv6.bindv6only",
        "net.ipv6.conf.all.disable_ipv6",
        "net.ipv6.conf.lo.disable_ipv6",
    ]
    keys += asked_for(["net.mptcp.*"])
    return [k for k in keys if os.access(path_of(k), os.F_OK)]


# With tcp_invalid_ratelimit 0, two sockets that a forged segment has set at odds send ACKs to each other without end.
NOT_COPIED = (
    "tcp_available_",
    "tcp_allowed_",
    "tcp_fastopen_key",
    "tcp_ehash_entries",
    "tcp_child_ehash_entries",
    "tcp_invalid_ratelimit",
)
NO_DEFAULT = (
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.tcp_available_ulp",
)


def read_defaults(sysctls):
    """Fills in this kernel's own defaults, as a namespace that nobody touched yet tells them.

    Not what a new namespace copies from the first one, nor what is one value for the whole machine (read-only here).
    """
    for key, entry in sysctls.items():
        if (
            key not in NO_DEFAULT
            and ".conf." not in key
            and ".neigh." not in key
            and is_writable(key)
        ):
            entry["default"] = read_sysctl(key)[0]


def copy_settings(host_values, sysctls):
    """Writes the host's settings into this namespace, and returns a sentence on what could not be copied, or ""."""
    failed = []
    for key, wanted in host_values:
        have = read_sysctl(key)[0]
        if have is None or have == wanted:
            continue  # one value for the whole machine, or nothing to do
        try:
            write(path_of(key), wanted)
        except ERRORS + (ValueError,) as e:
            failed.append("%s (%s)" % (key, name_of(e)))
            continue
        if read_sysctl(key)[0] != wanted:
            failed.append(key)
    for key, entry in sysctls.items():
        used = read_sysctl(key)[0] if is_writable(key) else None
        if used is not None and entry["value"] is not None and used != entry["value"]:
            entry["used"] = used
    if not failed:
        return ""
    if all("(EROFS)" in f for f in failed):
        return (
            "/proc/sys is mounted read-only, so the experiment ran under this kernel's defaults where the host's "
            "settings differ: " + ", ".join(failed)
        )
    return "these settings of the host could not be copied into the namespace: " + ", ".join(failed)
