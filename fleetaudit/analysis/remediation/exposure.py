"""Remedies for the counters and sockets of production, and for the application. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# RFC 9112 section 9.6 (a server that closes with input pending loses its response); nginx's
# lingering_close and Tomcat's maxSwallowSize are this cure, with its two bounds.
CURE = (
    "In the application: half-close (shutdown(SHUT_WR)), read and drop what still comes until end"
    " of file, bounded in bytes and in time (as nginx's lingering_close is), and only then close."
)
# tcp_close(): the branch that resets for unread data asks no sysctl.
NO_SYSCTL = "No sysctl switches this RST off."
CLOSE_REMEDY = f"{CURE} {NO_SYSCTL}"

# Measured: a RST that is dropped in OUTPUT moves TCPAbortFailed.
DROPPED_ON_THE_WAY_OUT = (
    "Look for what drops RST segments that leave: “nft list ruleset”, “iptables-save”, chain"
    " OUTPUT."
)
DROPPED_ON_THE_WAY_IN = (
    "Look for what drops the segment on its way in: “nft list ruleset”, “iptables-save”, chain"
    " INPUT."
)
_FIND_OWNERS = (
    "See whose they are with “ss -Htnp | awk '$2 > 0'”; restarting their owner resets their peers."
)

EXPOSURE_REMEDIES: Mapping[str, str] = {
    "aborts_on_close_per_thousand": CLOSE_REMEDY,
    "aborts_failed": DROPPED_ON_THE_WAY_OUT,
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
    "unread_sockets": _FIND_OWNERS,
    "unread_bytes": _FIND_OWNERS,
}
"""The remedy of each number of production, by its name in a playbook."""
