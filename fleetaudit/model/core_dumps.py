"""Prevents core dumps of a process that holds a password. Code that reads a password calls this
before it reads.
"""

from __future__ import annotations

import contextlib
import functools
import resource

_PR_SET_DUMPABLE = 4  # prctl(2)
_PASSWORD_VARIABLES = b"_pass"
"""What the names of all of Ansible's variables for passwords have in them."""


@functools.cache
def disable() -> None:
    """Ends core dumps of this process, and sets their limit to 0, for its children too.

    The limit alone does not hold where the kernel pipes core dumps to a program (core(5)). A
    process that is not dumpable cannot be traced by its own user either.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # Some builds of Python have no ctypes: there the limit has to do.
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def disable_for(inventory: bytes | bytearray) -> None:
    """Ends core dumps if the bytes of an inventory, or of its variables, may have a password."""
    if _PASSWORD_VARIABLES in inventory:
        disable()
