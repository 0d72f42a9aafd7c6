"""The programs for other architectures run on this machine's kernel, by the emulation of their
processor alone (qemu-user).

What this shows: each starts on the oldest processor that it is built for, reads its request, and
lays out what it exchanges with the kernel as its architecture does; big-endian s390x, too. QEMU
hands the system calls to the kernel of this machine, so namespaces, packet sockets, filters and
sysctls work. What does not is in `NOT_EMULATED`: some scenarios do not run. And the tables of
/proc/net are in the byte order of this machine, so s390x finds no socket in them. Kernels of these
architectures are booted in tests/kernels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetaudit.app.probe_program import ProgramRequest, native_probe
from fleetaudit.model import Audited
from fleetaudit.store.run_file import read_run
from tests.support.commands import Workspace
from tests.support.native import built

pytestmark = [pytest.mark.slow, pytest.mark.probe]

EMULATORS = {
    "x86_64": ("qemu-x86_64", "Opteron_G1"),  # of 2003
    "aarch64": ("qemu-aarch64", "cortex-a53"),
    "armv7": ("qemu-arm", "cortex-a8"),
    "riscv64": ("qemu-riscv64", "sifive-u54"),
    "ppc64le": ("qemu-ppc64le", "power8"),
    "s390x": ("qemu-s390x", "qemu,vx=off,vxeh=off"),
}
MACHINES = {"armv7": "armv7l"}
"""What uname(2) says under the emulation, where it is not the name of the architecture."""
NOT_EMULATED = (
    "needs sock_diag(7): Protocol not supported",
    "this kernel refuses TCP_MD5SIG on a socket (EINVAL)",
    "this host does not tell how long an accept queue is",  # by TCP_INFO
)
OTHER_BYTE_ORDER = "the closer did not accept the segment"  # no table lists its socket


def emulate(architecture: str, program: Path) -> bytes:
    """Returns what a program prints, run by the emulation of its processor."""
    emulator, processor = EMULATORS[architecture]
    if not shutil.which(emulator):
        if os.environ.get("CI"):
            pytest.fail(f"missing on this CI machine: {emulator}")
        pytest.skip(f"needs {emulator} (Debian: qemu-user)")
    done = subprocess.run(
        [emulator, "-cpu", processor, program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Audited]:
    """Returns the results of the default playbook by architecture; "here" is this machine."""
    place = Workspace(tmp_path_factory.mktemp("foreign"))
    folder = place.path / "replies"
    folder.mkdir()
    for name, program in _programs(place.path):
        if name == "here":
            reply = subprocess.run([program], capture_output=True, timeout=300, check=True).stdout
        else:
            reply = emulate(name, program)
        (folder / f"{name}.reply").write_bytes(reply)
    merged = place.run("merge", "replies", "-o", "out")
    assert merged.returncode == 0, merged.stdout + merged.stderr
    results = read_run(place.path / "out/latest").hosts
    return {host.name: host for host in results if isinstance(host, Audited)}


def _programs(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields the program with its request for each architecture, and the one of this machine."""
    for name in (*EMULATORS, "here"):
        architecture = "x86_64" if name == "here" else name
        if name == "here" and os.uname().machine != "x86_64":
            pytest.skip("the programs are compared with the one for x86-64")
        built(architecture)
        file = folder / f"{name}.probe"
        file.write_bytes(native_probe(ProgramRequest(), [architecture]))
        file.chmod(0o755)
        yield name, file


@pytest.mark.parametrize("architecture", EMULATORS)
def test_a_program_shows_the_endings_of_this_kernel(
    hosts: dict[str, Audited], architecture: str
) -> None:
    host, here = hosts[architecture], hosts["here"]
    assert host.kernel.machine == MACHINES.get(architecture, architecture)
    assert host.kernel.release == here.kernel.release
    assert host.isolation == here.isolation
    expected = {(o.scenario, o.family): o for o in here.observations}
    assert len(host.observations) == len(expected) > 100
    accepted = (*NOT_EMULATED, OTHER_BYTE_ORDER) if architecture == "s390x" else NOT_EMULATED
    for observation in host.observations:
        other = expected[observation.scenario, observation.family]
        if observation.ending != other.ending:
            assert any(reason in observation.reason for reason in accepted), observation


@pytest.mark.parametrize("architecture", EMULATORS)
def test_a_program_without_its_request_runs_nothing(tmp_path: Path, architecture: str) -> None:
    emulator, processor = EMULATORS[architecture]
    if not shutil.which(emulator):
        pytest.skip(f"needs {emulator} (Debian: qemu-user)")
    file = tmp_path / "program"
    file.write_bytes(built(architecture))
    file.chmod(0o755)
    done = subprocess.run(
        [emulator, "-cpu", processor, file],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not whole" in done.stderr
