"""Copies the host's sysctls into the private namespace, and reads the kernel's own defaults."""

import os
from typing import Any, Dict, List, Optional, Tuple

from .constants import ERRORS
from .errors import error_name
from .files import write_file
from .sysctls import is_writable, list_folder, select_sysctls, sysctl_path, sysctl_value

# With tcp_invalid_ratelimit 0, two sockets that a forged segment has set at odds send ACKs to each
# other without end.
NOT_COPIED = (
    "tcp_available_",
    "tcp_allowed_",
    "tcp_fastopen_key",
    "tcp_ehash_entries",
    "tcp_child_ehash_entries",
    "tcp_invalid_ratelimit",
)
ALSO_COPIED = [
    "net.ipv4.ip_default_ttl",
    "net.ipv4.ip_no_pmtu_disc",
    "net.core.somaxconn",
    "net.ipv6.bindv6only",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.lo.disable_ipv6",
]
NO_DEFAULT = (
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_available_congestion_control",
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.tcp_available_ulp",
)


def host_settings():
    # type: () -> List[Tuple[str, str]]
    """Returns the sysctls to copy with their values, in the order in which they must be written."""
    names = [name for name in list_folder("/proc/sys/net/ipv4") if name.startswith("tcp_")]
    keys = ["net.ipv4." + name for name in names if not name.startswith(NOT_COPIED)]
    keys += ALSO_COPIED + select_sysctls(["net.mptcp.*"])
    found = [(key, sysctl_value(key)) for key in keys if os.access(sysctl_path(key), os.F_OK)]
    return [(key, value) for key, value in found if value is not None]


def read_defaults(sysctls):
    # type: (Dict[str, Dict[str, Any]]) -> None
    """Fills in the kernel's own defaults, which an unchanged namespace has; not for what it copies
    from the first one, nor for what is one value for the whole machine (read-only here).
    """
    for key, entry in sysctls.items():
        is_copied = any((key in NO_DEFAULT, ".conf." in key, ".neigh." in key))
        if not is_copied and is_writable(key):
            entry["default"] = sysctl_value(key)


def copy_settings(settings, sysctls):
    # type: (List[Tuple[str, str]], Dict[str, Dict[str, Any]]) -> str
    """Writes the host's settings into this namespace, and notes in `sysctls` which values are used
    instead. Returns a sentence on what could not be copied, or "".
    """
    failed = list(filter(None, [copy_setting(*pair) for pair in settings]))
    for key, entry in sysctls.items():
        entry["used"] = used_instead(key, entry["value"])
    if not failed:
        return ""
    if all("(EROFS)" in failure for failure in failed):
        return (
            "/proc/sys is mounted read-only, so the experiment ran under this kernel's defaults"
            " instead of these settings of the host: " + ", ".join(failed)
        )
    return "these settings of the host could not be copied into the namespace: " + ", ".join(failed)


def used_instead(key, value):
    # type: (str, Optional[str]) -> Optional[str]
    """Returns what a sysctl is here, None if that is `value`, or one of them is unknown."""
    found = sysctl_value(key) if is_writable(key) else None
    return None if value in (None, found) else found


def copy_setting(key, value):
    # type: (str, str) -> str
    """Writes one setting; returns "", or its name and what failed."""
    if sysctl_value(key) in (None, value):
        return ""  # one value for the whole machine, or nothing to do
    try:
        write_file(sysctl_path(key), value)
    except ERRORS + (ValueError,) as e:
        return "%s (%s)" % (key, error_name(e))
    return "" if sysctl_value(key) == value else key
