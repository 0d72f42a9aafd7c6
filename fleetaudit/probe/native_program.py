"""The native probe: one static program for each architecture, for hosts without Python.

Rules: no I/O but reading the built files from the package. They are no part of the repository:
`make native` builds them from `native/`, and a wheel has them.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources
from importlib.resources.abc import Traversable

from fleetaudit.errors import MissingProgramError

ARCHITECTURES = ("x86_64", "aarch64", "armv7", "riscv64", "ppc64le", "s390x")
"""The architectures that `make native` builds the program for."""
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
    """Returns whether the program for this architecture is built."""
    return architecture in ARCHITECTURES and _built_file(architecture).is_file()


@functools.cache
def native_binary(architecture: str) -> bytes:
    """Returns the program for one of `ARCHITECTURES`, an ELF file without a request.

    Raises `MissingProgramError` if it is not built.
    """
    if not has_native(architecture):
        raise MissingProgramError(
            f"the native probe for {architecture} is not built; in a checkout of fleetaudit:"
            "  make native"
        )
    return gzip.decompress(_built_file(architecture).read_bytes())


def _built_file(architecture: str) -> Traversable:
    """Returns where the compressed program is, whether it is built or not."""
    folder = importlib.resources.files("fleetaudit.probe")
    return folder.joinpath("native", "built", f"{architecture}.gz")
