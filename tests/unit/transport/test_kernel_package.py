"""A Debian package is read in this process, bounded, and refused in words."""

from __future__ import annotations

import lzma
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.errors import TransportError
from fleetaudit.transport.kernel import package as package_module
from fleetaudit.transport.kernel.image import load_image
from fleetaudit.transport.kernel.package import PackageError, is_package, read_package
from fleetaudit.transport.kernel.zstd import load_zstd
from tests.support.debian_packages import COMPRESSORS, ar, bzimage, package, tar

IMAGE = bzimage("6.1.0-9-amd64 (x) #1 SMP Debian 6.1.27-1 (2023-05-08)")
FILES = {"./usr/share/doc/x": b"x" * 700, "./boot/vmlinuz-6.1.0-9-amd64": IMAGE}
WHOLE = package(FILES)
DATA = tar(FILES)


@pytest.mark.parametrize("compression", [*COMPRESSORS])
def test_the_image_comes_out_of_every_compression(compression: str) -> None:
    read = read_package(package(FILES, compression=compression))
    assert read.image == IMAGE
    assert (read.name, read.version) == ("linux-image-6.1.0-9-amd64", "6.1.27-1")
    assert read.architecture == "amd64"


@pytest.mark.parametrize(
    "path",
    [
        "boot/vmlinux-6.1.0-9-powerpc64le",
        "./lib/modules/6.19.6+deb13-amd64/vmlinuz",
        "./usr/lib/modules/6.19.6/vmlinuz",
        "./boot/vmlinuz-" + "9" * 120,  # a path that needs an entry of its own
    ],
)
def test_the_image_has_one_of_the_usual_paths(path: str) -> None:
    assert read_package(package({"./boot/config-6.1": b"y", path: IMAGE})).image == IMAGE


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (package({"./etc/vmlinuz-6.1": IMAGE}), "has no kernel image"),
        (ar({"x.o": b"x"}), "an ar archive, but not a Debian package"),
        (ar({"debian-binary": b"2.0\n"}), "without control.tar"),
        (ar({"debian-binary": b""}) * 2, "damaged"),
        (ar({"debian-binary": b""}) + ar({"debian-binary": b""})[8:], "has debian-binary twice"),
        (ar({str(n): b"" for n in range(40)} | {"debian-binary": b""}), "not a Debian package"),
        (WHOLE[:-50], "cut short"),
        (WHOLE[:100] + b"?" * 60 + WHOLE[160:], "damaged"),
        (b"!<arch>\n" + b"debian-binary   0           0     0     100644  many      `\n", "number"),
        (WHOLE.replace(b"data.tar.xz  ", b"data.tar.exe "), "an unknown member, data.tar.exe"),
        (WHOLE.replace(lzma.compress(DATA), lzma.compress(DATA)[::-1]), "damaged: data.tar.xz"),
        (package({}, name="linux-image-amd64"), "linux-image-amd64, which has no kernel image"),
    ],
)
def test_what_is_no_package_with_a_kernel_is_refused_in_words(data: bytes, found: str) -> None:
    with pytest.raises(PackageError, match=found):
        read_package(data)


def test_a_python_without_zstd_names_the_command_that_unpacks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, load_zstd().__name__, None)
    data = ar(
        {"debian-binary": b"2.0\n", "control.tar.zst": b"\x28\xb5\x2f\xfd", "data.tar.zst": b""}
    )
    with pytest.raises(PackageError, match="zstd") as e:
        read_package(data)
    assert "dpkg-deb -x PACKAGE.deb FOLDER" in e.value.hint


def test_a_package_that_unpacks_to_far_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "MAX_UNPACKED", 8 << 20)
    bomb = package({"./boot/config-1": bytes(64 << 20), "./boot/vmlinuz-1": IMAGE})
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(PackageError, match="without a kernel image in its first"):
            read_package(bomb)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_claims_to_be_huge_takes_no_memory() -> None:
    claim = bytearray(tar({"./boot/vmlinuz-1": IMAGE}))
    claim[124:136] = b"77777777777\0"
    data = ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar": tar({"./control": b""}),
            "data.tar": bytes(claim),
        }
    )
    with pytest.raises(PackageError, match="a file of 8589934591 bytes"):
        read_package(data)


@given(at=st.integers(0, len(WHOLE)), patch=st.binary(min_size=1, max_size=40))
def test_no_damage_raises_another_error(at: int, patch: bytes) -> None:
    damaged = WHOLE[:at] + patch + WHOLE[at + len(patch) :]
    if not is_package(damaged):
        return
    assert _found(damaged).isprintable()


def _found(data: bytes) -> str:
    """Returns what is wrong with a package, "" if nothing is."""
    try:
        read_package(data)
    except PackageError as e:
        return e.found
    return ""


def test_a_package_is_a_kernel_image_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "kernel.deb"
    file.write_bytes(WHOLE)
    image = load_image(str(file))
    assert (image.data, image.package_version) == (IMAGE, "6.1.27-1")
    assert image.version.startswith("6.1.0-9-amd64 ")
    file.write_bytes(package({"./boot/vmlinuz-6.1": b"MZ" + bytes(9000)}))
    with pytest.raises(TransportError, match="EFI program") as e:
        load_image(str(file))
    assert str(file) in e.value.reason
