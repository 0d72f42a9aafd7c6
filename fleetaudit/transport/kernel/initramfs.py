"""Packs the guest's file system: a Python of this machine, the modules that the program imports,
and the program.

Rules: what stays the same from guest to guest is packed once a process and kept. Python and its
modules keep the paths that they have here, so that no build has to be relocatable; shared libraries
go to /lib under the name that they are asked for by, where the loader is told to look. Nothing else
of this machine gets into a guest.
"""

from __future__ import annotations

import base64
import importlib.resources
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import quote_line

from . import cpio

SYSTEM_PYTHON = "/usr/bin/python3"
OLDEST = (3, 8)
"""The oldest Python that init.py is written for."""
LIBRARIES = "/lib"
_TOOL_DEADLINE_S = 30.0

# What every start of Python needs, and what programs ask for by a side door (getaddrinfo:
# encodings.idna).
MODULES = (
    "base64", "binascii", "collections", "contextlib", "ctypes", "encodings.ascii", "encodings.idna",
    "encodings.latin_1", "encodings.utf_8", "errno", "fcntl", "hashlib", "json", "mmap", "os", "platform", "random",
    "re", "resource", "select", "signal", "site", "socket", "struct", "subprocess", "termios", "threading", "time",
    "traceback", "zlib",
)  # fmt: skip
_UNWANTED = frozenset(
    {"antigravity", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"}
)
_IMPORT = re.compile(
    rb"^[ \t]*(?:import|from)[ \t]+([A-Za-z_][\w.]*(?:[ \t]*,[ \t]*[A-Za-z_][\w.]*)*)", re.MULTILINE
)

_packed: dict[tuple[str, ...], bytes] = {}
_packing = threading.Lock()


def pack(program: bytes, sysctls: Mapping[str, str]) -> Sequence[bytes]:
    """Returns the initramfs that runs `program` under `sysctls`, in pieces that belong one after
    the other.

    Not compressed: QEMU hands it over as fast as it reads it, and unpacking in an emulated guest
    takes seconds. Raises `TransportError` (stage "resolve") where this machine has no Python that
    can be packed.
    """
    settings = "".join(f"{key}={value}\n" for key, value in sysctls.items()).encode()
    own = [cpio.file("/fleetaudit/program", program), cpio.file("/fleetaudit/sysctls", settings)]
    return base(imports(program)), cpio.archive(own)


def imports(program: bytes) -> tuple[str, ...]:
    """Returns the modules of the standard library that a program's text imports, and those that any
    needs, sorted.

    Read off the text: the probe comes inside a string, its imports are guarded, and nothing of it
    may run here.
    """
    text = program + b"\n" + _text("init.py").encode()
    named = {
        name.strip() for found in _IMPORT.findall(text) for name in found.decode("ascii").split(",")
    }
    known = {
        n
        for n in named
        if n.split(".")[0] in sys.stdlib_module_names and n.split(".")[0] not in _UNWANTED
    }
    return tuple(sorted({*MODULES, *known}))


def base(modules: tuple[str, ...]) -> bytes:
    """Returns the part of the initramfs that does not depend on the run, packed once a process."""
    with _packing:  # forty threads that start together pack once
        if modules not in _packed:
            _packed[modules] = _base(modules)
        return _packed[modules]


def _base(modules: tuple[str, ...]) -> bytes:
    packed = list[bytes]()
    why = list[str]()
    for python in interpreters():
        try:
            packed.append(cpio.archive([*_skeleton(python), *_python(python, modules)]))
        except _UnfitError as e:
            why.append(f"{python}: {e}")
    if not packed:
        raise TransportError(
            "resolve",
            f"no Python of this machine can be packed for a guest: {'; '.join(why)}",
            hint="apt install python3 (the whole of it: python3-minimal has no ctypes)",
        )
    return min(packed, key=len)


def interpreters() -> tuple[str, ...]:
    """Returns the interpreters that can be packed, as real paths: the one that runs this (no venv),
    the system's.
    """
    own = getattr(sys, "_base_executable", sys.executable) or sys.executable
    real = dict.fromkeys(os.path.realpath(p) for p in (own, SYSTEM_PYTHON) if os.access(p, os.X_OK))
    return tuple(real)


class _UnfitError(Exception):
    """This interpreter cannot be packed, and why."""


def _skeleton(python: str) -> Iterable[cpio.Entry]:
    # Through a link, for a #! line has at most 127 characters and no blank; Python finds its
    # library by the real path.
    yield cpio.link("/python", python)
    yield cpio.file("/init", f"#!/python -ISB\n{_text('init.py')}".encode(), executable=True)
    yield cpio.node("/dev/console", 5, 1)
    for path in ("/proc", "/sys", "/tmp", "/etc", "/bin", LIBRARIES):  # noqa: S108 (the guest's)
        yield cpio.folder(path)


def _python(python: str, modules: tuple[str, ...]) -> Iterable[cpio.Entry]:
    needs = _needs(python, modules)
    shared: list[str] = needs["shared"]
    libraries = _libraries([python, *shared])
    yield cpio.file(python, Path(python).read_bytes(), executable=True)
    for path in needs["folders"]:
        yield cpio.folder(path)
    for path, code in needs["code"].items():
        yield cpio.file(path, base64.b64decode(code))
    for path in shared:
        yield cpio.file(path, Path(path).read_bytes(), executable=True)
    for library in libraries:
        yield cpio.file(library.asked, Path(library.path).read_bytes(), executable=True)


def _needs(python: str, modules: tuple[str, ...]) -> dict[str, Any]:
    needs: dict[str, Any] = json.loads(
        _said([python, "-I", "-S", "-B", "-c", _text("collect.py"), *modules])
    )
    if tuple(needs["version"]) < OLDEST:
        raise _UnfitError(f"is older than {'.'.join(map(str, OLDEST))}")
    lacking = {"ctypes", "fcntl", "select", "socket", "zlib"} & set(needs["missing"])
    if lacking:
        raise _UnfitError(f"has no {', '.join(sorted(lacking))}")
    return needs


@dataclass(frozen=True, slots=True)
class _Library:
    asked: str
    """The path in the guest at which the loader will look."""
    path: str


def _libraries(programs: Sequence[str]) -> list[_Library]:
    """Returns the shared libraries of these programs, and their loader, as `ldd` finds them."""
    found = dict[str, str]()
    for line in _said(["ldd", *programs]).decode("utf-8", "replace").splitlines():
        if named := re.match(
            r"\s+(\S+) => (/\S+) \(0x", line
        ):  # libz.so.1 => /lib/…/libz.so.1 (0x…)
            found[f"{LIBRARIES}/{Path(named[1]).name}"] = named[2]
        elif loader := re.match(
            r"\s+(/\S+) \(0x", line
        ):  # the loader itself, or a library with a path for a name
            found[loader[1]] = loader[1]
        elif lost := re.match(r"\s+(\S+) => not found", line):
            raise _UnfitError(f"lacks the library {lost[1]}")
    for path in list(found.values()):
        helper = Path(path).with_name(
            "libgcc_s.so.1"
        )  # glibc loads it by itself when a thread is ended
        if Path(path).name.startswith("libc.so") and helper.exists():
            found.setdefault(f"{LIBRARIES}/{helper.name}", str(helper))
    return [_Library(asked, path) for asked, path in found.items()]


def _text(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _said(command: Sequence[str]) -> bytes:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_TOOL_DEADLINE_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise _UnfitError(f"{command[0]}: {e}") from e
    # ldd ends with 1 where one of the files is linked statically, and says so
    if done.returncode and not done.stdout:
        raise _UnfitError(
            f"{command[0]} ended with status {done.returncode}{quote_line(done.stderr[-300:], ': ')}"
        )
    return done.stdout
