"""Remedies for resets that were seen while a host was watched. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .exposure import CLOSE_REMEDY, EXPOSURE_REMEDIES

_BY_REASON = (
    "What helps depends on the reason of each program: “fleetaudit explain HOST” lists them."
)

WATCH_REMEDIES: Mapping[str, str] = {
    "resets": _BY_REASON,
    "resets_per_minute": _BY_REASON,
    "unread_data_resets": CLOSE_REMEDY,
}
"""The remedy of each number of a watch, by its name in a playbook."""

RESET_MEANINGS: Mapping[str, str] = {
    "unread data": "closed, or exited, with data that the program had not read (TCPAbortOnClose)",
    "linger 0": "closed with SO_LINGER on and 0 seconds: the program asks for a RST",
    "memory": "the kernel ran out of memory or of places for orphans",
    "keepalive": "the peer did not answer keepalive probes",
    "disconnect": "the program called connect() with AF_UNSPEC",
    "exit of a child socket": "closed a listener whose accept queue had connections",
    "data after close": "the peer sent more after the program had closed",
    "other": "another reason, or one that the kernel does not say",
}
"""What each reason of a reset means, by its name in `Resets.reason`."""
# tcp_disconnect(), inet_csk_listen_stop(), tcp_keepalive_timer() and tcp_rcv_state_process() in
# net/ipv4 have these resets.
RESET_REMEDIES: Mapping[str, str] = {
    "unread data": CLOSE_REMEDY,
    "linger 0": (
        "If no abort is meant: leave SO_LINGER off, so that close() sends what is left and a FIN."
    ),
    "memory": EXPOSURE_REMEDIES["aborts_on_memory"],
    "keepalive": (
        "The peer or the way to it is gone: look there, or for a firewall that forgets idle"
        " connections sooner than net.ipv4.tcp_keepalive_time."
    ),
    "disconnect": "Let the program close the socket instead of connecting it to AF_UNSPEC.",
    "exit of a child socket": (
        "Accept what waits before the listener is closed, or hand the listener over on a restart"
        " (socket activation)."
    ),
    "data after close": CLOSE_REMEDY,
    "other": "See the packets of one reset: capture the port with tcpdump.",
}
"""What helps, by the reason of a reset."""
