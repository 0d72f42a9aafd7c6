"""Recognizes the ELF files that are kernels: the vmlinux of ppc64le, and one of x86-64 with a PVH
entry. Pure.

Rules: as in `image_headers`. Formats: elf(5); the kernel's Documentation/arch/x86/boot.rst and
include/xen/interface/elfnote.h for PVH.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import msgspec

from .image_error import Image, NotAKernelError
from .image_headers import check_size, version_of

_MACHINES = {
    0x03: "32-bit x86",
    0x14: "PowerPC",
    0x15: "big-endian 64-bit PowerPC, for which there is no probe",
    0x16: "S/390",
    0x28: "32-bit ARM",
    0x3E: "x86-64",
    0xB7: "arm64",
    0xF3: "RISC-V",
    0x102: "LoongArch",
}
_POWER, _X86 = 0x15, 0x3E
_OBJCOPY = "make the Image of it: objcopy -O binary vmlinux Image  # or give arch/{}/boot/Image"
_HINTS = {
    0x16: "give the bzImage: the vmlinuz in /boot, or arch/s390/boot/bzImage",
    0x28: "give the zImage: the vmlinuz in /boot, or arch/arm/boot/zImage",
    0xB7: _OBJCOPY.format("arm64"),
    0xF3: _OBJCOPY.format("riscv"),
}
_X86_HINT = (
    "give the bzImage: the vmlinuz in /boot, or arch/x86/boot/bzImage of the source tree of"
    " that vmlinux"
)
_LOADED, _NOTE = 1, 4  # p_type
_NOTES_MAX = 64 * 1024
_SEGMENTS_MAX = 64
_PVH_HEADS = struct.pack("<III", 4, 4, 18), struct.pack("<III", 4, 8, 18)
"""The heads of the note, whose address has four or eight bytes."""
_PVH_ENTRY = re.compile(b"(?:%b)Xen\0" % b"|".join(map(re.escape, _PVH_HEADS)))
_BYTE_ORDERS = {b"\x02": ">"}
"""The byte order of a file that is not little-endian, by its EI_DATA: ELFDATA2MSB."""
_IDENT = b"\x02\x01"
"""EI_CLASS and EI_DATA of the kernels that are booted: 64 bits, little-endian."""
_POWER_KERNEL_START = 0xC000000000000000


class _Segment(msgspec.Struct, frozen=True):
    """One entry of the program header table."""

    kind: int
    offset: int
    address: int
    size: int


def elf(data: bytes) -> Image | None:
    """Recognizes a vmlinux, and raises `NotAKernelError` for other ELF programs."""
    if not data.startswith(b"\x7fELF"):
        return None
    byte_order = _BYTE_ORDERS.get(data[5:6], "<")
    (machine,) = struct.unpack_from(f"{byte_order}H", data[:64].ljust(64, b"\0"), 18)
    if recognize := _KERNELS.get((data[4:6], machine)):
        return recognize(data)
    name = _MACHINES.get(machine, f"machine {machine}")
    raise NotAKernelError(
        f"an ELF program for {name}, which is not booted", _HINTS.get(machine, "")
    )


def _power(data: bytes) -> Image:
    """Returns the vmlinux of a ppc64le machine: it is linked to the kernel's own addresses."""
    segments = [*_segments(data)]
    addresses = [segment.address for segment in segments if segment.kind == _LOADED]
    if max(addresses, default=0) < _POWER_KERNEL_START:
        raise NotAKernelError(
            "an ELF program for 64-bit PowerPC that is not a kernel, or a kernel in a wrapper",
            "give the vmlinux: /boot/vmlinux-… of Debian, or the file vmlinux of a source tree",
        )
    check_size(data, _size(segments))
    return Image(data, version_of(data), "ppc64le")


def _x86(data: bytes) -> Image:
    """Returns the vmlinux of an x86-64 machine that has a PVH entry, by which QEMU starts it."""
    segments = [*_segments(data)]
    notes = [s for s in segments if s.kind == _NOTE]
    texts = [data[s.offset : s.offset + min(s.size, _NOTES_MAX)] for s in notes]
    if not any(map(_PVH_ENTRY.search, texts)):
        raise NotAKernelError(
            "an ELF program (perhaps a vmlinux) without a PVH entry, which nothing can load",
            _X86_HINT,
        )
    check_size(data, _size(segments))
    return Image(data, version_of(data))


_KERNELS = {(_IDENT, _POWER): _power, (_IDENT, _X86): _x86}
"""What recognizes a kernel, by the kind of its file and its machine."""


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yields the program headers of a 64-bit little-endian file, at most `_SEGMENTS_MAX`."""
    head = data[:64].ljust(64, b"\0")
    (at,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
    for n in range(min(count, _SEGMENTS_MAX)):
        entry = data[at + n * size :][:56]
        if len(entry) < 56:
            return
        kind, _, offset, address, _, in_file, _, _ = struct.unpack("<IIQQQQQQ", entry)
        yield _Segment(kind, offset, address, in_file)


def _size(segments: list[_Segment]) -> int:
    """Returns the bytes that a file must have for what is loaded of it."""
    return max((s.offset + s.size for s in segments if s.kind == _LOADED), default=0)
