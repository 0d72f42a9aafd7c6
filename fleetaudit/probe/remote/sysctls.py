"""Reads sysctls, and finds those that exact names and globs select."""

import os
from typing import Any, Dict, Iterable, List, Optional, Tuple

from .constants import ABSENT, ERRORS, MAX_SYSCTLS
from .errors import call_or, errno_of, error_name
from .files import read_file
from .optional import fnmatch

WILDCARDS = frozenset("*?[")


def has_wildcards(text):
    # type: (str) -> bool
    return bool(WILDCARDS.intersection(text))


def swap_separators(name):
    # type: (str) -> str
    """Returns a name with dots and slashes swapped, as sysctl(8) does: the name of an interface may
    have a dot.
    """
    return name.replace("/", "\0").replace(".", "/").replace("\0", ".")


def sysctl_path(key):
    # type: (str) -> str
    return "/proc/sys/" + swap_separators(key)


def select_sysctls(patterns):
    # type: (Iterable[str]) -> List[str]
    """Returns the sysctls that names and globs select, at most MAX_SYSCTLS; exact names even if
    absent.
    """
    found = set()
    for pattern in patterns:
        found.update(expand(pattern.split("."), "/proc/sys", ""))
    return sorted(found)[:MAX_SYSCTLS]


def expand(parts, folder, prefix):
    # type: (List[str], str, str) -> List[str]
    """Returns the sysctls under `folder` that match one pattern a level."""
    found, rest = [], parts[1:]
    for name in matching_names(folder, parts[0], bool(rest))[:MAX_SYSCTLS]:
        key = prefix + name.replace(".", "/")
        found += expand(rest, folder + "/" + name, key + ".") if rest else [key]
    return found


def matching_names(folder, pattern, is_folder):
    # type: (str, str, bool) -> List[str]
    """Returns the files, or folders, in `folder` that match one part of a pattern; one without
    wildcards unseen.
    """
    if not fnmatch or not has_wildcards(pattern):
        return [pattern.replace("/", ".")]
    names = fnmatch.filter(list_folder(folder), pattern)
    return [name for name in names if os.path.isdir(folder + "/" + name) == is_folder]


def list_folder(folder):
    # type: (str) -> List[str]
    return sorted(call_or([], os.listdir, folder))


def read_sysctl(key):
    # type: (str) -> Tuple[Optional[str], str]
    """Returns (value, ""), or (None, why it cannot be read); each white space of the value is one
    blank.
    """
    if key.endswith(("_key", "_secret")):
        return None, "unreadable: a secret, not read"
    try:
        return " ".join(read_file(sysctl_path(key), 4096).split()), ""
    except ERRORS + (ValueError,) as e:
        return None, "absent" if errno_of(e) in ABSENT else "unreadable: " + error_name(e)


def sysctl_value(key):
    # type: (str) -> Optional[str]
    return read_sysctl(key)[0]


def read_sysctls(patterns):
    # type: (Iterable[str]) -> Dict[str, Dict[str, Any]]
    return {key: sysctl_entry(key) for key in select_sysctls(patterns)}


def sysctl_entry(key):
    # type: (str) -> Dict[str, Any]
    value, state = read_sysctl(key)
    return {"value": value, "default": None, "state": state, "used": None}


def sysctls_writable():
    # type: () -> bool
    """Returns whether /proc/sys is writable; in most containers it is not."""
    return not os.statvfs("/proc/sys/net").f_flag & 1  # ST_RDONLY


def is_writable(key):
    # type: (str) -> bool
    """Returns whether a sysctl exists and has a write bit."""
    status = call_or(None, os.stat, sysctl_path(key))
    return status is not None and bool(status.st_mode & 0o200)
