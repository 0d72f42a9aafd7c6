"""The native probe: one static program for each architecture, for hosts without Python.

Rules: no I/O but reading the sources and the built files from the package. The built files are no
part of the repository: `make native` builds them from `native/`, and a wheel has them. A program
that was built from other sources is never used.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.resources
from importlib.resources.abc import Traversable

from fleetaudit.errors import MissingProgramError

ARCHITECTURES = ("x86_64", "aarch64", "armv7", "riscv64", "ppc64le", "s390x")
"""The architectures that `make native` builds the program for."""
BUILT_FROM = "sources.sha256"
"""The file with the built programs that has the `sources_digest` of what they were built from."""
_MACHINES = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "armv7l": "armv7",
    "armv8l": "armv7",  # a 64-bit kernel, for a process that it shows a 32-bit machine
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
"""The architecture by what `uname -m` prints. Older ARM than version 7 is missing on purpose."""


def architecture_of(machine: str) -> str | None:
    """Returns the architecture of a machine as `uname -m` prints it, None for any other one."""
    return _MACHINES.get(machine)


def has_native(architecture: str) -> bool:
    """Returns whether the program for this architecture is built from the sources that are here."""
    return _is_built(architecture) and _is_current()


def _is_built(architecture: str) -> bool:
    """Returns whether there is a program for this architecture, whatever it was built from."""
    return architecture in ARCHITECTURES and _built_file(f"{architecture}.gz").is_file()


@functools.cache
def native_binary(architecture: str) -> bytes:
    """Returns the program for one of `ARCHITECTURES`, an ELF file without a request.

    Raises `MissingProgramError` if it is not built, or from other sources.
    """
    if not has_native(architecture):
        problem = "was built from other sources" if _is_built(architecture) else "is not built"
        raise MissingProgramError(
            f"the native probe for {architecture} {problem}; in a checkout of fleetaudit:"
            "  make native"
        )
    return gzip.decompress(_built_file(f"{architecture}.gz").read_bytes())


@functools.cache
def _is_current() -> bool:
    """Returns whether the built programs are those of the sources."""
    built_from = _built_file(BUILT_FROM)
    return built_from.is_file() and built_from.read_text("ascii").strip() == sources_digest()


@functools.cache
def sources_digest() -> str:
    """Returns the digest of the native probe's sources: 64 hexadecimal digits."""
    files = {file.name: file for file in _folder().iterdir() if file.name.endswith((".c", ".h"))}
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name].read_bytes())
    return digest.hexdigest()


def _built_file(name: str) -> Traversable:
    """Returns where a file that `make native` writes is, whether it is there or not."""
    return _folder().joinpath("built", name)


def _folder() -> Traversable:
    """Returns the folder of the sources."""
    return importlib.resources.files("fleetaudit.probe").joinpath("native")
