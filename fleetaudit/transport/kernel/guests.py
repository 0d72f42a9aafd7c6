"""Makes the guest that runs a probe on a kernel image: the native probe, or this machine's Python.

Rules: the native probe runs on every architecture that it is built for, Python only on x86-64, on
an x86-64 machine.
"""

from __future__ import annotations

import platform
from typing import Protocol, SupportsBytes, runtime_checkable

from fleetaudit.errors import MissingProgramError, TransportError
from fleetaudit.model import KernelTarget
from fleetaudit.text.sanitize import printable_line

from . import initramfs
from .image_error import Image
from .machines import MACHINES, X86_64, MachineType
from .native_initramfs import pack_native
from .payload import vmlinux_in
from .qemu import Guest

# A distribution may build its Python for a new one; with -cx16, as `X86_64` has it, the C library
# of some would not start.
_PYTHON_PROCESSOR = "max"
_PYTHON_APPEND = "LD_LIBRARY_PATH=/lib"
_PORT_VARIABLE = "FLEETAUDIT_PORT={}"
"""Neither is a parameter of the kernel, so it becomes part of the environment of /init."""


@runtime_checkable
class Programs(Protocol):
    """The programs that a guest can run: see `probe.offer.Offer`."""

    def native(self, architecture: str) -> bytes:
        """Returns the native program with its request; raises `MissingProgramError`."""
        ...

    def __bytes__(self) -> bytes:
        """Returns the Python program."""
        ...


def machine_for(image: Image) -> MachineType:
    """Returns the machine that boots an image."""
    return MACHINES[image.architecture]


def make_guest(target: KernelTarget, image: Image, programs: SupportsBytes) -> Guest:
    """Returns the guest for an image; raises `TransportError`, stage resolve, if none is possible.

    `programs` without a native one (`Programs`) is a Python program.
    """
    native = _native_program(target, image, programs)
    if native is None:
        return _python_guest(target, image, bytes(programs))
    kind = machine_for(image)
    words = (kind.command_line, kind.own, _PORT_VARIABLE.format(kind.port), target.append)
    return Guest(
        kernel=vmlinux_in(image.data) or image.data,
        initramfs=pack_native(native, target.sysctls),
        memory_mib=target.memory_mib,
        append=" ".join(filter(None, words)),
        processor=kind.processor,
    )


def _native_program(target: KernelTarget, image: Image, programs: SupportsBytes) -> bytes | None:
    """Returns the native program for an image, None where Python is to run."""
    if target.probe == "python" or not isinstance(programs, Programs):
        return None
    try:
        return programs.native(image.architecture)
    except MissingProgramError as e:
        if target.probe == "auto" and _can_run_python(image):
            return None
        raise TransportError(
            "resolve",
            f"{_named(target, image)} needs the native probe for it, which is not built",
            hint="make native  # in a checkout of fleetaudit; every wheel has it",
        ) from e


def _can_run_python(image: Image) -> bool:
    """Returns whether a guest that boots an image can run the Python of this machine."""
    return image.architecture == platform.machine() == X86_64.architecture


def _python_guest(target: KernelTarget, image: Image, program: bytes) -> Guest:
    """Returns the guest that runs a Python program."""
    if not _can_run_python(image):
        raise TransportError(
            "resolve",
            f"{_named(target, image)}: the Python probe runs in x86-64 guests on x86-64 machines"
            f" only, with the Python of the machine; this one is {platform.machine()}",
            hint=f"set fleetaudit_probe: native for it, or: -l {printable_line(target.image)}",
        )
    return Guest(
        kernel=image.data,
        initramfs=initramfs.pack(program, target.sysctls),
        memory_mib=target.memory_mib,
        append=" ".join(filter(None, (X86_64.command_line, _PYTHON_APPEND, target.append))),
        processor=_PYTHON_PROCESSOR,
    )


def _named(target: KernelTarget, image: Image) -> str:
    """Returns the image as messages name it, with its architecture."""
    return printable_line(f"the kernel image {target.image} ({image.architecture})")
