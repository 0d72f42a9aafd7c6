"""Makes Debian packages and kernel images for tests, of a few kilobytes each."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable, Mapping

from fleetaudit.transport.kernel.zstd import load_zstd

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    ".zst": load_zstd().compress,
}
CONTROL = b"Package: %s\nVersion: %s\nArchitecture: amd64\nDescription: Linux\n Version: no\n"


def bzimage(version: str, filling: bytes = b"") -> bytes:
    """Returns the bytes of a bzImage with a version string; it would boot nothing."""
    head = bytearray(8192)
    head[0x1F1] = 4
    struct.pack_into("<I", head, 0x1F4, (len(head) - 5 * 512) // 16)
    head[0x1FE:0x206] = b"\x55\xaa\xeb\x6aHdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<H", head, 0x20E, 0x100)
    head[0x211] = 1
    struct.pack_into("<H", head, 0x236, 1)
    text = version.encode() + b"\0" + filling
    head[0x300 : 0x300 + len(text)] = text
    return bytes(head)


def tar(files: Mapping[str, bytes]) -> bytes:
    """Returns a tar archive as dpkg-deb makes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def ar(members: Mapping[str, bytes]) -> bytes:
    """Returns an ar archive."""
    parts = [b"!<arch>\n"]
    for name, data in members.items():
        parts.append(
            b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 0, 0, 0, b"100644", len(data))
        )
        parts.append(data + b"\n" * (len(data) % 2))
    return b"".join(parts)


def package(
    files: Mapping[str, bytes],
    *,
    name: str = "linux-image-6.1.0-9-amd64",
    version: str = "6.1.27-1",
    compression: str = ".xz",
) -> bytes:
    """Returns a Debian package with these files."""
    compress = COMPRESSORS[compression]
    control = tar({"./control": CONTROL % (name.encode(), version.encode())})
    return ar(
        {
            "debian-binary": b"2.0\n",
            f"control.tar{compression}": compress(control),
            f"data.tar{compression}": compress(tar(files)),
        }
    )
