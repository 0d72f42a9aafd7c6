"""Finds the lines of sysctl.d(5) that set a sysctl at boot."""

import errno
import os
from typing import Dict, Iterable, List, Optional, Tuple

from .constants import ERRORS
from .errors import Unsupported, errno_of, error_name
from .files import read_file
from .optional import fnmatch
from .sysctls import has_wildcards, swap_separators

SYSCTL_FOLDERS = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
)
SYSCTL_CONF = "/etc/sysctl.conf"
PATH_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@+-/"


def sysctl_places(keys):
    # type: (Iterable[str]) -> Optional[Dict[str, List[str]]]
    """Returns the places ("FILE:LINE") that set a sysctl at boot, by key; None if not all files can
    be read. There are two if `sysctl --system` of procps and systemd-sysctl follow different lines,
    that of procps first: it reads /etc/sysctl.conf last, and systemd-sysctl only by a link.
    """
    try:
        return find_places(keys)
    except Unsupported:
        return None


def find_places(keys):
    # type: (Iterable[str]) -> Dict[str, List[str]]
    lines = []  # type: List[Tuple[str, str]]
    for path in sysctl_files():
        lines += read_assignments(path)
    procps = SysctlTable(lines + read_assignments(SYSCTL_CONF), False)
    systemd = SysctlTable(lines, True)
    found = {}
    for key in keys:
        name = swap_separators(key)
        places = list(filter(None, (procps.place(name), systemd.place(name))))
        if places:
            found[key] = sorted(set(places), key=places.index)
    return found


def sysctl_files():
    # type: () -> List[str]
    """Returns the files in the order of sysctl.d(5): by name, whatever the folder; of one name only
    the first.
    """
    found = {}  # type: Dict[str, str]
    for folder in SYSCTL_FOLDERS:
        for name in configuration_names(folder):
            found.setdefault(name, folder + "/" + name)
    if len(found) > 500:
        raise Unsupported("too many files")
    return [found[name] for name in sorted(found)]


def configuration_names(folder):
    # type: (str) -> List[str]
    """Returns the names of a folder's files, none if it does not exist; raises Unsupported."""
    if not os.path.isdir(folder):
        return []
    try:
        names = os.listdir(folder)
    except ERRORS as e:
        raise Unsupported(error_name(e))
    return [name for name in names if name.endswith(".conf") and not name.startswith(".")]


def read_assignments(path):
    # type: (str) -> List[Tuple[str, str]]
    """Returns the assignments of a file in order: the name as a path below /proc/sys, perhaps with
    wildcards, and the place, "" if the line ("-NAME") only excludes the name from wildcards. Raises
    Unsupported.
    """
    found = []
    for number, line in enumerate(read_configuration(path).split("\n"), 1):
        line = line.strip()
        key, equals, _ = line.partition("=")
        if line.startswith(("#", ";")) or not (equals or line.startswith("-")):
            continue
        place = "%s:%d" % (shown_path(path), number) if equals else ""
        found.append((assigned_name(key), place))
    return found


def assigned_name(key):
    # type: (str) -> str
    """Returns a name as a path: its first separator decides whether dots or slashes separate
    (sysctl.d(5)).
    """
    key = key.lstrip("-").strip()
    has_dots = (key + ".").find(".") < (key + "/").find("/")
    return swap_separators(key) if has_dots else key


def read_configuration(path, limit=65536):
    # type: (str, int) -> str
    """Returns the text of a world-readable file, "" if it does not exist; raises Unsupported."""
    try:
        mode = os.stat(path).st_mode
        if mode & 0o170000 != 0o100000:  # a link to /dev/null hides the files of that name
            return ""
        if not mode & 0o004:
            raise Unsupported("not world-readable")
        text = read_file(path, limit + 1)
    except ERRORS as e:
        if errno_of(e) == errno.ENOENT:
            return ""
        raise Unsupported(error_name(e))
    if len(text) > limit:
        raise Unsupported("too long")
    return text


def shown_path(path):
    # type: (str) -> str
    """Returns the path to report, that of /etc/sysctl.conf for a link to it; raises Unsupported for
    an unusual one.
    """
    if os.path.realpath(path) == os.path.realpath(SYSCTL_CONF):
        path = SYSCTL_CONF
    if len(path) > 200 or path.strip(PATH_CHARACTERS):
        raise Unsupported("an unusual path")
    return path


class SysctlTable(object):
    """The last place of each name. `exclusion_clears`: an excluded name loses its own line above,
    as with systemd-sysctl.
    """

    def __init__(self, lines, exclusion_clears):
        # type: (Iterable[Tuple[str, str]], bool) -> None
        self.exact = {}  # type: Dict[str, str]
        self.patterns = []  # type: List[Tuple[List[str], str]]
        for name, place in lines:
            if has_wildcards(name):
                self.patterns.insert(0, (name.split("/"), place))
            elif place or exclusion_clears or name not in self.exact:
                self.exact[name] = place
        if self.patterns and not fnmatch:
            raise Unsupported("needs Python's fnmatch")

    def place(self, name):
        # type: (str) -> str
        """Returns where a name is set, "" if nowhere: its own line counts before wildcards."""
        if name in self.exact:
            return self.exact[name]
        parts = name.split("/")
        return next((place for pattern, place in self.patterns if matches(parts, pattern)), "")


def matches(parts, pattern):
    # type: (List[str], List[str]) -> bool
    return len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))
