"""Debian's kernel packages, out of the archive that this machine's own apt reads.

Rules: apt is asked with a configuration and lists of our own, in a cache folder, one for each
architecture: nothing of the machine's changes, and nothing is installed. Which archive that is
follows from the machine's sources. Archives move, so packages are chosen by pattern and never by
name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fleetaudit.text.debian_versions import debian_version_key

SUITES = {
    "": ("bullseye", "bookworm", "trixie", "forky", "sid", "experimental"),
    "-updates": ("bullseye", "bookworm", "trixie"),
    "-proposed-updates": ("bookworm", "trixie"),
    "-backports": ("bullseye", "bookworm", "trixie"),
}
"""Every suite that may have kernels; those that the archive does not have are left out by apt."""
SECURITY_SUITES = ("bullseye-security", "bookworm-security", "trixie-security")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = ("apt-get", "dpkg-deb")
_UPDATE_S = 900
_FETCH_S = 600
_QUERY_S = 300

_PACKAGE = re.compile(
    r"linux-(?:image|binary)-\d[\w.+~]*(?:-\d[\w.]*)*-(?P<flavour>[a-z][\w-]*?)(?:-unsigned)?"
)
"""Packages with a kernel image: linux-image-6.1.0-47-cloud-amd64. Newer packages are split, and
linux-image-X then depends on linux-binary-X.
"""
_NO_KERNEL = re.compile(r"dbg|-signed-template$")
_META = re.compile(r"linux-image-\d+\.\d+-[a-z]")
"""A package that depends on the newest of a series (linux-image-6.1-cloud-amd64)."""
_IMAGE = re.compile(r"/(boot/vmlinu[xz]-[^/]+|lib/modules/[^/]+/vmlinu[xz])$")


class NoArchiveError(Exception):
    """The archive cannot be read, or has no such package; the message has the reason."""


@dataclass(frozen=True, slots=True)
class KernelPackage:
    """A package with a kernel image.

    `flavour` is the end of the release that its kernel reports (uname -r), such as "cloud-amd64".
    `source` is the source package, `suites` are those that have the package now.
    """

    name: str
    version: str
    architecture: str
    flavour: str
    source: str
    suites: tuple[str, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the upstream release, see `upstream_numbers`."""
        return upstream_numbers(self.version)


def upstream_numbers(version: str) -> tuple[int, ...]:
    """Returns the numbers of an upstream release: 6.12.43-1~bpo12+1 is (6, 12, 43), a release
    candidate is below it.
    """
    upstream = version.split("-")[0].split("~")[0]
    found = tuple(int(n) for n in re.findall(r"\d+", upstream))
    return (*found, -1) if "~rc" in version else found


class PrivateApt:
    """apt with sources, lists and caches of its own, for one architecture of Debian."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.folder, self.architecture = folder, architecture

    def configure(self) -> None:
        """Writes the sources: every suite that may have kernels, of this machine's archive.

        Raises `NoArchiveError` if a tool is missing or the machine has no archive of Debian.
        """
        for tool in TOOLS:
            if shutil.which(tool) is None:
                raise NoArchiveError(
                    f"no {tool}: real kernels come out of Debian's archive, by Debian's own tools"
                )
        plain, security = archives()
        option = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        lines = [
            f"deb {option}{plain} {name}{ending} main"
            for ending, names in SUITES.items()
            for name in names
        ]
        lines += [f"deb {option}{security} {name} main" for name in SECURITY_SUITES if security]
        for folder in ("lists/partial", "cache/archives/partial"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        (self.folder / "sources.list").write_text("\n".join(lines) + "\n")
        (self.folder / "status").touch()

    def update(self) -> str:
        """Reads the lists of the archive again, and returns the end of what apt had to say.

        Suites come and go: what can be read of them is enough, and none at all shows as no package.
        """
        command = ["apt-get", *self.options(), "update"]
        done = subprocess.run(command, capture_output=True, timeout=_UPDATE_S, check=False)
        return done.stderr.decode("utf-8", "replace").strip()[-300:]

    def options(self) -> list[str]:
        """Returns the options of apt that keep it in its folder."""
        settings = {
            "Dir::Etc::SourceList": self.folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State": self.folder,
            "Dir::State::Lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            # container images switch it off, and then every call reads all lists
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
            "Acquire::Check-Valid-Until": "false",  # archived suites are not signed anew
            "Acquire::GzipIndexes": "true",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "20",
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def _run(self, program: str, *words: str) -> str:
        """Returns what one of apt's programs prints."""
        command = [program, *self.options(), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_QUERY_S, check=True)
        return done.stdout

    def packages(self) -> list[KernelPackage]:
        """Returns the packages with a kernel image, see `kernel_packages`."""
        return kernel_packages(self._stanzas())

    def _stanzas(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yields each suite with the fields of a package that may have a kernel."""
        targets = self._run(
            "apt-get", "indextargets", "--format", "$(RELEASE) $(FILENAME)", "Created-By: Packages"
        )
        for line in targets.splitlines():
            suite, path = line.split(" ", 1)
            if Path(path).exists():
                for stanza in self._kernel_stanzas(path):
                    yield suite, stanza

    def _kernel_stanzas(self, path: str) -> Iterator[dict[str, str]]:
        """Yields the fields of the packages of one list whose name is that of a kernel."""
        command = ["/usr/lib/apt/apt-helper", *self.options(), "cat-file", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reading:
            stanza = dict[str, str]()
            for line in reading.stdout or ():
                key, _, value = line.partition(": ")
                if line == "\n":
                    if "Version" in stanza:
                        yield stanza
                    stanza = {}
                elif key == "Package" and _PACKAGE.fullmatch(value.rstrip("\n")):
                    stanza = {key: value.rstrip("\n")}
                elif stanza and key in ("Version", "Source", "Architecture"):
                    stanza[key] = value.rstrip("\n")

    def fetch_image(self, package: str, version: str) -> bytes:
        """Downloads a package, takes the kernel image out of it, and keeps nothing else.

        Raises `NoArchiveError` if apt cannot download it or it has no image.
        """
        folder = self.folder / "download"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            command = ["apt-get", *self.options(), "download", f"{package}={version}"]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_FETCH_S, check=False
            )
            files = list(folder.glob("*.deb"))
            if done.returncode or not files:
                raise NoArchiveError(f"apt-get download: {_without_addresses(done.stderr)}")
            return image_of_package(files[0])
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def kernel_packages(stanzas: Iterable[tuple[str, dict[str, str]]]) -> list[KernelPackage]:
    """Returns the packages with a kernel image, by version and name.

    Each stanza comes with the suite that it is from. Of a kernel that is there signed and unsigned,
    which is the same code, it is the signed one.
    """
    suites = dict[tuple[str, str], list[str]]()
    fields = dict[tuple[str, str], dict[str, str]]()
    for suite, stanza in stanzas:
        key = (stanza["Package"], stanza["Version"])
        fields[key] = stanza
        suites.setdefault(key, []).append(suite)
    found = [_package(stanza, suites[key]) for key, stanza in fields.items()]
    kernels = list(filter(None, found))
    names = {(package.name, package.version) for package in kernels}
    return sorted(
        (package for package in kernels if not _is_repeated(package, names)),
        key=lambda package: (debian_version_key(package.version), package.name),
    )


def image_of_package(path: Path) -> bytes:
    """Returns the kernel image in a .deb file; raises `NoArchiveError` if it has none."""
    command = ["dpkg-deb", "--fsys-tarfile", str(path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if _IMAGE.search(member.name) and member.isfile():
                taken = archive.extractfile(member)
                image = taken.read() if taken else b""
                unpacking.kill()
                return image
    raise NoArchiveError("no vmlinuz in the package")


def _without_addresses(text: str) -> str:
    """Returns the end of a message of apt, without the addresses of its mirrors."""
    return " ".join(re.sub(r"\S+://\S+|\[IP:[^]]*\]", "", text).split())[-300:]


def archives() -> tuple[str, str]:
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
    listed = subprocess.run(
        command, capture_output=True, text=True, timeout=_QUERY_S, check=True
    ).stdout
    known = [line.split() for line in listed.splitlines()]
    debian = [(words[0], words[1]) for words in known if len(words) == 3 and words[2] == "Debian"]
    plain = next((uri for uri, suite in debian if not suite.endswith("-security")), "")
    if not plain:
        raise NoArchiveError(
            "apt has no archive of Debian among its sources (or apt-get update was never run)"
        )
    return plain, next((uri for uri, suite in debian if suite.endswith("-security")), "")


def _package(stanza: dict[str, str], suites: Iterable[str]) -> KernelPackage | None:
    """Returns the package of a stanza, None if it has no kernel image."""
    name = stanza["Package"]
    known = _PACKAGE.fullmatch(name)
    if known is None or _NO_KERNEL.search(name):
        return None
    if _META.match(name) and "~rc" not in stanza["Version"]:
        return None
    return KernelPackage(
        name=name,
        version=stanza["Version"],
        architecture=stanza["Architecture"],
        flavour=known["flavour"],
        source=stanza.get("Source", "linux").split(" ")[0],
        suites=tuple(dict.fromkeys(suites)),
    )


def _is_repeated(package: KernelPackage, names: set[tuple[str, str]]) -> bool:
    """Returns whether another package has the same kernel: the signed one, or the one that this
    one only depends on.
    """
    signed = package.name.removesuffix("-unsigned")
    binary = signed.replace("linux-image-", "linux-binary-")
    others = {(signed, package.version), (binary, package.version)}
    return bool((others - {(package.name, package.version)}) & names)
