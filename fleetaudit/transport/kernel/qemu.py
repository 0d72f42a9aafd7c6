"""Starts QEMU, reads what its guest sends and ends it: no disk, no network card, no privilege,
nothing left behind.

Rules: the only file that starts QEMU. Every guest has a deadline and is killed with its whole
process group at it. What the guest boots goes in through memory files, so that QEMU needs no right
to read a file of the user's. The sandbox is used if a QEMU starts in it, and KVM if a trial guest
of one instruction shows that it works; the result of the trials is kept per process.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import Deadline, Limits

from .console import LOG_MAX, GuestOutput
from .machines import LOG, OUTPUT, X86_64, MachineType

PROGRAM = X86_64.program
"""The QEMU for x86-64, which most kernel images need."""

# Either takes milliseconds. Where KVM hangs, every run waits for it once.
_TRIAL_S = {"tcg": 30.0, "kvm": 5.0}
_KVM_START_S = 20.0
_POLL_S = 0.25  # how soon a deadline that comes early is noticed
_POWER_OFF_S = 3.0  # for a guest to power off after its last line
_COUNTED_TIME = ("-icount", "shift=2,sleep=off")
"""The time of an emulated guest is what it has executed, four nanoseconds an instruction, and a
guest that waits waits no longer than it takes to find that out. So a busy machine neither makes the
guest's clocks wrong nor its patience too short, and a kernel does the same each time.
"""
_QUIT = b"quit\n"  # to the monitor of a QEMU without a machine
_SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
_STATUS = 0x10
# The reset vector of an x86: mov al, 0x10; out 0xf4, al; hlt. The debug port makes that QEMU's exit
# status.
_FIRMWARE = bytes(65536 - 16) + bytes([0xB0, _STATUS, 0xE6, 0xF4, 0xF4]) + bytes(11)
_EXPECTED = (_STATUS << 1) | 1
_CHUNK = 64 * 1024

Why = Literal["complete", "exit", "deadline", "no start"]
"""How a guest ended: its program ended or a limit was reached, QEMU ended before that, it was
killed at the deadline, or it was killed because /init did not start in time.
"""


class Machine(msgspec.Struct, frozen=True):
    """A QEMU that works on this machine, and how.

    `program` is its path, `sandboxed` is True if it takes the options of its seccomp sandbox.
    """

    kind: MachineType
    program: str
    accelerator: Literal["kvm", "tcg"]
    sandboxed: bool


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """What a guest boots.

    `initramfs` is in pieces; `append` is the command line of the kernel. `processor` is emulated if
    KVM is not used.
    """

    kernel: bytes
    initramfs: Sequence[bytes]
    memory_mib: int
    append: str
    processor: str


class GuestExit(msgspec.Struct, frozen=True):
    """How a guest ended.

    `guest` is what its program sent; `log` is the end of its kernel's log, at most `LOG_MAX` bytes;
    `stderr` and `status` are of QEMU itself, and `status` is None if it had to be killed.
    """

    guest: GuestOutput
    log: bytes
    stderr: bytes
    status: int | None
    why: Why

    @property
    def is_silent(self) -> bool:
        """Whether the kernel did not start /init in time, or ended without any output."""
        if self.why == "no start":
            return True
        return self.why == "exit" and not self.log.strip()


_machines: dict[str, Machine] = {}
_trying = threading.Lock()


def find_machine(kind: MachineType, deadline: Deadline) -> Machine:
    """Returns the QEMU of this kind on PATH after a trial, once a process, of what works.

    Raises `TransportError`: stage "resolve" if there is none, "connect" if it does not start;
    transient if it was too slow.
    """
    program = shutil.which(kind.program)
    if program is None:
        raise TransportError(
            "resolve",
            f"no {kind.program} on PATH, which boots the kernel image",
            hint=kind.install,
            kind="program not installed",
        )
    with _trying:
        if program not in _machines:
            _machines[program] = _try_machines(kind, program, deadline)
        return _machines[program]


def without_kvm(machine: Machine) -> Machine:
    """Returns the same machine emulated, and remembers that KVM passed the trial but booted no
    kernel.
    """
    with _trying:
        _machines[machine.program] = replace(machine, accelerator="tcg")
        return _machines[machine.program]


def _try_machines(kind: MachineType, program: str, deadline: Deadline) -> Machine:
    """Tries the ways to run QEMU, the most restricted and fastest first."""
    trial = _Trial(None, b"")
    for sandboxed in (True, False):  # builds without seccomp refuse the option
        emulated = Machine(kind, program, "tcg", sandboxed)
        trial = _start_and_quit(emulated, deadline)
        if trial.status == 0:
            return _with_kvm(emulated, deadline) or emulated
        if trial.status is None:  # too slow is no reason to go without a sandbox
            break
    ending = f"(status {trial.status}{quote_line(trial.stderr[-2000:], ': ')})"
    if trial.status is None:
        ending = "in time"
    raise TransportError(
        "connect",
        f"{program} did not start and end {ending}",
        hint=f"{program} --version; {kind.install}",
        transient=trial.status is None,
    )


def _with_kvm(emulated: Machine, deadline: Deadline) -> Machine | None:
    """Returns the same machine with KVM if that works, None without /dev/kvm or if it does not.

    Only on x86-64: there a trial shows whether it works.
    """
    is_native = emulated.kind is X86_64 and platform.machine() == X86_64.architecture
    if not is_native or not Path("/dev/kvm").exists():
        return None
    machine = replace(emulated, accelerator="kvm")
    if _run_one_instruction(machine, deadline).status != _EXPECTED:
        return None
    return machine


class _Trial(msgspec.Struct, frozen=True):
    """How a trial ended."""

    status: int | None
    """None: it was killed."""
    stderr: bytes


def _start_and_quit(candidate: Machine, deadline: Deadline) -> _Trial:
    """Starts QEMU without a guest and ends it by its monitor, which takes milliseconds."""
    command = [
        *_start_options(candidate),
        *("-machine", "none", "-accel", candidate.accelerator),
        *("-chardev", "stdio,id=monitor", "-mon", "chardev=monitor"),
    ]
    process = _start(command, [], stderr=subprocess.PIPE, stdin=subprocess.PIPE)
    return _wait_for_trial(process, candidate, deadline, _QUIT)


def _run_one_instruction(candidate: Machine, deadline: Deadline) -> _Trial:
    """Runs the guest of one instruction."""
    with _memory_file("firmware", [_FIRMWARE]) as firmware:
        command = [
            *_options(candidate, 1, "max"),
            *("-bios", f"/proc/self/fd/{firmware}"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        ]
        process = _start(command, [firmware], stderr=subprocess.PIPE)
        return _wait_for_trial(process, candidate, deadline)


def _wait_for_trial(
    process: subprocess.Popen[bytes], candidate: Machine, deadline: Deadline, stdin: bytes = b""
) -> _Trial:
    """Waits for the end of a trial, and kills it when it takes too long."""
    seconds = min(_TRIAL_S[candidate.accelerator], deadline.remaining())
    try:
        _, stderr = process.communicate(stdin or None, timeout=seconds)
    except subprocess.TimeoutExpired:
        return _Trial(None, b"")
    finally:
        _end(process)
    return _Trial(process.returncode, stderr)


def _start_options(machine: Machine) -> list[str]:
    """Returns the options of every QEMU."""
    return [
        machine.program,
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-nic", "none"),
        *(_SANDBOX if machine.sandboxed else ()),
    ]


def _options(machine: Machine, memory_mib: int, processor: str) -> list[str]:
    """Returns the options of every guest."""
    time: tuple[str, ...] = _COUNTED_TIME
    if machine.accelerator == "kvm":
        processor, time = "host", ()
    return [
        *_start_options(machine),
        *time,
        *("-smp", "1", "-machine", f"{machine.kind.machine},accel={machine.accelerator}"),
        *("-cpu", processor, "-m", f"{memory_mib}M"),
    ]


def boot(machine: Machine, guest: Guest, deadline: Deadline, limits: Limits) -> GuestExit:
    """Boots a guest and returns how it ended, by the deadline at the latest.

    With KVM, /init must start within `_KVM_START_S` seconds: some machines pass the trial and then
    boot no kernel. `limits` bound what the program in the guest prints. Nothing of the guest is
    left when this returns or raises.
    """
    start = _start_deadline(machine)
    with contextlib.ExitStack() as files:
        kernel = files.enter_context(_memory_file("kernel", [guest.kernel]))
        initramfs = files.enter_context(_memory_file("initramfs", guest.initramfs))
        pipes = {name: os.pipe2(os.O_CLOEXEC) for name in (LOG, OUTPUT, "stderr")}
        for reading, _ in pipes.values():
            files.callback(os.close, reading)
        writing = [ends[1] for ends in pipes.values()]
        command = [
            *_options(machine, guest.memory_mib, guest.processor),
            *_character_device(LOG, 1, pipes[LOG][1]),
            *_character_device(OUTPUT, 2, pipes[OUTPUT][1]),
            *machine.kind.consoles,
            *("-kernel", f"/proc/self/fd/{kernel}", "-initrd", f"/proc/self/fd/{initramfs}"),
            *("-append", guest.append),
        ]
        try:
            process = _start(command, [kernel, initramfs, *writing], stderr=pipes["stderr"][1])
        finally:
            for fd in writing:
                os.close(fd)
        reader = _Reader(process, {ends[0]: name for name, ends in pipes.items()}, limits)
        try:
            return reader.read(deadline, start)
        finally:
            _end(process)


def _start_deadline(machine: Machine) -> Deadline | None:
    """Returns the deadline for /init to start, None for an emulated guest: that is only slow."""
    if machine.accelerator != "kvm":
        return None
    return Deadline.after(_KVM_START_S)


def _character_device(name: str, number: int, fd: int) -> tuple[str, ...]:
    """Returns the options of a character device that writes into one of our pipes.

    Without append=on QEMU would truncate it.
    """
    return (
        *("-add-fd", f"fd={fd},set={number}"),
        *("-chardev", f"file,id={name},path=/dev/fdset/{number},append=on"),
    )


class _Reader:
    """Reads the pipes of one QEMU; `names` are the names of their reading ends."""

    def __init__(
        self, process: subprocess.Popen[bytes], names: dict[int, str], limits: Limits
    ) -> None:
        self._process, self._names = process, names
        self._guest = GuestOutput(limits=limits)
        self._kept = {LOG: bytearray(), "stderr": bytearray()}
        self._poll = select.poll()
        self._open = set(names)
        for fd in names:
            self._poll.register(fd, select.POLLIN)

    def read(self, deadline: Deadline, start: Deadline | None) -> GuestExit:
        """Reads until the guest ends; `start` is the deadline for /init to start."""
        why = self._read_until_end(deadline, start)
        if why in ("complete", "exit") and not self._guest.cut:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(min(_POWER_OFF_S, deadline.remaining()))
        log, stderr = bytes(self._kept[LOG]), bytes(self._kept["stderr"])
        return GuestExit(self._guest, log, stderr, self._process.poll(), why)

    def _read_until_end(self, deadline: Deadline, start: Deadline | None) -> Why:
        """Reads until the guest ends, and returns how.

        "exit" if QEMU closed all pipes before the program's exit status came, "complete" if that
        came or a limit was reached.
        """
        while self._open and not self._guest.complete:
            if not deadline.remaining():
                return "deadline"
            if start and self._did_not_start(start):
                return "no start"
            for fd, _ in self._poll.poll(1000 * min(_POLL_S, deadline.remaining())):
                self._read_some(fd)
        if self._guest.complete:
            return "complete"
        return "exit"

    def _did_not_start(self, start: Deadline) -> bool:
        """Returns whether /init has not started by its deadline."""
        return not self._guest.started and not start.remaining()

    def _read_some(self, fd: int) -> None:
        """Reads from one pipe."""
        data = os.read(fd, _CHUNK)
        if not data:
            self._poll.unregister(fd)
            self._open.discard(fd)
        elif self._names[fd] == OUTPUT:
            self._guest.feed(data)
        else:
            kept = self._kept[self._names[fd]]
            kept += data
            del kept[:-LOG_MAX]


def _start(
    command: Sequence[str], fds: Sequence[int], *, stderr: int, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Starts QEMU by way of `launch.py`."""
    launcher = importlib.resources.files(__package__).joinpath("launch.py").read_text("utf-8")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", launcher, str(os.getpid()), *command],
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=fds,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills what still runs of a guest, and waits for it: SIGKILL cannot be refused."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in filter(None, (process.stdin, process.stderr)):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


@contextlib.contextmanager
def _memory_file(name: str, pieces: Sequence[bytes]) -> Iterator[int]:
    """Yields a descriptor of a file in memory."""
    fd = os.memfd_create(f"fleetaudit-{name}", os.MFD_CLOEXEC)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        yield fd
    finally:
        os.close(fd)
