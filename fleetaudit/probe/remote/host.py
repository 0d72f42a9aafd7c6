"""Describes the host: its kernel, system and sysctls, and what production shows since boot."""

import os
import sys
from typing import Any, Dict, List, Optional

from .constants import ABSENT, CLOSE_WAIT, ERRORS, MAX_SECONDS, MAX_WORD
from .counters import SINCE_BOOT, Counters
from .errors import errno_of
from .files import (
    file_lines,
    note_unreadable,
    parse_count,
    read_file,
    read_file_noted,
    value_or_note,
)
from .sysctl_files import sysctl_places
from .sysctls import read_sysctls, sysctls_writable
from .waiting import now

OS_KEYS = ("ID", "VERSION_ID", "PRETTY_NAME")
PYTHONS = {"cpython": "CPython", "pypy": "PyPy"}


def describe_host(call):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """Returns everything about the host but the experiments; runs first, in the host's own
    namespace. The values are independent: a note says why one is unknown.
    """
    _, _, release, version, machine = tuple(os.uname())
    name = getattr(getattr(sys, "implementation", None), "name", "cpython")
    python = ".".join(map(str, sys.version_info[:3]))
    notes = []  # type: List[str]
    sysctls = value_or_note(notes, "/proc/sys", lambda: read_sysctls(call.get("sysctls", ())), {})
    return {
        "kernel": {"release": release[:256], "version": version[:256], "machine": machine[:256]},
        "os": value_or_note(notes, "os-release", lambda: os_release(notes), {}),
        "python": python + " " + PYTHONS.get(name, name),
        "interpreter": (sys.executable or "")[:256],
        "machine_id": value_or_note(notes, "/etc/machine-id", lambda: machine_id(notes), ""),
        "exposure": exposure(notes),
        "sysctls": sysctls,
        "sysctl_places": value_or_note(
            notes, "the files of sysctl.d", lambda: sysctl_places(sysctls), None
        ),
        "sysctls_writable": value_or_note(notes, "/proc/sys", sysctls_writable, True),
        "notes": notes,
    }


def os_release(notes):
    # type: (List[str]) -> Dict[str, str]
    """Returns what os-release(5) has of OS_KEYS; it is not executed."""
    text = read_file_noted("/etc/os-release", notes, 16384)
    text = text or read_file_noted("/usr/lib/os-release", notes, 16384)
    found = {}
    for line in text.split("\n"):
        key, equals, value = line.strip().partition("=")
        if equals and key in OS_KEYS:
            found[key.lower()] = unquote(value).replace("\\", "")[:256]
    if text and not found:
        notes.append("os-release names no ID, VERSION_ID or PRETTY_NAME")
    return found


def unquote(text):
    # type: (str) -> str
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if is_quoted else text


def machine_id(notes):
    # type: (List[str]) -> str
    """Returns a keyed hash of /etc/machine-id, which itself must not leave the host
    (machine-id(5)).
    """
    raw = read_file_noted("/etc/machine-id", notes, 64).strip()
    if not raw:
        return ""
    if len(raw) != 32 or raw.strip("0123456789abcdefABCDEF"):
        notes.append("/etc/machine-id is not 32 hexadecimal digits")
        return ""
    try:
        import hashlib
    except Exception:
        return ""
    key = b"fleetaudit machine id 1\n"
    return hashlib.sha256(key + raw.encode("utf-8")).hexdigest()[:32]


def exposure(notes):
    # type: (List[str]) -> Dict[str, Any]
    """Returns what production shows: counters since boot, and sockets with unread data now."""
    counters = Counters(SINCE_BOOT, notes)
    found = value_or_note(notes, "the counters of /proc/net", counters.read, {})
    counters.close()
    return {
        "uptime_s": value_or_note(notes, "/proc/uptime", uptime, None),
        "counters": found,
        "unread_sockets": value_or_note(
            notes, "/proc/net/tcp", lambda: unread_sockets(notes), None
        ),
    }


def uptime():
    # type: () -> float
    text = read_file("/proc/uptime", 64)
    seconds = float(text.split()[0] if text.strip() else "nan")
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError("no number of seconds")
    return seconds


def unread_sockets(notes, seconds=0.2, lines=100000):
    # type: (List[str], float, int) -> Optional[Dict[str, Any]]
    """Returns how many TCP sockets of this host hold unread data, None if unknown: counts and
    bytes, no addresses and ports. Bounded in time and lines (`partial`).
    """
    scan, tables = SocketScan(seconds, lines), 0
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            if not scan.read_table(path):
                return scan.result
            tables += 1
        except ERRORS as e:
            if path != "/proc/net/tcp6" or errno_of(e) not in ABSENT:  # absent without IPv6
                note_unreadable(notes, path, e)
        except (IndexError, ValueError):
            problem = "%s lists no sockets: line %d is not as Linux writes it"
            notes.append(problem % (path, max(1, scan.line)))
            scan.result["partial"] = True
    return scan.result if tables else None


class SocketScan(object):
    """Counts the sockets with unread data in the tables of /proc/net."""

    def __init__(self, seconds, lines):
        # type: (float, int) -> None
        self.end, self.lines, self.line = now() + seconds, lines, 0
        self.result = {"sockets": 0, "bytes": 0, "scanned": 0, "partial": False}

    def read_table(self, path):
        # type: (str) -> bool
        """Returns whether a table was read to its end; raises OSError, and IndexError or ValueError
        for an unknown format.
        """
        self.line = 0
        for line in file_lines(path):
            self.line += 1
            if self.line == 1 and b"local_address" in line:
                continue
            if self.is_over():
                self.result["partial"] = True
                return False
            self.add(line)
        if not self.line:
            raise ValueError("empty")
        return True

    def is_over(self):
        # type: () -> bool
        scanned = self.result["scanned"]
        return scanned >= self.lines or (scanned % 256 == 0 and now() > self.end)

    def add(self, line):
        # type: (bytes) -> None
        fields = line.split(None, 5)
        state = parse_count(fields[3], 16)
        unread = parse_count(fields[4].partition(b":")[2], 16, MAX_WORD)
        if 1 <= state <= CLOSE_WAIT:
            self.result["scanned"] += 1
            self.result["sockets"] += bool(unread)
            self.result["bytes"] += unread
