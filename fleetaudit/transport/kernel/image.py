"""Recognizes, from the first bytes of a file, a kernel that this machine can boot.

Rules: reads headers, never runs anything. Every other kind of file that people name by mistake is
recognized, with the way to the right one. Formats: the kernel's Documentation/arch/x86/boot.rst and
arch/arm64/booting.rst; elf(5).
"""

from __future__ import annotations

import shlex
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import printable_line
from fleetaudit.text.yaml_lines import read_bounded

from .package import PackageError, is_package, read_package

HEADER_MAX = 4096
"""Bytes at the beginning of a file that are examined."""
MAX_BYTES = 256 * 1024 * 1024
"""Maximum size of a kernel image in bytes; the largest that distributions ship have 20 MB."""
_TOO_LARGE = f"larger than {MAX_BYTES >> 20} MiB, which no kernel image is"
_UNKNOWN_MACHINE = "an unknown machine"
_OTHER_MACHINE = "the guest's Python is this machine's, for x86-64: give an x86-64 kernel"

_ELF_MACHINES = {
    0x03: "32-bit x86",
    0x14: "PowerPC",
    0x15: "64-bit PowerPC",
    0x16: "S/390",
    0x28: "32-bit ARM",
    0x3E: "x86-64",
    0xB7: "arm64",
    0xF3: "RISC-V",
    0x102: "LoongArch",
}
_PE_MACHINES = {
    0x14C: "32-bit x86",
    0x8664: "x86-64",
    0xAA64: "arm64",
    0x5064: "RISC-V",
    0x6264: "LoongArch",
}
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "zcat"),
    b"\xfd7zXZ\x00": ("xz", "xzcat"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"BZh": ("bzip2", "bzcat"),
}
# Offset and magic number of kernels for other machines.
_OTHER_KERNELS = (
    (0x38, b"ARMd", "an arm64 Image"),
    (0x30, b"RISCV", "a RISC-V Image"),
    (0x38, b"RSC\x05", "a RISC-V Image"),
    (0x24, b"\x18\x28\x6f\x01", "a 32-bit ARM zImage"),
    (0x24, b"\x01\x6f\x28\x18", "a 32-bit ARM zImage"),
    (0x00, b"\x27\x05\x19\x56", "a U-Boot image"),
)


class Image(msgspec.Struct, frozen=True):
    """A bootable x86-64 bzImage.

    `version` is the version string of its header (uname -r and more), or "". `package_version` is
    that of the Debian package that it was in, "" for an image file.
    """

    data: bytes
    version: str
    package_version: str = ""


class NotAKernelError(Exception):
    """These bytes are not a kernel that can be booted here.

    `found` is what they are, `hint` what to give instead, "" if the caller is to say it.
    """

    def __init__(self, found: str, hint: str = "") -> None:
        self.found, self.hint = found, hint
        super().__init__(found)


def load_image(path: str) -> Image:
    """Returns the kernel image at `path`, which is read whole, at most `MAX_BYTES`.

    The file is an image, or a Debian package with one.

    Raises `TransportError` (stage "resolve") if it is missing, or not a kernel that can be booted
    here; the hint says what to give instead.
    """
    try:
        data, package_version = _unpack(_read(Path(path)))
        return Image(data, parse_image(data), package_version)
    except OSError as e:
        reason = e.strerror or type(e).__name__
        hint = f"ls -l {shlex.quote(path)}  # then correct kernel_image"
        cause: Exception = e
    except (NotAKernelError, PackageError) as e:
        reason, cause = e.found, e
        hint = e.hint or f"file {shlex.quote(path)}  # expected: the bzImage of an x86-64 machine"
    raise TransportError(
        "resolve", f"the kernel image {path}: {reason}", hint=hint, kind="kernel image not usable"
    ) from cause


def _read(path: Path) -> bytes:
    """Returns the contents of a file; raises `OSError` or `NotAKernelError`."""
    status = path.stat()
    if status.st_size > MAX_BYTES:  # /proc/kcore has 128 TiB
        raise NotAKernelError(_TOO_LARGE)
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        # Reading /proc/kmsg would take away the kernel's messages.
        raise NotAKernelError("an empty file, or a special file of the kernel")
    return read_bounded(path, MAX_BYTES)


def _unpack(data: bytes) -> tuple[bytes, str]:
    """Returns the image and the version of a Debian package; of other bytes themselves and ""."""
    if not is_package(data):
        return data, ""
    package = read_package(data)
    return package.image, package.version


def parse_image(data: bytes) -> str:
    """Returns the version string of a bootable image, "" if its header names none.

    `data` is the whole file. Raises `NotAKernelError` for other bytes, for a kernel of another
    machine and for a file that was cut short.
    """
    if len(data) > MAX_BYTES:
        raise NotAKernelError(_TOO_LARGE)
    head = data[:HEADER_MAX]
    if not _has_boot_header(head):
        raise _recognize(head)
    header = _BootHeader(head)
    if not header.is_loaded_high:
        raise NotAKernelError("a zImage, which is loaded low; only a bzImage is booted")
    if header.is_32_bit:
        raise NotAKernelError(
            "a kernel for 32-bit x86; the guest's Python is this machine's, for x86-64"
        )
    if len(data) < header.image_size:
        raise NotAKernelError(
            f"cut short: {len(data)} bytes of the {header.image_size} that its header names",
            "copy the whole image again",
        )
    if not header.version_offset:
        return ""
    version, _, _ = data[header.version_offset :].partition(b"\0")
    return printable_line(version[:200])


def _has_boot_header(head: bytes) -> bool:
    """Returns whether these bytes begin an x86 kernel: boot_flag, and "HdrS" in header."""
    magics = head[0x1FE:0x200], head[0x202:0x206]
    return len(head) >= 0x260 and magics == (b"\x55\xaa", b"HdrS")


class _BootHeader(msgspec.Struct, frozen=True):
    """The header of an x86 kernel, by the names of Documentation/arch/x86/boot.rst.

    `head` has at least 0x260 bytes.
    """

    head: bytes

    def _number(self, encoding: str, at: int) -> int:
        """Returns the number at an offset; `encoding` is of `struct`, little-endian."""
        number: int = struct.unpack_from(f"<{encoding}", self.head, at)[0]
        return number

    @property
    def is_loaded_high(self) -> bool:
        """Whether loadflags has LOADED_HIGH: a bzImage."""
        return bool(self.head[0x211] & 1)

    @property
    def is_32_bit(self) -> bool:
        """Whether xloadflags, which protocol 2.12 has first, lacks XLF_KERNEL_64."""
        protocol = self._number("H", 0x206)
        return protocol >= 0x20C and not self._number("H", 0x236) & 1

    @property
    def image_size(self) -> int:
        """The size of the file in bytes: boot sector, setup_sects, and syssize of 16 bytes each."""
        setup_sectors = self.head[0x1F1] or 4  # 0 stands for 4
        return (setup_sectors + 1) * 512 + self._number("I", 0x1F4) * 16

    @property
    def version_offset(self) -> int:
        """The offset of the version string in the file (kernel_version), 0 for none."""
        offset = self._number("H", 0x20E)
        if not offset:
            return 0
        return offset + 0x200


def _recognize(head: bytes) -> NotAKernelError:
    """Returns what bytes without the x86 boot header are."""
    if not head:
        return NotAKernelError("an empty file")
    for recognize in _RECOGNIZERS:
        if error := recognize(head):
            return error
    return NotAKernelError("not a kernel image: it has no x86 boot header")


def _elf(head: bytes) -> NotAKernelError | None:
    """Recognizes a vmlinux and other ELF programs; None for other bytes, as all recognizers."""
    if not head.startswith(b"\x7fELF"):
        return None
    byte_order = "<"
    if head[5:6] == b"\x02":  # EI_DATA is ELFDATA2MSB
        byte_order = ">"
    (machine,) = struct.unpack_from(f"{byte_order}H", head.ljust(64, b"\0"), 18)
    name = _ELF_MACHINES.get(machine, f"machine {machine}")
    if name != "x86-64":
        return NotAKernelError(f"an ELF program for {name}; {_OTHER_MACHINE}")
    return NotAKernelError(
        "an ELF program (perhaps a vmlinux), which a boot loader cannot load",
        "give the bzImage: the vmlinuz in /boot, or arch/x86/boot/bzImage of the source tree of"
        " that vmlinux",
    )


def _other_kernel(head: bytes) -> NotAKernelError | None:
    """Recognizes kernels of other machines."""
    for at, magic, name in _OTHER_KERNELS:
        if head[at : at + len(magic)] == magic:
            return NotAKernelError(f"{name}; {_OTHER_MACHINE}")
    return None


def _efi_program(head: bytes) -> NotAKernelError | None:
    """Recognizes EFI programs."""
    if not head.startswith(b"MZ"):
        return None
    name = _pe_machine(head)
    compressed = ""
    if head[4:8] == b"zimg":
        compressed = " (a compressed EFI kernel)"
    hint = ""
    if name == "x86-64":
        hint = "extract the kernel of a unified kernel image: objcopy -O binary -j .linux"
    found = f"an EFI program for {name}{compressed} without the x86 boot header"
    return NotAKernelError(found, hint)


def _pe_machine(head: bytes) -> str:
    """Returns the machine of an EFI program: e_lfanew leads to "PE" and the COFF header.

    `_UNKNOWN_MACHINE` for a number that `_PE_MACHINES` does not have, and if the header is not in
    the first `HEADER_MAX` bytes.
    """
    (at,) = struct.unpack_from("<I", head.ljust(64, b"\0"), 0x3C)
    coff = head[at : at + 6]
    if len(coff) < 6 or not coff.startswith(b"PE\0\0"):
        return _UNKNOWN_MACHINE
    (machine,) = struct.unpack_from("<H", coff, 4)
    return _PE_MACHINES.get(machine, _UNKNOWN_MACHINE)


def _compressed(head: bytes) -> NotAKernelError | None:
    """Recognizes compressed files."""
    for magic, (kind, command) in _COMPRESSED.items():
        if head.startswith(magic):
            hint = f"unpack it first ({command}), then see: file IMAGE"
            return NotAKernelError(f"{kind}-compressed data", hint)
    return None


_RECOGNIZERS: tuple[Callable[[bytes], NotAKernelError | None], ...] = (
    _elf,
    _other_kernel,
    _efi_program,
    _compressed,
)
