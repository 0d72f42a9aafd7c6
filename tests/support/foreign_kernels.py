"""Debian's kernels for other machines than x86-64, for the tests.

Rules: as in kernels.py. Each architecture has a kernel of each side of the 2025 fix where the
archive has one. `python -m tests.support.foreign_kernels` fetches what is missing and prints what
there is.
"""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.support.kernels import Kernel, NoKernelsError, Side, cache, side_of
from tools.kernel_archive import KernelPackage, PrivateApt, upstream_numbers

SIDES: tuple[Side, ...] = ("before", "after")
STABLE = (6, 12)
"""The series that is preferred: every architecture has it, and its images are small."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture as Debian names it, and the build of its kernel that is taken."""

    name: str
    debian: str
    flavour: str


ARCHITECTURES = (
    Architecture("aarch64", "arm64", "cloud-arm64"),
    Architecture("armv7", "armhf", "armmp-lpae"),
    Architecture("ppc64le", "ppc64el", "powerpc64le"),
    Architecture("riscv64", "riscv64", "riscv64"),
    Architecture("s390x", "s390x", "s390x"),
)
NAMES = tuple(f"{each.name}-{side}" for each in ARCHITECTURES for side in SIDES)


@functools.cache
def foreign_kernel(name: str) -> Kernel:
    """Returns the kernel of one of `NAMES`, fetched if the cache lacks it.

    Raises `NoKernelsError` if the archive has none.
    """
    architecture, _, side = name.partition("-")
    found = {each.name: each for each in ARCHITECTURES}[architecture]
    folder = cache() / name
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"lock-{found.debian}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes start together
        if not (folder / "package").is_file():
            _fetch(_choices(_packages(found), found, side), found, folder)
    package, version = (folder / "package").read_text().split()
    return Kernel(name, side_of(upstream_numbers(version)), package, version, folder / "vmlinuz")


def _apt(architecture: Architecture) -> PrivateApt:
    """Returns apt with lists of this architecture."""
    return PrivateApt(cache() / f"apt-{architecture.debian}", architecture.debian)


@functools.cache
def _packages(architecture: Architecture) -> tuple[KernelPackage, ...]:
    """Returns the kernels of an architecture that the archive has today."""
    apt = _apt(architecture)
    apt.configure()
    why = apt.update()
    packages = tuple(apt.packages())
    if not packages:
        raise NoKernelsError(f"apt lists no kernels for {architecture.debian}: {why}")
    return packages


def _choices(
    packages: Iterable[KernelPackage], architecture: Architecture, side: str
) -> list[KernelPackage]:
    """Returns the packages on one side of the fix, the best first."""
    fit = [
        package
        for package in packages
        if package.flavour == architecture.flavour and side_of(package.numbers) == side
    ]
    return sorted(fit, key=lambda p: (p.numbers[:2] == STABLE, p.numbers), reverse=True)


def _fetch(choices: list[KernelPackage], architecture: Architecture, folder: Path) -> None:
    """Fetches the first of the packages that the archive really has."""
    problem = "the archive has none"
    for package in choices:
        try:
            image = _apt(architecture).fetch_image(package.name, package.version)
        except (OSError, subprocess.SubprocessError, tarfile.TarError, NoKernelsError) as e:
            problem = str(e)
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "vmlinuz").write_bytes(image)
        (folder / "package").write_text(f"{package.name} {package.version}\n")
        return
    raise NoKernelsError(f"no kernel {folder.name}: {problem}")


def main() -> int:
    """Fetches what is missing and prints what there is."""
    for name in NAMES:
        try:
            kernel = foreign_kernel(name)
            print(f"{name:16} {kernel.version:24} {kernel.package}")
        except NoKernelsError as e:
            print(f"{name:16} {e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
