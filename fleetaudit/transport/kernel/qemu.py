"""Starts QEMU, reads what its guest says and ends it: no disk, no network card, no privilege,
nothing left behind.

Rules: the only file that starts QEMU. Every guest has a deadline and is killed with its whole
process group at it. What the guest boots goes in through memory files, so that QEMU needs no right
to read a file of the user's. KVM and the sandbox are used where a trial guest of one instruction
has shown that they work; what it showed is kept per process.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fleetaudit.errors import TransportError
from fleetaudit.text.sanitize import quote_line
from fleetaudit.transport import Deadline, Limits

from .console import KEPT_LOG, GuestOutput

PROGRAM = "qemu-system-x86_64"
INSTALL = "apt install qemu-system-x86   (dnf install qemu-system-x86 on Fedora)"
APPEND = (
    "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off rcupdate.rcu_expedited=1"
    " LD_LIBRARY_PATH=/lib"
)
"""The kernel's command line. no_timer_check: a late emulated timer panics a boot on a busy machine.
panic=-1: restart, at which QEMU ends. mitigations=off: nothing in the guest is a secret, and
emulated they cost a third of the time. rcu_expedited: closing a packet socket waits for a grace
period, and the probe closes hundreds. Neither changes a segment. LD_LIBRARY_PATH is no word of the
kernel's, so it becomes /init's environment.
"""

_TRIAL_S = {
    "tcg": 30.0,
    "kvm": 5.0,
}  # either takes milliseconds; where KVM hangs, every run waits for it once
_KVM_BEGINS_S = 20.0
_TICK_S = 0.25  # how soon a deadline that is called off is noticed
_POWER_OFF_S = 3.0  # what a guest gets to power off once it has told everything
_SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
_STATUS = 0x10
# The reset vector of an x86: mov al, 0x10; out 0xf4, al; hlt. The debug port makes that QEMU's exit
# status.
_FIRMWARE = bytes(65536 - 16) + bytes([0xB0, _STATUS, 0xE6, 0xF4, 0xF4]) + bytes(11)
_EXPECTED = (_STATUS << 1) | 1


@dataclass(frozen=True, slots=True)
class Machine:
    """A QEMU that works here, and how."""

    program: str
    accelerator: Literal["kvm", "tcg"]
    sandboxed: bool


@dataclass(frozen=True, slots=True)
class GuestExit:
    """How a guest ended: what it said, its kernel's log (the end of it), QEMU's own words and exit
    status.

    `why` is "told" (it gave all it had), "exit" (QEMU ended before that), "deadline" or "no start"
    (it was killed).
    """

    spoken: GuestOutput
    log: bytes
    said: bytes
    status: int | None
    why: Literal["told", "exit", "deadline", "no start"]


_machines: dict[str, Machine] = {}
_trying = threading.Lock()


def find_machine(deadline: Deadline) -> Machine:
    """Returns the QEMU on PATH after a trial, once a process, of what works; raises
    `TransportError`.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise TransportError(
            "resolve",
            f"no {PROGRAM} on PATH to boot the kernel with",
            hint=INSTALL,
            kind="program not installed",
        )
    with _trying:
        if program not in _machines:
            _machines[program] = _tried(program, deadline)
        return _machines[program]


def without_kvm(found: Machine) -> Machine:
    """Returns the same machine emulated, and remembers that KVM passed the trial and then booted no
    kernel.
    """
    with _trying:
        _machines[found.program] = Machine(found.program, "tcg", found.sandboxed)
        return _machines[found.program]


def _tried(program: str, deadline: Deadline) -> Machine:
    trial = _Trial(None, b"")
    for sandboxed in (True, False):  # builds without seccomp refuse the option
        plain = Machine(program, "tcg", sandboxed)
        trial = _try(plain, deadline)
        if trial.status == _EXPECTED:
            fast = Machine(program, "kvm", sandboxed)
            works = Path("/dev/kvm").exists() and _try(fast, deadline).status == _EXPECTED
            return fast if works else plain
        if trial.status is None:  # too slow is no reason to go without a sandbox
            break
    how = (
        "in time"
        if trial.status is None
        else f"(status {trial.status}{quote_line(trial.said[-2000:], ': ')})"
    )
    raise TransportError(
        "connect",
        f"{program} did not run a guest of one instruction {how}",
        hint=f"{program} --version; {INSTALL}",
        transient=trial.status is None,
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    status: int | None
    """None: it had to be killed."""
    said: bytes


def _try(candidate: Machine, deadline: Deadline) -> _Trial:
    with _memory_file("firmware", [_FIRMWARE]) as firmware:
        command = [
            *_common(candidate, 1),
            *(
                "-bios",
                f"/proc/self/fd/{firmware}",
                "-device",
                "isa-debug-exit,iobase=0xf4,iosize=4",
            ),
        ]
        process = _start(command, [firmware], stderr=subprocess.PIPE)
        try:
            _, said = process.communicate(
                timeout=min(_TRIAL_S[candidate.accelerator], deadline.remaining())
            )
        except subprocess.TimeoutExpired:
            return _Trial(None, b"")
        finally:
            _end(process)
    return _Trial(process.returncode, said)


def _common(chosen: Machine, memory_mib: int) -> list[str]:
    return [
        chosen.program,
        *(
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-nic",
            "none",
            "-no-reboot",
            "-smp",
            "1",
        ),
        *(
            "-machine",
            f"pc,accel={chosen.accelerator}",
            "-cpu",
            "host" if chosen.accelerator == "kvm" else "max",
        ),
        *("-m", f"{memory_mib}M"),
        *(_SANDBOX if chosen.sandboxed else ()),
    ]


def boot(
    chosen: Machine,
    kernel: bytes,
    initramfs: Sequence[bytes],
    *,
    memory_mib: int,
    append: str,
    deadline: Deadline,
    limits: Limits,
) -> GuestExit:
    """Boots the kernel with this initramfs and returns how that ended, by the deadline at the
    latest.
    """
    start = Deadline.after(_KVM_BEGINS_S) if chosen.accelerator == "kvm" else None
    with contextlib.ExitStack() as files:
        image = files.enter_context(_memory_file("kernel", [kernel]))
        packed = files.enter_context(_memory_file("initramfs", initramfs))
        ports = {name: os.pipe2(os.O_CLOEXEC) for name in ("log", "words", "stderr")}
        reads = {ends[0]: name for name, ends in ports.items()}
        for fd in reads:
            files.callback(os.close, fd)
        writes = [ends[1] for ends in ports.values()]
        command = [
            *_common(chosen, memory_mib),
            *_port("log", 1, ports["log"][1]),
            *_port("words", 2, ports["words"][1]),
            *("-kernel", f"/proc/self/fd/{image}", "-initrd", f"/proc/self/fd/{packed}"),
            *("-append", " ".join(filter(None, (APPEND, append)))),
        ]
        try:
            process = _start(command, [image, packed, *writes], stderr=ports["stderr"][1])
        finally:
            for fd in writes:
                os.close(fd)
        try:
            return _read(process, reads, GuestOutput(limits=limits), deadline, start)
        finally:
            _end(process)


def _port(name: str, number: int, fd: int) -> tuple[str, ...]:
    """A serial port of the guest that writes into one of our pipes; without append=on QEMU would
    truncate it.
    """
    return (
        *(
            "-add-fd",
            f"fd={fd},set={number}",
            "-chardev",
            f"file,id={name},path=/dev/fdset/{number},append=on",
        ),
        *("-serial", f"chardev:{name}"),
    )


def _read(
    process: subprocess.Popen[bytes],
    reads: dict[int, str],
    spoken: GuestOutput,
    deadline: Deadline,
    start: Deadline | None,
) -> GuestExit:
    kept = {"log": bytearray(), "stderr": bytearray()}
    poll = select.poll()
    for fd in reads:
        poll.register(fd, select.POLLIN)
    left = len(reads)
    why: Literal["told", "exit", "deadline", "no start"] = "exit"
    while left and not spoken.done:
        if not deadline.remaining():
            why = "deadline"
            break
        if start is not None and not spoken.began and not start.remaining():
            why = "no start"
            break
        for fd, _ in poll.poll(1000 * min(_TICK_S, deadline.remaining())):
            data = os.read(fd, 65536)
            if not data:
                poll.unregister(fd)
                left -= 1
            elif reads[fd] == "words":
                spoken.feed(data)
            else:
                kept[reads[fd]] += data
                del kept[reads[fd]][:-KEPT_LOG]
    if spoken.done:
        why = "told"
    if why in ("told", "exit") and not spoken.cut:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(min(_POWER_OFF_S, deadline.remaining()))
    return GuestExit(spoken, bytes(kept["log"]), bytes(kept["stderr"]), process.poll(), why)


def _start(command: Sequence[str], fds: Sequence[int], *, stderr: int) -> subprocess.Popen[bytes]:
    text = importlib.resources.files(__package__).joinpath("launch.py").read_text("utf-8")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", text, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
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
    if process.stderr is not None:
        process.stderr.close()


@contextlib.contextmanager
def _memory_file(name: str, pieces: Sequence[bytes]) -> Iterator[int]:
    fd = os.memfd_create(f"fleetaudit-{name}", os.MFD_CLOEXEC)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        yield fd
    finally:
        os.close(fd)
