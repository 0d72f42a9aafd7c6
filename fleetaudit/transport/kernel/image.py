"""Tells from a file's first bytes whether it is a kernel that this machine can boot, before any
guest is started.

Rules: reads headers, never runs anything. Every other kind of file that people give by mistake is
named, with the way to the right one. Formats: the kernel's Documentation/arch/x86/boot.rst and
arch/arm64/booting.rst; elf(5).
"""

from __future__ import annotations

import shlex
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import printable_line
from fleetaudit.text.yaml_lines import read_bounded

HEADER = 4096
MAX_BYTES = 256 * 1024 * 1024
"""The most bytes that a kernel image may have; the largest that distributions ship have 20 MB."""
_TOO_LARGE = f"larger than {MAX_BYTES >> 20} MiB, which no kernel image is"

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
_PACKED = {
    b"\x1f\x8b": ("gzip", "zcat"),
    b"\xfd7zXZ\x00": ("xz", "xzcat"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"BZh": ("bzip2", "bzcat"),
}


@dataclass(frozen=True, slots=True)
class Image:
    """A bootable x86-64 bzImage: its bytes, and what its header says it is (uname -r and more), or
    "".
    """

    data: bytes
    version: str


class NotAKernelError(Exception):
    """These bytes are no kernel that can be booted here: what they are instead, and what to give."""

    def __init__(self, found: str, hint: str = "") -> None:
        self.found, self.hint = found, hint
        super().__init__(found)


def load_image(path: str) -> Image:
    """Returns the kernel image at `path`; raises `TransportError` (stage "resolve") where it is
    missing or none.
    """
    try:
        about = Path(path).stat()
        if about.st_size > MAX_BYTES:  # /proc/kcore has 128 TiB
            raise NotAKernelError(_TOO_LARGE)
        if (
            stat.S_ISREG(about.st_mode) and not about.st_size
        ):  # reading /proc/kmsg would take the kernel's messages
            raise NotAKernelError("an empty file, or a special one of the kernel")
        data = read_bounded(Path(path), MAX_BYTES)
        return Image(data, parse_image(data))
    except OSError as e:
        words = e.strerror or type(e).__name__
        raise TransportError(
            "resolve",
            f"the kernel image {path}: {words}",
            hint=f"ls -l {shlex.quote(path)}  # then correct kernel_image",
            kind="kernel image not usable",
        ) from e
    except NotAKernelError as e:
        hint = e.hint or f"file {shlex.quote(path)}  # expected: the bzImage of an x86-64 machine"
        reason = f"the kernel image {path}: {e.found}"
        raise TransportError("resolve", reason, hint=hint, kind="kernel image not usable") from e


def parse_image(data: bytes) -> str:
    """Returns the version string of a bootable image; raises `NotAKernelError` saying what else the
    bytes are.
    """
    head = data[:HEADER]
    if len(data) > MAX_BYTES:
        raise NotAKernelError(_TOO_LARGE)
    if len(head) < 0x260 or head[0x1FE:0x200] != b"\x55\xaa" or head[0x202:0x206] != b"HdrS":
        raise _something_else(head)
    (protocol,) = struct.unpack_from("<H", head, 0x206)
    if not head[0x211] & 1:
        raise NotAKernelError("a zImage, which is loaded low; only a bzImage is booted")
    if protocol >= 0x20C and not struct.unpack_from("<H", head, 0x236)[0] & 1:
        raise NotAKernelError(
            "a kernel for 32-bit x86; the guest's Python is this machine's, for x86-64"
        )
    setup_sectors, (paragraphs,) = head[0x1F1] or 4, struct.unpack_from("<I", head, 0x1F4)
    wanted = (setup_sectors + 1) * 512 + paragraphs * 16
    if len(data) < wanted:
        raise NotAKernelError(
            f"cut short: {len(data)} bytes of the {wanted} that its header names",
            "copy the image again, whole",
        )
    (at,) = struct.unpack_from("<H", head, 0x20E)
    return printable_line(data[at + 0x200 :].split(b"\0", 1)[0][:200]) if at else ""


def _something_else(head: bytes) -> NotAKernelError:
    other = "the guest's Python is this machine's, for x86-64: give an x86-64 kernel"
    if not head:
        return NotAKernelError("an empty file")
    if head.startswith(b"\x7fELF"):
        (machine,) = struct.unpack_from(
            "<H" if head[5:6] != b"\x02" else ">H", head.ljust(64, b"\0"), 18
        )
        name = _ELF_MACHINES.get(machine, f"machine {machine}")
        if name != "x86-64":
            return NotAKernelError(f"an ELF program for {name}; {other}")
        return NotAKernelError(
            "an ELF program (a vmlinux, perhaps), which is not what a boot loader loads",
            "give the bzImage: the vmlinuz in /boot, or arch/x86/boot/bzImage of the tree that"
            " vmlinux is from",
        )
    if head[0x38:0x3C] == b"ARMd":
        return NotAKernelError(f"an arm64 Image; {other}")
    if head[0x30:0x35] == b"RISCV" or head[0x38:0x3C] == b"RSC\x05":
        return NotAKernelError(f"a RISC-V Image; {other}")
    if head[0x24:0x28] in (b"\x18\x28\x6f\x01", b"\x01\x6f\x28\x18"):
        return NotAKernelError(f"a 32-bit ARM zImage; {other}")
    if head.startswith(b"\x27\x05\x19\x56"):
        return NotAKernelError(f"a U-Boot image; {other}")
    if head.startswith(b"MZ"):
        at = struct.unpack_from("<I", head.ljust(64, b"\0"), 0x3C)[0]
        whole = head[at : at + 4] == b"PE\0\0" and at + 6 <= len(head)
        machine = struct.unpack_from("<H", head, at + 4)[0] if whole else 0
        name = _PE_MACHINES.get(machine, "an unknown machine")
        packed = " (a compressed EFI kernel)" if head[4:8] == b"zimg" else ""
        return NotAKernelError(
            f"an EFI program for {name}{packed} without the x86 boot header",
            (
                ""
                if name != "x86-64"
                else "of a unified kernel image take the kernel: objcopy -O binary -j .linux"
            ),
        )
    for magic, (kind, command) in _PACKED.items():
        if head.startswith(magic):
            return NotAKernelError(
                f"{kind}-compressed data", f"unpack it first ({command}), then see: file IMAGE"
            )
    return NotAKernelError("no kernel image: it has no x86 boot header")
