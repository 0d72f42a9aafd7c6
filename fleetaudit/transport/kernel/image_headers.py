"""Recognizes kernels of each architecture by the header of their image. Pure.

Rules: a recognizer takes the whole file and returns an `Image`, None for other bytes, or raises
`NotAKernelError` for a kernel that cannot be booted. No number of a header is trusted: offsets
beyond the file are no error but find nothing. Formats, in the kernel's source:
Documentation/arch/x86/boot.rst, arch/arm64/booting.rst and arch/riscv/boot-image-header.rst;
arch/arm/boot/compressed/head.S; arch/s390/boot/head.S with struct parmarea of asm/setup.h. Also the
PE format of Microsoft.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgspec

from fleetaudit.text.sanitize import printable_line

from .image_error import Image, NotAKernelError

_COPY_AGAIN = "copy the whole image again"
_VERSION_MAX = 200
_BANNER = b"Linux version "
_BANNER_FORMAT = b"%"  # the banner's format string precedes the banner in some images
_S390_MAGIC, _S390_VERSION_AT = (0x10008, b"S390EP"), 0x10428
_ARM_MAGIC, _ARM_BIG_ENDIAN = b"\x18\x28\x6f\x01", b"\x01\x6f\x28\x18"
_ARM64_MAGIC, _RISCV_MAGIC = b"ARM\x64", b"RSC\x05"
_OLD_RISCV_MAGIC = b"RISCV"  # alone in images before Linux 5.6
_UNKNOWN_MACHINE = "an unknown machine"
_PE_MACHINES = {
    0x14C: "32-bit x86",
    0x1C2: "32-bit ARM",
    0x8664: "x86-64",
    0xAA64: "arm64",
    0x5032: "32-bit RISC-V",
    0x5064: "RISC-V",
    0x6232: "32-bit LoongArch",
    0x6264: "LoongArch",
}


def number(encoding: str, data: bytes, at: int) -> int:
    """Returns the number at an offset; `encoding` is of `struct`. 0 beyond the end of the data."""
    size = struct.calcsize(encoding)
    found: int = struct.unpack(encoding, data[at : at + size].ljust(size, b"\0"))[0]
    return found


def version_of(data: bytes) -> str:
    """Returns the version in the banner of an image that is not compressed, "" without one.

    "Linux version 6.1.0-9-arm64 (debian-kernel@…" gives "6.1.0-9-arm64 (debian-kernel@…".
    """
    at = data.find(_BANNER)
    if at >= 0 and data[at + len(_BANNER) :].startswith(_BANNER_FORMAT):
        at = data.find(_BANNER, at + 1)
    if at < 0:
        return ""
    return _text_at(data, at + len(_BANNER))


def check_size(data: bytes, needed: int) -> None:
    """Raises `NotAKernelError` if a file is smaller than its header says."""
    if len(data) < needed:
        raise NotAKernelError(
            f"cut short: {len(data)} bytes of the {needed} that its header names", _COPY_AGAIN
        )


def _text_at(data: bytes, at: int) -> str:
    """Returns the text of a line or of a C string, sanitized."""
    text = data[at : at + _VERSION_MAX].partition(b"\0")[0].partition(b"\n")[0]
    return printable_line(text)


# ---- x86


def bzimage(data: bytes) -> Image | None:
    """Recognizes the bzImage of an x86 machine: boot_flag, and "HdrS" in header."""
    magics = data[0x1FE:0x200], data[0x202:0x206]
    if len(data) < 0x260 or magics != (b"\x55\xaa", b"HdrS"):
        return None
    header = _BootHeader(data[:0x260])
    if not header.is_loaded_high:
        raise NotAKernelError("a zImage, which is loaded low; only a bzImage is booted")
    if header.is_32_bit:
        raise NotAKernelError(
            "a kernel for 32-bit x86, for which there is no probe",
            "give the kernel of a 64-bit machine: uname -m prints x86_64 there",
        )
    check_size(data, header.image_size)
    if not header.version_offset:
        return Image(data, "")
    return Image(data, _text_at(data, header.version_offset))


class _BootHeader(msgspec.Struct, frozen=True):
    """The header of an x86 kernel, by the names of Documentation/arch/x86/boot.rst.

    `head` has at least 0x260 bytes.
    """

    head: bytes

    @property
    def is_loaded_high(self) -> bool:
        """Whether loadflags has LOADED_HIGH: a bzImage."""
        return bool(self.head[0x211] & 1)

    @property
    def is_32_bit(self) -> bool:
        """Whether xloadflags, which protocol 2.12 has first, lacks XLF_KERNEL_64."""
        protocol = number("<H", self.head, 0x206)
        return protocol >= 0x20C and not number("<H", self.head, 0x236) & 1

    @property
    def image_size(self) -> int:
        """The size of the file in bytes: boot sector, setup_sects, and syssize of 16 bytes each."""
        setup_sectors = self.head[0x1F1] or 4  # 0 stands for 4
        return (setup_sectors + 1) * 512 + number("<I", self.head, 0x1F4) * 16

    @property
    def version_offset(self) -> int:
        """The offset of the version string in the file (kernel_version), 0 for none."""
        offset = number("<H", self.head, 0x20E)
        if not offset:
            return 0
        return offset + 0x200


# ---- other machines


def s390(data: bytes) -> Image | None:
    """Recognizes the bzImage of an IBM Z machine."""
    at, magic = _S390_MAGIC
    if data[at : at + len(magic)] != magic:
        return None
    version = ""
    if offset := number(">Q", data, _S390_VERSION_AT):
        version = _text_at(data, offset)
    return Image(data, version, "s390x")


def arm64(data: bytes) -> Image | None:
    """Recognizes the Image of an arm64 machine."""
    if data[0x38:0x3C] != _ARM64_MAGIC:
        return None
    if number("<Q", data, 0x18) & 1:
        raise NotAKernelError("a big-endian arm64 Image, for which there is no probe")
    check_size(data, _pe_size(data))
    return Image(data, version_of(data), "aarch64")


def riscv(data: bytes) -> Image | None:
    """Recognizes the Image of a RISC-V machine."""
    if data[0x38:0x3C] != _RISCV_MAGIC and data[0x30:0x35] != _OLD_RISCV_MAGIC:
        return None
    if pe_machine(data) == "32-bit RISC-V":
        raise NotAKernelError("an Image for 32-bit RISC-V, for which there is no probe")
    check_size(data, _pe_size(data))
    return Image(data, version_of(data), "riscv64")


def arm_zimage(data: bytes) -> Image | None:
    """Recognizes the zImage of a 32-bit ARM machine, which tells where it begins and ends."""
    if data[0x24:0x28] == _ARM_BIG_ENDIAN:
        raise NotAKernelError("a big-endian 32-bit ARM zImage, for which there is no probe")
    if data[0x24:0x28] != _ARM_MAGIC:
        return None
    check_size(data, number("<I", data, 0x2C) - number("<I", data, 0x28))
    return Image(data, "", "armv7")


def u_boot(data: bytes) -> Image | None:
    """Recognizes an image for U-Boot, which QEMU does not unpack."""
    if data.startswith(b"\x27\x05\x19\x56"):
        raise NotAKernelError(
            "a U-Boot image", "take the kernel out: dumpimage -p 0 -o KERNEL IMAGE  # then see file"
        )
    return None


def efi_program(data: bytes) -> Image | None:
    """Recognizes EFI programs that are no kernel, or none that a probe is built for."""
    if not data.startswith(b"MZ"):
        return None
    name = pe_machine(data)
    hint = ""
    if name == "x86-64":
        hint = "extract the kernel of a unified kernel image: objcopy -O binary -j .linux"
    raise NotAKernelError(f"an EFI program for {name} without the header of a kernel", hint)


# ---- the PE format


def pe_machine(data: bytes) -> str:
    """Returns the machine of an EFI program: e_lfanew leads to "PE" and the COFF header."""
    at = _coff_at(data)
    if not at:
        return _UNKNOWN_MACHINE
    return _PE_MACHINES.get(number("<H", data, at), _UNKNOWN_MACHINE)


def _coff_at(data: bytes) -> int:
    """Returns the offset of the COFF header, 0 for none."""
    at = number("<I", data, 0x3C)
    if data[at : at + 4] != b"PE\0\0":
        return 0
    return at + 4


def _pe_size(data: bytes) -> int:
    """Returns the bytes that a file must have for the sections in its PE header, 0 without one."""
    at = _coff_at(data)
    if not at:
        return 0
    sections, optional = number("<H", data, at + 2), number("<H", data, at + 16)
    table = at + 20 + optional
    starts = range(table, min(table + 40 * sections, len(data)), 40)
    ends = [number("<I", data, s + 16) + number("<I", data, s + 20) for s in starts]
    return max(ends, default=0)


HEADERS: tuple[Callable[[bytes], Image | None], ...] = (
    bzimage,
    s390,
    arm64,
    riscv,
    arm_zimage,
    u_boot,
)
"""The recognizers of headers at fixed places; `efi_program` is for what none of them knows."""
