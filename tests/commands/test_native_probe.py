"""`fleetaudit probe --native`: the native probe in one file, and as a container image."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pty
import re
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetaudit.app.probe_program import DEADLINE_S, ProgramRequest, native_image, native_probe
from fleetaudit.errors import MissingProgramError, UsageError
from fleetaudit.model import Audited
from fleetaudit.probe import native_program
from fleetaudit.probe.native_program import ARCHITECTURES
from fleetaudit.probe.native_request import FIRST_LINE
from fleetaudit.store.run_file import read_run
from tests import ROOT
from tests.support.commands import Workspace
from tests.support.native import built


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_the_file_is_the_program_and_its_request_and_its_owner_may_run_it(place: Workspace) -> None:
    program = built()
    done = place.run("probe", "--native", "x86_64", "-o", "web7.probe")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    file = place.path / "web7.probe"
    assert stat.S_IMODE(file.stat().st_mode) == 0o700
    data = file.read_bytes()
    assert data.startswith(program)
    request = data[len(program) :]
    assert request.startswith(f"{FIRST_LINE}\n".encode())
    assert f"deadline\t{DEADLINE_S}\n".encode() in request
    assert request.endswith(b"\nend %08d\n" % len(request))


def test_a_file_that_is_there_keeps_its_mode_and_gets_executable(place: Workspace) -> None:
    built()
    file = place.path / "web7.probe"
    file.touch(0o640)
    file.chmod(0o640)
    assert place.run("probe", "--native", "x86_64", "-o", "web7.probe").returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o750


@pytest.mark.parametrize("words", [[], ["-o", "-"]])
def test_a_pipe_gets_the_program_and_a_terminal_does_not(
    place: Workspace, words: list[str]
) -> None:
    program = built()
    command = [sys.executable, "-m", "fleetaudit", "probe", "--native", "amd64", *words]
    piped = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert piped.stdout.startswith(program)
    reader, terminal = pty.openpty()
    try:
        refused = subprocess.run(
            command, stdout=terminal, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(terminal)
        os.close(reader)
    assert refused.returncode == 73
    assert "standard output is a terminal" in refused.stderr
    assert "-o FILE" in refused.stderr


def test_the_program_of_an_inventory_is_the_one_of_its_plays(place: Workspace) -> None:
    built()
    place.write("hosts", "[web]\nweb7\n[db]\ndb1\n")
    place.write("web.yml", "- {name: a, hosts: web, sysctls: {collect: [net.ipv4.tcp_sack]}}\n")
    words = ("probe", "--native", "x86_64", "-p", "web.yml", "-o", "out", "hosts", "-l")
    assert place.run(*words, "web7").returncode == 0
    assert b"sysctl\tnet.ipv4.tcp_sack\n" in (place.path / "out").read_bytes()
    nobody = place.run(*words, "db1")
    assert nobody.returncode == 66


def test_the_documentation_takes_the_file_apart(place: Workspace) -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    block = re.search(r"^    fleetaudit probe --native x86_64.*\n(?:    .*\n)+", page, re.MULTILINE)
    assert block
    _, *commands = block[0].splitlines()
    program = built()
    assert place.run("probe", "--native", "x86_64", "-o", "web7.probe").returncode == 0
    printed = subprocess.run(
        ["sh", "-euc", "\n".join(commands)],
        cwd=place.path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.startswith(f"{FIRST_LINE}\n")
    assert f"\n{hashlib.sha256(program).hexdigest()}  -\n" in printed


def test_a_run_by_hand_is_merged_as_it_is(place: Workspace) -> None:
    built()
    made = place.run("probe", "-p", "quick.yml", "--native", "x86_64", "-o", "web7.probe")
    assert made.returncode == 0, made.stderr
    reply = subprocess.run(
        [place.path / "web7.probe"], stdin=subprocess.DEVNULL, capture_output=True, check=True
    ).stdout
    (place.path / "web7.reply").write_bytes(reply)
    merged = place.run("merge", "-p", "quick.yml", "web7.reply", "-o", "out")
    assert merged.returncode == 0, merged.stdout + merged.stderr
    (host,) = read_run(place.path / "out/latest").hosts
    assert isinstance(host, Audited)
    assert (host.name, {o.ending for o in host.observations} >= {"RST"}) == ("web7", True)
    other = place.run("merge", "web7.reply", "-o", "out")
    assert other.returncode == 4
    assert "reply to another call" in other.stdout


def test_text_goes_into_a_file_too(place: Workspace) -> None:
    printed = place.run("probe", "--command")
    assert place.run("probe", "--command", "-o", "command").returncode == 0
    file = place.path / "command"
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (printed.stdout, 0o600)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--native", "sparc64"), 64, "there is no native probe for 'sparc64'; --native takes"),
        (("--native", "i686"), 64, "there is no native probe for 'i686'"),
        (("--native", "armv6l"), 64, "there is no native probe for 'armv6l'"),
        (("--native", "../x86_64"), 64, "there is no native probe for '../x86_64'"),
        (("--native", "x86_64", "--native", "arm64"), 64, "several architectures only with"),
        (("--image",), 64, "--image needs --native ARCH"),
        (("--native", "x86_64", "--explain"), 64, "use only one"),
        (("--native", "x86_64", "--compressed"), 64, "use only one"),
        (("--native", "x86_64", "--command"), 64, "use only one"),
        (("--native", "x86_64", "--sudoers", "audit"), 64, "use only one"),
        (("--native", "x86_64", "-p", "gone.yml"), 66, "gone.yml"),
        (("--native", "x86_64", "-o", "gone/file"), 73, "gone"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    place: Workspace, words: tuple[str, ...], status: int, message: str
) -> None:
    built("aarch64")
    built()
    done = place.run("probe", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def built_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Returns the folder of the built programs, which is empty."""
    monkeypatch.setattr(native_program, "_built_file", tmp_path.joinpath)
    for cached in (native_program.native_binary, native_program._is_current):
        cached.cache_clear()
    yield tmp_path
    for cached in (native_program.native_binary, native_program._is_current):
        cached.cache_clear()


def test_a_checkout_without_the_programs_says_what_to_type(built_here: Path) -> None:
    assert not any(map(native_program.has_native, ARCHITECTURES))
    with pytest.raises(MissingProgramError, match=r"for s390x is not built;.*:  make native$"):
        native_probe(ProgramRequest(), ["s390x"])


def test_a_program_of_other_sources_is_never_used(built_here: Path) -> None:
    (built_here / "s390x.gz").write_bytes(gzip.compress(b"an earlier program"))
    built_from = built_here / native_program.BUILT_FROM
    built_from.write_text("0" * 64 + "\n")
    assert not native_program.has_native("s390x")
    with pytest.raises(MissingProgramError, match=r"from other sources;.*:  make native$"):
        native_probe(ProgramRequest(), ["s390x"])
    built_from.write_text(native_program.sources_digest() + "\n")
    native_program._is_current.cache_clear()
    assert native_probe(ProgramRequest(), ["s390x"]).startswith(b"an earlier program")


def test_an_image_has_a_manifest_for_each_architecture_and_the_same_bytes_again() -> None:
    for architecture in ARCHITECTURES:
        built(architecture)
    machines = ["x86_64", "aarch64", "armv7l", "riscv64", "ppc64le", "s390x"]
    first = native_image(ProgramRequest(), machines)
    assert native_image(ProgramRequest(), machines) == first
    assert native_image(ProgramRequest(), machines[:1]) != first
    with pytest.raises(UsageError, match="one of x86_64, aarch64"):
        native_image(ProgramRequest(), ["mips"])


def test_an_image_goes_into_a_file_that_nobody_runs(place: Workspace) -> None:
    built()
    done = place.run("probe", "--native", "x86_64", "--image", "-o", "probe.tar")
    assert done.returncode == 0, done.stderr
    file = place.path / "probe.tar"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        layout = archive.extractfile("oci-layout")
        assert layout
        assert json.load(layout) == {"imageLayoutVersion": "1.0.0"}
