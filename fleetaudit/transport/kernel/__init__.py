"""The kernel transport: boots a kernel image under QEMU and runs a program in it, as if it were a
host.

Rules: as for every transport; one deadline covers everything, waiting for a free core included. The
parts: `image` recognizes kernel images, `payload` unpacks them, `machines` has the machine for each
architecture, `guests` chooses what a guest runs, `cpio`, `initramfs` and `native_initramfs` pack
it, `qemu` runs the guest, `console` reads its output; `init.py`, `collect.py` and `launch.py` are
sent elsewhere as text and never imported.
"""

from __future__ import annotations

import os
import re
import threading
from functools import partial
from pathlib import Path
from typing import SupportsBytes

import msgspec
from msgspec.structs import replace

from fleetaudit.errors import FailureKind, TransportError, rerun_hint
from fleetaudit.model import KernelTarget, Stage
from fleetaudit.text.sanitize import printable_line, quote_line
from fleetaudit.transport import Deadline, Output, waiting
from fleetaudit.transport.base import Execution, SharedState, Transport
from fleetaudit.transport.ssh_command import shell_join

from . import console, guests, qemu
from .image import load_image
from .image_error import Image
from .machines import MachineType

MAX_GUESTS = os.cpu_count() or 1
"""Maximum number of guests at once in this process: emulation takes a whole core for each, and a
guest without one times out.
"""
MEMORY_MIB = (16, 65536)

_guest_slots = threading.BoundedSemaphore(MAX_GUESTS)
_POLL_S = 0.25
_SYSCTL = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_:@-]+)+")
_KILLED = 137  # the exit status of a program that SIGKILL ended


class KernelTransport:
    """A kernel image.

    The guest has no shell: the command is not run, and process 1 starts `stdin` itself. With the
    native program (`guests.Programs`), `stdin` is process 1.
    """

    boots = True
    is_remote = False

    def run(
        self, target: KernelTarget, execution: Execution, stdin: SupportsBytes, shared: SharedState
    ) -> Output:
        """Runs `stdin` in a guest, see `run_kernel`.

        In a thread, which ends the guest by its deadline: there are no more guests than cores.
        """
        run = partial(run_kernel, target, execution, stdin)
        return waiting.call(run, waiting.NEVER, f"guest {target.image}")

    def is_process(self, target: KernelTarget) -> bool:
        """Returns True, see `Transport`."""
        return True

    def preload(self, target: KernelTarget) -> None:
        """Does nothing: there is nothing slow to import."""

    def describe(self, target: KernelTarget) -> str:
        """Returns the target in a few words, see `Transport`."""
        return f"kernel {target.image}"

    def command_line(self, target: KernelTarget, command: str) -> str:
        """Returns "": a guest runs no commands but the program."""
        return ""

    def stages(self, target: KernelTarget) -> tuple[Stage, ...]:
        """Returns the stages: "resolve" finds the image and QEMU, "connect" boots the guest."""
        return ("resolve", "connect")

    def reports_login(self, target: KernelTarget) -> bool:
        """Returns False: there is no login."""
        return False


TRANSPORT: Transport[KernelTarget] = KernelTransport()


def run_kernel(target: KernelTarget, execution: Execution, program: SupportsBytes) -> Output:
    """Runs a program in a guest that boots the image of the target, and returns its output.

    `program` is a Python program, or may choose one by the image's architecture: see
    `guests.Programs`. Raises `TransportError`: stage "resolve" if the image, QEMU or the program is
    missing,
    "connect" if the guest did not come up, "execute" if it came up and failed later.
    """
    _check(target)
    _acquire_slot(execution.deadline)
    try:
        return _run(target, execution, program)
    finally:
        _guest_slots.release()


def _check(target: KernelTarget) -> None:
    """Raises `TransportError`, stage resolve, for a setting that no guest can have."""
    _check_memory(target)
    if "\0" in target.append or "\n" in target.append:
        raise TransportError(
            "resolve", "kernel_append must be one line", hint="correct kernel_append"
        )
    _check_sysctls(target)


def _check_memory(target: KernelTarget) -> None:
    """Raises `TransportError` for less memory than a kernel boots with, or far more than it needs.

    The bounds are `MEMORY_MIB`, both included.
    """
    least, most = MEMORY_MIB
    if not least <= target.memory_mib <= most:
        raise TransportError(
            "resolve",
            f"kernel_memory {target.memory_mib} is not {least} to {most} MiB",
            hint="set kernel_memory: 256",
        )


def _check_sysctls(target: KernelTarget) -> None:
    """Raises `TransportError` for what is no name of a sysctl, or a value of two lines.

    Each becomes one line of a file that the guest reads: a second line would be another setting.
    """
    for key, value in target.sysctls.items():
        if not _SYSCTL.fullmatch(key) or "\n" in value:
            raise TransportError(
                "resolve",
                f"kernel_sysctls: {quote_line(f'{key}: {value}')} is not a sysctl",
                hint="write them as kernel_sysctls: {net.ipv4.tcp_fin_timeout: 30}",
            )


def _acquire_slot(deadline: Deadline) -> None:
    """Waits for a free core; raises `TransportError` if the deadline comes first."""
    while not _guest_slots.acquire(timeout=min(_POLL_S, deadline.remaining())):
        if not deadline.remaining():
            raise TransportError(
                "connect",
                "no free core before the deadline: at most"
                f" {MAX_GUESTS} guests run at once, one for each core",
                hint=rerun_hint("-f", str(MAX_GUESTS)),
                kind="timed out",
            )


def _run(target: KernelTarget, execution: Execution, program: SupportsBytes) -> Output:
    """Boots the image, and again in another way where the first says nothing of the kernel."""
    image = load_image(target.image)
    kind = guests.machine_for(image)
    machine = qemu.find_machine(kind, execution.deadline)
    boot = _Boot(machine, guests.make_guest(target, image, program), execution)
    end = boot.run()
    if end.is_silent and machine.accelerator == "kvm":
        # KVM ran the trial guest of one instruction, and does not run a kernel.
        end = boot.again(machine=qemu.without_kvm(machine))
    if end.is_silent and boot.guest.kernel != image.data:
        # The kernel that was taken out of the image does not start: let the image do that.
        end = boot.again(guest=replace(boot.guest, kernel=image.data))
    if end.is_silent and kind.newest_processor not in ("", boot.guest.processor):
        # The kernel may be built for newer processors, and crash before it can say so.
        end = boot.again(guest=replace(boot.guest, processor=kind.newest_processor))
    if not end.guest.started and console.timer_lost(end.log):
        # This is not a fault of the image: try once more.
        end = boot.run()
    return _Outcome(end, target, kind, _name(target, image)).output()


class _Boot(msgspec.Struct):
    """A guest, and how it is booted."""

    machine: qemu.Machine
    guest: qemu.Guest
    execution: Execution

    def run(self) -> qemu.GuestExit:
        """Boots the guest and returns how it ended."""
        return qemu.boot(self.machine, self.guest, self.execution.deadline, self.execution.limits)

    def again(
        self, *, machine: qemu.Machine | None = None, guest: qemu.Guest | None = None
    ) -> qemu.GuestExit:
        """Boots it with another machine, or another guest."""
        self.machine = machine or self.machine
        self.guest = guest or self.guest
        return self.run()


def _name(target: KernelTarget, image: Image) -> str:
    """Returns the file name of the image, and its release."""
    name = Path(target.image).name
    if not image.version:
        return name
    return f"{name} ({image.version.split()[0]})"


def _boot_command(target: KernelTarget, kind: MachineType) -> str:
    """Returns the command that boots the image by hand, with its log on the terminal."""
    append = f"console={kind.hand_console} panic=-1 {target.append}".strip()
    machine = ("-machine", kind.machine, "-cpu", kind.processor, "-m", str(target.memory_mib))
    words = (kind.program, "-nographic", *machine, "-kernel", target.image, "-append", append)
    return printable_line(shell_join(words), 2000)


class _Phase(msgspec.Struct, frozen=True):
    """What a failure means before and after the program starts."""

    stage: Stage
    kind: FailureKind
    at_deadline: str
    end: str


_BOOT = _Phase("connect", "guest did not boot", "had not come up", "ended before /init ran")
_PROGRAM = _Phase(
    "execute", "command failed", "was still running the program", "ended before the program did"
)


class _Outcome:
    """The result of one guest. `name` is the kernel image as messages name it."""

    def __init__(
        self, end: qemu.GuestExit, target: KernelTarget, kind: MachineType, name: str
    ) -> None:
        self._end, self._target, self._name = end, target, name
        self._by_hand = _boot_command(target, kind)
        self._phase = _BOOT
        if end.guest.started:
            self._phase = _PROGRAM
        self._last_lines = console.last_lines(end.log)

    def output(self) -> Output:
        """Returns the output of the program; raises `TransportError` if there is none."""
        end = self._end
        if end.guest.rejected_sysctls:
            raise TransportError(
                "execute",
                f"{self._name} rejects kernel_sysctls {', '.join(end.guest.rejected_sysctls)}",
                hint=(
                    "remove them from kernel_sysctls; modules are not loaded, so their sysctls are"
                    " missing"
                ),
            )
        if end.why == "complete":
            return self._complete_output()
        if end.why == "deadline":
            raise self._error(
                f"{self._name} {self._phase.at_deadline} at the deadline and was ended;"
                f" {self._last_lines}",
                rerun_hint("-f", "1", "--host-deadline", "600"),
                "timed out",
            )
        raise self._explained() or self._qemu_failed() or self._ended_early()

    def _complete_output(self) -> Output:
        """Returns the output of a program that ran to its end."""
        output = self._end.guest.output()
        if output.exit_status == _KILLED and not output.stdout:
            self._raise_if_explained()
        if output.stdout or output.stderr:
            return output
        stderr = self._last_lines.encode()
        return Output(stdout=b"", stderr=stderr, exit_status=output.exit_status, cut=output.cut)

    def _raise_if_explained(self) -> None:
        """Raises `TransportError` if the kernel's log says why the program was killed."""
        if known := self._known_cause():
            raise TransportError("execute", known[0], hint=known[1])

    def _known_cause(self) -> tuple[str, str] | None:
        """Returns the reason and the hint that the kernel's log leads to."""
        return console.explain(self._end.log, self._target.memory_mib, self._by_hand)

    def _explained(self) -> TransportError | None:
        """Returns the error that the kernel's log explains."""
        known = self._known_cause()
        if not known:
            return None
        return TransportError(
            self._phase.stage,
            f"{self._name}: {known[0]}",
            hint=known[1],
            kind="guest did not boot",
            transient=console.timer_lost(self._end.log),
        )

    def _qemu_failed(self) -> TransportError | None:
        """Returns the error for a QEMU that reports one."""
        if not self._end.status:
            return None
        stderr = quote_line(self._end.stderr[-2000:], ": ")
        return self._error(
            f"QEMU ended with status {self._end.status}{stderr}; {self._last_lines}",
            "correct kernel_memory and kernel_append, or free memory for the guest",
        )

    def _ended_early(self) -> TransportError:
        """Returns the error for a guest that ended without its program."""
        if not self._end.guest.started and not self._end.log.strip():
            return self._error(
                f"{self._name} ended without any output on its serial console",
                f"give it more memory (kernel_memory: 256; it had {self._target.memory_mib}), and a"
                " kernel with the drivers of its consoles and initramfs built in"
                " (docs/kernels.md)",
            )
        return self._error(
            f"{self._name} {self._phase.end}; {self._last_lines}",
            self._by_hand,
        )

    def _error(self, reason: str, hint: str, kind: FailureKind = "") -> TransportError:
        """Returns an error of this phase."""
        stage = self._phase.stage
        return TransportError(stage, reason, hint=hint, kind=kind or self._phase.kind)
