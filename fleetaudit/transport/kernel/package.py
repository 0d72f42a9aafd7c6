"""Reads the kernel image out of a Debian package of a kernel, in this process.

Rules: nothing is executed and nothing is written. Sizes that a file claims are bounded before
memory is used for them, and unpacking ends at the image. Formats: deb(5), deb-control(5), and the
tar of GNU and POSIX (tar(5)).
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from fleetaudit.text.sanitize import printable_line

from .zstd import load_zstd

MAX_IMAGE = 256 * 1024 * 1024
"""Maximum size of the image in a package, in bytes."""
MAX_UNPACKED = 1024 * 1024 * 1024
"""How much of the files in a package is unpacked to find the image; Debian's have it first."""
_MAGIC = b"!<arch>\n"
_MAX_CONTROL = 1024 * 1024
_MAX_NAME = 64 * 1024
_CHUNK = 1024 * 1024
_BLOCK = 512
_MEMBER = 60
_MAX_MEMBERS = 32
"""A package has three members, or a signature more; others are not looked for."""
_IMAGE = re.compile(r"(?:\./)?(?:boot/vmlinu[xz]-[^/]+|(?:usr/)?lib/modules/[^/]+/vmlinu[xz])")
_CONTROL = re.compile(r"(?:\./)?control")
_FIELD = re.compile(r"^(Package|Version|Architecture):[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_UNPACK = (
    "to unpack it yourself:  dpkg-deb -x PACKAGE.deb FOLDER  # then name FOLDER/boot/vmlinuz-*"
)


class PackageError(Exception):
    """A file is not a package with a kernel, or cannot be read.

    `found` is what is wrong, `hint` what to do, "" if there is nothing special to do.
    """

    def __init__(self, found: str, hint: str = "") -> None:
        self.found, self.hint = found, hint
        super().__init__(found)


class KernelPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A Debian package: the fields of its control file, each "" if missing, and its image."""

    name: str
    version: str
    architecture: str
    image: bytes


def is_package(data: bytes) -> bool:
    """Returns whether these are the first bytes of a Debian package, or of another ar archive."""
    return data.startswith(_MAGIC)


def read_package(data: bytes) -> KernelPackage:
    """Returns a package with its kernel image; `data` is the whole file.

    Raises `PackageError` for what is no Debian package, for one without a kernel image, and for one
    that cannot be unpacked here.
    """
    members = _read_members(data)
    control = _find_file(members, "control.tar", _CONTROL, _MAX_CONTROL)
    if control is None:
        raise PackageError("a Debian package without a control file")
    fields = dict(_FIELD.findall(control.decode("utf-8", "replace")))
    image = _find_file(members, "data.tar", _IMAGE, MAX_IMAGE)
    if image is None:
        raise PackageError(
            f"the Debian package {printable_line(fields.get('Package', ''))}, which has no kernel"
            " image",
            "fetch the package that has it, linux-image-RELEASE or linux-binary-RELEASE:"
            "  apt-cache depends PACKAGE",
        )
    shown = {key: printable_line(value) for key, value in fields.items()}
    return KernelPackage(
        name=shown.get("Package", ""),
        version=shown.get("Version", ""),
        architecture=shown.get("Architecture", ""),
        image=image,
    )


# ---- ar ------------------------------------------------------------------------------------------


def _read_members(data: bytes) -> dict[str, memoryview]:
    """Returns the members of an ar archive by name; raises `PackageError` for a damaged one."""
    members = dict[str, memoryview]()
    view, at = memoryview(data), len(_MAGIC)
    while at + _MEMBER <= len(data) and len(members) < _MAX_MEMBERS:
        header = data[at : at + _MEMBER]
        at += _MEMBER
        size = _parse_number(header[48:58], 10)
        if header[58:] != b"`\n" or at + size > len(data):
            raise PackageError("a Debian package that is damaged or cut short", "fetch it again")
        name = printable_line(header[:16].rstrip(b" /"))
        if name in members:
            raise PackageError(f"a Debian package that has {name} twice")
        members[name] = view[at : at + size]
        at += size + size % 2
    if "debian-binary" not in members:
        raise PackageError("an ar archive, but not a Debian package")
    return members


def _parse_number(digits: bytes, base: int) -> int:
    """Returns a number of a header; raises `PackageError` for anything else."""
    text = digits.strip(b" \0")
    if not text.isdigit() or (base == 8 and text.strip(b"01234567")):
        raise PackageError("a Debian package that is damaged: a size in it is not a number")
    return int(text, base)


# ---- compression ---------------------------------------------------------------------------------


class _Stored:
    """Passes on data that is not compressed, with the interface of the decompressors."""

    eof = False
    needs_input = True

    def decompress(self, data: bytes, _most: int) -> bytes:
        """Returns the data."""
        return data


class _Gzip:
    """Unpacks gzip, with the interface of the decompressors of Python's other libraries."""

    def __init__(self) -> None:
        self._unpacker = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed data was reached."""
        return self._unpacker.eof

    @property
    def needs_input(self) -> bool:
        """Whether everything that was put in has come out."""
        return not self._unpacker.unconsumed_tail

    def decompress(self, data: bytes, most: int) -> bytes:
        """Returns at most `most` bytes; what is left is unpacked by the next call."""
        return self._unpacker.decompress(self._unpacker.unconsumed_tail + data, most)


class _Zstd:
    """Unpacks zstd, whose own error becomes a ValueError."""

    def __init__(self) -> None:
        """Raises `ImportError`, see `load_zstd`."""
        zstd = load_zstd()
        self._unpacker, self._error = zstd.ZstdDecompressor(), zstd.ZstdError

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed data was reached."""
        return bool(self._unpacker.eof)

    @property
    def needs_input(self) -> bool:
        """Whether everything that was put in has come out."""
        return bool(self._unpacker.needs_input)

    def decompress(self, data: bytes, most: int) -> bytes:
        """Returns at most `most` bytes; what is left is unpacked by the next call."""
        try:
            return bytes(self._unpacker.decompress(data, most))
        except self._error as e:
            raise ValueError(str(e)) from e


def _open_zstd(member: str) -> _Zstd:
    """Returns a decompressor for zstd; raises `PackageError` if this Python has none."""
    try:
        return _Zstd()
    except ImportError:
        raise PackageError(
            f"a Debian package whose {member} is compressed with zstd, which this Python cannot"
            " read",
            _UNPACK,
        ) from None


def _open_xz(_member: str) -> Any:
    """Returns a decompressor for xz whose memory is bounded: xz -9 takes 65 MiB."""
    return lzma.LZMADecompressor(memlimit=128 * 1024 * 1024)


_DECOMPRESSORS: dict[str, Callable[[str], Any]] = {
    "": lambda _: _Stored(),
    ".gz": lambda _: _Gzip(),
    ".xz": _open_xz,
    ".bz2": lambda _: bz2.BZ2Decompressor(),
    ".lzma": _open_xz,
    ".zst": _open_zstd,
}


def _unpack(name: str, packed: memoryview) -> Iterator[bytes]:
    """Yields the unpacked bytes of a member in chunks; raises `PackageError`."""
    open_decompressor = _DECOMPRESSORS.get(name[name.index(".tar") + len(".tar") :])
    if open_decompressor is None:
        raise PackageError(f"a Debian package with an unknown member, {name}", _UNPACK)
    decompressor, at = open_decompressor(name), 0
    try:
        while not decompressor.eof and (at < len(packed) or not decompressor.needs_input):
            data = b""
            if decompressor.needs_input:
                data = bytes(packed[at : at + _CHUNK])
                at += len(data)
            yield decompressor.decompress(data, _CHUNK)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as e:
        raise PackageError(
            f"a Debian package that is damaged: {name}: {e}", "fetch it again"
        ) from e


# ---- tar -----------------------------------------------------------------------------------------


class _Reader:
    """Reads a stream of chunks by numbers of bytes, `most` bytes in all."""

    def __init__(self, chunks: Iterator[bytes], most: int) -> None:
        self._chunks, self._left = chunks, most
        self._buffer = bytearray()

    def read(self, size: int) -> bytes:
        """Returns `size` bytes, fewer at the end."""
        while len(self._buffer) < size and self._fill():
            pass
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def skip(self, size: int) -> None:
        """Passes over bytes."""
        while size > 0 and (data := self.read(min(size, _CHUNK))):
            size -= len(data)

    def _fill(self) -> bool:
        """Adds a chunk to the buffer; returns False at the end; raises `PackageError`."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._left -= len(chunk)
        if self._left < 0:
            raise PackageError(
                f"a Debian package without a kernel image in its first {MAX_UNPACKED >> 30} GiB"
            )
        self._buffer += chunk
        return True


def _find_file(
    members: dict[str, memoryview], stem: str, name: re.Pattern[str], most: int
) -> bytes | None:
    """Returns the first file of a tar archive whose path matches `name`, None if there is none.

    The archive is the member that begins with `stem`; the file has at most `most` bytes.
    """
    named = next((member for member in members if member.startswith(stem)), None)
    if named is None:
        raise PackageError(f"a Debian package without {stem}")
    reader = _Reader(_unpack(named, members[named]), MAX_UNPACKED)
    for path, kind, size in _read_headers(reader):
        if kind in "0\0" and name.fullmatch(path):
            return _read_file(reader, size, most)
        reader.skip(_round_up(size))
    return None


def _read_headers(reader: _Reader) -> Iterator[tuple[str, str, int]]:
    """Yields path, type and size of each entry; the caller passes over its bytes."""
    long_path = ""
    while True:
        header = reader.read(_BLOCK)
        if len(header) < _BLOCK or not header.strip(b"\0"):
            return
        kind, size = chr(header[156]), _parse_number(header[124:136], 8)
        if kind == "L":  # GNU: the path of the next entry
            data = _read_file(reader, size, _MAX_NAME)
            reader.skip(_round_up(size) - size)
            long_path = _path_text(data)
            continue
        yield long_path or _header_path(header), kind, size
        long_path = ""


def _header_path(header: bytes) -> str:
    """Returns the path in a header: prefix and name of POSIX, or the name alone."""
    name, prefix = _path_text(header[:100]), ""
    if header[257:263] == b"ustar\0":
        prefix = _path_text(header[345:500])
    return "/".join(filter(None, (prefix, name)))


def _path_text(field: bytes) -> str:
    """Returns a path that ends at a zero byte."""
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _read_file(reader: _Reader, size: int, most: int) -> bytes:
    """Returns the bytes of an entry; raises `PackageError` if it is too large or cut short."""
    if size > most:
        raise PackageError(f"a Debian package with a file of {size} bytes; the limit is {most}")
    data = reader.read(size)
    if len(data) < size:
        raise PackageError("a Debian package that is cut short", "fetch it again")
    return data


def _round_up(size: int) -> int:
    """Returns the bytes that an entry of this size takes: whole blocks."""
    return -(-size // _BLOCK) * _BLOCK
