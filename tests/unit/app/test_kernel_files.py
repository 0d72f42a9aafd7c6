"""Which files of a command line are kernels of one series, and how the others are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetaudit.app.kernel_files import list_kernels
from fleetaudit.errors import InputError, NothingToDoError, UsageError
from tests.support.debian_packages import bzimage, package

HEADER = "{0}-amd64 (x) #1 SMP Debian {1} (2026-01-02)"


def image(number: int, series: str = "6.1") -> bytes:
    """Returns the bytes of a kernel as Debian builds them."""
    return bzimage(HEADER.format(f"{series}.{number}", f"{series}.{number}-1"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder with an image, a package, and files that are neither."""
    (tmp_path / "vmlinuz-new").write_bytes(image(10))
    (tmp_path / "old.deb").write_bytes(
        package({"./boot/vmlinuz-6.1.9-amd64": image(9)}, version="6.1.9-1")
    )
    (tmp_path / "config-6.1.9").write_text("CONFIG_X=y\n")
    (tmp_path / "empty").touch()
    (tmp_path / "folder.deb").mkdir()
    return tmp_path


def test_images_and_packages_of_a_folder_are_ordered(folder: Path) -> None:
    notes = list[str]()
    found = list_kernels([str(folder)], None, notes.append)
    assert [kernel.label for kernel in found.kernels] == [
        "6.1.9-amd64 (6.1.9-1)",
        "6.1.10-amd64 (6.1.10-1)",
    ]
    assert [Path(kernel.file).name for kernel in found.kernels] == ["old.deb", "vmlinuz-new"]
    (note,) = notes
    assert note.endswith("left out, because they are not kernel images: config-6.1.9, empty")


def test_an_image_and_the_package_that_it_is_from_are_one_kernel(folder: Path) -> None:
    (folder / "copy").write_bytes(image(9))
    notes = list[str]()
    found = list_kernels([str(folder)], "6.1", notes.append)
    assert len(found.kernels) == 2
    assert any("the same image as" in note for note in notes)


def test_several_series_are_listed_and_one_is_chosen(folder: Path) -> None:
    for number in (1, 2):
        (folder / f"next-{number}").write_bytes(image(number, "6.12"))
    (folder / "only").write_bytes(image(1, "6.6"))
    with pytest.raises(UsageError, match=r"6\.1 \(2\), 6\.6 \(1\), 6\.12 \(2\)") as e:
        list_kernels([str(folder)], None, print)
    assert "--series 6.1" in str(e.value)
    assert len(list_kernels([str(folder)], "6.12", print).kernels) == 2
    with pytest.raises(NothingToDoError, match="no kernel image of the series 5"):
        list_kernels([str(folder)], "5.10", print)
    with pytest.raises(NothingToDoError, match="1 kernel image; name at least two"):
        list_kernels([str(folder)], "6.6", print)


def test_a_named_file_has_to_be_a_kernel(folder: Path) -> None:
    with pytest.raises(InputError, match="not a kernel image") as e:
        list_kernels([str(folder / "config-6.1.9")], None, print)
    assert e.value.hint
    with pytest.raises(NothingToDoError, match="no such file"):
        list_kernels([str(folder / "missing")], None, print)
    with pytest.raises(NothingToDoError, match="0 kernel images; name at least two"):
        list_kernels([str(folder / "folder.deb")], None, print)


def test_a_kernel_without_a_version_has_no_place_in_the_order(tmp_path: Path) -> None:
    file = tmp_path / "vmlinuz"
    file.write_bytes(bzimage(""))
    with pytest.raises(InputError, match="names no version"):
        list_kernels([str(file)], None, print)


def test_kernels_of_several_architectures_are_not_compared(folder: Path) -> None:
    arm = bytearray(4096)
    arm[0x38:0x3C] = b"ARMd"
    arm[0x100:0x140] = b"Linux version 6.1.11-arm64 (x) #1 SMP Debian 6.1.11-1\n".ljust(64, b"\0")
    (folder / "arm64").write_bytes(arm)
    with pytest.raises(UsageError, match=r"architectures: aarch64 \(1\), x86_64 \(2\)"):
        list_kernels([str(folder)], None, print)
