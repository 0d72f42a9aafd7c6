"""Holds the kernel transport without a kernel: what is packed, which images are refused, what its
words become.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import stat
import struct
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetaudit.errors import TransportError
from fleetaudit.model import KernelTarget
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.base import Execution
from fleetaudit.transport.kernel import (
    MAX_GUESTS,
    cpio,
    initramfs,
    run_kernel,
)
from fleetaudit.transport.kernel.console import (
    LINE_MAX,
    GuestOutput,
    explain,
    last_lines,
    timer_lost,
)
from fleetaudit.transport.kernel.image import parse_image
from fleetaudit.transport.kernel.image_error import Image, NotAKernelError
from fleetaudit.transport.kernel.machines import X86_64
from tests.support.kernels import (
    FIRST_FIXED,
    KernelSpec,
    Package,
    choices,
    numbers,
    side_of,
)

LIMITS = Limits(stdout=1000, stderr=100)


def execution(seconds: float) -> Execution:
    return Execution(command="", deadline=Deadline.after(seconds), limits=Limits())


# ---- what is packed


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Reads newc as the kernel does, of which only its documentation is known here: name to mode,
    data and device.
    """
    files = dict[str, tuple[int, bytes, tuple[int, int]]]()
    at = 0
    while True:
        assert at % 4 == 0
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, device, length = fields[1], fields[6], (fields[9], fields[10]), fields[11]
        name = archive[at + 110 : at + 110 + length]
        assert name.endswith(b"\0")
        at += (110 + length + 3) & ~3
        data, at = archive[at : at + size], (at + size + 3) & ~3
        if name == b"TRAILER!!!\0":
            assert at == len(archive)
            return files
        files[name[:-1].decode()] = (mode, data, device)


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=9).map(lambda s: f"/d{s}/f"), st.binary(max_size=70)
    )
)
def test_an_archive_reads_back_with_every_folder_before_its_files(
    files: dict[str, bytes],
) -> None:
    back = unpacked(cpio.archive(cpio.file(path, data) for path, data in files.items()))
    names = list(back)
    for path, data in files.items():
        name = path[1:]
        assert back[name] == (stat.S_IFREG | 0o644, data, (0, 0))
        folder = str(Path(name).parent)
        assert stat.S_ISDIR(back[folder][0])
        assert names.index(folder) < names.index(name)


def test_nodes_and_links_keep_their_numbers_and_targets() -> None:
    back = unpacked(
        cpio.archive([cpio.node("/dev/console", 5, 1), cpio.link("/python", "/usr/bin/python3.11")])
    )
    assert back["dev/console"] == (stat.S_IFCHR | 0o600, b"", (5, 1))
    assert back["python"] == (stat.S_IFLNK | 0o777, b"/usr/bin/python3.11", (0, 0))


def test_a_path_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        cpio.archive([cpio.file("/a", b"1"), cpio.file("/a", b"2")])


def test_standard_library_imports_are_found_in_a_program_inside_a_string() -> None:
    program = (
        b"P = r'''\ntry:\n    import difflib, yaml\nexcept ImportError: pass\nfrom xml.sax import"
        b" x\nimport this\n'''\n"
    )
    found = set(initramfs.imports(program))
    assert {"difflib", "xml.sax", "socket", "__future__"} <= found
    assert not {"yaml", "this"} & found


# ---- which images are refused


def bzimage(
    *, size: int = 8192, flags: int = 1, wide: int = 1, protocol: int = 0x20F, named: int = 0
) -> bytes:
    head = bytearray(size)
    head[0x1F1] = 4
    struct.pack_into("<I", head, 0x1F4, ((named or size) - 5 * 512) // 16)
    head[0x1FE:0x206] = b"\x55\xaa\xeb\x6aHdrS"
    struct.pack_into("<H", head, 0x206, protocol)
    struct.pack_into("<H", head, 0x20E, 0x100)
    head[0x211] = flags
    struct.pack_into("<H", head, 0x236, wide)
    head[0x300:0x316] = b"6.1.0-9-amd64 (x) #1\x1b\0"
    return bytes(head)


def elf(machine: int, order: str = "<") -> bytes:
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + bytes(10)
    return ident + struct.pack(f"{order}HH", 2, machine) + bytes(100)


def test_a_whole_bzimage_is_accepted_and_its_version_is_sanitized() -> None:
    assert parse_image(bzimage()).version == "6.1.0-9-amd64 (x) #1\ufffd"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"root:x:0:0:root:/root:/bin/bash\n" * 40, "no x86 boot header"),
        (bzimage(named=1 << 20), "cut short: 8192 bytes of the 1048576"),
        (bzimage(flags=0), "a zImage"),
        (bzimage(wide=0), "32-bit x86"),
        (elf(0x3E), "an ELF program (perhaps a vmlinux)"),
        (elf(0xB7), "an ELF program for arm64"),
        (elf(0x16, ">"), "an ELF program for S/390"),
        (
            b"MZ" + bytes(0x3A) + b"\x40\0\0\0PE\0\0\x64\x62" + bytes(4000),
            "an EFI program for LoongArch",
        ),
        (
            b"MZ" + bytes(0x3A) + b"\xff\xff\xff\xff" + bytes(4000),
            "an EFI program for an unknown machine",
        ),
        (bytes(0x24) + b"\x01\x6f\x28\x18" + bytes(4000), "a big-endian 32-bit ARM zImage"),
        (b"\x1f\x8b" + bytes(4000), "gzip-compressed data"),
    ],
)
def test_what_is_not_a_kernel_for_this_machine_is_recognized(data: bytes, found: str) -> None:
    with pytest.raises(NotAKernelError) as e:
        parse_image(data)
    assert found in e.value.found


@given(st.binary(max_size=600), st.integers(0, 599), st.binary(max_size=8))
def test_no_broken_header_raises_another_error(data: bytes, at: int, patch: bytes) -> None:
    good = bytearray(bzimage(size=0x400, named=8192))
    good[at : at + len(patch)] = patch
    for hostile in (data, bytes(good[:at]), bytes(good)):
        with contextlib.suppress(NotAKernelError):
            assert isinstance(parse_image(hostile), Image)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("/etc/passwd", "no x86 boot header"),
        ("/nonexistent/vmlinuz", "No such file or directory"),
        ("/etc", "Is a directory"),
        ("/dev/zero", "not a regular file"),
        ("/proc/kmsg", "a special file of the kernel"),
        ("/proc/self/mem", "a special file of the kernel"),
        (os.path.realpath(sys.executable), "an ELF program"),
    ],
)
def test_an_invalid_image_fails_at_resolve_with_a_next_command(image: str, reason: str) -> None:
    with pytest.raises(TransportError) as e:
        run_kernel(KernelTarget(image=image), execution(5), b"")
    assert e.value.stage == "resolve"
    assert image in e.value.reason
    assert reason in e.value.reason
    assert e.value.hint
    assert not e.value.transient


def test_an_image_of_more_bytes_than_any_kernel_has_is_not_read(tmp_path: Path) -> None:
    endless = tmp_path / "kcore"
    with endless.open("wb") as file:
        file.truncate(1 << 42)  # sparse, as /proc/kcore: read, it would fill the memory
    with pytest.raises(TransportError, match="larger than 256 MiB"):
        run_kernel(KernelTarget(image=str(endless)), execution(5), b"")


@pytest.mark.parametrize(
    ("target", "word"),
    [
        (KernelTarget(image="x", memory_mib=1), "kernel_memory"),
        (KernelTarget(image="x", append="quiet\nroot=/"), "kernel_append"),
        (KernelTarget(image="x", sysctls={"../../etc/passwd": "1"}), "kernel_sysctls"),
        (
            KernelTarget(image="x", sysctls={"net.ipv4.tcp_rfc1337": "1\nkernel.x=2"}),
            "kernel_sysctls",
        ),
    ],
)
def test_invalid_settings_are_refused_before_anything_starts(
    target: KernelTarget, word: str
) -> None:
    with pytest.raises(TransportError, match=word) as e:
        run_kernel(target, execution(5), b"")
    assert e.value.stage == "resolve"


def test_a_deadline_before_a_free_core_names_the_limit_of_guests() -> None:
    from fleetaudit.transport import kernel

    for _ in range(MAX_GUESTS):
        assert kernel._guest_slots.acquire(blocking=False)
    try:
        with pytest.raises(TransportError, match=f"at most {MAX_GUESTS} guests") as e:
            run_kernel(KernelTarget(image="/etc/passwd"), execution(0.3), b"")
    finally:
        for _ in range(MAX_GUESTS):
            kernel._guest_slots.release()
    assert e.value.hint == f"fleetaudit run -f {MAX_GUESTS}"


# ---- what a guest's words become


def word(letter: str, value: bytes) -> bytes:
    return letter.encode() + b" " + base64.b64encode(value) + b"\n"


@given(
    st.lists(st.tuples(st.sampled_from("oe"), st.binary(max_size=20)), max_size=9),
    st.integers(1, 40),
    st.booleans(),
)
def test_output_is_the_same_in_whatever_pieces_it_comes(
    pieces: list[tuple[str, bytes]], step: int, returns: bool
) -> None:
    sent = (
        word("b", b"")
        + b"".join(word(letter, zlib.compress(data)) for letter, data in pieces)
        + word("x", b"3")
    )
    if returns:
        sent = sent.replace(b"\n", b"\r\n")  # a terminal's newline
    output = GuestOutput(limits=Limits())
    for at in range(0, len(sent), step):
        output.feed(sent[at : at + step])
    result = output.output()
    assert (output.started, output.complete, output.garbled) == (True, True, False)
    assert result.stdout == b"".join(data for letter, data in pieces if letter == "o")
    assert result.stderr == b"".join(data for letter, data in pieces if letter == "e")
    assert (result.exit_status, result.cut) == (3, "")


@given(st.binary(max_size=300))
def test_noise_on_the_second_port_is_ignored(noise: bytes) -> None:
    output = GuestOutput(limits=LIMITS)
    output.feed(noise.replace(b"x", b"y") + b"\n" + word("o", zlib.compress(b"whole")))
    if not output.complete:
        assert bytes(output.stdout).endswith(b"whole")


def test_a_stream_is_cut_at_its_limit_and_no_piece_unpacks_to_more() -> None:
    output = GuestOutput(limits=LIMITS)
    output.feed(word("o", zlib.compress(bytes(50_000_000))) + word("x", b"0"))
    assert output.output().stdout == bytes(1000)
    assert (output.output().cut, output.output().exit_status, output.complete) == (
        "stdout",
        None,
        True,
    )


def test_a_line_without_an_end_is_not_kept() -> None:
    output = GuestOutput(limits=LIMITS)
    for _ in range(3 * LINE_MAX // 1000):
        output.feed(b"A" * 1000)
    assert output.garbled
    assert len(output._rest) <= LINE_MAX


def test_a_panic_is_quoted_in_one_printable_line() -> None:
    log = (
        b"[    0.1] \x1b[31mhello\x1b[0m\r\n[    3.621360] Kernel panic - not syncing: VFS: Unable"
        b" to mount root\r\n"
    )
    known = explain(log, 256, "qemu")
    assert known is not None
    assert known[0] == "the kernel panicked: Kernel panic - not syncing: VFS: Unable to mount root"
    assert "kernel_append" in known[1]
    assert last_lines(log).startswith("the console ends: hello / Kernel panic")
    assert last_lines(b"\x00\x9b\xff" * 100_000).isprintable()


def test_a_panic_with_another_cause_leads_to_the_command_that_boots_by_hand() -> None:
    killed = "/init: line 1: Oops\nKernel panic - not syncing: Attempted to kill init! exitcode=1\n"
    for log in (killed, "Kernel panic - not syncing: corrupted stack end detected\n"):
        known = explain(log.encode(), 256, "qemu")
        assert known is not None
        assert known[1] == "qemu"
    assert "Oops / Kernel panic" in (explain(killed.encode(), 256, "qemu") or ("",))[0]


def test_a_lost_timer_is_distinguished_from_a_panic_of_the_image() -> None:
    log = b"Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug\n"
    assert timer_lost(log)
    known = explain(log, 256, "qemu")
    assert known is not None
    assert "busy" in known[0]
    assert known[1] == "fleetaudit run -f 1"
    assert explain(b"all is well\n", 256, "qemu") is None


def test_the_command_that_boots_an_image_by_hand_can_be_typed() -> None:
    from fleetaudit.transport.kernel import _boot_command

    target = KernelTarget(image="/boot/my vmlinuz", memory_mib=64, append="quiet")
    assert shlex.split(_boot_command(target, X86_64)) == [
        *("qemu-system-x86_64", "-nographic", "-machine", "pc", "-cpu", "Nehalem,-cx16"),
        *("-m", "64", "-kernel", "/boot/my vmlinuz", "-append", "console=ttyS0 panic=-1 quiet"),
    ]


# ---- which real kernels are chosen


def test_the_side_of_the_fix_follows_from_the_release_alone() -> None:
    assert numbers("6.12.43-1~bpo12+1") == (6, 12, 43)
    assert numbers("7.3~rc7-1~exp1")[:2] == (7, 3)
    for (major, minor), patch in FIRST_FIXED.items():
        assert side_of((major, minor, patch - 1)) == "before"
        assert side_of((major, minor, patch)) == "after"
    assert {side_of(r) for r in ((4, 19, 325), (6, 16, 12), (6, 17))} == {"before"}
    assert {side_of(r) for r in ((6, 18), (7, 0, 1))} == {"after"}


def test_of_the_packages_that_would_do_the_newest_small_one_is_first() -> None:
    packages = [
        Package("a", "6.12.43-1", False),
        Package("b", "6.12.43-1", True),
        Package("c", "6.12.117-1", True),
        Package("d", "6.12.9-1", True),
        Package("e", "6.1.20-1", True),
    ]
    assert [p.name for p in choices(packages, KernelSpec("x", (6, 12), "before"))] == [
        "b",
        "a",
        "d",
    ]
    assert [p.name for p in choices(packages, KernelSpec("x", None, "after"))] == ["c"]
