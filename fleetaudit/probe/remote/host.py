"""Looks at the host itself: kernel, system, and what production shows."""

import os
import sys

from .constants import ABSENT, CLOSE_WAIT, ERRORS, MAX_SECONDS
from .counters import EXPOSURE, Counters
from .errors import name_of, number_of
from .files import count_of, guarded, lines_of, read, read_noted
from .sysctl_files import sysctl_places
from .sysctls import sysctls, sysctls_writable
from .waiting import now


def look_at_host(call):
    """Returns everything about the host except the experiments. Runs first, in the host's own namespace.

    The answers are independent: if one is unknown, a note says why, and the others are complete.
    """
    _, _, release, version, machine = tuple(os.uname())
    implementation = getattr(getattr(sys, "implementation", None), "name", "cpython")
    name = {"cpython": "CPython", "pypy": "PyPy"}.get(implementation, implementation)
    notes = []
    read_sysctls = guarded(notes, "/proc/sys", lambda: sysctls(call.get("sysctls", ())), {})
    return {
        "kernel": {"release": release[:256], "version": version[:256], "machine": machine[:256]},
        "os": guarded(notes, "os-release", lambda: os_release(notes), {}),
        "python": "%d.%d.%d %s" % (tuple(sys.version_info[:3]) + (name,)),
        "interpreter": (sys.executable or "")[:256],
        "machine_id": guarded(notes, "/etc/machine-id", lambda: machine_id(notes), ""),
        "exposure": exposure(notes),
        "sysctls": read_sysctls,
        "sysctl_places": guarded(
            notes, "the files of sysctl.d", lambda: sysctl_places(read_sysctls), None
        ),
        "sysctls_writable": guarded(notes, "/proc/sys", sysctls_writable, True),
        "notes": notes,
    }


def os_release(notes):
    """Returns os-release(5)'s ID, VERSION_ID and PRETTY_NAME as far as there are any; nothing of it is executed."""
    text = read_noted("/etc/os-release", notes, 16384) or read_noted(
        "/usr/lib/os-release", notes, 16384
    )
    found = {}
    for line in text.split("\n"):
        key, equals, value = line.strip().partition("=")
        if equals and key in ("ID", "VERSION_ID", "PRETTY_NAME"):
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[key.lower()] = value.replace("\\", "")[:256]
    if text and not found:
        notes.append("os-release names no ID, VERSION_ID or PRETTY_NAME")
    return found


def machine_id(notes):
    """Returns a hash keyed to this program of /etc/machine-id, which itself must not leave the host (machine-id(5))."""
    raw = read_noted("/etc/machine-id", notes, 64).strip()
    if not raw:
        return ""
    if len(raw) != 32 or raw.strip("0123456789abcdefABCDEF"):
        notes.append("/etc/machine-id is not 32 hexadecimal digits")
        return ""
    try:
        import hashlib
    except Exception:
        return ""
    return hashlib.sha256(b"fleetaudit machine id 1\n" + raw.encode("utf-8")).hexdigest()[:32]


def exposure(notes):
    """Returns what production already felt: counters since boot, and how many sockets have unread data now."""
    counters = Counters(EXPOSURE, notes)
    found = guarded(notes, "the counters of /proc/net", counters.read, None) or {}
    counters.close()
    return {
        "uptime_s": guarded(notes, "/proc/uptime", uptime, None),
        "counters": found,
        "unread_sockets": guarded(notes, "/proc/net/tcp", lambda: unread_sockets(notes), None),
    }


def uptime():
    """Returns the seconds since boot; raises OSError and ValueError."""
    text = read("/proc/uptime", 64)
    seconds = float(text.split()[0] if text.strip() else "nan")
    if not 0 <= seconds <= MAX_SECONDS:
        raise ValueError("no number of seconds")
    return seconds


def unread_sockets(notes, seconds=0.2, lines=100000):
    """Returns how many TCP sockets of this host hold unread data, None where that cannot be read.

    Counts and bytes only: neither address nor port is looked at. Bounded in time and in lines (`partial`).
    """
    end, result = now() + seconds, {"sockets": 0, "bytes": 0, "scanned": 0, "partial": False}
    opened = 0
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        number = 0
        try:
            for line in lines_of(path):
                number += 1
                if number == 1 and b"local_address" in line:
                    continue
                if result["scanned"] >= lines or (result["scanned"] % 256 == 0 and now() > end):
                    result["partial"] = True
                    return result
                fields = line.split(None, 5)
                state, unread = (
                    count_of(fields[3], 16),
                    count_of(fields[4].partition(b":")[2], 16, 0xFFFFFFFF),
                )
                if not 1 <= state <= CLOSE_WAIT:
                    continue
                result["scanned"] += 1
                if unread:
                    result["sockets"] += 1
                    result["bytes"] += unread
            if not number:
                raise ValueError("empty")
            opened += 1
        except ERRORS as e:
            if (
                path != "/proc/net/tcp6" or number_of(e) not in ABSENT
            ):  # without IPv6 there is no tcp6
                notes.append("%s cannot be read: %s" % (path, name_of(e)))
        except (IndexError, ValueError):
            notes.append(
                "%s lists no sockets: line %d is not as Linux writes it" % (path, max(1, number))
            )
            result["partial"] = True
    return result if opened else None
