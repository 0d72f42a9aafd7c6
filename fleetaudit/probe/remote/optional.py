"""Modules of the standard library that Debian's python3-minimal lacks."""

from typing import Any


def optional_module(name):
    # type: (str) -> Any
    """Returns a module, None if this Python lacks it."""
    try:
        return __import__(name)
    except Exception:
        return None


array = optional_module("array")  # without it no filter can be attached, and nothing is captured
fnmatch = optional_module("fnmatch")  # without it globs match nothing
binascii = optional_module("binascii")  # without these two no captured headers are reported
zlib = optional_module("zlib")
