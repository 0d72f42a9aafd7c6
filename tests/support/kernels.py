"""Real kernels for the tests, out of the archive of Debian that this machine's own apt reads.

Rules: apt is asked with a configuration and lists of our own, in a cache folder: nothing of the
machine's changes, and nothing is installed. Which archive that is follows from the machine's
sources. Archives move, so a kernel is specified by its series and the side of the 2025 fix that its
number lies on, never by a package's name; what a kernel really does is measured. `python -m
tests.support.kernels` fetches what is missing and prints what there is.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Side = Literal["before", "after"]

SUITES = {
    "": ("bullseye", "bookworm", "trixie", "sid", "experimental"),
    "-updates": ("bullseye", "bookworm", "trixie"),
    "-proposed-updates": ("bookworm", "trixie"),
    "-backports": ("bullseye", "bookworm", "trixie"),
}
SECURITY_SUITES = ("bullseye-security", "bookworm-security", "trixie-security")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

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

# Debian's plain build, and the one for virtual machines, which is the smaller download.
_PACKAGE = re.compile(r"linux-(?:image|binary)-\d[\w.+~]*(?:-[\w.]*\d)*-(?P<cloud>cloud-)?amd64")
_FETCH_S = 600
_META_PACKAGES = ("linux-image-amd64", "linux-image-cloud-amd64")


class NoKernelsError(Exception):
    """Kernels are not available here; the message has the reason."""


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
        return numbers(self.version)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel image in the cache."""

    name: str
    side: Side
    package: str
    version: str
    image: Path


def numbers(version: str) -> tuple[int, ...]:
    """Returns the numbers of an upstream release: 6.12.43-1~bpo12+1 is (6, 12, 43), a release
    candidate is below it.
    """
    upstream = version.split("-")[0].split("~")[0]
    found = tuple(int(n) for n in re.findall(r"\d+", upstream))
    return (*found, -1) if "~rc" in version else found


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
                image = _image(package)
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
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise NoKernelsError(
                f"no {tool}: real kernels come out of Debian's archive, by Debian's own tools"
            )
    _configure()
    # Suites come and go: what can be read of them is enough, and none at all shows as no package.
    updated = subprocess.run(
        ["apt-get", *_private(), "update"], capture_output=True, timeout=_FETCH_S, check=False
    )
    names = _package_names()
    if not names:
        why = updated.stderr.decode("utf-8", "replace").strip()[-300:]
        raise NoKernelsError(f"apt lists no kernel packages: {why or 'the archive has none'}")
    binaries = {n.removeprefix("linux-binary-") for n in names if n.startswith("linux-binary-")}
    stanzas = _apt_cache("show", *names).split("\n\n")
    packages = [_package(stanza, binaries) for stanza in stanzas]
    return [p for p in packages if p is not None and len(p.numbers) >= 2]


def _package_names() -> list[str]:
    """Returns the names of all packages with a kernel image."""
    listed = [_apt_cache("pkgnames", prefix) for prefix in ("linux-image-", "linux-binary-")]
    return [name for text in listed for name in text.split() if _PACKAGE.fullmatch(name)]


def _package(stanza: str, binaries: set[str]) -> Package | None:
    """Returns the package of a stanza of apt-cache show, None if it has no kernel image.

    Newer packages are split: where there is a linux-binary-X, linux-image-X only depends on it.
    """
    fields = dict(re.findall(r"^(Package|Version): (.*)$", stanza, re.MULTILINE))
    name = fields.get("Package", "")
    known = _PACKAGE.fullmatch(name)
    if known is None or name in _META_PACKAGES or name.removeprefix("linux-image-") in binaries:
        return None
    return Package(name, fields["Version"], known["cloud"] is not None)


def _apt_cache(*words: str) -> str:
    command = ["apt-cache", *_private(), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def _image(package: Package) -> bytes:
    """Downloads the package, takes the kernel image out of it, and keeps nothing else."""
    folder = cache() / "download"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        fetch = ["apt-get", *_private(), "download", f"{package.name}={package.version}"]
        done = subprocess.run(
            fetch, cwd=folder, capture_output=True, text=True, timeout=_FETCH_S, check=False
        )
        files = list(folder.glob("*.deb"))
        if done.returncode or not files:
            raise NoKernelsError(f"apt-get download: {done.stderr.strip()[-300:]}")
        command = ["dpkg-deb", "--fsys-tarfile", str(files[0])]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking,
            tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
        ):
            for member in archive:
                if (
                    re.search(r"/(boot/vmlinuz-[^/]+|lib/modules/[^/]+/vmlinuz)$", member.name)
                    and member.isfile()
                ):
                    taken = archive.extractfile(member)
                    assert taken is not None
                    image = taken.read()
                    unpacking.kill()
                    return image
        raise NoKernelsError("no vmlinuz in the package")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure() -> None:
    """Writes the sources: every suite that may have kernels, of this machine's archive."""
    plain, security = _archives()
    option = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    lines = [
        f"deb {option}{plain} {name}{ending} main"
        for ending, names in SUITES.items()
        for name in names
    ]
    lines += [f"deb {option}{security} {name} main" for name in SECURITY_SUITES if security]
    apt = cache() / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text("\n".join(lines) + "\n")
    (apt / "status").touch()


def _private() -> list[str]:
    apt = cache() / "apt"
    settings = {
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": apt,
        "Dir::State::Lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        # container images switch it off, and then every call reads all lists
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Check-Valid-Until": "false",  # archived suites are not signed anew
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "20",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _archives() -> tuple[str, str]:
    """Returns the URIs of Debian's archive and of its security archive ("" where there is none) as
    apt has them.
    """
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(ORIGIN)",
        "Created-By: Packages",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    known = [line.split() for line in listed.splitlines()]
    debian = [(words[0], words[1]) for words in known if len(words) == 3 and words[2] == "Debian"]
    plain = next((uri for uri, suite in debian if not suite.endswith("-security")), "")
    if not plain:
        raise NoKernelsError(
            "apt has no archive of Debian among its sources (or apt-get update was never run)"
        )
    return plain, next((uri for uri, suite in debian if suite.endswith("-security")), "")


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
