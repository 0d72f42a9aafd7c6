"""Reads sysctls."""

import os

from .constants import ABSENT, ERRORS, MAX_SYSCTLS
from .errors import name_of, number_of
from .files import read
from .optional import fnmatch


def path_of(key):
    """Returns the file of a sysctl; a dot in an interface's name is written as a slash, as sysctl(8) has it."""
    return "/proc/sys/" + key.replace("/", "\0").replace(".", "/").replace("\0", ".")


def asked_for(patterns):
    """Returns the names that exact names and globs ask for, at most MAX_SYSCTLS; exact ones whether there or not."""
    found = []
    for pattern in patterns:
        found.extend(matching(pattern.split("."), "/proc/sys", ""))
    return sorted(set(found))[:MAX_SYSCTLS]


def matching(parts, folder, prefix):
    """Returns the sysctls under `folder` whose names match one pattern a level; without wildcards, unlooked."""
    part, rest = parts[0], parts[1:]
    if any(c in part for c in "*?[") and fnmatch:
        try:
            names = [n for n in sorted(os.listdir(folder)) if fnmatch.fnmatchcase(n, part)]
        except ERRORS:
            names = []
        names = [n for n in names if os.path.isdir(folder + "/" + n) == bool(rest)]
    else:
        names = [part.replace("/", ".")]
    if not rest:
        return [prefix + n.replace(".", "/") for n in names]
    found = []
    for n in names[:MAX_SYSCTLS]:
        found.extend(matching(rest, folder + "/" + n, prefix + n.replace(".", "/") + "."))
    return found


def read_sysctl(key):
    """Returns (value, state): tabs and newlines of the value as single spaces; value None says that state tells why."""
    if key.endswith(("_key", "_secret")):
        return None, "unreadable: a secret, not read"
    try:
        return " ".join(read(path_of(key), 4096).split()), ""
    except ERRORS + (ValueError,) as e:
        return None, "absent" if number_of(e) in ABSENT else "unreadable: " + name_of(e)


def sysctls(patterns):
    """Returns what is reported of the sysctls that exact names and globs ask for."""
    return {key: sysctl_entry(key) for key in asked_for(patterns)}


def sysctl_entry(key):
    """Returns what is reported of one sysctl."""
    value, state = read_sysctl(key)
    return {"value": value, "default": None, "state": state, "used": None}


def sysctls_writable():
    """Returns whether /proc/sys is mounted for writing; in most containers it is not."""
    return not os.statvfs("/proc/sys/net").f_flag & 1  # ST_RDONLY


def is_writable(key):
    """Returns whether a sysctl is there and has a write bit."""
    try:
        return bool(os.stat(path_of(key)).st_mode & 0o200)
    except ERRORS:
        return False
