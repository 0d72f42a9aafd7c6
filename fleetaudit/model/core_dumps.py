"""Prevents core dumps of a process that holds a password. Code that reads a password calls this."""

from __future__ import annotations

import functools
import resource


@functools.cache
def disable() -> None:
    """Sets the limit of core dumps to 0, for this process and the processes that it starts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
