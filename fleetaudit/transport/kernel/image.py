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
from dataclasses import dataclass
from pathlib import Path

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import printable_line
from fleetaudit.text.yaml_lines import read_bounded

HEADER_MAX = 4096
"""Bytes at the beginning of a file that are examined."""
MAX_BYTES = 256 * 1024 * 1024
"""Maximum size of a kernel image in bytes; the largest that distributions ship have 20 MB."""
_TOO_LARGE = f"larger than {MAX_BYTES >> 20} MiB, which no kernel image is"
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


@dataclass(frozen=True, slots=True)
class Image:
    """A bootable x86-64 bzImage.

    `version` is the version string of its header (uname -r and more), or "".
    """

    data: bytes
    version: str


class NotAKernelError(Exception):
    """These bytes are not a kernel that can be booted here.

    `found` is what they are, `hint` what to give instead.
    """

    def __init__(self, found: str, hint: str = "") -> None:
        self.found, self.hint = found, hint
        super().__init__(found)


def load_image(path: str) -> Image:
    """Returns the kernel image at `path`.

    Raises `TransportError` (stage "resolve") if it is missing or not a kernel image.
    """
    try:
        data = _read(Path(path))
        return Image(data, parse_image(data))
    except OSError as e:
        reason = e.strerror or type(e).__name__
        hint = f"ls -l {shlex.quote(path)}  # then correct kernel_image"
        cause: Exception = e
    except NotAKernelError as e:
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
        raise NotAKernelError("an empty file, or a special one of the kernel")
    return read_bounded(path, MAX_BYTES)


def parse_image(data: bytes) -> str:
    """Returns the version string of a bootable image; raises `NotAKernelError` for other bytes."""
    head = data[:HEADER_MAX]
    if len(data) > MAX_BYTES:
        raise NotAKernelError(_TOO_LARGE)
    if len(head) < 0x260 or head[0x1FE:0x200] != b"\x55\xaa" or head[0x202:0x206] != b"HdrS":
        raise _recognize(head)
    (protocol,) = struct.unpack_from("<H", head, 0x206)
    if not head[0x211] & 1:
        raise NotAKernelError("a zImage, which is loaded low; only a bzImage is booted")
    if protocol >= 0x20C and not struct.unpack_from("<H", head, 0x236)[0] & 1:
        raise NotAKernelError(
            "a kernel for 32-bit x86; the guest's Python is this machine's, for x86-64"
        )
    setup_sectors = head[0x1F1] or 4
    (paragraphs,) = struct.unpack_from("<I", head, 0x1F4)
    expected = (setup_sectors + 1) * 512 + paragraphs * 16
    if len(data) < expected:
        raise NotAKernelError(
            f"cut short: {len(data)} bytes of the {expected} that its header names",
            "copy the whole image again",
        )
    (at,) = struct.unpack_from("<H", head, 0x20E)
    return printable_line(data[at + 0x200 :].split(b"\0", 1)[0][:200]) if at else ""


def _recognize(head: bytes) -> NotAKernelError:
    """Returns what bytes without the x86 boot header are."""
    if not head:
        return NotAKernelError("an empty file")
    for recognize in _RECOGNIZERS:
        if error := recognize(head):
            return error
    return NotAKernelError("not a kernel image: it has no x86 boot header")


def _elf(head: bytes) -> NotAKernelError | None:
    """Recognizes a vmlinux and other ELF programs."""
    if not head.startswith(b"\x7fELF"):
        return None
    byte_order = ">" if head[5:6] == b"\x02" else "<"
    (machine,) = struct.unpack_from(f"{byte_order}H", head.ljust(64, b"\0"), 18)
    name = _ELF_MACHINES.get(machine, f"machine {machine}")
    if name != "x86-64":
        return NotAKernelError(f"an ELF program for {name}; {_OTHER_MACHINE}")
    return NotAKernelError(
        "an ELF program (perhaps a vmlinux), which is not what a boot loader loads",
        "give the bzImage: the vmlinuz in /boot, or arch/x86/boot/bzImage of the source tree of"
        " that"
        " vmlinux",
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
    at = struct.unpack_from("<I", head.ljust(64, b"\0"), 0x3C)[0]
    whole = head[at : at + 4] == b"PE\0\0" and at + 6 <= len(head)
    machine = struct.unpack_from("<H", head, at + 4)[0] if whole else 0
    name = _PE_MACHINES.get(machine, "an unknown machine")
    compressed = " (a compressed EFI kernel)" if head[4:8] == b"zimg" else ""
    hint = "extract the kernel of a unified kernel image: objcopy -O binary -j .linux"
    return NotAKernelError(
        f"an EFI program for {name}{compressed} without the x86 boot header",
        hint if name == "x86-64" else "",
    )


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
