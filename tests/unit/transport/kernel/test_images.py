"""Holds which kernel images are recognized, of every architecture, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import struct
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.probe.native_program import ARCHITECTURES
from fleetaudit.transport.kernel import unpack_image
from fleetaudit.transport.kernel.image import parse_image
from fleetaudit.transport.kernel.image_error import Image, NotAKernelError
from fleetaudit.transport.kernel.machines import MACHINES
from fleetaudit.transport.kernel.payload import vmlinux_in
from fleetaudit.transport.kernel.zstd import load_zstd

BANNER = b"Linux version %s\0Linux version 6.1.0-9-test (x@y) #1 SMP\n\0"
BANNER_VERSION = "6.1.0-9-test (x@y) #1 SMP"


def patched(size: int, *patches: tuple[int, bytes]) -> bytes:
    """Returns zeros with these bytes at these offsets."""
    data = bytearray(size)
    for at, patch in patches:
        data[at : at + len(patch)] = patch
    return bytes(data)


def pe(machine: int, size: int) -> tuple[tuple[int, bytes], ...]:
    """Returns the patches of a PE header with one section that ends at `size`."""
    section = bytes(16) + struct.pack("<II", size - 512, 512)
    head = b"PE\0\0" + struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, 0, 0)
    return (0, b"MZ"), (0x3C, struct.pack("<I", 0x80)), (0x80, head + section)


def arm64(size: int = 4096, flags: int = 0) -> bytes:
    return patched(
        size,
        *pe(0xAA64, 4096),
        (0x18, struct.pack("<Q", flags)),
        (0x38, b"ARM\x64"),
        (0x400, BANNER),
    )


def riscv(size: int = 4096, machine: int = 0x5064) -> bytes:
    return patched(size, *pe(machine, 4096), (0x30, b"RISCV\0\0\0RSC\x05"), (0x400, BANNER))


def zimage(size: int = 4096) -> bytes:
    return patched(size, (0x24, struct.pack("<III", 0x016F2818, 0, 4096)))


def s390(size: int = 0x10600) -> bytes:
    version = (0x10500, b"6.1.0-9-s390x (x@y) #1\0")
    return patched(size, (0x10008, b"S390EP"), (0x10428, struct.pack(">Q", 0x10500)), version)


def vmlinux(machine: int, address: int, note: bytes = b"", size: int = 4096) -> bytes:
    """Returns an ELF file with one segment to load, of 4096 bytes, and one of notes."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 2, machine, 1, 0, 64, 0)
    head += struct.pack("<IHHH", 0, 64, 56, 2)
    loaded = struct.pack("<IIQQQQQQ", 1, 5, 0, address, 0, 4096, 4096, 0)
    notes = struct.pack("<IIQQQQQQ", 4, 4, 0x800, 0, 0, len(note), 0, 0)
    return patched(size, (0, head), (64, loaded + notes), (0x400, BANNER), (0x800, note))


POWER = 0xC000000000000000
PVH = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", 0x1000000)


def zboot(payload: bytes, compression: bytes = b"gzip", size: int | None = None) -> bytes:
    length = len(payload) if size is None else size
    head = b"MZ\0\0zimg" + struct.pack("<II", 0x100, length) + bytes(8) + compression
    return head.ljust(0x100, b"\0") + payload


@pytest.mark.parametrize(
    ("data", "architecture", "version"),
    [
        (arm64(), "aarch64", BANNER_VERSION),
        (riscv(), "riscv64", BANNER_VERSION),
        (patched(4096, (0x30, b"RISCV")), "riscv64", ""),
        (zimage(), "armv7", ""),
        (s390(), "s390x", "6.1.0-9-s390x (x@y) #1"),
        (vmlinux(0x15, POWER), "ppc64le", BANNER_VERSION),
        (vmlinux(0x3E, 0xFFFFFFFF81000000, PVH), "x86_64", BANNER_VERSION),
        (gzip.compress(arm64()), "aarch64", BANNER_VERSION),
        (lzma.compress(riscv()), "riscv64", BANNER_VERSION),
        (load_zstd().compress(riscv()), "riscv64", BANNER_VERSION),
        (zboot(gzip.compress(arm64())), "aarch64", BANNER_VERSION),
        (zboot(lzma.compress(riscv()), b"xzkern"), "riscv64", BANNER_VERSION),
        (zboot(load_zstd().compress(arm64()), b"zstd22"), "aarch64", BANNER_VERSION),
    ],
)
def test_a_kernel_of_every_architecture_is_recognized_by_its_header(
    data: bytes, architecture: str, version: str
) -> None:
    image = parse_image(data)
    assert (image.architecture, image.version) == (architecture, version)


def test_what_is_compressed_as_a_whole_is_unpacked_for_qemu() -> None:
    assert parse_image(gzip.compress(arm64())).data == arm64()
    assert parse_image(zboot(gzip.compress(arm64()) + b"size")).data == arm64()


def test_every_architecture_of_the_native_probe_has_a_machine() -> None:
    assert set(MACHINES) == set(ARCHITECTURES)
    for machine in MACHINES.values():
        assert machine.program.startswith("qemu-system-")
        assert machine.install.startswith("apt install qemu-system-")
        assert f"console={machine.console}" in machine.command_line


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (arm64(flags=1), "a big-endian arm64 Image"),
        (arm64()[:3000], "cut short: 3000 bytes of the 4096"),
        (riscv()[:3000], "cut short: 3000 bytes of the 4096"),
        (riscv(machine=0x5032), "32-bit RISC-V"),
        (zimage()[:3000], "cut short: 3000 bytes of the 4096"),
        (vmlinux(0x15, POWER)[:3000], "cut short: 3000 bytes of the 4096"),
        (vmlinux(0x15, 0x10000000), "that is not a kernel"),
        (vmlinux(0xF3, POWER), "an ELF program for RISC-V"),
        (vmlinux(0x3E, 0, b"Xen\0"), "without a PVH entry"),
        (zboot(gzip.compress(arm64()))[:-40], "cut short"),
        (zboot(gzip.compress(arm64())[:-40]), "cut short: the compressed data has no end"),
        (zboot(b"nonsense", b"none\x1b"), "compressed as none\\x1b"),
        (zboot(gzip.compress(b"x" * 5000)), "not a kernel image"),
        (gzip.compress(gzip.compress(arm64())), "compressed twice"),
        (gzip.compress(zboot(gzip.compress(arm64()))), "compressed twice"),
        (lzma.compress(arm64())[:-9], "no end"),
        (load_zstd().compress(arm64())[:-9], "no end"),
        (b"\x28\xb5\x2f\xfd" + b"nonsense" * 40, "zstd-compressed data that cannot be unpacked"),
        (b"\xfd7zXZ\x00" + b"nonsense" * 40, "xz-compressed data that cannot be unpacked"),
        (b"BZh91AY" + bytes(40), "bzip2-compressed data"),
        (b"\x27\x05\x19\x56" + bytes(4000), "a U-Boot image"),
    ],
)
def test_a_kernel_that_cannot_be_booted_is_refused_with_what_it_is(data: bytes, found: str) -> None:
    with pytest.raises(NotAKernelError) as e:
        parse_image(data)
    assert found in e.value.found
    assert e.value.found.isprintable()
    assert e.value.hint.isprintable()


def test_a_python_without_zstd_names_the_command_that_unpacks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, load_zstd().__name__, None)
    with pytest.raises(NotAKernelError, match="zstd") as e:
        parse_image(b"\x28\xb5\x2f\xfd" + bytes(100))
    assert "zstd -dc IMAGE > UNPACKED" in e.value.hint
    with pytest.raises(NotAKernelError, match="zstd") as e:
        parse_image(zboot(b"\x28\xb5\x2f\xfd" + bytes(100), b"zstd"))
    assert "tail -c +257 IMAGE | head -c 104 | zstd -dc > UNPACKED" in e.value.hint


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, load_zstd().compress])
def test_what_would_unpack_to_more_than_any_kernel_is_not_unpacked(
    pack: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_image, "MAX_BYTES", 1 << 20)
    with pytest.raises(NotAKernelError, match="which no kernel image is"):
        parse_image(pack(bytes(2 << 20)))  # type: ignore[operator]


KERNEL = vmlinux(0x3E, 0xFFFFFFFF81000000, PVH)


def bzimage(payload: bytes, protocol: int = 0x20F, size: int | None = None) -> bytes:
    """Returns a bzImage with a payload of compressed bytes, which their unpacked size ends."""
    length = len(payload) + 4 if size is None else size
    head = patched(
        5 * 512,
        (0x1F1, b"\4"),
        (0x1F4, struct.pack("<I", 0)),
        (0x1FE, b"\x55\xaa\0\0HdrS" + struct.pack("<H", protocol)),
        (0x211, b"\1"),
        (0x236, b"\1"),
        (0x248, struct.pack("<II", 64, length)),
    )
    return head + bytes(64) + payload + struct.pack("<I", len(KERNEL)) + bytes(100)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, load_zstd().compress])
def test_the_kernel_in_a_bzimage_is_taken_out(pack: Callable[[bytes], bytes]) -> None:
    image = bzimage(pack(KERNEL))
    assert parse_image(image).data == image
    assert vmlinux_in(image) == KERNEL


@pytest.mark.parametrize(
    "image",
    [
        KERNEL,
        bzimage(b"\x02\x21\x4c\x18" + bytes(100)),  # lz4
        bzimage(b"nonsense"),
        bzimage(b""),
        bzimage(gzip.compress(KERNEL), protocol=0x207),
        bzimage(gzip.compress(KERNEL), size=60),
        bzimage(gzip.compress(KERNEL)[:-20]),
        bzimage(gzip.compress(KERNEL[:3000])),
        bzimage(gzip.compress(vmlinux(0x3E, 0, b"Xen\0"))),
        bzimage(gzip.compress(vmlinux(0x15, POWER))),
        bzimage(gzip.compress(b"no kernel")),
    ],
)
def test_an_image_whose_kernel_cannot_be_taken_out_stays_as_it_is(image: bytes) -> None:
    assert vmlinux_in(image) is None


@given(st.integers(0, 0x260), st.binary(max_size=8))
def test_no_bzimage_that_lies_raises(at: int, patch: bytes) -> None:
    good = bzimage(gzip.compress(KERNEL))
    assert vmlinux_in(good[:at] + patch + good[at + len(patch) :]) in (None, KERNEL)
    assert vmlinux_in(good[:at]) is None


HEADS = (arm64(), riscv(), zimage(), s390(), vmlinux(0x15, POWER), vmlinux(0x3E, 0, PVH))


@given(
    st.sampled_from([*HEADS, zboot(gzip.compress(arm64()))]),
    st.integers(0, 0x10600),
    st.binary(max_size=8),
    st.booleans(),
)
def test_no_header_that_lies_raises_another_error(
    good: bytes, at: int, patch: bytes, ends: bool
) -> None:
    at %= len(good)
    hostile = good[:at] + patch
    if not ends:
        hostile += good[at + len(patch) :]
    with contextlib.suppress(NotAKernelError):
        assert isinstance(parse_image(hostile), Image)
