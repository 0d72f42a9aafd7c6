"""Packs the guest's file system: a Python of this machine, the modules that the program imports,
and the program.

Rules: what is the same for all guests is packed once a process and kept. Python and its modules
keep the paths that they have here, so that no build has to be relocatable. Shared libraries go to
/lib, which is the path of the loader, under the names by which programs need them. Nothing else of
this machine gets into a guest.
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
from pathlib import Path
from typing import Any

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import quote_line

from . import cpio
from .native_initramfs import settings_file

SYSTEM_PYTHON = "/usr/bin/python3"
OLDEST = (3, 8)
"""The oldest Python that init.py is written for."""
LIBRARIES = "/lib"
_TOOL_DEADLINE_S = 30.0

# What every start of Python needs, and what programs import indirectly (getaddrinfo:
# encodings.idna).
MODULES = (
    "base64", "binascii", "collections", "contextlib", "ctypes", "encodings.ascii",
    "encodings.idna", "encodings.latin_1", "encodings.utf_8", "errno", "fcntl", "hashlib",
    "json", "mmap", "os", "platform", "random", "re", "resource", "select", "signal", "site",
    "socket", "struct", "subprocess", "termios", "threading", "time", "traceback", "zlib",
)  # fmt: skip
_EXCLUDED = frozenset(
    {"antigravity", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"}
)
_IMPORT = re.compile(
    rb"^[ \t]*(?:import|from)[ \t]+([A-Za-z_][\w.]*(?:[ \t]*,[ \t]*[A-Za-z_][\w.]*)*)", re.MULTILINE
)

_packed: dict[tuple[str, ...], bytes] = {}
_packing = threading.Lock()


def pack(program: bytes, sysctls: Mapping[str, str]) -> Sequence[bytes]:
    """Returns the initramfs that runs `program` under `sysctls`, in pieces that follow one another.

    It is not compressed: QEMU hands it over as fast as it reads it, and unpacking in an emulated
    guest takes seconds. Raises `TransportError` (stage "resolve") if this machine has no Python
    that can be packed.
    """
    own = [cpio.file("/fleetaudit/program", program), settings_file(sysctls)]
    return base(imports(program)), cpio.archive(own)


def imports(program: bytes) -> tuple[str, ...]:
    """Returns the standard library modules that a program's text imports, and `MODULES`, sorted.

    They are found in the text: the probe comes inside a string, its imports are guarded, and
    nothing of it may run here.
    """
    text = program + b"\n" + _text("init.py").encode()
    names = set[str]()
    for found in _IMPORT.findall(text):
        names.update(map(str.strip, found.decode("ascii").split(",")))
    return tuple(sorted({*MODULES, *filter(_in_standard_library, names)}))


def _in_standard_library(name: str) -> bool:
    """Returns whether a guest gets this module."""
    top = name.split(".")[0]
    return top in sys.stdlib_module_names and top not in _EXCLUDED


def base(modules: tuple[str, ...]) -> bytes:
    """Returns the part of the initramfs that does not depend on the run, packed once a process.

    `modules` are the modules of the standard library that the guest gets. Raises `TransportError`
    (stage "resolve") if no Python of this machine can be packed.
    """
    with _packing:  # guests that start together pack once
        if modules not in _packed:
            _packed[modules] = _pack_base(modules)
        return _packed[modules]


def _pack_base(modules: tuple[str, ...]) -> bytes:
    """Packs with each interpreter, and returns the smallest archive."""
    archives = list[bytes]()
    problems = list[str]()
    for python in interpreters():
        try:
            archives.append(cpio.archive([*_skeleton(python), *_python(python, modules)]))
        except _UnfitError as e:
            problems.append(f"{python}: {e}")
    if not archives:
        raise TransportError(
            "resolve",
            f"no Python of this machine can be packed for a guest: {'; '.join(problems)}",
            hint="apt install python3 (the whole package: python3-minimal has no ctypes)",
        )
    return min(archives, key=len)


def interpreters() -> tuple[str, ...]:
    """Returns the interpreters to try, as real paths.

    They are the one that runs this (not a venv's link), and the system's.
    """
    own = getattr(sys, "_base_executable", sys.executable) or sys.executable
    usable = (path for path in (own, SYSTEM_PYTHON) if os.access(path, os.X_OK))
    return tuple(dict.fromkeys(map(os.path.realpath, usable)))


class _UnfitError(Exception):
    """This interpreter cannot be packed; the text is the reason."""


def _skeleton(python: str) -> Iterable[cpio.Entry]:
    """Yields the files that every guest has besides Python."""
    # A link, because a #! line has at most 127 characters and no blank; Python finds its library by
    # the real path.
    yield cpio.link("/python", python)
    yield cpio.file("/init", f"#!/python -ISB\n{_text('init.py')}".encode(), executable=True)
    yield cpio.node("/dev/console", 5, 1)
    for path in ("/proc", "/sys", "/tmp", "/etc", "/bin", LIBRARIES):  # noqa: S108 (the guest's)
        yield cpio.folder(path)


def _python(python: str, modules: tuple[str, ...]) -> Iterable[cpio.Entry]:
    """Yields an interpreter with its modules and libraries."""
    needs = _needs(python, modules)
    shared: list[str] = needs["shared"]
    libraries = _libraries([python, *shared])
    yield cpio.file(python, Path(python).read_bytes(), executable=True)
    yield from map(cpio.folder, needs["folders"])
    for path, code in needs["code"].items():
        yield cpio.file(path, base64.b64decode(code))
    for path in shared:
        yield cpio.file(path, Path(path).read_bytes(), executable=True)
    for in_guest, path in libraries.items():
        yield cpio.file(in_guest, Path(path).read_bytes(), executable=True)


def _needs(python: str, modules: tuple[str, ...]) -> dict[str, Any]:
    """Returns what `collect.py` prints about an interpreter; raises `_UnfitError`."""
    needs: dict[str, Any] = json.loads(
        _output_of([python, "-I", "-S", "-B", "-c", _text("collect.py"), *modules])
    )
    if tuple(needs["version"]) < OLDEST:
        raise _UnfitError(f"is older than {'.'.join(map(str, OLDEST))}")
    missing = {"ctypes", "fcntl", "select", "socket", "zlib"} & set(needs["missing"])
    if missing:
        raise _UnfitError(f"has no {', '.join(sorted(missing))}")
    return needs


_BY_NAME = re.compile(r"\s+(\S+) => (/\S+) \(0x")  # libz.so.1 => /lib/…/libz.so.1 (0x…)
_BY_PATH = re.compile(
    r"\s+(/\S+) \(0x"
)  # the loader itself, or a library that is named by its path
_NOT_FOUND = re.compile(r"\s+(\S+) => not found")


def _libraries(programs: Sequence[str]) -> dict[str, str]:
    """Returns the shared libraries of these programs and their loader, as `ldd` finds them: the
    path at which the guest's loader looks, and the path here.
    """
    libraries = dict[str, str]()
    for line in _output_of(["ldd", *programs]).decode("utf-8", "replace").splitlines():
        if found := _BY_NAME.match(line):
            libraries[f"{LIBRARIES}/{Path(found[1]).name}"] = found[2]
        elif found := _BY_PATH.match(line):
            libraries[found[1]] = found[1]
        elif found := _NOT_FOUND.match(line):
            raise _UnfitError(f"lacks the library {found[1]}")
    return _helper_of_libc(libraries.values()) | libraries


def _helper_of_libc(paths: Iterable[str]) -> dict[str, str]:
    """Returns libgcc_s.so.1, which glibc loads by itself when a thread ends."""
    found: dict[str, str] = {}
    for path in map(Path, paths):
        helper = path.with_name("libgcc_s.so.1")
        if path.name.startswith("libc.so") and helper.exists():
            found[f"{LIBRARIES}/{helper.name}"] = str(helper)
    return found


def _text(name: str) -> str:
    """Returns the text of a file of this package."""
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _output_of(command: Sequence[str]) -> bytes:
    """Returns the stdout of a command; raises `_UnfitError` if it fails."""
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
    # ldd ends with 1 if one of the files is linked statically, and says so.
    if done.returncode and not done.stdout:
        stderr = quote_line(done.stderr[-300:], ": ")
        raise _UnfitError(f"{command[0]} ended with status {done.returncode}{stderr}")
    return done.stdout
