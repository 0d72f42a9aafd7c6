"""Boots real kernels of every architecture with the native probe as /init."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.errors import MissingProgramError, TransportError
from fleetaudit.model import Audited, HostPlan, KernelTarget
from fleetaudit.playbook import load_playbook
from fleetaudit.probe import protocol, verdict
from fleetaudit.probe.offer import new_offer
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.base import Execution
from fleetaudit.transport.kernel import guests, run_kernel
from fleetaudit.transport.kernel.machines import MACHINES
from tests.support import kernel_matrix, native
from tests.support.foreign_kernels import NAMES, foreign_kernel
from tests.support.kernel_matrix import MATRIX
from tests.support.kernels import KERNEL_SPECS, Kernel, NoKernelsError, numbers

IN_CI = bool(os.environ.get("CI"))
SECONDS = 900

pytestmark = pytest.mark.timeout(1800)


def needs(architecture: str) -> None:
    """Skips the test without the QEMU and the native probe for an architecture."""
    program = MACHINES[architecture].program
    if shutil.which(program) is None and not IN_CI:
        pytest.skip(f"no {program}")
    native.built(architecture)


def plan_for(image: Path, scenarios: tuple[str, ...] = (), **target: Any) -> HostPlan:
    """Returns the plan of the shipped playbook for an image, or of some of its scenarios."""
    (play,) = load_playbook(None).plays
    return HostPlan(
        name="guest",
        groups=(),
        target=KernelTarget(image=str(image), **target),
        scenarios=tuple(s for s in play.scenarios if not scenarios or s.name in scenarios),
        trials=play.trials,
        isolation=play.isolation,
        sysctls_collect=play.sysctls_collect,
        sysctls_expect=play.sysctls_expect,
    )


def run(plan: HostPlan, program: Any = None, *, limits: Limits | None = None) -> Output:
    """Returns the output of a guest; `program` is the probe of the plan unless it is given."""
    assert isinstance(plan.target, KernelTarget)
    execution = Execution(
        command=protocol.COMMAND, deadline=Deadline.after(SECONDS), limits=limits or Limits()
    )
    return run_kernel(plan.target, execution, program or new_offer(plan, deadline_s=400))


def audited(plan: HostPlan) -> Audited:
    """Returns what the probe saw in a guest."""
    out = run(plan)
    return verdict.result_from_output(plan, out.stdout, out.stderr, out.exit_status, out.cut)


def refused(plan: HostPlan, program: Any = None) -> TransportError:
    with pytest.raises(TransportError) as e:
        run(plan, program)
    assert e.value.hint
    assert e.value.reason.isprintable()
    return e.value


def hold_matrix(result: Audited, kernel: Kernel) -> None:
    """Holds that every scenario ended as the matrix says for this kernel."""
    assert kernel.version.split("-")[0] in result.kernel.version
    assert (result.isolation, result.void) == ("namespace", "")
    wrong = [
        f"{seen.scenario} over {seen.family}: {seen.ending} ({seen.reason})"
        for seen in result.observations
        if seen.ending
        not in kernel_matrix.expected(seen.scenario, kernel.side, numbers(kernel.version))
        and not (seen.ending == "not run" and seen.scenario in MATRIX["needs"])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_playbook_ends_on_other_machines_as_the_matrix_says(name: str) -> None:
    needs(name.partition("-")[0])
    try:
        kernel = foreign_kernel(name)
    except NoKernelsError as e:
        pytest.skip(str(e))
    hold_matrix(audited(plan_for(kernel.image)), kernel)


@pytest.mark.parametrize("name", [wanted.name for wanted in KERNEL_SPECS])
def test_the_native_probe_ends_on_x86_64_as_the_matrix_says(
    name: str, real: dict[str, Kernel]
) -> None:
    needs("x86_64")
    if name not in real:
        pytest.skip(f"the archive has no kernel {name} today")
    hold_matrix(audited(plan_for(real[name].image)), real[name])


@pytest.fixture
def quick(real: dict[str, Kernel]) -> Path:
    """Returns the image of the kernel that boots soonest: the oldest."""
    needs("x86_64")
    return min(real.values(), key=lambda kernel: numbers(kernel.version)).image


def test_both_probes_have_the_same_verdicts_on_one_kernel(quick: Path) -> None:
    endings = []
    for choice in ("python", "native"):
        result = audited(plan_for(quick, probe=choice))
        endings.append({(o.scenario, o.family): o.ending for o in result.observations})
    assert endings[0] == endings[1]


def test_a_vmlinux_boots_as_its_bzimage_does(quick: Path, tmp_path: Path) -> None:
    if shutil.which("lz4") is None and not IN_CI:
        pytest.skip("no lz4, which unpacks the kernel in the image")
    data = quick.read_bytes()
    at = data.find(b"\x02\x21\x4c\x18")  # the payload of Debian's 5.10
    if at < 0:
        pytest.skip("this kernel is not compressed by lz4")
    unpacking = subprocess.run(["lz4", "-dc"], input=data[at:], capture_output=True, check=False)
    image = tmp_path / "vmlinux"
    image.write_bytes(unpacking.stdout)
    result = audited(plan_for(image, ("unread-close", "drained-close")))
    assert {o.scenario: o.ending for o in result.observations} == {
        "unread-close": "RST",
        "drained-close": "FIN",
    }


def vmlinux_that_resets() -> bytes:
    """Returns an ELF file with a PVH entry where the processor finds no valid instruction."""
    entry, size = 0x1000000, 0x1000
    note = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", entry)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 2, 62, 1, entry, 64, 0)
    head += struct.pack("<IHHHHHH", 0, 64, 56, 2, 0, 0, 0)
    loaded = struct.pack("<IIQQQQQQ", 1, 5, size, entry, entry, size, size, 0)
    notes = struct.pack("<IIQQQQQQ", 4, 4, 0x800, entry, entry, len(note), len(note), 4)
    return (
        (head + loaded + notes).ljust(0x800, b"\0") + note.ljust(0x800, b"\0") + b"\x0f\x0b" * 2048
    )


def test_an_image_boots_itself_where_the_kernel_taken_out_of_it_does_not_start(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    def take(image: bytes) -> bytes:
        taken.append(len(image))
        return vmlinux_that_resets()

    monkeypatch.setattr(guests, "vmlinux_in", take)
    result = audited(plan_for(quick, ("unread-close",)))
    assert {o.ending for o in result.observations} == {"RST"}
    assert taken == [quick.stat().st_size]


def test_sysctls_are_set_before_the_probe_runs(quick: Path) -> None:
    plan = plan_for(quick, ("unread-close",), sysctls={"net.ipv4.tcp_fin_timeout": "33"})
    assert audited(plan).sysctls["net.ipv4.tcp_fin_timeout"].value == "33"


def test_a_sysctl_that_the_kernel_does_not_have_is_named(quick: Path) -> None:
    error = refused(plan_for(quick, sysctls={"net.ipv4.tcp_nonesuch": "1"}))
    assert error.stage == "execute"
    assert "net.ipv4.tcp_nonesuch=No such file or directory" in error.reason


def test_a_kernel_without_the_second_console_is_reported_with_the_reason(quick: Path) -> None:
    error = refused(plan_for(quick, append="8250.nr_uarts=1"))
    assert error.stage == "connect"
    assert "fleetaudit: /sys/class/tty/ttyS1/dev: No such file or directory" in error.reason


def test_a_kernel_that_runs_no_initramfs_is_reported_with_its_panic(quick: Path) -> None:
    error = refused(plan_for(quick, append="rdinit=/nonexistent init=/nonexistent"))
    assert error.stage == "connect"
    assert "Kernel panic" in error.reason
    assert "kernel_append" in error.hint


def test_a_request_that_is_not_whole_is_refused_by_the_probe_itself(quick: Path) -> None:
    class Cut:
        """A program that was cut short on its way."""

        def native(self, architecture: str) -> bytes:
            return bytes(new_offer(plan, deadline_s=9).native(architecture))[:-20]

        def __bytes__(self) -> bytes:
            return b""

    plan = plan_for(quick, ("unread-close",))
    out = run(plan, Cut())
    assert (out.stdout, out.exit_status) == (b"", 2)
    assert b"the request is not whole" in out.stderr


def test_more_output_than_the_limit_is_cut(quick: Path) -> None:
    out = run(plan_for(quick), limits=Limits(stdout=20_000, stderr=1000))
    assert (len(out.stdout), out.cut) == (20_000, "stdout")


def test_without_a_built_probe_auto_falls_back_to_python_and_native_names_the_command(
    quick: Path,
) -> None:
    class NotBuilt:
        """A checkout in which nobody ran `make native`."""

        def native(self, architecture: str) -> bytes:
            raise MissingProgramError(f"no {architecture}: make native")

        def __bytes__(self) -> bytes:
            return b"print(1)"

    assert run(plan_for(quick), NotBuilt()).stdout == b"1\n"
    error = refused(plan_for(quick, probe="native"), NotBuilt())
    assert error.stage == "resolve"
    assert error.hint.startswith("make native")


def test_a_machine_without_the_right_qemu_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "Image"
    image.write_bytes(bytes(0x38) + b"ARM\x64" + bytes(4000))
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refused(plan_for(image), b"")
    assert error.stage == "resolve"
    assert "no qemu-system-aarch64 on PATH" in error.reason
    assert error.hint.startswith("apt install qemu-system-arm")
