"""Real kernels for the tests, out of the archive of Debian that this machine's own apt reads.

Rules: as in tools/kernel_archive.py. Archives move, so a kernel is specified by its series and the
side of the 2025 fix that its number lies on, never by a package's name; what a kernel really does
is measured. `python -m tests.support.kernels` fetches what is missing and prints what there is.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tools.kernel_archive import NoArchiveError, PrivateApt, upstream_numbers

Side = Literal["before", "after"]

FIRST_FIXED = {
    (5, 4): 301,
    (5, 10): 246,
    (5, 15): 195,
    (6, 1): 156,
    (6, 6): 112,
    (6, 12): 53,
    (6, 17): 3,
}
"""The first release of each stable series that has 5f9238530970 (RST only when required); 6.18 is
the first of all.
"""

FLAVOURS = {"amd64": False, "cloud-amd64": True}
"""Debian's plain build, and the one for virtual machines, which is the smaller download."""

NoKernelsError = NoArchiveError
"""Kernels are not available here; the message has the reason."""
numbers = upstream_numbers


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A kernel that the tests would like to have: the newest of `series` (None: of all) on its side
    of the fix.
    """

    name: str
    series: tuple[int, int] | None
    side: Side
    cloud: bool = True


KERNEL_SPECS = (
    KernelSpec("5.10-before", (5, 10), "before"),
    KernelSpec("5.10-after", (5, 10), "after"),
    KernelSpec("6.1-after", (6, 1), "after"),
    KernelSpec("6.12-before", (6, 12), "before"),
    KernelSpec("6.12-after", (6, 12), "after"),
    KernelSpec("newest", None, "after", cloud=False),
)


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the archive with a kernel in it; `numbers` are those of the upstream release."""

    name: str
    version: str
    cloud: bool

    @property
    def numbers(self) -> tuple[int, ...]:
        return upstream_numbers(self.version)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel image in the cache."""

    name: str
    side: Side
    package: str
    version: str
    image: Path


def side_of(release: tuple[int, ...]) -> Side:
    """Returns the side of the fix that a mainline or stable release of these numbers lies on."""
    series = release[:2]
    if series >= (6, 18):
        return "after"
    first = FIRST_FIXED.get((series[0], series[1]))
    patch = release[2] if len(release) > 2 else 0
    return "after" if first is not None and patch >= first else "before"


def cache() -> Path:
    """Returns the folder that the kernels and apt's lists are kept in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fleetaudit-tests" / "kernels"


def present() -> tuple[Kernel, ...]:
    """Returns the specified kernels that are in the cache, without the network."""
    found = []
    for wanted in KERNEL_SPECS:
        folder = cache() / wanted.name
        if (folder / "vmlinuz").is_file() and (folder / "package").is_file():
            package, version = (folder / "package").read_text().split()
            found.append(
                Kernel(wanted.name, side_of(numbers(version)), package, version, folder / "vmlinuz")
            )
    return tuple(found)


@functools.cache
def kernels() -> tuple[Kernel, ...]:
    """Returns the specified kernels that are available, fetching what the cache lacks, or raises
    `NoKernelsError`.
    """
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes start together
        have = {kernel.name for kernel in present()}
        lacking = [wanted for wanted in KERNEL_SPECS if wanted.name not in have]
        if lacking:
            try:
                _fetch(lacking)
            except NoKernelsError:
                if not present():
                    raise
    if not (found := present()):
        raise NoKernelsError("the archive has none of the specified kernels")
    return found


def _fetch(lacking: Iterable[KernelSpec]) -> None:
    packages = available()
    for wanted in lacking:
        for package in choices(packages, wanted):
            try:
                image = private_apt().fetch_image(package.name, package.version)
            except (OSError, subprocess.SubprocessError, tarfile.TarError, NoKernelsError) as e:
                print(f"{package.name}: {e}; trying the next", file=sys.stderr)
                continue
            folder = cache() / wanted.name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "vmlinuz").write_bytes(image)
            (folder / "package").write_text(f"{package.name} {package.version}\n")
            break


def choices(packages: Iterable[Package], wanted: KernelSpec) -> list[Package]:
    """Returns the packages that match, the best first: the newest, of the specified build rather
    than the other.
    """
    fit = [
        p
        for p in packages
        if side_of(p.numbers) == wanted.side
        and (wanted.series is None or p.numbers[:2] == wanted.series)
    ]
    return sorted(fit, key=lambda p: (p.numbers, p.cloud == wanted.cloud), reverse=True)


def available() -> list[Package]:
    """Returns the packages of the archive that have a kernel image in them.

    Raises `NoKernelsError` if the archive cannot be read or has none.
    """
    apt = private_apt()
    apt.configure()
    why = apt.update()
    packages = [
        Package(package.name, package.version, FLAVOURS[package.flavour])
        for package in apt.packages()
        if package.flavour in FLAVOURS
    ]
    if not packages:
        raise NoKernelsError(f"apt lists no kernel packages: {why or 'the archive has none'}")
    return [package for package in packages if len(package.numbers) >= 2]


def private_apt() -> PrivateApt:
    """Returns apt with lists and caches of the tests."""
    return PrivateApt(cache() / "apt", "amd64")


def main() -> int:
    """Fetches what is missing, prints what there is, and says by its status whether there is one of
    each side.
    """
    try:
        found = kernels()
    except NoKernelsError as e:
        print(f"no kernels: {e}", file=sys.stderr)
        return 1
    for kernel in found:
        print(f"{kernel.name:12} {kernel.side:6} the fix   {kernel.version:24} {kernel.package}")
        print(f"{'':12} {kernel.image}")
    lacking = [w.name for w in KERNEL_SPECS if w.name not in {kernel.name for kernel in found}]
    if lacking:
        print(f"not available: {', '.join(lacking)}")
    return 0 if {kernel.side for kernel in found} == {"before", "after"} else 1


if __name__ == "__main__":
    sys.exit(main())
