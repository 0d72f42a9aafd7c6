"""Finds the files that set a sysctl at boot."""

import errno
import os

from .constants import ERRORS
from .errors import NotHere, name_of, number_of
from .files import read
from .optional import fnmatch
from .sysctls import path_of


def sysctl_places(keys):
    """Returns the places ("FILE:LINE") that set a sysctl at boot, by key; None where not all files could be read.

    There are two where `sysctl --system` of procps and systemd-sysctl obey different lines, that of procps first: it
    reads /etc/sysctl.conf last, and systemd-sysctl only by a link. Only files that everybody may read, up to a bound.
    """
    try:
        folders = []
        for path in sysctl_files():
            folders += assignments(path)
        tables = [assigned(folders + assignments(SYSCTL_CONF), False), assigned(folders, True)]
        found = {}
        for key in keys:
            name = path_of(key)[len("/proc/sys/") :]
            places = [place for place in [place_in(table, name) for table in tables] if place]
            if places:
                found[key] = sorted(set(places), key=places.index)
        return found
    except NotHere:
        return None


SYSCTL_FOLDERS = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)
SYSCTL_CONF = "/etc/sysctl.conf"
PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@+-/"


def sysctl_files():
    """Returns the files of the folders in the order in which they are applied (sysctl.d(5)): by name, whatever the
    folder, and of one name only that in the first folder."""
    found = {}
    for folder in SYSCTL_FOLDERS:
        if os.path.isdir(folder):
            try:
                names = os.listdir(folder)
            except ERRORS as e:
                raise NotHere(name_of(e))
            for name in names:
                if name.endswith(".conf") and not name.startswith("."):
                    found.setdefault(name, folder + "/" + name)
    if len(found) > 500:
        raise NotHere("too many files")
    return [found[name] for name in sorted(found)]


def assignments(path):
    """Returns what a file assigns as (name, place), in order: the name as a path below /proc/sys, perhaps with
    wildcards; the place "" where the name is only kept from being set by wildcards. Raises NotHere."""
    found = []
    for number, line in enumerate(configuration(path).split("\n"), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        key, equals, _ = line.partition("=")
        if not equals and not line.startswith("-"):
            continue
        key = key.lstrip("-").strip()
        separators = [c for c in key if c in "./"]
        if separators[:1] == ["."]:
            key = key.replace("/", "\0").replace(".", "/").replace("\0", ".")
        found.append((key, "%s:%d" % (place_name(path), number) if equals else ""))
    return found


def configuration(path, limit=65536):
    """Returns the text of a file that everybody may read, "" of one that is not there; raises NotHere."""
    try:
        mode = os.stat(path).st_mode
        if mode & 0o170000 != 0o100000:  # a link to /dev/null hides the files of that name
            return ""
        if not mode & 0o004:
            raise NotHere("not for everybody")
        text = read(path, limit + 1)
    except ERRORS as e:
        if number_of(e) == errno.ENOENT:
            return ""
        raise NotHere(name_of(e))
    if len(text) > limit:
        raise NotHere("too long")
    return text


def place_name(path):
    """Returns the name to show of a file: that of /etc/sysctl.conf for a link to it; raises NotHere for an odd one."""
    if os.path.realpath(path) == os.path.realpath(SYSCTL_CONF):
        path = SYSCTL_CONF
    if len(path) > 200 or path.strip(PLAIN):
        raise NotHere("an odd name")
    return path


def assigned(lines, takes_back):
    """Returns the last place of each name, and the patterns with wildcards, the last first. `takes_back`: a name that
    is kept from wildcards loses its own line above, as with systemd-sysctl."""
    exact, patterns = {}, []
    for name, place in lines:
        if any(c in name for c in "*?["):
            patterns.insert(0, (name.split("/"), place))
        elif place or takes_back or name not in exact:
            exact[name] = place
    if patterns and not fnmatch:
        raise NotHere("needs Python's fnmatch")
    return exact, patterns


def place_in(table, name):
    """Returns where a name is set, "" where it is not: its own line counts before any with wildcards."""
    exact, patterns = table
    if name in exact:
        return exact[name]
    parts = name.split("/")
    for pattern, place in patterns:
        if len(pattern) == len(parts) and all(
            fnmatch.fnmatchcase(*pair) for pair in zip(parts, pattern)
        ):
            return place
    return ""
