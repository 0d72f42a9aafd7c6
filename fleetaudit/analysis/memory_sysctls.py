"""The sysctls whose defaults the kernel computes from the memory of the host. Pure.

Source: Linux 6.18, Documentation/networking/ip-sysctl.rst, and where the kernel sets them:
tcp_init() and tcp_init_mem() in net/ipv4/tcp.c, tcp_sk_init() in net/ipv4/tcp_ipv4.c and udp_init()
in net/ipv4/udp.c. net.core.rmem_max and wmem_max are not among them: their defaults are constants,
which other kernels may have with other values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"[0-9]{1,18}")

BY_MEMORY = frozenset(
    {
        # Pages that the protocol may use: a share of nr_free_buffer_pages().
        "net.ipv4.tcp_mem",
        "net.ipv4.udp_mem",
        # Shares of the size of the hash table of connections, which follows from the memory.
        "net.ipv4.tcp_ehash_entries",
        "net.ipv4.tcp_max_orphans",
        "net.ipv4.tcp_max_syn_backlog",
        "net.ipv4.tcp_max_tw_buckets",
    }
)
"""Sysctls of which the whole default follows from the memory."""
MAXIMUM_BY_MEMORY = {"net.ipv4.tcp_rmem": 32 << 20, "net.ipv4.tcp_wmem": 4 << 20}
"""Sysctls of three numbers of which only the third, the maximum, follows from the memory, each with
the greatest number, in bytes, that a kernel computes. That of tcp_rmem was 6 MB before Linux 6.16.
"""


def differ_by_memory(key: str, values: Iterable[str]) -> bool:
    """Returns whether values of one sysctl differ at most as the memory of their hosts does."""
    return len({part_without_memory(key, value) for value in values}) == 1


def part_without_memory(key: str, value: str) -> str:
    """Returns what of a value does not follow from the memory of the host.

    Of tcp_rmem "4096 131072 6291456" it is "4096 131072", of tcp_mem "", of any other sysctl all of
    it, and also of a value that no kernel computes.
    """
    words = value.split()
    if not all(map(_NUMBER.fullmatch, words)):
        return value
    if key in BY_MEMORY:
        return ""
    if len(words) == 3 and int(words[2]) <= MAXIMUM_BY_MEMORY.get(key, -1):
        return " ".join(words[:2])
    return value
