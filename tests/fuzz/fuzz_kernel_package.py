"""A Debian package of a kernel: `transport.kernel.package`."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.harness import fuzz, instrumented
from tests.support.debian_packages import ar, bzimage, package, tar

with instrumented():
    from fleetaudit.transport.kernel.package import PackageError, is_package, read_package

WORDS = (
    "!<arch>\n", "debian-binary", "control.tar", "data.tar", ".gz", ".xz", ".zst", "`\n",
    "./boot/vmlinuz-1", "ustar\0", "././@LongLink", "Package: ", "Version: ", "\x1f\x8b\x08",
    "\xfd7zXZ\0",
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    """Reads a package; what is refused is refused in printable words."""
    if not is_package(data):
        return
    try:
        found = read_package(data)
        text = found.name + found.version + found.architecture
    except PackageError as e:
        text = e.found + e.hint
    assert text.isprintable(), ascii(text)


def seeds() -> Iterable[bytes]:
    """Yields a package of each compression, and damaged ones."""
    files = {"./boot/vmlinuz-6.1": bzimage("6.1.0 #1")[:1024], "./boot/" + "x" * 120: b"x"}
    for compression in ("", ".gz", ".xz"):
        yield package(files, compression=compression)
    yield ar({"debian-binary": b"2.0\n", "control.tar": tar({"control": b"Package: x\n"})})
    yield ar({"debian-binary": b"2.0\n", "control.tar.zst": b"\x28\xb5\x2f\xfd"})


if __name__ == "__main__":
    fuzz(TestOneInput)
