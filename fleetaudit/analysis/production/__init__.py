"""What the hosts of a run do in production: the programs that reset connections. Pure.

Rules: text of hosts stays as it came; each output sanitizes it. A host that could not be watched is
listed with its reason, and none of its numbers count as 0.
"""

from .model import HostResets, NotWatched, ProgramPort, ResetRow, UnreadRow, WatchedHost, WatchTable
from .resets import host_resets, rows_if_watched, watch_table
from .sentences import at_least, describe_resets, on_hosts

__all__ = [
    "HostResets",
    "NotWatched",
    "ProgramPort",
    "ResetRow",
    "UnreadRow",
    "WatchTable",
    "WatchedHost",
    "at_least",
    "describe_resets",
    "host_resets",
    "on_hosts",
    "rows_if_watched",
    "watch_table",
]
