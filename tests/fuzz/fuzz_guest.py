"""A kernel image, and what a guest sends: `transport.kernel.image` and `console`.

The first byte says which.
"""

from __future__ import annotations

import base64
import gzip
import struct
import zlib
from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from fleetaudit.transport import Limits
    from fleetaudit.transport.kernel.console import GuestOutput, explain, last_lines
    from fleetaudit.transport.kernel.image import parse_image
    from fleetaudit.transport.kernel.image_error import Image, NotAKernelError

LIMITS = Limits(stdout=20_000, stderr=2000)
WORDS = (
    "HdrS", "MZ", "PE\0\0", "\x1f\x8b", "zimg", "RISCV", "Kernel panic - not syncing: ", "b ", "o ",
    "e ", "s ", "x ", "\r\n", "Out of memory: ", "IO-APIC + timer doesn't work", "/init",
    "ARM\x64", "RSC\x05", b"\x18\x28\x6f\x01", "S390EP", b"\x7fELF\x02\x01", "Linux version ",
    b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"MZ\0\0zimg",
    "[    1.0]", b"\x55\xaa",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Parses an image, or reads what a guest sends in two pieces."""
    kind, body = data[:1], data[1:]
    if kind == b"i":
        _parse_image(body)
        return
    output = GuestOutput(limits=LIMITS)
    half = len(body) // 2
    output.feed(body[:half])
    output.feed(body[half:])
    result = output.output()
    assert len(result.stdout) <= LIMITS.stdout
    assert len(result.stderr) <= LIMITS.stderr
    assert last_lines(body).isprintable()
    found = explain(body, 256, "qemu")
    assert found is None or all(map(str.isprintable, found))


def _parse_image(body: bytes) -> None:
    try:
        assert isinstance(parse_image(body), Image)
    except NotAKernelError as e:
        assert e.found.isprintable(), ascii(e.found)


def _foreign_images() -> Iterable[bytes]:
    """Yields images of other machines: plain, compressed, and an ELF file."""
    arm64 = bytearray(0x200)
    arm64[0x38:0x3C] = b"ARM\x64"
    arm64[0x100:0x10E] = b"Linux version "
    packed = gzip.compress(bytes(arm64), mtime=0)
    yield bytes(arm64)
    yield packed
    yield (
        b"MZ\0\0zimg" + struct.pack("<II", 64, len(packed)) + b"gzip".rjust(12) + bytes(36) + packed
    )
    yield bytes(0x10008) + b"S390EP" + bytes(0x420) + b"\0\0\1\0"
    yield bytes(0x24) + struct.pack("<III", 0x016F2818, 0, 0x30)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 2, 0x15, 1, 0, 64, 0)
    table = struct.pack("<IIQQQQQQ", 1, 5, 0, 0xC << 60, 0, 120, 120, 0)
    yield head + struct.pack("<IHHH", 0, 64, 56, 1) + bytes(6) + table


def seeds() -> Iterable[bytes]:
    """Yields an image's header, and a guest from its start to its end."""
    header = bytearray(0x600)
    header[0x1F1] = 1
    header[0x1FE:0x200] = b"\x55\xaa"
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", header, 0x206, 0x20F)
    header[0x211] = 1
    struct.pack_into("<H", header, 0x236, 3)
    yield b"i" + bytes(header)
    for image in _foreign_images():
        yield b"i" + image
    packed = base64.b64encode(zlib.compress(b"hello"))
    lines = [b"b ", b"o " + packed, b"e " + packed, b"s " + base64.b64encode(b"net.x"), b"x MA=="]
    yield b"g" + b"\r\n".join(lines) + b"\r\n"
    yield b"g[    1.234567] Run /init\n[    2.0] Kernel panic - not syncing: kill init\n"
    yield b"gOut of memory: Killed process 1 (python3) total-vm:1kB\n"


if __name__ == "__main__":
    fuzz(TestOneInput)
