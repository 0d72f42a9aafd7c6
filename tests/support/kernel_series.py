"""Packages of one series of real kernels for the tests, out of the archive that kernels.py reads.

Rules: as there. The packages stay in the cache as they were fetched: what is tested is that they
are read. `python -m tests.support.kernel_series` fetches what is missing and prints what there is.
"""

from __future__ import annotations

import fcntl
import functools
import subprocess
import sys
from pathlib import Path

from tests.support import kernels
from tests.support.kernels import NoKernelsError, Package

SERIES = (6, 12)
"""The series that the archive has both sides of the fix of, and most versions."""
FEWEST, MOST = 8, 9


def folder() -> Path:
    """Returns the folder of the packages."""
    return kernels.cache() / "series-6.12"


def present() -> tuple[Path, ...]:
    """Returns the packages that are in the cache, in no order."""
    return tuple(folder().glob("*.deb"))


@functools.cache
def packages() -> tuple[Path, ...]:
    """Returns at least `FEWEST` packages of different versions of the series, in no order.

    Raises `NoKernelsError` if there are fewer.
    """
    folder().mkdir(parents=True, exist_ok=True)
    with (kernels.cache() / "series-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes start together
        if len(present()) < FEWEST:
            for package in _choices():
                _fetch(package)
    found = present()
    if len(found) < FEWEST:
        raise NoKernelsError(f"the archive has {len(found)} kernels of the series, not {FEWEST}")
    return found


def _choices() -> list[Package]:
    """Returns at most `MOST` versions at equal distances, the oldest and the newest among them."""
    of_series = [p for p in kernels.available() if p.cloud and p.numbers[:2] == SERIES]
    by_release = {p.numbers: p for p in sorted(of_series, key=lambda p: p.version)}
    versions = [by_release[numbers] for numbers in sorted(by_release)]
    if len(versions) <= MOST:
        return versions
    step = (len(versions) - 1) / (MOST - 1)
    return [versions[round(place * step)] for place in range(MOST)]


def _fetch(package: Package) -> None:
    """Fetches one package as a file; one that the archive no longer has is left out."""
    options = kernels.private_apt().options()
    fetch = ["apt-get", *options, "download", f"{package.name}={package.version}"]
    try:
        subprocess.run(fetch, cwd=folder(), capture_output=True, timeout=600, check=True)
    except subprocess.SubprocessError as e:
        print(f"{package.name}: {e}; left out", file=sys.stderr)


if __name__ == "__main__":
    try:
        print(*sorted(packages()), sep="\n")
    except NoKernelsError as e:
        sys.exit(f"no kernels: {e}")
