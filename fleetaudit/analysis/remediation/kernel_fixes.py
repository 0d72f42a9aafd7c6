"""Fixes of the Linux kernel that change an ending, and the releases that have them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fleetaudit.playbook.conditions import release_numbers

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
_MAINLINE = max(REREAD_FIXED)
MEASURE_AGAIN = (
    "a distribution's kernel may carry it whatever its number says, so measure again after the"
    " change"
)
# A series that a vendor froze: the third number stays 0 and a build number follows (RHEL, Ubuntu,
# SUSE, Debian), or the release names the vendor.
_VENDORS = re.compile(
    r"[0-9]+\.[0-9]+\.0-[0-9]|.*(?:[.-](?:el|amzn)[0-9]|[.-]uek|-default\Z|-generic\Z)", re.ASCII
)
_ASK_THE_VENDOR = (
    "This looks like a vendor's own series, so the vendor decides about the fix: install the"
    " vendor's newest kernel."
)

# net/unix: a stream's urgent byte that was read with MSG_OOB no longer counts as unread.
UNIX_FIX = "2a5a4841846b"
# net/mptcp: zero linger and unread data end in a fastclose.
MPTCP_LINGER_FIX, MPTCP_UNREAD_FIX = "f14d6e9c3678", "d21f83485518"


def kernel_with(fix: str, since: str) -> str:
    """Returns the remedy that is a kernel with this fix.

    `fix` is the id of a commit in mainline, abbreviated to 12 digits, and `since` the first release
    that has it, as it follows in the text: "A kernel with d21f83485518 (6.1); …".
    """
    return f"A kernel with {fix} ({since}); {MEASURE_AGAIN}."


def reread_remedy(release: str) -> str:
    """Returns which release of this kernel's own series has REREAD_FIX first, or that none has.

    `release` is that of uname -r: "6.12.40", "5.14.0-503.el9.x86_64". A distribution may carry the
    fix under an earlier number, so the text ends with the advice to measure again; for a vendor's
    own series it names the vendor.
    """
    texts = [_reread_fix_of_series(release_numbers(release)[:2])]
    if _VENDORS.match(release):
        texts.append(_ASK_THE_VENDOR)
    return " ".join([*texts, f"{MEASURE_AGAIN[0].upper()}{MEASURE_AGAIN[1:]}."])


def _reread_fix_of_series(numbers: tuple[int, ...]) -> str:
    """Returns which release of a series ((6, 12) for 6.12) has REREAD_FIX first.

    Without two numbers it is mainline's. A series after mainline's has the fix already. A series
    that ended without it has none, so the next series that has it is named. (6, 12) has it from
    6.12.53 on; for (5, 14) the text names 5.15, from 5.15.195 on.
    """
    if len(numbers) < 2:
        return f"A kernel with {REREAD_FIX}: mainline has it since {REREAD_FIXED[_MAINLINE]}."
    series = (numbers[0], numbers[1])
    if series in REREAD_FIXED:
        return (
            f"A kernel with {REREAD_FIX}: upstream's {_name(series)} series has it from"
            f" {REREAD_FIXED[series]} on."
        )
    if series > _MAINLINE:
        return (
            f"Mainline has {REREAD_FIX} since {REREAD_FIXED[_MAINLINE]}, so this kernel should have"
            " it: measure again; if it still resets, report it to whoever built this kernel."
        )
    newer = min(known for known in REREAD_FIXED if known > series)
    return (
        f"A kernel of a newer series: no upstream release of {_name(series)} has {REREAD_FIX}; the"
        f" next series that has it is {_name(newer)}, from {REREAD_FIXED[newer]} on."
    )


def _name(series: tuple[int, int]) -> str:
    """Returns the name of a series: "6.12"."""
    return f"{series[0]}.{series[1]}"
