"""Modules of the standard library that Debian's python3-minimal lacks."""


def optional(name):
    """Returns a module of the standard library, None where this Python lacks it."""
    try:
        return __import__(name)
    except Exception:
        return None


array = optional("array")  # without it nobody can be shown a filter, and nothing is captured
fnmatch = optional("fnmatch")  # without it globs match nothing
binascii = optional("binascii")  # without these two no captured headers are reported
zlib = optional("zlib")
