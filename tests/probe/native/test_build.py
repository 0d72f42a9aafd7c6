"""The native probe is built for every architecture, the same bytes on every machine."""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
import struct
import threading
from pathlib import Path

import pytest

from fleetaudit.probe.native_program import ARCHITECTURES
from tests import ROOT
from tests.support.native import built
from tools import native

pytestmark = pytest.mark.slow

# e_machine of elf(5), the size of an address in bits, and the byte order.
HEADERS = {
    "x86_64": (62, 64, "little"),
    "aarch64": (183, 64, "little"),
    "armv7": (40, 32, "little"),
    "riscv64": (243, 64, "little"),
    "ppc64le": (21, 64, "little"),
    "s390x": (22, 64, "big"),
}
PT_INTERP, PT_DYNAMIC, PT_NOTE, PT_STACK = 3, 2, 4, 0x6474E551
PF_X, PF_W = 1, 2


def test_every_architecture_has_a_target() -> None:
    assert tuple(native.TARGETS) == ARCHITECTURES == tuple(HEADERS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_program_is_static_for_its_machine_and_says_nothing_of_where_it_was_built(
    architecture: str,
) -> None:
    program = built(architecture)
    machine, bits, order = HEADERS[architecture]
    assert program[:4] == b"\x7fELF"
    assert (program[4], program[5]) == (bits // 32, 1 if order == "little" else 2)
    assert int.from_bytes(program[18:20], order) == machine  # type: ignore[arg-type]
    kinds = segments(program)
    assert not kinds.keys() & {PT_INTERP, PT_DYNAMIC, PT_NOTE}  # no build id either
    assert not kinds[PT_STACK] & PF_X
    for place in (str(ROOT), str(Path.home()), "site-packages", ".cache", "main.c"):
        assert place.encode() not in program, place
    assert b".symtab" not in program
    assert b".debug_info" not in program


def segments(program: bytes) -> dict[int, int]:
    """Returns the flags of the segments of an ELF file, by their kinds."""
    order = "<" if program[5] == 1 else ">"
    if program[4] == 2:
        (table,) = struct.unpack_from(f"{order}Q", program, 32)
        size, count = struct.unpack_from(f"{order}HH", program, 54)
        form, flags = f"{order}II", 1
    else:
        (table,) = struct.unpack_from(f"{order}I", program, 28)
        size, count = struct.unpack_from(f"{order}HH", program, 42)
        form, flags = f"{order}I20xI", 1
    found = dict[int, int]()
    for number in range(count):
        fields = struct.unpack_from(form, program, table + number * size)
        assert fields[flags] & (PF_W | PF_X) != PF_W | PF_X  # nothing is writable and executed
        found[fields[0]] = fields[flags]
    return found


def test_another_folder_user_time_zone_and_compiler_cache_make_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "a folder of somebody else" / "deeper"
    shutil.copytree(native.SOURCES, other, ignore=shutil.ignore_patterns("built"))
    for file in other.iterdir():
        os.utime(file, (1, 1))
    for name, value in {
        "HOME": str(tmp_path),
        "USER": "u",
        "TZ": "Asia/Tokyo",
        "LANG": "C",
    }.items():
        monkeypatch.setenv(name, value)
    again = native.build("x86_64", other, tmp_path / "cache")  # the C library is compiled, too
    assert again == built("x86_64")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_built_is_of_the_present_sources(architecture: str) -> None:
    assert built(architecture) == native.build(architecture), "make native"


def test_the_hashes_in_the_repository_are_those_of_what_is_built() -> None:
    for architecture in ARCHITECTURES:
        built(architecture)
    assert native.HASHES.read_text("ascii") == native.built_hashes(), "make native-hashes"


def test_another_program_than_that_of_the_hashes_fails_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(native, "BUILT", tmp_path / "built")
    monkeypatch.setattr(native, "HASHES", tmp_path / "sha256")
    for architecture in ARCHITECTURES:
        native.save(architecture, architecture.encode())
    assert native.main(["--write-hashes"]) == 0
    assert native.main(["--check"]) == 0
    native.save("s390x", b"something else")
    assert capsys.readouterr().err == ""
    assert native.main(["--check"]) == 1
    message = capsys.readouterr().err
    assert "s390x" in message
    assert "aarch64" not in message
    assert message.endswith("make native-hashes\n")


def test_what_is_saved_has_no_time_and_no_name_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "BUILT", tmp_path / "built")
    native.save("x86_64", b"program")
    packed = (tmp_path / "built/x86_64.gz").read_bytes()
    assert gzip.decompress(packed) == b"program"
    assert packed[3:8] == bytes(5)  # neither flags, such as that of a name, nor a time
    assert [file.name for file in (tmp_path / "built").iterdir()] == ["x86_64.gz"]


@pytest.mark.parametrize(
    "source",
    ["int main(void) { int unused; return 0; }", "int main(void) { return gone; }"],
    ids=["warning", "error"],
)
def test_a_warning_is_an_error_with_its_file(tmp_path: Path, source: str) -> None:
    (tmp_path / "main.c").write_text(source)
    with pytest.raises(native.BuildError, match=r"^x86_64: main\.c:1:"):
        native.build("x86_64", tmp_path)


def test_two_builds_do_not_use_one_cache_at_once(tmp_path: Path) -> None:
    # Two compilers of Zig 0.15.2 with one cache were seen to wait for each other for ten minutes.
    (tmp_path / "main.c").write_text("int main(void) { return gone; }")
    ended = threading.Event()

    def build() -> None:
        with pytest.raises(native.BuildError):
            native.build("x86_64", tmp_path)
        ended.set()

    cache = Path.home() / ".cache" / "zig"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "fleetaudit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=build)
        thread.start()
        assert not ended.wait(2)
    thread.join()
    assert ended.is_set()
