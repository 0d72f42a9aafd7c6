"""Builds the native probe for each architecture, the same bytes on every machine.

    python -m tools.native                    build all: fleetaudit/probe/native/built/ARCH.gz,
                                              and sources.sha256, which says from what
    python -m tools.native --check            build nothing, hold what is built against sha256
    python -m tools.native --write-hashes     write sha256 of what is built

The compiler is the one of the package ziglang, whose version pyproject.toml pins; it has the musl C
library of every architecture with it. Sources are named without a folder, and nothing that depends
on the time, the machine or the user goes into the program, so that everybody can build it again and
compare.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleetaudit.probe.native_program import BUILT_FROM, sources_digest

SOURCES = Path(__file__).parents[1] / "fleetaudit" / "probe" / "native"
BUILT = SOURCES / "built"
HASHES = SOURCES / "sha256"
TARGETS = {
    "x86_64": ("x86_64-linux-musl", "x86_64"),  # SSE2, as the first ones of 2003 have it
    "aarch64": ("aarch64-linux-musl", "generic"),
    "armv7": ("arm-linux-musleabihf", "generic+v7a-neon-d32"),  # VFPv3-D16, as Tegra 2 has it
    "riscv64": ("riscv64-linux-musl", "baseline_rv64"),
    "ppc64le": ("powerpc64le-linux-musl", "pwr8"),  # the first that runs little-endian Linux
    "s390x": ("s390x-linux-musl", "arch8"),  # z10: without vector registers
}
"""The target and the oldest processor of each architecture, as Zig names them."""
WARNINGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")
SMALL = ("-Os", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables")
LINK = ("-static", "-s", "-Wl,--gc-sections", "-Wl,--build-id=none")


class BuildError(Exception):
    """The compiler refuses the sources; the message is what it printed."""


def build(architecture: str, sources: Path = SOURCES, cache: Path | None = None) -> bytes:
    """Returns the program for one architecture, an ELF file.

    `cache` is the folder where the compiler keeps what it made, by default Zig's own. Waits while
    another build uses it. Raises `BuildError`.
    """
    target, processor = TARGETS[architecture]
    files = sorted(path.name for path in sources.glob("*.c"))
    cache = cache or Path.home() / ".cache" / "zig"
    environment = dict(os.environ)
    environment |= {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    with tempfile.TemporaryDirectory() as folder, _reserved(cache):
        program = Path(folder) / "fleetaudit-probe"
        options = ("-target", target, f"-mcpu={processor}", *WARNINGS, *SMALL, *LINK)
        ended = subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", *options, *files, "-o", program],
            cwd=sources,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise BuildError(f"{architecture}: {ended.stderr}")
        return program.read_bytes()


@contextlib.contextmanager
def _reserved(cache: Path) -> Iterator[None]:
    """Keeps every other build out of a cache: Zig 0.15.2 locks the files in it one after the other,
    and two compilers at once can wait for each other forever.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "fleetaudit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def save(architecture: str, program: bytes) -> None:
    """Writes a program into `BUILT`, compressed, in one step."""
    BUILT.mkdir(exist_ok=True)
    part = BUILT / f".{architecture}.{os.getpid()}"
    part.write_bytes(gzip.compress(program, mtime=0))
    part.replace(BUILT / f"{architecture}.gz")


def built_hashes() -> str:
    """Returns the lines of `HASHES` for what is built: sha256, two blanks, architecture."""
    lines = []
    for architecture in TARGETS:
        program = gzip.decompress((BUILT / f"{architecture}.gz").read_bytes())
        lines.append(f"{hashlib.sha256(program).hexdigest()}  {architecture}\n")
    return "".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds, checks or writes the hashes; returns the exit status."""
    parser = argparse.ArgumentParser(description="Builds the native probe.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="hold what is built against sha256")
    what.add_argument("--write-hashes", action="store_true", help="write sha256 of what is built")
    options = parser.parse_args(arguments)
    if options.check:
        return _check()
    if options.write_hashes:
        HASHES.write_text(built_hashes(), "ascii")
        return 0
    return _build_all()


def _build_all() -> int:
    """Builds every architecture and prints the sizes; returns the exit status."""
    sources = sources_digest()  # before: a source that changes meanwhile is not what was built
    for architecture in TARGETS:
        try:
            program = build(architecture)
        except BuildError as e:
            print(f"native: {e}", file=sys.stderr)
            return 1
        save(architecture, program)
        compressed = (BUILT / f"{architecture}.gz").stat().st_size
        print(f"{architecture:8} {len(program):7} bytes, {compressed:6} compressed")
    (BUILT / BUILT_FROM).write_text(f"{sources}\n", "ascii")
    return 0


def _check() -> int:
    """Prints each architecture whose program is not the one of `HASHES`; returns the status."""
    recorded = HASHES.read_text("ascii").splitlines()
    wrong = sorted(set(built_hashes().splitlines()).symmetric_difference(recorded))
    for architecture in sorted({line.split()[-1] for line in wrong}):
        print(
            f"native: {architecture} is not the program of {HASHES.name}: after a change of the"
            " sources, or of the compiler:  make native-hashes",
            file=sys.stderr,
        )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
