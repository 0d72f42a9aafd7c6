"""Unpacks compressed kernels: whole files, and the payload of an EFI zboot image. Pure.

Rules: what comes out is bounded by `MAX_BYTES`, whatever the compressed data would become. gzip, xz
and zstd are unpacked; for others the error names the command that unpacks them. Format of zboot:
drivers/firmware/efi/libstub/zboot-header.S.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

import msgspec

from .image_error import NotAKernelError
from .image_headers import number
from .zstd import load_zstd

MAX_BYTES = 256 * 1024 * 1024
"""Maximum size of a kernel image in bytes; the largest that distributions ship have 50 MB."""
TOO_LARGE = f"larger than {MAX_BYTES >> 20} MiB, which no kernel image is"
_MEMORY_MAX = 256 * 1024 * 1024


class _Decompressor(Protocol):
    """What `lzma` and `compression.zstd` have in common."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Compression(msgspec.Struct, frozen=True):
    """One way to compress a file: its name, how it begins, and the command that unpacks it."""

    name: str
    magic: bytes
    command: str
    unpack: Callable[[bytes], bytes] | None = None


def _gzip(data: bytes) -> bytes:
    """Unpacks the first member of a gzip file."""
    decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    unpacked = decompressor.decompress(data, MAX_BYTES + 1)
    return _whole(unpacked, is_at_end=decompressor.eof)


def _xz(data: bytes) -> bytes:
    """Unpacks the first stream of an xz file."""
    return _stream(lzma.LZMADecompressor(memlimit=_MEMORY_MAX), data)


def _zstd(data: bytes) -> bytes:
    """Unpacks the first frame of a zstd file; raises `ImportError`, see `load_zstd`."""
    zstd = load_zstd()
    try:
        return _stream(zstd.ZstdDecompressor(), data)
    except zstd.ZstdError as e:
        raise ValueError(str(e)) from e


def _stream(decompressor: _Decompressor, data: bytes) -> bytes:
    """Unpacks by a decompressor."""
    unpacked = decompressor.decompress(data, MAX_BYTES + 1)
    return _whole(unpacked, is_at_end=decompressor.eof)


def _whole(unpacked: bytes, *, is_at_end: bool) -> bytes:
    """Returns what was unpacked; raises `NotAKernelError` if it is too much or not all."""
    if len(unpacked) > MAX_BYTES:
        raise NotAKernelError(f"compressed data: unpacked it is {TOO_LARGE}")
    if not is_at_end:
        raise NotAKernelError("cut short: the compressed data has no end")
    return unpacked


COMPRESSIONS = (
    Compression("gzip", b"\x1f\x8b", "gzip -dc", _gzip),
    Compression("xz", b"\xfd7zXZ\x00", "xz -dc", _xz),
    Compression("zstd", b"\x28\xb5\x2f\xfd", "zstd -dc", _zstd),
    Compression("bzip2", b"BZh", "bzip2 -dc"),
    Compression("lz4", b"\x02\x21\x4c\x18", "lz4 -dc"),
    Compression("lzma", b"\x5d\x00\x00", "xz --format=lzma -dc"),
)


def is_compressed(data: bytes) -> bool:
    """Returns whether these bytes are a compressed file or an EFI zboot image."""
    return _is_zboot(data) or _compression_of(data) is not None


def unpack(data: bytes) -> bytes:
    """Returns what a compressed kernel unpacks to; raises `NotAKernelError` if it does not."""
    if _is_zboot(data):
        return _zboot(data)
    compression = _compression_of(data)
    if not compression:
        raise NotAKernelError("not compressed")
    return _unpacked(compression, data, f"{compression.command} IMAGE > UNPACKED")


def _is_zboot(data: bytes) -> bool:
    """Returns whether these bytes are an EFI program that unpacks a kernel."""
    return data[:2] == b"MZ" and data[4:8] == b"zimg"


def _compression_of(data: bytes) -> Compression | None:
    """Returns how data is compressed, None for what is not."""
    return next((each for each in COMPRESSIONS if data.startswith(each.magic)), None)


def _zboot(data: bytes) -> bytes:
    """Unpacks the payload of an EFI zboot image."""
    offset, size = number("<I", data, 8), number("<I", data, 12)
    name = data[24:56].partition(b"\0")[0]
    payload = data[offset : offset + size]
    if len(payload) < size or not payload:
        raise NotAKernelError(
            f"cut short: {len(data)} bytes of an EFI zboot image whose payload ends at"
            f" {offset + size}",
            "copy the whole image again",
        )
    compression = _compression_of(payload)
    if not compression:
        raise NotAKernelError(f"an EFI zboot image, compressed as {ascii(name)[2:-1]}")
    command = f"tail -c +{offset + 1} IMAGE | head -c {size} | {compression.command} > UNPACKED"
    return _unpacked(compression, payload, command)


def _unpacked(compression: Compression, data: bytes, command: str) -> bytes:
    """Returns the data unpacked; `command` does the same."""
    found = f"{compression.name}-compressed data"
    hint = f"unpack it first: {command}  # then give UNPACKED"
    if not compression.unpack:
        raise NotAKernelError(f"{found}, which is not unpacked here", hint)
    try:
        return compression.unpack(data)
    except ImportError as e:
        raise NotAKernelError(f"{found}, which this Python was built without", hint) from e
    except (zlib.error, lzma.LZMAError, ValueError) as e:
        raise NotAKernelError(f"{found} that cannot be unpacked ({e})", "") from e
