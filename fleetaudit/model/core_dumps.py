"""Prevents core files of a process that holds a password: code that reads a password calls this."""

from __future__ import annotations

import functools
import resource


@functools.cache
def disable() -> None:
    """Sets the limit of this process's core files to 0, and so that of the processes that it
    starts.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
