"""The kernel transport: boots a kernel image under QEMU and runs the program in it, as if it were a
host.

Rules: as of every transport; one deadline for everything, waiting for a turn included. The parts:
`image` knows kernel images, `cpio` and `initramfs` pack what the guest runs, `qemu` runs the guest,
`console` understands what it says; `init.py`, `collect.py` and `launch.py` are sent elsewhere as
text and never imported.
"""

from __future__ import annotations

import os
import platform
import re
import threading
from pathlib import Path

from fleetaudit.errors import FailureKind, TransportError, rerun_hint
from fleetaudit.model import KernelTarget
from fleetaudit.text.sanitize import printable_line, quote_line
from fleetaudit.transport import Deadline, Limits, Output

from . import console, initramfs, qemu
from .image import load_image

MAX_GUESTS = os.cpu_count() or 1
"""How many guests run at once in this process: emulation takes a whole core each, and a starved
guest times out.
"""
MEMORY_MIB = (16, 65536)

_turns = threading.BoundedSemaphore(MAX_GUESTS)
_TICK_S = 0.25
_SYSCTL = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_:@-]+)+")


def run_kernel(
    target: KernelTarget, command: str, stdin: bytes, deadline: Deadline, limits: Limits
) -> Output:
    """Runs `stdin`, a Python program, in a guest that boots the target's kernel image, and returns
    its output.

    `command` is what would start Python on a host; the guest has no shell and starts its Python by
    itself. Raises `TransportError`: stage "resolve" where the image, QEMU or a Python to pack is
    missing, "connect" where the guest did not come up, "execute" where it came up and did not end
    well.
    """
    _check(target)
    _take_turn(deadline)
    try:
        return _run(target, stdin, deadline, limits)
    finally:
        _turns.release()


def _check(target: KernelTarget) -> None:
    if (here := platform.machine()) != "x86_64":
        raise TransportError(
            "resolve",
            "kernel images are booted on x86-64 only, for the guest runs this machine's Python;"
            f" this is {here}",
            hint="run fleetaudit on an x86-64 machine with -l " + printable_line(target.image),
        )
    least, most = MEMORY_MIB
    if not least <= target.memory_mib <= most:
        raise TransportError(
            "resolve",
            f"kernel_memory {target.memory_mib} is not {least} to {most} MiB",
            hint="set kernel_memory: 256",
        )
    if "\0" in target.append or "\n" in target.append:
        raise TransportError(
            "resolve", "kernel_append must be one line", hint="correct kernel_append"
        )
    for key, value in target.sysctls.items():
        if not _SYSCTL.fullmatch(key) or "\n" in value:
            raise TransportError(
                "resolve",
                f"kernel_sysctls: {quote_line(f'{key}: {value}')} is no sysctl",
                hint="write them as kernel_sysctls: {net.ipv4.tcp_fin_timeout: 30}",
            )


def _take_turn(deadline: Deadline) -> None:
    while not _turns.acquire(timeout=min(_TICK_S, deadline.remaining())):
        if not deadline.remaining():
            raise TransportError(
                "connect",
                f"no turn before the deadline: at most {MAX_GUESTS} guests run at once, one for each"
                " core",
                hint=rerun_hint("-f", str(MAX_GUESTS)),
                kind="timed out",
            )


def _run(target: KernelTarget, program: bytes, deadline: Deadline, limits: Limits) -> Output:
    image = load_image(target.image)
    packed = initramfs.pack(program, target.sysctls)
    machine = qemu.find_machine(deadline)

    def boot() -> qemu.GuestExit:
        return qemu.boot(
            machine,
            image.data,
            packed,
            memory_mib=target.memory_mib,
            append=target.append,
            deadline=deadline,
            limits=limits,
        )

    ended = boot()
    mute = ended.why == "no start" or (ended.why == "exit" and not ended.log.strip())
    if (
        machine.accelerator == "kvm" and mute
    ):  # the trial's one instruction worked, and a kernel does not
        machine = qemu.without_kvm(machine)
        ended = boot()
    if not ended.spoken.began and console.timer_lost(
        ended.log
    ):  # no fault of the image: once more before a verdict
        ended = boot()
    name = Path(target.image).name + (f" ({image.version.split()[0]})" if image.version else "")
    return _outcome(ended, name, target.memory_mib)


def _outcome(ended: qemu.GuestExit, name: str, memory_mib: int) -> Output:
    """Returns the program's output, or raises why there is none."""
    spoken, log = ended.spoken, ended.log
    stage = "execute" if spoken.began else "connect"
    last = console.last_words(log)
    if spoken.refused:
        raise TransportError(
            "execute",
            f"{name} does not take kernel_sysctls {', '.join(spoken.refused)}",
            hint=(
                "take them out of kernel_sysctls; modules are not loaded, so what they would add is"
                " absent"
            ),
        )
    output = spoken.output()
    if ended.why == "told":
        if (
            output.exit_status == 137
            and not output.stdout
            and (known := console.explain(log, memory_mib))
        ):
            raise TransportError("execute", known[0], hint=known[1])
        if output.stdout or output.stderr:
            return output
        return Output(
            stdout=b"", stderr=last.encode(), exit_status=output.exit_status, cut=output.cut
        )
    if ended.why == "deadline":
        state = "was still running the program" if spoken.began else "had not come up"
        raise TransportError(
            stage,
            f"{name} {state} at the deadline and was ended; {last}",
            kind="timed out",
            hint="raise --host-deadline, or run fewer guests at once (-f 1)",
        )
    if known := console.explain(log, memory_mib):
        raise TransportError(
            stage,
            f"{name}: {known[0]}",
            hint=known[1],
            kind="guest did not boot",
            transient=console.timer_lost(log),
        )
    kind: FailureKind = "command failed" if spoken.began else "guest did not boot"
    if ended.status:
        raise TransportError(
            stage,
            f"QEMU ended with status {ended.status}{quote_line(ended.said[-2000:], ': ')}; {last}",
            hint="correct kernel_memory and kernel_append, or free memory for the guest",
            kind=kind,
        )
    if not spoken.began and not log.strip():
        raise TransportError(
            stage,
            f"{name} ended without a word on its serial console",
            hint=(
                f"give it more memory (kernel_memory: 256; it had {memory_mib}), and a kernel with"
                " 8250 serial ports, devtmpfs, initramfs and #! scripts built in (docs/kernels.md)"
            ),
            kind="guest did not boot",
        )
    how = "ended before the program did" if spoken.began else "ended before /init ran"
    by_hand = "boot the image by hand: qemu-system-x86_64 -nographic"
    raise TransportError(stage, f"{name} {how}; {last}", hint=by_hand, kind=kind)
