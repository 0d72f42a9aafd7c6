"""Boots real kernels: the matrix of what they do, and everything that can go wrong with a guest."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fleetaudit.errors import TransportError
from fleetaudit.model import Audited, HostPlan, KernelTarget
from fleetaudit.playbook import load_playbook
from fleetaudit.probe import protocol, verdict
from fleetaudit.report.captured_headers import captured_headers
from fleetaudit.transport import Deadline, Limits, Output
from fleetaudit.transport.base import Execution
from fleetaudit.transport.kernel import MAX_GUESTS, qemu, run_kernel
from tests.support import kernel_matrix, probe_runs
from tests.support.kernel_matrix import MATRIX
from tests.support.kernels import KERNEL_SPECS, Kernel, numbers
from tests.support.timing import BUSY_S, patience

IN_CI = bool(os.environ.get("CI"))

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        shutil.which(qemu.PROGRAM) is None and not IN_CI, reason=f"no {qemu.PROGRAM}"
    ),
]


@pytest.fixture
def quick(real: dict[str, Kernel]) -> Kernel:
    """Returns the kernel that boots soonest: the oldest."""
    return min(real.values(), key=lambda kernel: numbers(kernel.version))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Holds that no test leaves a QEMU, a zombie of one, or an open file behind."""
    files = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert not guests_of(os.getpid())
    assert len(list(Path("/proc/self/fd").iterdir())) <= files


def guests_of(parent: int) -> list[int]:
    """Returns the pids of the QEMU processes that this process started, ended ones that were not
    waited for too.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, _, rest = (folder / "stat").read_text().rpartition(")")
            if "(qemu" in name and int(rest.split()[1]) == parent:
                found.append(int(folder.name))
    return found


def run(
    kernel: Kernel | Path,
    program: str,
    *,
    seconds: float = 600,
    limits: Limits | None = None,
    **more: Any,
) -> Output:
    image = kernel.image if isinstance(kernel, Kernel) else kernel
    target = KernelTarget(image=str(image), **more)
    execution = Execution(
        command=protocol.COMMAND, deadline=Deadline.after(seconds), limits=limits or Limits()
    )
    return run_kernel(target, execution, program.encode())


def refused(kernel: Kernel | Path, program: str, **more: Any) -> TransportError:
    with pytest.raises(TransportError) as e:
        run(kernel, program, **more)
    assert e.value.hint
    assert e.value.reason.isprintable()
    assert len(e.value.reason) < 4000
    return e.value


# ---- whom a host lets in


def seen_by_nobody(kernel: Kernel, **target: Any) -> Audited:
    """Returns what the probe sees on a kernel where it runs as a user without any right."""
    chosen = {"drained-close", "zero-linger-close", "unread-close", "reread-fin-close"}
    play = load_playbook(None).plays[0]
    plan = HostPlan(
        name=kernel.name,
        groups=(),
        target=KernelTarget(image=str(kernel.image), **target),
        scenarios=tuple(s for s in play.scenarios if s.name in chosen),
        trials=1,
        isolation="auto",
        sysctls_collect=(),
        sysctls_expect={},
    )
    program = probe_runs.AS_NOBODY + protocol.make_request(plan, deadline_s=500).decode("ascii")
    output = run(kernel, program, **target)
    return verdict.result_from_output(
        plan, output.stdout, output.stderr, output.exit_status, output.cut
    )


def test_a_user_without_rights_sees_all_of_it_in_a_user_namespace(quick: Kernel) -> None:
    allowed = {"user.max_user_namespaces": "10", "kernel.unprivileged_userns_clone": "1"}
    seen = seen_by_nobody(quick, sysctls=allowed)
    assert (seen.isolation, seen.void) == ("namespace", "")
    for o in seen.observations:
        assert o.ending in expected(o.scenario, quick), (o.scenario, o.family, o.reason)
        assert o.evidence.wire


def test_a_user_without_rights_or_namespaces_sees_what_sockets_show_and_the_command_that_would_help(
    quick: Kernel,
) -> None:
    seen = seen_by_nobody(quick, sysctls={"user.max_user_namespaces": "0"})
    assert seen.isolation == "host"
    assert any("no private network namespace" in note for note in seen.notes)
    endings = {(o.scenario, o.family): o for o in seen.observations}
    assert endings["unread-close", "ipv4"].ending == "RST"
    assert endings["drained-close", "ipv4"].ending == "FIN"
    assert endings["unread-close", "ipv4"].evidence.wire is None
    refused = endings["reread-fin-close", "ipv4"]
    assert (refused.ending, refused.reason) == (
        "not run",
        "needs a capture (needs CAP_NET_RAW or user namespaces; set become: true)",
    )


# ---- the matrix


@pytest.mark.skipif(not IN_CI, reason="only CI must have kernels of both sides")
def test_ci_has_a_kernel_of_each_side_of_the_fix(real: dict[str, Kernel]) -> None:
    assert {kernel.side for kernel in real.values()} == {"before", "after"}


def expected(scenario: str, kernel: Kernel) -> tuple[str, ...]:
    """Returns the endings that the matrix has for one scenario on one kernel."""
    return kernel_matrix.expected(scenario, kernel.side, numbers(kernel.version))


@pytest.mark.parametrize("name", [wanted.name for wanted in KERNEL_SPECS])
def test_the_shipped_playbook_ends_on_a_real_kernel_as_the_matrix_says(
    name: str, real: dict[str, Kernel]
) -> None:
    if name not in real:
        pytest.skip(f"the archive has no kernel {name} today")
    kernel, (play,) = real[name], load_playbook(None).plays
    plan = HostPlan(
        name=name,
        groups=(),
        target=KernelTarget(image=str(kernel.image)),
        scenarios=play.scenarios,
        trials=play.trials,
        isolation=play.isolation,
        sysctls_collect=play.sysctls_collect,
        sysctls_expect=play.sysctls_expect,
    )
    began = time.monotonic()
    program = protocol.make_request(plan, deadline_s=230).decode()
    out = run(kernel, program, seconds=900)
    audited = verdict.result_from_output(plan, out.stdout, out.stderr, out.exit_status, out.cut)
    print(
        f"{kernel.version}: {time.monotonic() - began:.1f} s, of which the probe"
        f" {audited.elapsed_s:.1f} s"
    )

    assert kernel.version.split("-")[0] in audited.kernel.version
    assert audited.isolation == "namespace"
    assert not audited.void
    wrong = [
        f"{seen.scenario} over {seen.family}: {seen.ending} ({seen.reason}) and not"
        f" {expected(seen.scenario, kernel)}"
        for seen in audited.observations
        if seen.ending not in expected(seen.scenario, kernel)
        and not (seen.ending == "not run" and seen.scenario in MATRIX["needs"])
    ]
    assert not wrong, "\n".join(wrong)
    _check_packets(audited, {s.name: s.expect for s in play.scenarios})


def _check_packets(audited: Audited, expect: Mapping[str, Collection[str]]) -> None:
    """Every segment has its window, and what ends otherwise than expected has its headers as they
    were captured.
    """
    for o in audited.observations:
        assert all(segment.window is not None for segment in o.evidence.wire or ())
        if o.evidence.wire and expect[o.scenario] and o.ending not in expect[o.scenario]:
            assert captured_headers(o.evidence, o.family), (o.scenario, o.family)


# ---- a guest


def test_a_program_runs_with_its_sysctls_and_finds_no_disk_no_card_and_none_of_this_machine(
    quick: Kernel,
) -> None:
    program = """
import os, sys
print(os.uname().release)
print(open("/proc/sys/net/ipv4/tcp_fin_timeout").read().strip())
devices = sorted(os.listdir("/sys/class/net")), os.listdir("/sys/block")
print(*devices, os.path.exists("/etc/passwd"), os.getcwd())
sys.stderr.write("a word of its own")
sys.exit(7)
"""
    out = run(quick, program, sysctls={"net.ipv4.tcp_fin_timeout": "33"})
    release, timeout, devices = out.stdout.decode().splitlines()
    assert release in quick.package
    assert timeout == "33"
    assert devices == "['lo'] [] False /"
    assert (out.stderr, out.exit_status, out.cut) == (b"a word of its own", 7, "")


def test_lines_of_the_kernels_log_cannot_get_into_the_output(quick: Kernel) -> None:
    program = """
import os
log = os.open("/dev/kmsg", os.O_WRONLY)
for n in range(300):
    os.write(log, b"<0>o AAAA emergency %d" % n)
    os.write(1, b"%d\\n" % n * 50)
"""
    out = run(quick, program)
    assert out.stdout == b"".join(b"%d\n" % n * 50 for n in range(300))
    assert out.exit_status == 0


def test_a_program_that_leaves_a_process_behind_with_its_output_open_still_ends(
    quick: Kernel,
) -> None:
    out = run(
        quick,
        "import os, signal\nprint('done', flush=True)\nif os.fork() == 0: signal.pause()\n",
        seconds=600,
    )
    assert (out.stdout, out.exit_status) == (b"done\n", 0)


def test_a_program_that_prints_nothing_has_the_last_lines_of_the_console(quick: Kernel) -> None:
    out = run(quick, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert (out.stdout, out.exit_status) == (b"", 137)
    assert b"console" in out.stderr


def test_more_guests_than_cores_all_run(quick: Kernel) -> None:
    most = 0
    results: list[Output] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(run(quick, f"print({n})", seconds=900)))
        for n in range(MAX_GUESTS + 2)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(guests_of(os.getpid())))
        threads[-1].join(0.1)
        threads[0].join(0.1)
    assert sorted(int(out.stdout) for out in results) == list(range(MAX_GUESTS + 2))
    assert 1 <= most <= MAX_GUESTS


# ---- what goes wrong


def test_a_guest_that_never_ends_is_ended_at_the_deadline_and_reports_its_state(
    quick: Kernel,
) -> None:
    began = time.monotonic()
    error = refused(
        quick,
        "import signal\nwhile True: signal.pause()\n",
        seconds=patience(lambda: run(quick, "print(1)")),
    )
    assert time.monotonic() - began < 28 + BUSY_S
    assert error.stage == "execute"
    assert "was still running the program at the deadline" in error.reason


def test_a_guest_that_does_not_come_up_is_ended_at_the_deadline(quick: Kernel) -> None:
    # Python itself as /init: it waits at the console for somebody to type
    error = refused(
        quick, "", append="rdinit=/python", seconds=patience(lambda: run(quick, "print(1)"))
    )
    assert error.stage == "connect"
    assert "had not come up at the deadline" in error.reason


def test_a_panic_is_reported_in_the_kernels_own_words(quick: Kernel) -> None:
    error = refused(quick, "", append="rdinit=/nonexistent init=/nonexistent")
    assert error.stage == "connect"
    assert "Kernel panic - not syncing" in error.reason
    assert "kernel_append" in error.hint


def test_an_init_that_fails_is_reported_with_its_last_line(quick: Kernel) -> None:
    error = refused(quick, "", append="rdinit=/python -- -c raise.SystemExit")
    assert error.stage == "connect"
    assert "SyntaxError" in error.reason


def test_a_guest_without_enough_memory_is_reported_with_the_setting(quick: Kernel) -> None:
    error = refused(quick, "b = []\nwhile True: b.append(b'x' * 1_000_000)\n", memory_mib=128)
    assert error.stage == "execute"
    assert "ran out of memory (128 MiB)" in error.reason
    assert "kernel_memory" in error.hint


def test_a_guest_too_small_for_the_kernel_itself_does_not_hang(quick: Kernel) -> None:
    error = refused(quick, "print(1)", memory_mib=16, seconds=600)
    assert error.stage == "connect"
    assert "deadline" not in error.reason
    assert "kernel_memory" in error.hint


def test_memory_that_this_machine_does_not_have_ends_qemu_at_once_with_its_message(
    quick: Kernel,
) -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    if total >= 65536:
        pytest.skip("a machine with 64 GiB can give them to a guest")
    began = time.monotonic()
    error = refused(quick, "print(1)", memory_mib=65536)
    assert time.monotonic() - began < 30 + BUSY_S
    assert error.stage == "connect"
    assert "memory" in error.reason


def test_a_sysctl_that_the_kernel_does_not_have_is_named(quick: Kernel) -> None:
    error = refused(
        quick, "print(1)", sysctls={"net.ipv4.tcp_nonesuch": "1", "net.ipv4.tcp_rfc1337": "1"}
    )
    assert error.stage == "execute"
    assert "net.ipv4.tcp_nonesuch=No such file or directory" in error.reason
    assert "rfc1337" not in error.reason


def test_a_flood_is_cut_at_the_limit_and_the_guest_ended(quick: Kernel) -> None:
    out = run(quick, "while True: print('x' * 1000)\n", limits=Limits(stdout=300_000, stderr=1000))
    assert (len(out.stdout), out.cut, out.exit_status) == (300_000, "stdout", None)


def test_a_truncated_image_is_refused_before_it_is_booted(quick: Kernel, tmp_path: Path) -> None:
    cut = tmp_path / "vmlinuz"
    cut.write_bytes(quick.image.read_bytes()[:1_000_000])
    error = refused(cut, "print(1)", seconds=300)
    assert error.stage == "resolve"
    assert "cut short: 1000000 bytes" in error.reason


def test_an_image_with_only_a_valid_header_fails_and_does_not_hang(
    quick: Kernel, tmp_path: Path
) -> None:
    hollow = tmp_path / "vmlinuz"
    data = quick.image.read_bytes()
    hollow.write_bytes(data[:65536] + bytes(len(data) - 65536))
    error = refused(hollow, "print(1)", seconds=15)
    assert error.stage == "connect"


def test_a_machine_without_qemu_is_reported_with_what_to_install(
    quick: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    error = refused(quick, "print(1)", seconds=300)
    assert error.stage == "resolve"
    assert "no qemu-system-x86_64 on PATH" in error.reason
    assert error.hint.startswith("apt install qemu-system-x86")


def test_a_qemu_that_cannot_run_is_reported_with_its_message(
    quick: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / qemu.PROGRAM
    broken.write_text("#!/bin/sh\necho error while loading shared libraries >&2\nexit 127\n")
    broken.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o055)  # QEMU runs as nobody
    monkeypatch.setenv("PATH", str(tmp_path))
    error = refused(quick, "print(1)", seconds=300)
    assert error.stage == "connect"
    assert "error while loading shared libraries" in error.reason


def test_no_guest_outlives_a_fleetaudit_that_was_killed(quick: Kernel) -> None:
    program = f"""
from fleetaudit.transport import Deadline, Limits
from fleetaudit.transport.base import Execution
from fleetaudit.transport.kernel import run_kernel
from fleetaudit.model import KernelTarget
endless = b"import signal\\nwhile 1: signal.pause()\\n"
execution = Execution(command="", deadline=Deadline.after(60), limits=Limits())
run_kernel(KernelTarget(image={str(quick.image)!r}), execution, endless)
"""
    with subprocess.Popen([sys.executable, "-c", program]) as controller:
        guest = 0
        while not guest:  # the trial guest comes and goes before the one that stays
            assert controller.poll() is None
            for pid in guests_of(controller.pid):
                with contextlib.suppress(OSError):
                    if b"-kernel" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                        guest = pid
            select.select([], [], [], 0.05)
        watch = os.pidfd_open(guest)
        try:
            assert Path(f"/proc/{guest}").stat().st_uid == (
                65534 if os.geteuid() == 0 else os.geteuid()
            )
            controller.send_signal(signal.SIGKILL)
            assert select.select([watch], [], [], 10)[0], (
                "the guest outlived the process that started it"
            )
        finally:
            os.close(watch)


def test_a_deadline_that_comes_early_ends_the_guest_within_a_second(quick: Kernel) -> None:
    class CalledOff(Deadline):
        """As the engine's: it comes when the run is closed."""

        def remaining(self) -> float:
            return 0.0 if off.is_set() else super().remaining()

    off = threading.Event()
    timer = threading.Timer(4, off.set)
    timer.start()
    began = time.monotonic()
    target = KernelTarget(image=str(quick.image))
    execution = Execution(command="", deadline=CalledOff.after(60), limits=Limits())
    with pytest.raises(TransportError, match="at the deadline"):
        run_kernel(target, execution, b"import signal\nwhile 1: signal.pause()\n")
    assert time.monotonic() - began < 8 + BUSY_S
    timer.join()
