"""Worlds that refuse system calls, and worlds with odd interpreters, streams and signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from . import places, resources
from .probing import NOBODY, World
from .seccomp import NUMBERS, kill, refuse

FAMILIES = {"packet": 17, "netlink": 16, "IPv6": 10, "IPv4": 2, "unix": 1}
NO_PACKETS = refuse("EPERM", "socket", argument=0, value=FAMILIES["packet"])
NO_NETLINK = refuse("EPERM", "socket", argument=0, value=FAMILIES["netlink"])
CLONE_NEWUSER_NEWNET = 0x50000000
EVIL = "import os; open('/evil', 'w').close()"
STRAY = (
    *("socket", "zlib", "binascii", "select", "struct", "fcntl", "errno", "marshal", "ctypes"),
    *("array", "fnmatch", "hashlib", "sitecustomize", "usercustomize", "encodings", "os", "site"),
)
"""Modules that a stray file may stand for; each writes a file when it is imported."""
VARIABLES = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONHASHSEED": "x",
    "PYTHONMALLOC": "x",
    "PYTHONPATH": "/stray",
    "PYTHONSTARTUP": "/stray/socket.py",
    "PYTHONINSPECT": "1",
    "PYTHONIOENCODING": "x",
    "PYTHONUSERBASE": "/stray",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONVERBOSE": "9",
    "PYTHONUTF8": "7",
    "PYTHONCOERCECLOCALE": "warn",
    "PYTHONDEVMODE": "1",
    "PYTHONPLATLIBDIR": "nowhere",
    "PYTHONTRACEMALLOC": "x",
    "LC_ALL": "xx_XX",
    "LANG": "tr_TR.ISO-8859-9",
    "TMPDIR": "/nonexistent",
    "ENV": "/stray/socket.py",
    "BASH_ENV": "/stray/socket.py",
    "IFS": "3",
    "CDPATH": "/stray",
    "POSIXLY_CORRECT": "1",
}


def worlds() -> Iterator[World]:
    yield from system_calls()
    yield from sockets()
    yield from interpreters()
    yield from streams()
    yield from signals()


def system_calls() -> Iterator[World]:
    for call in NUMBERS:
        for word, rules in {
            "refused (EPERM)": refuse("EPERM", call),
            "unknown (ENOSYS)": refuse("ENOSYS", call),
            "deadly": kill(call),
        }.items():
            breaks = call in ("setitimer", "lseek", "fcntl", "getrandom", "readlink", "getcwd")
            yield World(f"{call} {word}", rules=rules, least=0.0, breaks=breaks)
    unshare = refuse("EPERM", "unshare")
    for what, rules in {
        "unshare that does nothing": refuse("", "unshare"),
        "unshare of users refused": refuse(
            "EPERM", "unshare", argument=0, value=CLONE_NEWUSER_NEWNET
        ),
        "unshare refused (ENOSPC)": refuse("ENOSPC", "unshare"),
        "unshare refused (EUSERS)": refuse("EUSERS", "unshare"),
        "TCP_INFO refused": refuse("ENOPROTOOPT", "getsockopt", argument=2, value=11),
        "SO_LINGER refused": refuse("ENOPROTOOPT", "setsockopt", argument=2, value=13),
        "filters refused": refuse("EPERM", "setsockopt", argument=2, value=26),
        "SIOCOUTQ refused": refuse("ENOTTY", "ioctl", argument=1, value=0x5411),
        "FIONREAD refused": refuse("ENOTTY", "ioctl", argument=1, value=0x541B),
        "SIOCSIFFLAGS refused": refuse("EPERM", "ioctl", argument=1, value=0x8914),
        "no memory for sockets": refuse("ENOBUFS", "socket"),
        "no memory for bind": refuse("ENOBUFS", "bind"),
        "connect times out": refuse("ETIMEDOUT", "connect"),
        "no unshare and no packet sockets": unshare + NO_PACKETS,
        "no unshare, packet sockets or netlink": unshare + NO_PACKETS + NO_NETLINK,
    }.items():
        for uid in (0, NOBODY):
            yield World(f"{what}, user {uid}", rules=rules, uid=uid, least=0.0)


def sockets() -> Iterator[World]:
    for name, family in FAMILIES.items():
        for error in ("EPERM", "EACCES", "EAFNOSUPPORT", "ENOSYS"):
            rules = refuse(error, "socket", argument=0, value=family)
            yield World(f"{name} sockets refused ({error})", rules=rules, least=0.4)
        rules = kill("socket", argument=0, value=family)
        yield World(f"{name} sockets deadly", rules=rules, least=0.0)


def stray_modules(folder: str) -> str:
    lines = [f'echo "{EVIL}" > {folder}/{name}.py' for name in STRAY]
    return "; ".join((f"mkdir -p {folder}", *lines))


def interpreters() -> Iterator[World]:
    for name, value in VARIABLES.items():
        yield World(f"{name}={value}", (stray_modules("/stray"),), environment={name: value})
    yield World("stray modules in /", (stray_modules("/."),))
    local = "/root/.local/lib/python3.$(python3 -c 'import sys; print(sys.version_info[1])')"
    home = (stray_modules("/root"), stray_modules(f"{local}/site-packages"))
    yield World("stray modules in the home", home)
    bare = "find /usr/lib/python3* -name __pycache__ -prune -exec rm -r {} +"
    yield World("no bytecode of the standard library", (bare,))
    broken = "printf '#!/bin/sh\\necho no libpython >&2; exit 1' > $p; chmod 755 $p"
    yield World("a Python that is broken", (f"p=/usr/local/bin/python3; {broken}",))
    every = f"for p in /usr/bin/python*; do rm -f $p; {broken}; done"
    yield World("every Python is broken", (every,), least=0.0, says="“python3: no libpython”")
    none = "rm -f /usr/bin/python* /usr/local/bin/python*"
    yield World("no Python", (none,), least=0.0, says="no Python from 2.7 on that works")
    for version in ("2.7", "3.6", "3.13"):
        for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")):
            yield from of_version(version, str(path))


def of_version(version: str, path: str) -> Iterator[World]:
    """Yields the commonest worlds for one interpreter."""
    name, all_of = f"Python {version}: ", 0.95 if version == "2.7" else 1.0
    bare = f"rm -rf {Path(path).parents[1]}/lib/python*/*.pyc {Path(path).parents[1]}/lib/python*/"
    python: dict[str, Any] = {"python": path, "least": all_of}
    yield World(name + "usual", **python)
    yield World(name + "an ordinary user", uid=NOBODY, least=0.5)
    yield World(name + "no /dev/null", ("rm /dev/null",), **python)
    yield World(name + "no bytecode", (bare + "__pycache__",), **python)
    yield World(name + "stray modules in /", (stray_modules("/."),), **python)
    one = places.sysctl("ipv4/ip_local_port_range", "40000 40000")
    yield World(name + "1 local port", (one,), **python)
    python["least"] = 0.8
    yield World(name + "no /proc", ("mount -t tmpfs none /proc",), **python)
    yield World(name + "unshare refused", rules=refuse("EPERM", "unshare"), **python)
    odd = {"/proc/net/netstat": "10 MB of words"}
    yield World(name + "/proc/net/netstat of 10 MB", files=odd, **python)
    python["least"] = 0.4
    off = places.sysctl("ipv6/conf/all/disable_ipv6", "1")
    yield World(name + "IPv6 switched off", (off,), **python)
    python["least"] = 0.0
    for count in (8, 12, 16, 20, 24):
        yield World(f"{name}{count} descriptors", limits={"NOFILE": count}, **python)
    for mib in (8, 16, 24, 32, 48):
        yield World(f"{name}RLIMIT_AS {mib} MiB", limits={"AS": mib << 20}, **python)
    yield World(name + "unshare deadly", rules=kill("unshare"), **python)
    yield World(name + "poll unknown", rules=refuse("ENOSYS", "poll"), **python)
    yield from resources.clocks(name, path, all_of)


def streams() -> Iterator[World]:
    sizes = (0, 1, 2, 5, 10, 40, 60, 70, 100, 1000, 1800, 5000, 20000, 40000)
    for size in (*sizes, -1, -2, -10, -47, -48, -60, -1000):
        whole = float(size == -1)  # the last byte is a newline
        yield World(f"stdin cut at {size} bytes", stdin=size, least=whole, breaks=True)
    yield World("nobody reads stdout", reads="closed", least=0.0)
    yield World("stdout that is never read", reads="nothing", least=0.0, deadline=8.0)
    for closed in ((0,), (1,), (2,), (1, 2), (0, 1, 2)):
        whole = float(closed == (2,))
        yield World(f"streams {closed} closed", closed=closed, least=whole, breaks=True)


def signals() -> Iterator[World]:
    names = ("HUP", "TERM", "INT", "QUIT", "PIPE", "USR1", "ALRM", "XCPU", "CHLD", "WINCH")
    for name, at, to in product(names, (0.3, 1.0), ("command", "all")):
        event = {"at": at, "signal": getattr(signal, f"SIG{name}").value, "to": to}
        full = f"SIG{name} to {to} at {at} s"
        yield World(full, events=(event,), least=0.0, breaks=name == "INT")
    stop, go = signal.SIGSTOP.value, signal.SIGCONT.value
    for at, seconds, to in product((0.2, 0.8, 1.3), (0.5, 3.0), ("command", "all", "one")):
        first = {"at": at, "signal": stop, "to": to, "seed": 1}
        events = (first, {"at": at + seconds, "signal": go, "to": "all"})
        yield World(f"SIGSTOP to {to} at {at} s for {seconds} s", events=events)
    first = {"at": 0.8, "signal": stop, "to": "all"}
    late = {"at": 12.0, "signal": go, "to": "all"}
    name = "SIGSTOP until after the deadline"
    yield World(name, events=(first, late), deadline=8.0, least=0.0)


def killed(seed: int, at: float, *, native: bool = False) -> World:
    """Returns a world in which one process, chosen by `seed`, gets SIGKILL after `at` seconds."""
    event = {"at": at, "signal": signal.SIGKILL.value, "to": "one", "seed": seed}
    return World(f"SIGKILL {seed}", events=(event,), least=0.0, native=native)
