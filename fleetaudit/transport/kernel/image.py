"""Reads a kernel image, and finds out for which machine it is.

Rules: reads headers, never runs anything. Every other kind of file that people name by mistake is
recognized, with the way to the right one. A kernel that is compressed as a whole is unpacked, once.
"""

from __future__ import annotations

import shlex
import stat
from pathlib import Path

from msgspec.structs import replace

from fleetaudit.errors import TransportError
from fleetaudit.text.yaml_lines import read_bounded

from .elf_image import elf
from .image_error import Image, NotAKernelError
from .image_headers import HEADERS, efi_program
from .package import PackageError, is_package, read_package
from .unpack_image import MAX_BYTES, TOO_LARGE, is_compressed, unpack


def load_image(path: str) -> Image:
    """Returns the kernel image at `path`, which is read whole, at most `MAX_BYTES`.

    The file is an image, or a Debian package with one.

    Raises `TransportError` (stage "resolve") if it is missing, or not a kernel that can be booted
    here; the hint says what to give instead.
    """
    try:
        data, package_version = _take_out(_read(Path(path)))
        return replace(parse_image(data), package_version=package_version)
    except OSError as e:
        reason = e.strerror or type(e).__name__
        hint = f"ls -l {shlex.quote(path)}  # then correct kernel_image"
        cause: Exception = e
    except (NotAKernelError, PackageError) as e:
        reason, cause = e.found, e
        hint = e.hint or f"file {shlex.quote(path)}  # expected: a kernel, as in /boot/vmlinuz-*"
    raise TransportError(
        "resolve", f"the kernel image {path}: {reason}", hint=hint, kind="kernel image not usable"
    ) from cause


def _read(path: Path) -> bytes:
    """Returns the contents of a file; raises `OSError` or `NotAKernelError`."""
    status = path.stat()
    if status.st_size > MAX_BYTES:  # /proc/kcore has 128 TiB
        raise NotAKernelError(TOO_LARGE)
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        # Reading /proc/kmsg would take away the kernel's messages.
        raise NotAKernelError("an empty file, or a special file of the kernel")
    return read_bounded(path, MAX_BYTES)


def _take_out(data: bytes) -> tuple[bytes, str]:
    """Returns the image and the version of a Debian package; of other bytes themselves and ""."""
    if not is_package(data):
        return data, ""
    package = read_package(data)
    return package.image, package.version


def parse_image(data: bytes) -> Image:
    """Returns a bootable image.

    `data` is the whole file. Raises `NotAKernelError` for other bytes, for a kernel that no probe
    is built for, and for a file that was cut short.
    """
    if len(data) > MAX_BYTES:
        raise NotAKernelError(TOO_LARGE)
    if not data:
        raise NotAKernelError("an empty file")
    if not is_compressed(data):
        return _parse_kernel(data)
    unpacked = unpack(data)
    if is_compressed(unpacked):
        raise NotAKernelError("a kernel that is compressed twice", "unpack it once, then see: file")
    return _parse_kernel(unpacked)


def _parse_kernel(data: bytes) -> Image:
    """Returns the image in data that is not compressed as a whole."""
    for recognize in (*HEADERS, elf, efi_program):
        if image := recognize(data):
            return image
    raise NotAKernelError(
        "not a kernel image: it has no x86 boot header, and none of another machine"
    )
