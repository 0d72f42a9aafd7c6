"""What -o FILE does with a name that is no file."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetaudit.app.output_file import write_file
from fleetaudit.errors import OutputError


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        write_file(pipe, [b"te", b"xt"])
        assert read.result(10) == b"text"
    assert [*tmp_path.iterdir()] == [pipe]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to make a device")
@pytest.mark.parametrize(("minor", "fails"), [(3, False), (7, True)], ids=["null", "full"])
def test_a_device_is_written_to_and_stays(tmp_path: Path, minor: int, *, fails: bool) -> None:
    device = tmp_path / "device"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
    if fails:
        with pytest.raises(OutputError, match="device: cannot be written: No space left"):
            write_file(device, [b"te", b"xt"])
    else:
        write_file(device, [b"te", b"xt"])
    assert [*tmp_path.iterdir()] == [device]
    assert stat.S_ISCHR(device.stat().st_mode)


def test_an_open_pipe_is_written_to_by_its_name() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader, os.fdopen(write, "wb") as writer:
        write_file(Path(f"/proc/self/fd/{writer.fileno()}"), [b"te", b"xt"])
        assert reader.read1() == b"text"


def test_a_link_to_a_file_is_followed_and_the_mode_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "other").chmod(0o640)
    (tmp_path / "link").symlink_to("other")
    write_file(tmp_path / "link", [b"te", b"xt"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "other").read_bytes() == b"text"
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o640


def test_a_new_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_file(tmp_path / "new", [b"text"])
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
